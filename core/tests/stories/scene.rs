//! One engine, a clock that the story sets, and what it was told to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use carillon_core::engine::{
    Arm, Effect, Engine, EngineConfig, HandlerInfo, Input, JobInForce, JobSnapshot, PlanNews, Report,
    ReportKind, Snapshot, WorkerInfo,
};
use carillon_core::ids::{Epoch, Incarnation, JobId, JobVersion, JobsVersion, RunKey, ShardId};
use carillon_core::job::Job;
use carillon_core::run::Run;
use carillon_core::time::{Span, Timestamp};
use serde_json::{Value, json};

pub(crate) const EPOCH: Epoch = Epoch::new(3);
pub(crate) const JOB: JobId = JobId::new(7);
pub(crate) const ANN: Incarnation = Incarnation::new(1);
pub(crate) const BOB: Incarnation = Incarnation::new(2);

/// Second `seconds` of every story, with milliseconds behind the point.
pub(crate) fn at(seconds: f64) -> Timestamp {
    Timestamp::from_millis(1_763_629_200_000 + (seconds * 1_000.0).round() as i64)
}

pub(crate) fn shard() -> ShardId {
    ShardId::new("101-1-3-6601".parse().expect("an id"), 0)
}

/// A job without fires of its own, with these policies.
pub(crate) fn job(policies: Value) -> Job {
    let mut spec = json!({
        "group": "101-1-3-6601", "name": "job", "handler": "h", "schedule": {"type": "api"},
        "overlap": {"policy": "parallel", "max": 100},
    });
    let all = spec.as_object_mut().expect("an object");
    all.extend(policies.as_object().expect("an object").clone());
    let spec = serde_json::from_value(spec).expect("a valid job");
    let (id, version, from) = (JOB, JobVersion::new(1), at(-1_000.0));
    Job {
        id,
        version,
        shard_index: 0,
        spec,
        effective_from: from,
        created_at: from,
        updated_at: from,
        updated_by: "ann".into(),
    }
}

/// A committed run that is due at that second, at a worker.
pub(crate) fn run(due: f64, worker: Incarnation) -> Run {
    Run {
        worker: Some(worker),
        due_at: at(due),
        start_by: at(due + 10.0),
        ..Run::planned(RunKey::scheduled(JOB, at(due)), shard(), EPOCH, JobVersion::new(1))
    }
}

pub(crate) fn worker(incarnation: Incarnation) -> WorkerInfo {
    WorkerInfo {
        incarnation,
        name: format!("worker-{incarnation}"),
        room: "a".into(),
        labels: BTreeMap::new(),
        handlers: vec![HandlerInfo { name: "h".into(), parallel: false, reduce: false }],
        held: Vec::new(),
    }
}

/// All of an owner's plan.
pub(crate) fn plan(job: &Job, runs: Vec<Run>) -> PlanNews {
    PlanNews {
        epoch: EPOCH,
        jobs_version: JobsVersion::new(1),
        full: true,
        jobs: vec![Arc::new(JobInForce::compile(job.clone()).expect("a valid schedule"))],
        taken_back: Vec::new(),
        gone_jobs: Vec::new(),
        opened: runs,
        closed: Vec::new(),
    }
}

/// A change of it.
pub(crate) fn change(opened: Vec<Run>, closed: Vec<RunKey>) -> PlanNews {
    PlanNews { full: false, jobs: Vec::new(), ..plan(&job(json!({})), Vec::new()) }.with(opened, closed)
}

/// The version after the last one of a deleted job.
pub(crate) const DELETED_AT: JobVersion = JobVersion::new(9);

pub(crate) fn version(number: u64) -> JobsVersion {
    JobsVersion::new(number)
}

pub(crate) fn changed(jobs_version: u64, job: JobId, touched: &[&Run]) -> Input {
    let touched = touched.iter().map(|run| run.key).collect();
    Input::JobsChanged { jobs_version: version(jobs_version), job, touched }
}

/// The rows of the job as of a version of the job set.
pub(crate) fn read(jobs_version: u64, in_force: Option<Job>, open_runs: Vec<Run>) -> Input {
    let jobs_version = version(jobs_version);
    let job = in_force.as_ref().map_or(JOB, |job| job.id);
    Input::JobRead(Box::new(JobSnapshot {
        job,
        epoch: EPOCH,
        jobs_version,
        version: in_force.as_ref().map_or(DELETED_AT, |job| job.version),
        in_force,
        open_runs,
        last_final: None,
    }))
}

pub(crate) fn edited() -> Job {
    Job { version: JobVersion::new(2), ..job(json!({})) }
}

/// The run as an edit plans it again.
pub(crate) fn replanned(run: &Run) -> Run {
    Run { plan_no: run.plan_no.next(), job_version: JobVersion::new(2), ..run.clone() }
}

/// The shard as the store has it: one job and these rows.
pub(crate) fn snapshot(epoch: Epoch, planned_until: Timestamp, job: &Job, open_runs: Vec<Run>) -> Input {
    Input::Own(Box::new(Snapshot {
        epoch,
        jobs_version: version(1),
        planned_until,
        jobs: vec![job.clone()],
        open_runs,
        last_finals: Vec::new(),
    }))
}

trait With {
    fn with(self, opened: Vec<Run>, closed: Vec<RunKey>) -> Self;
}

impl With for PlanNews {
    fn with(self, opened: Vec<Run>, closed: Vec<RunKey>) -> Self {
        Self { opened, closed, ..self }
    }
}

pub(crate) struct Scene {
    engine: Engine,
    now: f64,
    next_seq: u64,
}

impl Scene {
    /// A holder at second 0 that owns nothing, with both workers connected.
    pub(crate) fn new() -> Self {
        let mut scene = Self { engine: Engine::new(shard(), EngineConfig::default()), now: 0.0, next_seq: 0 };
        scene.feed(Input::WorkerJoined(worker(ANN)));
        scene.feed(Input::WorkerJoined(worker(BOB)));
        scene
    }

    /// A standby of that rank with a plan.
    pub(crate) fn standby(rank: u8, plan: PlanNews) -> Self {
        let mut scene = Self::new();
        scene.feed(Input::Rank(rank));
        scene.feed(Input::Watermark { epoch: EPOCH, planned_until: at(30.0), armed_until: at(1.5) });
        scene.feed(Input::News(Box::new(plan)));
        scene
    }

    /// An owner with these rows.
    pub(crate) fn owner(job: &Job, open_runs: Vec<Run>) -> Self {
        let mut scene = Self::new();
        scene.own(EPOCH, job, open_runs);
        scene
    }

    pub(crate) fn own(&mut self, epoch: Epoch, job: &Job, open_runs: Vec<Run>) -> Vec<Effect> {
        self.feed(snapshot(epoch, at(self.now + 28.0), job, open_runs))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn feed(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.engine.step(at(self.now), input, &mut effects);
        effects
    }

    /// Lets time pass as the engine asks for it; what it did meanwhile, each with its second.
    pub(crate) fn pass_until(&mut self, second: f64) -> Vec<(f64, Effect)> {
        let mut done = Vec::new();
        loop {
            let wake = self
                .engine
                .next_wake()
                .map_or(f64::INFINITY, |wake| wake.millis_since(at(0.0)) as f64 / 1_000.0);
            // A step that changes nothing must not stop the clock.
            let next = wake.max(self.now + 0.001);
            if next > second {
                self.now = second;
                return done;
            }
            self.now = next;
            done.extend(self.feed(Input::Tick).into_iter().map(|effect| (next, effect)));
        }
    }

    /// When a run was armed until that second.
    pub(crate) fn armed_until(&mut self, second: f64) -> Vec<(f64, Arm)> {
        let arm = |(at, effect)| match effect {
            Effect::Arm(arm) => Some((at, arm)),
            _ => None,
        };
        self.pass_until(second).into_iter().filter_map(arm).collect()
    }

    pub(crate) fn hear(&mut self, from: Incarnation, run: &Run, kind: ReportKind) -> Vec<Effect> {
        self.next_seq += 1;
        let (key, attempt, plan_no) = (run.key, run.attempt, run.plan_no);
        let report = Report { seq: self.next_seq, key, attempt, plan_no, at: at(self.now), kind };
        self.feed(Input::Report(from, report))
    }

    /// The owner goes on to plan: what it says each round.
    pub(crate) fn watermark(&mut self, planned_until: f64) -> Vec<Effect> {
        let planned_until = at(planned_until);
        self.feed(Input::Watermark { epoch: EPOCH, planned_until, armed_until: at(self.now) })
    }
}

pub(crate) fn seconds(armed: &[(f64, Arm)]) -> Vec<f64> {
    armed.iter().map(|(at, _)| *at).collect()
}

pub(crate) fn succeeded(at_second: f64) -> ReportKind {
    ReportKind::Succeeded { started_at: at(at_second), result: None }
}

pub(crate) fn span(millis: u64) -> Span {
    Span::from_millis(millis)
}
