//! Arms and what takes them back.

use carillon_proto::v1::{ReportKind, ReportReason, RunKind};

use super::bugs::{self, Bug};
use super::entry::{Over, State, report};
use super::timers::Timer;
use super::{
    Arm, ClusterTime, DRAIN_KEEPS_MS, Entry, Kind, Ledger, MAX_ARMED, MAX_ARMED_BYTES, Output,
    REMEMBER_UNKNOWN_MS,
};
use crate::run_id::AttemptKey;

impl Ledger {
    pub(super) fn arm(&mut self, now: ClusterTime, arm: Arm, out: &mut Vec<Output>) {
        let key = arm.key;
        if arm.incarnation != self.incarnation {
            // Another process's: nothing is remembered, for nothing of ours is concerned.
            let stranger = Self::unstarted(&arm, now, ReportKind::Refused, ReportReason::WrongIncarnation);
            return self.answer_state(now, key, &stranger, out);
        }
        self.learn_version(now, key.run.job, arm.job_version, out);
        if let Some(known) = self.entries.get(&key) {
            if bugs::has(Bug::NoDedup) {
                let unit = self.by_handler[&arm.handler];
                return out.push(Output::Start { unit, arm: Box::new(arm) });
            }
            let started = match &known.state {
                State::Running(_) => true,
                State::Over(over) => over.started.is_some() || !Self::is_tombstone(over),
                _ => false,
            };
            // Of an earlier plan the present state tells more than a refusal: where the later plan is withdrawn, so is this one, and a
            // database that failed over may have lost it.
            if arm.plan_no <= known.plan_no || started {
                self.answer_state(now, key, known, out);
                if arm.plan_no == known.plan_no {
                    self.is_armed_under(key, arm.payload.epoch);
                }
                return;
            }
            self.withdraw(key);
            self.admit_waiting(now, key.run.job, out);
        }
        let refusal = self.reason_to_refuse(now, &arm);
        if let Some(reason) = refusal {
            let tombstone = Self::unstarted(&arm, now, ReportKind::Refused, reason);
            self.answer_state(now, key, &tombstone, out);
            return self.remember(now, key, tombstone);
        }

        self.pending += 1;
        self.pending_bytes += arm.payload.params.len();
        let (due, plan_no) = (arm.due, arm.plan_no);
        self.timers.set(due, key, Timer::Due { plan_no });
        let entry = Entry {
            plan_no,
            shard: arm.shard,
            start_by: arm.start_by,
            queued: false,
            kind: arm.run_kind(),
            state: State::Armed(Box::new(arm)),
        };
        // What is due on arrival reports its start in the same step.
        if due > now {
            out.push(Output::Report(report(now, key, &entry, ReportKind::Armed, ReportReason::Unspecified)));
        }
        self.entries.insert(key, entry);
    }

    /// The job has this version: what is armed of an older one was planned anew or cancelled by the edit, whoever armed it.
    pub(super) fn learn_version(&mut self, now: ClusterTime, job: u32, version: u32, out: &mut Vec<Output>) {
        let gate = self.jobs.entry(job).or_default();
        if version <= gate.version {
            return;
        }
        gate.version = version;
        let is_older = |arm: &Arm| arm.job_version < version && arm.kind != Kind::Reduce;
        let mut older: Vec<AttemptKey> = self
            .entries
            .iter()
            .filter(|(key, entry)| key.run.job == job && entry.state.pending().is_some_and(is_older))
            .map(|(key, _)| *key)
            .collect();
        older.sort_unstable();
        for key in older {
            if let Some(arm) = self.withdraw(key) {
                let tombstone = Self::unstarted(&arm, now, ReportKind::Disarmed, ReportReason::OldVersion);
                self.answer_state(now, key, &tombstone, out);
                self.remember(now, key, tombstone);
            }
        }
        self.admit_waiting(now, job, out);
    }

    fn reason_to_refuse(&self, now: ClusterTime, arm: &Arm) -> Option<ReportReason> {
        // A reduce ends a run that began before the edit; refusing it would lose the whole map.
        let older = self.jobs.get(&arm.key.run.job).is_some_and(|job| arm.job_version < job.version);
        if older && arm.kind != Kind::Reduce {
            return Some(ReportReason::OldVersion);
        }
        if self.draining {
            return Some(ReportReason::Draining);
        }
        let unit = self.by_handler.get(&arm.handler).map(|number| &self.units[*number]);
        let knows = unit.is_some_and(|unit| match arm.kind {
            Kind::Simple => !unit.spec.parallel,
            Kind::Split => unit.spec.parallel,
            Kind::Reduce => unit.spec.reduce,
        });
        if !knows {
            return Some(ReportReason::UnknownHandler);
        }
        if now > arm.start_by {
            return Some(ReportReason::TooLate);
        }
        let full = self.spool_full
            || self.pending >= MAX_ARMED
            || self.pending_bytes + arm.payload.params.len() > MAX_ARMED_BYTES
            || unit.is_some_and(|unit| unit.is_full());
        full.then_some(ReportReason::Busy)
    }

    pub(super) fn disarm(
        &mut self,
        now: ClusterTime,
        key: AttemptKey,
        plan_no: u32,
        (shard, epoch): (u32, u64),
        out: &mut Vec<Output>,
    ) {
        let tombstone = |start_by, plan_no, shard, kind| Entry {
            plan_no,
            shard,
            start_by,
            queued: false,
            kind,
            state: State::Over(Over {
                kind: ReportKind::Disarmed,
                reason: ReportReason::Unspecified,
                at: now,
                started: None,
                thread_in: None,
            }),
        };
        let Some(known) = self.entries.get(&key) else {
            // One Disarm speaks of both phases; the second is only there if it was armed.
            if !key.reduce {
                let grave =
                    tombstone(now.plus_millis(REMEMBER_UNKNOWN_MS), plan_no, shard, RunKind::Unspecified);
                self.answer_state(now, key, &grave, out);
                self.remember(now, key, grave);
            }
            return;
        };
        let too_late = match &known.state {
            State::Running(_) => true,
            State::Over(over) => !Self::is_tombstone(over),
            _ => false,
        };
        // One that was replaced without knowing it does not withdraw what its successor armed.
        let replaced = epoch != 0 && known.state.pending().is_some_and(|arm| arm.payload.epoch > epoch);
        if too_late || replaced || known.plan_no > plan_no {
            return self.answer_state(now, key, known, out);
        }
        let grave = tombstone(known.start_by, plan_no, known.shard, known.kind);
        if bugs::has(Bug::NoTombstone) {
            return self.answer_state(now, key, &grave, out);
        }
        self.withdraw(key);
        self.answer_state(now, key, &grave, out);
        self.remember(now, key, grave);
        self.admit_waiting(now, key.run.job, out);
    }

    /// A later owner wants the same plan.
    fn is_armed_under(&mut self, key: AttemptKey, epoch: u64) {
        let pending = self.entries.get_mut(&key).and_then(|entry| entry.state.pending_mut());
        if let Some(arm) = pending {
            arm.payload.epoch = arm.payload.epoch.max(epoch);
        }
    }

    pub(super) fn drain(&mut self, now: ClusterTime, out: &mut Vec<Output>) {
        self.draining = true;
        let keep_until = now.plus_millis(DRAIN_KEEPS_MS);
        let mut back: Vec<AttemptKey> = self
            .entries
            .iter()
            .filter(|(_, entry)| match &entry.state {
                State::Armed(arm) => arm.due > keep_until,
                State::BehindJob { .. } | State::BehindUnit { .. } => true,
                State::Running(_) | State::Over(_) => false,
            })
            .map(|(key, _)| *key)
            .collect();
        back.sort_unstable();
        for key in back {
            self.refuse_pending(now, key, ReportReason::Draining, out);
        }
    }

    /// Turns an armed or waiting run into a tombstone and says so.
    pub(super) fn refuse_pending(
        &mut self,
        now: ClusterTime,
        key: AttemptKey,
        reason: ReportReason,
        out: &mut Vec<Output>,
    ) {
        if let Some(arm) = self.withdraw(key) {
            let tombstone = Self::unstarted(&arm, now, ReportKind::Refused, reason);
            self.answer_state(now, key, &tombstone, out);
            self.remember(now, key, tombstone);
        }
    }

    /// An entry for an Arm whose handler is not entered.
    pub(super) fn unstarted(arm: &Arm, now: ClusterTime, kind: ReportKind, reason: ReportReason) -> Entry {
        Entry {
            plan_no: arm.plan_no,
            shard: arm.shard,
            start_by: arm.start_by,
            queued: false,
            kind: arm.run_kind(),
            state: State::Over(Over { kind, reason, at: now, started: None, thread_in: None }),
        }
    }

    /// A tombstone speaks of plans up to its number: a later plan for this very worker, made by an edit for instance, is armed again. Runs that
    /// the overlap policy skipped or someone cancelled are final, not tombstones.
    fn is_tombstone(over: &Over) -> bool {
        over.started.is_none() && matches!(over.kind, ReportKind::Refused | ReportKind::Disarmed)
    }
}
