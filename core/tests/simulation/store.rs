//! The store as the engine meets it: conditional writes on one primary. What a real one may do to a caller (no answer, an answer after the
//! commit was made, a long pause) is decided by the world.

use std::collections::{BTreeMap, BTreeSet};

use carillon_core::change::{Advance, Fence, Insertion, Move, Slice, Step, TriggeredRun};
use carillon_core::edit::{SeenShard, edit_plan};
use carillon_core::engine::{JobSnapshot, Snapshot};
use carillon_core::ids::{AttemptNo, Epoch, Incarnation, JobId, JobVersion, JobsVersion, RunKey, ShardId};
use carillon_core::job::{Job, JobSpec};
use carillon_core::run::{Attempt, ReasonCode, Run, RunState};
use carillon_core::schedule::ScheduleKind;
use carillon_core::time::Timestamp;

/// One shard's rows.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) shard: ShardId,
    pub(crate) epoch: Epoch,
    pub(crate) owner: Option<usize>,
    pub(crate) jobs_version: JobsVersion,
    pub(crate) planned_until: Timestamp,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    /// Every version that was ever in force: `(version, from, spec enabled)`, in order.
    pub(crate) history: BTreeMap<JobId, Vec<Job>>,
    pub(crate) runs: BTreeMap<RunKey, Run>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) idempotency: BTreeMap<(JobId, String), RunKey>,
    /// Fires that were over before the edit that takes them away: by a clock that is ahead their time had come, or a policy gave them up.
    pub(crate) over_before_edit: BTreeSet<RunKey>,
    /// How often the store has failed over, and before which of these each job was last edited.
    pub(crate) failovers: u32,
    pub(crate) edited_at: BTreeMap<JobId, u32>,
}

/// What an edit did.
#[derive(Debug, Clone)]
pub(crate) struct Edited {
    pub(crate) jobs_version: JobsVersion,
    pub(crate) job: JobId,
    pub(crate) version: JobVersion,
    pub(crate) touched: Vec<RunKey>,
}

impl Store {
    pub(crate) fn new(shard: ShardId, start: Timestamp) -> Self {
        Self {
            shard,
            epoch: Epoch::default(),
            owner: None,
            jobs_version: JobsVersion::default(),
            planned_until: start,
            jobs: BTreeMap::new(),
            history: BTreeMap::new(),
            runs: BTreeMap::new(),
            attempts: Vec::new(),
            idempotency: BTreeMap::new(),
            over_before_edit: BTreeSet::new(),
            failovers: 0,
            edited_at: BTreeMap::new(),
        }
    }

    pub(crate) fn claim(&mut self, server: usize, seen: Epoch) -> bool {
        if self.epoch != seen {
            return false;
        }
        self.epoch = seen.next();
        self.owner = Some(server);
        true
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            epoch: self.epoch,
            jobs_version: self.jobs_version,
            planned_until: self.planned_until,
            jobs: self.jobs.values().cloned().collect(),
            open_runs: self.runs.values().filter(|run| !run.state.is_final()).cloned().collect(),
            last_finals: self.last_finals(),
        }
    }

    pub(crate) fn job_snapshot(&self, job: JobId) -> JobSnapshot {
        let Snapshot { epoch, jobs_version, open_runs, last_finals, .. } = self.snapshot();
        JobSnapshot {
            job,
            epoch,
            jobs_version,
            in_force: self.jobs.get(&job).cloned(),
            version: self.history[&job].last().expect("each version is kept").version,
            open_runs: open_runs.into_iter().filter(|run| run.key.job == job).collect(),
            last_final: last_finals.into_iter().find(|(id, _)| *id == job).map(|(_, at)| at),
        }
    }

    /// Runs that follow the end of the one before them by a delay.
    pub(crate) fn delayed_runs(&self) -> usize {
        let delayed = |job: &&Job| matches!(job.spec.schedule.kind, ScheduleKind::FixedDelay { .. });
        let jobs: BTreeSet<JobId> =
            self.history.values().flatten().filter(delayed).map(|job| job.id).collect();
        self.runs.keys().filter(|key| key.ordinal == 0 && jobs.contains(&key.job)).count()
    }

    fn last_finals(&self) -> Vec<(JobId, Timestamp)> {
        let mut last: BTreeMap<JobId, Timestamp> = BTreeMap::new();
        for run in self.runs.values().filter(|run| run.state.is_final() && run.key.ordinal == 0) {
            if let Some(at) = run.finished_at {
                let entry = last.entry(run.key.job).or_insert(at);
                *entry = (*entry).max(at);
            }
        }
        last.into_iter().collect()
    }

    /// Whether a slice is in force, for reading back after an unknown outcome.
    pub(crate) fn has_slice(&self, slice: &Slice) -> bool {
        self.epoch == slice.epoch && self.planned_until == slice.to && self.jobs_version == slice.jobs_version
    }

    pub(crate) fn commit_slice(&mut self, slice: &Slice) -> bool {
        let seen = (slice.epoch, slice.jobs_version, slice.from);
        if seen != (self.epoch, self.jobs_version, self.planned_until) {
            return false;
        }
        assert!(slice.to > slice.from, "I6: the watermark never goes back");
        self.planned_until = slice.to;
        self.insert(&slice.runs);
        true
    }

    fn is_fenced(&self, fence: Fence) -> bool {
        fence.epoch != self.epoch || fence.jobs_version.is_some_and(|known| known != self.jobs_version)
    }

    /// Whether rows under the epoch of their runs and the version of their jobs may be inserted; then inserts them.
    pub(crate) fn insert_fenced(&mut self, runs: &[Run]) -> bool {
        if runs.iter().any(|run| !self.runs.contains_key(&run.key) && !self.admits(run)) {
            return false;
        }
        self.insert(runs);
        true
    }

    fn admits(&self, run: &Run) -> bool {
        let in_force = self.jobs.get(&run.key.job).map(|job| job.version);
        run.epoch == self.epoch && in_force == Some(run.job_version)
    }

    pub(crate) fn insert(&mut self, runs: &[Run]) -> Vec<bool> {
        runs.iter()
            .map(|run| {
                let new = !self.runs.contains_key(&run.key);
                if new {
                    self.runs.insert(run.key, run.clone());
                }
                new
            })
            .collect()
    }

    pub(crate) fn insert_triggered(&mut self, triggered: &TriggeredRun) -> Insertion {
        let request = (triggered.run.key.job, triggered.idempotency_key.clone());
        if let Some(key) = self.idempotency.get(&request) {
            return Insertion::Existing(*key);
        }
        if !self.admits(&triggered.run) {
            return Insertion::Fenced;
        }
        self.idempotency.insert(request, triggered.run.key);
        self.insert(std::slice::from_ref(&triggered.run));
        Insertion::New
    }

    pub(crate) fn advance(&mut self, advance: &Advance) -> bool {
        if advance.fence.is_some_and(|fence| self.is_fenced(fence)) {
            return false;
        }
        let Some(run) = self.runs.get_mut(&advance.key) else { return false };
        if let Step::LateNews { started_at, detail } = &advance.step {
            let record = self
                .attempts
                .iter_mut()
                .find(|record| record.key == advance.key && record.attempt == advance.attempt);
            if let Some(record) = record {
                record.started_at = record.started_at.or(*started_at);
                record.reason.detail.push_str("; ");
                record.reason.detail.push_str(detail);
            }
            return run.attempt > advance.attempt;
        }
        if run.attempt != advance.attempt {
            return false;
        }
        let reason = run.reason.as_ref().map(|reason| reason.code);
        let legal = |next| run.state.can_become(next) || run.state.can_be_corrected_to(next, reason);
        match &advance.step {
            Step::Started { at, worker } => {
                if !legal(RunState::Running) {
                    return false;
                }
                run.state = RunState::Running;
                run.started_at = Some(*at);
                run.worker = Some(*worker);
                run.reason = None;
            }
            Step::Final { state, started_at, at, reason, result, seen } => {
                if !legal(*state) || seen.is_some_and(|seen| seen < run.plan_no) {
                    return false;
                }
                run.state = *state;
                run.started_at = started_at.or(run.started_at);
                run.finished_at = Some(*at);
                run.reason = reason.clone();
                run.result = result.clone();
            }
            Step::Retry { ended, due_at, start_by, worker, plan_no } => {
                if run.state.is_final() || *plan_no <= run.plan_no {
                    return false;
                }
                self.attempts.push(ended.clone());
                next_attempt(run, *due_at, *start_by, *worker, *plan_no);
            }
            Step::Reopen { ended, due_at, start_by, worker, plan_no } => {
                if !run.state.is_dead_letter() || *plan_no <= run.plan_no {
                    return false;
                }
                self.attempts.push(ended.clone());
                next_attempt(run, *due_at, *start_by, *worker, *plan_no);
            }
            Step::LateNews { .. } => unreachable!("handled above"),
        }
        true
    }

    pub(crate) fn move_run(&mut self, made: &Move) -> bool {
        if self.is_fenced(made.fence) {
            return false;
        }
        let Some(run) = self.runs.get_mut(&made.key) else { return false };
        if run.attempt != made.attempt || run.plan_no != made.seen || run.state != RunState::Planned {
            return false;
        }
        run.plan_no = made.seen.next();
        run.worker = Some(made.to);
        true
    }

    /// What the console does (trigger-protocol: "Edits"), in one transaction.
    pub(crate) fn edit(&mut self, id: JobId, spec: Option<JobSpec>, at: Timestamp) -> Edited {
        let old = self.jobs.get(&id).cloned();
        // A deleted job comes back as a version far beyond its last here, to save numbers; real ids are never given twice.
        let last = self.history.get(&id).and_then(|versions| versions.last());
        let edited_at = self.edited_at.insert(id, self.failovers).unwrap_or_default();
        let version = match last {
            None => JobVersion::new(1),
            Some(job) if edited_at == self.failovers && old.is_some() => job.version.next(),
            Some(job) => job.version.beyond_lost(),
        };
        let new = spec.map(|spec| Job {
            id,
            version,
            shard_index: 0,
            spec,
            effective_from: at,
            created_at: at,
            updated_at: at,
            updated_by: "ann".into(),
        });
        let touchable = |run: &Run| {
            run.key.job == id
                && run.key.ordinal == 0
                && run.state == RunState::Planned
                && run.key.fire_time > at
        };
        let over = |run: &&Run| run.key.job == id && run.key.fire_time > at && run.state.is_final();
        self.over_before_edit.extend(self.runs.values().filter(over).map(|run| run.key));
        let planned: Vec<Run> = self.runs.values().filter(|run| touchable(run)).cloned().collect();
        let seen = SeenShard { id: self.shard, epoch: self.epoch, planned_until: self.planned_until };
        let plan = edit_plan(old.as_ref(), new.as_ref(), seen, &planned, at).expect("valid schedules");
        let stay: BTreeSet<RunKey> = plan.runs.iter().map(|run| run.key).collect();
        for key in planned.iter().map(|run| run.key) {
            let run = self.runs.get_mut(&key).expect("just listed");
            if stay.contains(&key) {
                run.plan_no = run.plan_no.next();
                run.job_version = version;
            } else {
                run.state = RunState::Cancelled;
                run.finished_at = Some(at);
                run.reason = Some(plan.cancel_reason.clone());
            }
        }
        let mut revived = Vec::new();
        for wanted in plan.runs.iter().filter(|run| run.state == RunState::Planned) {
            let Some(run) = self.runs.get_mut(&wanted.key) else { continue };
            let code = run.reason.as_ref().map(|reason| reason.code);
            let taken_away = matches!(code, Some(ReasonCode::Edited | ReasonCode::Paused));
            let unseen = run.started_at.is_none() && run.attempt == AttemptNo::FIRST;
            if run.state == RunState::Cancelled && taken_away && unseen {
                run.plan_no = run.plan_no.next();
                run.job_version = version;
                (run.state, run.finished_at, run.reason) = (RunState::Planned, None, None);
                (run.due_at, run.start_by) = (wanted.due_at, wanted.start_by);
                revived.push(run.key);
            }
        }
        self.insert(&plan.runs);
        self.jobs_version = self.jobs_version.next();
        match new {
            Some(job) => {
                self.history.entry(id).or_default().push(job.clone());
                self.jobs.insert(id, job);
            }
            None => {
                let mut gone = old.expect("only what exists is deleted");
                (gone.version, gone.effective_from, gone.spec.enabled) = (version, at, false);
                self.history.entry(id).or_default().push(gone);
                self.jobs.remove(&id);
            }
        }
        // What was due before the edit and has not started lives on under the new version, with a new plan: the old one is withdrawn.
        let earlier = |run: &&mut Run| {
            let before = run.key.fire_time <= at || run.key.ordinal != 0;
            run.key.job == id && run.state == RunState::Planned && before
        };
        let mut touched: Vec<RunKey> = planned.iter().map(|run| run.key).chain(revived).collect();
        for run in self.runs.values_mut().filter(earlier) {
            run.plan_no = run.plan_no.next();
            run.job_version = version;
            touched.push(run.key);
        }
        Edited { jobs_version: self.jobs_version, job: id, version, touched }
    }
}

fn next_attempt(
    run: &mut Run,
    due_at: Timestamp,
    start_by: Timestamp,
    worker: Option<Incarnation>,
    plan_no: carillon_core::ids::PlanNo,
) {
    run.attempt = AttemptNo::next(run.attempt);
    (run.state, run.worker, run.plan_no) = (RunState::Planned, worker, plan_no);
    (run.due_at, run.start_by) = (due_at, start_by);
    (run.started_at, run.finished_at, run.reason) = (None, None, None);
}
