//! What a handler knows about its run.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::job::{JobError, JobResult, Verdict};
use crate::logs::RunLog;
use crate::progress::ProgressBoard;
use crate::run_id::{AttemptKey, trace_text};

/// A handler's view of its run: cheap to clone and owned, so it can go into any task or thread.
#[derive(Clone)]
pub struct RunContext {
    inner: Arc<Inner>,
}

struct Inner {
    run: Arc<RunInfo>,
    subtask: Option<SubtaskInfo>,
    cancelled: CancellationToken,
    key_text: OnceLock<String>,
}

/// Which subtask a handler of level 2 is processing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtaskInfo {
    /// The subtask's place in the order of its split, from 0.
    pub index: u64,
    /// The try of this subtask, from 1.
    pub attempt: u32,
    /// The key it was emitted with, for people and for search.
    pub key: String,
}

/// What all subtasks of an attempt have in common.
pub(crate) struct RunInfo {
    pub(crate) key: AttemptKey,
    pub(crate) max_attempts: u32,
    pub(crate) job_name: String,
    pub(crate) description: String,
    pub(crate) trace_id: Vec<u8>,
    pub(crate) epoch: u64,
    pub(crate) log: Option<RunLog>,
    pub(crate) progress: Arc<ProgressBoard>,
    pub(crate) text: OnceLock<String>,
}

impl RunInfo {
    pub(crate) fn run_id(&self) -> &str {
        self.text.get_or_init(|| self.key.run.to_string())
    }
}

impl RunContext {
    pub(crate) fn new(run: Arc<RunInfo>, subtask: Option<SubtaskInfo>, cancelled: CancellationToken) -> Self {
        Self { inner: Arc::new(Inner { run, subtask, cancelled, key_text: OnceLock::new() }) }
    }

    /// The job's number.
    pub fn job_id(&self) -> u32 {
        self.inner.run.key.run.job
    }

    /// The job's name, unique in its task group.
    pub fn job_name(&self) -> &str {
        &self.inner.run.job_name
    }

    /// What the job's owner wrote about it; empty in subtasks.
    pub fn description(&self) -> &str {
        &self.inner.run.description
    }

    /// The run's id, as the console shows it.
    pub fn run_id(&self) -> &str {
        self.inner.run.run_id()
    }

    /// The try of this run, from 1.
    pub fn attempt(&self) -> u32 {
        self.inner.run.key.attempt
    }

    /// The most attempts that the job's policy allows; 0 in subtasks, whose tries the server counts.
    pub fn max_attempts(&self) -> u32 {
        self.inner.run.max_attempts
    }

    /// The nominal instant the job was due. Use this, not "now", to say which period the run is about.
    pub fn fire_time(&self) -> SystemTime {
        let millis = self.inner.run.key.run.fire_time_ms;
        let span = Duration::from_millis(millis.unsigned_abs());
        if millis < 0 { SystemTime::UNIX_EPOCH - span } else { SystemTime::UNIX_EPOCH + span }
    }

    /// [`fire_time`](Self::fire_time) in milliseconds since 1970 UTC.
    pub fn fire_time_ms(&self) -> i64 {
        self.inner.run.key.run.fire_time_ms
    }

    /// The W3C trace id that goes from the trigger to here: 32 hexadecimal digits, empty if the server sent none.
    pub fn trace_id(&self) -> String {
        trace_text(&self.inner.run.trace_id)
    }

    /// The same text in every attempt of this run (and of this subtask), and in no other: what a system that drops repeated requests wants.
    /// Add [`attempt`](Self::attempt) where each attempt shall count.
    pub fn idempotency_key(&self) -> &str {
        match &self.inner.subtask {
            None => self.run_id(),
            Some(subtask) => {
                self.inner.key_text.get_or_init(|| format!("{}.{}", self.run_id(), subtask.index))
            }
        }
    }

    /// A number that grows with every change of the shard's owner. A store that refuses writes with a lower number than it has seen keeps stale
    /// attempts out.
    pub fn fence(&self) -> u64 {
        self.inner.run.epoch
    }

    /// The subtask, in `process` of a parallel job.
    pub fn subtask(&self) -> Option<&SubtaskInfo> {
        self.inner.subtask.as_ref()
    }

    /// Shows how far the run is, 0 to 1, with a word for people. Only the newest is sent, a few times a second, so call it as often as you like.
    pub fn progress(&self, share: f64, message: impl Into<String>) {
        let permille = (share.clamp(0.0, 1.0) * 1_000.0).round() as u32;
        self.inner.run.progress.set(self.inner.run.key, permille, message.into());
    }

    /// Fails once the run is cancelled or over its time, so that `ctx.check()?` in a loop stops a handler at a safe place.
    pub fn check(&self) -> JobResult {
        if self.is_cancelled() {
            return Err(JobError::new(Verdict::Cancelled, "cancelled"));
        }
        Ok(())
    }

    /// Whether the run is cancelled or over its time. The handler has the grace (5 s by default) to end.
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.is_cancelled()
    }

    /// Waits until the run is cancelled or over its time; for `tokio::select!`.
    pub async fn cancelled(&self) {
        self.inner.cancelled.cancelled().await;
    }
}

impl std::fmt::Debug for RunContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunContext")
            .field("run", &self.run_id())
            .field("attempt", &self.attempt())
            .field("job", &self.job_name())
            .field("subtask", &self.inner.subtask)
            .finish_non_exhaustive()
    }
}
