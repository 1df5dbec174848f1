//! Changes of the run table: what the engine decides and a store applies. Each is conditional and safe to repeat.

use serde_json::Value;

use crate::ids::{AttemptNo, Epoch, Incarnation, JobsVersion, PlanNo, RunKey, ShardId};
use crate::run::{Attempt, Reason, Run, RunState};
use crate::time::Timestamp;

/// One slice of one shard's plan: every fire in `(from, to]`, with the rows as they are to be inserted (most of them planned, misfired
/// ones already final).
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of the planner.
    pub epoch: Epoch,
    /// The job set the fires were computed with.
    pub jobs_version: JobsVersion,
    /// The watermark that was read.
    pub from: Timestamp,
    /// The watermark to be.
    pub to: Timestamp,
    /// The rows.
    pub runs: Vec<Run>,
}

/// A step in a run's life, applied only where it advances: see the store's `advance`.
#[derive(Debug, Clone, PartialEq)]
pub struct Advance {
    /// The run.
    pub key: RunKey,
    /// The attempt it is about.
    pub attempt: AttemptNo,
    /// The step.
    pub step: Step,
    /// Set on what an owner decided by itself; none on what a worker reported, which is true whoever brings it.
    pub fence: Option<Fence>,
}

/// The right to decide for a shard: what carries it is applied only while the shard's epoch is this one. A server that was replaced
/// without knowing it would otherwise decide against its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The shard.
    pub shard: ShardId,
    /// The epoch of whoever decided.
    pub epoch: Epoch,
    /// For what depends on the jobs: the version of the job set it was decided with, which must still be in force. A next attempt that was
    /// planned by an owner that has not read an edit would run the old version although the edit was acknowledged.
    pub jobs_version: Option<JobsVersion>,
}

/// The steps of a run's life.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The attempt's handler started.
    Started {
        /// By the worker's cluster time.
        at: Timestamp,
        /// Where.
        worker: Incarnation,
    },
    /// The run is final.
    Final {
        /// A final state.
        state: RunState,
        /// When the handler started, if it did.
        started_at: Option<Timestamp>,
        /// When it ended.
        at: Timestamp,
        /// Why, unless it plainly succeeded.
        reason: Option<Reason>,
        /// What the handler returned.
        result: Option<Value>,
        /// For the end that an owner decides: the plan number that it decided about. Where the row's is larger, the step is not applied: a
        /// move in doubt took effect after all, or an edit re-planned it, and the run may start at a worker that was not asked. None where
        /// a worker says so.
        seen: Option<PlanNo>,
    },
    /// The attempt ended and another one follows: the attempt is recorded with its cause, the run is planned again.
    Retry {
        /// The record of the ended attempt (its `attempt` equals [`Advance::attempt`]).
        ended: Attempt,
        /// When the next attempt is due.
        due_at: Timestamp,
        /// Its latest start.
        start_by: Timestamp,
        /// Where it is planned; none while no eligible worker is known.
        worker: Option<Incarnation>,
        /// The plan number; where it is not larger than the row's (an edit re-planned it) the step is not applied.
        plan_no: PlanNo,
    },
    /// A person retries a dead letter: as [`Step::Retry`], from a final state for which [`RunState::is_dead_letter`] holds.
    Reopen {
        /// The record of the ended attempt.
        ended: Attempt,
        /// When the next attempt is due.
        due_at: Timestamp,
        /// Its latest start.
        start_by: Timestamp,
        /// Where it is planned; none while no eligible worker is known.
        worker: Option<Incarnation>,
        /// The plan number; where it is not larger than the row's (an edit re-planned it) the step is not applied.
        plan_no: PlanNo,
    },
    /// Late news of an attempt that was given up and followed by another: completes its record.
    LateNews {
        /// When that attempt's handler started, if it did.
        started_at: Option<Timestamp>,
        /// What to add to the attempt's recorded cause.
        detail: String,
    },
}

/// What became of a row to be inserted. A row is fenced by its own shard and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insertion {
    /// It is new.
    New,
    /// There is one with its key, or its idempotency key: this one.
    Existing(RunKey),
    /// The shard's epoch is another one; nothing was inserted.
    Fenced,
}

/// A run made by a request.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggeredRun {
    /// The row to insert.
    pub run: Run,
    /// The request's idempotency key, unique per job, at most 128 characters.
    pub idempotency_key: String,
}

/// A change of a planned run's worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The run.
    pub key: RunKey,
    /// Its attempt.
    pub attempt: AttemptNo,
    /// The plan number that was read.
    pub seen: PlanNo,
    /// Where it goes.
    pub to: Incarnation,
    /// Who decided it.
    pub fence: Fence,
}
