//! What goes wrong, and how it is healed.

use carillon_core::ids::Incarnation;
use rand::RngExt;

use super::{Cut, Event, Mode, SERVERS, WORKERS, World};

impl World {
    pub(super) fn trouble(&mut self) {
        if self.healed {
            return;
        }
        let wait = self.rng.random_range(200..7_000);
        self.after(wait, Event::Trouble);
        let server = self.rng.random_range(0..SERVERS);
        let workers: Vec<Incarnation> = self.places.iter().flatten().copied().collect();
        let worker = workers.get(self.rng.random_range(0..WORKERS)).copied();
        match (self.rng.random_range(0..15), worker) {
            (0, _) if self.servers[server].up => {
                self.crash(server);
                let wait = self.rng.random_range(300..15_000);
                self.after(wait, Event::Start(server));
            }
            (1 | 2, _) if self.servers[server].up && !self.servers[server].paused => {
                let pause = self.rng.random_range(100..12_000);
                self.pause(server);
                self.after(pause, Event::Resume(self.process(server)));
            }
            (3, Some(worker)) => self.kill_worker(worker),
            (4, Some(worker)) => self.leave(worker),
            (5 | 6, Some(worker)) => {
                let lasts = self.rng.random_range(100..9_000);
                self.cuts.insert(Cut::Worker(worker, server));
                self.cut(worker, server);
                self.after(lasts, Event::Mend(Cut::Worker(worker, server)));
                self.after(lasts + 1, Event::Connect(worker, server));
            }
            // It is cut off from everybody, and may leave meanwhile: what it did it tells only when it is back.
            (13, Some(worker)) => {
                let lasts = self.rng.random_range(500..6_000);
                for server in 0..SERVERS {
                    self.cuts.insert(Cut::Worker(worker, server));
                    self.cut(worker, server);
                    self.after(lasts, Event::Mend(Cut::Worker(worker, server)));
                    self.after(lasts + 1, Event::Connect(worker, server));
                }
                if self.rng.random_bool(0.5) {
                    self.leave(worker);
                }
            }
            (7, _) if !self.store_down => {
                self.store_down = true;
                let wait = self.rng.random_range(100..35_000);
                self.after(wait, Event::StoreBack);
            }
            (8, _) => {
                let one_way = self.rng.random_bool(0.5);
                self.cut_for_a_while(Cut::Store(server, one_way), 30_000);
            }
            (9, _) => self.cut_for_a_while(Cut::Coordinator(server), 20_000),
            // The coordinator takes the lock away for no reason.
            (10, _) => self.coordinator.lose_lock(),
            (11 | 12, _) => {
                let other = (server + self.rng.random_range(1..SERVERS)) % SERVERS;
                self.cut_for_a_while(Cut::Peer(server, other), 15_000);
                if self.rng.random_bool(0.5) {
                    self.cut_for_a_while(Cut::Peer(other, server), 15_000);
                }
            }
            // The store's primary is lost with the commits that its replica has not seen.
            (14, _) if !self.store_down => {
                self.replica = Some(Box::new(self.store.clone()));
                let lag = self.rng.random_range(1..40);
                self.after(lag, Event::Failover);
            }
            _ => {}
        }
    }

    fn cut_for_a_while(&mut self, cut: Cut, most: u64) {
        let lasts = self.rng.random_range(100..most);
        if self.cuts.insert(cut) {
            self.note(|| format!("CUT {cut:?} for {lasts} ms"));
            self.after(lasts, Event::Mend(cut));
        }
    }

    pub(super) fn kill_owner(&mut self) {
        if let Some(owner) = self.store.owner {
            self.killed_at = Some(self.now);
            self.crash(owner);
        }
    }

    /// Everything works again; in the liveness mode everything that one server needs, and others stay broken for good.
    pub(super) fn heal(&mut self) {
        self.note(|| "HEAL".to_owned());
        self.healed = true;
        self.store_down = false;
        self.replica = None;
        self.cuts.clear();
        for server in 0..SERVERS {
            self.after(0, Event::Resume(self.process(server)));
            self.after(300, Event::Start(server));
        }
        if self.mode == Mode::Liveness {
            let core = self.rng.random_range(0..SERVERS);
            for server in (0..SERVERS).filter(|server| *server != core) {
                self.break_for_good(server, core);
            }
        }
        for worker in self.alive.clone() {
            for server in 0..SERVERS {
                self.after(1, Event::Connect(worker, server));
            }
        }
        let judged_after = if self.mode == Mode::Liveness { 45_000 } else { 10_000 };
        self.after(judged_after, Event::Judge);
    }

    /// Breaks a server in a way that leaves `core` all it needs. What the protocol cannot see through is left out: an owner that plans but
    /// reaches neither a worker nor the holder that does.
    fn break_for_good(&mut self, server: usize, core: usize) {
        let what = self.rng.random_range(0..8);
        self.note(|| format!("BREAK server {server} for good, kind {what}; core {core}"));
        match what {
            0 => {
                if self.servers[server].up {
                    self.crash(server);
                }
                self.drop_start(server);
            }
            1 if self.servers[server].up => {
                self.drop_resume(server);
                self.pause(server);
            }
            2 => _ = self.cuts.insert(Cut::Store(server, false)),
            3 => _ = self.cuts.insert(Cut::Store(server, true)),
            4 => _ = self.cuts.insert(Cut::Coordinator(server)),
            5 => {
                self.cuts.insert(Cut::Peer(server, core));
                if self.rng.random_bool(0.5) {
                    self.cuts.insert(Cut::Peer(core, server));
                }
            }
            6 => {
                for worker in self.alive.clone() {
                    self.cuts.insert(Cut::Worker(worker, server));
                    self.cut(worker, server);
                }
            }
            // It sees the coordinator only, and holds the lock if it had it.
            _ => {
                self.cuts.insert(Cut::Store(server, self.rng.random_bool(0.5)));
                self.cuts.insert(Cut::Peer(server, core));
                self.cuts.insert(Cut::Peer(core, server));
            }
        }
    }

    fn drop_start(&mut self, server: usize) {
        self.agenda.drop_those(|event| matches!(event, Event::Start(of) if *of == server));
    }

    fn drop_resume(&mut self, server: usize) {
        self.agenda.drop_those(|event| matches!(event, Event::Resume(of) if of.server == server));
    }
}
