//! Why a call failed, and above all: whether it may have had an effect.

use crate::member::Member;
use crate::name::LockKey;

/// The result of a coordination call.
pub type Result<T, E = CoordinationError> = std::result::Result<T, E>;

/// The cause beneath an error, of whatever backend.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a coordination call failed.
#[derive(Debug, thiserror::Error)]
pub enum CoordinationError {
    /// Another live session holds the member id. It may be this process's own predecessor, which vanishes within the
    /// session timeout: [`join_with_patience`](crate::join_with_patience) waits for that.
    #[error("member id {} is taken by a live session at {} (incarnation {})", holder.id, holder.address, holder.incarnation)]
    IdTaken {
        /// The member that holds the id.
        holder: Box<Member>,
    },
    /// Locks are taken in a member's name, so [`join`](crate::Coordination::join) comes first.
    #[error("not joined, so {doing} has no member to act for")]
    NotJoined {
        /// What was asked for.
        doing: &'static str,
    },
    /// The session does not hold the lock; nothing was changed.
    #[error("lock {key} is not held by this session")]
    NotHolder {
        /// The lock.
        key: LockKey,
    },
    /// There is no connection; nothing was sent.
    #[error("cannot {doing} while disconnected")]
    Disconnected {
        /// What was asked for.
        doing: &'static str,
    },
    /// The session was lost during the call, and everything ephemeral of it.
    #[error("the session was lost while it tried to {doing}")]
    SessionLost {
        /// What was asked for.
        doing: &'static str,
    },
    /// A read got no answer; nothing was changed.
    #[error("no answer when trying to {doing}")]
    Unavailable {
        /// What was asked for.
        doing: &'static str,
        /// The cause beneath, if it was not just silence.
        #[source]
        source: Option<Cause>,
    },
    /// A write got no definite answer: it may have happened, or may not. See each call for what follows.
    #[error("it is not known whether the attempt to {doing} took effect")]
    Unknown {
        /// What was asked for.
        doing: &'static str,
        /// The cause beneath, if it was not just silence.
        #[source]
        source: Option<Cause>,
    },
    /// The backend refused for good, e.g. for lack of rights.
    #[error("the coordinator refused to {doing}")]
    Refused {
        /// What was asked for.
        doing: &'static str,
        /// The cause beneath.
        #[source]
        source: Cause,
    },
    /// What the backend holds cannot be read: somebody else wrote it.
    #[error("what is stored at {place} cannot be read")]
    Corrupt {
        /// Where it is stored.
        place: String,
        /// The cause beneath.
        #[source]
        source: Cause,
    },
    /// The configuration cannot work.
    #[error("the coordination settings are wrong: {reason}")]
    BadSettings {
        /// What is wrong.
        reason: String,
    },
    /// The handle has left.
    #[error("cannot {doing} after leaving")]
    Closed {
        /// What was asked for.
        doing: &'static str,
    },
}

impl CoordinationError {
    /// Whether the same call may succeed later without anybody mending anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Disconnected { .. }
            | Self::SessionLost { .. }
            | Self::Unavailable { .. }
            | Self::Unknown { .. } => true,
            Self::IdTaken { .. }
            | Self::NotJoined { .. }
            | Self::NotHolder { .. }
            | Self::Refused { .. }
            | Self::Corrupt { .. }
            | Self::BadSettings { .. }
            | Self::Closed { .. } => false,
        }
    }
}
