//! Workers: their splitting, their subtasks, their reduce.

use super::*;

impl World {
    pub(super) fn spawn(&mut self) {
        let number = self.workers.len() as u64 + 1;
        let concurrency = self.random.below(8) as u32 + 1;
        self.workers.insert(
            number,
            Worker {
                stream: None,
                alive: true,
                leaving: false,
                concurrency,
                queue: VecDeque::new(),
                running: BTreeSet::new(),
                unacked: BTreeMap::new(),
                gathered: Vec::new(),
                next_seq: 1,
                reduce: None,
                sent_until: 0,
                received_until: 0,
            },
        );
        self.connect(number);
    }

    pub(super) fn down(&mut self, to: u64, message: Down) {
        match message {
            Down::AckEmit(batch_no, None) => {
                self.emit_acked = self.emit_acked.max(Some(batch_no));
                self.emit();
            }
            Down::AckEmit(_, Some(_)) => self.emit_stopped = true,
            Down::HandOut(subtasks) => {
                let worker = self.workers.get_mut(&to).unwrap();
                worker.queue.extend(subtasks.iter().map(|subtask| (subtask.index, subtask.attempt)));
                self.start_queued(to);
            }
            Down::AskHeld => {
                let worker = &self.workers[&to];
                let unacked = worker.unacked.values().flatten().chain(&worker.gathered);
                let held = worker.queue.iter().copied();
                let held = held.chain(worker.running.iter().copied());
                let held = held.chain(unacked.map(|result| (result.index, result.attempt))).collect();
                self.send_up(to, Up::Held(held));
            }
            Down::AckResults(seqs) => {
                let worker = self.workers.get_mut(&to).unwrap();
                for seq in seqs {
                    for result in worker.unacked.remove(&seq).into_iter().flatten() {
                        // A failed try that came too late to count is acknowledged as well, and its number used again.
                        if result.kind == OutcomeKind::Done {
                            self.acked.insert(result.index);
                        }
                        let settled = self.store.done(result.index) || self.store.failed(result.index);
                        let failed = self.store.failures.contains_key(&(result.index, result.attempt));
                        let late = result.kind != OutcomeKind::Done;
                        let durable = settled || failed || late || self.aborting;
                        assert!(durable, "seed {}: {result:?} acknowledged before it was durable", self.seed);
                    }
                }
            }
            Down::StartReduce(plan_no) => self.start_reduce(to, plan_no),
            Down::AckReduce(seq) => {
                if let Some(reduce) = &mut self.workers.get_mut(&to).unwrap().reduce {
                    reduce.acked = reduce.seq <= seq;
                }
            }
            Down::Cancel => {
                let worker = self.workers.get_mut(&to).unwrap();
                worker.queue.clear();
                worker.running.clear();
            }
        }
    }

    pub(super) fn start_queued(&mut self, number: u64) {
        loop {
            let worker = self.workers.get_mut(&number).unwrap();
            if worker.running.len() >= worker.concurrency as usize {
                return;
            }
            let Some((index, attempt)) = worker.queue.pop_front() else { return };
            if !worker.running.insert((index, attempt)) {
                continue;
            }
            *self.executions.entry((index, attempt)).or_default() += 1;
            if self.plan.hangs == Some(index) && !self.hung {
                self.hung = true;
                continue;
            }
            let delay = self.random.between(0, self.plan.longest);
            self.at(delay, Event::Finish { worker: number, index, attempt });
        }
    }

    pub(super) fn finish(&mut self, number: u64, index: u64, attempt: u32) {
        let worker = self.workers.get_mut(&number).unwrap();
        if !worker.alive {
            return;
        }
        if !worker.running.remove(&(index, attempt)) {
            return;
        }
        if worker.gathered.is_empty() {
            let delay = self.random.between(0, 20);
            self.at(delay, Event::Gathered { worker: number });
        }
        let kind = self.plan.outcome(index, attempt);
        self.workers.get_mut(&number).unwrap().gathered.push(SubtaskOutcome { index, attempt, kind });
        self.start_queued(number);
        self.send_credit(number);
    }

    pub(super) fn send_results(&mut self, number: u64) {
        let worker = self.workers.get_mut(&number).unwrap();
        let results = std::mem::take(&mut worker.gathered);
        let seq = worker.next_seq;
        worker.next_seq += 1;
        worker.unacked.insert(seq, results.clone());
        self.send_up(number, Up::Results(seq, results));
    }

    pub(super) fn send_credit(&mut self, number: u64) {
        let worker = &self.workers[&number];
        let busy = worker.queue.len() + worker.running.len();
        let free = (4 * worker.concurrency as usize).saturating_sub(busy) as u32;
        self.send_up(number, Up::Credit(free));
    }

    pub(super) fn repeat(&mut self, number: u64) {
        let worker = &self.workers[&number];
        if worker.stream.is_none() || !worker.alive {
            return;
        }
        self.resend(number);
        self.send_credit(number);
        if number == SPLITTER {
            self.emit_sent = self.emit_acked.map_or(0, |acked| acked + 1);
            self.emit();
        }
        self.at(1_000, Event::Repeat { worker: number });
    }

    pub(super) fn resend(&mut self, number: u64) {
        let unacked = self.workers[&number].unacked.clone();
        for (seq, results) in unacked {
            self.send_up(number, Up::Results(seq, results));
        }
        if let Some(reduce) = self.workers[&number].reduce.clone().filter(|reduce| !reduce.acked) {
            self.send_up(number, Up::Reduce(reduce.plan_no, reduce.seq, reduce.news));
        }
    }

    pub(super) fn emit(&mut self) {
        let window = self.emit_acked.map_or(0, |acked| acked + 1) + 4;
        while self.emit_sent < window.min(self.batches.len() as u32) && !self.emit_stopped {
            let batch_no = self.emit_sent;
            self.emit_sent += 1;
            self.send_up(SPLITTER, Up::Emit { batch_no });
        }
    }

    pub(super) fn start_reduce(&mut self, number: u64, plan_no: PlanNo) {
        let refuses = self.random.chance(20);
        let worker = self.workers.get_mut(&number).unwrap();
        // A repeated Arm is answered with the state.
        if let Some(known) = worker.reduce.clone().filter(|known| known.plan_no >= plan_no) {
            self.send_up(number, Up::Reduce(known.plan_no, known.seq, known.news));
            return;
        }
        let seq = worker.next_seq;
        worker.next_seq += 1;
        let refused = ReduceNews::Refused(Reason::new(ReasonCode::Busy, "full"));
        let refuses = refuses || worker.leaving;
        let news = if refuses { refused } else { ReduceNews::Taken };
        worker.reduce = Some(SimReduce { plan_no, seq, news: news.clone(), acked: false });
        self.send_up(number, Up::Reduce(plan_no, seq, news));
        if refuses {
            return;
        }
        let delay = self.random.between(0, 3_000);
        self.at(delay, Event::ReduceFinish { worker: number, plan_no });
    }

    pub(super) fn reduce_finish(&mut self, number: u64, plan_no: PlanNo) {
        let worker = self.workers.get_mut(&number).unwrap();
        let seq = worker.next_seq;
        worker.next_seq += 1;
        if !worker.alive || worker.reduce.as_ref().is_none_or(|known| known.plan_no != plan_no) {
            return;
        }
        let news = ReduceNews::Succeeded(Some(serde_json::json!("reduced")));
        worker.reduce = Some(SimReduce { plan_no, seq, news: news.clone(), acked: false });
        self.send_up(number, Up::Reduce(plan_no, seq, news));
    }
}
