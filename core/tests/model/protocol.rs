//! The protocol as a Stateright model: what can happen next, and what then is. The rules stand in `server`, `worker`, `edit` and `faults`.

use stateright::{Model, Property};

use crate::faults::Fault;
use crate::properties;
use crate::scope::{Kind, Order, Scope};
use crate::store::Transaction;
use crate::world::{FireNo, Message, ServerNo, WorkerNo, World};

/// One world to explore.
#[derive(Debug, Clone)]
pub(crate) struct Protocol {
    pub(crate) scope: Scope,
    pub(crate) order: Order,
}

/// One step of one part of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// A server gets the lock that nobody holds.
    TakeLock(ServerNo),
    /// A server finds out that the lock is not its own any longer.
    NoticeLockLost(ServerNo),
    /// A server makes itself owner.
    Claim(ServerNo, Fate),
    /// A server reads shard and rows.
    Read(ServerNo),
    /// The owner commits the next slice, its fire at this worker.
    PlanSlice {
        server: ServerNo,
        to: Option<WorkerNo>,
        fate: Fate,
    },
    /// A server tells a peer what it knows of a run.
    Push {
        from: ServerNo,
        to: ServerNo,
        fire: FireNo,
    },
    /// A holder, owner or not, arms the worker named in a plan.
    Arm {
        server: ServerNo,
        fire: FireNo,
    },
    /// The owner hears that the worker never starts the plan.
    HearProof {
        server: ServerNo,
        fire: FireNo,
    },
    /// The owner moves a run to another worker.
    Move {
        server: ServerNo,
        fire: FireNo,
        to: WorkerNo,
        fate: Fate,
    },
    /// The owner has lost the worker: the job's policy.
    GiveUpWorker {
        server: ServerNo,
        fire: FireNo,
        to: Option<WorkerNo>,
        fate: Fate,
    },
    /// The owner ends a run that nobody can start any longer.
    GiveUpRun {
        server: ServerNo,
        fire: FireNo,
        fate: Fate,
    },
    /// A worker's start or end reaches a holder, which stores it.
    Report {
        server: ServerNo,
        worker: WorkerNo,
        fire: FireNo,
    },
    /// Mutants only: a plan without a commit.
    Improvise {
        server: ServerNo,
        fire: FireNo,
        to: WorkerNo,
    },
    /// Mutants only: a run is taken over without being its owner and without proof.
    Seize {
        server: ServerNo,
        fire: FireNo,
        to: WorkerNo,
    },
    /// A person edits the job.
    Edit,
    /// The owner asks the worker to forget the old plan.
    Withdraw {
        server: ServerNo,
        fire: FireNo,
    },
    /// The owner hears what the worker made of that, or lists the fire.
    Settle {
        server: ServerNo,
        fire: FireNo,
    },
    /// The person gets the answer.
    Answer(ServerNo),
    /// A message arrives; it may arrive again.
    Deliver(Message),
    /// A worker enters the handler.
    Start {
        worker: WorkerNo,
        fire: FireNo,
    },
    /// The handler returns.
    Finish {
        worker: WorkerNo,
        fire: FireNo,
    },
    /// A worker that leaves gives back what it has armed.
    GiveBack {
        worker: WorkerNo,
        fire: FireNo,
    },
    /// A killed worker is started again.
    Restart {
        name: u8,
    },
    /// Time passes: the next latest start of the run is over.
    LatestStart(FireNo),
    /// A commit in doubt takes effect, where its conditions still hold.
    LimboApplies,
    /// A commit in doubt never takes effect.
    LimboVanishes,
    HealMysql(ServerNo),
    HealZookeeper(ServerNo),
    HealLink(ServerNo, WorkerNo),
    /// The session of a killed server expires.
    ExpireDead,
    Fault(Fault),
}

/// Whether the sender learns what became of its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It does.
    Told,
    /// It does not: see [`Kind::Doubt`].
    Doubtful,
}

impl Protocol {
    pub(crate) fn new(scope: Scope) -> Self {
        Self { scope, order: Order::of_the_code() }
    }

    pub(crate) fn fires(&self) -> std::ops::Range<FireNo> {
        0..self.scope.fires as FireNo
    }

    /// The world after something went wrong, where it may.
    pub(crate) fn spend(&self, world: &World, kind: Kind) -> Option<World> {
        if world.faults == 0 || !self.scope.kinds.contains(&kind) {
            return None;
        }
        let mut next = world.clone();
        next.faults -= 1;
        Some(next)
    }

    /// Sends a transaction off. Told that it failed, a server does nothing: it has to read.
    pub(crate) fn commit(&self, world: &World, transaction: Transaction, fate: Fate) -> Option<World> {
        match fate {
            Fate::Told => {
                let mut next = world.clone();
                self.write(&mut next, &transaction).then_some(next)
            }
            Fate::Doubtful => {
                let mut next = self.spend(world, Kind::Doubt)?;
                let free = next.limbo.replace(transaction).is_none();
                free.then_some(next)
            }
        }
    }

    /// Carries a transaction out and judges what it did.
    pub(crate) fn write(&self, world: &mut World, transaction: &Transaction) -> bool {
        if let Transaction::Move { fire, attempt, seen, .. } = *transaction
            && let Some(from) = world.store.rows[usize::from(fire)].and_then(|row| row.worker)
            && world.worker(from).alive
            && !world.proves(from, fire, attempt, seen)
        {
            let mut store = world.store;
            world.breach.unproven_move |= store.apply(&self.scope, transaction);
        }
        let before = world.store;
        let applied = world.store.apply(&self.scope, transaction);
        world.breach.went_back |= before.is_ahead_of(&world.store);
        applied
    }

    fn server_actions(&self, world: &World, server: ServerNo, actions: &mut Vec<Action>) {
        actions.extend([Action::TakeLock(server), Action::NoticeLockLost(server), Action::Read(server)]);
        actions.extend([Action::HealMysql(server), Action::HealZookeeper(server), Action::Answer(server)]);
        let workers = world.workers.len() as WorkerNo;
        actions.extend((0..workers).map(|worker| Action::HealLink(server, worker)));
        let doubtful = world.faults > 0 && world.limbo.is_none() && self.scope.kinds.contains(&Kind::Doubt);
        let fates = if doubtful { &[Fate::Told, Fate::Doubtful][..] } else { &[Fate::Told] };
        for fate in fates.iter().copied() {
            actions.push(Action::Claim(server, fate));
            let planned = world.server(server).planned;
            if world.server(server).owns.is_some() && usize::from(planned) < self.scope.fires {
                let mut candidates = self.candidates(world, server, planned, 0).peekable();
                if candidates.peek().is_none() {
                    actions.push(Action::PlanSlice { server, to: None, fate });
                }
                actions.extend(candidates.map(|to| Action::PlanSlice { server, to: Some(to), fate }));
            }
            for fire in self.fires() {
                self.owner_actions(world, server, fire, fate, actions);
            }
        }
        for fire in self.fires() {
            actions.extend([Action::Arm { server, fire }, Action::HearProof { server, fire }]);
            actions.extend([Action::Withdraw { server, fire }, Action::Settle { server, fire }]);
            let peers = (0..world.servers.len() as ServerNo).filter(|to| *to != server);
            actions.extend(peers.map(|to| Action::Push { from: server, to, fire }));
            actions.extend((0..workers).map(|worker| Action::Report { server, worker, fire }));
            if self.scope.mutant.is_some() {
                actions.extend((0..workers).map(|to| Action::Improvise { server, fire, to }));
                actions.extend((0..workers).map(|to| Action::Seize { server, fire, to }));
            }
        }
    }

    /// What an owner may decide about a run that it knows.
    fn owner_actions(
        &self,
        world: &World,
        server: ServerNo,
        fire: FireNo,
        fate: Fate,
        actions: &mut Vec<Action>,
    ) {
        let owner = world.server(server);
        let Some(known) = owner.known[usize::from(fire)].filter(|_| owner.owns.is_some()) else { return };
        let named = known.row.worker.map_or(0, |worker| 1 << worker);
        let others = self.candidates(world, server, fire, known.refused | named);
        actions.extend(others.map(|to| Action::Move { server, fire, to, fate }));
        let mut anyone = self.candidates(world, server, fire, 0).peekable();
        if anyone.peek().is_none() {
            actions.push(Action::GiveUpWorker { server, fire, to: None, fate });
        }
        actions.extend(anyone.map(|to| Action::GiveUpWorker { server, fire, to: Some(to), fate }));
        actions.push(Action::GiveUpRun { server, fire, fate });
    }

    /// Whether only time or misfortune changes the world: nobody has anything left to do.
    pub(crate) fn is_at_rest(&self, world: &World) -> bool {
        let mut actions = Vec::new();
        self.actions(world, &mut actions);
        actions.iter().all(|action| {
            let next = self.next_state(world, *action);
            next.is_none_or(|next| next.faults < world.faults)
        })
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.scope)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for server in (0..world.servers.len() as ServerNo).filter(|server| world.server(*server).up) {
            self.server_actions(world, server, actions);
        }
        actions.extend(world.wire.iter().map(|message| Action::Deliver(*message)));
        for worker in 0..world.workers.len() as WorkerNo {
            actions.extend(self.fires().map(|fire| Action::Start { worker, fire }));
            actions.extend(self.fires().map(|fire| Action::Finish { worker, fire }));
            actions.extend(self.fires().map(|fire| Action::GiveBack { worker, fire }));
        }
        actions.extend((0..crate::scope::NAMES as u8).map(|name| Action::Restart { name }));
        actions.extend(self.fires().map(Action::LatestStart));
        actions.extend([Action::Edit, Action::LimboApplies, Action::LimboVanishes, Action::ExpireDead]);
        if world.faults > 0 {
            actions.extend(self.possible_faults(world).map(Action::Fault));
        }
    }

    /// None where the action is not possible, or would change nothing.
    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        match action {
            Action::TakeLock(server) => self.take_lock(world, server),
            Action::NoticeLockLost(server) => self.notice_lock_lost(world, server),
            Action::Claim(server, fate) => self.claim(world, server, fate),
            Action::Read(server) => self.read(world, server),
            Action::PlanSlice { server, to, fate } => self.plan_slice(world, server, to, fate),
            Action::Push { from, to, fire } => self.push(world, from, to, fire),
            Action::Arm { server, fire } => self.arm(world, server, fire),
            Action::HearProof { server, fire } => self.hear_proof(world, server, fire),
            Action::Move { server, fire, to, fate } => self.move_run(world, server, fire, to, fate),
            Action::GiveUpWorker { server, fire, to, fate } => {
                self.give_up_worker(world, server, fire, to, fate)
            }
            Action::GiveUpRun { server, fire, fate } => self.give_up_run(world, server, fire, fate),
            Action::Report { server, worker, fire } => self.report(world, server, worker, fire),
            Action::Improvise { server, fire, to } => self.improvise(world, server, fire, to),
            Action::Seize { server, fire, to } => self.seize(world, server, fire, to),
            Action::Edit => self.edit(world),
            Action::Withdraw { server, fire } => self.withdraw(world, server, fire),
            Action::Settle { server, fire } => self.settle(world, server, fire),
            Action::Answer(server) => self.answer(world, server),
            Action::Deliver(message) => self.deliver(world, message),
            Action::Start { worker, fire } => self.start(world, worker, fire),
            Action::Finish { worker, fire } => self.finish(world, worker, fire),
            Action::GiveBack { worker, fire } => self.give_back(world, worker, fire),
            Action::Restart { name } => self.restart(world, name),
            Action::LatestStart(fire) => self.latest_start(world, fire),
            Action::LimboApplies => self.limbo_applies(world),
            Action::LimboVanishes => self.limbo_vanishes(world),
            Action::HealMysql(server) => self.heal_mysql(world, server),
            Action::HealZookeeper(server) => self.heal_zookeeper(world, server),
            Action::HealLink(server, worker) => self.heal_link(world, server, worker),
            Action::ExpireDead => self.expire_dead(world),
            Action::Fault(fault) => self.fault(world, fault),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(&self.scope)
    }
}
