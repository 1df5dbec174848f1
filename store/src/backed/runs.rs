//! Runs, for every backend.

use std::sync::Arc;

use async_trait::async_trait;
use carillon_core::ids::{GroupId, JobId, RunKey, ShardId};
use carillon_core::run::{Attempt, Run, RunState};
use carillon_core::time::{Span, Timestamp};

use crate::StoreError;
use crate::database::Backend;
use crate::runs::{
    Advance, Insertion, Move, Outcome, RunFilter, RunStore, Slice, SliceOutcome, TriggeredRun,
};
use crate::sql::{advance, history, plan};

#[async_trait]
impl<B: Backend> RunStore for B {
    async fn commit_slices(&self, slices: &[Slice]) -> Result<Vec<SliceOutcome>, StoreError> {
        let slices: Arc<[Slice]> = slices.into();
        self.write("commit the slices", move |db| Box::pin(plan::commit_slices(db, slices.clone()))).await
    }

    async fn insert_runs(&self, runs: &[Run]) -> Result<Vec<Insertion>, StoreError> {
        let runs: Arc<[Run]> = runs.into();
        self.write("insert the runs", move |db| Box::pin(plan::insert_runs(db, runs.clone()))).await
    }

    async fn insert_triggered(&self, runs: &[TriggeredRun]) -> Result<Vec<Insertion>, StoreError> {
        let runs: Arc<[TriggeredRun]> = runs.into();
        self.write("insert the triggered runs", move |db| Box::pin(plan::insert_triggered(db, runs.clone())))
            .await
    }

    async fn advance(&self, steps: &[Advance]) -> Result<Vec<bool>, StoreError> {
        let steps: Arc<[Advance]> = steps.into();
        self.write("advance the runs", move |db| Box::pin(advance::advance(db, steps.clone()))).await
    }

    async fn move_runs(&self, moves: &[Move]) -> Result<Vec<bool>, StoreError> {
        let moves: Arc<[Move]> = moves.into();
        self.write("move the runs", move |db| Box::pin(advance::move_runs(db, moves.clone()))).await
    }

    async fn open_runs(&self, shard: ShardId, limit: usize) -> Result<Vec<Run>, StoreError> {
        self.read("read the open runs", move |db| Box::pin(history::open_runs(db, shard, limit))).await
    }

    async fn run(&self, key: RunKey) -> Result<Option<Run>, StoreError> {
        Ok(self.runs_by_key(&[key]).await?.into_iter().next())
    }

    async fn runs_by_key(&self, keys: &[RunKey]) -> Result<Vec<Run>, StoreError> {
        let keys: Arc<[RunKey]> = keys.into();
        self.read("read the runs", move |db| Box::pin(history::runs_by_key(db, keys.clone()))).await
    }

    async fn attempts(&self, key: RunKey) -> Result<Vec<Attempt>, StoreError> {
        self.read("read the run's attempts", move |db| Box::pin(history::attempts(db, key))).await
    }

    async fn list_runs(
        &self,
        filter: &RunFilter,
        before: Option<RunKey>,
        limit: usize,
    ) -> Result<Vec<Run>, StoreError> {
        let filter = Arc::new(filter.clone());
        self.read("list the runs", move |db| Box::pin(history::list_runs(db, filter.clone(), before, limit)))
            .await
    }

    async fn count_runs(&self, filter: &RunFilter, cap: usize) -> Result<usize, StoreError> {
        let filter = Arc::new(filter.clone());
        self.read("count the runs", move |db| Box::pin(history::count_runs(db, filter.clone(), cap))).await
    }

    async fn outcomes(
        &self,
        jobs: &[JobId],
        from: Option<Timestamp>,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Outcome>, StoreError> {
        let jobs: Arc<[JobId]> = jobs.into();
        self.read("read the jobs' outcomes", move |db| {
            Box::pin(history::outcomes(db, jobs.clone(), from, to, limit))
        })
        .await
    }

    async fn histogram(
        &self,
        job: JobId,
        from: Timestamp,
        to: Timestamp,
        step: Span,
        limit: usize,
    ) -> Result<Vec<(Timestamp, RunState, usize)>, StoreError> {
        self.read("count the job's runs over time", move |db| {
            Box::pin(history::histogram(db, job, (from, to), step, limit))
        })
        .await
    }

    async fn last_final(&self, job: JobId) -> Result<Option<Timestamp>, StoreError> {
        self.read("read the job's last end", move |db| Box::pin(history::last_final(db, job))).await
    }

    async fn discard_dead_letter(&self, key: RunKey, by: &str, at: Timestamp) -> Result<bool, StoreError> {
        let by: Arc<str> = by.into();
        self.write("discard the dead letter", move |db| {
            Box::pin(advance::discard_dead_letter(db, key, by.clone(), at))
        })
        .await
    }

    async fn drop_runs_before(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.write("drop old runs", move |db| Box::pin(history::drop_runs_before(db, before, limit))).await
    }

    async fn drop_runs_of(
        &self,
        group: GroupId,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError> {
        self.write("drop old runs of a task group", move |db| {
            Box::pin(history::drop_runs_of(db, group, before, limit))
        })
        .await
    }
}
