//! A model of the store, of workers with unreliable streams, and of servers that crash at any point between deciding and acting.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use carillon_core::ids::{Incarnation, JobId, PlanNo, RunKey};
use carillon_core::parallel::{
    HandedOut, MapChunk, MapEffect, MapEngine, MapHeader, MapInput, MapOutcome, MapPhase, MapStart,
    MapWorker, OutcomeKind, ReduceNews, SubtaskOutcome, SubtaskRetry,
};
use carillon_core::run::{Reason, ReasonCode};
use carillon_core::time::Timestamp;

pub(crate) use plan::{Faults, Plan, Random};
use store::Store;

mod checks;
mod plan;
mod servers;
mod store;
mod streams;
mod workers;

struct Save {
    id: u64,
    header: MapHeader,
    chunks: Vec<MapChunk>,
    outputs: Vec<u64>,
    failures: Vec<(u64, u32, Timestamp, bool)>,
}

struct Server {
    number: u64,
    engine: MapEngine,
    outputs: Vec<u64>,
    failures: Vec<(u64, u32, Timestamp, bool)>,
    batch_ready_at: i64,
    timer: i64,
    counts: (u64, u64),
}

struct Worker {
    /// The number of its stream, while it has one.
    stream: Option<u64>,
    alive: bool,
    leaving: bool,
    concurrency: u32,
    queue: VecDeque<(u64, u32)>,
    running: BTreeSet<(u64, u32)>,
    unacked: BTreeMap<u64, Vec<SubtaskOutcome>>,
    gathered: Vec<SubtaskOutcome>,
    next_seq: u64,
    reduce: Option<SimReduce>,
    sent_until: i64,
    received_until: i64,
}

#[derive(Clone)]
struct SimReduce {
    plan_no: PlanNo,
    seq: u64,
    news: ReduceNews,
    acked: bool,
}

#[derive(Clone)]
enum Down {
    AckEmit(u32, Option<String>),
    HandOut(Vec<HandedOut>),
    AskHeld,
    AckResults(Vec<u64>),
    StartReduce(PlanNo),
    AckReduce(u64),
    Cancel,
}

#[derive(Clone)]
enum Up {
    Emit { batch_no: u32 },
    Credit(u32),
    Results(u64, Vec<SubtaskOutcome>),
    Held(Vec<(u64, u32)>),
    Reduce(PlanNo, u64, ReduceNews),
}

enum Event {
    Tick(u64),
    Down { to: u64, stream: u64, message: Down },
    Up { from: u64, stream: u64, server: u64, message: Up },
    BatchApplied { server: u64, batch_no: u32, end: u64 },
    BatchStored { server: u64, batch_no: u32 },
    SaveApplied { server: u64, save: Box<Save> },
    SaveStored { server: u64, id: u64 },
    Finish { worker: u64, index: u64, attempt: u32 },
    Gathered { worker: u64 },
    ReduceFinish { worker: u64, plan_no: PlanNo },
    Repeat { worker: u64 },
    Crash,
    Start,
    Disconnect { worker: u64 },
    Connect { worker: u64 },
    Kill { worker: u64 },
    Spawn,
    Leave { worker: u64 },
}

pub(crate) struct World {
    seed: u64,
    pub(crate) plan: Plan,
    faults: Faults,
    random: Random,
    now: i64,
    events: BTreeMap<(i64, u64), Event>,
    event_no: u64,
    pub(crate) store: Store,
    server: Option<Server>,
    servers: u64,
    streams: u64,
    workers: BTreeMap<u64, Worker>,
    /// End index by batch; the splitting worker is number 1 and never dies (its death is a new attempt).
    batches: Vec<u64>,
    emit_acked: Option<u32>,
    emit_sent: u32,
    emit_stopped: bool,
    pub(crate) executions: BTreeMap<(u64, u32), u32>,
    hung: bool,
    /// Subtasks whose success was acknowledged.
    acked: BTreeSet<u64>,
    split_done: bool,
    pub(crate) ended: Option<Option<MapOutcome>>,
    aborting: bool,
}

const SPLITTER: u64 = 1;
/// Faults happen until here; then everything heals and must come to its end.
const FAULTS_UNTIL: i64 = 8_000;

impl World {
    pub(crate) fn new(seed: u64, plan: Plan, faults: Faults, random: Random) -> Self {
        let mut batches: Vec<u64> = (0..plan.subtasks.div_ceil(plan.batch))
            .map(|no| ((no + 1) * plan.batch).min(plan.subtasks))
            .collect();
        // The end may come with the last batch, or as an empty one.
        if seed.is_multiple_of(2) || batches.is_empty() {
            batches.push(plan.subtasks);
        }
        let mut world = Self {
            seed,
            plan,
            faults,
            random,
            now: 1_000_000,
            events: BTreeMap::new(),
            event_no: 0,
            store: Store::default(),
            server: None,
            servers: 0,
            streams: 0,
            workers: BTreeMap::new(),
            batches,
            emit_acked: None,
            emit_sent: 0,
            emit_stopped: false,
            executions: BTreeMap::new(),
            hung: false,
            acked: BTreeSet::new(),
            split_done: false,
            ended: None,
            aborting: false,
        };
        for _ in 0..world.plan.workers {
            world.spawn();
        }
        world.start_server();
        world.plan_faults();
        world
    }

    fn plan_faults(&mut self) {
        let (workers, servers) = match self.faults {
            Faults::None => (false, false),
            Faults::Workers => (true, false),
            Faults::Servers | Faults::ServerOnly => (false, true),
            Faults::All => (true, true),
        };
        for _ in 0..self.random.below(8) + 1 {
            let at = self.random.between(1, FAULTS_UNTIL);
            let worker = self.random.below(self.plan.workers) + 1;
            let kind = self.random.below(4);
            if servers && (!workers || kind == 0) {
                self.at(at, Event::Crash);
            } else if workers {
                let event = match kind {
                    1 if worker != SPLITTER => Event::Kill { worker },
                    2 if worker != SPLITTER => Event::Leave { worker },
                    _ => Event::Disconnect { worker },
                };
                self.at(at, event);
            }
        }
    }

    fn at(&mut self, delay: i64, event: Event) {
        self.event_no += 1;
        self.events.insert((self.now + delay.max(0), self.event_no), event);
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    pub(crate) fn run(&mut self) {
        self.run_until(24 * 3_600_000);
        assert!(
            self.ended.is_some(),
            "seed {}: it never ended: {:?}",
            self.seed,
            self.server.as_ref().map(|s| &s.engine)
        );
    }

    /// Runs until the attempt ended, or so many milliseconds after the beginning.
    pub(crate) fn run_until(&mut self, millis: i64) {
        let mut steps = 0;
        while self.ended.is_none() {
            let Some(((at, _), _)) = self.events.first_key_value() else { break };
            if *at > 1_000_000 + millis {
                break;
            }
            let ((at, _), event) = self.events.pop_first().unwrap();
            self.now = at;
            self.happen(event);
            steps += 1;
            assert!(steps < 2_000_000, "seed {}: it runs in circles", self.seed);
        }
    }

    pub(crate) fn abort(&mut self) {
        self.aborting = true;
        self.step(MapInput::Abort, None);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick(number) if self.is_server(number) => self.step(MapInput::Tick, None),
            Event::Up { from, stream, server, message } => {
                if self.is_server(server) && self.workers[&from].stream == Some(stream) {
                    self.up(from, message);
                }
            }
            Event::Down { to, stream, message } => {
                if self.workers[&to].stream == Some(stream) {
                    self.down(to, message);
                }
            }
            Event::BatchApplied { server, batch_no, end } => {
                // A repeated number is the same batch; a predecessor's write may arrive late.
                if self.store.batches.len() == batch_no as usize {
                    self.store.batches.push(end);
                }
                assert_eq!(
                    self.store.batches[batch_no as usize], end,
                    "seed {}: batch {batch_no}",
                    self.seed
                );
                let delay = self.random.between(0, 10);
                self.at(delay, Event::BatchStored { server, batch_no });
            }
            Event::BatchStored { server, batch_no } if self.is_server(server) => {
                self.step(MapInput::BatchesStored { up_to: batch_no }, None);
            }
            Event::SaveApplied { server, save } => self.save(server, *save),
            Event::SaveStored { server, id } if self.is_server(server) => {
                self.step(MapInput::CheckpointStored { id }, None);
            }
            Event::Finish { worker, index, attempt } => self.finish(worker, index, attempt),
            Event::Gathered { worker } => self.send_results(worker),
            Event::ReduceFinish { worker, plan_no } => self.reduce_finish(worker, plan_no),
            Event::Repeat { worker } => self.repeat(worker),
            Event::Crash => self.crash(),
            Event::Start => self.start_server(),
            Event::Disconnect { worker } => {
                self.disconnect(worker);
                let delay = self.random.between(1, 8_000);
                self.at(delay, Event::Connect { worker });
            }
            Event::Connect { worker } => self.connect(worker),
            Event::Kill { worker } => {
                self.disconnect(worker);
                self.workers.get_mut(&worker).unwrap().alive = false;
                let delay = self.random.between(1, 3_000);
                self.at(delay, Event::Spawn);
            }
            Event::Spawn => self.spawn(),
            Event::Leave { worker } => {
                let leaves = self.workers.get_mut(&worker).unwrap();
                leaves.leaving = true;
                if leaves.stream.is_some() {
                    self.step(MapInput::WorkerLeft(Incarnation::new(worker)), None);
                }
                self.at(2_000, Event::Kill { worker });
            }
            Event::Tick(_) | Event::BatchStored { .. } | Event::SaveStored { .. } => {}
        }
    }
}
