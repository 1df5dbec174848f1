//! Figures over time and retention, for every backend.

use std::sync::Arc;

use async_trait::async_trait;
use carillon_core::ids::GroupId;
use carillon_core::time::Timestamp;

use crate::StoreError;
use crate::database::Backend;
use crate::observed::{ObservedStore, Rollup, RollupSpan};
use crate::sql::observed;

#[async_trait]
impl<B: Backend> ObservedStore for B {
    async fn write_rollups(&self, rollups: &[Rollup]) -> Result<(), StoreError> {
        let rollups: Arc<[Rollup]> = rollups.into();
        self.write("write the figures", move |db| Box::pin(observed::write_rollups(db, rollups.clone())))
            .await
    }

    async fn rollups(
        &self,
        span: RollupSpan,
        groups: Option<&[GroupId]>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Rollup>, StoreError> {
        let groups: Option<Arc<[GroupId]>> = groups.map(Into::into);
        self.read("read the figures", move |db| {
            Box::pin(observed::rollups(db, span, groups.clone(), from, to))
        })
        .await
    }

    async fn sum_hour(&self, hour: Timestamp) -> Result<(), StoreError> {
        self.write("sum the figures of an hour", move |db| Box::pin(observed::sum_hour(db, hour))).await
    }

    async fn first_hour_to_sum(&self, before: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.read("look for figures to sum", move |db| Box::pin(observed::first_hour_to_sum(db, before)))
            .await
    }

    async fn drop_rollups_before(
        &self,
        span: RollupSpan,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.write("drop old figures", move |db| {
            Box::pin(observed::drop_rollups_before(db, span, before, limit))
        })
        .await
    }

    async fn retentions(&self) -> Result<Vec<(GroupId, u32)>, StoreError> {
        self.read("read how long runs are kept", |db| Box::pin(observed::retentions(db))).await
    }

    async fn retention(&self, group: GroupId) -> Result<Option<u32>, StoreError> {
        self.read("read how long runs are kept", move |db| Box::pin(observed::retention(db, group))).await
    }

    async fn set_retention(&self, group: GroupId, days: Option<u32>) -> Result<(), StoreError> {
        self.write("set how long runs are kept", move |db| Box::pin(observed::set_retention(db, group, days)))
            .await
    }
}
