//! Edits of jobs while their runs are planned or armed: what was touched is withdrawn before the console answers.

use std::collections::BTreeMap;

use super::open_run::{OpenRun, Phase};
use super::owned::GoneRun;
use super::report::{Report, ReportKind};
use super::{Effect, Engine};
use crate::ids::{AttemptNo, Incarnation, JobId, JobsVersion, PlanNo, RunKey};
use crate::run::RunState;
use crate::time::{Span, Timestamp};

/// How long an edit waits for workers: a Disarm takes a hop and back, and a console that waits longer helps nobody.
const PATIENCE: Span = Span::from_millis(1_200);

/// An edit whose touched runs are being withdrawn.
#[derive(Debug)]
pub(super) struct PendingEdit {
    jobs_version: JobsVersion,
    job: JobId,
    /// Before the reload: what the console says it touched.
    touched: Vec<RunKey>,
    /// What a worker has to confirm: that it will not start the old plan.
    waiting: BTreeMap<RunKey, Withdrawal>,
    may_start: Vec<RunKey>,
    /// An edit of the job before this one was not seen when it was told: other holders may have armed what came of that one.
    after_unseen: bool,
    /// A look at the store since it was told has shown what came of it.
    seen: bool,
    pub(super) give_up_at: Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Withdrawal {
    from: Incarnation,
    attempt: AttemptNo,
    /// Plans up to this one are withdrawn.
    plan_no: PlanNo,
}

impl Engine {
    pub(super) fn jobs_changed(
        &mut self,
        now: Timestamp,
        jobs_version: JobsVersion,
        job: JobId,
        touched: Vec<RunKey>,
    ) {
        // Other holders may arm it before its rows are read here, and what its worker says is about a job of the shard.
        self.jobs_seen.insert(job);
        let Some(owned) = &mut self.owned else {
            // Without the shard nothing can be said for its workers; but it need not arm what it knows to be gone, and what is new it can
            // arm where the owner does not.
            if !self.standby.knows_of(jobs_version) {
                self.doubt_copied_job(job, touched.clone());
            }
            return self.effects.push(Effect::EditSettled { jobs_version, may_start: touched });
        };
        let known = owned.jobs_version;
        let after_unseen =
            jobs_version > known && owned.looks.may_be_edited_between(known, jobs_version, job);
        if jobs_version > known {
            owned.looks.note_edit(jobs_version, job);
        }
        let give_up_at = now.saturating_add(PATIENCE);
        let (waiting, may_start) = (BTreeMap::new(), Vec::new());
        owned.telling.look_at(job);
        owned.edits.push(PendingEdit {
            jobs_version,
            job,
            touched,
            waiting,
            may_start,
            after_unseen,
            seen: false,
            give_up_at,
        });
        self.look_at_job(job);
    }

    /// After a look at the store that shows what came of the edits for which `seen` is true: withdraws the old plans of what was touched, and lets the edits wait for the workers' word. Workers are asked whether
    /// or not this engine armed them: another one that does not know yet that it was replaced may.
    ///
    /// A row that is cancelled and that this engine never had may have been or still be armed by holders that go by the plan of an owner
    /// before, or by the row as they read it: nobody here knows at which worker.
    pub(super) fn withdraw(
        &mut self,
        now: Timestamp,
        gone: &BTreeMap<RunKey, OpenRun>,
        seen: impl Fn(JobsVersion, JobId) -> bool,
    ) {
        let mut edits = std::mem::take(&mut self.owned_mut().edits);
        let unseen = edits.iter_mut().filter(|edit| !edit.seen && seen(edit.jobs_version, edit.job));
        for edit in unseen {
            edit.seen = true;
            let touched = std::mem::take(&mut edit.touched);
            edit.may_start.extend(self.untouched(edit.job, &touched));
            for key in touched {
                let open = gone.get(&key).or_else(|| self.owned_ref().runs.get(&key));
                if let Some(open) = open.filter(|open| open.phase == Phase::Moving) {
                    // Whether its change was committed is not known yet; a standby that has read the row may have armed it at the other worker.
                    edit.may_start.push(key);
                    if open.next_planned {
                        // The attempt before it is given up here, and its worker's word is not to be had.
                        continue;
                    }
                }
                if edit.after_unseen && gone.contains_key(&key) && self.is_soon_armed(now, key, gone) {
                    edit.may_start.push(key);
                    continue;
                }
                match self.old_plan(key, gone) {
                    Some(Some(withdrawal)) => _ = edit.waiting.insert(key, withdrawal),
                    // A standby names a worker where the owner has not, shortly before it arms.
                    Some(None) if self.is_soon_armed(now, key, gone) => edit.may_start.push(key),
                    Some(None) => {}
                    None => edit.may_start.push(key),
                }
            }
        }
        for (key, withdrawal) in edits.iter().flat_map(|edit| &edit.waiting) {
            self.disarm(withdrawal.from, *key, withdrawal.attempt, withdrawal.plan_no);
        }
        self.owned_mut().edits = edits;
    }

    /// Runs of the job that the edit did not touch since they came after it, by somebody who did not know of it: another holder may have
    /// been told of them with the old version.
    fn untouched<'a>(&'a self, job: JobId, touched: &'a [RunKey]) -> impl Iterator<Item = RunKey> + 'a {
        let owned = self.owned_ref();
        owned.runs_of(job).filter(|key| {
            let open = &owned.runs[key];
            open.run.worker.is_some() && open.run.state == RunState::Planned && !touched.contains(key)
        })
    }

    /// The plan that an edit withdraws: the one that was known where the row is cancelled, the one before where it lives on. None for a run
    /// that is not known; nothing to withdraw where it named no worker.
    fn old_plan(&self, key: RunKey, gone: &BTreeMap<RunKey, OpenRun>) -> Option<Option<Withdrawal>> {
        let owned = self.owned_ref();
        let of = |open: &OpenRun, replanned: u32| {
            let before = PlanNo::new(open.run.plan_no.get().saturating_sub(replanned));
            let plan_no = open.lost_plan.map_or(before, |lost| lost.max(before));
            let attempt = open.run.attempt;
            open.run.worker.map(|from| Withdrawal { from, attempt, plan_no })
        };
        if let Some(open) = gone.get(&key) {
            return Some(of(open, 0));
        }
        if let Some(open) = owned.runs.get(&key) {
            return Some(of(open, 1));
        }
        let GoneRun { worker, attempt, plan_no, .. } = *owned.gone_lately.get(&key)?;
        Some(Some(Withdrawal { from: worker, attempt, plan_no }))
    }

    /// Whether standbys may have armed a run, which they do shortly before it is due, under a plan or at a worker that is not known here.
    fn is_soon_armed(&self, now: Timestamp, key: RunKey, gone: &BTreeMap<RunKey, OpenRun>) -> bool {
        let reach = self.config.arm_lead.saturating_add(self.config.clock_margin);
        let open = gone.get(&key).or_else(|| self.owned_ref().runs.get(&key));
        open.is_none_or(|open| open.run.due_at <= now.saturating_add(reach))
    }

    /// Takes a worker's word on a withdrawn run.
    pub(super) fn note_withdrawn(&mut self, from: Incarnation, report: &Report) {
        for edit in &mut self.owned_mut().edits {
            let Some(withdrawal) = edit.waiting.get(&report.key).copied() else { continue };
            if withdrawal.from != from || withdrawal.attempt != report.attempt {
                continue;
            }
            let newer_plan = report.plan_no > withdrawal.plan_no;
            match report.kind {
                ReportKind::Refused(..) | ReportKind::Disarmed => {}
                ReportKind::Armed | ReportKind::Queued if !newer_plan => continue,
                _ if newer_plan => {}
                _ => edit.may_start.push(report.key),
            }
            edit.waiting.remove(&report.key);
        }
    }

    /// Answers edits that wait for nothing any longer, or for too long.
    pub(super) fn settle_edits(&mut self, now: Timestamp) {
        let Some(owned) = &mut self.owned else { return };
        let roster = &self.roster;
        let mut settled = Vec::new();
        owned.edits.retain_mut(|edit| {
            let PendingEdit { waiting, may_start, .. } = edit;
            waiting.retain(|key, withdrawal| {
                let mute = !roster.is_connected(withdrawal.from);
                if mute {
                    may_start.push(*key);
                }
                !mute
            });
            let over = now >= edit.give_up_at;
            let done = edit.waiting.is_empty() && edit.seen;
            if done || over {
                edit.may_start.extend(edit.waiting.keys().copied());
                edit.may_start.append(&mut edit.touched);
                let unseen = (!edit.seen).then_some(edit.job);
                settled.push((edit.jobs_version, unseen, std::mem::take(&mut edit.may_start)));
            }
            !done && !over
        });
        for (jobs_version, unseen, mut may_start) in settled {
            if let Some(job) = unseen {
                let untouched: Vec<RunKey> = self.untouched(job, &may_start).collect();
                may_start.extend(untouched);
            }
            self.effects.push(Effect::EditSettled { jobs_version, may_start });
        }
    }
}
