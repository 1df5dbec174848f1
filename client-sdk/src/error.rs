//! What can go wrong for the program that embeds a worker or a client.

use std::time::Duration;

/// Why a worker could not be built, or a request to a console failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that has no default is not given.
    #[error("setting {name} is missing: expected {expected}")]
    MissingSetting {
        /// The environment variable or builder method.
        name: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// A setting cannot be used as it is.
    #[error("setting {name} is {given:?}: expected {expected}")]
    BadSetting {
        /// The environment variable or builder method.
        name: &'static str,
        /// What was given; empty for secrets.
        given: String,
        /// What would be right.
        expected: &'static str,
    },
    /// Two jobs were registered under one name.
    #[error("handler {0:?} is registered twice")]
    DuplicateHandler(String),
    /// The params of a trigger cannot be written as JSON.
    #[error("params cannot be written as json")]
    Params(#[source] serde_json::Error),
    /// No console answered.
    #[error("no console answered {method} {path} (asked {asked})")]
    Unreachable {
        /// The HTTP method.
        method: &'static str,
        /// The path below the console's address.
        path: String,
        /// The consoles asked, comma separated.
        asked: String,
        /// What the last one failed with.
        #[source]
        source: reqwest::Error,
    },
    /// A console answered with a refusal.
    #[error("console answered {status} to {path}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The path below the console's address.
        path: String,
        /// The `detail` of the problem, or the start of the body.
        detail: String,
    },
    /// A console answered with something that is not what the API promises.
    #[error("console's answer to {path} cannot be read")]
    Answer {
        /// The path below the console's address.
        path: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A run was not final in time.
    #[error("run {run} is not final after {waited:?}")]
    WaitedTooLong {
        /// The run id.
        run: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The operating system gave no signal handler or thread.
    #[error("cannot {doing}")]
    System {
        /// What was attempted.
        doing: &'static str,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}
