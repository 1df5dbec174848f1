//! The only place of the command line that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use carillon_core::time::Timestamp;

/// The current instant.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
