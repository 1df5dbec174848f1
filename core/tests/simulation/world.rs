//! The world around the engines: two servers, a store, workers, a console, a network, and what may go wrong with each. One event heap, one
//! seeded generator, no clock.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use carillon_core::change::Insertion;
use carillon_core::engine::{Effect, Engine, EngineConfig, Input, Report, TriggerRequest};
use carillon_core::ids::{AttemptNo, Epoch, Incarnation, JobId, JobVersion, JobsVersion, RunKey, ShardId};
use carillon_core::time::{Span, Timestamp};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::jobs;
use crate::store::{Edited, Store};
use crate::worker::{Start, Worker};

pub(crate) const SERVERS: usize = 2;
const WORKERS: usize = 3;
/// How long a seed's troubles last, and how long everything has to come to rest after them.
const TROUBLE: Span = Span::from_secs(60);
const REST: Span = Span::from_secs(200);

/// What a seed may go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing goes wrong: every start has to be on time.
    Calm,
    /// Crashes, pauses, cuts, outages, unknown outcomes, edits at random.
    Faults,
}

/// A deliberate bug, to see that the checks see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    /// A worker takes any Arm for new.
    NoDedup,
    /// An unreachable worker counts as one that refused.
    MoveWithoutProof,
    /// A slice is taken for committed although it was fenced.
    DeliverUncommitted,
    /// The watermark moves without its rows.
    SkipRows,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    /// A server's engine has something due.
    Wake {
        server: usize,
        life: u64,
    },
    /// The store answers the operation at the head of a server's queue.
    StoreAnswers {
        server: usize,
        life: u64,
    },
    /// A server looks whether it should own the shard.
    Contend {
        server: usize,
        life: u64,
    },
    /// A server's claim comes back.
    Claimed {
        server: usize,
        life: u64,
        seen: Epoch,
    },
    ToWorker {
        worker: Incarnation,
        server: usize,
        message: u64,
    },
    ToServer {
        server: usize,
        life: u64,
        worker: Incarnation,
        message: u64,
    },
    WorkerWake {
        worker: Incarnation,
    },
    /// A worker repeats what nobody acknowledged.
    Repeat {
        worker: Incarnation,
    },
    Connect {
        worker: Incarnation,
        server: usize,
    },
    Start {
        server: usize,
    },
    StartWorker {
        place: usize,
    },
    Resume {
        server: usize,
        life: u64,
    },
    Edit,
    Trigger,
    Trouble,
    StoreBack,
    Heal,
}

#[derive(Debug, Clone)]
enum Message {
    Arm(Box<carillon_core::engine::Arm>),
    Disarm(RunKey, AttemptNo, carillon_core::ids::PlanNo),
    Cancel(RunKey, AttemptNo),
    Acks(Vec<u64>),
    Reports(Vec<Report>),
}

pub(crate) struct Server {
    pub(crate) engine: Engine,
    pub(crate) up: bool,
    life: u64,
    paused_until: Option<Timestamp>,
    held_back: Vec<Event>,
    queue: VecDeque<Effect>,
    /// The head of the queue was tried before and its outcome is unknown.
    retried: bool,
    busy: bool,
    wake_at: Option<Timestamp>,
    pub(crate) owns: Option<Epoch>,
}

/// An acknowledged edit: from then on no older version may start, but for those listed.
pub(crate) struct Promise {
    pub(crate) job: JobId,
    pub(crate) version: JobVersion,
    pub(crate) may_start: BTreeSet<RunKey>,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    mode: Mode,
    mutant: Mutant,
    rng: SmallRng,
    pub(crate) now: Timestamp,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    heap: BinaryHeap<std::cmp::Reverse<(Timestamp, u64)>>,
    events: BTreeMap<u64, Event>,
    next_event: u64,
    messages: BTreeMap<u64, Message>,
    next_message: u64,
    pub(crate) store: Store,
    store_down: bool,
    pub(crate) servers: Vec<Server>,
    lock: Option<usize>,
    pub(crate) workers: BTreeMap<Incarnation, Worker>,
    /// Incarnations that crashed: what they did stays in the ledger.
    alive: BTreeSet<Incarnation>,
    links: BTreeSet<(Incarnation, usize)>,
    cuts: BTreeSet<(Incarnation, usize)>,
    places: Vec<Option<Incarnation>>,
    pub(crate) starts: Vec<(Timestamp, Incarnation, Start)>,
    pub(crate) promises: Vec<Promise>,
    pending_edits: Vec<(JobsVersion, JobId, JobVersion, Vec<RunKey>)>,
    /// Runs that an edit touched and whose withdrawal nobody has confirmed: its answer lists them as such that may still start.
    pub(crate) doubtful: BTreeSet<RunKey>,
    pub(crate) triggers: BTreeMap<String, usize>,
    healed: bool,
    pub(crate) hash: DefaultHasher,
    pub(crate) trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, mode: Mode, mutant: Mutant) -> Self {
        let start = Timestamp::from_millis(1_763_629_200_000);
        let shard = ShardId::new("101-1-2-6601".parse().expect("an id"), 0);
        let servers = (0..SERVERS).map(|_| Server::new(shard)).collect();
        let mut world = Self {
            seed,
            mode,
            mutant,
            rng: SmallRng::seed_from_u64(seed),
            now: start,
            start,
            end: start + TROUBLE + REST,
            heap: BinaryHeap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            messages: BTreeMap::new(),
            next_message: 0,
            store: Store::new(shard, start),
            store_down: false,
            servers,
            lock: None,
            workers: BTreeMap::new(),
            alive: BTreeSet::new(),
            links: BTreeSet::new(),
            cuts: BTreeSet::new(),
            places: vec![None; WORKERS],
            starts: Vec::new(),
            promises: Vec::new(),
            pending_edits: Vec::new(),
            doubtful: BTreeSet::new(),
            triggers: BTreeMap::new(),
            healed: false,
            hash: DefaultHasher::new(),
            trace: None,
        };
        for (id, spec) in jobs::all(&mut world.rng) {
            world.store.edit(id, Some(spec), start);
        }
        for server in 0..SERVERS {
            world.after(0, Event::Start { server });
        }
        for place in 0..WORKERS {
            world.after(0, Event::StartWorker { place });
        }
        world.after(1_000, Event::Trigger);
        if mode == Mode::Faults {
            world.after(2_000, Event::Trouble);
            world.after(3_000, Event::Edit);
            world.after(TROUBLE.as_millis(), Event::Heal);
        }
        world
    }

    /// Runs to the end and returns the hash of all that happened.
    pub(crate) fn run(&mut self) -> u64 {
        while let Some(std::cmp::Reverse((at, id))) = self.heap.pop() {
            if at > self.end {
                break;
            }
            let event = self.events.remove(&id).expect("each queued once");
            self.now = self.now.max(at);
            (at.as_millis(), format!("{event:?}")).hash(&mut self.hash);
            self.note(|| format!("{event:?}"));
            self.happen(event);
        }
        self.starts.len().hash(&mut self.hash);
        self.hash.clone().finish()
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now} {}", what()));
        }
    }

    fn after(&mut self, millis: u64, event: Event) {
        self.at(self.now + Span::from_millis(millis), event);
    }

    fn at(&mut self, at: Timestamp, event: Event) {
        self.next_event += 1;
        self.events.insert(self.next_event, event);
        self.heap.push(std::cmp::Reverse((at.max(self.now), self.next_event)));
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.mode == Mode::Faults && !self.healed && self.rng.random_bool(probability)
    }

    /// A hop: mostly a few milliseconds, now and then much more.
    fn hop(&mut self) -> u64 {
        if self.chance(0.02) { self.rng.random_range(50..700) } else { self.rng.random_range(0..4) }
    }

    fn happen(&mut self, event: Event) {
        if let Some(server) = event.server()
            && self.servers[server].paused_until.is_some()
            && !matches!(event, Event::Resume { .. } | Event::Start { .. })
        {
            self.servers[server].held_back.push(event);
            return;
        }
        match event {
            Event::Wake { server, life } if self.servers[server].life == life => {
                self.servers[server].wake_at = None;
                self.feed(server, Input::Tick);
            }
            Event::StoreAnswers { server, life } if self.servers[server].life == life => {
                self.store_answers(server)
            }
            Event::Contend { server, life } if self.servers[server].life == life => self.contend(server),
            Event::Claimed { server, life, seen } if self.servers[server].life == life => {
                self.claimed(server, seen)
            }
            Event::ToWorker { worker, server, message } => {
                let message = self.messages[&message].clone();
                self.worker_hears(worker, server, message);
            }
            Event::ToServer { server, life, worker, message } if self.servers[server].life == life => {
                if let Message::Reports(reports) = self.messages[&message].clone() {
                    for report in reports {
                        self.note(|| format!("REPORT {report:?}"));
                        self.feed(server, Input::Report(worker, report));
                    }
                }
            }
            Event::WorkerWake { worker } => self.worker_passes(worker),
            Event::Repeat { worker } => self.repeat(worker),
            Event::Connect { worker, server } => self.connect(worker, server),
            Event::Start { server } => self.start_server(server),
            Event::StartWorker { place } => self.start_worker(place),
            Event::Resume { server, life } if self.servers[server].life == life => self.resume(server),
            Event::Edit => self.edit(),
            Event::Trigger => self.trigger(),
            Event::Trouble => self.trouble(),
            Event::StoreBack => self.store_down = false,
            Event::Heal => self.heal(),
            _ => {}
        }
    }

    // ---- servers ----

    fn start_server(&mut self, server: usize) {
        let shard = self.store.shard;
        let life = self.servers[server].life + 1;
        self.servers[server] = Server::new(shard);
        (self.servers[server].life, self.servers[server].up) = (life, true);
        self.after(10 + 50 * server as u64, Event::Contend { server, life });
        for worker in self.alive.clone() {
            let wait = self.rng.random_range(20..1_500);
            self.after(wait, Event::Connect { worker, server });
        }
    }

    fn crash(&mut self, server: usize) {
        self.note(|| format!("CRASH server {server}"));
        let life = self.servers[server].life + 1;
        self.servers[server] = Server::new(self.store.shard);
        self.servers[server].life = life;
        self.links.retain(|(_, linked)| *linked != server);
        if self.lock == Some(server) {
            self.lock = None;
        }
        let wait = self.rng.random_range(300..15_000);
        self.after(wait, Event::Start { server });
    }

    fn resume(&mut self, server: usize) {
        self.servers[server].paused_until = None;
        self.feed(server, Input::Stalled { patience: Span::from_secs(5) });
        for event in std::mem::take(&mut self.servers[server].held_back) {
            self.after(0, event);
        }
    }

    fn contend(&mut self, server: usize) {
        let life = self.servers[server].life;
        self.after(500, Event::Contend { server, life });
        if self.servers[server].owns.is_some_and(|epoch| epoch == self.store.epoch) {
            return;
        }
        if self.lock.is_none() {
            self.lock = Some(server);
        }
        if self.lock == Some(server) && !self.store_down {
            let seen = self.store.epoch;
            let hop = self.hop();
            self.after(hop, Event::Claimed { server, life, seen });
        }
    }

    fn claimed(&mut self, server: usize, seen: Epoch) {
        if self.store_down || !self.store.claim(server, seen) {
            return;
        }
        self.servers[server].owns = Some(self.store.epoch);
        // What an earlier ownership still has on its way arrives first; the engine decides nothing until it has looked.
        self.feed(server, Input::Disown);
        self.carry_out(server, Effect::Reload);
        self.work_queue(server);
    }

    /// Steps a server's engine and carries out what it wants.
    fn feed(&mut self, server: usize, input: Input) {
        if !self.servers[server].up {
            return;
        }
        let mut effects = Vec::new();
        let now = self.now;
        self.servers[server].engine.step(now, input, &mut effects);
        self.watch(server);
        for effect in effects {
            self.carry_out(server, effect);
        }
        let life = self.servers[server].life;
        if let Some(at) = self.servers[server].engine.next_wake() {
            let at = at.max(now + Span::from_millis(1));
            if self.servers[server].wake_at.is_none_or(|set| at < set) {
                self.servers[server].wake_at = Some(at);
                self.at(at, Event::Wake { server, life });
            }
        }
        self.work_queue(server);
    }

    /// With `CARILLON_SIM_WATCH=<run id>` and a trace: what a server makes of that run at each step.
    fn watch(&mut self, server: usize) {
        let Some(watched) = self.trace.as_ref().and_then(|_| std::env::var("CARILLON_SIM_WATCH").ok()) else {
            return;
        };
        let key = watched.parse().expect("a run id");
        let said = self.servers[server].engine.explain(key);
        self.note(|| format!("WATCH server {server}: {said:?}"));
    }

    fn carry_out(&mut self, server: usize, effect: Effect) {
        match effect {
            Effect::Arm(arm) => {
                self.note(|| {
                    format!(
                        "ARM {} attempt {} plan {} version {}",
                        arm.key, arm.attempt, arm.plan_no, arm.job_version
                    )
                });
                self.tell(server, arm.to, Message::Arm(Box::new(arm)));
            }
            Effect::Disarm { to, key, attempt, plan_no } => {
                self.note(|| format!("DISARM {key} attempt {attempt} plan {plan_no} at {to}"));
                self.tell(server, to, Message::Disarm(key, attempt, plan_no))
            }
            Effect::CancelAttempt { to, key, attempt, .. } => {
                self.tell(server, to, Message::Cancel(key, attempt))
            }
            Effect::Ack(acks) => self.acknowledge(server, &acks),
            Effect::EditSettled { jobs_version, may_start } => self.settled(jobs_version, &may_start),
            Effect::Tell(_) | Effect::ReadShard | Effect::TakeOver { .. } => {}
            Effect::TriggerRefused { .. } | Effect::Started { .. } | Effect::Changed { .. } => {}
            Effect::MapOpen { .. } | Effect::MapAbort { .. } => {
                unreachable!("maps have a simulation of their own")
            }
            Effect::Reload => {
                // One look answers all who want one, after everything that is on its way.
                let queue = &mut self.servers[server].queue;
                let busy_with = usize::from(!queue.is_empty());
                let under_way = queue.front().is_some_and(|effect| matches!(effect, Effect::Reload));
                let mut place = 0;
                queue.retain(|effect| {
                    place += 1;
                    place <= busy_with && !under_way || !matches!(effect, Effect::Reload)
                });
                queue.push_back(Effect::Reload);
            }
            on_the_store => self.servers[server].queue.push_back(on_the_store),
        }
    }

    fn work_queue(&mut self, server: usize) {
        if self.servers[server].busy || self.servers[server].queue.is_empty() {
            return;
        }
        self.servers[server].busy = true;
        let wait = if self.servers[server].retried { 200 } else { 1 + self.hop() };
        let life = self.servers[server].life;
        self.after(wait, Event::StoreAnswers { server, life });
    }

    fn store_answers(&mut self, server: usize) {
        self.servers[server].busy = false;
        let Some(effect) = self.servers[server].queue.front().cloned() else { return };
        let lost = self.chance(0.03);
        if self.store_down || lost {
            // The answer is lost; what was asked may have happened.
            if !self.store_down && self.rng.random_bool(0.5) {
                self.apply_unheard(server, &effect);
            }
            self.servers[server].retried = true;
            return self.work_queue(server);
        }
        self.servers[server].queue.pop_front();
        let retried = std::mem::take(&mut self.servers[server].retried);
        self.apply(server, effect, retried);
        self.work_queue(server);
    }

    fn apply_unheard(&mut self, server: usize, effect: &Effect) {
        self.note(|| format!("APPLY unheard at {server}: {effect:?}"));
        match effect {
            Effect::CommitSlice(slice) => _ = self.store.commit_slice(slice),
            Effect::InsertRuns(runs) => _ = self.store.insert_fenced(runs),
            Effect::InsertTriggered(triggered) => _ = self.store.insert_triggered(triggered),
            Effect::Advance { steps, .. } => steps.iter().for_each(|step| _ = self.store.advance(step)),
            Effect::NextAttempt { advance, .. } => _ = self.store.advance(advance),
            Effect::Move(moves) => moves.iter().for_each(|made| _ = self.store.move_run(made)),
            _ => {}
        }
    }

    fn apply(&mut self, server: usize, effect: Effect, retried: bool) {
        self.note(|| format!("APPLY at {server} retried {retried}: {effect:?}"));
        match effect {
            Effect::CommitSlice(mut slice) => {
                let (epoch, to) = (slice.epoch, slice.to);
                if self.mutant == Mutant::SkipRows && slice.runs.len() > 1 {
                    slice.runs.pop();
                }
                let committed = (retried && self.store.has_slice(&slice)) || self.store.commit_slice(&slice);
                if committed || self.mutant == Mutant::DeliverUncommitted {
                    self.feed(server, Input::SliceCommitted { epoch, to });
                } else {
                    self.feed(server, Input::SliceRefused { epoch, to });
                }
            }
            Effect::InsertRuns(runs) => {
                if !self.store.insert_fenced(&runs) {
                    return self.feed(server, Input::Refused);
                }
                let open = self.still_open(runs.iter().map(|run| run.key));
                self.feed(server, Input::Inserted(open));
            }
            Effect::InsertTriggered(triggered) => {
                let own = triggered.run.key;
                let ours = match self.store.insert_triggered(&triggered) {
                    Insertion::New => true,
                    Insertion::Existing(key) => retried && key == own,
                    Insertion::Fenced => return self.feed(server, Input::Refused),
                };
                let open = if ours { self.still_open([own].into_iter()) } else { Vec::new() };
                self.feed(server, Input::Inserted(open));
            }
            Effect::Advance { steps, acks } => {
                let mut refused = false;
                for step in &steps {
                    refused |= !self.store.advance(step) && step.fence.is_some();
                }
                // Looked at after the commit: a successor that claims later reads what was written.
                let still_owns = self.servers[server].owns == Some(self.store.epoch);
                if still_owns {
                    self.acknowledge(server, &acks);
                }
                // What was done at an unheard first try is refused at the second: looking again is right then too.
                if refused || !still_owns {
                    self.feed(server, Input::Refused);
                }
            }
            Effect::NextAttempt { advance, acks } => {
                let applied = self.store.advance(&advance);
                if applied {
                    self.acknowledge(server, &acks);
                }
                let attempt = advance.attempt.next();
                self.feed(server, Input::NextAttempt { key: advance.key, attempt, applied });
            }
            Effect::Move(_) if retried => self.feed(server, Input::Refused),
            Effect::Move(moves) => {
                let made = moves.into_iter().map(|made| (made, self.store.move_run(&made))).collect();
                self.feed(server, Input::Moved(made));
            }
            Effect::Reload => self.read_back(server),
            _ => unreachable!("not an effect on the store"),
        }
    }

    fn still_open(&self, keys: impl Iterator<Item = RunKey>) -> Vec<carillon_core::run::Run> {
        keys.filter_map(|key| self.store.runs.get(&key))
            .filter(|run| !run.state.is_final())
            .cloned()
            .collect()
    }

    fn read_back(&mut self, server: usize) {
        if self.store.owner == Some(server) && self.servers[server].owns == Some(self.store.epoch) {
            let snapshot = self.store.snapshot();
            self.feed(server, Input::Own(Box::new(snapshot)));
        } else {
            self.servers[server].owns = None;
            self.feed(server, Input::Disown);
        }
    }

    // ---- network ----

    fn tell(&mut self, server: usize, worker: Incarnation, message: Message) {
        if !self.links.contains(&(worker, server)) {
            return;
        }
        let id = self.keep(message);
        let hop = self.hop();
        self.after(hop, Event::ToWorker { worker, server, message: id });
        if self.chance(0.02) {
            let hop = self.hop();
            self.after(hop, Event::ToWorker { worker, server, message: id });
        }
    }

    fn keep(&mut self, message: Message) -> u64 {
        self.next_message += 1;
        self.messages.insert(self.next_message, message);
        self.next_message
    }

    fn acknowledge(&mut self, server: usize, acks: &[(Incarnation, u64)]) {
        for (worker, seq) in acks {
            self.tell(server, *worker, Message::Acks(vec![*seq]));
        }
    }

    fn connect(&mut self, worker: Incarnation, server: usize) {
        if !self.alive.contains(&worker)
            || self.links.contains(&(worker, server))
            || self.workers[&worker].leaving
        {
            return;
        }
        if !self.servers[server].up
            || self.servers[server].paused_until.is_some()
            || self.cuts.contains(&(worker, server))
        {
            return self.after(400, Event::Connect { worker, server });
        }
        self.links.insert((worker, server));
        let info = self.workers[&worker].info();
        self.feed(server, Input::WorkerJoined(info));
        let reports = self.workers[&worker].spool.clone();
        self.send_reports(worker, server, reports);
    }

    fn cut(&mut self, worker: Incarnation, server: usize) {
        if self.links.remove(&(worker, server)) {
            if self.mutant == Mutant::MoveWithoutProof {
                self.feed(server, Input::WorkerLeft { incarnation: worker, held: Vec::new() });
            }
            self.feed(server, Input::WorkerDisconnected(worker));
        }
    }

    fn send_reports(&mut self, worker: Incarnation, server: usize, reports: Vec<Report>) {
        if reports.is_empty() || !self.links.contains(&(worker, server)) {
            return;
        }
        let life = self.servers[server].life;
        let message = self.keep(Message::Reports(reports));
        let hop = self.hop();
        self.after(hop, Event::ToServer { server, life, worker, message });
    }

    // ---- workers ----

    fn start_worker(&mut self, place: usize) {
        if self.places[place].is_some() {
            return;
        }
        let incarnation = Incarnation::new(self.rng.random());
        let refuses = self.chance(0.5);
        self.workers.insert(incarnation, Worker::new(format!("worker-{place}"), incarnation, refuses));
        self.alive.insert(incarnation);
        self.places[place] = Some(incarnation);
        for server in 0..SERVERS {
            let wait = self.rng.random_range(1..100);
            self.after(wait, Event::Connect { worker: incarnation, server });
        }
        self.after(1_000, Event::Repeat { worker: incarnation });
    }

    fn kill_worker(&mut self, worker: Incarnation) {
        self.note(|| format!("CRASH worker {worker}"));
        self.alive.remove(&worker);
        for server in 0..SERVERS {
            self.cut(worker, server);
        }
        let place =
            self.places.iter().position(|at| *at == Some(worker)).expect("a living worker has its place");
        self.places[place] = None;
        let wait = self.rng.random_range(200..8_000);
        self.after(wait, Event::StartWorker { place });
    }

    fn worker_hears(&mut self, worker: Incarnation, _server: usize, message: Message) {
        if !self.alive.contains(&worker) {
            return;
        }
        let now = self.now;
        let before = self.workers[&worker].spool.len();
        let at_worker = self.workers.get_mut(&worker).expect("alive");
        match message {
            Message::Arm(arm) => {
                if self.mutant == Mutant::NoDedup {
                    at_worker.forget(arm.key, arm.attempt);
                }
                at_worker.arm(now, *arm);
            }
            Message::Disarm(key, attempt, plan_no) => at_worker.disarm(now, key, attempt, plan_no),
            Message::Cancel(key, attempt) => at_worker.cancel(now, key, attempt),
            Message::Acks(seqs) => {
                at_worker.spool.retain(|report| !seqs.contains(&report.seq));
                return;
            }
            Message::Reports(_) => unreachable!("reports go to servers"),
        }
        self.after_worker(worker, before);
    }

    fn worker_passes(&mut self, worker: Incarnation) {
        if self.alive.contains(&worker) {
            let before = self.workers[&worker].spool.len();
            self.after_worker(worker, before);
        }
    }

    /// Starts what is due, sends what is new, and wakes the worker for what comes.
    fn after_worker(&mut self, worker: Incarnation, before: usize) {
        let now = self.now;
        let at_worker = self.workers.get_mut(&worker).expect("alive");
        let started = at_worker.pass_time(now);
        let fresh = at_worker.spool[before..].to_vec();
        let wake = at_worker.next_wake();
        for start in started {
            self.note(|| format!("START {} attempt {} at {worker}", start.key, start.attempt));
            self.starts.push((now, worker, start));
            self.check_start(worker, start);
        }
        for server in 0..SERVERS {
            self.send_reports(worker, server, fresh.clone());
        }
        let at_worker = self.workers.get_mut(&worker).expect("alive");
        if let Some(at) = wake.map(|at| at.max(now + Span::from_millis(1)))
            && at_worker.wake_at.is_none_or(|set| at < set || set <= now)
        {
            at_worker.wake_at = Some(at);
            self.at(at, Event::WorkerWake { worker });
        }
    }

    fn repeat(&mut self, worker: Incarnation) {
        if !self.alive.contains(&worker) {
            return;
        }
        let reports = self.workers[&worker].spool.clone();
        for server in 0..SERVERS {
            self.send_reports(worker, server, reports.clone());
        }
        let idle =
            reports.is_empty() && self.workers[&worker].leaving && self.workers[&worker].held().is_empty();
        if idle {
            self.alive.remove(&worker);
            for server in 0..SERVERS {
                self.cut(worker, server);
            }
            return;
        }
        self.after(1_000, Event::Repeat { worker });
    }

    /// A clean leave: the worker finishes what it has; another incarnation takes its place.
    fn leave(&mut self, worker: Incarnation) {
        self.note(|| format!("LEAVE worker {worker}"));
        let at_worker = self.workers.get_mut(&worker).expect("alive");
        at_worker.leaving = true;
        let held = at_worker.held();
        for server in 0..SERVERS {
            if self.links.contains(&(worker, server)) {
                self.feed(server, Input::WorkerLeft { incarnation: worker, held: held.clone() });
            }
        }
        let place =
            self.places.iter().position(|at| *at == Some(worker)).expect("a living worker has its place");
        self.places[place] = None;
        self.after(500, Event::StartWorker { place });
    }

    // ---- people ----

    fn trigger(&mut self) {
        let wait = self.rng.random_range(300..4_000);
        if self.now < self.start + TROUBLE + Span::from_secs(30) {
            self.after(wait, Event::Trigger);
        }
        let owner = (0..SERVERS).find(|server| {
            let server = &self.servers[*server];
            server.up && server.paused_until.is_none() && server.owns == Some(self.store.epoch)
        });
        let Some(owner) = owner else { return };
        let key = format!("key-{}", self.triggers.len());
        let request =
            TriggerRequest { job: jobs::API, idempotency_key: key.clone(), params: None, trace: None };
        self.triggers.insert(key, 1);
        let twice = self.rng.random_bool(0.2);
        self.feed(owner, Input::Trigger(request.clone()));
        if twice {
            self.feed(owner, Input::Trigger(request));
        }
    }

    fn edit(&mut self) {
        if self.healed {
            return;
        }
        let wait = self.rng.random_range(500..6_000);
        self.after(wait, Event::Edit);
        if self.store_down {
            return;
        }
        let (job, spec) = jobs::edited(&mut self.rng, &self.store.jobs);
        let edited = self.store.edit(job, spec, self.now);
        self.note(|| format!("EDIT job {} to version {}", edited.job, edited.version));
        self.doubtful.extend(&edited.touched);
        // The console asks the owner; where that does not answer it names every touched fire itself, which promises nothing.
        let owner = self.store.owner.filter(|owner| {
            let server = &self.servers[*owner];
            server.up && server.paused_until.is_none() && server.owns == Some(self.store.epoch)
        });
        if let Some(owner) = owner {
            self.pending_edits.push((
                edited.jobs_version,
                edited.job,
                edited.version,
                edited.touched.clone(),
            ));
            let Edited { jobs_version, job, touched, .. } = edited;
            let input = Input::JobsChanged { jobs_version, job, touched };
            self.feed(owner, input);
        }
    }

    fn settled(&mut self, jobs_version: JobsVersion, may_start: &[RunKey]) {
        let Some(place) = self.pending_edits.iter().position(|(edit, ..)| *edit == jobs_version) else {
            return;
        };
        let (_, job, version, touched) = self.pending_edits.remove(place);
        for key in touched.iter().filter(|key| !may_start.contains(key)) {
            self.doubtful.remove(key);
        }
        self.note(|| format!("ACK edit of job {job} to version {version}"));
        let may_start = may_start.iter().copied().collect();
        self.promises.push(Promise { job, version, may_start });
    }

    // ---- faults ----

    fn trouble(&mut self) {
        if self.healed {
            return;
        }
        let wait = self.rng.random_range(200..9_000);
        self.after(wait, Event::Trouble);
        let server = self.rng.random_range(0..SERVERS);
        let workers: Vec<Incarnation> = self.places.iter().flatten().copied().collect();
        let worker = workers.get(self.rng.random_range(0..WORKERS)).copied();
        match (self.rng.random_range(0..9), worker) {
            (0, _) if self.servers[server].up => self.crash(server),
            (1, _) if self.servers[server].up && self.servers[server].paused_until.is_none() => {
                let pause = self.rng.random_range(100..12_000);
                let until = self.now + Span::from_millis(pause);
                let life = self.servers[server].life;
                self.servers[server].paused_until = Some(until);
                self.after(pause, Event::Resume { server, life });
                // Its session expires while it stands still.
                if pause > 2_000 && self.lock == Some(server) {
                    self.lock = None;
                }
            }
            (2, Some(worker)) => self.kill_worker(worker),
            (3, Some(worker)) => self.leave(worker),
            (4 | 5, Some(worker)) => {
                self.cuts.insert((worker, server));
                self.cut(worker, server);
                let wait = self.rng.random_range(100..9_000);
                self.after(wait, Event::Connect { worker, server });
                if self.rng.random_bool(0.8) {
                    self.cuts.remove(&(worker, server));
                }
            }
            (6, _) if !self.store_down => {
                self.store_down = true;
                let wait = self.rng.random_range(100..40_000);
                self.after(wait, Event::StoreBack);
            }
            // The coordinator takes the lock away for no reason.
            (7, _) => self.lock = None,
            _ => {}
        }
    }

    fn heal(&mut self) {
        self.note(|| "HEAL".to_owned());
        self.healed = true;
        self.store_down = false;
        self.cuts.clear();
        for server in 0..SERVERS {
            if self.servers[server].paused_until.is_some() {
                let life = self.servers[server].life;
                self.after(0, Event::Resume { server, life });
            }
        }
        for worker in self.alive.clone() {
            for server in 0..SERVERS {
                self.after(1, Event::Connect { worker, server });
            }
        }
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.mode == Mode::Calm
    }

    /// When the last trouble was over.
    pub(crate) fn healed_at(&self) -> Timestamp {
        if self.is_calm() { self.start + Span::from_secs(2) } else { self.start + TROUBLE }
    }
}

impl Server {
    fn new(shard: ShardId) -> Self {
        Self {
            engine: Engine::new(shard, EngineConfig::default()),
            up: false,
            life: 0,
            paused_until: None,
            held_back: Vec::new(),
            queue: VecDeque::new(),
            retried: false,
            busy: false,
            wake_at: None,
            owns: None,
        }
    }
}

impl Event {
    /// The server that has to be running for the event to happen.
    fn server(&self) -> Option<usize> {
        match self {
            Self::Wake { server, .. }
            | Self::StoreAnswers { server, .. }
            | Self::Contend { server, .. }
            | Self::Claimed { server, .. }
            | Self::ToServer { server, .. } => Some(*server),
            _ => None,
        }
    }
}
