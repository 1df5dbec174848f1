//! Runs: one fire of a job each, their life cycle as one table, and the reasons they carry.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{AttemptNo, Epoch, IdError, Incarnation, JobVersion, PlanNo, RunKey, ShardId, TraceId};
use crate::time::{Span, Timestamp};

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Decided and recorded; its current attempt has not been seen to start. A run that waits for a retry is planned again.
    Planned,
    /// A worker has reported the start of the current attempt.
    Running,
    /// The handler returned success.
    Succeeded,
    /// The handler failed and said that trying again is useless.
    Failed,
    /// The attempts are used up: a dead letter.
    Dead,
    /// The last attempt took longer than its timeout.
    TimedOut,
    /// Cancelled by a person, an edit of the job, or its replacement by a newer run.
    Cancelled,
    /// Not started by policy (overlap, misfire); the reason says which.
    Skipped,
    /// Could not start by its latest start; the reason says why.
    Missed,
}

impl RunState {
    /// Every state, in the order of the life cycle.
    pub const ALL: [Self; 9] = [
        Self::Planned,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Dead,
        Self::TimedOut,
        Self::Cancelled,
        Self::Skipped,
        Self::Missed,
    ];

    /// The table of legal transitions. A state that stays is no transition. `planned -> succeeded` and its like happen when start and
    /// end are reported together; `running -> planned` is a retry.
    pub fn can_become(self, next: Self) -> bool {
        use RunState::*;
        match self {
            Planned => next != Planned,
            Running => !matches!(next, Running | Skipped | Missed),
            Succeeded | Failed | Dead | TimedOut | Cancelled | Skipped | Missed => false,
        }
    }

    /// As [`can_become`](Self::can_become), for a run that was ended on a presumption, and whose worker comes with the truth: it was ended for
    /// want of news (`reason` is [`ReasonCode::WorkerLost`]), an edit cancelled it in the moment in which it started, or it was skipped since
    /// nobody seemed to have planned it in time, but a database failover had lost that. The report of that attempt's end corrects the presumption. A mere start does not: its end may never come, and nobody waits for it any longer.
    pub fn can_be_corrected_to(self, next: Self, reason: Option<ReasonCode>) -> bool {
        use RunState::*;
        let presumed = match self {
            Missed | Dead => reason == Some(ReasonCode::WorkerLost),
            Skipped => reason == Some(ReasonCode::Misfire),
            Cancelled => {
                matches!(reason, Some(ReasonCode::Edited | ReasonCode::Paused | ReasonCode::Deleted))
            }
            _ => false,
        };
        presumed && matches!(next, Succeeded | Failed | Dead | TimedOut | Cancelled) && self != next
    }

    /// Whether nothing further happens to the run by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Planned | Self::Running)
    }

    /// Whether a person should look: the run can be retried or discarded from the dead letters.
    pub fn is_dead_letter(self) -> bool {
        matches!(self, Self::Failed | Self::Dead | Self::TimedOut)
    }

    /// The state's word in the API and the pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
        }
    }

    /// The state's number in the store and on the wire; never reused.
    pub fn code(self) -> u8 {
        match self {
            Self::Planned => 1,
            Self::Running => 2,
            Self::Succeeded => 3,
            Self::Failed => 4,
            Self::Dead => 5,
            Self::TimedOut => 6,
            Self::Cancelled => 7,
            Self::Skipped => 8,
            Self::Missed => 9,
        }
    }

    /// The state of a number from the store.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RunState {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            IdError::new(
                "run state",
                text,
                "expected planned, running, succeeded, failed, dead, timed_out, cancelled, skipped or missed",
            )
        })
    }
}

/// Declares the reason codes once: variant, word, number.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal $word:literal),+ $(,)?) => {
        /// Why a run was skipped, missed, retried, cancelled or refused: a stable word for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ReasonCode { $($(#[$doc])* $name),+ }

        impl ReasonCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code's word in the API.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),+ }
            }

            /// The code's number in the store; never reused.
            pub fn code(self) -> u8 {
                match self { $(Self::$name => $code),+ }
            }

            /// The code of a number from the store.
            pub fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

reasons! {
    /// No eligible worker was there by the latest start.
    NoWorker = 1 "no_worker",
    /// Every eligible worker refused because it was full.
    Busy = 2 "busy",
    /// The worker was lost while it had the run.
    WorkerLost = 3 "worker_lost",
    /// Nobody planned the fire in time; the misfire policy says skip.
    Misfire = 4 "misfire",
    /// A run of the job was still running; the overlap policy says skip.
    Overlap = 5 "overlap",
    /// Too many runs of the job were waiting.
    QueueFull = 6 "queue_full",
    /// A newer run of the job replaced it.
    Replaced = 7 "replaced",
    /// The job was edited.
    Edited = 8 "edited",
    /// The job was paused.
    Paused = 9 "paused",
    /// The job was deleted.
    Deleted = 10 "deleted",
    /// A person cancelled it.
    CancelledByUser = 11 "cancelled_by_user",
    /// The handler failed.
    HandlerFailed = 12 "handler_failed",
    /// The handler panicked.
    HandlerPanicked = 13 "handler_panicked",
    /// The attempt took longer than the timeout.
    Timeout = 14 "timeout",
    /// The worker got the Arm or came to it after the latest start.
    TooLate = 15 "too_late",
    /// No worker of the group knows the handler.
    UnknownHandler = 16 "unknown_handler",
    /// The worker was draining.
    Draining = 17 "draining",
    /// Too many subtasks failed.
    SubtasksFailed = 18 "subtasks_failed",
    /// The handler asked to skip the run.
    HandlerSkipped = 19 "handler_skipped",
    /// A person discarded the dead letter.
    Discarded = 20 "discarded",
    /// The worker could not read the params.
    BadParams = 21 "bad_params",
}

/// A reason with what a person wants to know beyond the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The stable word.
    pub code: ReasonCode,
    /// One readable sentence, at most 1,000 characters.
    pub detail: String,
}

impl Reason {
    /// A reason with its sentence; longer ones are cut at 1,000 characters, which any honest sentence fits.
    pub fn new(code: ReasonCode, detail: impl Into<String>) -> Self {
        let detail: String = detail.into();
        let detail =
            if detail.chars().count() > 1_000 { detail.chars().take(1_000).collect() } else { detail };
        Self { code, detail }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

/// What made a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerKind {
    /// The job's schedule.
    Schedule,
    /// A request through API, command line, page or SDK.
    Api,
    /// A person retried a finished run.
    Retry,
    /// The misfire policy started a missed fire late.
    Misfire,
}

impl TriggerKind {
    /// Whether somebody asked for this very run: it runs also while its job is paused.
    pub fn is_by_request(self) -> bool {
        matches!(self, Self::Api | Self::Retry)
    }

    /// The kind's word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Api => "api",
            Self::Retry => "retry",
            Self::Misfire => "misfire",
        }
    }

    /// The kind's number in the store; never reused.
    pub fn code(self) -> u8 {
        match self {
            Self::Schedule => 1,
            Self::Api => 2,
            Self::Retry => 3,
            Self::Misfire => 4,
        }
    }

    /// The kind of a number from the store.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Schedule, Self::Api, Self::Retry, Self::Misfire].into_iter().find(|kind| kind.code() == code)
    }
}

/// One fire of a job and what became of it: a row of the run table.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What identifies it.
    pub key: RunKey,
    /// The shard whose owner plans it.
    pub shard: ShardId,
    /// The epoch under which it was planned last.
    pub epoch: Epoch,
    /// The version of the job it belongs to.
    pub job_version: JobVersion,
    /// What made it.
    pub trigger: TriggerKind,
    /// The worker it is planned at; none while no eligible one is known.
    pub worker: Option<Incarnation>,
    /// Grows with every change of the worker.
    pub plan_no: PlanNo,
    /// The current attempt.
    pub attempt: AttemptNo,
    /// Where it is in its life.
    pub state: RunState,
    /// When the current attempt is to start: the fire time with jitter, or the end of a backoff.
    pub due_at: Timestamp,
    /// The current attempt never starts later than this.
    pub start_by: Timestamp,
    /// When the current attempt's handler started, by the worker's cluster time.
    pub started_at: Option<Timestamp>,
    /// When the run became final, or the current attempt ended.
    pub finished_at: Option<Timestamp>,
    /// Why it is where it is, for every state but the plain ones.
    pub reason: Option<Reason>,
    /// What the handler returned, at most 16 KiB as JSON text.
    pub result: Option<Value>,
    /// Params of this run in place of the job's.
    pub params: Option<Value>,
    /// A trace id given by the requester; else it is derived from the key.
    pub trace: Option<TraceId>,
}

/// The largest result as JSON text; larger outputs belong where the handler puts its data.
pub const MAX_RESULT_BYTES: usize = 16 * 1024;

impl Run {
    /// A scheduled run that waits for its first attempt, due at its fire time and not later, at no worker yet.
    pub fn planned(key: RunKey, shard: ShardId, epoch: Epoch, job_version: JobVersion) -> Self {
        Self {
            key,
            shard,
            epoch,
            job_version,
            trigger: TriggerKind::Schedule,
            worker: None,
            plan_no: PlanNo::default(),
            attempt: AttemptNo::FIRST,
            state: RunState::Planned,
            due_at: key.fire_time,
            start_by: key.fire_time,
            started_at: None,
            finished_at: None,
            reason: None,
            result: None,
            params: None,
            trace: None,
        }
    }

    /// The run's trace id, from its trigger to its handler's log lines.
    pub fn trace_id(&self) -> TraceId {
        self.trace.unwrap_or_else(|| self.key.trace_id())
    }

    /// Under which right its row was made.
    pub fn fence(&self) -> crate::change::Fence {
        crate::change::Fence { shard: self.shard, epoch: self.epoch, jobs_version: None }
    }

    /// How late the handler started, for a run that started.
    pub fn lateness(&self) -> Option<Span> {
        self.started_at.map(|started| started.since(self.due_at))
    }
}

/// One ended try of a run that another one followed; the last try stands in the run itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The run.
    pub key: RunKey,
    /// Which try.
    pub attempt: AttemptNo,
    /// Where it was planned.
    pub worker: Option<Incarnation>,
    /// When it was to start.
    pub due_at: Timestamp,
    /// When it started, if that is known.
    pub started_at: Option<Timestamp>,
    /// When it ended, or was given up.
    pub finished_at: Timestamp,
    /// Its recorded cause: what allowed the next attempt.
    pub reason: Reason,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_state_never_changes_but_by_correction() {
        for state in RunState::ALL.into_iter().filter(|state| state.is_final()) {
            assert!(RunState::ALL.into_iter().all(|next| !state.can_become(next)), "{state}");
        }
        assert!(RunState::Missed.can_be_corrected_to(RunState::Succeeded, Some(ReasonCode::WorkerLost)));
        assert!(!RunState::Missed.can_be_corrected_to(RunState::Succeeded, Some(ReasonCode::NoWorker)));
        assert!(!RunState::Succeeded.can_be_corrected_to(RunState::Failed, Some(ReasonCode::WorkerLost)));
        assert!(RunState::Cancelled.can_be_corrected_to(RunState::Succeeded, Some(ReasonCode::Paused)));
        assert!(!RunState::Cancelled.can_be_corrected_to(RunState::Succeeded, Some(ReasonCode::Replaced)));
        assert!(RunState::Skipped.can_be_corrected_to(RunState::Succeeded, Some(ReasonCode::Misfire)));
        assert!(!RunState::Skipped.can_be_corrected_to(RunState::Succeeded, Some(ReasonCode::Overlap)));
    }

    #[test]
    fn every_state_and_reason_reads_back_from_its_number_and_word() {
        for state in RunState::ALL {
            assert_eq!(RunState::from_code(state.code()), Some(state));
            assert_eq!(state.as_str().parse::<RunState>(), Ok(state));
        }
        for reason in ReasonCode::ALL {
            assert_eq!(ReasonCode::from_code(reason.code()), Some(*reason));
        }
    }
}
