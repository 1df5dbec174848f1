//! What servers tell each other: the plan, watermarks, and which workers they reach.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use carillon_core::engine::{Input, PlanNews, WorkerInfo};
use carillon_core::ids::Incarnation;
use carillon_core::time::{Span, Timestamp};

use super::{Cut, Event, Process, SERVERS, Speech, World};

/// Servers speak this often. Real ones do every 100 ms; the rules that go by it take seconds.
const EVERY: u64 = 500;
/// A server that was not heard for this long is away.
const AWAY: Span = Span::from_millis(1_600);

/// Workers with a stream to a server, as they introduced themselves.
pub(super) type Workers = BTreeMap<Incarnation, Rc<WorkerInfo>>;

/// What was last heard of a peer.
pub(crate) struct Heard {
    at: Timestamp,
    workers: Rc<Workers>,
}

impl World {
    fn peer_hears_now(&self, from: usize, to: usize) -> bool {
        !self.cuts.contains(&Cut::Peer(from, to))
    }

    /// Sends in order; what is said into a cut is lost, and with it the plan's thread.
    fn say(&mut self, from: usize, to: usize, speech: Rc<Speech>) {
        if !self.servers[to].up {
            return;
        }
        if !self.peer_hears_now(from, to) {
            self.listening.remove(&(from, to));
            return;
        }
        let arrival = self.now + Span::from_millis(self.hop());
        let last = self.last_arrival.entry((from, to)).or_insert(arrival);
        *last = (*last).max(arrival);
        let at = *last;
        self.at(at, Event::ToPeer(self.process(to), from, speech));
    }

    pub(super) fn tell_peers(&mut self, server: usize, news: &PlanNews) {
        let listeners: Vec<usize> =
            (0..SERVERS).filter(|peer| self.listening.contains(&(server, *peer))).collect();
        let speech = Rc::new(Speech::News(news.clone()));
        for peer in listeners {
            self.say(server, peer, speech.clone());
        }
    }

    /// A peer begins to listen: it gets all of the plan first.
    pub(super) fn begin_listening(&mut self, from: usize, to: usize) {
        let open = self.peer_hears_now(from, to) && self.peer_hears_now(to, from);
        if !open || !self.servers[from].up || self.servers[from].paused {
            return;
        }
        self.listening.insert((from, to));
        if let Some(news) = self.servers[from].engine.plan_so_far() {
            self.say(from, to, Rc::new(Speech::News(news)));
        }
    }

    /// Each round a server says how far it is and whom it reaches, and looks at what it heard of the others.
    pub(super) fn speak(&mut self, at: Process) {
        self.after(EVERY, Event::Speak(at));
        self.speak_round(at.server);
        for peer in (0..SERVERS).filter(|peer| *peer != at.server) {
            if !self.listening.contains(&(peer, at.server)) {
                self.after(1, Event::Listen(at, peer));
            }
        }
        self.miss_silent_peers(at.server);
        self.relay(at.server);
        self.take_rank(at.server);
    }

    pub(super) fn speak_round(&mut self, server: usize) {
        let view = self.servers[server].engine.view(self.clock(server));
        let watermark = view.epoch.map(|epoch| (epoch, view.planned_until, view.armed_until));
        let workers = self.servers[server].joined.clone();
        let speech = Rc::new(Speech::Round { watermark, workers });
        for peer in (0..SERVERS).filter(|peer| *peer != server) {
            self.say(server, peer, speech.clone());
        }
    }

    pub(super) fn peer_hears(&mut self, server: usize, from: usize, speech: &Speech) {
        match speech {
            Speech::News(news) => self.feed(server, Input::News(Box::new(news.clone()))),
            Speech::Round { watermark, workers } => {
                self.hear_of_workers(server, from, workers);
                if let Some((epoch, planned_until, armed_until)) = *watermark {
                    let known = &mut self.servers[server].known_owner;
                    *known = (*known).max((epoch, from));
                    self.feed(server, Input::Watermark { epoch, planned_until, armed_until });
                }
            }
        }
    }

    fn hear_of_workers(&mut self, server: usize, from: usize, workers: &Rc<Workers>) {
        let now = self.now;
        if let Some(heard) = self.servers[server].heard.get_mut(&from)
            && Rc::ptr_eq(&heard.workers, workers)
        {
            heard.at = now;
            return;
        }
        let before = self.reached_elsewhere(server);
        self.servers[server].heard.insert(from, Heard { at: now, workers: workers.clone() });
        self.compare_workers(server, &before);
    }

    fn reached_elsewhere(&self, server: usize) -> BTreeSet<Incarnation> {
        self.servers[server].heard.values().flat_map(|heard| heard.workers.keys().copied()).collect()
    }

    fn compare_workers(&mut self, server: usize, before: &BTreeSet<Incarnation>) {
        let after = self.reached_elsewhere(server);
        for worker in after.difference(before) {
            let info = self.servers[server].heard.values().find_map(|heard| heard.workers.get(worker));
            let info = WorkerInfo::clone(info.expect("listed"));
            self.feed(server, Input::WorkerElsewhere(info));
        }
        for worker in before.difference(&after) {
            self.drop_relay(server, *worker);
            self.feed(server, Input::WorkerGoneElsewhere(*worker));
        }
    }

    fn miss_silent_peers(&mut self, server: usize) {
        let now = self.now;
        if self.servers[server].heard.values().all(|heard| now.since(heard.at) < AWAY) {
            return;
        }
        let before = self.reached_elsewhere(server);
        self.servers[server].heard.retain(|_, heard| now.since(heard.at) < AWAY);
        self.compare_workers(server, &before);
    }

    /// Workers that only a peer reaches get a stream through it.
    fn relay(&mut self, server: usize) {
        for worker in self.reached_elsewhere(server) {
            let here = &self.servers[server];
            let via = here.heard.iter().find(|(_, heard)| heard.workers.contains_key(&worker));
            let (Some((via, heard)), false) = (via, here.joined.contains_key(&worker)) else { continue };
            let (via, info) = (*via, WorkerInfo::clone(&heard.workers[&worker]));
            if self.servers[server].relayed.insert(worker, via).is_none() {
                self.feed(server, Input::WorkerJoined(info));
            }
        }
    }

    pub(super) fn drop_relay(&mut self, server: usize, worker: Incarnation) {
        let here = &mut self.servers[server];
        if here.relayed.remove(&worker).is_some() && !here.joined.contains_key(&worker) {
            self.feed(server, Input::WorkerDisconnected(worker));
        }
    }

    /// The peer through which a worker without a stream here is reached.
    pub(super) fn way_to(&self, server: usize, worker: Incarnation) -> Option<usize> {
        let here = &self.servers[server];
        let via = here.heard.iter().find(|(_, heard)| heard.workers.contains_key(&worker))?.0;
        Some(*via)
    }

    /// Whether what `from` says goes through `via` now.
    pub(super) fn relays(&self, from: usize, via: usize) -> bool {
        self.peer_hears_now(from, via) && self.servers[via].up && !self.servers[via].paused
    }

    /// A server's place among the holders, by what it knows: the owner, then the others in their order, as far as they seem to live.
    fn take_rank(&mut self, server: usize) {
        let owner = self.servers[server].known_owner.1;
        let alive = |peer: &usize| {
            if self.reaches_coordinator(server) {
                self.coordinator.has_session(*peer)
            } else {
                self.servers[server].heard.contains_key(peer)
            }
        };
        let before = (0..server).filter(|peer| *peer != owner && alive(peer)).count();
        let rank = 1 + before as u8;
        if self.servers[server].rank.replace(rank) != Some(rank) {
            self.feed(server, Input::Rank(rank));
        }
    }
}
