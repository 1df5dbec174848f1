//! Looking at the store: at the whole shard to begin to own it, after a refused commit, a stall, or a break of the connection to the
//! store; at one job after its edit.
//!
//! A look is an operation in the shard's lane, so that what is read includes what was written of it before, and what was written of it later
//! is heard of after it. The engine goes on meanwhile.

use std::time::Duration;

use carillon_core::engine::{Input, JobSnapshot, Snapshot};
use carillon_core::ids::{Epoch, JobId};
use carillon_core::time::Span;
use carillon_store::catalog::Plan;
use tokio::time::Instant;

use super::ShardLoop;
use crate::committer::{MAX_OPEN_RUNS, Operation, ReadAnswer};

/// How long a stalled owner waits to see what stands in the store before it goes on without.
const STALL_PATIENCE: Span = Span::from_secs(1);

/// How long after a failure the store is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Looks on account of stalls are at least this far apart, or a busy machine would get busier by them.
const BETWEEN_STALLS: Duration = Duration::from_secs(5);

/// Looks on account of broken connections to the store are at least this far apart: a database that is slow would get slower by them. The
/// last break is never passed over.
const BETWEEN_BREAKS: Duration = Duration::from_secs(5);

/// How often the shard is looked at for jobs that nobody knows: requests for wrong jobs must not keep the store busy.
const LOOK_FOR_JOB_EVERY: Duration = Duration::from_secs(1);

/// What is to be looked at later.
#[derive(Debug, Default)]
pub(super) struct Looking {
    last_stall: Option<Instant>,
    last_break: Option<Instant>,
    /// When the shard is looked at, or was last, for a job that nobody knows.
    for_job: Option<Instant>,
    /// That look is still to come.
    for_job_wanted: bool,
    /// Looks that failed, and when they are tried again; none for the whole shard.
    failed: Vec<(Instant, Option<JobId>)>,
}

impl Looking {
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let for_job = self.for_job.filter(|_| self.for_job_wanted);
        self.failed.iter().map(|(at, _)| *at).chain(for_job).min()
    }
}

impl ShardLoop {
    /// Of what was to be looked at as an owner nothing is to be any longer.
    pub(super) fn forget_looks(&mut self) {
        self.looking.for_job_wanted = false;
        self.looking.failed.retain(|(_, only)| only.is_some());
    }

    /// Reads all of the shard, or a job of it, after everything that was handed to the store so far and concerns it.
    pub(super) fn look_at(&mut self, only: Option<JobId>) {
        self.store(Operation::Read { only, epoch: self.epoch });
    }

    /// Has the shard looked at for a job that nobody knows: it may be new.
    pub(super) fn look_for_unknown_job(&mut self) {
        let now = Instant::now();
        let soonest = self.looking.for_job.map_or(now, |at| now.max(at + LOOK_FOR_JOB_EVERY));
        if !self.looking.for_job_wanted {
            self.looking.for_job = Some(soonest);
            self.looking.for_job_wanted = true;
        }
    }

    /// After a stall the engine looks before it acts.
    pub(super) fn look_for_stall(&mut self) {
        let count = self.shell.stalls.count();
        if count == self.stalls_seen {
            return;
        }
        self.stalls_seen = count;
        let now = Instant::now();
        let recent = self.looking.last_stall.is_some_and(|at| now - at < BETWEEN_STALLS);
        if !recent {
            self.looking.last_stall = Some(now);
            self.step(Input::Stalled { patience: STALL_PATIENCE });
        }
    }

    /// After a break of the connection to the store it may have lost what it had acknowledged: the engine looks at it again.
    pub(super) fn look_for_break(&mut self) {
        let count = self.shell.breaks.count();
        let now = Instant::now();
        if count == self.breaks_seen || self.looking.last_break.is_some_and(|at| now - at < BETWEEN_BREAKS) {
            return;
        }
        self.breaks_seen = count;
        self.looking.last_break = Some(now);
        self.step(Input::StoreReplaced);
    }

    /// Looks at what is due to be looked at.
    pub(super) fn look_again(&mut self) {
        let now = Instant::now();
        if self.looking.for_job_wanted && self.looking.for_job.is_some_and(|at| at <= now) {
            self.looking.for_job_wanted = false;
            // The engine has to ask itself, or it would not know what it decided since.
            self.step(Input::Refused);
        }
        let due: Vec<Option<JobId>> =
            self.looking.failed.extract_if(.., |(at, _)| *at <= now).map(|(_, only)| only).collect();
        for only in due {
            self.look_at(only);
        }
    }

    /// Takes what was read, which was asked for under `epoch`.
    pub(super) fn take_read(&mut self, only: Option<JobId>, epoch: Option<Epoch>, answer: ReadAnswer) {
        let still_meant = epoch == self.epoch;
        let as_owner = still_meant && epoch.is_some();
        let plan = match answer {
            ReadAnswer::Plan(plan) => *plan,
            ReadAnswer::Gone => {
                if as_owner {
                    self.step_down("the shard is gone");
                }
                return;
            }
            ReadAnswer::Failed => {
                self.shell.metrics.store_failures.inc();
                if still_meant || only.is_some() {
                    self.looking.failed.push((Instant::now() + AGAIN_AFTER, only));
                }
                return;
            }
        };
        let ours = epoch == Some(plan.shard.epoch) && plan.shard.owner.as_ref() == Some(&self.shell.me);
        if as_owner && !ours {
            self.step_down("another server owns it");
        }
        match only {
            Some(job) => self.take_job(job, plan),
            None if as_owner && ours => self.take_snapshot(plan),
            // About an ownership that is over.
            None => {}
        }
    }

    fn take_job(&mut self, job: JobId, plan: Plan) {
        self.note_traces(&plan);
        self.step(Input::JobRead(Box::new(JobSnapshot {
            job,
            epoch: plan.shard.epoch,
            jobs_version: plan.shard.jobs_version,
            in_force: plan.jobs.into_iter().next(),
            version: plan.version,
            open_runs: plan.open_runs,
            last_final: plan.last_finals.first().map(|(_, at)| *at),
        })));
    }

    fn take_snapshot(&mut self, plan: Plan) {
        let Plan { shard: row, .. } = &plan;
        if plan.open_runs.len() >= MAX_OPEN_RUNS {
            tracing::error!(shard = %self.id, runs = plan.open_runs.len(), "the shard has more open runs than are read; the others wait");
        }
        if self.engine.view(carillon_core::time::Timestamp::EPOCH).epoch.is_none() {
            tracing::info!(shard = %self.id, epoch = %row.epoch, jobs = plan.jobs.len(), open_runs = plan.open_runs.len(), planned_until = %row.planned_until, "the shard is owned here");
            self.shell.events.changed("shards", self.id.to_string(), Some(self.id.group()));
        } else {
            tracing::debug!(shard = %self.id, epoch = %row.epoch, jobs_version = %row.jobs_version, open_runs = plan.open_runs.len(), "the shard was read again");
        }
        self.note_traces(&plan);
        self.step(Input::Own(Box::new(Snapshot {
            epoch: plan.shard.epoch,
            jobs_version: plan.shard.jobs_version,
            planned_until: plan.shard.planned_until,
            jobs: plan.jobs,
            open_runs: plan.open_runs,
            last_finals: plan.last_finals,
        })));
        self.repeat_refused_triggers();
    }

    fn note_traces(&mut self, plan: &Plan) {
        for run in &plan.open_runs {
            if let Some(trace) = run.trace {
                self.traces.insert(run.key, trace);
            }
        }
    }
}
