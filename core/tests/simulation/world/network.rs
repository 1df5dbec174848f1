//! The streams between workers and servers, and what goes over them.

use std::rc::Rc;

use carillon_core::engine::{HeldRun, Input, Report};
use carillon_core::ids::Incarnation;
use rand::RngExt;

use super::{Cut, Event, Message, Mutant, SERVERS, World};

impl World {
    /// Sends over the worker's stream, or through a peer that has one.
    pub(super) fn tell_worker(&mut self, server: usize, worker: Incarnation, message: Message) {
        if self.links.contains(&(worker, server)) {
            let hop = self.hop();
            if self.chance(0.02) {
                let later = self.hop();
                self.after(later, Event::ToWorker(worker, server, message.clone()));
            }
            return self.after(hop, Event::ToWorker(worker, server, message));
        }
        let Some(via) = self.way_to(server, worker) else { return };
        if self.relays(server, via) && self.links.contains(&(worker, via)) {
            let hops = self.hop() + self.hop();
            self.after(hops, Event::ToWorker(worker, via, message));
        }
    }

    pub(super) fn acknowledge(&mut self, server: usize, acks: &[(Incarnation, u64)]) {
        for (worker, seq) in acks {
            self.tell_worker(server, *worker, Message::Ack(*seq));
        }
    }

    /// How long what a worker says takes to a server, straight or through a peer; none where it does not arrive.
    fn way_from(&mut self, worker: Incarnation, server: usize) -> Option<u64> {
        if self.links.contains(&(worker, server)) {
            // A worker that leaves has much to do at once.
            let slow = self.workers[&worker].leaving && self.chance(0.3);
            return Some(if slow { self.rng.random_range(5..300) } else { self.hop() });
        }
        let via = *self.servers[server].relayed.get(&worker)?;
        let open = self.links.contains(&(worker, via))
            && self.servers[via].up
            && !self.servers[via].paused
            && !self.cuts.contains(&Cut::Peer(via, server));
        open.then(|| self.hop() + self.hop())
    }

    pub(super) fn send_reports(&mut self, worker: Incarnation, server: usize, reports: &Rc<Vec<Report>>) {
        if reports.is_empty() {
            return;
        }
        if let Some(hop) = self.way_from(worker, server) {
            let at = self.process(server);
            self.after(hop, Event::ToServer(at, worker, reports.clone()));
        }
    }

    pub(super) fn send_leave(&mut self, worker: Incarnation, held: &[HeldRun]) {
        for server in 0..SERVERS {
            if let Some(hop) = self.way_from(worker, server) {
                let at = self.process(server);
                self.after(hop, Event::Left(at, worker, held.to_vec()));
            }
        }
    }

    pub(super) fn server_hears(&mut self, server: usize, worker: Incarnation, reports: &[Report]) {
        for report in reports {
            self.note(|| format!("REPORT at {server} of {worker}: {report:?}"));
            self.feed(server, Input::Report(worker, report.clone()));
        }
    }

    pub(super) fn server_hears_leave(&mut self, server: usize, worker: Incarnation, held: Vec<HeldRun>) {
        self.feed(server, Input::WorkerLeft { incarnation: worker, held });
    }

    pub(super) fn connect(&mut self, worker: Incarnation, server: usize) {
        if !self.alive.contains(&worker) || self.links.contains(&(worker, server)) {
            return;
        }
        let there = &self.servers[server];
        if !there.up || there.paused || self.cuts.contains(&Cut::Worker(worker, server)) {
            return self.after(400, Event::Connect(worker, server));
        }
        self.links.insert((worker, server));
        self.stream_changed(worker);
        let info = self.workers[&worker].info();
        Rc::make_mut(&mut self.servers[server].joined).insert(worker, Rc::new(info.clone()));
        self.servers[server].relayed.remove(&worker);
        self.feed(server, Input::WorkerJoined(info));
        self.speak_round(server);
        if self.workers[&worker].leaving {
            let held = self.held_by_leaving(worker);
            self.after(0, Event::Left(self.process(server), worker, held));
        }
        let reports = Rc::new(self.workers[&worker].spool.clone());
        self.send_reports(worker, server, &reports);
    }

    /// The stream breaks, and both see it; a server that stands still sees it when it goes on.
    pub(super) fn cut(&mut self, worker: Incarnation, server: usize) {
        if !self.links.remove(&(worker, server)) {
            return;
        }
        self.stream_changed(worker);
        Rc::make_mut(&mut self.servers[server].joined).remove(&worker);
        if self.mutant == Mutant::MoveWithoutProof {
            self.feed(server, Input::WorkerLeft { incarnation: worker, held: Vec::new() });
        }
        self.feed(server, Input::WorkerDisconnected(worker));
        self.speak_round(server);
    }
}
