//! Shards: epoch, owner, watermark and placement.

use async_trait::async_trait;
use carillon_core::ids::{Epoch, JobsVersion, ServerId, ShardId};
use carillon_core::time::Timestamp;

use crate::StoreError;

/// The row of a shard: what fences planning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardRow {
    /// Which shard.
    pub id: ShardId,
    /// Grows with every change of owner; 0 before the first.
    pub epoch: Epoch,
    /// The server that made the epoch its own last.
    pub owner: Option<ServerId>,
    /// Grows with every edit of the shard's jobs.
    pub jobs_version: JobsVersion,
    /// Every fire up to and including this instant has its row.
    pub planned_until: Timestamp,
    /// The servers that are to hold the shard, preferred owner first.
    pub holders: Vec<ServerId>,
}

/// Why a server makes a shard its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimCause {
    /// Nobody owned it before.
    First,
    /// The owner gives it away: it drains, or the shard is placed elsewhere.
    HandedOver,
    /// The owner does not live any longer.
    OwnerGone,
    /// The owner lives but lost its trigger lock.
    LockLost,
    /// The owner's planning lags.
    OwnerLags,
    /// The same server again, after a restart or a doubt.
    Again,
}

impl ClaimCause {
    /// Every cause.
    pub const ALL: [Self; 6] =
        [Self::First, Self::HandedOver, Self::OwnerGone, Self::LockLost, Self::OwnerLags, Self::Again];

    /// Its stable word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::HandedOver => "handed_over",
            Self::OwnerGone => "owner_gone",
            Self::LockLost => "lock_lost",
            Self::OwnerLags => "owner_lags",
            Self::Again => "again",
        }
    }
}

/// What the record of a claim says beside shard, epoch and owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNote {
    /// When.
    pub at: Timestamp,
    /// The claimer's machine room, at most 128 characters.
    pub room: String,
    /// Why.
    pub cause: ClaimCause,
}

/// A change of owner that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandOver {
    /// Which shard.
    pub shard: ShardId,
    /// The epoch that began.
    pub epoch: Epoch,
    /// Whose it is.
    pub owner: ServerId,
    /// Who had the one before.
    pub previous: Option<ServerId>,
    /// When, where and why.
    pub note: ClaimNote,
}

/// Ownership, watermarks and placement.
#[async_trait]
pub trait ShardStore {
    /// Every shard of the server group, in id order.
    async fn shards_of(&self, cluster: u32, server_group: u32) -> Result<Vec<ShardRow>, StoreError>;

    /// One shard.
    async fn shard(&self, shard: ShardId) -> Result<Option<ShardRow>, StoreError>;

    /// The shards of one task group, in index order.
    async fn shards_of_group(&self, group: carillon_core::ids::GroupId) -> Result<Vec<ShardRow>, StoreError>;

    /// `UPDATE shard SET epoch = epoch + 1, owner = :owner WHERE id = :shard AND epoch = :seen`: makes `owner` the owner.
    /// Returns the new epoch, or none when somebody else was faster. After an unknown outcome read [`Self::shard`] back: the claim
    /// succeeded when owner and epoch are the expected ones. The claim is recorded in the same transaction: see [`Self::hand_overs`].
    async fn claim(
        &self,
        shard: ShardId,
        seen: Epoch,
        owner: &ServerId,
        note: &ClaimNote,
    ) -> Result<Option<Epoch>, StoreError>;

    /// The changes of owner in `[from, to)`, newest first, at most `limit`: of the shards of the named groups, or of all.
    async fn hand_overs(
        &self,
        groups: Option<&[carillon_core::ids::GroupId]>,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<HandOver>, StoreError>;

    /// Deletes the records of changes of owner before an instant, a bounded number at a call; returns how many.
    async fn drop_hand_overs_before(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// Writes who is to hold the shards. Only the placer calls it.
    async fn place(&self, placements: &[(ShardId, Vec<ServerId>)]) -> Result<(), StoreError>;
}
