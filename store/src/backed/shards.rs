//! Shards, for every backend.

use std::sync::Arc;

use async_trait::async_trait;
use carillon_core::ids::{Epoch, GroupId, ServerId, ShardId};

use crate::StoreError;
use crate::database::Backend;
use crate::shards::{ShardRow, ShardStore};
use crate::sql::shards;

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
    ) -> Result<Option<Epoch>, StoreError> {
        let owner = owner.clone();
        self.write("claim the shard", move |db| Box::pin(shards::claim(db, shard, seen, owner.clone()))).await
    }

    async fn place(&self, placements: &[(ShardId, Vec<ServerId>)]) -> Result<(), StoreError> {
        let placements: Arc<[(ShardId, Vec<ServerId>)]> = placements.into();
        self.write("place the shards", move |db| Box::pin(shards::place(db, placements.clone()))).await
    }
}
