//! What workers say about runs, and what follows from it.

use serde_json::Value;

use super::open_run::Phase;
use super::{Effect, Engine};
use crate::change::{Advance, Step};
use crate::ids::{AttemptNo, Incarnation, PlanNo, RunKey};
use crate::job::JobKind;
use crate::run::{Reason, ReasonCode, RunState};
use crate::time::{Span, Timestamp};

/// A worker's report about one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Its number within the incarnation, for the acknowledgement.
    pub seq: u64,
    /// Which run.
    pub key: RunKey,
    /// Its attempt.
    pub attempt: AttemptNo,
    /// As armed.
    pub plan_no: PlanNo,
    /// By the worker's cluster time.
    pub at: Timestamp,
    /// What happened.
    pub kind: ReportKind,
}

/// What a worker reports.
#[derive(Debug, Clone, PartialEq)]
pub enum ReportKind {
    /// It will start the run at its time.
    Armed,
    /// The run's time has come; it waits behind one of the same job.
    Queued,
    /// It will never start it.
    Refused(Refusal, String),
    /// It will never start it, as asked.
    Disarmed,
    /// The handler started.
    Started,
    /// The handler returned success.
    Succeeded {
        /// When it had started.
        started_at: Timestamp,
        /// What it returned.
        result: Option<Value>,
    },
    /// The handler failed.
    Failed {
        /// When it had started.
        started_at: Timestamp,
        /// Failed, panicked, or bad params.
        code: ReasonCode,
        /// Its error.
        error: String,
        /// Trying again is useless.
        fatal: bool,
        /// When it wants to be tried again.
        retry_after: Option<Span>,
    },
    /// It took longer than its timeout and was given up.
    TimedOut {
        /// When it had started.
        started_at: Timestamp,
    },
    /// It stopped as asked.
    Cancelled {
        /// When it had started, if it had.
        started_at: Option<Timestamp>,
    },
    /// The overlap policy, or the handler itself, skipped it.
    Skipped {
        /// When it had started, if it had.
        started_at: Option<Timestamp>,
        /// Which of them.
        code: ReasonCode,
        /// More of it.
        detail: String,
    },
}

impl ReportKind {
    /// Whether the handler has started, for certain.
    pub(super) fn has_begun(&self) -> bool {
        match self {
            Self::Armed | Self::Queued | Self::Refused(..) | Self::Disarmed => false,
            Self::Started | Self::Succeeded { .. } | Self::Failed { .. } | Self::TimedOut { .. } => true,
            Self::Cancelled { started_at } | Self::Skipped { started_at, .. } => started_at.is_some(),
        }
    }
}

/// Why a worker refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its queue is full.
    Busy,
    /// It is leaving.
    Draining,
    /// It does not have the handler.
    UnknownHandler,
    /// The Arm was for another incarnation.
    WrongIncarnation,
    /// The latest start has passed.
    TooLate,
    /// It knows a newer version of the job.
    OldVersion,
}

impl Refusal {
    /// What a person reads about it.
    pub fn code(self) -> ReasonCode {
        match self {
            Self::Busy => ReasonCode::Busy,
            Self::Draining => ReasonCode::Draining,
            Self::UnknownHandler => ReasonCode::UnknownHandler,
            Self::WrongIncarnation => ReasonCode::WorkerLost,
            Self::TooLate => ReasonCode::TooLate,
            Self::OldVersion => ReasonCode::Edited,
        }
    }
}

impl Engine {
    pub(super) fn report(&mut self, now: Timestamp, from: Incarnation, report: Report) {
        if self.owned.is_none() {
            // The owner acknowledges; the worker keeps the report until then.
            return self.standby.heard(from, &report);
        }
        self.note_withdrawn(from, &report);
        let ack = (from, report.seq);
        let Some(open) = self.owned_ref().runs.get(&report.key) else {
            return self.report_of_closed_run(report, ack);
        };
        if report.attempt < open.run.attempt {
            if open.phase == Phase::Moving {
                // Whether that attempt is over is being committed; the worker will say it again.
                return;
            }
            return self.late_news(report, ack);
        }
        if report.attempt > open.run.attempt {
            // Somebody else decided the next attempt: see what stands in the store; the worker will say it again.
            return self.reload();
        }
        let key = report.key;
        let (phase, cancel) = (open.phase, open.cancel.clone());
        let asked_first =
            open.perhaps_armed && matches!(phase, Phase::Waiting | Phase::Held | Phase::Unplaced);
        let timeout = open.job.as_ref().and_then(|job| job.job.spec.timeout).unwrap_or_default();
        // What a worker says of an earlier plan says nothing of the one it may have since.
        let of_this_plan = open.run.worker == Some(from) && open.run.plan_no == report.plan_no;
        // But what it will never start of a later plan it will not start of this one: the later one's commit was lost.
        let buried = open.run.worker == Some(from) && report.plan_no >= open.run.plan_no;
        match report.kind {
            ReportKind::Armed => {
                self.effects.push(Effect::Ack(vec![ack]));
                self.acknowledged(now, from, &report);
            }
            ReportKind::Queued => {
                self.effects.push(Effect::Ack(vec![ack]));
                if of_this_plan && matches!(phase, Phase::Armed { .. }) {
                    self.owned_mut().set_phase(key, Phase::Queued);
                    self.owned_mut().wake(key, None);
                }
            }
            ReportKind::Refused(refusal, detail) => {
                self.effects.push(Effect::Ack(vec![ack]));
                if refusal == Refusal::OldVersion {
                    // The worker has seen a later job set than this engine.
                    self.reload();
                } else if buried && asked_first {
                    self.withdrawn(now, key);
                } else if buried && phase == Phase::Started {
                    self.run_lost(now, key, &format!("worker {from} no longer knows of it"));
                } else if buried && phase.is_at_worker() {
                    self.refused(now, key, from, Reason::new(refusal.code(), detail));
                }
            }
            ReportKind::Disarmed => {
                self.effects.push(Effect::Ack(vec![ack]));
                if buried && asked_first {
                    self.withdrawn(now, key);
                } else if buried && phase == Phase::Started {
                    self.run_lost(now, key, &format!("worker {from} no longer knows of it"));
                } else if buried && phase.is_at_worker() {
                    let reason = Reason::new(ReasonCode::Edited, "withdrawn from the worker");
                    self.refused(now, key, from, reason);
                }
            }
            ReportKind::Started => self.started(now, from, key, report.at, ack),
            ReportKind::Succeeded { started_at, result } => {
                if self.is_split(key) {
                    // The end of the split is what the map says is stored, not this.
                    self.note_started(now, from, key, started_at);
                    self.effects.push(Effect::Ack(vec![ack]));
                    return;
                }
                self.end(
                    now,
                    key,
                    Some((from, started_at)),
                    report.at,
                    RunState::Succeeded,
                    None,
                    result,
                    Some(ack),
                );
            }
            ReportKind::Failed { started_at, code, error, fatal, retry_after } => {
                let reason = Reason::new(code, error);
                self.attempt_failed(
                    now,
                    key,
                    Some((from, started_at)),
                    report.at,
                    reason,
                    fatal,
                    retry_after,
                    Some(ack),
                );
            }
            ReportKind::TimedOut { started_at } => {
                let reason =
                    Reason::new(ReasonCode::Timeout, format!("not ended within its timeout of {timeout}"));
                self.note_worker(key, from, started_at);
                self.attempt_timed_out(now, key, reason, Some((report.at, ack)));
            }
            ReportKind::Cancelled { started_at } => {
                if let Some(wish) = cancel.as_ref().filter(|wish| wish.timeout) {
                    self.attempt_timed_out(now, key, wish.reason.clone(), Some((report.at, ack)));
                    return;
                }
                let reason = cancel.map_or_else(
                    || Reason::new(ReasonCode::Replaced, "stopped by its worker for a newer run of the job"),
                    |wish| wish.reason,
                );
                let started = started_at.map(|at| (from, at));
                self.end(now, key, started, report.at, RunState::Cancelled, Some(reason), None, Some(ack));
            }
            ReportKind::Skipped { started_at, code, detail } => {
                let started = started_at.map(|at| (from, at));
                // A run that started cannot become skipped; the handler's wish to skip is a success without a result.
                let state = if started.is_some() { RunState::Succeeded } else { RunState::Skipped };
                self.end(
                    now,
                    key,
                    started,
                    report.at,
                    state,
                    Some(Reason::new(code, detail)),
                    None,
                    Some(ack),
                );
            }
        }
    }

    fn acknowledged(&mut self, now: Timestamp, from: Incarnation, report: &Report) {
        let margin = self.config.clock_margin;
        let owned = self.owned_mut();
        let open = owned.runs.get_mut(&report.key).expect("the caller looked it up");
        if open.run.worker == Some(from)
            && open.run.plan_no == report.plan_no
            && open.phase == (Phase::Armed { acknowledged: false })
        {
            open.phase = Phase::Armed { acknowledged: true };
            let overdue = open.run.start_by.saturating_add(margin).max(now);
            owned.wake(report.key, Some(overdue));
        }
    }

    fn started(
        &mut self,
        now: Timestamp,
        from: Incarnation,
        key: RunKey,
        at: Timestamp,
        ack: (Incarnation, u64),
    ) {
        let attempt = self.owned_ref().runs[&key].run.attempt;
        let first_news = self.note_started(now, from, key, at);
        let step = Step::Started { at, worker: from };
        self.effects.push(Effect::Advance {
            steps: vec![Advance { key, attempt, step, fence: None }],
            acks: vec![ack],
        });
        if first_news {
            self.effects.push(Effect::Changed { key, attempt, state: RunState::Running });
        }
    }

    /// Takes note of a start; true where it is news.
    fn note_started(&mut self, now: Timestamp, from: Incarnation, key: RunKey, at: Timestamp) -> bool {
        if !self.note_worker(key, from, at) {
            return false;
        }
        let split = self.is_split(key);
        let open = &self.owned_ref().runs[&key];
        let wake_at = match &open.cancel {
            Some(_) => Some(now),
            None => self.overdue_at(open),
        };
        if split && let Some(job) = &open.job {
            self.effects.push(Effect::MapOpen { run: Box::new(open.run.clone()), job: job.clone() });
        }
        self.owned_mut().wake(key, wake_at);
        true
    }

    /// Writes the start into the run; true where it is news.
    fn note_worker(&mut self, key: RunKey, from: Incarnation, at: Timestamp) -> bool {
        let owned = self.owned_mut();
        let open = owned.runs.get_mut(&key).expect("the caller looked it up");
        if open.run.started_at.is_some() {
            return false;
        }
        open.run.started_at = Some(at);
        open.run.state = RunState::Running;
        let due_at = open.run.due_at;
        owned.set_worker(key, Some(from));
        owned.set_phase(key, Phase::Started);
        self.effects.push(Effect::Started { key, due_at, started_at: at });
        true
    }

    fn is_split(&self, key: RunKey) -> bool {
        let job = self.owned_ref().runs.get(&key).and_then(|open| open.job.as_ref());
        job.is_some_and(|job| job.job.spec.kind == JobKind::Parallel)
    }

    /// A report about a run that is final, or that this engine does not know: the store takes it where it advances or corrects the row.
    fn report_of_closed_run(&mut self, report: Report, ack: (Incarnation, u64)) {
        let at = report.at;
        let finished = |state, started_at: Option<Timestamp>, reason, result| {
            Some(Step::Final { state, started_at, at, reason, result, seen: None })
        };
        let step = match report.kind {
            ReportKind::Armed | ReportKind::Queued | ReportKind::Refused(..) | ReportKind::Disarmed => None,
            ReportKind::Started => Some(Step::Started { at, worker: ack.0 }),
            ReportKind::Succeeded { started_at, result } => {
                finished(RunState::Succeeded, Some(started_at), None, result)
            }
            ReportKind::Failed { started_at, code, error, .. } => {
                finished(RunState::Dead, Some(started_at), Some(Reason::new(code, error)), None)
            }
            ReportKind::TimedOut { started_at } => {
                let reason = Reason::new(ReasonCode::Timeout, "not ended within its timeout");
                finished(RunState::TimedOut, Some(started_at), Some(reason), None)
            }
            ReportKind::Cancelled { started_at } => {
                let reason = Reason::new(ReasonCode::Replaced, "stopped at its worker");
                finished(RunState::Cancelled, started_at, Some(reason), None)
            }
            ReportKind::Skipped { started_at, code, detail } => {
                let state = if started_at.is_some() { RunState::Succeeded } else { RunState::Skipped };
                finished(state, started_at, Some(Reason::new(code, detail)), None)
            }
        };
        self.effects.push(match step {
            None => Effect::Ack(vec![ack]),
            Some(step) => Effect::Advance {
                steps: vec![Advance { key: report.key, attempt: report.attempt, step, fence: None }],
                acks: vec![ack],
            },
        });
    }

    /// News of an attempt that was given up: kept with its record, since it tells whether the attempts overlapped.
    fn late_news(&mut self, report: Report, ack: (Incarnation, u64)) {
        let (started_at, what) = match &report.kind {
            ReportKind::Started => (Some(report.at), "started"),
            ReportKind::Succeeded { started_at, .. } => (Some(*started_at), "succeeded"),
            ReportKind::Failed { started_at, .. } => (Some(*started_at), "failed"),
            ReportKind::TimedOut { started_at } => (Some(*started_at), "timed out"),
            ReportKind::Cancelled { started_at } => (*started_at, "was cancelled"),
            ReportKind::Skipped { started_at, .. } => (*started_at, "was skipped"),
            ReportKind::Armed | ReportKind::Queued | ReportKind::Refused(..) | ReportKind::Disarmed => {
                return self.effects.push(Effect::Ack(vec![ack]));
            }
        };
        let detail = format!("its worker reported later that it {what} at {}", report.at);
        let step = Step::LateNews { started_at, detail };
        let steps = vec![Advance { key: report.key, attempt: report.attempt, step, fence: None }];
        self.effects.push(Effect::Advance { steps, acks: vec![ack] });
    }
}
