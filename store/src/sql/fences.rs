//! What an owner decides holds only while its epoch does, and the job set it was decided with where it depends on that.

use std::collections::{BTreeMap, BTreeSet};

use carillon_core::change::Fence;
use carillon_core::ids::{Epoch, JobsVersion, ShardId};

use crate::StoreError;
use crate::database::{Database, number_of, placeholders};
use crate::value::Value;

/// The epochs and job sets of shards, whose rows stay as they are until the transaction ends: nobody claims them or edits their jobs in
/// between. The lock is shared, so that those who only need to know do not wait for each other's commits; whoever changes a shard's row locks
/// it for itself from the start, since two that shared it first would wait for each other.
pub(super) struct Epochs(BTreeMap<ShardId, (Epoch, JobsVersion)>);

impl Epochs {
    /// Reads and locks by primary key of `shard`, before any run row is locked, as planners and edits do.
    pub(super) async fn lock<D: Database>(
        db: &mut D,
        shards: impl Iterator<Item = ShardId>,
    ) -> Result<Self, StoreError> {
        let shards: BTreeSet<ShardId> = shards.collect();
        let mut numbers = BTreeMap::new();
        for shard in shards {
            if let Some(number) = number_of(db, shard).await? {
                numbers.insert(number, shard);
            }
        }
        let mut epochs = BTreeMap::new();
        if numbers.is_empty() {
            return Ok(Self(epochs));
        }
        let sql = format!(
            "SELECT shard, epoch, jobs_version FROM shard WHERE shard IN ({}) ORDER BY shard {}",
            placeholders(numbers.len()),
            D::FOR_SHARE
        );
        let wanted = numbers.keys().copied().map(Value::from).collect();
        for mut row in db.query(&sql, wanted).await? {
            let number: i64 = row.take()?;
            epochs.insert(numbers[&number], (row.take()?, row.take()?));
        }
        Ok(Self(epochs))
    }

    /// Whether whoever decided still owns the shard, and knew the jobs where that matters.
    pub(super) fn admit(&self, fence: Fence) -> bool {
        self.0.get(&fence.shard).is_some_and(|(epoch, jobs_version)| {
            *epoch == fence.epoch && fence.jobs_version.is_none_or(|known| known == *jobs_version)
        })
    }
}
