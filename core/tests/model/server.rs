//! What holders of the shard do: ownership, plans, arming, moves, attempts, reports.

use carillon_core::ids::Epoch;
use carillon_core::job::WorkerLost;
use carillon_core::run::{ReasonCode, RunState};

use crate::protocol::{Fate, Protocol};
use crate::scope::{EditKind, Kind, MOST_ATTEMPTS, Mutant, NAMES, Routes};
use crate::store::Transaction;
use crate::world::{Entry, FireNo, Known, Message, Order, Row, Server, ServerNo, WorkerNo, World};

impl Protocol {
    /// The workers that `server` may name for `fire`, in its eyes: those it has a stream to, without those `left_out`.
    pub(crate) fn candidates(
        &self,
        world: &World,
        server: ServerNo,
        fire: FireNo,
        left_out: u8,
    ) -> impl Iterator<Item = WorkerNo> + use<> {
        let mut eligible = 0u8;
        let mut by_name = [None; NAMES];
        for (worker, its) in (0..).zip(&world.workers) {
            if world.linked(server, worker) && left_out >> worker & 1 == 0 && !its.draining {
                eligible |= 1 << worker;
                by_name[usize::from(its.name)] = Some(worker);
            }
        }
        if self.scope.routes == Routes::Rendezvous {
            let names =
                (0..NAMES).filter(|name| by_name[*name].is_some()).fold(0, |names, name| names | 1 << name);
            let first =
                self.order.first(usize::from(fire), names).and_then(|name| by_name[usize::from(name)]);
            eligible = first.map_or(0, |worker| 1 << worker);
        }
        (0..8).filter(move |worker| eligible >> worker & 1 == 1)
    }

    pub(crate) fn take_lock(&self, world: &World, server: ServerNo) -> Option<World> {
        if !world.server(server).zookeeper || world.lock.is_some() {
            return None;
        }
        let mut next = world.clone();
        next.lock = Some(server);
        next.server_mut(server).lock = true;
        Some(next)
    }

    pub(crate) fn notice_lock_lost(&self, world: &World, server: ServerNo) -> Option<World> {
        let it = world.server(server);
        if !it.lock || !it.zookeeper || world.lock == Some(server) {
            return None;
        }
        let mut next = world.clone();
        next.server_mut(server).lock = false;
        Some(next)
    }

    /// The lock, or not reaching ZooKeeper, makes a server try; the statement makes it owner. It reads everything in the same step.
    pub(crate) fn claim(&self, world: &World, server: ServerNo, fate: Fate) -> Option<World> {
        let it = world.server(server);
        let may_try = it.lock || !it.zookeeper;
        if !may_try || !it.mysql || world.store.owner == Some(server) {
            return None;
        }
        let claim = Transaction::Claim { server, seen: world.store.epoch };
        let owner_lives = world.store.owner.is_some_and(|owner| world.server(owner).up);
        let called_for = !owner_lives || world.lock == Some(server);
        let mut next = if called_for {
            self.commit(world, claim, fate)?
        } else {
            self.commit(&self.spend(world, Kind::Suspicion)?, claim, fate)?
        };
        if fate == Fate::Told {
            let view = self.view(&next, server);
            *next.server_mut(server) = view;
        }
        Some(next)
    }

    pub(crate) fn read(&self, world: &World, server: ServerNo) -> Option<World> {
        let it = world.server(server);
        if !it.mysql {
            return None;
        }
        let view = self.view(world, server);
        if view == *it {
            return None;
        }
        let mut next = world.clone();
        *next.server_mut(server) = view;
        Some(next)
    }

    /// What a server knows after reading. Of runs that did not change it keeps what it heard.
    fn view(&self, world: &World, server: ServerNo) -> Server {
        let (store, mut view) = (&world.store, *world.server(server));
        view.owns = (store.owner == Some(server)).then_some(store.epoch);
        if view.owns.is_some() {
            (view.planned, view.jobs_version) = (store.planned, store.jobs_version);
        } else {
            (view.planned, view.jobs_version) = Default::default();
        }
        for (known, row) in view.known.iter_mut().zip(&store.rows) {
            let same = |known: &Known, row: &Row| {
                (known.row.attempt, known.row.plan_no) == (row.attempt, row.plan_no)
            };
            *known = match (*known, *row) {
                (Some(known), Some(row)) if view.owns.is_some() && same(&known, &row) => {
                    Some(Known { row, ..known })
                }
                (_, row) => row.map(Known::new),
            };
        }
        view
    }

    pub(crate) fn plan_slice(
        &self,
        world: &World,
        server: ServerNo,
        to: Option<WorkerNo>,
        fate: Fate,
    ) -> Option<World> {
        let it = world.server(server);
        let epoch = it.owns.filter(|_| it.mysql)?;
        let (from, jobs_version) = (it.planned, it.jobs_version);
        let row = self.has_fires(it).then(|| Row::planned(to, jobs_version));
        let slice = Transaction::Slice { epoch, jobs_version, from, row };
        let mut next = self.commit(world, slice, fate)?;
        if fate == Fate::Told {
            let it = next.server_mut(server);
            it.planned += 1;
            it.known[usize::from(from)] = row.map(Known::new);
        }
        Some(next)
    }

    /// Whether the job in force has fires at all, as far as this owner knows.
    fn has_fires(&self, server: &Server) -> bool {
        self.scope.edit != Some(EditKind::Delete) || !self.knows_edit(server)
    }

    /// Plans are pushed to the other holders, so that they can deliver without the store; a relay through a peer is the same step.
    pub(crate) fn push(&self, world: &World, from: ServerNo, to: ServerNo, fire: FireNo) -> Option<World> {
        let news = world.server(from).known[usize::from(fire)]?.row;
        let old = world.server(to).known[usize::from(fire)].map(|known| known.row);
        let newer = |row: Row| (row.attempt, row.plan_no) < (news.attempt, news.plan_no);
        if !world.server(to).up || news.state != RunState::Planned || !old.is_none_or(newer) {
            return None;
        }
        let mut next = world.clone();
        next.server_mut(to).known[usize::from(fire)] = Some(Known::new(news));
        Some(next)
    }

    /// Any holder with a stream arms, as often as it takes.
    pub(crate) fn arm(&self, world: &World, server: ServerNo, fire: FireNo) -> Option<World> {
        let known = world.server(server).known[usize::from(fire)]?;
        let Row { worker, plan_no, attempt, state, version, .. } = known.row;
        let to = worker.filter(|worker| world.linked(server, *worker))?;
        let message = Message { to, fire, attempt, plan_no, order: Order::Arm { version } };
        if state != RunState::Planned || known.withdrawn || world.wire.contains(&message) {
            return None;
        }
        let mut next = world.clone();
        next.wire.insert(message);
        Some(next)
    }

    /// A refusal, a Disarm's answer, or a clean leave's list.
    pub(crate) fn hear_proof(&self, world: &World, server: ServerNo, fire: FireNo) -> Option<World> {
        let (_, known) = self.owned_run(world, server, fire)?;
        let Row { worker, plan_no, attempt, state, .. } = known.row;
        let from = worker.filter(|worker| world.linked(server, *worker))?;
        let unlisted = self.scope.has(Mutant::LeaveForgetsEnded)
            && world.worker(from).draining
            && world.worker(from).entry(fire, attempt) == Entry::Ended;
        let proof = world.proves(from, fire, attempt, plan_no) || unlisted;
        if known.withdrawn || state != RunState::Planned || !proof {
            return None;
        }
        let mut next = world.clone();
        let known = next.server_mut(server).known[usize::from(fire)].as_mut()?;
        known.withdrawn = true;
        known.refused |= 1 << from;
        Some(next)
    }

    pub(crate) fn move_run(
        &self,
        world: &World,
        server: ServerNo,
        fire: FireNo,
        to: WorkerNo,
        fate: Fate,
    ) -> Option<World> {
        let (epoch, known) = self.owned_run(world, server, fire)?;
        let Row { worker, plan_no: seen, attempt, state, .. } = known.row;
        let unreachable = worker.is_some_and(|worker| !world.linked(server, worker));
        let proof =
            worker.is_none() || known.withdrawn || self.scope.has(Mutant::MoveWithoutProof) && unreachable;
        if !proof || state != RunState::Planned || world.is_over(fire, attempt) {
            return None;
        }
        let made = Transaction::Move { fire, attempt, seen, to, epoch };
        let mut next = self.commit(world, made, fate)?;
        if fate == Fate::Told {
            let row = Row { worker: Some(to), plan_no: seen.next(), ..known.row };
            let known = Known { row, withdrawn: false, ..known };
            next.server_mut(server).known[usize::from(fire)] = Some(known);
        }
        Some(next)
    }

    /// No stream to the worker for too long (`engine::workers`): never a silent move.
    pub(crate) fn give_up_worker(
        &self,
        world: &World,
        server: ServerNo,
        fire: FireNo,
        to: Option<WorkerNo>,
        fate: Fate,
    ) -> Option<World> {
        let (epoch, known) = self.owned_run(world, server, fire)?;
        let Row { worker, plan_no, attempt, state, .. } = known.row;
        let lost = worker.is_some_and(|worker| !world.linked(server, worker));
        if !lost || state.is_final() || known.withdrawn {
            return None;
        }
        let it = world.server(server);
        let seen_started = state == RunState::Running;
        let over = world.is_over(fire, attempt) || self.scope.has(Mutant::HastyStrictRetry);
        let spent = attempt.get() as usize >= MOST_ATTEMPTS;
        let policy = if self.has_fires(it) { self.scope.worker_lost } else { WorkerLost::Skip };
        let reason = ReasonCode::WorkerLost;
        let end = |state| Transaction::End { fire, attempt, seen: plan_no, state, reason, epoch };
        let retry = Transaction::NextAttempt {
            fire,
            ended: attempt,
            plan_no: plan_no.next(),
            to,
            jobs_version: it.jobs_version,
            epoch,
        };
        let decided = match (policy, seen_started) {
            (WorkerLost::Skip | WorkerLost::RetryStrict, false) if !over => return None,
            (WorkerLost::Skip, false) => end(RunState::Missed),
            (WorkerLost::Skip | WorkerLost::RetryStrict, true) => end(RunState::Dead),
            _ if spent => end(RunState::Dead),
            (WorkerLost::Retry, _) | (WorkerLost::RetryStrict, false) => retry,
        };
        self.decide(world, server, fire, decided, fate)
    }

    /// The latest start has passed and no worker has the run.
    pub(crate) fn give_up_run(
        &self,
        world: &World,
        server: ServerNo,
        fire: FireNo,
        fate: Fate,
    ) -> Option<World> {
        let (epoch, known) = self.owned_run(world, server, fire)?;
        let Row { worker, plan_no: seen, attempt, state, .. } = known.row;
        let nobody = worker.is_none() || known.withdrawn;
        if !nobody || state != RunState::Planned || !world.is_over(fire, attempt) {
            return None;
        }
        let reason = if worker.is_none() { ReasonCode::NoWorker } else { ReasonCode::TooLate };
        let end = Transaction::End { fire, attempt, seen, state: RunState::Missed, reason, epoch };
        self.decide(world, server, fire, end, fate)
    }

    /// Commits what an owner decided about a run; told that it is done, it knows the new row.
    fn decide(
        &self,
        world: &World,
        server: ServerNo,
        fire: FireNo,
        decided: Transaction,
        fate: Fate,
    ) -> Option<World> {
        let mut next = self.commit(world, decided, fate)?;
        if fate == Fate::Told {
            let row = next.store.rows[usize::from(fire)];
            next.server_mut(server).known[usize::from(fire)] = row.map(Known::new);
        }
        Some(next)
    }

    /// Starts and ends of any attempt, repeated by the worker until they are stored, by any holder with a stream and the store.
    pub(crate) fn report(
        &self,
        world: &World,
        server: ServerNo,
        worker: WorkerNo,
        fire: FireNo,
    ) -> Option<World> {
        if !world.server(server).mysql || !world.linked(server, worker) {
            return None;
        }
        // What it says of attempts that others followed completes a record, no more.
        let attempt = world.store.rows[usize::from(fire)]?.attempt;
        let state = match world.worker(worker).entry(fire, attempt) {
            Entry::Started => RunState::Running,
            Entry::Ended => RunState::Succeeded,
            Entry::Unknown | Entry::Armed { .. } | Entry::Tombstone { .. } => return None,
        };
        let report = Transaction::Report { fire, attempt, worker, state };
        let mut next = self.commit(world, report, Fate::Told)?;
        let row = next.store.rows[usize::from(fire)];
        next.server_mut(server).known[usize::from(fire)] = row.map(Known::new);
        Some(next)
    }

    pub(crate) fn improvise(
        &self,
        world: &World,
        server: ServerNo,
        fire: FireNo,
        to: WorkerNo,
    ) -> Option<World> {
        let it = world.server(server);
        let thinks_it_may = match self.scope.mutant {
            Some(Mutant::DeliverUncommitted) => it.owns.is_some() && it.planned == fire,
            Some(Mutant::LockAlone) => it.lock,
            _ => false,
        };
        let chosen = self.candidates(world, server, fire, 0).any(|worker| worker == to);
        if it.mysql || !thinks_it_may || !chosen || it.known[usize::from(fire)].is_some() {
            return None;
        }
        let mut next = world.clone();
        let row = Row::planned(Some(to), it.jobs_version);
        next.server_mut(server).known[usize::from(fire)] = Some(Known::new(row));
        Some(next)
    }

    pub(crate) fn seize(&self, world: &World, server: ServerNo, fire: FireNo, to: WorkerNo) -> Option<World> {
        let it = world.server(server);
        let row = it.known[usize::from(fire)].filter(|_| it.mysql)?.row;
        let sent_elsewhere = row.worker.is_some_and(|worker| worker != to);
        let takes_over = self.scope.has(Mutant::TakeOverAfterDue) && world.store.owner != Some(server);
        if !takes_over || !sent_elsewhere || !world.linked(server, to) {
            return None;
        }
        let epoch = world.store.epoch;
        let made = Transaction::Move { fire, attempt: row.attempt, seen: row.plan_no, to, epoch };
        self.decide(world, server, fire, made, Fate::Told)
    }

    /// A run in the memory of a server that believes to own the shard and reaches the store.
    fn owned_run(&self, world: &World, server: ServerNo, fire: FireNo) -> Option<(Epoch, Known)> {
        let it = world.server(server);
        it.owns.filter(|_| it.mysql).zip(it.known[usize::from(fire)])
    }
}

impl Known {
    /// A row that was just read, with nothing heard of its plan yet.
    pub(crate) fn new(row: Row) -> Self {
        Self { row, withdrawn: false, refused: 0 }
    }
}
