//! The trait, and the contract that both backends keep.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::hint::{Hints, SessionStates};
use crate::lock::{LockData, LockHolder, LockOutcome, LockVersion};
use crate::member::Member;
use crate::name::{LockKey, Topic};

/// One handle on the cluster's coordinator, for one process. Used as `Arc<dyn Coordination>`.
///
/// # Contract
///
/// * A handle has one session at a time. What it joins or locks lives as long as that session.
/// * **Disconnected** means: locks may be lost already, do not act on them ([`holds`](Self::holds) says no). Calls fail
///   at once with [`Disconnected`](crate::CoordinationError::Disconnected), and nothing was sent.
/// * **A lost session is final.** The handle makes a new one and becomes a member again by itself, but it never retakes a
///   lock: each is reported by [`Hint::LockLost`](crate::Hint::LockLost), and taking it again is the caller's decision.
/// * **Every call has a deadline** (the backend's operation timeout). A write without a definite answer fails with
///   [`Unknown`](crate::CoordinationError::Unknown); each call says what the handle then does about it.
/// * **Hints may be late, twice or for nothing.** The reads are the truth; a read may be a moment old (another handle's
///   write may not be in it yet), but while the connection lasts never older than this handle's own writes and hints.
#[async_trait]
pub trait Coordination: Debug + Send + Sync {
    /// Becomes a member under `member.id`, or, if already joined, the same as [`update_member`](Self::update_member).
    ///
    /// # Errors
    /// [`IdTaken`](crate::CoordinationError::IdTaken) when another live session holds the id, with what it says of
    /// itself; it may be this process's own predecessor, see [`join_with_patience`](crate::join_with_patience).
    /// After [`Unknown`](crate::CoordinationError::Unknown) the handle is not a member: what may have been created is
    /// removed.
    async fn join(&self, member: Member) -> Result<()>;

    /// Replaces the description of this member, e.g. its load. Cheap: a read and a write. The id must not change.
    ///
    /// # Errors
    /// [`NotJoined`](crate::CoordinationError::NotJoined) before `join`.
    /// When it fails for lack of a connection, the description is written once there is one again.
    async fn update_member(&self, member: Member) -> Result<()>;

    /// Goes for good: releases all locks, stops being a member, closes the session. The handle is useless afterwards.
    /// Idempotent.
    ///
    /// # Errors
    /// [`Unknown`](crate::CoordinationError::Unknown) if the coordinator did not answer: then the session's expiry does it.
    async fn leave(&self) -> Result<()>;

    /// All members, this one included, ordered by id.
    async fn members(&self) -> Result<Vec<Member>>;

    /// Tries once to take a lock and keep it for the life of the session. Never waits for the holder.
    ///
    /// Taking a lock this session already holds is [`Acquired`](LockOutcome::Acquired) again, its data unchanged.
    ///
    /// # Errors
    /// [`NotJoined`](crate::CoordinationError::NotJoined) before `join`. After
    /// [`Unknown`](crate::CoordinationError::Unknown) the caller does not hold the lock: should the attempt take effect
    /// nevertheless, the handle releases it.
    async fn try_lock(&self, key: &LockKey, data: LockData) -> Result<LockOutcome>;

    /// Takes a lock away from a holder known to be stuck, in one step, provided the lock is still exactly as it was seen.
    ///
    /// If it is not, nobody is displaced: the result is what [`try_lock`](Self::try_lock) says then.
    ///
    /// # Errors
    /// As [`try_lock`](Self::try_lock).
    async fn displace(&self, key: &LockKey, seen: LockVersion, data: LockData) -> Result<LockOutcome>;

    /// Writes new data into a lock this session holds, e.g. the epoch the store gave.
    ///
    /// # Errors
    /// [`NotHolder`](crate::CoordinationError::NotHolder) if this session does not hold it (any more); then nothing was
    /// changed. After [`Unknown`](crate::CoordinationError::Unknown) the data are the old or the new.
    async fn update_lock(&self, key: &LockKey, data: LockData) -> Result<LockVersion>;

    /// Releases a lock; succeeds if this session does not hold it. [`holds`](Self::holds) says no from the call on.
    ///
    /// # Errors
    /// After [`Unknown`](crate::CoordinationError::Unknown) or
    /// [`Disconnected`](crate::CoordinationError::Disconnected) the handle goes on releasing it by itself.
    async fn release(&self, key: &LockKey) -> Result<()>;

    /// Who holds a lock.
    async fn read_lock(&self, key: &LockKey) -> Result<Option<LockHolder>>;

    /// All locks that are held, by whomever: the scan behind the hints.
    async fn locks(&self) -> Result<BTreeMap<LockKey, LockHolder>>;

    /// Whether this session holds the lock as far as it knows: connected, taken, and no word of its loss. Costs nothing.
    ///
    /// It may be wrong for as long as this process was paused; nothing that must be safe may rest on it.
    fn holds(&self, key: &LockKey) -> bool;

    /// Sends [`Hint::Topic`](crate::Hint::Topic) to every handle of the cluster, this one included.
    ///
    /// # Errors
    /// After [`Unknown`](crate::CoordinationError::Unknown) the hint may or may not come; sending it again is harmless.
    async fn notify(&self, topic: &Topic) -> Result<()>;

    /// A new reader of hints, from now on.
    fn hints(&self) -> Hints;

    /// The state of the session, now and at each change.
    fn session(&self) -> SessionStates;
}
