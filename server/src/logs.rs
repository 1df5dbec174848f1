//! Run logs from workers: gathered over all workers, stored, then acknowledged.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use carillon_core::ids::{AttemptNo, GroupId, Incarnation, JobId, RunKey, ShardId};
use carillon_proto::v1::{LogAck, ServerMessage, server_message::Message};
use carillon_store::SharedStore;
use carillon_store::logs::LogChunk;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::switchboard::Switchboard;

/// Chunks that wait for the store. A full queue drops what comes: the worker was not told that it is stored and says it again.
const QUEUE: usize = 4_096;

/// Chunks of one transaction.
const BATCH: usize = 512;

/// Bytes of one transaction.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// How long chunks are gathered: a log is read by people.
const GATHER: Duration = Duration::from_millis(20);

/// Runs and jobs remembered, to log a refusal once and to look a job's group up once.
const REMEMBERED: usize = 10_000;

/// How long the store is tried before a batch is given up unacknowledged.
const PATIENCE: Duration = Duration::from_secs(10);

/// A chunk on its way.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) from: Incarnation,
    pub(crate) group: GroupId,
    pub(crate) seq: u64,
    /// For the log of a parallel run, which many workers write: the shard whose owner numbers its chunks.
    pub(crate) shared: Option<ShardId>,
    pub(crate) chunk: LogChunk,
}

/// Where streams hand log chunks in.
#[derive(Debug, Clone)]
pub(crate) struct Logs {
    sender: mpsc::Sender<Incoming>,
}

impl Logs {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Incoming>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { sender }, receiver)
    }

    /// Queues a chunk, or drops it where the queue is full: logs never hold up reports.
    pub(crate) fn take(&self, incoming: Incoming) {
        if self.sender.try_send(incoming).is_err() {
            tracing::debug!("a log chunk is dropped, since the store is behind; its worker will repeat it");
        }
    }
}

/// The loop "logs".
pub(crate) struct LogWriter {
    pub(crate) store: SharedStore,
    pub(crate) switchboard: Arc<Switchboard>,
    pub(crate) metrics: Metrics,
    pub(crate) receiver: mpsc::Receiver<Incoming>,
    /// The most bytes kept of an attempt.
    pub(crate) limit: u64,
    pub(crate) groups: HashMap<JobId, Option<GroupId>>,
    pub(crate) refused: HashSet<RunKey>,
    pub(crate) shared: HashMap<(RunKey, AttemptNo), SharedLog>,
}

/// A log that many workers write.
#[derive(Debug)]
pub(crate) struct SharedLog {
    length: u64,
    /// The chunk that each worker is to say next.
    next: HashMap<Incarnation, u32>,
}

impl LogWriter {
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                first = self.receiver.recv() => first,
                () = stop.cancelled() => None,
            };
            let Some(first) = first else { return };
            let mut bytes = first.chunk.text.len();
            let mut batch = vec![first];
            let until = Instant::now() + GATHER;
            while batch.len() < BATCH && bytes < BATCH_BYTES {
                let Ok(Some(next)) = tokio::time::timeout_at(until, self.receiver.recv()).await else {
                    break;
                };
                bytes += next.chunk.text.len();
                batch.push(next);
            }
            self.write(batch).await;
        }
    }

    async fn write(&mut self, batch: Vec<Incoming>) {
        let mut acks: HashMap<Incarnation, Vec<u64>> = HashMap::new();
        let mut chunks = Vec::with_capacity(batch.len());
        for Incoming { from, group, seq, shared, mut chunk } in batch {
            if let Some(shard) = shared {
                let owned = self.switchboard.shard(shard).is_some_and(|handle| handle.view().epoch.is_some());
                if !owned {
                    // The owner numbers it, stores it and acknowledges it.
                    continue;
                }
                match self.number(from, &mut chunk).await {
                    Numbered::Next => {}
                    Numbered::Known => {
                        acks.entry(from).or_default().push(seq);
                        continue;
                    }
                    Numbered::Unknown => continue,
                }
            }
            acks.entry(from).or_default().push(seq);
            if self.is_taken(group, &chunk).await {
                chunks.push(chunk);
            }
        }
        if !chunks.is_empty() && !self.append(&chunks).await {
            return;
        }
        for (worker, seqs) in acks {
            let ack = ServerMessage { message: Some(Message::LogAck(LogAck { seqs })) };
            self.switchboard.send(worker, ack);
        }
    }

    /// Gives a chunk of a shared log its place: offsets double as numbers, since they grow with every chunk and stay below 2^32.
    async fn number(&mut self, from: Incarnation, chunk: &mut LogChunk) -> Numbered {
        let log = (chunk.run, chunk.attempt);
        if !self.shared.contains_key(&log) {
            let Ok((_, length)) = self.store.read_log(chunk.run, chunk.attempt, 0, 0).await else {
                return Numbered::Unknown;
            };
            if self.shared.len() >= REMEMBERED {
                self.shared.clear();
            }
            self.shared.insert(log, SharedLog { length, next: HashMap::new() });
        }
        let Some(shared) = self.shared.get_mut(&log) else { return Numbered::Unknown };
        // After a change of owner a worker's count begins with what it says first.
        let next = shared.next.entry(from).or_insert(chunk.chunk_no);
        if chunk.chunk_no < *next {
            return Numbered::Known;
        }
        *next = chunk.chunk_no + 1;
        (chunk.chunk_no, chunk.offset) = (shared.length as u32, shared.length);
        shared.length = shared.length.saturating_add(chunk.text.len() as u64).min(self.limit + 1);
        Numbered::Next
    }

    /// Whether a chunk is stored. One that is not is acknowledged all the same, since saying it again would not help.
    async fn is_taken(&mut self, group: GroupId, chunk: &LogChunk) -> bool {
        if chunk.offset.saturating_add(chunk.text.len() as u64) > self.limit {
            self.refuse(chunk.run, "its log is longer than logs are kept");
            return false;
        }
        if self.group_of(chunk.run.job).await != Some(group) {
            self.refuse(chunk.run, "it is not a run of the worker's task group");
            return false;
        }
        true
    }

    fn refuse(&mut self, run: RunKey, why: &'static str) {
        if self.refused.len() >= REMEMBERED {
            self.refused.clear();
        }
        if self.refused.insert(run) {
            tracing::warn!(%run, job = %run.job, why, "lines of the run's log are not stored");
        }
    }

    async fn group_of(&mut self, job: JobId) -> Option<GroupId> {
        if let Some(known) = self.groups.get(&job) {
            return *known;
        }
        let found = self.store.job(job).await;
        let Ok(found) = found else { return None };
        let group = found.map(|job| job.spec.group);
        if self.groups.len() >= REMEMBERED {
            self.groups.clear();
        }
        // A job that is not there may be created later under the same id; only what exists is remembered.
        if group.is_some() {
            self.groups.insert(job, group);
        }
        group
    }

    async fn append(&self, chunks: &[LogChunk]) -> bool {
        let give_up = Instant::now() + PATIENCE;
        let mut wait = Duration::from_millis(50);
        loop {
            let since = Instant::now();
            match self.store.append_logs(chunks).await {
                Ok(()) => {
                    self.metrics.query("append_logs", since.elapsed(), chunks.len());
                    return true;
                }
                Err(error) if error.is_retryable() && Instant::now() < give_up => {
                    self.metrics.store_failures.inc();
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(1));
                }
                Err(error) => {
                    self.metrics.store_failures.inc();
                    tracing::warn!(chunks = chunks.len(), error = %crate::chain(&error), "run logs could not be stored; their workers will repeat them");
                    return false;
                }
            }
        }
    }
}

/// What became of a shared log's chunk.
enum Numbered {
    /// It has its place.
    Next,
    /// It was stored before.
    Known,
    /// The log's length could not be read; the worker will say it again.
    Unknown,
}
