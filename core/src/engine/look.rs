//! Looking at the store: all of a shard, when it is taken over or after a doubt, and the rows of one job after its edit. The engine goes on
//! meanwhile; what it has had changed since it asked, it knows better than what it reads.

use std::collections::BTreeMap;

use super::jobs::Jobs;
use super::open_run::{OpenRun, Phase};
use super::{Effect, Engine, JobSnapshot, Owned, Snapshot};
use crate::change::Step;
use crate::ids::{AttemptNo, JobId, JobsVersion, RunKey};
use crate::job::JobKind;
use crate::run::{Run, RunState};
use crate::time::{Span, Timestamp};

/// What was asked of the store and has not been answered.
#[derive(Default)]
pub(super) struct Looks {
    all: Option<Look>,
    /// Jobs that were edited: nothing of theirs is armed before the answer.
    jobs: BTreeMap<JobId, Look>,
    /// Edits beyond the version of the job set that is known, each with its job and whether that was read since.
    edits: BTreeMap<JobsVersion, (JobId, bool)>,
}

/// A look that is under way.
#[derive(Default)]
struct Look {
    /// Runs whose rows the engine has had changed since it asked, up to which attempt: of a later one the row tells more.
    ahead: BTreeMap<RunKey, AttemptNo>,
    /// Wanted again since: what is read may be older than the cause.
    again: bool,
}

impl Looks {
    /// Whether the job was edited and its rows were not read since.
    pub(super) fn is_frozen(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job)
    }

    /// Whether the store is known to hold another job set than the engine, or may: what hangs on the set's version would be refused.
    pub(super) fn is_behind(&self) -> bool {
        self.all.is_some() || !self.edits.is_empty()
    }

    /// The jobs that were edited, whose rows are being read.
    pub(super) fn frozen_jobs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.jobs.keys().copied()
    }

    /// Whether the job may have been edited between the version `known` and that one, which other holders may have read and this one has not.
    pub(super) fn may_be_edited_between(&self, known: JobsVersion, edit: JobsVersion, job: JobId) -> bool {
        let between = self.edits.range(known.next()..edit);
        let told = between.clone().count() as u64;
        told < edit.get().saturating_sub(known.get() + 1)
            || between.into_iter().any(|(_, (of, _))| *of == job)
    }

    pub(super) fn note_edit(&mut self, jobs_version: JobsVersion, job: JobId) {
        self.edits.insert(jobs_version, (job, false));
    }

    /// Whether this is the first wish for a look at the job; later ones are met by another look after the answer.
    fn wants_job(&mut self, job: JobId) -> bool {
        match self.jobs.get_mut(&job) {
            Some(look) => {
                look.again = true;
                false
            }
            None => self.jobs.insert(job, Look::default()).is_none(),
        }
    }

    /// The job was read as of the version `read`. Answers how far the engine knows the job set now, which it knew up to `known`, and whether
    /// that is in doubt: there is an edit that nobody told of, or one was lost by a database that failed over.
    fn note_read(
        &mut self,
        job: JobId,
        again: bool,
        read: JobsVersion,
        known: JobsVersion,
    ) -> (JobsVersion, bool) {
        let mut lost = read < known;
        self.edits.retain(|version, (edited, seen)| {
            let of_job = *edited == job;
            *seen |= of_job && *version <= read;
            let is_lost = of_job && !again && *version > read;
            lost |= is_lost;
            !is_lost
        });
        let mut known = known;
        while let Some((_, true)) = self.edits.get(&known.next()) {
            known = known.next();
        }
        self.edits.retain(|version, _| *version > known);
        let told = self.edits.range(..=read).count() as u64;
        let untold = told < read.get().saturating_sub(known.get());
        (known, lost || untold)
    }
}

impl Look {
    fn note(&mut self, key: RunKey, attempt: AttemptNo) {
        let known = self.ahead.entry(key).or_insert(attempt);
        *known = (*known).max(attempt);
    }

    /// Whether the engine itself sees to what follows on the job's scheduled runs.
    fn is_ahead_of(&self, job: JobId) -> bool {
        self.ahead.keys().any(|key| key.job == job && key.ordinal == 0)
    }
}

impl Engine {
    /// Begins to own, or sees again what stands in the store; what is known of runs that did not change is kept.
    pub(super) fn own(&mut self, now: Timestamp, snapshot: Snapshot) {
        let mut earlier = self.owned.take().unwrap_or_default();
        self.jobs_seen.extend(snapshot.jobs.iter().map(|job| job.id));
        let look = earlier.looks.all.take().unwrap_or_default();
        let mut owned = Owned {
            epoch: snapshot.epoch,
            jobs_version: snapshot.jobs_version,
            planned_until: snapshot.planned_until,
            jobs: Jobs::load(snapshot.jobs, snapshot.planned_until, std::mem::take(&mut earlier.jobs)),
            edits: std::mem::take(&mut earlier.edits),
            looks: std::mem::take(&mut earlier.looks),
            ..Owned::default()
        };
        if earlier.epoch == owned.epoch {
            // A slice that is under way stays so until its fate is told.
            owned.committing = earlier.committing;
            owned.telling = std::mem::take(&mut earlier.telling);
            owned.planned_runs = std::mem::take(&mut earlier.planned_runs);
            owned.gone_lately = std::mem::take(&mut earlier.gone_lately);
            owned.forget_gone(now);
        }
        for job in self.standby.forget_copy() {
            // Its answer is on its way.
            owned.looks.jobs.entry(job).or_default();
        }
        owned.telling.look_at_all();
        owned.looks.edits.retain(|version, _| *version > snapshot.jobs_version);
        let mut known = std::mem::take(&mut earlier.runs);
        self.take_rows(now, &mut owned, &mut known, snapshot.open_runs, &look);
        let all: Vec<RunKey> = owned.runs.keys().copied().collect();
        self.wake_seen(now, &mut owned, all);
        self.owned = Some(owned);
        let version = snapshot.jobs_version;
        self.part_with(now, &known, |edited, _| edited <= version);
        self.resume_maps(None);
        let last_finals: BTreeMap<JobId, Timestamp> = snapshot.last_finals.into_iter().collect();
        let with_delay = self.owned_ref().jobs.iter().filter(|job| job.has_fixed_delay());
        let with_delay: Vec<JobId> = with_delay.map(|job| job.job.id).collect();
        for job in with_delay.into_iter().filter(|job| !look.is_ahead_of(*job)) {
            self.resume_fixed_delay(now, job, last_finals.get(&job).copied());
        }
        if look.again {
            self.reload();
        }
    }

    /// Sees the rows of an edited job.
    pub(super) fn job_read(&mut self, now: Timestamp, read: JobSnapshot) {
        let job = read.job;
        let Some(owned) = &mut self.owned else { return self.copy_job(now, read) };
        let Some(look) = owned.looks.jobs.remove(&job) else { return };
        if read.epoch != owned.epoch {
            // Another server owns the shard: see whether it is so.
            self.look_at_job(job);
            return self.reload();
        }
        let mut owned = self.owned.take().expect("looked at above");
        if read.in_force.is_some() {
            self.jobs_seen.insert(job);
        }
        owned.jobs.replace(job, read.version, read.in_force, owned.planned_until);
        owned.telling.look_at(job);
        let keys: Vec<RunKey> = owned.runs_of(job).collect();
        let mut known: BTreeMap<RunKey, OpenRun> =
            keys.into_iter().filter_map(|key| Some((key, owned.remove(key)?))).collect();
        self.take_rows(now, &mut owned, &mut known, read.open_runs, &look);
        let open: Vec<RunKey> = owned.runs_of(job).collect();
        self.wake_seen(now, &mut owned, open);
        owned.forget_gone(now);
        let (known_up_to, doubtful) =
            owned.looks.note_read(job, look.again, read.jobs_version, owned.jobs_version);
        owned.jobs_version = known_up_to;
        self.owned = Some(owned);
        self.part_with(now, &known, |edited, of| of == job && (!look.again || edited <= read.jobs_version));
        self.resume_maps(Some(job));
        if !look.is_ahead_of(job) {
            self.resume_fixed_delay(now, job, read.last_final);
        }
        if look.again {
            self.look_at_job(job);
        }
        if doubtful {
            self.reload();
        }
    }

    /// Takes up what stands in the store; what is left of `known` afterwards is not open any longer.
    fn take_rows(
        &mut self,
        now: Timestamp,
        owned: &mut Owned,
        known: &mut BTreeMap<RunKey, OpenRun>,
        rows: Vec<Run>,
        look: &Look,
    ) {
        for run in rows {
            if let Some(worker) = run.worker {
                self.roster.expect(worker, now);
            }
            let ahead = look.ahead.get(&run.key).is_some_and(|attempt| *attempt >= run.attempt);
            let open = match known.remove(&run.key) {
                // It ended here, and its row will say so.
                None if ahead => continue,
                Some(open) if ahead && !open.is_answered_by(&run) => open,
                Some(open) if open.run.attempt == run.attempt && open.run.plan_no >= run.plan_no => {
                    if open.run.job_version == run.job_version {
                        self.seen_again(now, open, run)
                    } else {
                        // A database that failed over lost the plan that is known here, and an edit gave its number away again.
                        let lost_plan = Some(open.run.plan_no);
                        OpenRun { lost_plan, perhaps_armed: true, ..self.taken_over(now, run) }
                    }
                }
                before => {
                    // Somebody who wants it stopped wants so under a new plan, too.
                    let same = before.filter(|open| open.run.attempt == run.attempt);
                    OpenRun { cancel: same.and_then(|open| open.cancel), ..self.taken_over(now, run) }
                }
            };
            owned.insert(open.with_job(&owned.jobs));
        }
    }

    /// Looks at what waits, and at once at what a row gives to a worker that is lost: nobody else will speak of it again.
    fn wake_seen(&self, now: Timestamp, owned: &mut Owned, keys: Vec<RunKey>) {
        let with_lost = |key: &RunKey| {
            let open = &owned.runs[key];
            let lost = open.run.worker.is_some_and(|worker| self.roster.is_lost(worker));
            lost && matches!(open.phase, Phase::Waiting | Phase::Held)
        };
        let of_lost: Vec<RunKey> = keys.iter().copied().filter(with_lost).collect();
        owned.wake_waiting(now, self.config.arm_lead, keys);
        for key in of_lost {
            owned.wake(key, Some(now));
        }
    }

    /// Withdraws what is not open any longer, also where that settles edits: those that `seen` says the look has shown, by version and job.
    fn part_with(
        &mut self,
        now: Timestamp,
        gone: &BTreeMap<RunKey, OpenRun>,
        seen: impl Fn(JobsVersion, JobId) -> bool,
    ) {
        self.owned_mut().note_gone(now, gone);
        self.disarm_gone(gone);
        self.withdraw(now, gone, seen);
        self.assign(now);
    }

    /// A known run whose row is as it was known, or further where its plan was being changed.
    fn seen_again(&self, now: Timestamp, mut open: OpenRun, row: Run) -> OpenRun {
        if open.phase == Phase::Moving {
            // The outcome of its change was unknown, or a refusal, or was told by the row first.
            if row.state == RunState::Running {
                return self.taken_over(now, row);
            }
            open.run = row;
            open.phase = Phase::Waiting;
            open.wake_at = Some(now);
        }
        open
    }

    /// An open run as it is found in the store.
    fn taken_over(&self, now: Timestamp, run: Run) -> OpenRun {
        let running = run.state == RunState::Running;
        let mut open = OpenRun::new(run, None);
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

    /// Lets the shell drive the maps of parallel runs that are under way, of all jobs or of one.
    fn resume_maps(&mut self, only: Option<JobId>) {
        let Some(owned) = &self.owned else { return };
        let of_job = |open: &&OpenRun| only.is_none_or(|job| open.run.key.job == job);
        for open in owned.runs.values().filter(of_job) {
            let Some(job) = &open.job else { continue };
            if open.phase == Phase::Started && job.job.spec.kind == JobKind::Parallel {
                self.effects.push(Effect::MapOpen { run: Box::new(open.run.clone()), job: job.clone() });
            }
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

    /// Notes the runs of which the engine knows more than the looks under way will read: those that it had changed since it asked.
    pub(super) fn note_ahead(&mut self) {
        let Some(owned) = &mut self.owned else { return };
        let (runs, Looks { all, jobs, .. }) = (&owned.runs, &mut owned.looks);
        if all.is_none() && jobs.is_empty() {
            return;
        }
        // What was decided before a look was asked for in this very step is in the store when it is read.
        let (mut all_asked_at, mut job_asked_at) = (None, BTreeMap::new());
        for (place, effect) in self.effects.iter().enumerate() {
            match effect {
                Effect::Reload => all_asked_at = Some(place),
                Effect::ReadJob(job) => _ = job_asked_at.insert(*job, place),
                _ => {}
            }
        }
        let mut changed = |place: usize, key: RunKey, attempt: AttemptNo| {
            if let Some(look) = all.as_mut().filter(|_| all_asked_at.is_none_or(|asked| asked < place)) {
                look.note(key, attempt);
            }
            let asked_before = job_asked_at.get(&key.job).is_none_or(|asked| *asked < place);
            if let Some(look) = jobs.get_mut(&key.job).filter(|_| asked_before) {
                look.note(key, attempt);
            }
        };
        for (place, effect) in self.effects.iter().enumerate() {
            match effect {
                Effect::Advance { steps, .. } => {
                    for step in steps {
                        let told = match step.step {
                            Step::LateNews { .. } => false,
                            // A run that is not known yet goes on, and the look is how it becomes known.
                            Step::Started { .. } => runs.contains_key(&step.key),
                            _ => true,
                        };
                        if told {
                            changed(place, step.key, step.attempt);
                        }
                    }
                }
                Effect::NextAttempt { advance, .. } => changed(place, advance.key, advance.attempt.next()),
                Effect::Move(moves) => moves.iter().for_each(|made| changed(place, made.key, made.attempt)),
                _ => {}
            }
        }
    }

    /// What the engine decided was not applied: it looks at the store, and at what it reads only if it was asked for after this.
    pub(super) fn reload_for_refusal(&mut self) {
        if let Some(look) = self.owned.as_mut().and_then(|owned| owned.looks.all.as_mut()) {
            look.again = true;
        }
        self.reload();
    }

    /// The store may have lost what it had acknowledged.
    pub(super) fn store_replaced(&mut self, now: Timestamp) {
        self.roster.doubt_ends(now.saturating_add(self.config.clock_margin));
        match self.owned {
            Some(_) => self.reload_for_refusal(),
            None => self.standby.doubt_epoch(),
        }
    }

    pub(super) fn reload(&mut self) {
        if let Some(owned) = &mut self.owned
            && owned.looks.all.is_none()
        {
            owned.looks.all = Some(Look::default());
            self.effects.push(Effect::Reload);
        }
    }

    /// Asks for the rows of a job that was edited.
    pub(super) fn look_at_job(&mut self, job: JobId) {
        if let Some(owned) = &mut self.owned
            && owned.looks.wants_job(job)
        {
            self.effects.push(Effect::ReadJob(job));
        }
    }
}
