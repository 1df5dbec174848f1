//! What the driver's errors mean for the caller.

use std::time::Duration;

use mysql_async::{Error, UrlError};

use crate::StoreError;

/// Errors after which nothing has happened and asking again may help: lock wait, dead-lock, a row changed under a snapshot, too many
/// connections (of all, of the user).
const BUSY: [u16; 5] = [1205, 1213, 1020, 1040, 1203];

/// Errors of a server that is going away or is not the writable one: shutdown, query interrupted, read-only (two codes), connection
/// killed, statement aborted by its time limit (MariaDB, MySQL).
const UNAVAILABLE: [u16; 8] = [1053, 1077, 1317, 1290, 1836, 1927, 1969, 3024];

/// A unique index stands against it.
const DUPLICATE: [u16; 2] = [1062, 1586];

/// Translates an error of the driver.
pub(super) fn translate(action: &'static str, error: Error) -> StoreError {
    let Error::Server(server) = &error else {
        return StoreError::Unavailable { action, source: error.into() };
    };
    match server.code {
        code if BUSY.contains(&code) => StoreError::Busy { action, source: error.into() },
        code if UNAVAILABLE.contains(&code) => StoreError::Unavailable { action, source: error.into() },
        code if DUPLICATE.contains(&code) => StoreError::Conflict {
            what: "a row",
            id: server.message.clone(),
            conflict: "exists already".to_owned(),
        },
        code => StoreError::Corrupt { action, detail: format!("{} (error {code})", server.message) },
    }
}

pub(super) fn timed_out(action: &'static str, after: Duration) -> StoreError {
    StoreError::Unavailable { action, source: format!("no answer within {after:?}").into() }
}

pub(super) fn abandoned(action: &'static str) -> StoreError {
    let why = "another database answers since; the one that was asked may have failed over";
    StoreError::Unavailable { action, source: why.into() }
}

/// The URL itself is not told, because it holds a password.
pub(super) fn refused_url(error: UrlError) -> StoreError {
    let why = match error {
        UrlError::UnsupportedScheme { scheme } => format!("its scheme is {scheme:?}, not \"mysql\""),
        UrlError::UnknownParameter { param } => format!("it has the unknown parameter {param:?}"),
        UrlError::InvalidParamValue { param, .. } => format!("its parameter {param:?} has no such value"),
        _ => "expected mysql://user:password@host:port/database".to_owned(),
    };
    StoreError::Corrupt { action: "read the database's URL", detail: why }
}
