//! What an owner decides holds only while its epoch does.

use std::collections::{BTreeMap, BTreeSet};

use carillon_core::change::Fence;
use carillon_core::ids::{Epoch, ShardId};

use crate::StoreError;
use crate::database::{Database, number_of, placeholders};
use crate::value::Value;

/// The epochs of shards, whose rows stay locked until the transaction ends: nobody claims them in between.
pub(super) struct Epochs(BTreeMap<ShardId, Epoch>);

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
            "SELECT shard, epoch FROM shard WHERE shard IN ({}) ORDER BY shard {}",
            placeholders(numbers.len()),
            D::FOR_UPDATE
        );
        let wanted = numbers.keys().copied().map(Value::from).collect();
        for mut row in db.query(&sql, wanted).await? {
            let number: i64 = row.take()?;
            epochs.insert(numbers[&number], row.take()?);
        }
        Ok(Self(epochs))
    }

    /// Whether whoever decided still owns the shard.
    pub(super) fn admit(&self, fence: Fence) -> bool {
        self.0.get(&fence.shard) == Some(&fence.epoch)
    }
}
