//! Servers: their life, their engine, and what they save.

use super::*;

impl World {
    pub(super) fn is_server(&self, number: u64) -> bool {
        self.server.as_ref().is_some_and(|server| server.number == number)
    }

    pub(super) fn crash(&mut self) {
        if self.server.take().is_none() {
            return;
        }
        for worker in self.workers.values_mut() {
            worker.stream = None;
        }
        let delay = if self.faults == Faults::ServerOnly { 1 } else { self.random.between(1, 4_000) };
        self.at(delay, Event::Start);
    }

    pub(super) fn start_server(&mut self) {
        self.servers += 1;
        self.store.epoch = self.servers;
        let mut retries: BTreeMap<u64, SubtaskRetry> = BTreeMap::new();
        for ((index, tries), (at, _)) in &self.store.failures {
            retries.insert(*index, SubtaskRetry { index: *index, tries: *tries, at: *at });
        }
        let start = MapStart {
            run: RunKey::scheduled(JobId::new(1), Timestamp::EPOCH),
            rules: self.plan.rules,
            header: self.store.header.clone(),
            chunks: self.store.chunks.values().cloned().collect(),
            next_batch: self.store.batches.len() as u32,
            next_index: self.store.end(),
            retries: retries.into_values().collect(),
        };
        let engine = MapEngine::new(self.time(), start);
        let counts = (engine.header().done, engine.header().failed);
        self.server = Some(Server {
            number: self.servers,
            engine,
            outputs: Vec::new(),
            failures: Vec::new(),
            batch_ready_at: self.now,
            timer: 0,
            counts,
        });
        let workers: Vec<u64> = self.workers.keys().copied().collect();
        for worker in workers {
            if self.faults == Faults::ServerOnly || self.random.chance(60) {
                self.connect(worker);
            } else {
                let delay = self.random.between(1, 1_500);
                self.at(delay, Event::Connect { worker });
            }
        }
        self.step(MapInput::Tick, None);
    }

    /// One step of the engine, and what the shell does about it. A crash may come between any two effects.
    pub(super) fn step(&mut self, input: MapInput, results: Option<&[SubtaskOutcome]>) {
        let now = self.time();
        let Some(server) = &mut self.server else { return };
        let number = server.number;
        let mut effects = Vec::new();
        server.engine.step(now, input, &mut effects);
        let wake = server.engine.next_wake();
        self.check_counts();
        let servers_fail = matches!(self.faults, Faults::Servers | Faults::ServerOnly | Faults::All);
        for effect in effects {
            if servers_fail && self.now < 1_000_000 + FAULTS_UNTIL && self.random.below(1_000) == 0 {
                self.crash();
                return;
            }
            self.act(number, effect, results);
        }
        if let Some(wake) = wake {
            assert!(wake > now, "seed {}: a wake in the past would spin", self.seed);
            let server = self.server.as_mut().unwrap();
            // One timer: set anew where it is not set, has fired, or would fire too late.
            if server.timer <= self.now || wake.as_millis() < server.timer {
                server.timer = wake.as_millis();
                let delay = wake.millis_since(now) + self.random.between(0, 3);
                self.at(delay, Event::Tick(number));
            }
        }
    }

    pub(super) fn check_counts(&mut self) {
        let Some(server) = &mut self.server else { return };
        let header = server.engine.header();
        let counts = (header.done, header.failed);
        assert!(
            counts.0 >= server.counts.0 && counts.1 >= server.counts.1,
            "seed {}: counts went back",
            self.seed
        );
        assert!(counts.0 + counts.1 <= header.emitted, "seed {}: more settled than emitted", self.seed);
        let by_worker: u64 = header.done_by_worker.values().sum();
        assert_eq!(by_worker, header.done, "seed {}: the workers' counts differ", self.seed);
        server.counts = counts;
        let view = server.engine.view(Timestamp::from_millis(self.now));
        assert_eq!(view.done + view.failed + view.running + view.waiting, view.total, "seed {}", self.seed);
        let in_flight: u64 = view.running_by_worker.values().sum();
        assert!(in_flight >= view.running, "seed {}: {view:?}", self.seed);
    }

    pub(super) fn act(&mut self, number: u64, effect: MapEffect, results: Option<&[SubtaskOutcome]>) {
        match effect {
            MapEffect::StoreBatch { batch_no } => {
                let end = self.batches[batch_no as usize];
                let delay = self.random.between(0, 30);
                let server = self.server.as_mut().unwrap();
                server.batch_ready_at = server.batch_ready_at.max(self.now + delay);
                let delay = server.batch_ready_at - self.now;
                self.at(delay, Event::BatchApplied { server: number, batch_no, end });
            }
            MapEffect::AckEmit { worker, batch_no, error } => {
                if error.is_none() {
                    let last = batch_no as usize + 1 == self.batches.len();
                    assert!(
                        self.store.end() >= self.batches[batch_no as usize],
                        "acknowledged before it was stored"
                    );
                    let phase = self.store.header.as_ref().map(|header| header.phase);
                    assert!(
                        !last || phase.is_some_and(|phase| phase != MapPhase::Splitting),
                        "the end was not durable"
                    );
                } else {
                    assert!(self.aborting, "seed {}: {error:?}", self.seed);
                }
                self.send_down(worker, Down::AckEmit(batch_no, error));
            }
            MapEffect::HandOut { worker, subtasks } => {
                assert!(!subtasks.is_empty());
                for subtask in &subtasks {
                    let HandedOut { index, attempt } = *subtask;
                    assert!(
                        index < self.store.end(),
                        "seed {}: {index} was handed out before it was stored",
                        self.seed
                    );
                    assert!(!self.store.done(index), "seed {}: {index} is durably done", self.seed);
                    assert!(!self.acked.contains(&index), "seed {}: {index} was acknowledged", self.seed);
                    assert!(attempt <= self.plan.rules.max_attempts);
                }
                self.send_down(worker, Down::HandOut(subtasks));
            }
            MapEffect::AskHeld { worker } => self.send_down(worker, Down::AskHeld),
            MapEffect::Count { done, failed } => {
                let results = results.expect("counts follow results");
                let now = Timestamp::from_millis(self.now);
                let server = self.server.as_mut().unwrap();
                if server.engine.header().keep_outputs {
                    server.outputs.extend(done.iter().map(|place| results[*place].index));
                }
                let failed = failed.iter().map(|f| (results[f.place].index, f.attempt, now, f.last));
                server.failures.extend(failed);
            }
            MapEffect::Checkpoint { id, header, chunks } => {
                let server = self.server.as_mut().unwrap();
                let save = Save {
                    id,
                    header: *header,
                    chunks,
                    outputs: std::mem::take(&mut server.outputs),
                    failures: std::mem::take(&mut server.failures),
                };
                let delay = self.random.between(0, 60);
                self.at(delay, Event::SaveApplied { server: number, save: Box::new(save) });
            }
            MapEffect::AckResults { worker, seqs } => self.send_down(worker, Down::AckResults(seqs)),
            MapEffect::SplitDone => {
                let phase = self.store.header.as_ref().map(|header| header.phase);
                assert!(
                    phase.is_some_and(|phase| phase != MapPhase::Splitting),
                    "seed {}: not durable",
                    self.seed
                );
                self.split_done = true;
            }
            MapEffect::StartReduce { worker, plan_no } => {
                let header = self.store.header.as_ref().unwrap();
                assert_eq!(header.phase, MapPhase::Reducing);
                assert!(
                    header.reduce.is_some_and(|at| at.worker == worker && at.plan_no == plan_no),
                    "its place is durable"
                );
                assert_eq!(
                    self.store.outputs.len() as u64,
                    header.done,
                    "seed {}: every output is stored",
                    self.seed
                );
                self.send_down(worker, Down::StartReduce(plan_no));
            }
            MapEffect::AckReduce { worker, seq } => self.send_down(worker, Down::AckReduce(seq)),
            MapEffect::Cancel { worker } => self.send_down(worker, Down::Cancel),
            MapEffect::TakenFrom { subtasks, .. } => assert!(subtasks > 0 && self.faults != Faults::None),
            MapEffect::End(outcome) => {
                assert_eq!(self.store.header.as_ref().map(|header| header.phase), Some(MapPhase::Ended));
                assert_eq!(self.ended, None, "seed {}: it ended twice", self.seed);
                self.ended = Some(outcome);
            }
        }
    }

    pub(super) fn save(&mut self, number: u64, save: Save) {
        // A larger epoch has claimed the map.
        if self.store.epoch != number {
            return;
        }
        self.store.chunks.extend(save.chunks.into_iter().map(|chunk| (chunk.number, chunk)));
        self.store.header = Some(save.header);
        self.store.outputs.extend(save.outputs);
        for (index, attempt, at, last) in save.failures {
            self.store.failures.entry((index, attempt)).or_insert((at, last));
        }
        let delay = self.random.between(0, 20);
        self.at(delay, Event::SaveStored { server: number, id: save.id });
    }
}
