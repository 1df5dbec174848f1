//! What an owner tells the other holders: its committed plan, and each change of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::open_run::{OpenRun, Phase};
use super::{Effect, Engine, JobInForce, Owned};
use crate::ids::{AttemptNo, Epoch, Incarnation, JobId, JobVersion, JobsVersion, PlanNo, RunKey};
use crate::run::Run;
use crate::time::Timestamp;

/// The committed plan of a shard as its owner tells it, whole or as a change. What is not known to be committed is never told: a standby
/// arms what it is told.
#[derive(Debug, Clone)]
pub struct PlanNews {
    /// The epoch of the owner.
    pub epoch: Epoch,
    /// The version of its job set.
    pub jobs_version: JobsVersion,
    /// This is all of it: what a standby knew before is forgotten.
    pub full: bool,
    /// Jobs that were edited: what was told of them is nothing to arm by, until they are told again.
    pub taken_back: Vec<JobId>,
    /// Jobs that were not told yet in this version, each with all its open runs: what was known of its runs before is void.
    pub jobs: Vec<Arc<JobInForce>>,
    /// Jobs that are gone, and with them their runs.
    pub gone_jobs: Vec<JobId>,
    /// Open runs that are new, or whose worker, plan number, attempt or times changed.
    pub opened: Vec<Run>,
    /// Runs that are final, or whose move is being committed: nobody but the owner arms them.
    pub closed: Vec<RunKey>,
}

/// What of a run the other holders go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    attempt: AttemptNo,
    plan_no: PlanNo,
    worker: Option<Incarnation>,
    due_at: Timestamp,
    start_by: Timestamp,
}

impl Told {
    fn of(run: &Run) -> Self {
        let Run { attempt, plan_no, worker, due_at, start_by, .. } = *run;
        Self { attempt, plan_no, worker, due_at, start_by }
    }
}

/// What the other holders were told under this epoch.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// Something was told: before that everything is news.
    begun: bool,
    /// In which version; none while it is taken back.
    jobs: BTreeMap<JobId, Option<JobVersion>>,
    runs: BTreeMap<RunKey, Told>,
    /// Runs to be compared with what was told; the cost of telling is by the change.
    changed: BTreeSet<RunKey>,
    /// The job set was read anew.
    look_at_jobs: bool,
    /// Jobs that were edited, or read anew.
    jobs_changed: BTreeSet<JobId>,
}

impl Telling {
    pub(super) fn changed(&mut self, key: RunKey) {
        self.changed.insert(key);
    }

    /// After a look at the store: every run and job is compared.
    pub(super) fn look_at_all(&mut self) {
        self.look_at_jobs = true;
        self.changed.extend(self.runs.keys().copied());
    }

    /// At the edit of a job, and after the look at its rows.
    pub(super) fn look_at(&mut self, job: JobId) {
        self.jobs_changed.insert(job);
    }
}

impl Engine {
    /// All of the committed plan, for a holder that begins to listen or has missed something; none where the server is not the owner.
    /// What [`Effect::Tell`] said before is in it, so it is sent after those.
    pub fn plan_so_far(&self) -> Option<PlanNews> {
        let owned = self.owned.as_ref()?;
        let in_force = |job: &&Arc<JobInForce>| !owned.looks.is_frozen(job.job.id);
        Some(PlanNews {
            epoch: owned.epoch,
            jobs_version: owned.jobs_version,
            full: true,
            taken_back: owned.looks.frozen_jobs().collect(),
            jobs: owned.jobs.iter().filter(in_force).cloned().collect(),
            gone_jobs: Vec::new(),
            opened: owned
                .runs
                .values()
                .filter(|open| owned.is_tellable(open))
                .map(|open| open.run.clone())
                .collect(),
            closed: Vec::new(),
        })
    }

    /// At the end of a step: tells what it changed.
    pub(super) fn tell(&mut self) {
        let Some(owned) = &mut self.owned else { return };
        let Some(news) = owned.changes() else { return };
        self.effects.push(Effect::Tell(Box::new(news)));
    }
}

impl Owned {
    /// Whether others may arm the run: its row is committed as it is known, and its job is in force and not being edited.
    fn is_tellable(&self, open: &OpenRun) -> bool {
        open.phase != Phase::Moving && open.job.is_some() && !self.looks.is_frozen(open.run.key.job)
    }

    fn changes(&mut self) -> Option<PlanNews> {
        let mut news = PlanNews {
            epoch: self.epoch,
            jobs_version: self.jobs_version,
            full: !self.telling.begun,
            taken_back: Vec::new(),
            jobs: Vec::new(),
            gone_jobs: Vec::new(),
            opened: Vec::new(),
            closed: Vec::new(),
        };
        self.job_changes(&mut news);
        for key in std::mem::take(&mut self.telling.changed) {
            match self.runs.get(&key).filter(|open| self.is_tellable(open)) {
                Some(open) => {
                    let told = Told::of(&open.run);
                    if self.telling.runs.insert(key, told) != Some(told) {
                        news.opened.push(open.run.clone());
                    }
                }
                None if self.telling.runs.remove(&key).is_some() => news.closed.push(key),
                None => {}
            }
        }
        self.telling.begun = true;
        let nothing = news.taken_back.is_empty()
            && news.jobs.is_empty()
            && news.gone_jobs.is_empty()
            && news.opened.is_empty()
            && news.closed.is_empty();
        (news.full || !nothing).then_some(news)
    }

    fn job_changes(&mut self, news: &mut PlanNews) {
        let mut changed = std::mem::take(&mut self.telling.jobs_changed);
        if std::mem::take(&mut self.telling.look_at_jobs) {
            changed.extend(self.telling.jobs.keys().copied());
            changed.extend(self.jobs.iter().map(|job| job.job.id));
        }
        for id in changed {
            if self.looks.is_frozen(id) {
                if self.telling.jobs.insert(id, None) != Some(None) {
                    self.forget_told(id);
                    news.taken_back.push(id);
                }
                continue;
            }
            match self.jobs.get(id).cloned() {
                Some(job) => {
                    let version = Some(job.job.version);
                    if self.telling.jobs.insert(id, version) != Some(version) {
                        self.forget_told(id);
                        news.jobs.push(job);
                    }
                }
                None if self.telling.jobs.remove(&id).is_some() => news.gone_jobs.push(id),
                None => {}
            }
        }
    }

    /// What was told of the job's open runs is void, and those that may be told are told again.
    fn forget_told(&mut self, job: JobId) {
        for (_, key) in self.by_job.get(&job).into_iter().flatten() {
            self.telling.runs.remove(key);
            self.telling.changed.insert(*key);
        }
    }
}
