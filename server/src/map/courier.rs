//! Sends subtasks to workers, with payloads from the window or the store, in the order they were handed out.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use carillon_core::ids::{AttemptNo, Incarnation};
use carillon_core::parallel::HandedOut;
use carillon_proto::v1::{self, server_message::Message as ToWorker};
use carillon_store::subtasks::SubtaskBatch;
use tokio::sync::mpsc;

use super::driver::MapJob;
use super::window::{Window, subtask};
use super::writer::persist;
use super::{Shared, lock};

/// Bytes of payloads in one message: a quarter of what gRPC takes by default.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// How far beyond what is wanted is read at a time: four batches of an ordinary split.
const READ_AHEAD: u64 = 8_000;

/// What is to be sent.
#[derive(Debug)]
pub(super) enum Dispatch {
    HandOut { worker: Incarnation, subtasks: Vec<HandedOut>, keep_outputs: bool },
    AskHeld { worker: Incarnation },
}

/// See the module. It ends with its driver.
pub(super) struct Courier {
    job: Arc<MapJob>,
    /// Whose split the payloads are.
    data_attempt: AttemptNo,
    shared: Shared,
    window: Arc<Mutex<Window>>,
    /// Everything below was handed out once.
    reached: u64,
}

impl Courier {
    pub(super) fn new(
        job: Arc<MapJob>,
        data_attempt: AttemptNo,
        shared: Shared,
        window: Arc<Mutex<Window>>,
    ) -> Self {
        Self { job, data_attempt, shared, window, reached: 0 }
    }

    pub(super) async fn run(mut self, mut dispatches: mpsc::UnboundedReceiver<Dispatch>) {
        while let Some(dispatch) = dispatches.recv().await {
            match dispatch {
                Dispatch::HandOut { worker, subtasks, keep_outputs } => {
                    self.hand_out(worker, &subtasks, keep_outputs).await;
                }
                Dispatch::AskHeld { worker } => {
                    let ask = v1::AskHeld {
                        run: Some(self.job.run_ref()),
                        attempt: self.job.attempt.get(),
                        shard: u32::from(self.job.shard.index()),
                    };
                    self.shared.wire.send(worker, ToWorker::AskHeld(ask));
                }
            }
        }
    }

    async fn hand_out(&mut self, worker: Incarnation, subtasks: &[HandedOut], keep_outputs: bool) {
        let mut message = Vec::with_capacity(subtasks.len());
        let mut bytes = 0;
        let mut batch: Option<Arc<SubtaskBatch>> = None;
        for handed in subtasks {
            let known = batch.as_ref().filter(|batch| subtask(batch, handed.index).is_some());
            if known.is_none() {
                batch = self.batch_of(handed.index).await;
            }
            let Some(found) = batch.as_ref().and_then(|batch| subtask(batch, handed.index)) else {
                tracing::error!(run = %self.job.run, attempt = %self.job.attempt, index = handed.index, "a stored subtask cannot be found; its run stands still");
                continue;
            };
            bytes += found.payload.len() + found.key.len();
            message.push(v1::Subtask {
                index: handed.index,
                attempt: handed.attempt,
                key: found.key.clone(),
                payload: Bytes::copy_from_slice(&found.payload),
            });
            if bytes >= MESSAGE_BYTES {
                bytes = 0;
                self.send(worker, std::mem::take(&mut message), keep_outputs);
            }
            self.reached = self.reached.max(handed.index);
        }
        self.send(worker, message, keep_outputs);
        lock(&self.window).drop_below(self.reached);
    }

    fn send(&self, worker: Incarnation, subtasks: Vec<v1::Subtask>, keep_outputs: bool) {
        if subtasks.is_empty() {
            return;
        }
        let job = &self.job;
        let spec = &job.in_force.job.spec;
        let message = v1::Subtasks {
            run: Some(job.run_ref()),
            attempt: job.attempt.get(),
            shard: u32::from(job.shard.index()),
            handler: spec.handler.clone(),
            params: job.params.clone(),
            trace_id: job.trace_id.clone(),
            epoch: job.epoch.get(),
            timeout_ms: spec.parallel.timeout.map_or(0, |timeout| timeout.as_millis()),
            subtasks,
            job_name: spec.name.clone(),
            keep_outputs,
        };
        // Where the stream is gone, the engine hears of it and gives the subtasks to others.
        self.shared.wire.send(worker, ToWorker::Subtasks(message));
    }

    async fn batch_of(&self, index: u64) -> Option<Arc<SubtaskBatch>> {
        if let Some(batch) = lock(&self.window).batch_of(index) {
            return Some(batch);
        }
        // New subtasks are handed out in order, so the next ones are wanted soon; one that is tried again is wanted alone.
        let count = if index >= self.reached { READ_AHEAD } else { 1 };
        let (job, store) = (&self.job, &self.shared.store);
        let read = || store.batches(job.run, self.data_attempt, index, count);
        let batches = persist(job, "read subtasks", read).await.ok()?;
        let mut window = lock(&self.window);
        let mut found = None;
        for batch in batches.into_iter().rev() {
            let batch = Arc::new(batch);
            if subtask(&batch, index).is_some() {
                found = Some(Arc::clone(&batch));
            }
            window.put(batch);
        }
        found
    }
}
