//! Why a command did not do what it was asked, and the exit code that scripts see.

use std::fmt;
use std::process::ExitCode;

/// A command's failure. Its text goes to stderr; its exit code is part of the interface and never changes its meaning.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Anything that is none of the others: exit code 1.
    Error(anyhow::Error),
    /// The command line, a file or a value is wrong; repeating it unchanged cannot help: exit code 2.
    Usage(String),
    /// What was named does not exist: exit code 3.
    NotFound(String),
    /// Somebody else was quicker, or the name is taken: exit code 4.
    Conflict(String),
    /// The command did its part, and the run it waited for ended badly: exit code 5.
    RunFailed(String),
    /// The console did not answer: exit code 6.
    Unreachable(String),
}

/// What every command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// The process's exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Error(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Conflict(_) => 4,
            Self::RunFailed(_) => 5,
            Self::Unreachable(_) => 6,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The whole chain on one line: it is shown once, here.
            Self::Error(error) => write!(f, "{error:#}"),
            Self::Usage(text)
            | Self::NotFound(text)
            | Self::Conflict(text)
            | Self::RunFailed(text)
            | Self::Unreachable(text) => f.write_str(text),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Error(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Error(error.into())
    }
}

impl From<&Failure> for ExitCode {
    fn from(failure: &Failure) -> Self {
        Self::from(failure.code())
    }
}
