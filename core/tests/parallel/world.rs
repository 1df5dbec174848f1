//! A model of the store, of workers with unreliable streams, and of servers that crash at any point between deciding and acting.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use carillon_core::ids::{Incarnation, JobId, PlanNo, RunKey};
use carillon_core::parallel::{
    HandedOut, MapChunk, MapEffect, MapEngine, MapHeader, MapInput, MapOutcome, MapPhase, MapRules, MapStart,
    MapWorker, OutcomeKind, ReduceNews, SUBTASKS_PER_CHUNK, SubtaskOutcome, SubtaskRetry,
};
use carillon_core::run::{Reason, ReasonCode};
use carillon_core::time::{Span, Timestamp};

/// Splitmix: a seed gives a world.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below((high - low + 1) as u64) as i64
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Faults {
    None,
    Workers,
    Servers,
    /// Servers crash; streams to the next one are open at once and nothing on them is lost but what the dead server had not read.
    ServerOnly,
    All,
}

/// What the user's code does.
pub(crate) struct Plan {
    pub(crate) subtasks: u64,
    pub(crate) rules: MapRules,
    /// A subtask that never returns at the first worker that gets it.
    pub(crate) hangs: Option<u64>,
    /// How many tries fail, by subtask; none fail where it is missing.
    fails: BTreeMap<u64, u32>,
    fatal: BTreeSet<u64>,
    batch: u64,
    workers: u64,
    longest: i64,
    reduces: bool,
}

impl Plan {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let subtasks = if random.chance(5) { 0 } else { random.below(300) + 1 };
        let mut plan = Self::plain(subtasks, random.below(4) + 1);
        plan.rules.max_attempts = random.below(4) as u32 + 1;
        plan.rules.max_failed = if random.chance(50) { 1_000 } else { random.below(4) };
        plan.rules.per_worker = if random.chance(20) { 3 } else { 0 };
        plan.batch = random.below(60) + 1;
        plan.longest = if random.chance(5) { 20_000 } else { random.between(1, 300) };
        plan.reduces = random.chance(50);
        for index in 0..subtasks {
            if random.chance(10) {
                plan.fails.insert(index, random.below(6) as u32 + 1);
            }
            if random.chance(2) {
                plan.fails.insert(index, 1);
                plan.fatal.insert(index);
            }
        }
        plan
    }

    /// Nothing fails.
    pub(crate) fn plain(subtasks: u64, workers: u64) -> Self {
        let rules = MapRules {
            max_failed: 0,
            max_attempts: 3,
            retry_delay: Span::from_millis(200),
            retry_max: Span::from_secs(5),
            per_worker: 0,
            reissue_stragglers: true,
        };
        let (fails, fatal) = (BTreeMap::new(), BTreeSet::new());
        Self { subtasks, rules, hangs: None, fails, fatal, batch: 16, workers, longest: 50, reduces: false }
    }

    fn outcome(&self, index: u64, attempt: u32) -> OutcomeKind {
        match self.fails.get(&index) {
            Some(fails) if attempt <= *fails => {
                if self.fatal.contains(&index) {
                    OutcomeKind::Fatal
                } else {
                    OutcomeKind::Failed
                }
            }
            _ => OutcomeKind::Done,
        }
    }

    fn fails_for_good(&self, index: u64) -> bool {
        self.fatal.contains(&index)
            || self.fails.get(&index).is_some_and(|fails| *fails >= self.rules.max_attempts)
    }

    pub(crate) fn tries_expected(&self, index: u64) -> u32 {
        if self.fatal.contains(&index) {
            return 1;
        }
        self.fails.get(&index).map_or(1, |fails| (fails + 1).min(self.rules.max_attempts))
    }
}

#[derive(Default)]
pub(crate) struct Store {
    epoch: u64,
    /// End index by batch.
    batches: Vec<u64>,
    pub(crate) header: Option<MapHeader>,
    chunks: BTreeMap<u32, MapChunk>,
    outputs: BTreeSet<u64>,
    failures: BTreeMap<(u64, u32), (Timestamp, bool)>,
}

impl Store {
    fn end(&self) -> u64 {
        self.batches.last().copied().unwrap_or(0)
    }

    fn bit(&self, index: u64, of: fn(&MapChunk) -> &Vec<u8>) -> bool {
        let within = index % SUBTASKS_PER_CHUNK;
        let chunk = self.chunks.get(&((index / SUBTASKS_PER_CHUNK) as u32));
        chunk
            .and_then(|chunk| of(chunk).get((within / 8) as usize))
            .is_some_and(|byte| byte >> (within % 8) & 1 == 1)
    }

    fn done(&self, index: u64) -> bool {
        self.bit(index, |chunk| &chunk.done)
    }

    fn failed(&self, index: u64) -> bool {
        self.bit(index, |chunk| &chunk.failed)
    }
}

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

    // ---- servers ----

    fn is_server(&self, number: u64) -> bool {
        self.server.as_ref().is_some_and(|server| server.number == number)
    }

    fn crash(&mut self) {
        if self.server.take().is_none() {
            return;
        }
        for worker in self.workers.values_mut() {
            worker.stream = None;
        }
        let delay = if self.faults == Faults::ServerOnly { 1 } else { self.random.between(1, 4_000) };
        self.at(delay, Event::Start);
    }

    fn start_server(&mut self) {
        self.servers += 1;
        self.store.epoch = self.servers;
        let mut retries: BTreeMap<u64, SubtaskRetry> = BTreeMap::new();
        for ((index, tries), (at, _)) in &self.store.failures {
            retries.insert(*index, SubtaskRetry { index: *index, tries: *tries, at: *at });
        }
        let start = MapStart {
            run: RunKey::scheduled(JobId::new(1), Timestamp::EPOCH),
            rules: self.plan.rules,
            header: self.store.header.clone(),
            chunks: self.store.chunks.values().cloned().collect(),
            next_batch: self.store.batches.len() as u32,
            next_index: self.store.end(),
            retries: retries.into_values().collect(),
        };
        let engine = MapEngine::new(self.time(), start);
        let counts = (engine.header().done, engine.header().failed);
        self.server = Some(Server {
            number: self.servers,
            engine,
            outputs: Vec::new(),
            failures: Vec::new(),
            batch_ready_at: self.now,
            timer: 0,
            counts,
        });
        let workers: Vec<u64> = self.workers.keys().copied().collect();
        for worker in workers {
            if self.faults == Faults::ServerOnly || self.random.chance(60) {
                self.connect(worker);
            } else {
                let delay = self.random.between(1, 1_500);
                self.at(delay, Event::Connect { worker });
            }
        }
        self.step(MapInput::Tick, None);
    }

    /// One step of the engine, and what the shell does about it. A crash may come between any two effects.
    fn step(&mut self, input: MapInput, results: Option<&[SubtaskOutcome]>) {
        let now = self.time();
        let Some(server) = &mut self.server else { return };
        let number = server.number;
        let mut effects = Vec::new();
        server.engine.step(now, input, &mut effects);
        let wake = server.engine.next_wake();
        self.check_counts();
        let servers_fail = matches!(self.faults, Faults::Servers | Faults::ServerOnly | Faults::All);
        for effect in effects {
            if servers_fail && self.now < 1_000_000 + FAULTS_UNTIL && self.random.below(1_000) == 0 {
                self.crash();
                return;
            }
            self.act(number, effect, results);
        }
        if let Some(wake) = wake {
            assert!(wake > now, "seed {}: a wake in the past would spin", self.seed);
            let server = self.server.as_mut().unwrap();
            // One timer: set anew where it is not set, has fired, or would fire too late.
            if server.timer <= self.now || wake.as_millis() < server.timer {
                server.timer = wake.as_millis();
                let delay = wake.millis_since(now) + self.random.between(0, 3);
                self.at(delay, Event::Tick(number));
            }
        }
    }

    fn check_counts(&mut self) {
        let Some(server) = &mut self.server else { return };
        let header = server.engine.header();
        let counts = (header.done, header.failed);
        assert!(
            counts.0 >= server.counts.0 && counts.1 >= server.counts.1,
            "seed {}: counts went back",
            self.seed
        );
        assert!(counts.0 + counts.1 <= header.emitted, "seed {}: more settled than emitted", self.seed);
        let by_worker: u64 = header.done_by_worker.values().sum();
        assert_eq!(by_worker, header.done, "seed {}: the workers' counts differ", self.seed);
        server.counts = counts;
        let view = server.engine.view(Timestamp::from_millis(self.now));
        assert_eq!(view.done + view.failed + view.running + view.waiting, view.total, "seed {}", self.seed);
        let in_flight: u64 = view.running_by_worker.values().sum();
        assert!(in_flight >= view.running, "seed {}: {view:?}", self.seed);
    }

    fn act(&mut self, number: u64, effect: MapEffect, results: Option<&[SubtaskOutcome]>) {
        match effect {
            MapEffect::StoreBatch { batch_no } => {
                let end = self.batches[batch_no as usize];
                let delay = self.random.between(0, 30);
                let server = self.server.as_mut().unwrap();
                server.batch_ready_at = server.batch_ready_at.max(self.now + delay);
                let delay = server.batch_ready_at - self.now;
                self.at(delay, Event::BatchApplied { server: number, batch_no, end });
            }
            MapEffect::AckEmit { worker, batch_no, error } => {
                if error.is_none() {
                    let last = batch_no as usize + 1 == self.batches.len();
                    assert!(
                        self.store.end() >= self.batches[batch_no as usize],
                        "acknowledged before it was stored"
                    );
                    let phase = self.store.header.as_ref().map(|header| header.phase);
                    assert!(
                        !last || phase.is_some_and(|phase| phase != MapPhase::Splitting),
                        "the end was not durable"
                    );
                } else {
                    assert!(self.aborting, "seed {}: {error:?}", self.seed);
                }
                self.send_down(worker, Down::AckEmit(batch_no, error));
            }
            MapEffect::HandOut { worker, subtasks } => {
                assert!(!subtasks.is_empty());
                for subtask in &subtasks {
                    let HandedOut { index, attempt } = *subtask;
                    assert!(
                        index < self.store.end(),
                        "seed {}: {index} was handed out before it was stored",
                        self.seed
                    );
                    assert!(!self.store.done(index), "seed {}: {index} is durably done", self.seed);
                    assert!(!self.acked.contains(&index), "seed {}: {index} was acknowledged", self.seed);
                    assert!(attempt <= self.plan.rules.max_attempts);
                }
                self.send_down(worker, Down::HandOut(subtasks));
            }
            MapEffect::AskHeld { worker } => self.send_down(worker, Down::AskHeld),
            MapEffect::Count { done, failed } => {
                let results = results.expect("counts follow results");
                let now = Timestamp::from_millis(self.now);
                let server = self.server.as_mut().unwrap();
                if server.engine.header().keep_outputs {
                    server.outputs.extend(done.iter().map(|place| results[*place].index));
                }
                let failed = failed.iter().map(|f| (results[f.place].index, f.attempt, now, f.last));
                server.failures.extend(failed);
            }
            MapEffect::Checkpoint { id, header, chunks } => {
                let server = self.server.as_mut().unwrap();
                let save = Save {
                    id,
                    header: *header,
                    chunks,
                    outputs: std::mem::take(&mut server.outputs),
                    failures: std::mem::take(&mut server.failures),
                };
                let delay = self.random.between(0, 60);
                self.at(delay, Event::SaveApplied { server: number, save: Box::new(save) });
            }
            MapEffect::AckResults { worker, seqs } => self.send_down(worker, Down::AckResults(seqs)),
            MapEffect::SplitDone => {
                let phase = self.store.header.as_ref().map(|header| header.phase);
                assert!(
                    phase.is_some_and(|phase| phase != MapPhase::Splitting),
                    "seed {}: not durable",
                    self.seed
                );
                self.split_done = true;
            }
            MapEffect::StartReduce { worker, plan_no } => {
                let header = self.store.header.as_ref().unwrap();
                assert_eq!(header.phase, MapPhase::Reducing);
                assert!(
                    header.reduce.is_some_and(|at| at.worker == worker && at.plan_no == plan_no),
                    "its place is durable"
                );
                assert_eq!(
                    self.store.outputs.len() as u64,
                    header.done,
                    "seed {}: every output is stored",
                    self.seed
                );
                self.send_down(worker, Down::StartReduce(plan_no));
            }
            MapEffect::AckReduce { worker, seq } => self.send_down(worker, Down::AckReduce(seq)),
            MapEffect::Cancel { worker } => self.send_down(worker, Down::Cancel),
            MapEffect::TakenFrom { subtasks, .. } => assert!(subtasks > 0 && self.faults != Faults::None),
            MapEffect::End(outcome) => {
                assert_eq!(self.store.header.as_ref().map(|header| header.phase), Some(MapPhase::Ended));
                assert_eq!(self.ended, None, "seed {}: it ended twice", self.seed);
                self.ended = Some(outcome);
            }
        }
    }

    fn save(&mut self, number: u64, save: Save) {
        // A larger epoch has claimed the map.
        if self.store.epoch != number {
            return;
        }
        self.store.chunks.extend(save.chunks.into_iter().map(|chunk| (chunk.number, chunk)));
        self.store.header = Some(save.header);
        self.store.outputs.extend(save.outputs);
        for (index, attempt, at, last) in save.failures {
            self.store.failures.entry((index, attempt)).or_insert((at, last));
        }
        let delay = self.random.between(0, 20);
        self.at(delay, Event::SaveStored { server: number, id: save.id });
    }

    // ---- streams ----

    fn connect(&mut self, number: u64) {
        let Some(server) = self.server.as_ref().map(|server| server.number) else { return };
        let worker = self.workers.get_mut(&number).unwrap();
        if !worker.alive || worker.stream.is_some() {
            return;
        }
        self.streams += 1;
        worker.stream = Some(self.streams);
        (worker.sent_until, worker.received_until) = (self.now, self.now);
        let leaving = worker.leaving;
        let info = MapWorker {
            worker: Incarnation::new(number),
            name: format!("worker-{number}"),
            concurrency: worker.concurrency,
            reduces: self.plan.reduces,
        };
        self.step(MapInput::WorkerJoined(info), None);
        if !self.is_server(server) {
            return;
        }
        if leaving {
            self.step(MapInput::WorkerLeft(Incarnation::new(number)), None);
        }
        if number == SPLITTER {
            self.emit_sent = self.emit_acked.map_or(0, |acked| acked + 1);
            self.emit();
        }
        self.resend(number);
        self.send_credit(number);
        self.at(1_000, Event::Repeat { worker: number });
    }

    fn disconnect(&mut self, number: u64) {
        if self.workers.get_mut(&number).unwrap().stream.take().is_some() {
            self.step(MapInput::WorkerDisconnected(Incarnation::new(number)), None);
        }
    }

    fn send_down(&mut self, to: Incarnation, message: Down) {
        let delay = self.random.between(0, 8);
        let Some(worker) = self.workers.get_mut(&to.get()) else { return };
        let Some(stream) = worker.stream else { return };
        worker.received_until = worker.received_until.max(self.now + delay);
        let delay = worker.received_until - self.now;
        self.at(delay, Event::Down { to: to.get(), stream, message });
    }

    fn send_up(&mut self, from: u64, message: Up) {
        let delay = self.random.between(0, 8);
        let Some(server) = self.server.as_ref().map(|server| server.number) else { return };
        let worker = self.workers.get_mut(&from).unwrap();
        let Some(stream) = worker.stream else { return };
        worker.sent_until = worker.sent_until.max(self.now + delay);
        let delay = worker.sent_until - self.now;
        self.at(delay, Event::Up { from, stream, server, message });
    }

    fn up(&mut self, from: u64, message: Up) {
        let worker = Incarnation::new(from);
        match message {
            Up::Emit { batch_no } => {
                let first_index = batch_no.checked_sub(1).map_or(0, |before| self.batches[before as usize]);
                let count = self.batches[batch_no as usize] - first_index;
                let last = batch_no as usize + 1 == self.batches.len();
                self.step(MapInput::Emitted { worker, batch_no, first_index, count, last }, None);
            }
            Up::Credit(free) => self.step(MapInput::Credit { free: vec![(worker, free)] }, None),
            Up::Results(seq, results) => {
                self.step(MapInput::Results { worker, seq, results: results.clone() }, Some(&results));
            }
            Up::Held(held) => self.step(MapInput::Held { worker, held }, None),
            Up::Reduce(plan_no, seq, news) => {
                self.step(MapInput::Reduce { worker, plan_no, seq, news }, None)
            }
        }
    }

    // ---- workers ----

    fn spawn(&mut self) {
        let number = self.workers.len() as u64 + 1;
        let concurrency = self.random.below(8) as u32 + 1;
        self.workers.insert(
            number,
            Worker {
                stream: None,
                alive: true,
                leaving: false,
                concurrency,
                queue: VecDeque::new(),
                running: BTreeSet::new(),
                unacked: BTreeMap::new(),
                gathered: Vec::new(),
                next_seq: 1,
                reduce: None,
                sent_until: 0,
                received_until: 0,
            },
        );
        self.connect(number);
    }

    fn down(&mut self, to: u64, message: Down) {
        match message {
            Down::AckEmit(batch_no, None) => {
                self.emit_acked = self.emit_acked.max(Some(batch_no));
                self.emit();
            }
            Down::AckEmit(_, Some(_)) => self.emit_stopped = true,
            Down::HandOut(subtasks) => {
                let worker = self.workers.get_mut(&to).unwrap();
                worker.queue.extend(subtasks.iter().map(|subtask| (subtask.index, subtask.attempt)));
                self.start_queued(to);
            }
            Down::AskHeld => {
                let worker = &self.workers[&to];
                let unacked = worker.unacked.values().flatten().chain(&worker.gathered);
                let held = worker.queue.iter().copied();
                let held = held.chain(worker.running.iter().copied());
                let held = held.chain(unacked.map(|result| (result.index, result.attempt))).collect();
                self.send_up(to, Up::Held(held));
            }
            Down::AckResults(seqs) => {
                let worker = self.workers.get_mut(&to).unwrap();
                for seq in seqs {
                    for result in worker.unacked.remove(&seq).into_iter().flatten() {
                        // A failed try that came too late to count is acknowledged as well, and its number used again.
                        if result.kind == OutcomeKind::Done {
                            self.acked.insert(result.index);
                        }
                        let settled = self.store.done(result.index) || self.store.failed(result.index);
                        let failed = self.store.failures.contains_key(&(result.index, result.attempt));
                        let late = result.kind != OutcomeKind::Done;
                        let durable = settled || failed || late || self.aborting;
                        assert!(durable, "seed {}: {result:?} acknowledged before it was durable", self.seed);
                    }
                }
            }
            Down::StartReduce(plan_no) => self.start_reduce(to, plan_no),
            Down::AckReduce(seq) => {
                if let Some(reduce) = &mut self.workers.get_mut(&to).unwrap().reduce {
                    reduce.acked = reduce.seq <= seq;
                }
            }
            Down::Cancel => {
                let worker = self.workers.get_mut(&to).unwrap();
                worker.queue.clear();
                worker.running.clear();
            }
        }
    }

    fn start_queued(&mut self, number: u64) {
        loop {
            let worker = self.workers.get_mut(&number).unwrap();
            if worker.running.len() >= worker.concurrency as usize {
                return;
            }
            let Some((index, attempt)) = worker.queue.pop_front() else { return };
            if !worker.running.insert((index, attempt)) {
                continue;
            }
            *self.executions.entry((index, attempt)).or_default() += 1;
            if self.plan.hangs == Some(index) && !self.hung {
                self.hung = true;
                continue;
            }
            let delay = self.random.between(0, self.plan.longest);
            self.at(delay, Event::Finish { worker: number, index, attempt });
        }
    }

    fn finish(&mut self, number: u64, index: u64, attempt: u32) {
        let worker = self.workers.get_mut(&number).unwrap();
        if !worker.alive {
            return;
        }
        if !worker.running.remove(&(index, attempt)) {
            return;
        }
        if worker.gathered.is_empty() {
            let delay = self.random.between(0, 20);
            self.at(delay, Event::Gathered { worker: number });
        }
        let kind = self.plan.outcome(index, attempt);
        self.workers.get_mut(&number).unwrap().gathered.push(SubtaskOutcome { index, attempt, kind });
        self.start_queued(number);
        self.send_credit(number);
    }

    fn send_results(&mut self, number: u64) {
        let worker = self.workers.get_mut(&number).unwrap();
        let results = std::mem::take(&mut worker.gathered);
        let seq = worker.next_seq;
        worker.next_seq += 1;
        worker.unacked.insert(seq, results.clone());
        self.send_up(number, Up::Results(seq, results));
    }

    fn send_credit(&mut self, number: u64) {
        let worker = &self.workers[&number];
        let busy = worker.queue.len() + worker.running.len();
        let free = (4 * worker.concurrency as usize).saturating_sub(busy) as u32;
        self.send_up(number, Up::Credit(free));
    }

    fn repeat(&mut self, number: u64) {
        let worker = &self.workers[&number];
        if worker.stream.is_none() || !worker.alive {
            return;
        }
        self.resend(number);
        self.send_credit(number);
        if number == SPLITTER {
            self.emit_sent = self.emit_acked.map_or(0, |acked| acked + 1);
            self.emit();
        }
        self.at(1_000, Event::Repeat { worker: number });
    }

    fn resend(&mut self, number: u64) {
        let unacked = self.workers[&number].unacked.clone();
        for (seq, results) in unacked {
            self.send_up(number, Up::Results(seq, results));
        }
        if let Some(reduce) = self.workers[&number].reduce.clone().filter(|reduce| !reduce.acked) {
            self.send_up(number, Up::Reduce(reduce.plan_no, reduce.seq, reduce.news));
        }
    }

    fn emit(&mut self) {
        let window = self.emit_acked.map_or(0, |acked| acked + 1) + 4;
        while self.emit_sent < window.min(self.batches.len() as u32) && !self.emit_stopped {
            let batch_no = self.emit_sent;
            self.emit_sent += 1;
            self.send_up(SPLITTER, Up::Emit { batch_no });
        }
    }

    fn start_reduce(&mut self, number: u64, plan_no: PlanNo) {
        let refuses = self.random.chance(20);
        let worker = self.workers.get_mut(&number).unwrap();
        // A repeated Arm is answered with the state.
        if let Some(known) = worker.reduce.clone().filter(|known| known.plan_no >= plan_no) {
            self.send_up(number, Up::Reduce(known.plan_no, known.seq, known.news));
            return;
        }
        let seq = worker.next_seq;
        worker.next_seq += 1;
        let refused = ReduceNews::Refused(Reason::new(ReasonCode::Busy, "full"));
        let refuses = refuses || worker.leaving;
        let news = if refuses { refused } else { ReduceNews::Taken };
        worker.reduce = Some(SimReduce { plan_no, seq, news: news.clone(), acked: false });
        self.send_up(number, Up::Reduce(plan_no, seq, news));
        if refuses {
            return;
        }
        let delay = self.random.between(0, 3_000);
        self.at(delay, Event::ReduceFinish { worker: number, plan_no });
    }

    fn reduce_finish(&mut self, number: u64, plan_no: PlanNo) {
        let worker = self.workers.get_mut(&number).unwrap();
        let seq = worker.next_seq;
        worker.next_seq += 1;
        if !worker.alive || worker.reduce.as_ref().is_none_or(|known| known.plan_no != plan_no) {
            return;
        }
        let news = ReduceNews::Succeeded(Some(serde_json::json!("reduced")));
        worker.reduce = Some(SimReduce { plan_no, seq, news: news.clone(), acked: false });
        self.send_up(number, Up::Reduce(plan_no, seq, news));
    }

    // ---- the end ----

    pub(crate) fn check_end(&self) {
        let seed = self.seed;
        let header = self.store.header.as_ref().expect("it ended durably");
        // A crash may leave out that news, when the end follows at once and says it all.
        let servers_fail = matches!(self.faults, Faults::Servers | Faults::ServerOnly | Faults::All);
        assert!(self.split_done || servers_fail, "seed {seed}: nobody heard that the split is done");
        assert_eq!(header.emitted, self.plan.subtasks);
        let failing = (0..self.plan.subtasks).filter(|index| self.plan.fails_for_good(*index)).count() as u64;
        assert_eq!((header.done, header.failed), (self.plan.subtasks - failing, failing), "seed {seed}");
        for index in 0..self.plan.subtasks {
            let fails = self.plan.fails_for_good(index);
            assert_eq!(
                (self.store.done(index), self.store.failed(index)),
                (!fails, fails),
                "seed {seed}: {index}"
            );
            let rows: Vec<_> = self.store.failures.range((index, 0)..(index + 1, 0)).collect();
            let lasts = rows.iter().filter(|(_, (_, last))| *last).count();
            assert_eq!(
                lasts,
                usize::from(fails),
                "seed {seed}: {index} has one last failure if it failed: {rows:?}"
            );
            let kept = !fails && self.plan.reduces;
            assert_eq!(
                self.store.outputs.contains(&index),
                kept,
                "seed {seed}: {index} has an output if it is done"
            );
        }
        let expected = if header.failed > self.plan.rules.max_failed {
            "failed"
        } else if self.plan.reduces && header.done > 0 {
            "reduced"
        } else {
            "counted"
        };
        let got = match self.ended.as_ref().expect("it ended") {
            Some(MapOutcome::Failed { reason }) if reason.code == ReasonCode::SubtasksFailed => "failed",
            Some(MapOutcome::Succeeded { result: Some(value) }) if value == "reduced" => "reduced",
            Some(MapOutcome::Succeeded { result: Some(value) }) if value["done"] == header.done => "counted",
            _ => "something else",
        };
        assert_eq!(got, expected, "seed {seed}: {:?}", self.ended);
    }
}
