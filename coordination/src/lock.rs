//! Long-held locks: what is written into them and what a try can end in.

use serde::{Deserialize, Serialize};

use crate::name::MemberId;

/// What the holder writes into its lock, besides its id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockData {
    /// The epoch the store gave the holder; `None` from taking the lock until the store has made it owner, and for
    /// locks without an epoch.
    pub epoch: Option<u64>,
}

impl LockData {
    /// Data that name an epoch.
    pub fn with_epoch(epoch: u64) -> Self {
        Self { epoch: Some(epoch) }
    }
}

/// Identifies one state of one holding of a lock: no two holdings of a key share a generation, and no two data of a
/// holding share a revision. What was seen under a version is still so exactly while the version is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LockVersion {
    /// Grows with every holding of the key, whoever holds it.
    pub generation: u64,
    /// Grows with every update of the data within a holding.
    pub revision: u32,
}

/// Who holds a lock, and what it wrote into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockHolder {
    /// The member that took it.
    pub member: MemberId,
    /// What it wrote.
    pub data: LockData,
    /// The state this was read at, to be handed to [`displace`](crate::Coordination::displace).
    pub version: LockVersion,
    /// It is held by the session that asked. A former session of the same member is not that session.
    pub mine: bool,
}

/// How a try to take a lock ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockOutcome {
    /// The asking session holds it, now or since before.
    Acquired {
        /// The state of the lock.
        version: LockVersion,
    },
    /// Another session holds it. This may be a moment old, as every read; if the lock was free already, the hint of its
    /// release is still to come.
    HeldBy(LockHolder),
}

impl LockOutcome {
    /// Whether the asking session holds the lock.
    pub fn is_acquired(&self) -> bool {
        matches!(self, Self::Acquired { .. })
    }
}
