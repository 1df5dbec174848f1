//! Subtasks, for every backend.

use std::sync::Arc;

use async_trait::async_trait;
use carillon_core::ids::{AttemptNo, Epoch, RunKey};
use carillon_core::parallel::{MapChunk, MapHeader, MapPhase};

use crate::StoreError;
use crate::database::Backend;
use crate::sql::{maps, subtasks};
use crate::subtasks::{MapCheckpoint, SubtaskBatch, SubtaskFailure, SubtaskStore};

#[async_trait]
impl<B: Backend> SubtaskStore for B {
    async fn store_batches(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        batches: &[SubtaskBatch],
    ) -> Result<(), StoreError> {
        let batches: Arc<[SubtaskBatch]> = batches.into();
        self.write("store the subtasks", move |db| {
            Box::pin(subtasks::store_batches(db, run, attempt, batches.clone()))
        })
        .await
    }

    async fn batches(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        first: u64,
        count: u64,
    ) -> Result<Vec<SubtaskBatch>, StoreError> {
        self.read("read the subtasks", move |db| Box::pin(subtasks::batches(db, run, attempt, first, count)))
            .await
    }

    async fn split_progress(&self, run: RunKey, attempt: AttemptNo) -> Result<(u32, u64), StoreError> {
        self.read("read the split's progress", move |db| Box::pin(subtasks::split_progress(db, run, attempt)))
            .await
    }

    async fn claim_map(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        epoch: Epoch,
    ) -> Result<Option<MapHeader>, StoreError> {
        self.write("claim the map", move |db| Box::pin(maps::claim_map(db, run, attempt, epoch))).await
    }

    async fn checkpoint(&self, checkpoint: &MapCheckpoint) -> Result<(), StoreError> {
        let checkpoint = Arc::new(checkpoint.clone());
        self.write("write the checkpoint", move |db| Box::pin(maps::checkpoint(db, checkpoint.clone()))).await
    }

    async fn map_header(&self, run: RunKey, attempt: AttemptNo) -> Result<Option<MapHeader>, StoreError> {
        self.read("read the map's header", move |db| Box::pin(maps::map_header(db, run, attempt))).await
    }

    async fn map_chunks(&self, run: RunKey, attempt: AttemptNo) -> Result<Vec<MapChunk>, StoreError> {
        self.read("read the map's chunks", move |db| Box::pin(maps::map_chunks(db, run, attempt))).await
    }

    async fn outputs(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.read("read the outputs", move |db| Box::pin(subtasks::outputs(db, run, attempt, after, limit)))
            .await
    }

    async fn failures(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        only_last: bool,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<SubtaskFailure>, StoreError> {
        self.read("read the failures", move |db| {
            Box::pin(subtasks::failures(db, run, attempt, only_last, after, limit))
        })
        .await
    }

    async fn failures_of(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        indexes: &[u64],
    ) -> Result<Vec<SubtaskFailure>, StoreError> {
        let indexes: Arc<[u64]> = indexes.into();
        self.read("read the failures", move |db| {
            Box::pin(subtasks::failures_of(db, run, attempt, indexes.clone()))
        })
        .await
    }

    async fn find_by_key(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        prefix: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        let prefix: Arc<str> = prefix.into();
        self.read("search the subtasks", move |db| {
            Box::pin(subtasks::find_by_key(db, run, attempt, prefix.clone(), after, limit))
        })
        .await
    }

    async fn map_runs_in(
        &self,
        phase: MapPhase,
        limit: usize,
    ) -> Result<Vec<(RunKey, AttemptNo)>, StoreError> {
        self.read("list the parallel runs", move |db| Box::pin(maps::map_runs_in(db, phase, limit))).await
    }
}
