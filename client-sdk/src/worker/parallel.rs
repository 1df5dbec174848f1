//! The worker's side of parallel runs: batches of a split on their way to the store, subtasks taken by credit, outputs for a reduce.

mod emit;
mod pool;
mod reduce;
mod results;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use carillon_proto::v1;
use carillon_proto::v1::worker_message::Message as ToServer;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::spool::LinkId;
use crate::job::{ErasedParallel, JobError};
use crate::run_id::{AttemptKey, RunKey};
pub(crate) use emit::EmitBuffer;
use pool::Pool;
pub(crate) use reduce::ReduceFeed;
use results::Results;

/// How long results, batches and credits are gathered.
const FLUSH_EVERY: Duration = Duration::from_millis(5);

/// Even without news the credits are looked over this often: acknowledgements may be overdue.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long an answer may take before something is sent again, then to every holder.
const RESEND_AFTER: Duration = Duration::from_secs(3);

/// All parallel runs of a worker.
pub(crate) struct Parallel {
    shared: OnceLock<Weak<Shared>>,
    /// By unit number; `None` where the unit is not parallel.
    pools: Vec<Option<Arc<Pool>>>,
    splits: Mutex<HashMap<AttemptKey, Arc<EmitBuffer>>>,
    reduces: Mutex<HashMap<AttemptKey, Arc<ReduceFeed>>>,
    results: Arc<Results>,
    wake: Arc<Notify>,
    credits_due: Mutex<bool>,
}

/// A unit as the parallel side sees it; `job` is there where it has a level 2.
pub(crate) struct LevelTwo {
    pub(crate) handler: String,
    pub(crate) concurrency: usize,
    pub(crate) job: Option<Arc<dyn ErasedParallel>>,
}

/// A split or reduce that is running; it is taken off the books when dropped.
pub(crate) struct Open<T> {
    port: Arc<T>,
    close: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> Open<T> {
    pub(crate) fn port(&self) -> Arc<T> {
        Arc::clone(&self.port)
    }
}

impl<T> Drop for Open<T> {
    fn drop(&mut self) {
        if let Some(close) = self.close.take() {
            close();
        }
    }
}

impl Parallel {
    pub(crate) fn new(units: Vec<LevelTwo>) -> Self {
        let wake = Arc::new(Notify::new());
        let results = Arc::new(Results::new(Arc::clone(&wake)));
        let pools = units
            .into_iter()
            .map(|LevelTwo { handler, concurrency, job }| {
                job.map(|job| Arc::new(Pool::new(handler, concurrency, job, Arc::clone(&results))))
            })
            .collect();
        Self {
            shared: OnceLock::new(),
            pools,
            splits: Mutex::default(),
            reduces: Mutex::default(),
            results,
            wake,
            credits_due: Mutex::new(true),
        }
    }

    /// Ties the knot with the rest of the worker.
    pub(crate) fn attach(&self, shared: &Arc<Shared>) {
        let _ = self.shared.set(Arc::downgrade(shared));
    }

    /// How many places of the unit runs of level 1 hold; level 2 has the others.
    pub(crate) fn set_running(&self, unit: usize, running: usize) {
        if let Some(Some(pool)) = self.pools.get(unit) {
            pool.set_taken(running);
        }
    }

    pub(crate) fn open_split(self: &Arc<Self>, key: AttemptKey, shard: u32) -> Open<EmitBuffer> {
        let port = Arc::new(EmitBuffer::new(key, shard, Arc::clone(&self.wake)));
        lock(&self.splits).insert(key, Arc::clone(&port));
        let parallel = Arc::clone(self);
        let close = move || drop(lock(&parallel.splits).remove(&key));
        Open { port, close: Some(Box::new(close)) }
    }

    pub(crate) fn open_reduce(self: &Arc<Self>, key: AttemptKey, shard: u32) -> Open<ReduceFeed> {
        let port = Arc::new(ReduceFeed::new(key, shard, Arc::clone(&self.wake)));
        lock(&self.reduces).insert(key, Arc::clone(&port));
        self.wake.notify_one();
        let parallel = Arc::clone(self);
        let close = move || drop(lock(&parallel.reduces).remove(&key));
        Open { port, close: Some(Box::new(close)) }
    }

    pub(crate) fn emit_acknowledged(&self, link: LinkId, ack: &v1::EmitAck) {
        let Some(run) = ack.run else { return };
        let key = AttemptKey { run: run.into(), attempt: ack.attempt, reduce: false };
        if let Some(split) = lock(&self.splits).get(&key) {
            self.set_home(split.shard(), link);
            split.acknowledged(ack.batch_no, &ack.error);
        }
    }

    pub(crate) fn subtasks(&self, link: LinkId, batch: v1::Subtasks) {
        let Some(shared) = self.shared.get().and_then(Weak::upgrade) else { return };
        self.set_home(batch.shard, link);
        let pool = self.pools.iter().flatten().find(|pool| pool.handler() == batch.handler);
        match pool {
            Some(pool) => pool.take(&shared, batch),
            None => {
                self.results.refuse(&batch, &JobError::new(crate::job::Verdict::Failed, "unknown handler"))
            }
        }
    }

    pub(crate) fn results_acknowledged(&self, seqs: &[u64]) {
        self.results.acknowledged(seqs);
    }

    pub(crate) fn reduce_input(&self, input: v1::ReduceInput) {
        let Some(run) = input.run else { return };
        let key = AttemptKey { run: run.into(), attempt: input.attempt, reduce: true };
        if let Some(reduce) = lock(&self.reduces).get(&key) {
            reduce.arrived(input);
        }
    }

    /// Which subtasks of a run are queued, in work, or finished and not acknowledged.
    pub(crate) fn held(&self, ask: &v1::AskHeld) -> v1::SubtasksHeld {
        let mut held = Vec::new();
        if let Some(run) = ask.run {
            let key = AttemptKey { run: run.into(), attempt: ask.attempt, reduce: false };
            // In this order: a subtask that finishes meanwhile is named twice, not left out.
            held.extend(self.pools.iter().flatten().flat_map(|pool| pool.held(key)));
            held.extend(self.results.held(key));
        }
        let held = held.into_iter().map(|(index, attempt)| v1::HeldSubtask { index, attempt }).collect();
        v1::SubtasksHeld { run: ask.run, attempt: ask.attempt, shard: ask.shard, held }
    }

    /// A run is cancelled: its subtasks here stop, and those that wait are dropped.
    pub(crate) fn cancel(&self, cancel: &v1::Cancel) {
        let Some(run) = cancel.run.map(RunKey::from) else { return };
        for pool in self.pools.iter().flatten() {
            pool.cancel(run, cancel.attempt);
        }
    }

    /// Takes no more subtasks.
    pub(crate) fn drain(&self) {
        for pool in self.pools.iter().flatten() {
            pool.drain();
        }
        self.link_changed();
    }

    /// Whether no subtask waits or runs and every result is acknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        self.pools.iter().flatten().all(|pool| pool.is_idle()) && self.results.is_empty()
    }

    /// A stream opened or ended: credits are told anew, and what was sent to an ended stream is sent again.
    pub(crate) fn link_changed(&self) {
        *lock(&self.credits_due) = true;
        self.results.resend();
        for split in lock(&self.splits).values() {
            split.resend();
        }
        for reduce in lock(&self.reduces).values() {
            reduce.ask_again();
        }
        self.wake.notify_one();
    }

    fn set_home(&self, shard: u32, link: LinkId) {
        if let Some(shared) = self.shared.get().and_then(Weak::upgrade) {
            shared.links.set_home(shard, link);
        }
    }

    /// Sends what has gathered until told to stop; owned by the worker, which waits for it.
    pub(crate) async fn run(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => break,
            }
            self.flush(Instant::now());
            tokio::select! {
                () = tokio::time::sleep(FLUSH_EVERY) => {}
                () = stop.cancelled() => break,
            }
        }
        for pool in self.pools.iter().flatten() {
            pool.stop();
        }
    }

    fn flush(&self, now: Instant) {
        let Some(shared) = self.shared.get().and_then(Weak::upgrade) else { return };
        if shared.links.is_empty() {
            return;
        }
        for (message, again) in self.results.to_send(now) {
            let (seq, shard) = (message.seq, message.shard);
            let message = ToServer::Results(message);
            let sent =
                if again { shared.links.send_all(&message) } else { shared.links.send_home(shard, message) };
            if !sent {
                self.results.not_sent(seq);
            }
        }
        let splits: Vec<_> = lock(&self.splits).values().cloned().collect();
        for split in splits {
            split.send(now, |message, again| match again {
                true => shared.links.send_all(&ToServer::Emit(message)),
                false => shared.links.send_home(split.shard(), ToServer::Emit(message)),
            });
        }
        let reduces: Vec<_> = lock(&self.reduces).values().cloned().collect();
        for reduce in reduces {
            if let Some((credit, again)) = reduce.credit(now) {
                let message = ToServer::ReduceCredit(credit);
                if again {
                    shared.links.send_all(&message);
                } else {
                    shared.links.send_home(reduce.shard(), message);
                }
            }
        }
        let all = std::mem::take(&mut *lock(&self.credits_due));
        let held_back = self.results.is_full();
        for pool in self.pools.iter().flatten() {
            if let Some(free) = pool.credit(now, all, held_back) {
                let credit = v1::SubtaskCredit { handler: pool.handler().to_owned(), free };
                shared.links.send_all(&ToServer::Credit(credit));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
