//! What an owner knows: the open runs and their indexes, kept together.

use std::collections::{BTreeMap, BTreeSet};

use super::edit::PendingEdit;
use super::jobs::Jobs;
use super::open_run::{OpenRun, Phase};
use super::tell::Telling;
use super::{Effect, Engine, Snapshot};
use crate::change::Step;
use crate::ids::{AttemptNo, Epoch, Incarnation, JobId, JobsVersion, PlanNo, RunKey};
use crate::job::JobKind;
use crate::run::{Run, RunState};
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
    /// A reload was asked for; nothing new is planned before it.
    pub(super) reloading: bool,
    /// Something was refused since: what is read may be older than the cause.
    reload_again: bool,
    /// Since when this epoch is owned here.
    pub(super) since: Timestamp,
    /// Runs that were found gone by a look at the store, with what a worker may still have of them: an edit may ask for them a moment later.
    pub(super) gone_lately: BTreeMap<RunKey, GoneRun>,
    /// Runs whose rows the engine has had changed since it asked for the reload: what it knows of them is newer than what it will read.
    pub(super) ahead: BTreeSet<RunKey>,
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
    /// Jobs that were edited since the last look at the store: nothing of theirs is armed before the next one.
    pub(super) frozen: BTreeMap<JobId, JobsVersion>,
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

    /// Looks at every run that waits for something: what it waits for may have come or gone, and a run that nobody looks at never starts.
    fn wake_waiting(&mut self, now: Timestamp, arm_lead: Span) {
        let waiting: Vec<(RunKey, Timestamp)> = self
            .runs
            .iter()
            .filter(|(_, open)| matches!(open.phase, Phase::Waiting | Phase::Held | Phase::Unplaced))
            .map(|(key, open)| (*key, open.look_at(now, arm_lead)))
            .collect();
        for (key, at) in waiting {
            self.wake(key, Some(at));
        }
    }

    fn note_gone(&mut self, now: Timestamp, gone: &BTreeMap<RunKey, OpenRun>) {
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
    /// Begins to own, or sees again what stands in the store; what is known of runs that did not change is kept.
    pub(super) fn own(&mut self, now: Timestamp, snapshot: Snapshot) {
        let mut earlier = self.owned.take().unwrap_or_default();
        self.jobs_seen.extend(snapshot.jobs.iter().map(|job| job.id));
        let mut owned = Owned {
            epoch: snapshot.epoch,
            jobs_version: snapshot.jobs_version,
            planned_until: snapshot.planned_until,
            jobs: Jobs::load(snapshot.jobs, snapshot.planned_until, std::mem::take(&mut earlier.jobs)),
            edits: std::mem::take(&mut earlier.edits),
            frozen: std::mem::take(&mut earlier.frozen),
            ..Owned::default()
        };
        if earlier.epoch == owned.epoch {
            // A slice that is under way stays so until its fate is told.
            owned.committing = earlier.committing;
            owned.telling = std::mem::take(&mut earlier.telling);
            owned.planned_runs = std::mem::take(&mut earlier.planned_runs);
            owned.since = earlier.since;
            owned.gone_lately = std::mem::take(&mut earlier.gone_lately);
            owned.gone_lately.retain(|_, gone| now.since(gone.seen_at) < GONE_FOR);
        } else {
            owned.since = now;
        }
        owned.telling.look_at_all();
        owned.frozen.retain(|_, version| *version > snapshot.jobs_version);
        for run in snapshot.open_runs {
            if let Some(worker) = run.worker {
                self.roster.expect(worker, now);
            }
            let ahead = earlier.ahead.contains(&run.key);
            let open = match earlier.remove(run.key) {
                // It ended here, and its row will say so.
                None if ahead => continue,
                Some(open) if ahead && !open.is_answered_by(&run) => open,
                Some(open) if open.run.attempt == run.attempt && open.run.plan_no >= run.plan_no => {
                    if open.run.job_version == run.job_version {
                        self.seen_again(now, open, run, &owned)
                    } else {
                        // A database that failed over lost the plan that is known here, and an edit gave its number away again.
                        let lost_plan = Some(open.run.plan_no);
                        OpenRun { lost_plan, perhaps_armed: true, ..self.taken_over(now, run, &owned) }
                    }
                }
                _ => self.taken_over(now, run, &owned),
            };
            owned.insert(open.with_job(&owned.jobs));
        }
        owned.wake_waiting(now, self.config.arm_lead);
        let gone = std::mem::take(&mut earlier.runs);
        owned.note_gone(now, &gone);
        self.owned = Some(owned);
        self.standby.forget_copy();
        self.disarm_gone(&gone);
        self.withdraw(now, &gone);
        self.assign(now);
        self.resume_maps();
        self.follow_fixed_delays(now, &snapshot.last_finals);
        if earlier.reload_again {
            self.reload();
        }
    }

    /// A known run whose row is as it was known, or further where its plan was being changed.
    fn seen_again(&self, now: Timestamp, mut open: OpenRun, row: Run, owned: &Owned) -> OpenRun {
        if open.phase == Phase::Moving {
            // The outcome of its change was unknown, or a refusal, or was told by the row first.
            if row.state == RunState::Running {
                return self.taken_over(now, row, owned);
            }
            open.run = row;
            open.phase = Phase::Waiting;
            open.wake_at = Some(now);
        }
        open
    }

    /// An open run as it is found in the store.
    fn taken_over(&self, now: Timestamp, run: Run, owned: &Owned) -> OpenRun {
        let running = run.state == RunState::Running;
        let job = owned.jobs.get(run.key.job).cloned();
        let mut open = OpenRun::new(run, job);
        if running {
            open.phase = Phase::Started;
            open.perhaps_armed = true;
            open.wake_at = Some(now);
        } else {
            let arm_at = open.run.due_at.saturating_sub(self.config.arm_lead);
            open.perhaps_armed =
                open.run.worker.is_some() && arm_at <= now.saturating_add(self.config.clock_margin);
            open.wake_at = Some(arm_at.max(now));
        }
        open
    }

    /// What is not open any longer must not start at a worker that may have it.
    fn disarm_gone(&mut self, gone: &BTreeMap<RunKey, OpenRun>) {
        for (key, open) in gone {
            if let (true, Some(worker)) = (open.phase.is_at_worker(), open.run.worker) {
                self.disarm(worker, *key, open.run.attempt, open.run.plan_no);
            }
        }
    }

    /// Lets the shell drive the maps of parallel runs that are under way.
    fn resume_maps(&mut self) {
        let Some(owned) = &self.owned else { return };
        for open in owned.runs.values() {
            let Some(job) = &open.job else { continue };
            if open.phase == Phase::Started && job.job.spec.kind == JobKind::Parallel {
                self.effects.push(Effect::MapOpen { run: Box::new(open.run.clone()), job: job.clone() });
            }
        }
    }

    /// Ends to own: what it knew of the plan is its copy until the next owner tells its own.
    pub(super) fn disown(&mut self, now: Timestamp) {
        if let Some(news) = self.plan_so_far() {
            self.owned = None;
            self.standby.begin_anew(now, news, &self.config);
        }
    }

    pub(super) fn stalled(&mut self, now: Timestamp, patience: Span) {
        match &mut self.owned {
            Some(owned) => {
                owned.held_until = Some(now.saturating_add(patience));
                self.reload();
            }
            None => self.standby.hold(now, patience),
        }
    }

    /// Whether a stall still holds the engine back.
    pub(super) fn is_held(&mut self, now: Timestamp) -> bool {
        let Some(owned) = &mut self.owned else { return false };
        owned.held_until = owned.held_until.filter(|held| now < *held);
        owned.held_until.is_some()
    }

    /// Notes the runs of which the engine knows more than a reload under way will read.
    pub(super) fn note_ahead(&mut self) {
        let Some(owned) = self.owned.as_mut().filter(|owned| owned.reloading) else { return };
        let asked_now = self.effects.iter().position(|effect| matches!(effect, Effect::Reload));
        for effect in self.effects.iter().skip(asked_now.unwrap_or(0)) {
            match effect {
                Effect::Advance { steps, .. } => {
                    let lively = steps.iter().filter(|step| !matches!(step.step, Step::LateNews { .. }));
                    owned.ahead.extend(lively.map(|step| step.key));
                }
                Effect::NextAttempt { advance, .. } => _ = owned.ahead.insert(advance.key),
                Effect::Move(moves) => owned.ahead.extend(moves.iter().map(|made| made.key)),
                _ => {}
            }
        }
    }

    /// What the engine decided was not applied: it looks at the store, and at what it reads only if it was asked for after this.
    pub(super) fn reload_for_refusal(&mut self) {
        if let Some(owned) = self.owned.as_mut().filter(|owned| owned.reloading) {
            owned.reload_again = true;
        }
        self.reload();
    }

    pub(super) fn reload(&mut self) {
        if let Some(owned) = &mut self.owned
            && !owned.reloading
        {
            owned.reloading = true;
            self.effects.push(Effect::Reload);
        }
    }
}
