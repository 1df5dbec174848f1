//! How much of the world is explored: sizes, which faults, how many of them, and deliberate bugs.

use carillon_core::engine::{HandlerInfo, WorkerInfo};
use carillon_core::ids::{Incarnation, JobId, RunKey};
use carillon_core::job::{JobSpec, WorkerLost};
use carillon_core::routing::{self, Choice};
use carillon_core::time::Timestamp;
use serde_json::{Value, json};

/// Room for fires in a state: two show every order of two slices.
pub(crate) const MOST_FIRES: usize = 2;
/// Room for attempts of a run in a state: the second shows what a third would.
pub(crate) const MOST_ATTEMPTS: usize = 2;
/// Names of workers; a worker that is started again keeps its name and gets a new incarnation.
pub(crate) const NAMES: usize = 2;

/// What may go wrong. Each time it does costs one of [`Scope::faults`]; healing is free and may come at any later time, or late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A server loses MySQL, or all of them at once.
    Mysql,
    /// A server loses ZooKeeper.
    Zookeeper,
    /// A server and a worker lose each other.
    Link,
    /// The session of the server that holds the trigger lock expires; the server does not know.
    Expiry,
    /// A server claims the shard though its owner lives.
    Suspicion,
    /// A server is killed. One is always left.
    ServerCrash,
    /// A server does not hear what became of its commit: it may have happened, happens later, or never does.
    Doubt,
    /// A message is lost.
    Message,
    /// A worker is killed and started again.
    WorkerCrash,
    /// A worker leaves cleanly. One that can run the fires is always left.
    Leave,
    /// A worker refuses an Arm. One that can run the fire is always left.
    Refusal,
    /// The database fails over and loses the last acknowledged commit of a slice or a move.
    LostCommit,
}

/// What the edit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum EditKind {
    /// The job has the same fires under a new version.
    Replace,
    /// The job is deleted, or paused: it has no fires any longer.
    Delete,
}

/// How a worker is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Routes {
    /// By the order of `carillon_core::routing` over the workers that the server sees.
    Rendezvous,
    /// Any worker that the server sees: by load, in turn, at random.
    Free,
}

/// Deliberate bugs. A model that cannot tell them from the protocol proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mutant {
    /// A run whose worker is merely unreachable is moved.
    MoveWithoutProof,
    /// An owner without MySQL delivers what it would have committed.
    DeliverUncommitted,
    /// Whoever believes to have the lock delivers what it likes while it does not reach MySQL.
    LockAlone,
    /// A refusal is not remembered by the worker that gave it.
    NoTombstone,
    /// A standby takes a run over that is due and not marked as started, by compare-and-set, and sends it to another worker.
    TakeOverAfterDue,
    /// A worker that leaves lists what it has armed and what runs, but not what has ended unreported.
    LeaveForgetsEnded,
    /// An owner ends a run whatever its plan has become.
    EndAnyPlan,
    /// A slice is written whatever the watermark is.
    NoWatermarkCheck,
    /// The watermark is moved in a transaction of its own, after it the rows.
    WatermarkFirst,
    /// A slice or a further attempt is written whatever the version of the job set is.
    NoJobsVersionCheck,
    /// An edit is answered without withdrawing anything.
    EditWithoutDisarm,
    /// The next attempt of a lost worker's run does not wait for the latest start, though its policy is strict.
    HastyStrictRetry,
}

/// One world to explore exhaustively.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// Holders of the shard.
    pub(crate) servers: usize,
    /// Fires of the only job, each in a slice of its own.
    pub(crate) fires: usize,
    /// How often something goes wrong in all.
    pub(crate) faults: u8,
    /// What may.
    pub(crate) kinds: &'static [Kind],
    /// How often a killed worker is started again; one is killed only if it can be.
    pub(crate) restarts: usize,
    /// What becomes of a run whose worker is lost.
    pub(crate) worker_lost: WorkerLost,
    /// Whether the latest start can pass.
    pub(crate) deadlines: bool,
    /// Whether handlers end; else a run that runs is where it should be.
    pub(crate) handlers_end: bool,
    /// Whether someone edits the job.
    pub(crate) edit: Option<EditKind>,
    /// How workers are chosen.
    pub(crate) routes: Routes,
    /// A deliberate bug.
    pub(crate) mutant: Option<Mutant>,
}

impl Scope {
    /// Servers, fires, faults; nothing of what else there is.
    pub(crate) fn new(servers: usize, fires: usize, faults: u8, kinds: &'static [Kind]) -> Self {
        Self {
            servers,
            fires,
            faults,
            kinds,
            restarts: 0,
            worker_lost: WorkerLost::Retry,
            deadlines: false,
            handlers_end: false,
            edit: None,
            routes: Routes::Rendezvous,
            mutant: None,
        }
    }

    /// The same world with a bug in it.
    pub(crate) fn with(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }

    /// Whether the world has this bug.
    pub(crate) fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

/// For each fire and each set of names (as bits), the name that `carillon_core::routing` puts first.
#[derive(Debug, Clone)]
pub(crate) struct Order([[Option<u8>; 1 << NAMES]; MOST_FIRES]);

impl Order {
    /// Asks the code in force, so that the model cannot drift from it.
    pub(crate) fn of_the_code() -> Self {
        let spec: JobSpec = serde_json::from_value(json!({
            "group": "101-1-2-6601", "name": "job", "handler": "h",
            "schedule": {"type": "fixed_rate", "every": "1s"}, "overlap": {"policy": "parallel", "max": 1},
        }))
        .expect("a valid job");
        let mut order = [[None; 1 << NAMES]; MOST_FIRES];
        for (fire, by_set) in order.iter_mut().enumerate() {
            let key = RunKey::scheduled(JobId::new(1), Timestamp::from_millis(1_000 * (fire as i64 + 1)));
            let choice = Choice { job: &spec, key, params: &Value::Null, turn: 0 };
            for (set, first) in by_set.iter_mut().enumerate() {
                let workers: Vec<WorkerInfo> =
                    (0..NAMES).filter(|name| set >> name & 1 == 1).map(worker).collect();
                let chosen = routing::choose(choice, workers.iter(), |_| 0);
                *first = chosen.map(|incarnation| incarnation.get() as u8);
            }
        }
        Self(order)
    }

    /// The name chosen for `fire` among `names`.
    pub(crate) fn first(&self, fire: usize, names: u8) -> Option<u8> {
        self.0[fire][usize::from(names)]
    }
}

fn worker(name: usize) -> WorkerInfo {
    WorkerInfo {
        incarnation: Incarnation::new(name as u64),
        name: ["worker-a", "worker-b"][name].into(),
        room: "room".into(),
        labels: std::collections::BTreeMap::new(),
        handlers: vec![HandlerInfo { name: "h".into(), parallel: false, reduce: false }],
        held: Vec::new(),
    }
}
