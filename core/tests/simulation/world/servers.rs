//! Servers: their life, how they come to own the shard, and how what their engine wants is carried out.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use carillon_core::engine::{Effect, Engine, EngineConfig, Input, WorkerInfo};
use carillon_core::ids::{Epoch, Incarnation, ShardId};
use carillon_core::time::{Span, Timestamp};
use rand::RngExt;

use super::peers::Heard;
use super::{Claim, Cut, Event, Message, Mutant, Process, World};
use crate::coordinator::{ORPHANS, SESSION};

/// One process of a server.
pub(crate) struct Server {
    pub(crate) engine: Engine,
    pub(crate) up: bool,
    pub(super) life: u64,
    pub(crate) paused: bool,
    pub(super) held_back: Vec<Event>,
    /// Operations on the store, carried out in order as far as they concern the same.
    pub(super) queue: VecDeque<Effect>,
    /// The head of the queue was tried before and its outcome is unknown.
    pub(super) retried: bool,
    pub(super) busy: bool,
    wake_at: Option<Timestamp>,
    pub(crate) owns: Option<Epoch>,
    /// Workers with a stream here, as they introduced themselves.
    pub(super) joined: Rc<BTreeMap<Incarnation, Rc<WorkerInfo>>>,
    /// What was last heard of each other server.
    pub(super) heard: BTreeMap<usize, Heard>,
    /// Workers that are reached through another server as if they had a stream here.
    pub(super) relayed: BTreeMap<Incarnation, usize>,
    /// Who owns the shard, as far as this server has heard.
    pub(super) known_owner: (Epoch, usize),
    pub(super) rank: Option<u8>,
}

impl Server {
    pub(super) fn new(shard: ShardId) -> Self {
        Self {
            engine: Engine::new(shard, EngineConfig::default()),
            up: false,
            life: 0,
            paused: false,
            held_back: Vec::new(),
            queue: VecDeque::new(),
            retried: false,
            busy: false,
            wake_at: None,
            owns: None,
            joined: Rc::default(),
            heard: BTreeMap::new(),
            relayed: BTreeMap::new(),
            known_owner: (Epoch::default(), 0),
            rank: None,
        }
    }
}

impl Server {
    pub(crate) fn is_at_work(&self) -> bool {
        self.up && !self.paused
    }
}

impl World {
    pub(super) fn process(&self, server: usize) -> Process {
        Process { server, life: self.servers[server].life }
    }

    pub(super) fn start_server(&mut self, server: usize) {
        if self.servers[server].up {
            return;
        }
        let life = self.servers[server].life + 1;
        self.servers[server] = Server::new(self.store.shard);
        (self.servers[server].life, self.servers[server].up) = (life, true);
        let at = self.process(server);
        self.after(5, Event::Ping(at));
        self.after(10 + 50 * server as u64, Event::Contend(at));
        self.after(20, Event::Speak(at));
        for worker in self.alive.clone() {
            let wait = self.rng.random_range(20..1_500);
            self.after(wait, Event::Connect(worker, server));
        }
    }

    /// The process is gone; its session runs out by itself.
    pub(super) fn crash(&mut self, server: usize) {
        self.note(|| format!("CRASH server {server}"));
        let life = self.servers[server].life + 1;
        self.servers[server] = Server::new(self.store.shard);
        self.servers[server].life = life;
        self.coordinator.forgets_client(server);
        self.after(SESSION.as_millis(), Event::Expire(server + ORPHANS));
        self.listening.retain(|(teller, listener)| *teller != server && *listener != server);
        for worker in self.alive.clone() {
            if self.links.remove(&(worker, server)) {
                self.stream_changed(worker);
                self.after(400, Event::Connect(worker, server));
            }
        }
    }

    pub(super) fn pause(&mut self, server: usize) {
        self.note(|| format!("PAUSE server {server}"));
        self.servers[server].paused = true;
    }

    pub(super) fn resume(&mut self, server: usize) {
        if !std::mem::take(&mut self.servers[server].paused) {
            return;
        }
        self.feed(server, Input::Stalled { patience: Span::from_secs(5) });
        // Before whatever else is to happen at this instant: what a peer says arrives in order.
        for event in std::mem::take(&mut self.servers[server].held_back) {
            self.happen(event);
        }
    }

    // ---- ownership ----

    pub(super) fn reaches_coordinator(&self, server: usize) -> bool {
        !self.cuts.contains(&Cut::Coordinator(server))
    }

    pub(super) fn ping(&mut self, at: Process) {
        self.after(1_000, Event::Ping(at));
        if self.reaches_coordinator(at.server) && self.coordinator.hears(at.server, self.now) {
            self.after(0, Event::Expire(at.server));
        }
    }

    pub(super) fn expire(&mut self, server: usize) {
        if let Some(again) = self.coordinator.expire(server, self.now) {
            self.at(again, Event::Expire(server));
        }
    }

    pub(super) fn contend(&mut self, at: Process) {
        self.after(500, Event::Contend(at));
        if self.servers[at.server].owns.is_none() && self.reaches_coordinator(at.server) {
            // What was given up on the way may still take effect much later.
            let hop = if self.chance(0.02) { 3_000 } else { self.hop() };
            self.after(hop, Event::LockAsked(at));
        }
    }

    pub(super) fn lock_asked(&mut self, by: Process) {
        let locked = self.servers[by.server].life == by.life && self.coordinator.lock(by.server);
        if locked && self.reaches_coordinator(by.server) && !self.chance(0.05) {
            let hop = self.hop();
            self.after(hop, Event::Locked(by));
        }
    }

    pub(super) fn locked(&mut self, at: Process) {
        if self.servers[at.server].owns.is_some() || !self.store_answers_to(at.server) {
            return;
        }
        let seen = self.store.epoch;
        let hop = self.hop();
        self.after(hop, Event::Claim(at, seen, Claim::ByLock));
    }

    /// A claim takes effect in the store; the answer may be lost, and then the row tells at the next try.
    pub(super) fn claim(&mut self, by: Process, seen: Epoch, how: Claim) {
        let server = by.server;
        if self.servers[server].life != by.life || !self.store_hears(server) {
            return;
        }
        if !self.store.claim(server, seen) {
            return;
        }
        self.note(|| format!("CLAIM by {server}, {how:?}, from {seen}"));
        if how == Claim::ForLackOfPlanning && self.reaches_coordinator(server) {
            self.coordinator.displace(server);
        }
        if !self.store_answers_to(server) || self.servers[server].paused {
            return;
        }
        let epoch = self.store.epoch;
        self.servers[server].owns = Some(epoch);
        self.servers[server].known_owner = (epoch, server);
        // What an earlier ownership still has on its way arrives first; the engine decides nothing until it has looked.
        self.feed(server, Input::Disown);
        self.carry_out(server, Effect::Reload);
        self.work_queue(server);
    }

    // ---- the engine ----

    pub(super) fn wake(&mut self, server: usize) {
        // Set earlier since, it was woken then.
        if self.servers[server].wake_at.take_if(|set| *set <= self.now).is_some() {
            self.feed(server, Input::Tick);
        }
    }

    /// Steps a server's engine and carries out what it wants.
    pub(super) fn feed(&mut self, server: usize, input: Input) {
        if !self.servers[server].up {
            return;
        }
        let mut effects = Vec::new();
        let now = self.clock(server);
        self.servers[server].engine.step(now, input, &mut effects);
        self.watch(server);
        for effect in effects {
            self.carry_out(server, effect);
        }
        if let Some(at) = self.servers[server].engine.next_wake() {
            let at = self.by_clock(server, at).max(self.now + Span::from_millis(1));
            if self.servers[server].wake_at.is_none_or(|set| at < set) {
                self.servers[server].wake_at = Some(at);
                self.at(at, Event::Wake(self.process(server)));
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

    pub(super) fn carry_out(&mut self, server: usize, effect: Effect) {
        match effect {
            Effect::Arm(arm) => {
                self.note(|| {
                    format!(
                        "ARM by {server}: {} attempt {} plan {} version {} at {}",
                        arm.key, arm.attempt, arm.plan_no, arm.job_version, arm.to
                    )
                });
                let standby = self.servers[server].engine.view(self.now).epoch.is_none();
                if !(standby && self.mutant == Mutant::NoStandby) {
                    self.tell_worker(server, arm.to, Message::Arm(Box::new(arm)));
                }
            }
            Effect::Disarm { to, key, attempt, plan_no, job_version, epoch } => {
                self.note(|| {
                    format!("DISARM by {server}: {key} attempt {attempt} plan {plan_no} version {job_version} at {to}")
                });
                self.tell_worker(server, to, Message::Disarm(key, attempt, plan_no, job_version, epoch))
            }
            Effect::CancelAttempt { to, key, attempt, .. } => {
                self.tell_worker(server, to, Message::Cancel(key, attempt))
            }
            Effect::Ack(acks) => self.acknowledge(server, &acks),
            Effect::EditSettled { jobs_version, may_start } => self.settled(server, jobs_version, &may_start),
            Effect::TriggerRefused { .. } | Effect::Started { .. } | Effect::Changed { .. } => {}
            Effect::MapOpen { .. } | Effect::MapAbort { .. } => {
                unreachable!("maps have a simulation of their own")
            }
            Effect::Tell(news) => self.tell_peers(server, &news),
            Effect::ReadShard if self.mutant == Mutant::NoWatch => {}
            Effect::ReadShard => {
                let hop = self.hop() + 1;
                self.after(hop, Event::RowRead(self.process(server)));
            }
            Effect::TakeOver { seen, why } => {
                self.note(|| format!("TAKE OVER by {server}: {why}"));
                let hop = self.hop();
                self.after(hop, Event::Claim(self.process(server), seen, Claim::ForLackOfPlanning));
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
}
