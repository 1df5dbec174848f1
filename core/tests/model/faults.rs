//! What goes wrong, what heals, and the passing of time.

use carillon_core::run::RunState;

use crate::protocol::Protocol;
use crate::scope::{Kind, NAMES};
use crate::world::{Entry, FireNo, Message, Order, Server, ServerNo, WorkerNo, World};

/// One misfortune: see [`Kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    CutMysql(ServerNo),
    CutMysqlFromAll,
    CutZookeeper(ServerNo),
    CutLink(ServerNo, WorkerNo),
    Expire,
    KillServer(ServerNo),
    Lose(Message),
    Refuse(Message),
    KillWorker(WorkerNo),
    Leave(WorkerNo),
    LoseCommit,
}

impl Protocol {
    /// Those that the scope has, whether or not they can happen now.
    pub(crate) fn possible_faults<'a>(&'a self, world: &'a World) -> impl Iterator<Item = Fault> + 'a {
        let servers = 0..world.servers.len() as ServerNo;
        let workers = 0..world.workers.len() as WorkerNo;
        self.scope.kinds.iter().flat_map(move |kind| -> Vec<Fault> {
            let (servers, workers) = (servers.clone(), workers.clone());
            match kind {
                Kind::Mysql => servers.map(Fault::CutMysql).chain([Fault::CutMysqlFromAll]).collect(),
                Kind::Zookeeper => servers.map(Fault::CutZookeeper).collect(),
                Kind::Link => servers
                    .flat_map(|server| workers.clone().map(move |worker| Fault::CutLink(server, worker)))
                    .collect(),
                Kind::Expiry => vec![Fault::Expire],
                Kind::ServerCrash => servers.map(Fault::KillServer).collect(),
                Kind::Message => world.wire.iter().map(|message| Fault::Lose(*message)).collect(),
                Kind::Refusal => world.wire.iter().map(|message| Fault::Refuse(*message)).collect(),
                Kind::WorkerCrash => workers.map(Fault::KillWorker).collect(),
                Kind::Leave => workers.map(Fault::Leave).collect(),
                Kind::LostCommit => vec![Fault::LoseCommit],
                // Part of the actions that they spoil.
                Kind::Doubt | Kind::Suspicion => Vec::new(),
            }
        })
    }

    pub(crate) fn fault(&self, world: &World, fault: Fault) -> Option<World> {
        match fault {
            Fault::CutMysql(server) => self.cut_mysql(world, &[server]),
            Fault::CutMysqlFromAll => {
                let all: Vec<ServerNo> = (0..world.servers.len() as ServerNo).collect();
                self.cut_mysql(world, &all)
            }
            Fault::CutZookeeper(server) => self.cut_zookeeper(world, server),
            Fault::CutLink(server, worker) => self.cut_link(world, server, worker),
            Fault::Expire => self.expire(world),
            Fault::KillServer(server) => self.kill_server(world, server),
            Fault::Lose(message) => self.lose(world, message),
            Fault::Refuse(message) => self.refuse(world, message),
            Fault::KillWorker(worker) => self.kill_worker(world, worker),
            Fault::Leave(worker) => self.leave(world, worker),
            Fault::LoseCommit => self.lose_commit(world),
        }
    }

    fn cut_mysql(&self, world: &World, servers: &[ServerNo]) -> Option<World> {
        if servers.iter().all(|server| !world.server(*server).mysql) {
            return None;
        }
        let mut next = self.spend(world, Kind::Mysql)?;
        for server in servers {
            next.server_mut(*server).mysql = false;
        }
        Some(next)
    }

    pub(crate) fn heal_mysql(&self, world: &World, server: ServerNo) -> Option<World> {
        let mut next = world.clone();
        next.server_mut(server).mysql = true;
        (!world.server(server).mysql).then_some(next)
    }

    fn cut_zookeeper(&self, world: &World, server: ServerNo) -> Option<World> {
        if !world.server(server).zookeeper {
            return None;
        }
        let mut next = self.spend(world, Kind::Zookeeper)?;
        next.server_mut(server).zookeeper = false;
        Some(next)
    }

    pub(crate) fn heal_zookeeper(&self, world: &World, server: ServerNo) -> Option<World> {
        if world.server(server).zookeeper {
            return None;
        }
        let mut next = world.clone();
        next.server_mut(server).zookeeper = true;
        Some(next)
    }

    fn cut_link(&self, world: &World, server: ServerNo, worker: WorkerNo) -> Option<World> {
        if !world.linked(server, worker) {
            return None;
        }
        let mut next = self.spend(world, Kind::Link)?;
        next.server_mut(server).links &= !(1 << worker);
        Some(next)
    }

    pub(crate) fn heal_link(&self, world: &World, server: ServerNo, worker: WorkerNo) -> Option<World> {
        if world.linked(server, worker) || !world.worker(worker).alive {
            return None;
        }
        let mut next = world.clone();
        next.server_mut(server).links |= 1 << worker;
        Some(next)
    }

    fn expire(&self, world: &World) -> Option<World> {
        world.lock?;
        let mut next = self.spend(world, Kind::Expiry)?;
        next.lock = None;
        Some(next)
    }

    pub(crate) fn expire_dead(&self, world: &World) -> Option<World> {
        world.lock.filter(|holder| !world.server(*holder).up)?;
        let mut next = world.clone();
        next.lock = None;
        Some(next)
    }

    fn kill_server(&self, world: &World, server: ServerNo) -> Option<World> {
        let live = world.servers.iter().filter(|server| server.up).count();
        if !world.server(server).up || live < 2 {
            return None;
        }
        let mut next = self.spend(world, Kind::ServerCrash)?;
        *next.server_mut(server) = Server::dead();
        Some(next)
    }

    fn lose(&self, world: &World, message: Message) -> Option<World> {
        let mut next = self.spend(world, Kind::Message)?;
        next.wire.remove(&message);
        // What has arrived is not lost any longer.
        self.deliver(world, message).map(|_| next)
    }

    /// The Arm arrives and is refused: busy, say.
    fn refuse(&self, world: &World, message: Message) -> Option<World> {
        let Message { to, fire, attempt, plan_no, order: Order::Arm { .. } } = message else { return None };
        let others = (0..world.workers.len() as WorkerNo).filter(|worker| *worker != to);
        let mut willing = others.filter(|worker| {
            let worker = world.worker(*worker);
            let refused = matches!(worker.entry(fire, attempt), Entry::Tombstone { .. });
            worker.alive && !worker.draining && !refused
        });
        willing.next()?;
        let delivered = self.deliver(world, message)?;
        let mut next = self.spend(&delivered, Kind::Refusal)?;
        *next.worker_mut(to).entry_mut(fire, attempt) = Entry::Tombstone { plan_no };
        Some(next)
    }

    fn kill_worker(&self, world: &World, worker: WorkerNo) -> Option<World> {
        let can_return = world.workers.len() < NAMES + self.scope.restarts;
        let waits = world.workers.iter().filter(|other| !other.alive).count();
        let returned = world.workers.len() - NAMES;
        if !world.worker(worker).alive || !can_return || waits > returned {
            return None;
        }
        let mut next = self.spend(world, Kind::WorkerCrash)?;
        next.worker_mut(worker).bury();
        next.wire.retain(|message| message.to != worker);
        for server in &mut next.servers {
            server.links &= !(1 << worker);
        }
        Some(next)
    }

    fn leave(&self, world: &World, worker: WorkerNo) -> Option<World> {
        let others = (0..world.workers.len() as WorkerNo).filter(|other| *other != worker);
        let mut willing = others.filter(|other| {
            let other = world.worker(*other);
            let refused =
                other.entries.iter().flatten().any(|entry| matches!(entry, Entry::Tombstone { .. }));
            other.alive && !other.draining && !refused
        });
        willing.next()?;
        let its = world.worker(worker);
        if !its.alive || its.draining {
            return None;
        }
        let mut next = self.spend(world, Kind::Leave)?;
        next.worker_mut(worker).draining = true;
        Some(next)
    }

    fn lose_commit(&self, world: &World) -> Option<World> {
        let (fire, before) = world.store.undo?;
        let mut next = self.spend(world, Kind::LostCommit)?;
        next.store.undo = None;
        if before.is_none() {
            next.store.planned = fire;
        }
        next.store.rows[usize::from(fire)] = before;
        Some(next)
    }

    pub(crate) fn limbo_applies(&self, world: &World) -> Option<World> {
        let mut next = world.clone();
        let transaction = next.limbo.take()?;
        self.write(&mut next, &transaction).then_some(next)
    }

    pub(crate) fn limbo_vanishes(&self, world: &World) -> Option<World> {
        world.limbo?;
        let mut next = world.clone();
        next.limbo = None;
        Some(next)
    }

    /// The latest start of a run passes, that of a further attempt after that of the one before.
    pub(crate) fn latest_start(&self, world: &World, fire: FireNo) -> Option<World> {
        let times = world.times[usize::from(fire)];
        let row = world.store.rows[usize::from(fire)].filter(|row| row.state == RunState::Planned)?;
        if !self.scope.deadlines || times.over >= row.attempt.get() {
            return None;
        }
        let mut next = world.clone();
        next.times[usize::from(fire)].over += 1;
        Some(next)
    }
}
