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
    /// succeeded when owner and epoch are the expected ones.
    async fn claim(&self, shard: ShardId, seen: Epoch, owner: &ServerId)
    -> Result<Option<Epoch>, StoreError>;

    /// Writes who is to hold the shards. Only the placer calls it.
    async fn place(&self, placements: &[(ShardId, Vec<ServerId>)]) -> Result<(), StoreError>;
}
