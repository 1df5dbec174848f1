//! Jobs: what to run and when, and the policies for what may go wrong.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{GroupId, JobId, JobVersion};
use crate::schedule::Schedule;
use crate::time::{Span, Timestamp};

pub mod policy;
mod validate;

pub use policy::{
    Backoff, Misfire, MisfirePolicy, Overlap, ParallelPolicy, RetryOn, RetryPolicy, Routing, WorkerLost,
    WorkerSelector,
};
pub use validate::{FieldError, MAX_PARAMS_BYTES};

/// What a user writes: everything about a job but its id and history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// The task group that owns the job.
    pub group: GroupId,
    /// Unique in the group, 1 to 128 characters.
    pub name: String,
    /// Free text, at most 4,096 characters.
    #[serde(default)]
    pub description: String,
    /// How the job is run.
    #[serde(default)]
    pub kind: JobKind,
    /// The name of the user's code, as registered by a worker: 1 to 128 characters.
    pub handler: String,
    /// What the handler is given: any JSON, at most 64 KiB as text.
    #[serde(default)]
    pub params: Value,
    /// When the job fires.
    pub schedule: Schedule,
    /// What becomes of fires that could not start in time.
    #[serde(default)]
    pub misfire: Misfire,
    /// What becomes of a fire that meets a run of the job still running.
    #[serde(default)]
    pub overlap: Overlap,
    /// Which worker is chosen.
    #[serde(default)]
    pub routing: Routing,
    /// Which workers are eligible.
    #[serde(default)]
    pub selector: WorkerSelector,
    /// Further attempts after a failure.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// What becomes of a run whose worker is lost.
    #[serde(default)]
    pub worker_lost: WorkerLost,
    /// The longest an attempt may take; none for no bound.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// How late a run may still start; by default the smaller of 60 s and half the period.
    #[serde(default)]
    pub start_window: Option<Span>,
    /// Subtask policies of a parallel job.
    #[serde(default)]
    pub parallel: ParallelPolicy,
    /// Whether the job fires by its schedule. A disabled (paused) job can still be triggered.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Who answers for the job, free text.
    #[serde(default)]
    pub owner: String,
    /// Free labels for finding jobs, at most 32.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

/// How a job is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// One handler call at one worker.
    #[default]
    Simple,
    /// A two-level map: `split` at one worker, `process` on all, optional `reduce`.
    Parallel,
}

impl JobKind {
    /// The kind's word in the API and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Parallel => "parallel",
        }
    }
}

/// A job as it is in force: the spec at a version.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// The job's number.
    pub id: JobId,
    /// Grows with each edit; the revision for `If-Match`.
    pub version: JobVersion,
    /// The shard of the group that owns it.
    pub shard_index: u16,
    /// What the user wrote.
    pub spec: JobSpec,
    /// Only fires strictly later than this belong to this version.
    pub effective_from: Timestamp,
    /// When the job was created.
    pub created_at: Timestamp,
    /// When it was last edited.
    pub updated_at: Timestamp,
    /// Who edited it last.
    pub updated_by: String,
}

impl Job {
    /// The largest start delay of a run due at `due`, whose next fire is at `next`: the job's own window, or the smaller of 60 s
    /// and half the period (so that a run never starts when the following one is nearer).
    pub fn start_by(&self, due: Timestamp, next: Option<Timestamp>) -> Timestamp {
        let window = self.spec.start_window.unwrap_or_else(|| {
            let half = next.map_or(u64::MAX, |next| next.since(due).as_millis() / 2);
            Span::from_millis(DEFAULT_START_WINDOW.as_millis().min(half.max(1)))
        });
        due.saturating_add(window)
    }
}

/// How late a run may start when its job does not say: long enough for any failover, short enough that a late start still means something.
pub const DEFAULT_START_WINDOW: Span = Span::from_secs(60);
