//! The world around the engines: three servers, a store, a coordinator, workers, a console, their network, and what may go wrong with each.
//! One ordered set of events, one seeded generator, no clock.
//!
//! Here stand what there is and the loop; `servers` carries out what engines want, `storage` what the store makes of it, `peers` what
//! servers tell each other, `network` and `workers` the workers' side, `people` edits and triggers, `trouble` what goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use carillon_core::engine::Input;
use carillon_core::ids::{AttemptNo, Incarnation, JobId, JobVersion, JobsVersion, PlanNo, RunKey, ShardId};
use carillon_core::time::{Span, Timestamp};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::coordinator::Coordinator;
use crate::jobs;
use crate::store::Store;
use crate::worker::{Start, Worker};
use agenda::Agenda;
pub(crate) use event::{Claim, Cut, Event, Message, Process, Speech};
pub(crate) use servers::Server;
use trace_hash::TraceHash;

mod agenda;
mod event;
mod network;
mod peers;
mod people;
mod servers;
mod storage;
mod trace_hash;
mod trouble;
mod workers;

pub(crate) const SERVERS: usize = 3;
const WORKERS: usize = 3;
/// How long a seed's troubles last, and how long everything has to come to rest after them.
const TROUBLE: Span = Span::from_secs(45);
const REST: Span = Span::from_secs(125);

/// What a seed may go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing goes wrong: every start has to be on time.
    Calm,
    /// Crashes, pauses, cuts, outages, unknown outcomes, edits at random, until everything is healed.
    Safety,
    /// The same until one server, the store and the workers are healed; what else is broken then stays so.
    Liveness,
    /// Nothing goes wrong but that the owner is killed and does not come back.
    Kill,
}

/// A deliberate bug, to see that the checks see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    None,
    /// A worker takes any Arm for new.
    NoDedup,
    /// A worker does not remember what it refused or was asked not to start.
    NoTombstone,
    /// An unreachable worker counts as one that refused.
    MoveWithoutProof,
    /// A worker that leaves does not say what has ended with it and is not acknowledged.
    LeaveForgets,
    /// A slice is taken for committed although it was fenced.
    DeliverUncommitted,
    /// The watermark moves without its rows.
    SkipRows,
    /// Holders that do not own never arm.
    NoStandby,
    /// Holders never look whether the owner plans.
    NoWatch,
}

/// An acknowledged edit: from then on no older version may start, but for those listed.
pub(crate) struct Promise {
    pub(crate) job: JobId,
    pub(crate) version: JobVersion,
    pub(crate) may_start: BTreeSet<RunKey>,
}

/// An edit whose console waits for the owner's word.
pub(crate) struct PendingEdit {
    asked: usize,
    jobs_version: JobsVersion,
    job: JobId,
    version: JobVersion,
    touched: Vec<RunKey>,
}

pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) mode: Mode,
    mutant: Mutant,
    rng: SmallRng,
    pub(crate) now: Timestamp,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    agenda: Agenda,
    pub(crate) store: Store,
    store_down: bool,
    /// The store as it was before its last commits, and what of it must not be lost: a failover goes back to it.
    replica: Option<Box<Store>>,
    /// When commits were last lost.
    failed_over_at: Option<Timestamp>,
    /// Runs that lost a move then: with another roster they may be given to another worker once more, which the protocol does not rule out.
    pub(crate) moves_lost: BTreeSet<RunKey>,
    /// Due runs that were with no worker at the last look, each with its plan.
    pub(crate) unarmed: BTreeSet<(RunKey, PlanNo)>,
    /// Plans that a holder knew otherwise than the owner at the last look.
    pub(crate) unlike: BTreeSet<(usize, RunKey, AttemptNo, PlanNo)>,
    /// Runs that a worker's word had put right after an edit had cancelled them, which a failover undid.
    pub(crate) corrections_lost: BTreeSet<RunKey>,
    coordinator: Coordinator,
    pub(crate) servers: Vec<Server>,
    /// How far each server's clock is off, in milliseconds.
    offsets: Vec<i64>,
    pub(crate) workers: BTreeMap<Incarnation, Worker>,
    /// Incarnations that crashed: what they did stays in the ledger.
    pub(crate) alive: BTreeSet<Incarnation>,
    /// Streams of workers to servers.
    pub(crate) links: BTreeSet<(Incarnation, usize)>,
    pub(crate) cuts: BTreeSet<Cut>,
    /// Who listens to whose plan: the teller first.
    pub(crate) listening: BTreeSet<(usize, usize)>,
    /// What one server says to another arrives in order.
    last_arrival: BTreeMap<(usize, usize), Timestamp>,
    places: Vec<Option<Incarnation>>,
    pub(crate) starts: Vec<(Timestamp, Incarnation, Start)>,
    pub(crate) started: BTreeSet<(RunKey, AttemptNo)>,
    pub(crate) promises: Vec<Promise>,
    pending_edits: Vec<PendingEdit>,
    /// Runs that an edit touched and whose withdrawal nobody has confirmed: its answer lists them as such that may still start.
    pub(crate) doubtful: BTreeSet<RunKey>,
    triggers: u32,
    healed: bool,
    /// When the owner was killed, in the mode that does so.
    pub(crate) killed_at: Option<Timestamp>,
    hash: TraceHash,
    pub(crate) trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, mode: Mode, mutant: Mutant) -> Self {
        let start = Timestamp::from_millis(1_763_629_200_000);
        let shard = ShardId::new("101-1-2-6601".parse().expect("an id"), 0);
        let mut rng = SmallRng::seed_from_u64(seed ^ (mode as u64) << 56);
        let disturbed = matches!(mode, Mode::Safety | Mode::Liveness);
        let mut offset = || if disturbed && rng.random_bool(0.5) { rng.random_range(-300..300) } else { 0 };
        let mut world = Self {
            seed,
            mode,
            mutant,
            now: start,
            start,
            end: start + TROUBLE + REST,
            agenda: Agenda::default(),
            store: Store::new(shard, start),
            store_down: false,
            replica: None,
            failed_over_at: None,
            moves_lost: BTreeSet::new(),
            unarmed: BTreeSet::new(),
            unlike: BTreeSet::new(),
            corrections_lost: BTreeSet::new(),
            coordinator: Coordinator::default(),
            servers: (0..SERVERS).map(|_| Server::new(shard)).collect(),
            offsets: (0..SERVERS).map(|_| offset()).collect(),
            rng,
            workers: BTreeMap::new(),
            alive: BTreeSet::new(),
            links: BTreeSet::new(),
            cuts: BTreeSet::new(),
            listening: BTreeSet::new(),
            last_arrival: BTreeMap::new(),
            places: vec![None; WORKERS],
            starts: Vec::new(),
            started: BTreeSet::new(),
            promises: Vec::new(),
            pending_edits: Vec::new(),
            doubtful: BTreeSet::new(),
            triggers: 0,
            healed: false,
            killed_at: None,
            hash: TraceHash::default(),
            trace: None,
        };
        world.set_out();
        world
    }

    fn set_out(&mut self) {
        for (id, spec) in jobs::all(&mut self.rng) {
            self.store.edit(id, Some(spec), self.start);
        }
        for server in 0..SERVERS {
            self.after(0, Event::Start(server));
        }
        for place in 0..WORKERS {
            self.after(0, Event::StartWorker(place));
        }
        self.after(1_000, Event::Trigger);
        match self.mode {
            Mode::Safety | Mode::Liveness => {
                self.after(2_000, Event::Trouble);
                self.after(3_000, Event::Edit);
                self.after(TROUBLE.as_millis(), Event::Heal);
            }
            Mode::Kill => {
                let at = self.rng.random_range(20_000..TROUBLE.as_millis());
                self.after(at, Event::KillOwner);
            }
            Mode::Calm => self.after(10_000, Event::Judge),
        }
    }

    /// Runs to the end and returns the hash of all that happened.
    pub(crate) fn run(&mut self) -> u64 {
        while let Some((at, event)) = self.agenda.take() {
            if at > self.end {
                break;
            }
            self.now = self.now.max(at);
            at.as_millis().hash(&mut self.hash);
            event.digest(&mut self.hash);
            self.note(|| format!("{event:?}"));
            self.happen(event);
        }
        (self.starts.len(), self.store.runs.len()).hash(&mut self.hash);
        self.hash.finish()
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
        self.agenda.put(at.max(self.now), event);
    }

    fn chance(&mut self, probability: f64) -> bool {
        matches!(self.mode, Mode::Safety | Mode::Liveness)
            && !self.healed
            && self.rng.random_bool(probability)
    }

    /// A hop: mostly a few milliseconds, now and then much more.
    fn hop(&mut self) -> u64 {
        if self.chance(0.02) { self.rng.random_range(50..700) } else { self.rng.random_range(0..4) }
    }

    fn happen(&mut self, event: Event) {
        if let Some(at) = event.process() {
            let server = &mut self.servers[at.server];
            if server.life != at.life {
                return;
            }
            if server.paused && !matches!(event, Event::Resume(_)) {
                server.held_back.push(event);
                return;
            }
        }
        match event {
            Event::Wake(at) => self.wake(at.server),
            Event::StoreAnswers(at) => self.store_answers(at.server),
            Event::RowRead(at) => self.row_read(at.server),
            Event::Ping(at) => self.ping(at),
            Event::Expire(server) => self.expire(server),
            Event::Contend(at) => self.contend(at),
            Event::LockAsked(by) => self.lock_asked(by),
            Event::Locked(at) => self.locked(at),
            Event::Claim(by, seen, how) => self.claim(by, seen, how),
            Event::Speak(at) => self.speak(at),
            Event::ToPeer(at, from, speech) => self.peer_hears(at.server, from, &speech),
            Event::Listen(to, from) => self.begin_listening(from, to.server),
            Event::ToWorker(worker, server, message) => self.worker_hears(worker, server, message),
            Event::ToServer(at, worker, reports) => self.server_hears(at.server, worker, &reports),
            Event::Left(at, worker, held) => self.server_hears_leave(at.server, worker, held),
            Event::WorkerWake(worker) => self.worker_passes(worker),
            Event::Repeat(worker) => self.repeat(worker),
            Event::Connect(worker, server) => self.connect(worker, server),
            Event::Start(server) => self.start_server(server),
            Event::StartWorker(place) => self.start_worker(place),
            Event::Resume(at) => self.resume(at.server),
            Event::Edit => self.edit(),
            Event::EditTold(at, edited) => self.edit_told(at.server, *edited),
            Event::StandbyTold(at, edited) => self.standby_told(at.server, *edited),
            Event::Trigger => self.trigger(),
            Event::Trouble => self.trouble(),
            Event::KillOwner => self.kill_owner(),
            Event::StoreBack => self.store_down = false,
            Event::Failover => self.fail_over(),
            Event::StoreReplaced(at) => self.feed(at.server, Input::StoreReplaced),
            Event::Mend(cut) => _ = self.cuts.remove(&cut),
            Event::Heal => self.heal(),
            Event::Judge => self.judge(),
        }
    }

    fn judge(&mut self) {
        self.after(5_000, Event::Judge);
        self.check_lead();
        self.check_copies();
    }

    /// The time by a server's clock.
    fn clock(&self, server: usize) -> Timestamp {
        Timestamp::from_millis(self.now.as_millis() + self.offsets[server])
    }

    /// When a server's clock shows `at`.
    fn by_clock(&self, server: usize, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(at.as_millis() - self.offsets[server])
    }

    /// The most that a clock is off.
    pub(crate) fn skew(&self) -> Span {
        let most = self.offsets.iter().map(|offset| offset.unsigned_abs()).max();
        Span::from_millis(most.unwrap_or(0))
    }

    /// When the last trouble was over.
    pub(crate) fn healed_at(&self) -> Timestamp {
        match self.mode {
            Mode::Calm | Mode::Kill => self.start + Span::from_secs(2),
            Mode::Safety | Mode::Liveness => self.start + TROUBLE,
        }
    }
}
