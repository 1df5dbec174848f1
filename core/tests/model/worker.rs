//! What workers do: the ledger of armed, refused and started attempts that makes a start happen once.

use carillon_core::ids::JobVersion;
use carillon_core::job::WorkerLost;
use carillon_core::run::ReasonCode;

use crate::protocol::Protocol;
use crate::scope::{MOST_ATTEMPTS, Mutant};
use crate::store::version_in;
use crate::world::{Entry, FireNo, Message, Order, Worker, WorkerNo, World};

impl Protocol {
    pub(crate) fn deliver(&self, world: &World, message: Message) -> Option<World> {
        let Message { to, fire, attempt, plan_no, order } = message;
        let mut worker = *world.worker(to);
        if !worker.alive {
            return None;
        }
        let known = worker.entry(fire, attempt);
        match order {
            Order::Arm { version } => {
                let new = match known {
                    Entry::Unknown => true,
                    // A later plan takes the place of the earlier one, and a tombstone speaks of plans up to its number.
                    Entry::Armed { plan_no: armed, .. } => plan_no > armed,
                    Entry::Tombstone { plan_no: buried } => {
                        plan_no > buried || self.scope.has(Mutant::NoTombstone)
                    }
                    Entry::Started | Entry::Ended => false,
                };
                if !new {
                    return None;
                }
                let refused = version < worker.newest || worker.draining || world.is_over(fire, attempt);
                worker.newest = worker.newest.max(version);
                *worker.entry_mut(fire, attempt) =
                    if refused { Entry::Tombstone { plan_no } } else { Entry::Armed { plan_no, version } };
            }
            Order::Disarm => {
                let withdrawn = match known {
                    Entry::Unknown => true,
                    Entry::Armed { plan_no: known, .. } => known <= plan_no,
                    Entry::Tombstone { plan_no: known } => known < plan_no,
                    Entry::Started | Entry::Ended => false,
                };
                if !withdrawn {
                    return None;
                }
                *worker.entry_mut(fire, attempt) = Entry::Tombstone { plan_no };
            }
        }
        changed(world, to, worker)
    }

    /// At its time, which may be any; never after the latest start.
    pub(crate) fn start(&self, world: &World, worker: WorkerNo, fire: FireNo) -> Option<World> {
        let its = *world.worker(worker);
        let attempt = attempts().find(|attempt| {
            matches!(its.entry(fire, *attempt), Entry::Armed { .. }) && !world.is_over(fire, *attempt)
        })?;
        let Entry::Armed { version, .. } = its.entry(fire, attempt) else { return None };
        if !its.alive {
            return None;
        }
        let mut next = world.clone();
        *next.worker_mut(worker).entry_mut(fire, attempt) = Entry::Started;
        let row = world.store.rows[usize::from(fire)];
        let followed = row.is_some_and(|row| row.attempt > attempt);
        // What was given up with its worker may start late: a residual risk of the protocol, told by the attempt's recorded cause.
        let given_up = followed || row.is_some_and(|row| row.reason == Some(ReasonCode::WorkerLost));
        let old = version < version_in(world.store.jobs_version) && !given_up;
        next.breach.old_version |= old && world.edit.answered && !world.edit.listed[usize::from(fire)];
        next.breach.strict_overlap |= followed && self.scope.worker_lost == WorkerLost::RetryStrict;
        Some(next)
    }

    pub(crate) fn finish(&self, world: &World, worker: WorkerNo, fire: FireNo) -> Option<World> {
        let mut its = *world.worker(worker);
        let attempt = attempts().find(|attempt| its.entry(fire, *attempt) == Entry::Started)?;
        if !its.alive || !self.scope.handlers_end {
            return None;
        }
        *its.entry_mut(fire, attempt) = Entry::Ended;
        changed(world, worker, its)
    }

    pub(crate) fn give_back(&self, world: &World, worker: WorkerNo, fire: FireNo) -> Option<World> {
        let mut its = *world.worker(worker);
        let attempt = attempts().find(|attempt| matches!(its.entry(fire, *attempt), Entry::Armed { .. }))?;
        let Entry::Armed { plan_no, .. } = its.entry(fire, attempt) else { return None };
        if !its.draining {
            return None;
        }
        *its.entry_mut(fire, attempt) = Entry::Tombstone { plan_no };
        changed(world, worker, its)
    }

    /// The same name, another incarnation, with no memory of the one before.
    pub(crate) fn restart(&self, world: &World, name: u8) -> Option<World> {
        if world.workers.iter().any(|worker| worker.alive && worker.name == name) {
            return None;
        }
        let mut next = world.clone();
        let number = next.workers.len();
        next.workers.push(Worker::new(name));
        for server in next.servers.iter_mut().filter(|server| server.up) {
            server.links |= 1 << number;
        }
        Some(next)
    }
}

/// The numbers of all attempts there is room for.
pub(crate) fn attempts() -> impl Iterator<Item = carillon_core::ids::AttemptNo> {
    (1..=MOST_ATTEMPTS as u32).map(carillon_core::ids::AttemptNo::new)
}

fn changed(world: &World, worker: WorkerNo, its: Worker) -> Option<World> {
    let mut next = world.clone();
    *next.worker_mut(worker) = its;
    Some(next)
}

impl Worker {
    /// What is left of a killed one: nothing that can act, only what it did.
    pub(crate) fn bury(&mut self) {
        for entry in self.entries.iter_mut().flatten().filter(|entry| !entry.has_started()) {
            *entry = Entry::Unknown;
        }
        (self.alive, self.draining, self.newest) = (false, false, JobVersion::default());
    }
}
