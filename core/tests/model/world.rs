//! The state of the modelled world: one shard, one job, its holders, the workers, what is under way.

use std::collections::BTreeSet;

use carillon_core::ids::{AttemptNo, Epoch, JobVersion, JobsVersion, PlanNo};
use carillon_core::run::{ReasonCode, RunState};
use stateright::Representative;

use crate::scope::{MOST_ATTEMPTS, MOST_FIRES, NAMES, Scope};
use crate::store::{Store, Transaction};

/// A server, by its place in [`World::servers`].
pub(crate) type ServerNo = u8;
/// An incarnation of a worker, by its place in [`World::workers`].
pub(crate) type WorkerNo = u8;
/// A fire, by its place in time.
pub(crate) type FireNo = u8;

/// Everything there is at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) store: Store,
    /// A commit whose sender has given up waiting: it may still happen, or not.
    pub(crate) limbo: Option<Transaction>,
    /// Who holds the trigger lock in ZooKeeper.
    pub(crate) lock: Option<ServerNo>,
    pub(crate) servers: Vec<Server>,
    pub(crate) workers: Vec<Worker>,
    /// What was sent. It stays there: messages arrive in any order, late, twice, or (where a fault takes them away) never.
    pub(crate) wire: BTreeSet<Message>,
    pub(crate) times: [Times; MOST_FIRES],
    pub(crate) edit: Edit,
    /// How much may still go wrong.
    pub(crate) faults: u8,
    /// What must never have happened; no part of the world knows it.
    pub(crate) breach: Breach,
}

/// One fire of the job and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) worker: Option<WorkerNo>,
    pub(crate) plan_no: PlanNo,
    pub(crate) attempt: AttemptNo,
    pub(crate) state: RunState,
    pub(crate) version: JobVersion,
    pub(crate) reason: Option<ReasonCode>,
}

/// A holder of the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Server {
    pub(crate) up: bool,
    pub(crate) mysql: bool,
    pub(crate) zookeeper: bool,
    /// The incarnations it has a stream to, as bits.
    pub(crate) links: u8,
    /// It believes to hold the trigger lock.
    pub(crate) lock: bool,
    /// It believes to own the shard, under this epoch.
    pub(crate) owns: Option<Epoch>,
    /// An owner's watermark, as it knows it.
    pub(crate) planned: FireNo,
    /// An owner's version of the job set, as it knows it.
    pub(crate) jobs_version: JobsVersion,
    /// The rows that it read, committed, or was sent by a peer.
    pub(crate) known: [Option<Known>; MOST_FIRES],
}

/// A row in a server's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Known {
    pub(crate) row: Row,
    /// The worker's proof arrived that it never starts this plan.
    pub(crate) withdrawn: bool,
    /// The incarnations that refused the run, as bits.
    pub(crate) refused: u8,
}

/// One start of a worker process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Worker {
    pub(crate) name: u8,
    pub(crate) alive: bool,
    /// It leaves: it takes nothing new.
    pub(crate) draining: bool,
    /// The newest version of the job that it has seen.
    pub(crate) newest: JobVersion,
    /// What it has of each attempt of each fire. Of a dead one only the starts are kept, for the checks.
    pub(crate) entries: [[Entry; MOST_ATTEMPTS]; MOST_FIRES],
}

/// What a worker has of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Entry {
    /// Nothing.
    Unknown,
    /// It will start it at its time.
    Armed { plan_no: PlanNo, version: JobVersion },
    /// Refused or withdrawn: plans up to this one are never started here.
    Tombstone { plan_no: PlanNo },
    /// The handler runs.
    Started,
    /// The handler has returned.
    Ended,
}

/// From holders to workers; the other way is the state that a worker repeats until it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Message {
    pub(crate) to: WorkerNo,
    pub(crate) fire: FireNo,
    pub(crate) attempt: AttemptNo,
    pub(crate) plan_no: PlanNo,
    pub(crate) order: Order,
}

/// What the worker is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Start it at its time.
    Arm { version: JobVersion },
    /// Never start this plan or an earlier one.
    Disarm,
}

/// Which instants have passed. When a fire is due is not among them: an armed run may start at any moment, that moment is its time. All
/// clocks agree on the latest start, since the clock margin lies between it and the moment from which servers count it as passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Times {
    /// Of how many attempts the latest start has passed.
    pub(crate) over: u32,
}

/// The only edit of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Edit {
    pub(crate) made: bool,
    /// The person has the answer.
    pub(crate) answered: bool,
    /// The old plans that the owner has to withdraw before.
    pub(crate) pending: [Option<OldPlan>; MOST_FIRES],
    /// The fires that the answer lists: they may still start as the old version.
    pub(crate) listed: [bool; MOST_FIRES],
}

/// A plan that an edit withdraws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct OldPlan {
    pub(crate) worker: WorkerNo,
    pub(crate) attempt: AttemptNo,
    pub(crate) plan_no: PlanNo,
}

/// Things that the rows and the workers do not show afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Breach {
    /// An old version started after the answered edit, unlisted.
    pub(crate) old_version: bool,
    /// Epoch, watermark, plan number or attempt went back, or a row vanished.
    pub(crate) went_back: bool,
    /// A run left a worker that had not proved that it never starts it.
    pub(crate) unproven_move: bool,
    /// An attempt started after the next one was decided under the strict policy.
    pub(crate) strict_overlap: bool,
}

impl World {
    /// Nothing planned, everybody well.
    pub(crate) fn new(scope: &Scope) -> Self {
        let worker = |name| Worker::new(name);
        let server = Server::new((1 << NAMES) - 1);
        Self {
            store: Store::default(),
            limbo: None,
            lock: None,
            servers: vec![server; scope.servers],
            workers: (0..NAMES as u8).map(worker).collect(),
            wire: BTreeSet::new(),
            times: [Times::default(); MOST_FIRES],
            edit: Edit::default(),
            faults: scope.faults,
            breach: Breach::default(),
        }
    }

    pub(crate) fn server(&self, server: ServerNo) -> &Server {
        &self.servers[usize::from(server)]
    }

    pub(crate) fn server_mut(&mut self, server: ServerNo) -> &mut Server {
        &mut self.servers[usize::from(server)]
    }

    pub(crate) fn worker(&self, worker: WorkerNo) -> &Worker {
        &self.workers[usize::from(worker)]
    }

    pub(crate) fn worker_mut(&mut self, worker: WorkerNo) -> &mut Worker {
        &mut self.workers[usize::from(worker)]
    }

    /// Whether `server` has a stream to `worker`.
    pub(crate) fn linked(&self, server: ServerNo, worker: WorkerNo) -> bool {
        self.server(server).links >> worker & 1 == 1
    }

    /// Whether the latest start of `attempt` has passed.
    pub(crate) fn is_over(&self, fire: FireNo, attempt: AttemptNo) -> bool {
        attempt.get() <= self.times[usize::from(fire)].over
    }

    /// How often handlers were entered for an attempt, in all incarnations there ever were.
    pub(crate) fn starts(&self, fire: FireNo, attempt: AttemptNo) -> usize {
        self.workers.iter().filter(|worker| worker.entry(fire, attempt).has_started()).count()
    }

    /// Whether `worker` has proved, or would prove when asked, that it never starts this plan or an earlier one of the attempt.
    pub(crate) fn proves(&self, worker: WorkerNo, fire: FireNo, attempt: AttemptNo, plan_no: PlanNo) -> bool {
        let worker = self.worker(worker);
        match worker.entry(fire, attempt) {
            Entry::Tombstone { plan_no: buried } => buried >= plan_no,
            // It never starts later than the latest start, and says so.
            Entry::Armed { plan_no: armed, .. } => armed > plan_no || self.is_over(fire, attempt),
            Entry::Unknown => worker.draining,
            Entry::Started | Entry::Ended => false,
        }
    }
}

impl Server {
    fn new(links: u8) -> Self {
        Self {
            up: true,
            mysql: true,
            zookeeper: true,
            links,
            lock: false,
            owns: None,
            planned: 0,
            jobs_version: JobsVersion::default(),
            known: [None; MOST_FIRES],
        }
    }

    /// What is left of a killed one.
    pub(crate) fn dead() -> Self {
        Self { up: false, mysql: false, zookeeper: false, ..Self::new(0) }
    }
}

impl Worker {
    pub(crate) fn new(name: u8) -> Self {
        Self {
            name,
            alive: true,
            draining: false,
            newest: JobVersion::default(),
            entries: [[Entry::Unknown; MOST_ATTEMPTS]; MOST_FIRES],
        }
    }

    pub(crate) fn entry(&self, fire: FireNo, attempt: AttemptNo) -> Entry {
        self.entries[usize::from(fire)][attempt.get() as usize - 1]
    }

    pub(crate) fn entry_mut(&mut self, fire: FireNo, attempt: AttemptNo) -> &mut Entry {
        &mut self.entries[usize::from(fire)][attempt.get() as usize - 1]
    }
}

impl Entry {
    pub(crate) fn has_started(self) -> bool {
        matches!(self, Self::Started | Self::Ended)
    }
}

/// Servers differ by nothing but what they know: worlds that differ by their order are one.
impl Representative for World {
    fn representative(&self) -> Self {
        let claims = |server: ServerNo| match self.limbo {
            Some(Transaction::Claim { server: by, .. }) => by == server,
            _ => false,
        };
        let mut order: Vec<ServerNo> = (0..self.servers.len() as ServerNo).collect();
        order.sort_by_key(|server| {
            let (locks, owns) = (self.lock == Some(*server), self.store.owner == Some(*server));
            (*self.server(*server), locks, owns, claims(*server))
        });
        let place = |server: ServerNo| {
            order.iter().position(|other| *other == server).expect("a permutation of all") as ServerNo
        };
        let mut sorted = self.clone();
        sorted.servers = order.iter().map(|server| *self.server(*server)).collect();
        sorted.lock = self.lock.map(place);
        sorted.store.owner = self.store.owner.map(place);
        if let Some(Transaction::Claim { server, .. }) = &mut sorted.limbo {
            *server = place(*server);
        }
        sorted
    }
}
