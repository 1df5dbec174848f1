//! Planning: slices of fires committed ahead of time, and what becomes of fires that nobody planned in time.

use std::sync::Arc;

use super::jobs::Fire;
use super::open_run::OpenRun;
use super::{Effect, Engine, JobInForce, Owned};
use crate::change::Slice;
use crate::ids::{Epoch, RunKey};
use crate::routing::Choice;
use crate::run::{Reason, ReasonCode, Run, RunState, TriggerKind};
use crate::time::Timestamp;

impl Engine {
    /// Plans the next slice when the lead has shrunk by one.
    pub(super) fn plan(&mut self, now: Timestamp) {
        let Some(owned) = &self.owned else { return };
        if owned.committing.is_some() || owned.looks.is_behind() || now < self.next_plan(owned) {
            return;
        }
        let from = owned.planned_until;
        let ahead = now.saturating_add(self.config.horizon);
        // Behind the time (after an outage) a slice reaches up to now and is bounded by its rows alone.
        let mut to = from.saturating_add(self.config.slice).max(now).min(ahead);
        let mut fires = Vec::new();
        let owned = self.owned.as_mut().expect("checked above");
        while let Some(fire) = owned.jobs.take_fire(to) {
            let at = fire.at;
            fires.push(fire);
            // All fires of one instant belong to one slice, or the watermark would split them.
            if fires.len() >= self.config.slice_rows && owned.jobs.next_fire() > Some(at) {
                to = at;
                break;
            }
        }
        let (epoch, jobs_version) = (owned.epoch, owned.jobs_version);
        owned.committing = Some(to);
        let runs: Vec<Run> = fires.iter().map(|fire| self.run_of(now, fire)).collect();
        if let Some(owned) = &mut self.owned {
            owned.planned_runs = runs.iter().filter(|run| !run.state.is_final()).cloned().collect();
        }
        self.effects.push(Effect::CommitSlice(Slice {
            shard: self.shard,
            epoch,
            jobs_version,
            from,
            to,
            runs,
        }));
    }

    /// When the next slice is due: as soon as a whole one fits below the horizon.
    pub(super) fn next_plan(&self, owned: &Owned) -> Timestamp {
        owned.planned_until.saturating_add(self.config.slice).saturating_sub(self.config.horizon)
    }

    pub(super) fn slice_committed(&mut self, now: Timestamp, epoch: Epoch, to: Timestamp) {
        let Some(owned) = self.owned.as_mut().filter(|owned| owned.is_committing(epoch, to)) else { return };
        owned.committing = None;
        owned.planned_until = owned.planned_until.max(to);
        // After a look at the store in between, the jobs begin at the watermark of that time.
        while owned.jobs.take_fire(owned.planned_until).is_some() {}
        for run in std::mem::take(&mut owned.planned_runs) {
            self.open(now, run);
        }
        self.assign(now);
    }

    pub(super) fn slice_refused(&mut self, epoch: Epoch, to: Timestamp) {
        let Some(owned) = self.owned.as_mut().filter(|owned| owned.is_committing(epoch, to)) else { return };
        owned.committing = None;
        owned.planned_runs.clear();
        self.reload_for_refusal();
    }

    /// Takes a committed run up.
    pub(super) fn open(&mut self, now: Timestamp, run: Run) {
        let Some(owned) = &mut self.owned else { return };
        if owned.runs.contains_key(&run.key) {
            return;
        }
        let job = owned.jobs.get(run.key.job).cloned();
        let key = run.key;
        owned.insert(OpenRun::new(run, job));
        let wake_at = owned.runs[&key].run.due_at.saturating_sub(self.config.arm_lead).max(now);
        owned.wake(key, Some(wake_at));
    }

    pub(super) fn inserted(&mut self, now: Timestamp, runs: Vec<Run>) {
        for run in runs.into_iter().filter(|run| !run.state.is_final()) {
            let known = self.owned.as_ref().and_then(|owned| owned.jobs.get(run.key.job));
            if known.is_some_and(|job| job.job.version < run.job_version) {
                // An edit came in between that is not known here: its row is not one of the job as it is known.
                self.look_at_job(run.key.job);
            } else {
                self.open(now, run);
            }
        }
    }

    /// The row of a fire.
    fn run_of(&self, now: Timestamp, fire: &Fire) -> Run {
        let job = &fire.job;
        let due_at = job.schedule.due(job.seed(), fire.at);
        let start_by = job.job.start_by(due_at, fire.following);
        let mut run =
            self.planned_run(job, RunKey::scheduled(job.job.id, fire.at), TriggerKind::Schedule, fire.turn);
        run.due_at = due_at;
        run.start_by = start_by;
        if start_by >= now {
            return run;
        }
        match misfire(job, now, fire.at, start_by) {
            Some(reason) => {
                run.state = RunState::Skipped;
                run.worker = None;
                run.finished_at = Some(now);
                run.reason = Some(reason);
            }
            None => {
                run.trigger = TriggerKind::Misfire;
                run.due_at = now;
                run.start_by = job.job.start_by(now, None);
            }
        }
        run
    }

    /// A planned first attempt, due and placed by the caller's wish.
    pub(super) fn planned_run(
        &self,
        job: &Arc<JobInForce>,
        key: RunKey,
        trigger: TriggerKind,
        turn: u64,
    ) -> Run {
        let owned = self.owned.as_ref().expect("only an owner plans");
        let choice = Choice { job: &job.job.spec, key, params: &job.job.spec.params, turn };
        Run {
            trigger,
            worker: self.choose(choice, &[]),
            ..Run::planned(key, self.shard, owned.epoch, job.job.version)
        }
    }
}

/// Why a fire that nobody planned by its latest start is skipped; none where it still runs.
fn misfire(job: &JobInForce, now: Timestamp, fire: Timestamp, start_by: Timestamp) -> Option<Reason> {
    let policy = &job.job.spec.misfire;
    let skip = |why: String| {
        Some(Reason::new(ReasonCode::Misfire, format!("not planned by its latest start {start_by}; {why}")))
    };
    if now.since(fire) > policy.window {
        return skip(format!("older than the misfire window of {}", policy.window));
    }
    let still_run = policy.runs();
    if still_run == 0 {
        return skip("the misfire policy is skip".into());
    }
    // The newest `still_run` missed fires run: this one does if the fire that many places later is not missed.
    let mut later = fire;
    for _ in 0..still_run {
        let next = job.schedule.next_after(later)?;
        let due = job.schedule.due(job.seed(), next);
        if job.job.start_by(due, job.schedule.next_after(next)) >= now {
            return None;
        }
        later = next;
    }
    skip(format!("the misfire policy runs only the newest {still_run}"))
}
