//! What an owner knows: the open runs and their indexes, kept together.

use std::collections::{BTreeMap, BTreeSet};

use super::Engine;
use super::edit::PendingEdit;
use super::jobs::Jobs;
use super::look::Looks;
use super::open_run::{OpenRun, Phase};
use super::tell::Telling;
use crate::ids::{AttemptNo, Epoch, Incarnation, JobId, JobsVersion, PlanNo, RunKey};
use crate::run::Run;
use crate::time::{Span, Timestamp};

/// The state of an owner.
#[derive(Default)]
pub(super) struct Owned {
    pub(super) epoch: Epoch,
    pub(super) jobs_version: JobsVersion,
    pub(super) planned_until: Timestamp,
    /// The end of the slice that is being committed, and its planned rows.
    pub(super) committing: Option<Timestamp>,
    pub(super) planned_runs: Vec<Run>,
    /// After a stall: nothing is done before a look at the store, or this instant.
    pub(super) held_until: Option<Timestamp>,
    /// What was asked of the store and has not been answered.
    pub(super) looks: Looks,
    /// Runs that were found gone by a look at the store, with what a worker may still have of them: an edit may ask for them a moment later.
    pub(super) gone_lately: BTreeMap<RunKey, GoneRun>,
    pub(super) jobs: Jobs,
    pub(super) runs: BTreeMap<RunKey, OpenRun>,
    /// When to look at a run again: its `wake_at`, one entry a run at most.
    pub(super) wakes: BTreeSet<(Timestamp, RunKey)>,
    /// Open runs of each job in the order they are due: what the overlap policies go by.
    pub(super) by_job: BTreeMap<JobId, BTreeSet<(Timestamp, RunKey)>>,
    /// How many runs of each job are in progress.
    pub(super) occupied: BTreeMap<JobId, usize>,
    /// Open runs by the worker they are planned at.
    pub(super) by_worker: BTreeMap<Incarnation, BTreeSet<RunKey>>,
    /// Runs whose time has come and that no worker can take, looked at whenever one joins.
    pub(super) unplaced: BTreeSet<RunKey>,
    /// Runs that name no worker yet: planned when none was there, or by a console.
    pub(super) unassigned: BTreeSet<RunKey>,
    /// Edits whose touched runs are being withdrawn.
    pub(super) edits: Vec<PendingEdit>,
    /// What the other holders know.
    pub(super) telling: Telling,
}

/// What a worker may still have of a run that is not open any longer.
#[derive(Debug, Clone, Copy)]
pub(super) struct GoneRun {
    pub(super) worker: Incarnation,
    pub(super) attempt: AttemptNo,
    pub(super) plan_no: PlanNo,
    pub(super) seen_at: Timestamp,
}

/// How long a run that is gone is remembered (10 s): a console tells of its edit within a second or two.
const GONE_FOR: Span = Span::from_secs(10);

impl Owned {
    /// Whether this very slice is under way.
    pub(super) fn is_committing(&self, epoch: Epoch, to: Timestamp) -> bool {
        self.epoch == epoch && self.committing == Some(to)
    }

    pub(super) fn insert(&mut self, open: OpenRun) {
        let key = open.run.key;
        self.telling.changed(key);
        self.by_job.entry(key.job).or_default().insert(open.order());
        match open.run.worker {
            Some(worker) => _ = self.by_worker.entry(worker).or_default().insert(key),
            None => _ = self.unassigned.insert(key),
        }
        if open.phase == Phase::Unplaced {
            self.unplaced.insert(key);
        }
        self.count(key.job, Phase::Waiting, open.phase);
        if let Some(at) = open.wake_at {
            self.wakes.insert((at, key));
        }
        self.runs.insert(key, open);
    }

    pub(super) fn remove(&mut self, key: RunKey) -> Option<OpenRun> {
        let open = self.runs.remove(&key)?;
        self.telling.changed(key);
        if let Some(siblings) = self.by_job.get_mut(&key.job) {
            siblings.remove(&open.order());
            if siblings.is_empty() {
                self.by_job.remove(&key.job);
            }
        }
        if let Some(worker) = open.run.worker {
            self.leave_worker(worker, key);
        }
        self.unplaced.remove(&key);
        self.unassigned.remove(&key);
        self.count(key.job, open.phase, Phase::Waiting);
        if let Some(at) = open.wake_at {
            self.wakes.remove(&(at, key));
        }
        Some(open)
    }

    fn leave_worker(&mut self, worker: Incarnation, key: RunKey) {
        if let Some(runs) = self.by_worker.get_mut(&worker) {
            runs.remove(&key);
            if runs.is_empty() {
                self.by_worker.remove(&worker);
            }
        }
    }

    /// Sets when to look at a run again; none for only when something happens to it.
    pub(super) fn wake(&mut self, key: RunKey, at: Option<Timestamp>) {
        let Some(open) = self.runs.get_mut(&key) else { return };
        if let Some(before) = open.wake_at {
            self.wakes.remove(&(before, key));
        }
        open.wake_at = at;
        if let Some(at) = at {
            self.wakes.insert((at, key));
        }
    }

    pub(super) fn set_phase(&mut self, key: RunKey, phase: Phase) {
        let Some(open) = self.runs.get_mut(&key) else { return };
        if open.phase == Phase::Unplaced {
            self.unplaced.remove(&key);
        }
        let before = std::mem::replace(&mut open.phase, phase);
        if (before == Phase::Moving) != (phase == Phase::Moving) {
            self.telling.changed(key);
        }
        if phase == Phase::Unplaced {
            self.unplaced.insert(key);
        }
        self.count(key.job, before, phase);
    }

    fn count(&mut self, job: JobId, before: Phase, after: Phase) {
        match (before.occupies(), after.occupies()) {
            (false, true) => *self.occupied.entry(job).or_default() += 1,
            (true, false) => {
                if let Some(count) = self.occupied.get_mut(&job) {
                    *count -= 1;
                    if *count == 0 {
                        self.occupied.remove(&job);
                    }
                }
            }
            _ => {}
        }
    }

    pub(super) fn set_worker(&mut self, key: RunKey, worker: Option<Incarnation>) {
        let Some(open) = self.runs.get_mut(&key) else { return };
        self.telling.changed(key);
        if let Some(before) = std::mem::replace(&mut open.run.worker, worker) {
            self.leave_worker(before, key);
        }
        match worker {
            Some(worker) => {
                self.unassigned.remove(&key);
                self.by_worker.entry(worker).or_default().insert(key);
            }
            None => _ = self.unassigned.insert(key),
        }
    }

    /// Looks at those of `keys` that wait for something: what they wait for may have come or gone, and a run that nobody looks at never
    /// starts.
    pub(super) fn wake_waiting(&mut self, now: Timestamp, arm_lead: Span, keys: Vec<RunKey>) {
        let waiting: Vec<(RunKey, Timestamp)> = keys
            .into_iter()
            .filter_map(|key| self.runs.get_key_value(&key))
            .filter(|(_, open)| matches!(open.phase, Phase::Waiting | Phase::Held | Phase::Unplaced))
            .map(|(key, open)| (*key, open.look_at(now, arm_lead)))
            .collect();
        for (key, at) in waiting {
            self.wake(key, Some(at));
        }
    }

    /// The open runs of a job.
    pub(super) fn runs_of(&self, job: JobId) -> impl Iterator<Item = RunKey> + '_ {
        self.by_job.get(&job).into_iter().flatten().map(|(_, key)| *key)
    }

    /// Forgets what was gone long ago.
    pub(super) fn forget_gone(&mut self, now: Timestamp) {
        self.gone_lately.retain(|_, gone| now.since(gone.seen_at) < GONE_FOR);
    }

    pub(super) fn note_gone(&mut self, now: Timestamp, gone: &BTreeMap<RunKey, OpenRun>) {
        for (key, open) in gone {
            let OpenRun { run: Run { worker, attempt, plan_no, .. }, .. } = open;
            if let Some(worker) = *worker {
                let gone = GoneRun { worker, attempt: *attempt, plan_no: *plan_no, seen_at: now };
                self.gone_lately.insert(*key, gone);
            }
        }
    }

    /// Looks again at the first run of the job that waits for an earlier one.
    pub(super) fn wake_held(&mut self, job: JobId, now: Timestamp) {
        let held = self.by_job.get(&job).into_iter().flatten().map(|(_, key)| *key);
        if let Some(key) = held.into_iter().find(|key| self.runs[key].phase == Phase::Held) {
            self.wake(key, Some(now));
        }
    }

    /// Looks again at the run of the same job right after `key`, if it waits.
    pub(super) fn wake_held_after(&mut self, key: RunKey, now: Timestamp) {
        let order = self.runs[&key].order();
        let after = (std::ops::Bound::Excluded(order), std::ops::Bound::Unbounded);
        let next = self
            .by_job
            .get(&key.job)
            .and_then(|siblings| siblings.range(after).next().map(|(_, next)| *next));
        if let Some(next) = next.filter(|next| self.runs[next].phase == Phase::Held) {
            self.wake(next, Some(now));
        }
    }
}

impl Engine {
    pub(super) fn owned_ref(&self) -> &Owned {
        self.owned.as_ref().expect("only an owner has runs")
    }

    pub(super) fn owned_mut(&mut self) -> &mut Owned {
        self.owned.as_mut().expect("only an owner has runs")
    }

    /// Ends to own: what it knew of the plan is its copy until the next owner tells its own.
    pub(super) fn disown(&mut self, now: Timestamp) {
        if let Some(news) = self.plan_so_far() {
            let edited = news.taken_back.clone();
            self.owned = None;
            self.standby.begin_anew(now, news, edited, &self.config);
        }
    }

    /// Whether a stall still holds the engine back.
    pub(super) fn is_held(&mut self, now: Timestamp) -> bool {
        let Some(owned) = &mut self.owned else { return false };
        owned.held_until = owned.held_until.filter(|held| now < *held);
        owned.held_until.is_some()
    }
}
