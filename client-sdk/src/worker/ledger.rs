//! The worker's rules of the trigger protocol: which Arm is taken, which refused, what starts when, what is reported.
//!
//! Synchronous and pure: [`Ledger::step`] takes the cluster time and an input and appends outputs. It knows no clock, task, stream or handler.

mod admission;
mod arm;
mod bugs;
mod ending;
mod entry;
mod timers;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use bytes::Bytes;
use carillon_proto::v1::{ReportKind, ReportReason, RunKind};

use crate::job::Outcome;
use crate::run_id::AttemptKey;
use admission::{JobGate, UnitGate};
use entry::{Entry, State};
use timers::{Timer, Timers};

/// An instant of cluster time in microseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClusterTime(i64);

impl ClusterTime {
    pub(crate) const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub(crate) const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    pub(crate) const fn as_micros(self) -> i64 {
        self.0
    }

    pub(crate) const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    pub(crate) fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add_unsigned(millis.saturating_mul(1_000)))
    }
}

/// What a unit takes; its place in the list given to [`Ledger::new`] is its number.
#[derive(Debug, Clone)]
pub(crate) struct UnitSpec {
    pub(crate) handler: String,
    pub(crate) parallel: bool,
    pub(crate) reduce: bool,
    /// A blocking handler cannot be dropped: abandoned, it keeps its place until it returns.
    pub(crate) blocking: bool,
    pub(crate) concurrency: usize,
    pub(crate) queue: usize,
}

/// What a run does about others of its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// Side by side, at most that many; 0 for any number. More wait.
    Parallel(usize),
    Skip,
    /// One after the other; at most that many wait, more are skipped.
    Queue(usize),
    Replace,
}

/// What kind of handler an Arm asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Simple,
    Split,
    Reduce,
}

/// A holder's order to start a run at its due time.
#[derive(Debug, Clone)]
pub(crate) struct Arm {
    pub(crate) key: AttemptKey,
    pub(crate) plan_no: u32,
    pub(crate) job_version: u32,
    pub(crate) incarnation: u64,
    pub(crate) due: ClusterTime,
    pub(crate) start_by: ClusterTime,
    pub(crate) shard: u32,
    pub(crate) overlap: Overlap,
    pub(crate) timeout_ms: u64,
    pub(crate) kind: Kind,
    pub(crate) handler: String,
    pub(crate) payload: Payload,
}

/// What only the handler needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Payload {
    pub(crate) params: Bytes,
    pub(crate) trace_id: Vec<u8>,
    pub(crate) epoch: u64,
    pub(crate) max_attempts: u32,
    pub(crate) job_name: String,
    pub(crate) description: String,
}

/// Everything that can happen to a ledger besides the passing of time.
#[derive(Debug)]
pub(crate) enum Input {
    /// Nothing but the time.
    Tick,
    Arms(Vec<Arm>),
    Disarm {
        run: crate::run_id::RunKey,
        attempt: u32,
        plan_no: u32,
        shard: u32,
        /// Of the job in force; zero where it was not told.
        job_version: u32,
        /// Of the owner that asks; zero for any.
        epoch: u64,
    },
    Cancel {
        run: crate::run_id::RunKey,
        attempt: u32,
        grace_ms: u64,
        why: String,
    },
    /// A handler ended; `started` is when it was really entered.
    Finished {
        key: AttemptKey,
        started: ClusterTime,
        outcome: Outcome,
    },
    /// Take nothing more; give back what is not due within a second.
    Drain,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub(crate) enum Output {
    Report(Report),
    /// Enter the handler now.
    Start {
        unit: usize,
        arm: Box<Arm>,
    },
    /// Tell the handler to stop.
    Cancel {
        key: AttemptKey,
    },
    /// Wait no more for the handler; a task is dropped, a thread left alone.
    Abandon {
        key: AttemptKey,
    },
}

/// What the holders are told about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) key: AttemptKey,
    pub(crate) plan_no: u32,
    pub(crate) shard: u32,
    pub(crate) kind: ReportKind,
    pub(crate) reason: ReportReason,
    pub(crate) run_kind: RunKind,
    pub(crate) at: ClusterTime,
    pub(crate) started: Option<ClusterTime>,
    pub(crate) result: Bytes,
    pub(crate) error: String,
    pub(crate) retry_after_ms: u64,
}

/// A run that is armed, waits or runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) key: AttemptKey,
    pub(crate) plan_no: u32,
    pub(crate) started: bool,
}

/// How long a handler has after a timeout to end by itself, and after a cancellation that names no grace.
pub(crate) const DEFAULT_GRACE_MS: u64 = 5_000;

/// How long ids are remembered after `start_by`: the protocol's rule (6), far beyond the life of any message.
const REMEMBER_MS: u64 = 2 * 60 * 1_000;

/// A withdrawn run that was never armed here has no known `start_by`; its tombstone stands for an hour, the longest default misfire window.
const REMEMBER_UNKNOWN_MS: u64 = 60 * 60 * 1_000;

/// The most runs armed ahead: 10,000 a second at 1.5 s of arming lead, threefold. More are refused as busy.
pub(crate) const MAX_ARMED: usize = 50_000;

/// The most bytes of params that armed and waiting runs may hold together.
const MAX_ARMED_BYTES: usize = 256 * 1024 * 1024;

/// The most timers of a step: the first handlers are entered while the others are still being taken.
const SLICE: usize = 128;

/// A drain keeps what is due within a second: moving it could make it late.
const DRAIN_KEEPS_MS: u64 = 1_000;

/// See the module.
pub(crate) struct Ledger {
    incarnation: u64,
    units: Vec<UnitGate>,
    by_handler: HashMap<String, usize>,
    entries: HashMap<AttemptKey, Entry>,
    jobs: HashMap<u32, JobGate>,
    timers: Timers,
    draining: bool,
    spool_full: bool,
    /// Runs armed and not yet due, or waiting; and the bytes of their params.
    pending: usize,
    pending_bytes: usize,
    running: usize,
}

impl Ledger {
    pub(crate) fn new(incarnation: u64, units: Vec<UnitSpec>) -> Self {
        let by_handler =
            units.iter().enumerate().map(|(number, unit)| (unit.handler.clone(), number)).collect();
        Self {
            incarnation,
            units: units.into_iter().map(UnitGate::new).collect(),
            by_handler,
            entries: HashMap::new(),
            jobs: HashMap::new(),
            timers: Timers::default(),
            draining: false,
            spool_full: false,
            pending: 0,
            pending_bytes: 0,
            running: 0,
        }
    }

    /// While the spool is full, new Arms are refused: what could not be reported should not be done.
    pub(crate) fn set_spool_full(&mut self, full: bool) {
        self.spool_full = full;
    }

    /// Advances to `now`, takes `input`, starts what is due, and appends what is to be done. Where very much is due at once it takes a part;
    /// [`next_wake`](Self::next_wake) is then not after `now`.
    pub(crate) fn step(&mut self, now: ClusterTime, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Tick => {}
            Input::Arms(arms) => {
                for arm in arms {
                    self.arm(now, arm, out);
                }
            }
            Input::Disarm { run, attempt, plan_no, shard, job_version, epoch } => {
                self.learn_version(now, run.job, job_version, out);
                for reduce in [false, true] {
                    self.disarm(now, AttemptKey { run, attempt, reduce }, plan_no, (shard, epoch), out);
                }
            }
            Input::Cancel { run, attempt, grace_ms, why } => {
                for reduce in [false, true] {
                    self.cancel(now, AttemptKey { run, attempt, reduce }, grace_ms, &why, out);
                }
            }
            Input::Finished { key, started, outcome } => self.finished(now, key, started, outcome, out),
            Input::Drain => self.drain(now, out),
        }
        self.pass_time(now, out);
    }

    /// When the next step is due even without an input.
    pub(crate) fn next_wake(&self) -> Option<ClusterTime> {
        self.timers.next()
    }

    /// What this incarnation has armed or running, for Hello and Leave.
    pub(crate) fn held(&self) -> Vec<Held> {
        self.entries
            .iter()
            .filter(|(_, entry)| !entry.state.is_over())
            .map(|(key, entry)| Held {
                key: *key,
                plan_no: entry.plan_no,
                started: matches!(entry.state, State::Running { .. }),
            })
            .collect()
    }

    /// Runs that are armed, waiting or running.
    pub(crate) fn open_runs(&self) -> usize {
        self.pending + self.running
    }

    /// Handlers of the unit that are running, counting those abandoned in a thread.
    pub(crate) fn running_in(&self, unit: usize) -> usize {
        self.units[unit].running
    }

    fn pass_time(&mut self, now: ClusterTime, out: &mut Vec<Output>) {
        for _ in 0..SLICE {
            let Some((timer, key)) = self.timers.pop_due(now) else { return };
            match timer {
                Timer::Due { plan_no } => self.due(now, key, plan_no, out),
                Timer::StartBy => self.waited_too_long(now, key, out),
                Timer::Timeout => self.timed_out(now, key, out),
                Timer::Grace => self.grace_over(now, key, out),
                Timer::Forget => self.forget(now, key),
            }
        }
    }
}
