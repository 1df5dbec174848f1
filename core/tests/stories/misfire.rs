//! A fire that was planned in time and reached its worker too late, because nobody lived: its misfire policy decides whether it still runs.

use carillon_core::engine::{Arm, Effect, Engine, EngineConfig, Input, Refusal, Report, ReportKind};
use carillon_core::ids::{Epoch, RunKey};
use carillon_core::run::RunState;
use carillon_core::time::{Span, Timestamp};
use serde_json::{Value, json};

use crate::scene::{ANN as WORKER, at, job, shard, snapshot, worker};

/// An owner of one job, due each second, whose server was away while fires were due.
struct Scene {
    engine: Engine,
    now: Timestamp,
    /// What the store has been told of runs that ended without a start.
    ended: Vec<(RunKey, RunState)>,
    armed: Vec<Arm>,
    seq: u64,
}

impl Scene {
    fn new(misfire: Value) -> Self {
        Self::with_at_most(100, misfire)
    }

    /// So many runs of the job may be in progress at once.
    fn with_at_most(max: u32, misfire: Value) -> Self {
        let now = at(0.0);
        let job = job(json!({
            "misfire": misfire, "schedule": {"type": "fixed_rate", "every": "1s"},
            "overlap": {"policy": "parallel", "max": max},
        }));
        let mut scene = Self {
            engine: Engine::new(shard(), EngineConfig::default()),
            now,
            ended: Vec::new(),
            armed: Vec::new(),
            seq: 0,
        };
        scene.step(Input::WorkerJoined(worker(WORKER)));
        scene.step(snapshot(Epoch::new(1), now, &job, Vec::new()));
        scene
    }

    /// Takes a step; the store commits at once whatever it is told.
    fn step(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.engine.step(self.now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::CommitSlice(slice) => {
                    self.step(Input::SliceCommitted { epoch: slice.epoch, to: slice.to })
                }
                Effect::Move(moves) => {
                    self.step(Input::Moved(moves.into_iter().map(|made| (made, true)).collect()))
                }
                Effect::Changed { key, state, .. } if state.is_final() => self.ended.push((key, state)),
                Effect::Arm(arm) => self.armed.push(arm),
                _ => {}
            }
        }
    }

    /// Nobody lives for a while: time goes on without a step, then what is armed at last comes too late for the worker.
    fn outage(&mut self, span: Span) {
        self.now = self.now.saturating_add(span);
        self.step(Input::Tick);
        for arm in std::mem::take(&mut self.armed) {
            if arm.start_by < self.now {
                self.answer(&arm, ReportKind::Refused(Refusal::TooLate, "too late".into()));
            }
        }
        self.step(Input::Tick);
    }

    fn answer(&mut self, arm: &Arm, kind: ReportKind) {
        self.seq += 1;
        let (seq, at) = (self.seq, self.now);
        let report = Report { seq, key: arm.key, attempt: arm.attempt, plan_no: arm.plan_no, at, kind };
        self.step(Input::Report(WORKER, report));
    }

    /// Lets time pass until a run is armed.
    fn next_arm(&mut self) -> Arm {
        while self.armed.is_empty() {
            self.now = self.now + Span::from_millis(50);
            self.step(Input::Tick);
        }
        self.armed.remove(0)
    }

    /// Fires from before the outage's end that are armed to start now.
    fn late_starts(&self) -> usize {
        self.armed.iter().filter(|arm| arm.key.fire_time < self.now && arm.start_by >= self.now).count()
    }

    fn missed(&self) -> usize {
        self.ended.iter().filter(|(_, state)| *state == RunState::Missed).count()
    }
}

#[test]
fn fire_all_runs_every_fire_that_was_told_too_late() {
    let mut scene = Scene::new(json!({"policy": "fire_all", "limit": 100}));
    scene.outage(Span::from_millis(10_200));
    // The tenth was told in time.
    assert_eq!(scene.late_starts(), 9);
    assert_eq!(scene.missed(), 0);
}

#[test]
fn fire_once_runs_the_newest_of_them() {
    let mut scene = Scene::new(json!({"policy": "fire_once"}));
    scene.outage(Span::from_millis(10_200));
    assert!(scene.late_starts() >= 1, "nothing runs late");
    assert!(scene.missed() >= 8, "{} missed", scene.missed());
    let newest_missed = scene.ended.iter().map(|(key, _)| key.fire_time).max();
    let oldest_armed = scene.armed.iter().map(|arm| arm.key.fire_time).min();
    assert!(newest_missed < oldest_armed, "{newest_missed:?} is missed and {oldest_armed:?} runs");
}

#[test]
fn skip_runs_none() {
    let mut scene = Scene::new(json!({"policy": "skip"}));
    scene.outage(Span::from_millis(10_200));
    assert!(scene.missed() >= 9, "{} missed", scene.missed());
}

/// The only worker is full when it is asked; by then the one place of the job is taken by the next run, which lasts.
#[test]
fn what_every_worker_refused_is_missed_by_its_latest_start_and_does_not_queue_behind_its_successors() {
    let mut scene = Scene::with_at_most(1, json!({"policy": "skip"}));
    let refused = scene.next_arm();
    scene.answer(&refused, ReportKind::Refused(Refusal::Busy, "full".into()));
    let next = scene.next_arm();
    assert!(next.due_at > refused.due_at);
    scene.answer(&next, ReportKind::Armed);
    scene.now = next.due_at;
    scene.answer(&next, ReportKind::Started);
    while scene.now < refused.start_by + Span::from_millis(100) {
        scene.now = scene.now + Span::from_millis(50);
        scene.step(Input::Tick);
    }
    assert_eq!(scene.ended, [(refused.key, RunState::Missed)]);
}
