//! How the engine's effects are carried out, and what the engine is told about them.

use carillon_core::change::Advance;
use carillon_core::engine::{Effect, Input};
use carillon_core::ids::{Incarnation, JobId, RunKey, TraceId};
use carillon_core::run::RunState;
use carillon_proto::v1::{Cancel, Disarm};

use super::{Refused, ShardLoop, answer};
use crate::committer::{Done, DoneKind, Operation, SliceFate};
use crate::rpc::convert::{self, run_ref};

impl ShardLoop {
    /// Carries out what the engine has decided, in order.
    pub(super) fn carry_out(&mut self) {
        // Advances that follow each other share one operation.
        let mut steps: Vec<Advance> = Vec::new();
        let mut acks: Vec<(Incarnation, u64)> = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            let stored = matches!(
                effect,
                Effect::CommitSlice(_)
                    | Effect::InsertRuns(_)
                    | Effect::InsertTriggered(_)
                    | Effect::NextAttempt { .. }
                    | Effect::Move(_)
                    | Effect::Reload
                    | Effect::ReadJob(_)
            );
            if stored && !steps.is_empty() {
                let (steps, acks) = (std::mem::take(&mut steps), std::mem::take(&mut acks));
                self.store(Operation::Advance { steps, acks, epoch: self.epoch });
            }
            match effect {
                Effect::Advance { steps: more, acks: more_acks } => {
                    steps.extend(more);
                    acks.extend(more_acks);
                }
                effect => self.carry_out_one(effect),
            }
        }
        if !steps.is_empty() {
            self.store(Operation::Advance { steps, acks, epoch: self.epoch });
        }
        self.outbox.send(&self.shell.switchboard);
        if !self.tally.is_empty() {
            let tally = std::mem::take(&mut self.tally);
            self.shell.events.tally(self.id.group(), &tally);
            self.shell.figures.tally(self.shell.clock.now(), self.id.group(), &tally);
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        match effect {
            Effect::Advance { steps, acks } => {
                self.store(Operation::Advance { steps, acks, epoch: self.epoch })
            }
            Effect::CommitSlice(slice) => self.store(Operation::Slice(slice)),
            Effect::InsertRuns(runs) => self.store(Operation::Insert(runs)),
            Effect::InsertTriggered(triggered) => {
                let run = &triggered.run;
                tracing::debug!(run = %run.key, job = %run.key.job, shard = %self.id, trace_id = %run.trace_id(), "a run is triggered by request");
                self.store(Operation::Trigger(Box::new(triggered)));
            }
            Effect::NextAttempt { advance, acks } => self.store(Operation::NextAttempt { advance, acks }),
            Effect::Move(moves) => self.store(Operation::Move(moves)),
            Effect::TriggerRefused { idempotency_key, job } => self.trigger_refused(job, idempotency_key),
            Effect::Ack(acks) => {
                for (worker, seq) in acks {
                    self.outbox.ack(worker, seq);
                }
            }
            Effect::Arm(arm) => {
                if self.epoch.is_none() {
                    self.shell.metrics.standby_arms.inc();
                }
                tracing::debug!(run = %arm.key, job = %arm.key.job, shard = %self.id, attempt = %arm.attempt, worker = %arm.to, epoch = %arm.epoch, trace_id = %arm.trace, due_at = %arm.due_at, "arming");
                self.shell.arms.sent(arm.key, arm.attempt, arm.to, self.shell.clock.now());
                self.outbox.arm(arm.to, convert::arm(self.id, &arm));
            }
            Effect::Disarm { to, key, attempt, plan_no, job_version, epoch } => {
                let disarm = Disarm {
                    run: Some(run_ref(key)),
                    attempt: attempt.get(),
                    plan_no: plan_no.get(),
                    shard: u32::from(self.id.index()),
                    job_version: job_version.get(),
                    epoch: epoch.get(),
                };
                self.outbox.disarm(to, disarm);
            }
            Effect::CancelAttempt { to, key, attempt, grace, why } => {
                let cancel = Cancel {
                    run: Some(run_ref(key)),
                    attempt: attempt.get(),
                    grace_ms: grace.as_millis(),
                    why,
                };
                self.outbox.cancel(to, cancel);
            }
            Effect::Reload => self.look_at(None),
            Effect::ReadJob(job) => self.look_at(Some(job)),
            Effect::Tell(news) => self.telling.add(*news),
            Effect::ReadShard => self.read_row(),
            Effect::TakeOver { seen, why } => self.shell.ownership.take_over(self.id, seen, why),
            Effect::MapOpen { run, job } => {
                if let Some(epoch) = self.epoch {
                    self.shell.maps.open(self.id, epoch, *run, job);
                }
            }
            Effect::MapAbort { key, attempt } => self.shell.maps.abort(self.id, key, attempt),
            Effect::EditSettled { jobs_version, may_start } => {
                for (version, reply) in std::mem::take(&mut self.edits) {
                    if version == jobs_version {
                        answer(reply, may_start.clone());
                    } else {
                        self.edits.push((version, reply));
                    }
                }
            }
            Effect::Started { key, due_at, started_at } => {
                let lateness = started_at.millis_since(due_at);
                tracing::debug!(run = %key, job = %key.job, shard = %self.id, trace_id = %self.trace(key), lateness_ms = lateness, "the run has started");
                self.tally.started.push((key, lateness));
                self.shell.metrics.lateness.observe(lateness.max(0) as f64 / 1_000.0);
                self.shell.metrics.fires("started", 1);
            }
            Effect::Changed { key, attempt, state } => {
                self.tally.changed.push((key, attempt, state));
                if state.is_final() {
                    tracing::debug!(run = %key, job = %key.job, shard = %self.id, %attempt, trace_id = %self.trace(key), %state, "the run is final");
                    self.run_ended(key, state);
                }
            }
        }
    }

    fn run_ended(&mut self, key: RunKey, state: RunState) {
        self.shell.metrics.run_ended(state);
        match state {
            RunState::Succeeded => self.tally.succeeded += 1,
            RunState::Failed | RunState::Dead | RunState::TimedOut => self.tally.failed += 1,
            RunState::Skipped => {
                self.tally.skipped += 1;
                self.shell.metrics.fires("skipped", 1);
            }
            RunState::Missed => {
                self.tally.missed += 1;
                self.shell.metrics.fires("missed", 1);
            }
            RunState::Cancelled => self.shell.metrics.fires("cancelled", 1),
            RunState::Planned | RunState::Running => {}
        }
        self.traces.remove(&key);
        for reply in self.cancels.remove(&key).unwrap_or_default() {
            answer(reply, Some(state));
        }
    }

    fn trace(&self, key: RunKey) -> TraceId {
        self.traces.get(&key).copied().unwrap_or_else(|| key.trace_id())
    }

    /// The engine does not know the job: it may be new, so the shard is read once more before the requester hears it.
    fn trigger_refused(&mut self, job: JobId, idempotency_key: String) {
        let key = (job, idempotency_key);
        let Some(pending) = self.triggers.get_mut(&key) else { return };
        if !pending.looked_again {
            pending.looked_again = true;
            return self.look_for_unknown_job();
        }
        for reply in self.triggers.remove(&key).map(|pending| pending.replies).unwrap_or_default() {
            answer(reply, Err(Refused::UnknownJob));
        }
    }

    /// After the shard was read again: what waited for it.
    pub(super) fn repeat_refused_triggers(&mut self) {
        let again: Vec<_> = self
            .triggers
            .values()
            .filter(|pending| pending.looked_again)
            .map(|pending| pending.request.clone())
            .collect();
        for request in again {
            self.step(Input::Trigger(request));
        }
    }

    pub(super) fn store(&mut self, operation: Operation) {
        let steps = operation.rows();
        self.steps_in_flight += steps;
        self.shell.metrics.uncommitted_steps.inc_by(steps as i64);
        self.lane.submit(self.id, operation, self.done_sender.clone());
    }

    /// Takes the store's answer.
    pub(super) fn take_done(&mut self, done: Done) {
        self.steps_in_flight -= done.rows;
        self.shell.metrics.uncommitted_steps.dec_by(done.rows as i64);
        match done.kind {
            DoneKind::Advanced { refused } => {
                if refused {
                    self.step(Input::Refused);
                }
            }
            DoneKind::Slice { epoch, to, fate } => match fate {
                SliceFate::Committed { skipped } => {
                    if skipped > 0 {
                        self.shell.metrics.fires("skipped", skipped);
                    }
                    self.step(Input::SliceCommitted { epoch, to });
                }
                SliceFate::Lost if self.epoch == Some(epoch) => {
                    self.step_down("another server has claimed it")
                }
                SliceFate::Changed => self.step(Input::SliceRefused { epoch, to }),
                // About an earlier ownership: nothing hangs on it any longer.
                SliceFate::Lost => {}
            },
            DoneKind::Inserted { runs, refused } => {
                if !runs.is_empty() {
                    self.step(Input::Inserted(runs));
                }
                if refused {
                    self.step(Input::Refused);
                }
            }
            DoneKind::Triggered { job, idempotency_key, outcome, fenced } => {
                let replies = self.triggers.remove(&(job, idempotency_key)).map(|pending| pending.replies);
                for (index, reply) in replies.unwrap_or_default().into_iter().enumerate() {
                    let told = outcome.as_ref().map(|(key, created)| (*key, created.is_some() && index == 0));
                    answer(reply, told.ok_or(if fenced { Refused::NotOwner } else { Refused::NotStored }));
                }
                if let Some((_, Some(run))) = outcome {
                    if let Some(trace) = run.trace {
                        self.traces.insert(run.key, trace);
                    }
                    self.step(Input::Inserted(vec![*run]));
                }
                if fenced {
                    self.step(Input::Refused);
                }
            }
            DoneKind::Moved(moves) => self.step(Input::Moved(moves)),
            DoneKind::NextAttempt { key, attempt, applied } => {
                if let Some(reply) = self.retries.remove(&key) {
                    answer(reply, if applied { Ok(attempt) } else { Err(Refused::NotRetryable) });
                }
                self.step(Input::NextAttempt { key, attempt, applied });
            }
            DoneKind::Read { only, epoch, answer } => self.take_read(only, epoch, answer),
            DoneKind::Stray { from, report, of_shard } => self.take_stray(from, *report, of_shard),
        }
    }
}
