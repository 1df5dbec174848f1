//! Runs due now: triggers, retries by a person, successors of a fixed delay; and cancelling.

use super::open_run::{OpenRun, Phase};
use super::{Effect, Engine, TriggerRequest};
use crate::change::{Advance, Step, TriggeredRun};
use crate::ids::{JobId, RunKey};
use crate::run::{Attempt, Reason, ReasonCode, Run, RunState, TriggerKind};
use crate::time::Timestamp;

impl Engine {
    pub(super) fn trigger(&mut self, now: Timestamp, request: TriggerRequest) {
        let job = self.owned.as_mut().and_then(|owned| {
            let turn = owned.jobs.take_turn(request.job);
            owned.jobs.get(request.job).cloned().map(|job| (job, turn))
        });
        let Some((job, turn)) = job else {
            let TriggerRequest { idempotency_key, job, .. } = request;
            return self.effects.push(Effect::TriggerRefused { idempotency_key, job });
        };
        let key = RunKey::triggered(request.job, now, &request.idempotency_key);
        let mut run = self.planned_run(&job, key, TriggerKind::Api, turn);
        run.start_by = job.job.start_by(now, None);
        run.params = request.params;
        run.trace = request.trace;
        self.effects
            .push(Effect::InsertTriggered(TriggeredRun { run, idempotency_key: request.idempotency_key }));
    }

    pub(super) fn cancel(&mut self, now: Timestamp, key: RunKey, by: &str) {
        if self.owned.as_ref().is_some_and(|owned| owned.runs.contains_key(&key)) {
            let reason = Reason::new(ReasonCode::CancelledByUser, format!("cancelled by {by}"));
            self.ask_to_stop(now, key, reason, false);
        }
    }

    /// A dead letter is tried again: attempt n + 1 of the same run, by order of a person.
    pub(super) fn retry_dead_letter(&mut self, now: Timestamp, mut run: Run, by: &str) {
        let Some(owned) = &self.owned else { return };
        let Some(job) = owned.jobs.get(run.key.job).cloned() else { return };
        if !run.state.is_dead_letter() || owned.runs.contains_key(&run.key) {
            return;
        }
        let cause = run.reason.take().map_or_else(|| run.state.to_string(), |reason| reason.to_string());
        let ended = Attempt {
            key: run.key,
            attempt: run.attempt,
            worker: run.worker,
            due_at: run.due_at,
            started_at: run.started_at.take(),
            finished_at: run.finished_at.take().unwrap_or(now),
            reason: Reason::new(
                if run.state == RunState::TimedOut { ReasonCode::Timeout } else { ReasonCode::HandlerFailed },
                format!("{cause}; tried again by {by}"),
            ),
        };
        let attempt = run.attempt;
        let fresh = self.planned_run(&job, run.key, run.trigger, u64::from(attempt.get()));
        run.worker = fresh.worker;
        (run.attempt, run.plan_no, run.state) = (attempt.next(), run.plan_no.next(), RunState::Planned);
        (run.due_at, run.start_by, run.result) = (now, job.job.start_by(now, None), None);
        run.job_version = job.job.version;
        let step = Step::Reopen {
            ended,
            due_at: run.due_at,
            start_by: run.start_by,
            worker: run.worker,
            plan_no: run.plan_no,
        };
        let key = run.key;
        self.effects.push(Effect::Changed { key, attempt: run.attempt, state: RunState::Planned });
        let fence = Some(self.fence_with_jobs());
        self.plan_attempt(now, Advance { key, attempt, step, fence }, OpenRun::new(run, Some(job)), None);
    }

    /// After the end of a scheduled run of a job with a fixed delay: the next one.
    pub(super) fn follow_fixed_delay(&mut self, now: Timestamp, ended: RunKey, ended_at: Timestamp) {
        if ended.ordinal == 0 {
            self.insert_successor(now, ended.job, ended_at);
        }
    }

    /// After a look at the store: a job with a fixed delay has its next run.
    pub(super) fn resume_fixed_delay(&mut self, now: Timestamp, job: JobId, last_final: Option<Timestamp>) {
        let owned = self.owned_ref();
        let Some(in_force) = owned.jobs.get(job).filter(|job| job.has_fixed_delay()) else { return };
        if owned.runs_of(job).any(|key| key.ordinal == 0) {
            return;
        }
        let from = in_force.job.effective_from;
        self.insert_successor(now, job, last_final.map_or(from, |last| last.max(from)));
    }

    fn insert_successor(&mut self, now: Timestamp, job: JobId, after: Timestamp) {
        let Some(job) = self.owned_ref().jobs.get(job).cloned() else { return };
        if !job.job.spec.enabled {
            return;
        }
        let Some(fire_time) = job.schedule.successor(after) else { return };
        let turn = self.owned_mut().jobs.take_turn(job.job.id);
        let key = RunKey::scheduled(job.job.id, fire_time);
        let mut run = self.planned_run(&job, key, TriggerKind::Schedule, turn);
        // After an outage the delay is long over: it runs now, and its fire time still tells when it was to run.
        run.due_at = job.schedule.due(job.seed(), fire_time).max(now);
        run.start_by = job.job.start_by(run.due_at, None);
        self.effects.push(Effect::InsertRuns(vec![run]));
    }

    /// Whether the run is still open here; for the shell's answer to a cancel.
    pub fn is_open(&self, key: RunKey) -> bool {
        self.owned.as_ref().is_some_and(|owned| owned.runs.contains_key(&key))
    }

    fn behind(&self, open: &OpenRun) -> String {
        if open.phase != Phase::Held {
            return String::new();
        }
        let owned = self.owned_ref();
        let busy = owned.occupied.get(&open.run.key.job).copied().unwrap_or(0);
        let earlier = owned
            .by_job
            .get(&open.run.key.job)
            .and_then(|siblings| siblings.range(..open.order()).next_back());
        let earlier = earlier
            .map_or(String::new(), |(_, key)| format!(", behind run {key}, {:?}", owned.runs[key].phase));
        format!(", {busy} of the job in progress{earlier}")
    }

    /// What an open run waits for, in words, for a person who asks why it does not run.
    pub fn explain(&self, key: RunKey) -> Option<String> {
        let open = self.owned.as_ref()?.runs.get(&key)?;
        let again =
            open.wake_at.map_or_else(|| "when something happens to it".to_owned(), |at| at.to_string());
        let wish =
            open.cancel.as_ref().map_or(String::new(), |wish| format!(", to be stopped: {}", wish.reason));
        let behind = self.behind(open);
        Some(format!(
            "{:?} at {:?}, attempt {}, looked at again {again}{wish}{behind}",
            open.phase, open.run.worker, open.run.attempt
        ))
    }

    /// Open runs that wait behind another run of their job, or for a worker.
    pub fn waiting_runs(&self) -> usize {
        let waits = |phase: Phase| matches!(phase, Phase::Held | Phase::Unplaced | Phase::Queued);
        self.owned.as_ref().map_or(0, |owned| owned.runs.values().filter(|open| waits(open.phase)).count())
    }
}
