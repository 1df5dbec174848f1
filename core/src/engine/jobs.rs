//! The jobs of the shard, each compiled once, and which of them fires next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::JobInForce;
use crate::ids::{JobId, JobVersion};
use crate::job::Job;
use crate::schedule::ScheduleKind;
use crate::time::Timestamp;

/// The job set in force.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    jobs: BTreeMap<JobId, Entry>,
    /// The next fire of each enabled job with a calendar: planning costs by the fire, not by the job.
    next: BTreeSet<(Timestamp, JobId)>,
    /// The versions of jobs that were edited away: deleted, or moved to another shard.
    gone: BTreeMap<JobId, JobVersion>,
}

#[derive(Debug)]
struct Entry {
    job: Arc<JobInForce>,
    next: Option<Timestamp>,
    /// Fires planned so far, for `round_robin`.
    turn: u64,
}

impl Jobs {
    /// The set of `jobs` with fires later than `planned_until`; what `earlier` had compiled at the same version is taken over.
    pub(super) fn load(jobs: Vec<Job>, planned_until: Timestamp, mut earlier: Self) -> Self {
        let mut loaded = Self::default();
        for job in jobs {
            let known = earlier.jobs.remove(&job.id);
            earlier.gone.remove(&job.id);
            loaded.insert(job, known, planned_until);
        }
        loaded.gone = earlier.gone;
        // A look at all jobs does not tell the last version of one that is gone; edits before its end may not have been seen here.
        let gone = earlier.jobs.iter().map(|(id, entry)| (*id, entry.job.job.version.beyond_lost()));
        loaded.gone.extend(gone);
        loaded
    }

    /// Puts an edited job in the place of what it was; none where it is deleted, or of another shard.
    pub(super) fn replace(
        &mut self,
        id: JobId,
        version: JobVersion,
        job: Option<Job>,
        planned_until: Timestamp,
    ) {
        let known = self.jobs.remove(&id);
        if let Some(next) = known.as_ref().and_then(|entry| entry.next) {
            self.next.remove(&(next, id));
        }
        match job {
            Some(job) => {
                self.gone.remove(&id);
                self.insert(job, known, planned_until);
            }
            None => _ = self.gone.insert(id, version),
        }
    }

    /// The version of a job that is known, or was until it was edited away; else zero.
    pub(super) fn version(&self, job: JobId) -> JobVersion {
        let known = self.get(job).map(|job| job.job.version);
        known.or_else(|| self.gone.get(&job).copied()).unwrap_or_default()
    }

    fn insert(&mut self, job: Job, known: Option<Entry>, planned_until: Timestamp) {
        let id = job.id;
        // A database that was put back to an earlier state under the same name gives a version again, and it is another one.
        let known = known.filter(|entry| entry.job.job == job);
        let turn = known.as_ref().map_or(0, |entry| entry.turn);
        let compiled = match known {
            Some(entry) => entry.job,
            None => match JobInForce::compile(job) {
                Ok(compiled) => Arc::new(compiled),
                // The console validates before it stores, so only a changed time zone database leads here; the job is not planned
                // rather than the shard stopped, and the console shows the same error when it previews the job.
                Err(_) => return,
            },
        };
        let next = compiled.first_fire_after(planned_until);
        if let Some(next) = next {
            self.next.insert((next, id));
        }
        self.jobs.insert(id, Entry { job: compiled, next, turn });
    }

    pub(super) fn get(&self, job: JobId) -> Option<&Arc<JobInForce>> {
        self.jobs.get(&job).map(|entry| &entry.job)
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<JobInForce>> {
        self.jobs.values().map(|entry| &entry.job)
    }

    /// The earliest fire that is not planned yet.
    pub(super) fn next_fire(&self) -> Option<Timestamp> {
        self.next.first().map(|(at, _)| *at)
    }

    /// Takes the earliest fire up to `to`: the job, the fire, the one after it, and its turn.
    pub(super) fn take_fire(&mut self, to: Timestamp) -> Option<Fire> {
        let (at, id) = *self.next.first()?;
        if at > to {
            return None;
        }
        self.next.pop_first();
        let entry = self.jobs.get_mut(&id).expect("every job in the order is in the map");
        let following = entry.job.schedule.next_after(at);
        entry.next = following;
        entry.turn += 1;
        if let Some(following) = following {
            self.next.insert((following, id));
        }
        Some(Fire { job: entry.job.clone(), at, following, turn: entry.turn })
    }

    /// The turn of the next run of `job` made by request.
    pub(super) fn take_turn(&mut self, job: JobId) -> u64 {
        self.jobs.get_mut(&job).map_or(0, |entry| {
            entry.turn += 1;
            entry.turn
        })
    }
}

/// A fire to be planned.
pub(super) struct Fire {
    pub(super) job: Arc<JobInForce>,
    pub(super) at: Timestamp,
    pub(super) following: Option<Timestamp>,
    pub(super) turn: u64,
}

impl JobInForce {
    /// Compiles a stored job.
    ///
    /// # Errors
    /// When its schedule is no longer valid, for example because a time zone left the database.
    pub fn compile(job: Job) -> Result<Self, crate::schedule::ScheduleError> {
        let schedule = job.compile()?;
        let params_json = job.spec.params.to_string().into_bytes().into();
        Ok(Self { job, schedule, params_json })
    }

    /// The first fire that this version has after `planned_until`.
    fn first_fire_after(&self, planned_until: Timestamp) -> Option<Timestamp> {
        self.job.spec.enabled.then(|| self.schedule.next_after(planned_until.max(self.job.effective_from)))?
    }

    /// Whether each run follows the end of the one before.
    pub(super) fn has_fixed_delay(&self) -> bool {
        matches!(self.job.spec.schedule.kind, ScheduleKind::FixedDelay { .. })
    }

    /// What tells this job's deterministic chance (jitter, backoff) from that of others.
    pub fn seed(&self) -> u64 {
        u64::from(self.job.id.get())
    }
}
