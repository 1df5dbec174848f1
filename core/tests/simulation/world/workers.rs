//! The life of workers.

use std::rc::Rc;

use carillon_core::engine::HeldRun;
use carillon_core::ids::Incarnation;
use carillon_core::time::{Span, Timestamp};
use rand::RngExt;

use super::{Event, Message, Mutant, SERVERS, World};
use crate::worker::Worker;

impl World {
    pub(super) fn start_worker(&mut self, place: usize) {
        if self.places[place].is_some() {
            return;
        }
        let incarnation = Incarnation::new(self.rng.random());
        let refuses = self.chance(0.5);
        self.workers.insert(incarnation, Worker::new(format!("worker-{place}"), incarnation, refuses));
        self.alive.insert(incarnation);
        self.places[place] = Some(incarnation);
        for server in 0..SERVERS {
            let wait = self.rng.random_range(1..100);
            self.after(wait, Event::Connect(incarnation, server));
        }
        self.after(1_000, Event::Repeat(incarnation));
    }

    pub(super) fn kill_worker(&mut self, worker: Incarnation) {
        self.note(|| format!("CRASH worker {worker}"));
        self.alive.remove(&worker);
        for server in 0..SERVERS {
            self.cut(worker, server);
        }
        let wait = self.rng.random_range(200..8_000);
        self.give_place_up(worker, wait);
    }

    fn give_place_up(&mut self, worker: Incarnation, next_after: u64) {
        let place = self.places.iter().position(|at| *at == Some(worker));
        if let Some(place) = place {
            self.places[place] = None;
            self.after(next_after, Event::StartWorker(place));
        }
    }

    /// A worker's clock is the median of its servers' (trigger-protocol: "cluster time"); without a stream it goes on as it was.
    pub(super) fn stream_changed(&mut self, worker: Incarnation) {
        let mut offsets: Vec<i64> = (0..SERVERS)
            .filter(|server| self.links.contains(&(worker, *server)))
            .map(|server| self.offsets[server])
            .collect();
        offsets.sort_unstable();
        let Some(median) = offsets.get(offsets.len() / 2).copied() else { return };
        let at_worker = self.workers.get_mut(&worker).expect("known");
        if at_worker.offset != median {
            at_worker.offset = median;
            self.after(0, Event::WorkerWake(worker));
        }
    }

    fn workers_clock(&self, worker: Incarnation) -> Timestamp {
        Timestamp::from_millis(self.now.as_millis() + self.workers[&worker].offset)
    }

    pub(super) fn worker_hears(&mut self, worker: Incarnation, server: usize, message: Message) {
        if !self.alive.contains(&worker) || !self.links.contains(&(worker, server)) {
            return;
        }
        let now = self.workers_clock(worker);
        let before = self.workers[&worker].said();
        let at_worker = self.workers.get_mut(&worker).expect("alive");
        match message {
            Message::Arm(arm) => {
                if self.mutant == Mutant::NoDedup {
                    at_worker.forget(arm.key, arm.attempt);
                }
                at_worker.arm(now, *arm);
            }
            Message::Disarm(key, attempt, plan_no, job_version, epoch) => {
                at_worker.disarm(now, key, attempt, plan_no, job_version, epoch);
                if self.mutant == Mutant::NoTombstone {
                    at_worker.unbury(key, attempt);
                }
            }
            Message::Cancel(key, attempt) => at_worker.cancel(now, key, attempt),
            Message::Ack(seq) => return at_worker.spool.retain(|report| report.seq != seq),
        }
        self.after_worker(worker, before);
    }

    pub(super) fn worker_passes(&mut self, worker: Incarnation) {
        if self.alive.contains(&worker) {
            let before = self.workers[&worker].said();
            self.after_worker(worker, before);
        }
    }

    /// Starts what is due, sends what was said after `before`, and wakes the worker for what comes.
    fn after_worker(&mut self, worker: Incarnation, before: u64) {
        let now = self.workers_clock(worker);
        let at_worker = self.workers.get_mut(&worker).expect("alive");
        let started = at_worker.pass_time(now);
        let fresh = Rc::new(at_worker.said_after(before));
        let (wake, offset) = (at_worker.next_wake(), at_worker.offset);
        for start in started {
            self.note(|| format!("START {} attempt {} at {worker}", start.key, start.attempt));
            self.starts.push((self.now, worker, start));
            self.check_start(worker, start);
        }
        for server in 0..SERVERS {
            self.send_reports(worker, server, &fresh);
        }
        let now = self.now;
        let at_worker = self.workers.get_mut(&worker).expect("alive");
        let wake = wake.map(|at| Timestamp::from_millis(at.as_millis() - offset));
        if let Some(at) = wake.map(|at| at.max(now + Span::from_millis(1)))
            && at_worker.wake_at.is_none_or(|set| at < set || set <= now)
        {
            at_worker.wake_at = Some(at);
            self.at(at, Event::WorkerWake(worker));
        }
    }

    pub(super) fn repeat(&mut self, worker: Incarnation) {
        if !self.alive.contains(&worker) {
            return;
        }
        let at_worker = &self.workers[&worker];
        let reports = Rc::new(at_worker.spool.clone());
        let idle = reports.is_empty() && at_worker.leaving && at_worker.held().is_empty();
        for server in 0..SERVERS {
            self.send_reports(worker, server, &reports);
        }
        if idle {
            self.alive.remove(&worker);
            for server in 0..SERVERS {
                self.cut(worker, server);
            }
            return;
        }
        if self.workers[&worker].leaving {
            // Whoever owns the shard by now may not have heard it.
            self.say_leave(worker);
        }
        self.after(1_000, Event::Repeat(worker));
    }

    /// A clean leave: the worker finishes what it has; another incarnation takes its place.
    pub(super) fn leave(&mut self, worker: Incarnation) {
        self.note(|| format!("LEAVE worker {worker}"));
        self.workers.get_mut(&worker).expect("alive").leaving = true;
        self.say_leave(worker);
        self.give_place_up(worker, 500);
    }

    fn say_leave(&mut self, worker: Incarnation) {
        let held = self.held_by_leaving(worker);
        self.send_leave(worker, &held);
    }

    /// What a worker that leaves says it holds.
    pub(super) fn held_by_leaving(&self, worker: Incarnation) -> Vec<HeldRun> {
        let worker = &self.workers[&worker];
        if self.mutant == Mutant::LeaveForgets { worker.at_work() } else { worker.held() }
    }
}
