//! What the lack of an answer means. Only a definite code of the ensemble says that nothing happened.

use std::future::Future;

use tokio::time::{Instant, timeout_at};
use zookeeper_client as zk;

use crate::error::CoordinationError;

/// Why a request did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The ensemble decided against it: it had no effect. In a transaction, `index` is the operation that failed.
    Code { index: usize, error: zk::Error },
    /// The session is gone.
    SessionLost,
    /// There is no answer, for whatever reason: it may have had an effect, or may have it later.
    NoAnswer(Option<zk::Error>),
}

impl Failure {
    pub(super) fn is_code(&self, code: &zk::Error) -> bool {
        matches!(self, Self::Code { error, .. } if error == code)
    }

    /// The conditions of the request were not met, because somebody else was faster.
    pub(super) fn is_race(&self) -> bool {
        matches!(
            self,
            Self::Code { error: zk::Error::BadVersion | zk::Error::NodeExists | zk::Error::NoNode, .. }
        )
    }

    /// The error of a request that changes nothing.
    pub(super) fn into_read(self, doing: &'static str) -> CoordinationError {
        match self.into_write(doing) {
            CoordinationError::Unknown { doing, source } => CoordinationError::Unavailable { doing, source },
            error => error,
        }
    }

    /// The error of a request that may change something.
    pub(super) fn into_write(self, doing: &'static str) -> CoordinationError {
        match self {
            Self::Code { error, .. } => CoordinationError::Refused { doing, source: Box::new(error) },
            Self::SessionLost => CoordinationError::SessionLost { doing },
            Self::NoAnswer(source) => CoordinationError::Unknown { doing, source: source.map(Into::into) },
        }
    }
}

impl From<zk::Error> for Failure {
    fn from(error: zk::Error) -> Self {
        use zk::Error::*;
        match error {
            SessionExpired => Self::SessionLost,
            NoNode
            | NoAuth
            | BadVersion
            | NoChildrenForEphemerals
            | NodeExists
            | NotEmpty
            | InvalidAcl
            | AuthFailed
            | NotReadOnly
            | QuotaExceeded
            | MarshallingError
            | Unimplemented
            | BadArguments(_) => Self::Code { index: 0, error },
            // ConnectionLoss, and also I/O errors that a dying connection gives to whatever was pending on it.
            other => Self::NoAnswer(Some(other)),
        }
    }
}

impl From<zk::MultiWriteError> for Failure {
    fn from(error: zk::MultiWriteError) -> Self {
        match error {
            zk::MultiWriteError::RequestFailed { source } => source.into(),
            zk::MultiWriteError::OperationFailed { index, source } => Self::Code { index, error: source },
        }
    }
}

/// Waits for an answer until the deadline. Giving up does not withdraw the request.
pub(super) async fn answer<T, E>(
    deadline: Instant,
    request: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure>
where
    Failure: From<E>,
{
    match timeout_at(deadline, request).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Failure::NoAnswer(None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_definite_codes_say_that_nothing_happened() {
        for error in [zk::Error::NodeExists, zk::Error::BadVersion, zk::Error::NoNode, zk::Error::NoAuth] {
            assert!(matches!(Failure::from(error), Failure::Code { .. }));
        }
        for error in [
            zk::Error::ConnectionLoss,
            zk::Error::Timeout,
            zk::Error::SessionMoved,
            zk::Error::UnexpectedError("connection reset".to_owned()),
            zk::Error::UnexpectedErrorCode(-4),
            zk::Error::ClientClosed,
        ] {
            assert!(matches!(Failure::from(error), Failure::NoAnswer(Some(_))));
        }
    }
}
