//! A run that is not final yet, as the owner sees it.

use std::sync::Arc;

use super::jobs::Jobs;
use super::{Arm, JobInForce};
use crate::ids::{Epoch, Incarnation, PlanNo};
use crate::run::{Reason, Run, RunState};
use crate::time::{Span, Timestamp};

/// A planned or running run.
#[derive(Debug)]
pub(super) struct OpenRun {
    /// The row as the engine has decided it; the store follows.
    pub(super) run: Run,
    /// The job in force when it was planned; none where the job is gone.
    pub(super) job: Option<Arc<JobInForce>>,
    /// What is being waited for.
    pub(super) phase: Phase,
    /// When to look again: its entry in the wake set.
    pub(super) wake_at: Option<Timestamp>,
    /// An earlier owner may have armed it at its worker; of a started run, that its worker is to be asked what became of it.
    pub(super) perhaps_armed: bool,
    /// The latest plan that a worker may have although the store does not know of it any longer.
    pub(super) lost_plan: Option<PlanNo>,
    /// The worker was asked to withdraw it; the plan is not armed before it has answered.
    pub(super) asked: bool,
    /// Workers that gave a tombstone for the current attempt, with the last one's word.
    pub(super) refused: Vec<Incarnation>,
    /// Why the last worker refused.
    pub(super) last_refusal: Option<Reason>,
    /// Somebody wants it stopped.
    pub(super) cancel: Option<CancelWish>,
    /// While it is moving: what is being committed is its next attempt, not another worker.
    pub(super) next_planned: bool,
}

/// What an open run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its arming time.
    Waiting,
    /// A worker that may run it.
    Unplaced,
    /// An earlier run of its job.
    Held,
    /// The commit that moves it to another worker, or plans its next attempt.
    Moving,
    /// The worker's answer to an Arm, or the start.
    Armed {
        /// The worker said that it has it.
        acknowledged: bool,
    },
    /// The worker has it queued behind a run of the same job.
    Queued,
    /// The handler's end.
    Started,
    /// The end of its map: subtasks on any worker.
    Mapping,
}

impl Phase {
    /// Whether a worker may have it: it takes a tombstone to be sure that it never starts there.
    pub(super) fn is_at_worker(self) -> bool {
        matches!(self, Self::Armed { .. } | Self::Queued | Self::Started)
    }

    /// Whether the run counts as in progress for the overlap of its job.
    pub(super) fn occupies(self) -> bool {
        self.is_at_worker() || self == Self::Mapping
    }
}

/// A wish to stop a run.
#[derive(Debug, Clone)]
pub(super) struct CancelWish {
    /// Recorded with the end.
    pub(super) reason: Reason,
    /// When the worker was asked; after the grace the run is given up.
    pub(super) asked_at: Timestamp,
    /// The wish is a timeout: the end is `timed_out`, and may be retried.
    pub(super) timeout: bool,
}

impl OpenRun {
    /// A run that waits for its arming time.
    pub(super) fn new(run: Run, job: Option<Arc<JobInForce>>) -> Self {
        Self {
            run,
            job,
            phase: Phase::Waiting,
            wake_at: None,
            perhaps_armed: false,
            lost_plan: None,
            asked: false,
            refused: Vec::new(),
            last_refusal: None,
            cancel: None,
            next_planned: false,
        }
    }

    /// With the job as it is in force now.
    pub(super) fn with_job(self, jobs: &Jobs) -> Self {
        Self { job: jobs.get(self.run.key.job).cloned(), ..self }
    }

    /// What its worker is told; none where the job is gone.
    pub(super) fn arm_at(&self, worker: Incarnation, epoch: Epoch) -> Option<Arm> {
        let job = self.job.clone()?;
        Some(Arm {
            to: worker,
            key: self.run.key,
            attempt: self.run.attempt,
            plan_no: self.run.plan_no,
            // What is sent is the job in force, so its version is too: a retry after an edit runs the edited job.
            job_version: job.job.version,
            due_at: self.run.due_at,
            start_by: self.run.start_by,
            params: self.run.params.clone(),
            trace: self.run.trace_id(),
            epoch,
            job,
        })
    }

    /// When to look at it after something changed for its job or its worker.
    pub(super) fn look_at(&self, now: Timestamp, arm_lead: Span) -> Timestamp {
        if self.phase == Phase::Waiting && self.cancel.is_none() {
            return self.run.due_at.saturating_sub(arm_lead).max(now);
        }
        now
    }

    /// Whether its row shows what became of the change of its plan that is under way.
    pub(super) fn is_answered_by(&self, row: &Run) -> bool {
        let moved = row.attempt == self.run.attempt && row.plan_no > self.run.plan_no;
        let begun = row.attempt == self.run.attempt && row.state == RunState::Running;
        // The plan of a next attempt is known ahead; that of a move is not.
        let replanned =
            row.attempt == self.run.attempt && row.plan_no == self.run.plan_no && self.next_planned;
        self.phase == Phase::Moving && (moved || begun || replanned)
    }

    /// Its place among the runs of its job.
    pub(super) fn order(&self) -> (Timestamp, crate::ids::RunKey) {
        (self.run.due_at, self.run.key)
    }
}
