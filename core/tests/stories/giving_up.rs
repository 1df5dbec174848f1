//! A run that a newer one of its job replaces: somebody else may have armed it, so it is given up by its worker's word, or when it cannot
//! start any longer.

use carillon_core::change::{Advance, Step};
use carillon_core::engine::{Effect, Engine, EngineConfig, Input, Report, ReportKind};
use carillon_core::ids::{AttemptNo, Epoch, Incarnation, PlanNo, RunKey};
use carillon_core::run::{Run, RunState};
use carillon_core::time::{Span, Timestamp};
use serde_json::json;

use crate::scene::{ANN, BOB, at, job, run, shard, snapshot, worker};

/// Where the older run is planned, and where the newer one finds its place.
const WORKER: Incarnation = ANN;
const OTHER: Incarnation = BOB;
const PLAN: PlanNo = PlanNo::new(3);

/// An owner that has just taken the shard over, with two runs of a job: one at a worker was due a second ago, and the next one is that has none yet.
struct Scene {
    engine: Engine,
    now: Timestamp,
    older: RunKey,
    /// The end of the older run, as the store is asked to record it.
    ended: Option<Advance>,
    withdrawn: bool,
}

impl Scene {
    fn new() -> Self {
        let now = at(0.0);
        let job =
            job(json!({"overlap": {"policy": "replace"}, "schedule": {"type": "fixed_rate", "every": "1s"}}));
        let planned =
            |worker, due| Run { worker, plan_no: PLAN, start_by: at(due + 4.0), ..run(due, WORKER) };
        let runs = [planned(Some(WORKER), -1.0), planned(None, 0.0)];
        let mut scene = Self {
            engine: Engine::new(shard(), EngineConfig::default()),
            now,
            older: runs[0].key,
            ended: None,
            withdrawn: false,
        };
        scene.step(snapshot(Epoch::new(2), now + Span::from_secs(30), &job, runs.into()));
        scene.joins(OTHER);
        scene
    }

    fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.engine.step(self.now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Advance { steps, .. } => {
                    self.ended = steps.into_iter().find(|step| step.key == self.older).or(self.ended.take());
                }
                Effect::Move(moves) => {
                    self.step(Input::Moved(moves.into_iter().map(|made| (made, true)).collect()))
                }
                Effect::Disarm { key, .. } => self.withdrawn |= key == self.older,
                _ => {}
            }
        }
    }

    /// Time passes; says how much of it until the older run was given up.
    fn pass(&mut self, most: Span) -> Option<Span> {
        let from = self.now;
        while self.ended.is_none() && self.now.since(from) < most {
            self.now = self.now + Span::from_millis(100);
            self.step(Input::Tick);
        }
        self.ended.as_ref().map(|_| self.now.since(from))
    }

    fn joins(&mut self, incarnation: Incarnation) {
        self.step(Input::WorkerJoined(worker(incarnation)));
    }
}

#[test]
fn a_run_at_a_worker_out_of_reach_is_given_up_only_when_it_cannot_start_any_longer() {
    let mut scene = Scene::new();
    // Its latest start is 3 s ahead, and clocks may differ by 2 s. That its worker is taken for lost meanwhile changes nothing.
    let given_up = scene.pass(Span::from_secs(20)).expect("it is given up in the end");
    assert!((Span::from_secs(5)..Span::from_secs(8)).contains(&given_up), "after {given_up}");
}

#[test]
fn a_run_is_given_up_at_once_when_its_worker_says_that_it_will_not_start_it() {
    let mut scene = Scene::new();
    scene.joins(WORKER);
    scene.pass(Span::from_millis(300));
    assert!(scene.withdrawn && scene.ended.is_none(), "the worker is asked first");
    let report = Report {
        seq: 1,
        key: scene.older,
        attempt: AttemptNo::FIRST,
        plan_no: PLAN,
        at: scene.now,
        kind: ReportKind::Disarmed,
    };
    scene.step(Input::Report(WORKER, report));
    scene.pass(Span::from_millis(300)).expect("it is given up");
}

/// A move in doubt may take effect after it was read back; the end must not hold for a plan that its decider did not know.
#[test]
fn an_end_that_an_owner_decides_names_the_plan_that_it_knew() {
    let mut scene = Scene::new();
    scene.pass(Span::from_secs(20));
    let Some(Advance { step: Step::Final { seen, state, .. }, fence, .. }) = scene.ended else {
        panic!("it ended")
    };
    assert_eq!((state, seen), (RunState::Cancelled, Some(PLAN)));
    assert!(fence.is_some());
}
