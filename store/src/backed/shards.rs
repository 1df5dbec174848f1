//! Shards, for every backend.

use std::sync::Arc;

use async_trait::async_trait;
use carillon_core::ids::{Epoch, GroupId, ServerId, ShardId};
use carillon_core::time::Timestamp;

use crate::StoreError;
use crate::database::Backend;
use crate::shards::{ClaimNote, HandOver, ShardRow, ShardStore};
use crate::sql::{hand_overs, shards};

#[async_trait]
impl<B: Backend> ShardStore for B {
    async fn shards_of(&self, cluster: u32, server_group: u32) -> Result<Vec<ShardRow>, StoreError> {
        self.read("list the shards", move |db| Box::pin(shards::shards_of(db, cluster, server_group))).await
    }

    async fn shard(&self, shard: ShardId) -> Result<Option<ShardRow>, StoreError> {
        self.read("read the shard", move |db| Box::pin(shards::shard(db, shard))).await
    }

    async fn shards_of_group(&self, group: GroupId) -> Result<Vec<ShardRow>, StoreError> {
        self.read("read the task group's shards", move |db| Box::pin(shards::shards_of_group(db, group)))
            .await
    }

    async fn claim(
        &self,
        shard: ShardId,
        seen: Epoch,
        owner: &ServerId,
        note: &ClaimNote,
    ) -> Result<Option<Epoch>, StoreError> {
        let claim = Arc::new((owner.clone(), note.clone()));
        self.write("claim the shard", move |db| Box::pin(shards::claim(db, shard, seen, claim.clone()))).await
    }

    async fn hand_overs(
        &self,
        groups: Option<&[GroupId]>,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<HandOver>, StoreError> {
        let groups: Option<Arc<[GroupId]>> = groups.map(Into::into);
        self.read("read the changes of owner", move |db| {
            Box::pin(hand_overs::hand_overs(db, groups.clone(), from, to, limit))
        })
        .await
    }

    async fn drop_hand_overs_before(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.write("drop old records of changes of owner", move |db| {
            Box::pin(hand_overs::drop_hand_overs_before(db, before, limit))
        })
        .await
    }

    async fn place(&self, placements: &[(ShardId, Vec<ServerId>)]) -> Result<(), StoreError> {
        let placements: Arc<[(ShardId, Vec<ServerId>)]> = placements.into();
        self.write("place the shards", move |db| Box::pin(shards::place(db, placements.clone()))).await
    }
}
