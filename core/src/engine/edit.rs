//! Edits of jobs while their runs are planned or armed: what was touched is withdrawn before the console answers.

use std::collections::BTreeMap;

use super::open_run::{OpenRun, Phase};
use super::report::{Report, ReportKind};
use super::{Effect, Engine};
use crate::ids::{AttemptNo, Incarnation, JobsVersion, PlanNo, RunKey};
use crate::time::{Span, Timestamp};

/// How long an edit waits for workers: a Disarm takes a hop and back, and a console that waits longer helps nobody.
const PATIENCE: Span = Span::from_millis(1_200);

/// An edit whose touched runs are being withdrawn.
#[derive(Debug)]
pub(super) struct PendingEdit {
    jobs_version: JobsVersion,
    /// Before the reload: what the console says it touched.
    touched: Vec<RunKey>,
    /// What a worker has to confirm: that it will not start the old plan.
    waiting: BTreeMap<RunKey, Withdrawal>,
    may_start: Vec<RunKey>,
    pub(super) give_up_at: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Withdrawal {
    from: Incarnation,
    attempt: AttemptNo,
    /// Set where the row lives on: the worker's word on this plan or a later one confirms it.
    replanned: Option<PlanNo>,
}

impl Engine {
    pub(super) fn jobs_changed(&mut self, now: Timestamp, jobs_version: JobsVersion, touched: Vec<RunKey>) {
        let Some(owned) = &mut self.owned else {
            // Without the shard nothing can be said for its workers.
            return self.effects.push(Effect::EditSettled { jobs_version, may_start: touched });
        };
        let give_up_at = now.saturating_add(PATIENCE);
        let (waiting, may_start) = (BTreeMap::new(), Vec::new());
        owned.edits.push(PendingEdit { jobs_version, touched, waiting, may_start, give_up_at });
        self.reload();
    }

    /// After a reload: withdraws from workers what is not open any longer or has a new plan, and lets the edits wait for it.
    pub(super) fn withdraw(&mut self, now: Timestamp, gone: BTreeMap<RunKey, OpenRun>) {
        let mut withdrawals = BTreeMap::new();
        for (key, open) in gone {
            if let (true, Some(from)) = (open.phase.is_at_worker(), open.run.worker) {
                self.disarm(from, key, open.run.attempt, open.run.plan_no);
                withdrawals.insert(key, Withdrawal { from, attempt: open.run.attempt, replanned: None });
            }
        }
        let arm_lead = self.config.arm_lead;
        let owned = self.owned_mut();
        let mut rearm = Vec::new();
        let jobs_version = owned.jobs_version;
        for edit in owned.edits.iter_mut().filter(|edit| edit.jobs_version <= jobs_version) {
            for key in std::mem::take(&mut edit.touched) {
                let withdrawal = withdrawals.get(&key).copied().or_else(|| {
                    let open = owned.runs.get(&key)?;
                    let due_soon = open.phase == Phase::Waiting;
                    rearm.push(key);
                    due_soon.then_some(())?;
                    let replanned = Some(open.run.plan_no);
                    Some(Withdrawal { from: open.run.worker?, attempt: open.run.attempt, replanned })
                });
                if let Some(withdrawal) = withdrawal {
                    edit.waiting.insert(key, withdrawal);
                }
            }
        }
        for key in rearm {
            // The new plan takes the old one's place at the worker, where that is armed.
            let due = owned.runs.get(&key).map(|open| open.run.due_at.saturating_sub(arm_lead));
            if let Some(due) = due {
                owned.wake(key, Some(due.max(now)));
            }
        }
        if owned.edits.iter().any(|edit| edit.jobs_version > jobs_version) {
            // The snapshot was read before that edit.
            self.reload();
        }
    }

    /// Takes a worker's word on a withdrawn run.
    pub(super) fn note_withdrawn(&mut self, from: Incarnation, report: &Report) {
        for edit in &mut self.owned_mut().edits {
            let Some(withdrawal) = edit.waiting.get(&report.key).copied() else { continue };
            if withdrawal.from != from || withdrawal.attempt != report.attempt {
                continue;
            }
            let started = !matches!(
                report.kind,
                ReportKind::Armed | ReportKind::Refused(..) | ReportKind::Disarmed | ReportKind::Queued
            );
            let armed_only = matches!(report.kind, ReportKind::Armed | ReportKind::Queued);
            let newer_plan = withdrawal.replanned.is_some_and(|plan_no| report.plan_no >= plan_no);
            if armed_only && !newer_plan {
                continue;
            }
            edit.waiting.remove(&report.key);
            if started && !newer_plan {
                edit.may_start.push(report.key);
            }
        }
    }

    /// Answers edits that wait for nothing any longer, or for too long.
    pub(super) fn settle_edits(&mut self, now: Timestamp) {
        let arm_lead = self.config.arm_lead;
        let Some(owned) = &mut self.owned else { return };
        if owned.reloading && owned.edits.iter().all(|edit| now < edit.give_up_at) {
            return;
        }
        let roster = &self.roster;
        let runs = &owned.runs;
        let mut settled = Vec::new();
        owned.edits.retain_mut(|edit| {
            let PendingEdit { waiting, may_start, .. } = edit;
            waiting.retain(|key, withdrawal| {
                // A new plan that is not armed yet was not armed before either: the old one was as far away.
                let far = withdrawal.replanned.is_some()
                    && runs.get(key).is_some_and(|open| now < open.run.due_at.saturating_sub(arm_lead));
                let mute = !roster.is_connected(withdrawal.from);
                if mute && !far {
                    may_start.push(*key);
                }
                !far && !mute
            });
            let over = now >= edit.give_up_at;
            let done = edit.waiting.is_empty() && edit.touched.is_empty();
            if done || over {
                edit.may_start.extend(edit.waiting.keys().copied());
                edit.may_start.append(&mut edit.touched);
                settled.push((edit.jobs_version, std::mem::take(&mut edit.may_start)));
            }
            !done && !over
        });
        for (jobs_version, may_start) in settled {
            self.effects.push(Effect::EditSettled { jobs_version, may_start });
        }
    }
}
