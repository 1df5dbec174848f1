//! What the promises arrange: a group, jobs and runs of their own.

use carillon_core::ids::{
    AttemptNo, Epoch, GroupId, Incarnation, JobId, JobVersion, JobsVersion, PlanNo, RunKey, ServerId, ShardId,
};
use carillon_core::job::Job;
use carillon_core::run::{Attempt, Reason, ReasonCode, Run, RunState};
use carillon_core::time::{Span, Timestamp};
use serde_json::json;

use crate::catalog::{EditOutcome, Group, JobChange, JobEdit};
use crate::runs::{Advance, Insertion, Slice, SliceOutcome, Step};
use crate::shards::{ClaimCause, ClaimNote, ShardRow};
use crate::{SharedStore, StoreError};

/// The cluster that all promises share.
pub(super) const CLUSTER: u32 = 101;

/// A group of its own with one shard, owned in epoch 1.
pub(super) struct Fixture {
    pub(super) store: SharedStore,
    pub(super) group: GroupId,
    pub(super) shard: ShardId,
    /// The instant that the promise's story begins at: the shard's first watermark.
    pub(super) start: Timestamp,
}

impl Fixture {
    pub(super) async fn new(store: SharedStore) -> Self {
        Self::beginning_at(store, "2026-11-20T09:00:00Z".parse().unwrap()).await
    }

    pub(super) async fn beginning_at(store: SharedStore, start: Timestamp) -> Self {
        let group = new_group(&store, 1, start).await;
        let shard = ShardId::new(group, 0);
        let epoch = store
            .claim(shard, Epoch::new(0), &server("server-1"), &note(start, ClaimCause::First))
            .await
            .unwrap();
        assert_eq!(epoch, Some(Epoch::new(1)), "the first claim makes epoch 1");
        Self { store, group, shard, start }
    }

    pub(super) fn at(&self, seconds: u64) -> Timestamp {
        self.start + Span::from_secs(seconds)
    }

    pub(super) async fn row(&self) -> ShardRow {
        self.store.shard(self.shard).await.unwrap().unwrap()
    }

    /// A job as it would be created, not stored yet.
    pub(super) async fn draft(&self, name: &str) -> Job {
        let id = self.store.next_job_id().await.unwrap();
        self.job_as(id, 1, name)
    }

    pub(super) fn job_as(&self, id: JobId, version: u32, name: &str) -> Job {
        let spec = json!({
            "group": self.group, "name": name, "handler": "Handler", "params": {"version": version},
            "schedule": {"type": "fixed_rate", "every": "1s"}, "labels": {"team": "billing"},
        });
        Job {
            id,
            version: JobVersion::new(version),
            shard_index: self.shard.index(),
            spec: serde_json::from_value(spec).unwrap(),
            effective_from: self.start,
            created_at: self.start,
            updated_at: self.at(u64::from(version)),
            updated_by: "ada".to_owned(),
        }
    }

    /// An edit as of the shard's present row.
    pub(super) async fn edit(&self, change: JobChange, at: Timestamp, runs: Vec<Run>) -> JobEdit {
        let row = self.row().await;
        JobEdit {
            shard: self.shard,
            seen_jobs_version: row.jobs_version,
            seen_planned_until: row.planned_until,
            change,
            at,
            cancel_reason: Reason::new(ReasonCode::Edited, "edited by ada"),
            runs,
        }
    }

    /// Creates a job that has no fires yet.
    pub(super) async fn job(&self, name: &str) -> Job {
        let job = self.draft(name).await;
        let edit = self.edit(JobChange::Create(job.clone()), self.start, Vec::new()).await;
        expect_edited(self.store.edit_job(&edit).await);
        job
    }

    /// A planned run of a job that fires at `seconds`.
    pub(super) fn run(&self, job: JobId, seconds: u64) -> Run {
        let fire = self.at(seconds);
        Run {
            worker: Some(worker(1)),
            plan_no: PlanNo::new(1),
            due_at: fire,
            start_by: fire + Span::from_secs(30),
            ..Run::planned(RunKey::scheduled(job, fire), self.shard, Epoch::new(1), JobVersion::new(1))
        }
    }

    pub(super) fn slice(&self, jobs_version: JobsVersion, from: u64, to: u64, runs: Vec<Run>) -> Slice {
        let (from, to) = (self.at(from), self.at(to));
        Slice { shard: self.shard, epoch: Epoch::new(1), jobs_version, from, to, runs }
    }

    /// Plans runs of a job, one a second, from the watermark on.
    pub(super) async fn plan(&self, job: JobId, seconds: std::ops::RangeInclusive<u64>) -> Vec<Run> {
        let row = self.row().await;
        let runs: Vec<Run> = seconds.clone().map(|second| self.run(job, second)).collect();
        let mut slice = self.slice(row.jobs_version, 0, *seconds.end(), runs.clone());
        slice.from = row.planned_until;
        let outcomes = self.store.commit_slices(&[slice]).await.unwrap();
        assert_eq!(outcomes, [SliceOutcome::Committed]);
        runs
    }

    /// Inserts one run and returns it.
    pub(super) async fn insert(&self, run: Run) -> Run {
        assert_eq!(self.store.insert_runs(std::slice::from_ref(&run)).await.unwrap(), [Insertion::New]);
        run
    }

    pub(super) async fn read(&self, key: RunKey) -> Run {
        self.store.run(key).await.unwrap().expect("the run is there")
    }

    pub(super) async fn advance(&self, key: RunKey, attempt: u32, step: Step) -> bool {
        let step = Advance { key, attempt: AttemptNo::new(attempt), step, fence: None };
        self.store.advance(&[step]).await.unwrap()[0]
    }
}

pub(super) fn expect_edited(outcome: Result<EditOutcome, StoreError>) -> Vec<crate::catalog::TouchedRun> {
    match outcome.unwrap() {
        EditOutcome::Edited { touched, .. } => touched,
        other => panic!("the edit should have been made: {other:?}"),
    }
}

pub(super) async fn new_group(store: &SharedStore, shards: u16, planned_from: Timestamp) -> GroupId {
    let group = draft_group(store, shards).await;
    store.create_group(&group, planned_from).await.unwrap();
    group.id
}

pub(super) async fn draft_group(store: &SharedStore, shards: u16) -> Group {
    let number = store.next_group_number(CLUSTER).await.unwrap();
    let at = Timestamp::from_millis(1_000);
    Group {
        id: GroupId::new(CLUSTER, 1, 2, number).unwrap(),
        name: format!("group {number}"),
        description: "of a promise".to_owned(),
        shards,
        revision: 1,
        created_at: at,
        updated_at: at,
    }
}

pub(super) fn server(name: &str) -> ServerId {
    name.parse().unwrap()
}

pub(super) fn worker(number: u64) -> Incarnation {
    Incarnation::new(number)
}

pub(super) fn started(at: Timestamp) -> Step {
    Step::Started { at, worker: worker(1) }
}

pub(super) fn ended(state: RunState, at: Timestamp) -> Step {
    Step::Final { state, started_at: None, at, reason: None, result: None, seen: None }
}

pub(super) fn ended_because(state: RunState, at: Timestamp, code: ReasonCode) -> Step {
    let reason = Some(Reason::new(code, "of a promise"));
    Step::Final { state, started_at: None, at, reason, result: None, seen: None }
}

/// The record of the attempt that a run is in.
pub(super) fn record(run: &Run, at: Timestamp, code: ReasonCode) -> Attempt {
    Attempt {
        key: run.key,
        attempt: run.attempt,
        worker: run.worker,
        due_at: run.due_at,
        started_at: run.started_at,
        finished_at: at,
        reason: Reason::new(code, "the attempt ended"),
    }
}

/// A retry of a run as it was read.
pub(super) fn retry(run: &Run, at: Timestamp) -> Step {
    Step::Retry {
        ended: record(run, at, ReasonCode::HandlerFailed),
        due_at: at + Span::from_secs(10),
        start_by: at + Span::from_secs(40),
        worker: Some(worker(2)),
        plan_no: run.plan_no.next(),
    }
}

/// Retries what the database refuses for a passing reason, as any caller would.
pub(super) async fn patiently<T, F>(mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    for _ in 0..100 {
        match ask().await {
            Err(StoreError::Busy { .. }) => tokio::task::yield_now().await,
            other => return other.unwrap(),
        }
    }
    panic!("the database was busy a hundred times in a row");
}

/// What a claim is recorded with.
pub(super) fn note(at: Timestamp, cause: ClaimCause) -> ClaimNote {
    ClaimNote { at, room: "room-a".to_owned(), cause }
}
