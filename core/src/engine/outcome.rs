//! Ends of attempts: retry under the policy, or the run's final state.

use serde_json::Value;

use super::open_run::{OpenRun, Phase};
use super::{Effect, Engine, MapOutcome};
use crate::change::{Advance, Fence, Step};
use crate::ids::{AttemptNo, Incarnation, RunKey};
use crate::job::{JobKind, RetryPolicy};
use crate::routing::Choice;
use crate::run::{Attempt, Reason, ReasonCode, RunState};
use crate::time::{Span, Timestamp};

impl Engine {
    /// The run is final.
    #[expect(clippy::too_many_arguments, reason = "the parts of one final row, each of another kind")]
    pub(super) fn end(
        &mut self,
        now: Timestamp,
        key: RunKey,
        started: Option<(Incarnation, Timestamp)>,
        at: Timestamp,
        state: RunState,
        reason: Option<Reason>,
        result: Option<Value>,
        ack: Option<(Incarnation, u64)>,
    ) {
        let Some(open) = self.owned_mut().remove(key) else { return };
        let started_at = started.map(|(_, at)| at).or(open.run.started_at);
        if let (Some(started_at), None) = (started_at, open.run.started_at) {
            self.effects.push(Effect::Started { key, due_at: open.run.due_at, started_at });
        }
        let attempt = open.run.attempt;
        self.abort_map(&open);
        // Without a worker's word it is a decision.
        let (fence, seen) = match ack {
            Some(_) => (None, None),
            None => (Some(self.fence()), Some(open.run.plan_no)),
        };
        let step = Step::Final { state, started_at, at, reason, result, seen };
        self.effects.push(Effect::Advance {
            steps: vec![Advance { key, attempt, step, fence }],
            acks: ack.into_iter().collect(),
        });
        self.effects.push(Effect::Changed { key, attempt, state });
        self.owned_mut().wake_held(key.job, now);
        self.follow_fixed_delay(now, key, at);
    }

    /// The run is final by decision of the engine, without a worker's word.
    pub(super) fn finish(
        &mut self,
        now: Timestamp,
        key: RunKey,
        state: RunState,
        reason: Option<Reason>,
        ack: Option<(Incarnation, u64)>,
    ) {
        self.end(now, key, None, now, state, reason, None, ack);
    }

    /// An attempt failed: another one under the policy, or the end.
    #[expect(clippy::too_many_arguments, reason = "the parts of one failure, each of another kind")]
    pub(super) fn attempt_failed(
        &mut self,
        now: Timestamp,
        key: RunKey,
        started: Option<(Incarnation, Timestamp)>,
        at: Timestamp,
        reason: Reason,
        fatal: bool,
        retry_after: Option<Span>,
        ack: Option<(Incarnation, u64)>,
    ) {
        let open = &self.owned_ref().runs[&key];
        let attempt = open.run.attempt;
        let policy = open.job.as_ref().map(|job| job.job.spec.retry);
        // Someone who wants the run stopped does not want it tried again.
        if let Some(wish) = open.cancel.clone().filter(|wish| !wish.timeout) {
            return self.end(now, key, started, at, RunState::Cancelled, Some(wish.reason), None, ack);
        }
        match policy {
            Some(policy) if !fatal && policy.on.failure && attempt.get() < policy.max_attempts => {
                let wait = retry_after.unwrap_or_else(|| backoff(&policy, attempt, key));
                self.note_start_of(key, started);
                self.retry(now, key, at, reason, at.max(now).saturating_add(wait), ack);
            }
            _ => {
                let state = if fatal { RunState::Failed } else { RunState::Dead };
                self.end(now, key, started, at, state, Some(reason), None, ack);
            }
        }
    }

    /// An attempt took too long: `news` is when its worker said so, none where the server itself ended it.
    pub(super) fn attempt_timed_out(
        &mut self,
        now: Timestamp,
        key: RunKey,
        reason: Reason,
        news: Option<(Timestamp, (Incarnation, u64))>,
    ) {
        let open = &self.owned_ref().runs[&key];
        let attempt = open.run.attempt;
        let (at, ack) = news.map_or((now, None), |(at, ack)| (at, Some(ack)));
        let policy = open.job.as_ref().map(|job| job.job.spec.retry);
        match policy {
            Some(policy) if policy.on.timeout && attempt.get() < policy.max_attempts => {
                let due_at = now.saturating_add(backoff(&policy, attempt, key));
                self.retry(now, key, at, reason, due_at, ack);
            }
            _ => self.end(now, key, None, at, RunState::TimedOut, Some(reason), None, ack),
        }
    }

    /// Another attempt, due at once or later, for a cause that is not the handler's.
    pub(super) fn next_attempt(&mut self, now: Timestamp, key: RunKey, reason: Reason, due_at: Timestamp) {
        self.retry(now, key, now, reason, due_at, None);
    }

    fn note_start_of(&mut self, key: RunKey, started: Option<(Incarnation, Timestamp)>) {
        let open = self.owned_mut().runs.get_mut(&key).expect("the caller looked it up");
        if let (None, Some((_, at))) = (open.run.started_at, started) {
            open.run.started_at = Some(at);
            let due_at = open.run.due_at;
            self.effects.push(Effect::Started { key, due_at, started_at: at });
        }
    }

    /// Records the ended attempt with its cause and plans the next one.
    fn retry(
        &mut self,
        now: Timestamp,
        key: RunKey,
        ended_at: Timestamp,
        reason: Reason,
        due_at: Timestamp,
        ack: Option<(Incarnation, u64)>,
    ) {
        let mut open = self.owned_mut().remove(key).expect("the caller looked it up");
        self.abort_map(&open);
        let ended = Attempt {
            key,
            attempt: open.run.attempt,
            worker: open.run.worker,
            due_at: open.run.due_at,
            started_at: open.run.started_at,
            finished_at: ended_at,
            reason,
        };
        let worker = open.job.as_ref().and_then(|job| {
            let params = open.run.params.as_ref().unwrap_or(&job.job.spec.params);
            let turn = u64::from(open.run.attempt.get()) + key.fire_time.as_millis().unsigned_abs();
            self.choose(Choice { job: &job.job.spec, key, params, turn }, &[])
        });
        let start_by = open.job.as_ref().map_or(due_at, |job| job.job.start_by(due_at, None));
        let attempt = open.run.attempt;
        let run = &mut open.run;
        run.attempt = attempt.next();
        run.plan_no = run.plan_no.next();
        (run.state, run.worker, run.due_at, run.start_by) = (RunState::Planned, worker, due_at, start_by);
        (run.started_at, run.finished_at, run.reason) = (None, None, None);
        let plan_no = run.plan_no;
        let step = Step::Retry { ended, due_at, start_by, worker, plan_no };
        let next_attempt = run.attempt;
        let next = OpenRun::new(open.run, open.job);
        let fence = Some(self.fence_with_jobs());
        self.plan_attempt(now, Advance { key, attempt, step, fence }, next, ack);
        self.effects.push(Effect::Changed { key, attempt: next_attempt, state: RunState::Planned });
        self.owned_mut().wake_held(key.job, now);
    }

    /// However the attempt of a parallel run ended, its map must not go on; for one that ended by itself this says nothing new.
    fn abort_map(&mut self, open: &OpenRun) {
        let parallel = open.job.as_ref().is_some_and(|job| job.job.spec.kind == JobKind::Parallel);
        if parallel && open.run.started_at.is_some() {
            self.effects.push(Effect::MapAbort { key: open.run.key, attempt: open.run.attempt });
        }
    }

    /// The right to decide for the shard.
    pub(super) fn fence(&self) -> Fence {
        Fence { shard: self.shard, epoch: self.owned_ref().epoch, jobs_version: None }
    }

    /// The right to decide what depends on the jobs as the engine knows them.
    pub(super) fn fence_with_jobs(&self) -> Fence {
        Fence { jobs_version: Some(self.owned_ref().jobs_version), ..self.fence() }
    }

    /// Hands the next attempt's row over; the run waits for its commit.
    pub(super) fn plan_attempt(
        &mut self,
        now: Timestamp,
        advance: Advance,
        mut next: OpenRun,
        ack: Option<(Incarnation, u64)>,
    ) {
        (next.phase, next.next_planned) = (Phase::Moving, true);
        let key = next.run.key;
        self.owned_mut().insert(next);
        self.expect_answer(now, key);
        self.effects
            .push(Effect::NextAttempt { advance: Box::new(advance), acks: ack.into_iter().collect() });
    }

    pub(super) fn next_attempt_planned(
        &mut self,
        now: Timestamp,
        key: RunKey,
        attempt: AttemptNo,
        applied: bool,
    ) {
        let Some(owned) = &mut self.owned else { return };
        let Some(open) = owned.runs.get(&key) else { return };
        if open.run.attempt != attempt || open.phase != Phase::Moving {
            return;
        }
        if !applied {
            return self.reload_for_refusal();
        }
        let wake_at = open.run.due_at.saturating_sub(self.config.arm_lead).max(now);
        owned.set_phase(key, Phase::Waiting);
        owned.wake(key, Some(wake_at));
    }

    pub(super) fn map_split(&mut self, now: Timestamp, key: RunKey, attempt: AttemptNo) {
        let Some(open) = self.owned.as_ref().and_then(|owned| owned.runs.get(&key)) else { return };
        if open.run.attempt == attempt && open.phase != Phase::Mapping && open.run.started_at.is_some() {
            let overdue = self.overdue_at(open);
            let owned = self.owned_mut();
            owned.set_phase(key, Phase::Mapping);
            let overdue = overdue.map(|at| at.max(now));
            owned.wake(key, overdue);
        }
    }

    pub(super) fn map_ended(&mut self, now: Timestamp, key: RunKey, attempt: AttemptNo, outcome: MapOutcome) {
        let Some(open) = self.owned.as_ref().and_then(|owned| owned.runs.get(&key)) else { return };
        if open.run.attempt != attempt {
            return;
        }
        match outcome {
            MapOutcome::Succeeded { result } => {
                self.end(now, key, None, now, RunState::Succeeded, None, result, None);
            }
            MapOutcome::Failed(reason) => {
                // Subtasks have had their own attempts: splitting again would not mend those that failed.
                let fatal = reason.code == ReasonCode::SubtasksFailed;
                let started = open.run.worker.zip(open.run.started_at);
                if fatal {
                    self.end(now, key, started, now, RunState::Dead, Some(reason), None, None);
                } else {
                    self.attempt_failed(now, key, started, now, reason, false, None, None);
                }
            }
        }
    }
}

/// The wait before the attempt after `attempt`: fixed or doubling from `initial` up to `max`, a share of it drawn by the run's hash
/// ("equal jitter", Brooker, AWS Architecture Blog 2015), so that failures do not come back together and a repeated decision is the same.
pub(super) fn backoff(policy: &RetryPolicy, attempt: AttemptNo, key: RunKey) -> Span {
    let initial = policy.initial.as_millis();
    let wait = match policy.backoff {
        crate::job::Backoff::Fixed => initial,
        crate::job::Backoff::Exponential => {
            let doublings = attempt.get().saturating_sub(1).min(32);
            initial.saturating_mul(1 << doublings)
        }
    };
    let wait = wait.min(policy.max.as_millis());
    let drawn = wait * policy.jitter.thousandths() / 1_000;
    let seed = key.trace_id().get() as u64 ^ u64::from(attempt.get());
    let chance = xxhash_rust::xxh3::xxh3_64(&seed.to_le_bytes());
    Span::from_millis(wait - drawn + if drawn == 0 { 0 } else { chance % (drawn + 1) })
}
