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
    /// Jobs that were not told yet in this version. They come before the runs that need them.
    pub jobs: Vec<Arc<JobInForce>>,
    /// Jobs that are gone.
    pub gone_jobs: Vec<JobId>,
    /// Open runs that are new, or whose worker, plan number, attempt or times changed.
    pub opened: Vec<Run>,
    /// Runs that are final, or whose plan is being changed: nobody but the owner arms them.
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
    jobs: BTreeMap<JobId, JobVersion>,
    runs: BTreeMap<RunKey, Told>,
    /// Runs to be compared with what was told; the cost of telling is by the change.
    changed: BTreeSet<RunKey>,
    /// The job set was read anew.
    look_at_jobs: bool,
    /// Jobs that were read anew.
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

    /// After a look at the rows of a job.
    pub(super) fn look_at(&mut self, job: JobId) {
        self.jobs_changed.insert(job);
    }
}

impl Engine {
    /// All of the committed plan, for a holder that begins to listen or has missed something; none where the server is not the owner.
    /// What [`Effect::Tell`] said before is in it, so it is sent after those.
    pub fn plan_so_far(&self) -> Option<PlanNews> {
        let owned = self.owned.as_ref()?;
        Some(PlanNews {
            epoch: owned.epoch,
            jobs_version: owned.jobs_version,
            full: true,
            jobs: owned.jobs.iter().cloned().collect(),
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

    /// The job's runs are nobody's to arm until the edit has been read.
    pub(super) fn take_back(&mut self, job: JobId) {
        let open = self.by_job.get(&job).into_iter().flatten().map(|(_, key)| *key);
        for key in open {
            self.telling.changed(key);
        }
    }

    fn changes(&mut self) -> Option<PlanNews> {
        let mut news = PlanNews {
            epoch: self.epoch,
            jobs_version: self.jobs_version,
            full: !self.telling.begun,
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
        let nothing = news.jobs.is_empty()
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
            match self.jobs.get(id) {
                Some(job) => {
                    let version = job.job.version;
                    if self.telling.jobs.insert(id, version) != Some(version) {
                        news.jobs.push(job.clone());
                    }
                }
                None if self.telling.jobs.remove(&id).is_some() => news.gone_jobs.push(id),
                None => {}
            }
        }
    }
}
