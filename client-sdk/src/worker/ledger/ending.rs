//! How runs end: by themselves, by their timeout, by a cancellation; and how they are forgotten.

use bytes::Bytes;
use carillon_proto::v1::{ReportKind, ReportReason};

use super::entry::{Entry, Over, State, Stopping, report};
use super::timers::Timer;
use super::{ClusterTime, DEFAULT_GRACE_MS, Ledger, Output, REMEMBER_MS, Report};
use crate::job::Outcome;
use crate::run_id::AttemptKey;

impl Ledger {
    pub(super) fn finished(
        &mut self,
        now: ClusterTime,
        key: AttemptKey,
        started: ClusterTime,
        outcome: Outcome,
        out: &mut Vec<Output>,
    ) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        match &mut entry.state {
            State::Over(over) => {
                // An abandoned thread came back: its attempt is final already, its place is free now.
                let Some(unit) = over.thread_in.take() else { return };
                self.units[unit].running -= 1;
                self.timers.set(now.plus_millis(REMEMBER_MS), key, Timer::Forget);
                self.fill_unit(now, unit, out);
            }
            State::Running(running) => {
                let ending = match running.stopping.take() {
                    Some(stopping) => Ending::stopped(stopping),
                    None => Ending::of(outcome),
                };
                self.end(now, key, started, ending, false, out);
            }
            _ => {}
        }
    }

    pub(super) fn timed_out(&mut self, now: ClusterTime, key: AttemptKey, out: &mut Vec<Output>) {
        let stopping = Stopping {
            kind: ReportKind::TimedOut,
            reason: ReportReason::Unspecified,
            why: "took longer than its timeout".to_owned(),
            grace_over: now.plus_millis(DEFAULT_GRACE_MS),
        };
        self.stop(now, key, stopping, out);
    }

    pub(super) fn cancel(
        &mut self,
        now: ClusterTime,
        key: AttemptKey,
        grace_ms: u64,
        why: &str,
        out: &mut Vec<Output>,
    ) {
        let Some(entry) = self.entries.get(&key) else { return };
        match &entry.state {
            State::Over(_) => self.answer_state(now, key, entry, out),
            State::Running(_) => {
                let grace = if grace_ms == 0 { DEFAULT_GRACE_MS } else { grace_ms };
                let stopping = Stopping {
                    kind: ReportKind::Cancelled,
                    reason: ReportReason::Unspecified,
                    why: why.to_owned(),
                    grace_over: now.plus_millis(grace),
                };
                self.stop(now, key, stopping, out);
            }
            State::Armed(_) | State::BehindJob { .. } | State::BehindUnit { .. } => {
                let Some(arm) = self.withdraw(key) else { return };
                let over = Self::unstarted(&arm, now, ReportKind::Cancelled, ReportReason::Unspecified);
                out.push(Output::Report(Report {
                    error: why.to_owned(),
                    ..report(now, key, &over, ReportKind::Cancelled, ReportReason::Unspecified)
                }));
                self.remember(now, key, over);
                self.admit_waiting(now, key.run.job, out);
            }
        }
    }

    /// Tells a handler to stop, once; a second reason can only shorten the grace.
    pub(super) fn stop(
        &mut self,
        now: ClusterTime,
        key: AttemptKey,
        stopping: Stopping,
        out: &mut Vec<Output>,
    ) {
        let Some(Entry { state: State::Running(running), .. }) = self.entries.get_mut(&key) else { return };
        match &mut running.stopping {
            Some(earlier) if earlier.grace_over <= stopping.grace_over => return,
            Some(earlier) => earlier.grace_over = stopping.grace_over,
            None => {
                out.push(Output::Cancel { key });
                running.stopping = Some(stopping);
            }
        }
        let at = running.stopping.as_ref().map_or(now, |stopping| stopping.grace_over);
        self.timers.set(at, key, Timer::Grace);
    }

    pub(super) fn grace_over(&mut self, now: ClusterTime, key: AttemptKey, out: &mut Vec<Output>) {
        let Some(Entry { state: State::Running(running), .. }) = self.entries.get_mut(&key) else { return };
        if running.stopping.as_ref().is_none_or(|stopping| stopping.grace_over > now) {
            return;
        }
        let started = running.started;
        let Some(stopping) = running.stopping.take() else { return };
        out.push(Output::Abandon { key });
        let mut ending = Ending::stopped(stopping);
        ending.error.push_str("; abandoned after the grace");
        self.end(now, key, started, ending, true, out);
    }

    fn end(
        &mut self,
        now: ClusterTime,
        key: AttemptKey,
        started: ClusterTime,
        ending: Ending,
        abandoned: bool,
        out: &mut Vec<Output>,
    ) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let State::Running(running) = &entry.state else { return };
        let (unit, gated) = (running.unit, running.gated);
        let keeps_place = abandoned && self.units[unit].spec.blocking;
        entry.state = State::Over(Over {
            kind: ending.kind,
            reason: ending.reason,
            at: now,
            started: Some(started),
            thread_in: keeps_place.then_some(unit),
        });
        out.push(Output::Report(Report {
            started: Some(started),
            result: ending.result,
            error: ending.error,
            retry_after_ms: ending.retry_after_ms,
            ..report(now, key, entry, ending.kind, ending.reason)
        }));
        let forget_at = entry.start_by.max(now).plus_millis(REMEMBER_MS);
        self.timers.set(forget_at, key, Timer::Forget);
        self.running -= 1;
        if gated {
            self.leave_job(key);
            self.admit_waiting(now, key.run.job, out);
        }
        if !keeps_place {
            self.units[unit].running -= 1;
            self.fill_unit(now, unit, out);
        }
    }

    /// Keeps an entry that is over, so that a late or repeated Arm is answered and not obeyed.
    pub(super) fn remember(&mut self, now: ClusterTime, key: AttemptKey, entry: Entry) {
        self.timers.set(entry.start_by.max(now).plus_millis(REMEMBER_MS), key, Timer::Forget);
        self.entries.insert(key, entry);
    }

    pub(super) fn forget(&mut self, now: ClusterTime, key: AttemptKey) {
        let old = self.entries.get(&key).is_some_and(|entry| match &entry.state {
            // A thread that never came back keeps its place, and its entry says whose.
            State::Over(over) => over.thread_in.is_none() && entry.start_by.plus_millis(REMEMBER_MS) <= now,
            _ => false,
        });
        if old {
            self.entries.remove(&key);
        }
    }
}

/// What a final report says beyond its run.
struct Ending {
    kind: ReportKind,
    reason: ReportReason,
    result: Bytes,
    error: String,
    retry_after_ms: u64,
}

impl Ending {
    fn of(outcome: Outcome) -> Self {
        let ending =
            |kind, reason, error| Self { kind, reason, result: Bytes::new(), error, retry_after_ms: 0 };
        match outcome {
            Outcome::Succeeded { result } => {
                Self { result, ..ending(ReportKind::Succeeded, ReportReason::Unspecified, String::new()) }
            }
            Outcome::Failed { reason, error, retry_after_ms } => {
                Self { retry_after_ms, ..ending(ReportKind::Failed, reason, error) }
            }
            Outcome::Skipped { error } => ending(ReportKind::Skipped, ReportReason::HandlerSkipped, error),
            Outcome::Cancelled { error } => {
                // The handler says so though nobody asked: a failure like any other.
                ending(ReportKind::Failed, ReportReason::Failed, error)
            }
        }
    }

    fn stopped(stopping: Stopping) -> Self {
        Self {
            kind: stopping.kind,
            reason: stopping.reason,
            result: Bytes::new(),
            error: stopping.why,
            retry_after_ms: 0,
        }
    }
}
