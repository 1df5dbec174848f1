//! Reading a shard again: to begin to own it, after an edit, after a refused commit, after a stall.
//!
//! The engine wants what stands in the store after every effect it has given so far. So the big part, the jobs, is read while the engine
//! goes on; then the engine is held back for as long as it takes to empty what is in flight and to read the watermark and the open runs.

use std::collections::BTreeSet;
use std::time::Duration;

use carillon_core::engine::{Input, Snapshot};
use carillon_core::ids::{Epoch, JobId, JobsVersion, ServerId, ShardId};
use carillon_core::job::Job;
use carillon_core::schedule::ScheduleKind;
use carillon_core::time::Span;
use carillon_store::{SharedStore, StoreError};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::ShardLoop;

/// How long an owner's engine is held back until the store has taken what is in flight. Longer, and Arms (1.5 s ahead) would be late.
const DRAIN_PATIENCE: Duration = Duration::from_millis(500);

/// Steps in flight that the store takes in a moment: only then is the engine held back for the rest.
const SOON_TAKEN: usize = 4_000;

/// How long the store may stay behind before the engine is held back all the same: an edit must come into force under any load.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(2);

/// How long an owner's engine is held back while rows are read.
const READ_PATIENCE: Duration = Duration::from_secs(5);

/// How long a stalled owner waits to see what stands in the store before it goes on without.
const STALL_PATIENCE: Span = Span::from_secs(1);

/// How long after a failure the shard is read again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Reloads on account of stalls are at least this far apart, or a busy machine would get busier by them.
const BETWEEN_STALLS: Duration = Duration::from_secs(5);

/// The most open runs read: a horizon of 30 s at 50,000 fires a second, with room. More than that is no plan but a mistake, and is logged.
const MAX_OPEN_RUNS: usize = 2_000_000;

/// How far a reload has got.
#[derive(Debug, Default)]
pub(super) struct Reloading {
    stage: Stage,
    /// Asked for again while one was under way.
    again: bool,
    last_stall: Option<Instant>,
    /// News for the engine that came while it was held back.
    kept: Vec<Input>,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    Wanted(Instant),
    Jobs(JoinHandle<Result<Option<Jobs>, StoreError>>),
    /// The jobs are read, and the store is behind: the engine goes on until it has caught up.
    Behind {
        jobs: Jobs,
        since: Instant,
    },
    /// The engine is held back until the store has taken what is in flight.
    Draining {
        jobs: Jobs,
        until: Instant,
    },
    Rows(JoinHandle<Result<Read, StoreError>>),
}

/// The jobs of a shard at a version.
#[derive(Debug)]
pub(super) struct Jobs {
    version: JobsVersion,
    jobs: Vec<Job>,
}

/// What was read.
#[derive(Debug)]
pub(super) enum Read {
    Snapshot(Box<Snapshot>),
    /// An edit came in between.
    Edited,
    /// Another server owns the shard, or it is gone.
    NotOurs,
}

/// The answer of a read, for [`ShardLoop::take_read`].
#[derive(Debug)]
pub(super) enum Answer {
    Jobs(Result<Option<Jobs>, StoreError>),
    Rows(Result<Read, StoreError>),
}

impl Reloading {
    /// Waits for the answer of the read under way; for ever where there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> Answer {
        let ended = "the reading task neither panics nor is aborted while its handle is kept";
        match &mut self.stage {
            Stage::Jobs(read) => Answer::Jobs(read.await.expect(ended)),
            Stage::Rows(read) => Answer::Rows(read.await.expect(ended)),
            Stage::Idle | Stage::Wanted(_) | Stage::Behind { .. } | Stage::Draining { .. } => {
                std::future::pending().await
            }
        }
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Wanted(at) => Some(*at),
            Stage::Draining { until, .. } => Some(*until),
            Stage::Behind { since, .. } => Some(*since + CATCH_UP_PATIENCE),
            Stage::Idle | Stage::Jobs(_) | Stage::Rows(_) => None,
        }
    }

    pub(super) fn keep(&mut self, input: Input) {
        self.kept.push(input);
    }
}

impl ShardLoop {
    /// Whether the engine is held back. An engine that owns nothing decides nothing, so it need not be.
    pub(super) fn is_paused(&self) -> bool {
        matches!(self.reloading.stage, Stage::Draining { .. } | Stage::Rows(_)) && self.owns()
    }

    fn owns(&self) -> bool {
        self.engine.view(carillon_core::time::Timestamp::EPOCH).epoch.is_some()
    }

    /// Asks for a reload, `after` a while.
    pub(super) fn want_reload(&mut self, after: Duration) {
        let at = Instant::now() + after;
        match self.reloading.stage {
            Stage::Idle => self.reloading.stage = Stage::Wanted(at),
            Stage::Wanted(earlier) => self.reloading.stage = Stage::Wanted(earlier.min(at)),
            Stage::Jobs(_) | Stage::Behind { .. } | Stage::Draining { .. } | Stage::Rows(_) => {
                self.reloading.again = true;
            }
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
        let recent = self.reloading.last_stall.is_some_and(|at| now - at < BETWEEN_STALLS);
        if !recent {
            self.reloading.last_stall = Some(now);
            self.step(Input::Stalled { patience: STALL_PATIENCE });
        }
    }

    /// Takes the next step of a reload when it is due.
    pub(super) fn proceed_with_reload(&mut self) {
        let now = Instant::now();
        let Some(epoch) = self.epoch else {
            self.reloading.stage = Stage::Idle;
            return;
        };
        self.reloading.stage = match std::mem::take(&mut self.reloading.stage) {
            Stage::Behind { jobs, since }
                if self.in_flight.steps <= SOON_TAKEN || now - since >= CATCH_UP_PATIENCE =>
            {
                Stage::Draining { jobs, until: now + DRAIN_PATIENCE }
            }
            Stage::Draining { jobs, until } if until <= now && self.in_flight.operations > 0 => {
                tracing::debug!(shard = %self.id, steps = self.in_flight.steps, "the store is too far behind to read the shard again yet");
                Stage::Behind { jobs, since: now }
            }
            other => other,
        };
        self.let_go();
        match &mut self.reloading.stage {
            Stage::Wanted(at) if *at <= now => {
                let (store, shard) = (self.shell.store.clone(), self.id);
                self.reloading.again = false;
                self.reloading.stage = Stage::Jobs(tokio::spawn(read_jobs(store, shard)));
            }
            Stage::Draining { .. } if self.in_flight.operations == 0 => {
                let Stage::Draining { jobs, .. } = std::mem::take(&mut self.reloading.stage) else { return };
                let (store, shard, me) = (self.shell.store.clone(), self.id, self.shell.me.clone());
                let patience = if self.owns() { READ_PATIENCE } else { Duration::from_secs(120) };
                let read = tokio::spawn(async move {
                    tokio::time::timeout(patience, read_rows(store, shard, me, epoch, jobs))
                        .await
                        .unwrap_or_else(|_| Err(too_slow()))
                });
                self.reloading.stage = Stage::Rows(read);
            }
            _ => {}
        }
    }

    /// Takes what was read.
    pub(super) fn take_read(&mut self, answer: Answer) {
        self.reloading.stage = Stage::Idle;
        match answer {
            Answer::Jobs(Ok(Some(jobs))) => {
                self.reloading.stage = Stage::Behind { jobs, since: Instant::now() };
            }
            Answer::Jobs(Ok(None)) | Answer::Rows(Ok(Read::NotOurs)) => {
                self.step_down("another server owns it, or it is gone");
            }
            Answer::Rows(Ok(Read::Edited)) => {
                self.let_go();
                self.want_reload(Duration::ZERO);
            }
            Answer::Rows(Ok(Read::Snapshot(snapshot))) => self.take_snapshot(*snapshot),
            Answer::Jobs(Err(error)) | Answer::Rows(Err(error)) => self.read_failed(&error),
        }
    }

    fn take_snapshot(&mut self, snapshot: Snapshot) {
        let first = !self.owns();
        // What became of an effect the engine has to hear, or it waits for it for ever: what it did while the jobs were read it knows better
        // than the snapshot. New rows alone are in the snapshot or were taken back by an edit since.
        let kept = std::mem::take(&mut self.reloading.kept);
        let fates: Vec<Input> =
            kept.into_iter().filter(|input| !matches!(input, Input::Inserted(_))).collect();
        for run in &snapshot.open_runs {
            if let Some(trace) = run.trace {
                self.traces.insert(run.key, trace);
            }
        }
        if snapshot.open_runs.len() >= MAX_OPEN_RUNS {
            tracing::error!(shard = %self.id, runs = snapshot.open_runs.len(), "the shard has more open runs than are read; the others wait");
        }
        if first {
            tracing::info!(shard = %self.id, epoch = %snapshot.epoch, jobs = snapshot.jobs.len(), open_runs = snapshot.open_runs.len(), planned_until = %snapshot.planned_until, "the shard is owned here");
            self.shell.events.changed("shards", self.id.to_string(), Some(self.id.group()));
        } else {
            tracing::debug!(shard = %self.id, epoch = %snapshot.epoch, jobs_version = %snapshot.jobs_version, open_runs = snapshot.open_runs.len(), "the shard was read again");
        }
        self.step(Input::Own(Box::new(snapshot)));
        for fate in fates {
            self.step(fate);
        }
        if std::mem::take(&mut self.reloading.again) {
            // What is wanted may be later than what was read.
            self.want_reload(Duration::ZERO);
        } else {
            self.repeat_refused_triggers();
        }
    }

    fn read_failed(&mut self, error: &StoreError) {
        tracing::warn!(shard = %self.id, error = %crate::chain(error), "could not read the shard; it is tried again");
        self.shell.metrics.store_failures.inc();
        self.reloading.stage = Stage::Wanted(Instant::now() + AGAIN_AFTER);
        self.let_go();
    }

    /// Lets the engine go on with the news that waited.
    fn let_go(&mut self) {
        if self.is_paused() {
            return;
        }
        for input in std::mem::take(&mut self.reloading.kept) {
            self.step(input);
        }
    }
}

fn too_slow() -> StoreError {
    StoreError::Unavailable { action: "read a shard again", source: "the store is too far behind".into() }
}

async fn read_jobs(store: SharedStore, shard: ShardId) -> Result<Option<Jobs>, StoreError> {
    let loaded = store.load_shard(shard).await?;
    Ok(loaded.map(|(row, jobs)| Jobs { version: row.jobs_version, jobs }))
}

async fn read_rows(
    store: SharedStore,
    shard: ShardId,
    me: ServerId,
    epoch: Epoch,
    jobs: Jobs,
) -> Result<Read, StoreError> {
    let ours = |row: &carillon_store::shards::ShardRow| row.epoch == epoch && row.owner.as_ref() == Some(&me);
    let Some(before) = store.shard(shard).await?.filter(ours) else { return Ok(Read::NotOurs) };
    if before.jobs_version != jobs.version {
        return Ok(Read::Edited);
    }
    let open_runs = store.open_runs(shard, MAX_OPEN_RUNS).await?;
    // Runs that an edit re-planned after the jobs were read would be armed with the job as it was.
    let Some(after) = store.shard(shard).await?.filter(ours) else { return Ok(Read::NotOurs) };
    if after.jobs_version != jobs.version {
        return Ok(Read::Edited);
    }
    let followed: BTreeSet<JobId> =
        open_runs.iter().filter(|run| run.key.ordinal == 0).map(|run| run.key.job).collect();
    let mut last_finals = Vec::new();
    for job in &jobs.jobs {
        let fixed_delay = matches!(job.spec.schedule.kind, ScheduleKind::FixedDelay { .. });
        if fixed_delay
            && !followed.contains(&job.id)
            && let Some(at) = store.last_final(job.id).await?
        {
            last_finals.push((job.id, at));
        }
    }
    Ok(Read::Snapshot(Box::new(Snapshot {
        epoch,
        jobs_version: jobs.version,
        planned_until: after.planned_until,
        jobs: jobs.jobs,
        open_runs,
        last_finals,
    })))
}
