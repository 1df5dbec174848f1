//! What the ledger remembers of an attempt.

use carillon_proto::v1::{ReportKind, ReportReason, RunKind};

use super::{Arm, ClusterTime, Kind, Ledger, Output, Overlap, Report};
use crate::run_id::AttemptKey;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) plan_no: u32,
    pub(super) shard: u32,
    pub(super) start_by: ClusterTime,
    /// Its time came and it waited behind its own job; the holders were told, so `start_by` binds it no more.
    pub(super) queued: bool,
    pub(super) kind: RunKind,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// Its time has not come.
    Armed(Box<Arm>),
    /// Due, behind runs of its own job.
    BehindJob {
        arm: Box<Arm>,
        unit: usize,
    },
    /// Past its job's gate, behind others of its unit.
    BehindUnit {
        arm: Box<Arm>,
        unit: usize,
    },
    Running(Running),
    /// Ended, refused or withdrawn. `started` is absent where the handler was never entered: then it never will be for this plan.
    Over(Over),
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) unit: usize,
    pub(super) gated: bool,
    pub(super) started: ClusterTime,
    pub(super) stopping: Option<Stopping>,
}

/// Why a handler was told to stop.
#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) kind: ReportKind,
    pub(super) reason: ReportReason,
    pub(super) why: String,
    pub(super) grace_over: ClusterTime,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Over {
    pub(super) kind: ReportKind,
    pub(super) reason: ReportReason,
    pub(super) at: ClusterTime,
    pub(super) started: Option<ClusterTime>,
    /// The unit whose place an abandoned thread still holds.
    pub(super) thread_in: Option<usize>,
}

impl State {
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over(_))
    }

    /// The Arm of what has not started and may.
    pub(super) fn pending(&self) -> Option<&Arm> {
        match self {
            Self::Armed(arm) | Self::BehindJob { arm, .. } | Self::BehindUnit { arm, .. } => Some(arm),
            Self::Running(_) | Self::Over(_) => None,
        }
    }

    pub(super) fn pending_mut(&mut self) -> Option<&mut Arm> {
        match self {
            Self::Armed(arm) | Self::BehindJob { arm, .. } | Self::BehindUnit { arm, .. } => Some(arm),
            Self::Running(_) | Self::Over(_) => None,
        }
    }
}

impl Arm {
    pub(super) fn run_kind(&self) -> RunKind {
        match self.kind {
            Kind::Simple => RunKind::Simple,
            Kind::Split => RunKind::Split,
            Kind::Reduce => RunKind::Reduce,
        }
    }

    /// Whether successive runs of the job exclude each other. A reduce belongs to a run that has passed the gate already.
    pub(super) fn is_gated(&self) -> bool {
        !self.key.reduce && self.overlap != Overlap::Parallel(0)
    }
}

impl Ledger {
    /// Tells once more how a known attempt stands.
    pub(super) fn answer_state(
        &self,
        now: ClusterTime,
        key: AttemptKey,
        entry: &Entry,
        out: &mut Vec<Output>,
    ) {
        let report = match &entry.state {
            State::BehindUnit { .. } if entry.queued => {
                report(now, key, entry, ReportKind::Queued, ReportReason::Unspecified)
            }
            State::Armed(_) | State::BehindUnit { .. } => {
                report(now, key, entry, ReportKind::Armed, ReportReason::Unspecified)
            }
            State::BehindJob { .. } => report(now, key, entry, ReportKind::Queued, ReportReason::Unspecified),
            State::Running(running) => Report {
                at: running.started,
                started: Some(running.started),
                ..report(now, key, entry, ReportKind::Started, ReportReason::Unspecified)
            },
            State::Over(over) => Report {
                at: over.at,
                started: over.started,
                ..report(now, key, entry, over.kind, over.reason)
            },
        };
        out.push(Output::Report(report));
    }
}

/// A report about an entry, with nothing but kind and reason.
pub(super) fn report(
    now: ClusterTime,
    key: AttemptKey,
    entry: &Entry,
    kind: ReportKind,
    reason: ReportReason,
) -> Report {
    Report {
        key,
        plan_no: entry.plan_no,
        shard: entry.shard,
        kind,
        reason,
        run_kind: entry.kind,
        at: now,
        started: None,
        result: bytes::Bytes::new(),
        error: String::new(),
        retry_after_ms: 0,
    }
}
