//! Streams between workers and the server, and what goes over them.

use super::*;

impl World {
    pub(super) fn connect(&mut self, number: u64) {
        let Some(server) = self.server.as_ref().map(|server| server.number) else { return };
        let worker = self.workers.get_mut(&number).unwrap();
        if !worker.alive || worker.stream.is_some() {
            return;
        }
        self.streams += 1;
        worker.stream = Some(self.streams);
        (worker.sent_until, worker.received_until) = (self.now, self.now);
        let leaving = worker.leaving;
        let info = MapWorker {
            worker: Incarnation::new(number),
            name: format!("worker-{number}"),
            concurrency: worker.concurrency,
            reduces: self.plan.reduces,
        };
        self.step(MapInput::WorkerJoined(info), None);
        if !self.is_server(server) {
            return;
        }
        if leaving {
            self.step(MapInput::WorkerLeft(Incarnation::new(number)), None);
        }
        if number == SPLITTER {
            self.emit_sent = self.emit_acked.map_or(0, |acked| acked + 1);
            self.emit();
        }
        self.resend(number);
        self.send_credit(number);
        self.at(1_000, Event::Repeat { worker: number });
    }

    pub(super) fn disconnect(&mut self, number: u64) {
        if self.workers.get_mut(&number).unwrap().stream.take().is_some() {
            self.step(MapInput::WorkerDisconnected(Incarnation::new(number)), None);
        }
    }

    pub(super) fn send_down(&mut self, to: Incarnation, message: Down) {
        let delay = self.random.between(0, 8);
        let Some(worker) = self.workers.get_mut(&to.get()) else { return };
        let Some(stream) = worker.stream else { return };
        worker.received_until = worker.received_until.max(self.now + delay);
        let delay = worker.received_until - self.now;
        self.at(delay, Event::Down { to: to.get(), stream, message });
    }

    pub(super) fn send_up(&mut self, from: u64, message: Up) {
        let delay = self.random.between(0, 8);
        let Some(server) = self.server.as_ref().map(|server| server.number) else { return };
        let worker = self.workers.get_mut(&from).unwrap();
        let Some(stream) = worker.stream else { return };
        worker.sent_until = worker.sent_until.max(self.now + delay);
        let delay = worker.sent_until - self.now;
        self.at(delay, Event::Up { from, stream, server, message });
    }

    pub(super) fn up(&mut self, from: u64, message: Up) {
        let worker = Incarnation::new(from);
        match message {
            Up::Emit { batch_no } => {
                let first_index = batch_no.checked_sub(1).map_or(0, |before| self.batches[before as usize]);
                let count = self.batches[batch_no as usize] - first_index;
                let last = batch_no as usize + 1 == self.batches.len();
                self.step(MapInput::Emitted { worker, batch_no, first_index, count, last }, None);
            }
            Up::Credit(free) => self.step(MapInput::Credit { free: vec![(worker, free)] }, None),
            Up::Results(seq, results) => {
                self.step(MapInput::Results { worker, seq, results: results.clone() }, Some(&results));
            }
            Up::Held(held) => self.step(MapInput::Held { worker, held }, None),
            Up::Reduce(plan_no, seq, news) => {
                self.step(MapInput::Reduce { worker, plan_no, seq, news }, None)
            }
        }
    }
}
