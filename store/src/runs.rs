//! Runs: the hot path (plan, insert, advance, move) and history.

use async_trait::async_trait;
pub use carillon_core::change::{Advance, Fence, Insertion, Move, Slice, Step, TriggeredRun};
use carillon_core::ids::{GroupId, JobId, RunKey, ShardId};
use carillon_core::run::{Attempt, Run, RunState};
use carillon_core::time::{Span, Timestamp};

use crate::StoreError;

/// What became of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SliceOutcome {
    /// Watermark and rows are committed.
    Committed,
    /// Epoch, job set or watermark were not as given; nothing was written. Reload before planning on.
    Fenced,
}

/// Which runs to list. Empty fields do not restrict.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunFilter {
    /// Only runs of these groups (for permissions and the group filter); none for all.
    pub groups: Option<Vec<GroupId>>,
    /// Only runs of this job.
    pub job: Option<JobId>,
    /// Only runs of one of these jobs, where `job` is none.
    pub jobs: Vec<JobId>,
    /// Only runs in one of these states.
    pub states: Vec<RunState>,
    /// Only fire times at or later than this.
    pub from: Option<Timestamp>,
    /// Only fire times earlier than this.
    pub to: Option<Timestamp>,
    /// Only scheduled fires (ordinal 0): the ledger.
    pub scheduled_only: bool,
}

/// How a run stands, for lists that show many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The run.
    pub key: RunKey,
    /// Where it is in its life.
    pub state: RunState,
    /// When its current attempt is to start.
    pub due_at: Timestamp,
    /// When the handler started.
    pub started_at: Option<Timestamp>,
    /// When it became final.
    pub finished_at: Option<Timestamp>,
}

impl Outcome {
    /// How late the handler started.
    pub fn lateness(&self) -> Option<Span> {
        self.started_at.map(|started| started.since(self.due_at))
    }
}

/// Runs and their attempts.
#[async_trait]
pub trait RunStore {
    /// Commits slices of any number of shards in one transaction; each succeeds or is fenced by itself, in one compare-and-set on
    /// `(epoch, jobs_version, planned_until = from)`. Row keys that exist are left as they are.
    /// After [`StoreError::is_unknown`] nothing may be delivered before the shard was read back.
    async fn commit_slices(&self, slices: &[Slice]) -> Result<Vec<SliceOutcome>, StoreError>;

    /// Inserts due-now rows (triggers, successors of fixed delay) under the epoch that each carries, and where its job has the version that
    /// it carries: whoever decided without knowing of an edit is fenced. Keys that exist are left as they are.
    /// Safe to repeat after an unknown outcome.
    async fn insert_runs(&self, runs: &[Run]) -> Result<Vec<Insertion>, StoreError>;

    /// Records trigger requests by idempotency key, and their runs, in one transaction: a key seen before for the job gives the run it
    /// made then. Fenced as [`Self::insert_runs`]. Keys are kept for at least 24 hours.
    async fn insert_triggered(&self, runs: &[TriggeredRun]) -> Result<Vec<Insertion>, StoreError>;

    /// Applies steps in one transaction, each only where it advances the run: the row's attempt must equal the step's (for
    /// [`Step::LateNews`]: must be larger) and the transition be legal by [`RunState::can_become`] or
    /// [`RunState::can_be_corrected_to`] (for [`Step::Reopen`]: the row must be a dead letter). Steps of one run are applied in order. Returns for each whether it changed
    /// the row.
    /// Safe to repeat.
    async fn advance(&self, steps: &[Advance]) -> Result<Vec<bool>, StoreError>;

    /// Moves planned runs to other workers: `SET worker = :to, plan_no = :seen + 1 WHERE key AND attempt = :attempt AND plan_no = :seen AND state = planned`.
    /// Returns for each whether it moved. After an unknown outcome read the run back.
    async fn move_runs(&self, moves: &[Move]) -> Result<Vec<bool>, StoreError>;

    /// The open (planned or running) runs of a shard, by fire time: what a new owner takes over. Bounded by `limit`.
    async fn open_runs(&self, shard: ShardId, limit: usize) -> Result<Vec<Run>, StoreError>;

    /// One run.
    async fn run(&self, key: RunKey) -> Result<Option<Run>, StoreError>;

    /// Several runs; missing ones are left out.
    async fn runs_by_key(&self, keys: &[RunKey]) -> Result<Vec<Run>, StoreError>;

    /// The ended attempts of a run, oldest first (the last one stands in the run itself).
    async fn attempts(&self, key: RunKey) -> Result<Vec<Attempt>, StoreError>;

    /// Runs newest first, strictly before `before` when given; at most `limit` (1 to 1,000).
    async fn list_runs(
        &self,
        filter: &RunFilter,
        before: Option<RunKey>,
        limit: usize,
    ) -> Result<Vec<Run>, StoreError>;

    /// How many runs match, counted no further than `cap`.
    async fn count_runs(&self, filter: &RunFilter, cap: usize) -> Result<usize, StoreError>;

    /// The newest runs of each of `jobs` that fired in `[from, to)`, at most `limit` of each job; by job, newest first.
    async fn outcomes(
        &self,
        jobs: &[JobId],
        from: Option<Timestamp>,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Outcome>, StoreError>;

    /// How many runs of `job` fired in each step of `[from, to)`, by state: the step's first instant, counted from `from` on, the state and the count;
    /// in no particular order, without empty ones. Runs that fired before the newest `limit` are not counted.
    async fn histogram(
        &self,
        job: JobId,
        from: Timestamp,
        to: Timestamp,
        step: Span,
        limit: usize,
    ) -> Result<Vec<(Timestamp, RunState, usize)>, StoreError>;

    /// When the newest run of `job` became final: where a fixed delay goes on after a failover.
    async fn last_final(&self, job: JobId) -> Result<Option<Timestamp>, StoreError>;

    /// Marks a dead letter as cancelled with [`carillon_core::run::ReasonCode::Discarded`]. False when it is not a dead letter.
    async fn discard_dead_letter(&self, key: RunKey, by: &str, at: Timestamp) -> Result<bool, StoreError>;

    /// Deletes final runs, their attempts, logs and subtasks that fired before `before`, a bounded number at a call; returns how many.
    async fn drop_runs_before(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// As [`Self::drop_runs_before`], of one group.
    async fn drop_runs_of(
        &self,
        group: GroupId,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError>;
}
