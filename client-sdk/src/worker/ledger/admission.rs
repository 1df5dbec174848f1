//! From due to started: the job's gate (overlap policy), then the unit's (concurrency).

use std::collections::BTreeSet;

use carillon_proto::v1::{ReportKind, ReportReason};

use super::entry::{Entry, Running, State, Stopping, report};
use super::timers::Timer;
use super::{Arm, ClusterTime, DEFAULT_GRACE_MS, Ledger, Output, Overlap, UnitSpec};
use crate::run_id::AttemptKey;

/// A job's newest version seen here, and its runs beyond the overlap policy and before it.
#[derive(Debug, Default)]
pub(super) struct JobGate {
    pub(super) version: u32,
    /// Past the gate and not final: running, or waiting for a place in the unit.
    inside: BTreeSet<AttemptKey>,
    /// In the order of their fire times.
    waiting: BTreeSet<AttemptKey>,
}

#[derive(Debug)]
pub(super) struct UnitGate {
    pub(super) spec: UnitSpec,
    pub(super) running: usize,
    waiting: BTreeSet<AttemptKey>,
    /// Runs of this unit that wait at their jobs' gates; they count against the unit's queue.
    behind_jobs: usize,
}

impl UnitGate {
    pub(super) fn new(spec: UnitSpec) -> Self {
        Self { spec, running: 0, waiting: BTreeSet::new(), behind_jobs: 0 }
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() + self.behind_jobs >= self.spec.queue && self.running >= self.spec.concurrency
    }

    fn queue_is_full(&self) -> bool {
        self.waiting.len() + self.behind_jobs >= self.spec.queue
    }
}

impl Ledger {
    pub(super) fn due(&mut self, now: ClusterTime, key: AttemptKey, plan_no: u32, out: &mut Vec<Output>) {
        let Some(Entry { plan_no: current, state: State::Armed(arm), .. }) = self.entries.get(&key) else {
            return;
        };
        // A timer of a plan that was replaced, or whose replacement is due later.
        if *current != plan_no || arm.due > now {
            return;
        }
        if now > arm.start_by {
            return self.refuse_pending(now, key, ReportReason::TooLate, out);
        }
        let unit = self.by_handler[&arm.handler];
        if !arm.is_gated() {
            return self.enter_unit(now, key, unit, out);
        }
        let overlap = arm.overlap;
        let gate = self.jobs.entry(key.run.job).or_default();
        let (inside, waiting) = (gate.inside.len(), gate.waiting.len());
        match overlap {
            Overlap::Parallel(max) if inside < max && waiting == 0 => self.enter_unit(now, key, unit, out),
            Overlap::Skip | Overlap::Queue(_) | Overlap::Replace if inside == 0 && waiting == 0 => {
                self.enter_unit(now, key, unit, out);
            }
            Overlap::Skip => self.skip(now, key, ReportReason::Overlap, out),
            Overlap::Queue(limit) if waiting >= limit => self.skip(now, key, ReportReason::QueueFull, out),
            Overlap::Queue(_) | Overlap::Parallel(_) => self.wait_behind_job(now, key, unit, out),
            Overlap::Replace => self.replace(now, key, unit, out),
        }
    }

    fn wait_behind_job(&mut self, now: ClusterTime, key: AttemptKey, unit: usize, out: &mut Vec<Output>) {
        if self.units[unit].queue_is_full() {
            return self.skip(now, key, ReportReason::QueueFull, out);
        }
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.move_to(|arm| State::BehindJob { arm, unit });
        entry.queued = true;
        out.push(Output::Report(report(now, key, entry, ReportKind::Queued, ReportReason::Unspecified)));
        self.units[unit].behind_jobs += 1;
        self.jobs.entry(key.run.job).or_default().waiting.insert(key);
    }

    /// Cancels what runs and skips what waits, then waits for the end of what was cancelled.
    fn replace(&mut self, now: ClusterTime, key: AttemptKey, unit: usize, out: &mut Vec<Output>) {
        let gate = self.jobs.entry(key.run.job).or_default();
        let replaced: Vec<AttemptKey> = gate.waiting.iter().chain(&gate.inside).copied().collect();
        for old in replaced {
            match self.entries.get(&old).map(|entry| &entry.state) {
                Some(State::Running(_)) => self.stop(
                    now,
                    old,
                    Stopping {
                        kind: ReportKind::Cancelled,
                        reason: ReportReason::Replaced,
                        why: format!("replaced by run {}", key.run),
                        grace_over: now.plus_millis(DEFAULT_GRACE_MS),
                    },
                    out,
                ),
                Some(_) => self.skip(now, old, ReportReason::Replaced, out),
                None => {}
            }
        }
        if self.jobs.entry(key.run.job).or_default().inside.is_empty() {
            self.enter_unit(now, key, unit, out);
        } else {
            self.wait_behind_job(now, key, unit, out);
        }
    }

    /// Past the job's gate: start, wait for a place, or be refused.
    fn enter_unit(&mut self, now: ClusterTime, key: AttemptKey, unit: usize, out: &mut Vec<Output>) {
        let gate = &mut self.units[unit];
        let free = gate.running < gate.spec.concurrency && gate.waiting.is_empty();
        if !free && gate.queue_is_full() {
            return self.refuse_pending(now, key, ReportReason::Busy, out);
        }
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let start_by = entry.start_by;
        let gated = entry.move_to(|arm| State::BehindUnit { arm, unit }).is_some_and(|arm| arm.is_gated());
        if gated {
            self.jobs.entry(key.run.job).or_default().inside.insert(key);
        }
        if free {
            self.start(now, key, out);
        } else {
            self.units[unit].waiting.insert(key);
            self.timers.set(start_by.plus_millis(1), key, Timer::StartBy);
        }
    }

    fn start(&mut self, now: ClusterTime, key: AttemptKey, out: &mut Vec<Output>) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let State::BehindUnit { unit, ref arm } = entry.state else { return };
        let running = Running { unit, gated: arm.is_gated(), started: now, stopping: None };
        let State::BehindUnit { arm, .. } = std::mem::replace(&mut entry.state, State::Running(running))
        else {
            return;
        };
        out.push(Output::Report(super::Report {
            started: Some(now),
            ..report(now, key, entry, ReportKind::Started, ReportReason::Unspecified)
        }));
        self.pending -= 1;
        self.pending_bytes -= arm.payload.params.len();
        self.running += 1;
        self.units[unit].running += 1;
        if arm.timeout_ms > 0 {
            self.timers.set(now.plus_millis(arm.timeout_ms), key, Timer::Timeout);
        }
        out.push(Output::Start { unit, arm });
    }

    /// Lets in what waits at a job's gate, in the order of the fire times, as far as the policy of the first allows.
    pub(super) fn admit_waiting(&mut self, now: ClusterTime, job: u32, out: &mut Vec<Output>) {
        loop {
            let Some(gate) = self.jobs.get_mut(&job) else { return };
            let Some(first) = gate.waiting.first().copied() else { return };
            let Some(Entry { state: State::BehindJob { arm, unit }, .. }) = self.entries.get(&first) else {
                gate.waiting.pop_first();
                continue;
            };
            let (unit, room) = (*unit, if let Overlap::Parallel(max) = arm.overlap { max } else { 1 });
            if gate.inside.len() >= room {
                return;
            }
            gate.waiting.pop_first();
            self.units[unit].behind_jobs -= 1;
            if let Some(entry) = self.entries.get_mut(&first) {
                entry.move_to(State::Armed);
            }
            self.enter_unit(now, first, unit, out);
        }
    }

    /// Fills the free places of a unit.
    pub(super) fn fill_unit(&mut self, now: ClusterTime, unit: usize, out: &mut Vec<Output>) {
        while self.units[unit].running < self.units[unit].spec.concurrency {
            let Some(first) = self.units[unit].waiting.pop_first() else { return };
            match self.entries.get(&first) {
                // Queued behind its own job it may start late, for the holders were told (QUEUED); waiting for a place it may not.
                Some(entry) if now > entry.start_by && !entry.queued => {
                    self.refuse_waiting(now, first, out);
                }
                _ => self.start(now, first, out),
            }
        }
    }

    pub(super) fn waited_too_long(&mut self, now: ClusterTime, key: AttemptKey, out: &mut Vec<Output>) {
        let Some(entry) = self.entries.get(&key) else { return };
        if matches!(entry.state, State::BehindUnit { .. }) && now > entry.start_by && !entry.queued {
            self.refuse_waiting(now, key, out);
        }
    }

    fn refuse_waiting(&mut self, now: ClusterTime, key: AttemptKey, out: &mut Vec<Output>) {
        self.refuse_pending(now, key, ReportReason::TooLate, out);
        self.admit_waiting(now, key.run.job, out);
    }

    /// Ends an armed or waiting run under its job's overlap policy.
    fn skip(&mut self, now: ClusterTime, key: AttemptKey, reason: ReportReason, out: &mut Vec<Output>) {
        if let Some(arm) = self.withdraw(key) {
            let over = Self::unstarted(&arm, now, ReportKind::Skipped, reason);
            self.answer_state(now, key, &over, out);
            self.remember(now, key, over);
        }
    }

    /// Takes an armed or waiting run out of every queue; its entry is left for the caller to replace.
    pub(super) fn withdraw(&mut self, key: AttemptKey) -> Option<Arm> {
        let entry = self.entries.get(&key)?;
        match &entry.state {
            State::Armed(_) => {}
            State::BehindJob { unit, .. } => {
                self.units[*unit].behind_jobs -= 1;
                if let Some(gate) = self.jobs.get_mut(&key.run.job) {
                    gate.waiting.remove(&key);
                }
            }
            State::BehindUnit { unit, .. } => {
                self.units[*unit].waiting.remove(&key);
                self.leave_job(key);
            }
            State::Running(_) | State::Over(_) => return None,
        }
        let entry = self.entries.remove(&key)?;
        let (State::Armed(arm) | State::BehindJob { arm, .. } | State::BehindUnit { arm, .. }) = entry.state
        else {
            return None;
        };
        self.pending -= 1;
        self.pending_bytes -= arm.payload.params.len();
        Some(*arm)
    }

    pub(super) fn leave_job(&mut self, key: AttemptKey) {
        if let Some(gate) = self.jobs.get_mut(&key.run.job) {
            gate.inside.remove(&key);
        }
    }
}

impl Entry {
    /// Moves a pending run to its next place; gives a view of its Arm.
    fn move_to(&mut self, next: impl FnOnce(Box<Arm>) -> State) -> Option<&Arm> {
        let over = State::Over(super::entry::Over {
            kind: ReportKind::Unspecified,
            reason: ReportReason::Unspecified,
            at: self.start_by,
            started: None,
            thread_in: None,
        });
        self.state = match std::mem::replace(&mut self.state, over) {
            State::Armed(arm) | State::BehindJob { arm, .. } | State::BehindUnit { arm, .. } => next(arm),
            other => other,
        };
        match &self.state {
            State::Armed(arm) | State::BehindJob { arm, .. } | State::BehindUnit { arm, .. } => Some(arm),
            State::Running(_) | State::Over(_) => None,
        }
    }
}
