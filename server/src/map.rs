//! Parallel runs: the two-level map, driven by the owner of the run's shard.
//!
//! [`MapHub`] is the one handle the rest of the server has on it. The shard loop forwards the engine's `MapOpen` and `MapAbort`; the worker
//! gateway forwards what workers say about subtasks, and when they come and go. None of these calls waits: each map has a task of its own
//! ([`driver`]) with bounded queues; what does not fit is dropped, and its sender repeats it because it was not acknowledged.
//!
//! What is decided about a map is decided by [`carillon_core::parallel::MapEngine`]. The files here store (`writer`), send payloads
//! (`courier`, `window`), feed the reduce (`feed`), and read a map again after a takeover (`resume`).

mod courier;
mod driver;
mod early;
mod feed;
mod resume;
mod roster;
#[cfg(test)]
mod tests;
mod window;
mod wire;
mod writer;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use carillon_core::engine::JobInForce;
use carillon_core::ids::{AttemptNo, Epoch, GroupId, Incarnation, RunKey, ShardId};
use carillon_core::parallel::{MapPhase, MapView};
use carillon_core::run::Run;
use carillon_proto::v1::{self, server_message::Message as ToWorker};
use carillon_store::{SharedStore, StoreError};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use crate::clock::Clock;
use crate::rpc::convert::{self, BadField};
use driver::{Control, Driver, Ending, MapJob, Said};
use early::Early;
pub(crate) use roster::Peer;
use roster::Roster;
pub(crate) use wire::Wire;

/// Messages of workers that wait for one map. A worker keeps at most 8 batches and 200 result messages unacknowledged, so this holds what
/// dozens of busy workers have under way; what does not fit comes again.
const SAID: usize = 4_096;

/// Ended attempts that are remembered, so that late messages about them are answered at once.
const ENDED: usize = 10_000;

/// Look-ups of attempts nobody here knows, at a time.
const LOOKUPS: usize = 32;

/// The same unknown attempt is looked up no more often than this.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(5);

/// One attempt of a run.
type MapKey = (RunKey, AttemptNo);

/// Which worker says something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct From {
    pub(crate) incarnation: Incarnation,
    pub(crate) group: GroupId,
}

/// The maps of the parallel runs whose shards are owned here.
pub(crate) struct MapHub {
    shared: Shared,
    inner: Arc<Mutex<Inner>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What every map of a server shares.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: SharedStore,
    pub(crate) clock: Clock,
    pub(crate) wire: Arc<dyn Wire>,
    pub(crate) roster: Arc<Roster>,
}

#[derive(Default)]
struct Inner {
    maps: HashMap<MapKey, Handle>,
    early: Early,
    ended: HashMap<MapKey, Ended>,
    ended_order: VecDeque<MapKey>,
    lookups: HashMap<MapKey, Instant>,
}

/// How an attempt ended, for those who still talk of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// By itself.
    Complete,
    /// It was aborted, so a split that still runs must stop.
    Aborted,
}

/// A map as the hub sees it.
struct Handle {
    job: Arc<MapJob>,
    control: mpsc::UnboundedSender<Control>,
    said: mpsc::Sender<Said>,
    wake: Arc<Notify>,
    view: Arc<Mutex<Option<MapView>>>,
    stop: CancellationToken,
}

impl MapHub {
    /// A hub without maps. Their tasks end when `stop` is cancelled; [`close`](Self::close) waits for them.
    pub(crate) fn new(
        store: SharedStore,
        clock: Clock,
        wire: Arc<dyn Wire>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let shared = Shared { store, clock, wire, roster: Arc::default() };
        Arc::new(Self { shared, inner: Arc::default(), tasks: TaskTracker::new(), stop })
    }

    /// Drives the map of a run from what the store knows; again for one that is driven already changes nothing.
    pub(crate) fn open(&self, shard: ShardId, epoch: Epoch, run: Run, job: Arc<JobInForce>) {
        let key = (run.key, run.attempt);
        let mut inner = self.inner();
        if inner.maps.get(&key).is_some_and(|known| known.job.epoch >= epoch) {
            return;
        }
        // An earlier attempt that nobody ended, or the same one under an epoch that is over.
        inner.maps.retain(|(other, attempt), handle| {
            let superseded = *other == run.key && *attempt <= run.attempt;
            if superseded && *attempt < run.attempt {
                let _ = handle.control.send(Control::Abort);
            } else if superseded {
                handle.stop.cancel();
            }
            !superseded
        });
        let job = Arc::new(MapJob::new(shard, epoch, &run, job));
        let (control, control_receiver) = mpsc::unbounded_channel();
        let (said, said_receiver) = mpsc::channel(SAID);
        let handle = Handle {
            job: job.clone(),
            control,
            said,
            wake: Arc::new(Notify::new()),
            view: Arc::default(),
            stop: self.stop.child_token(),
        };
        for worker in self.shared.roster.workers_of(&job) {
            let _ = handle.control.send(Control::Joined(worker));
        }
        for said in inner.early.take(key) {
            let _ = handle.said.try_send(said);
        }
        let driver = Driver::new(
            self.shared.clone(),
            job,
            control_receiver,
            said_receiver,
            handle.wake.clone(),
            handle.view.clone(),
            handle.stop.clone(),
        );
        inner.maps.insert(key, handle);
        drop(inner);
        let inner = Arc::clone(&self.inner);
        self.tasks.spawn(async move {
            let ending = driver.run().await;
            lock(&inner).closed(key, epoch, ending);
        });
    }

    /// Stops driving it; its subtasks are cancelled.
    pub(crate) fn abort(&self, _shard: ShardId, key: RunKey, attempt: AttemptNo) {
        let mut inner = self.inner();
        match inner.maps.get(&(key, attempt)) {
            // Its task writes the end down and then takes itself off the books.
            Some(handle) => drop(handle.control.send(Control::Abort)),
            None => inner.remember((key, attempt), Ended::Aborted),
        }
    }

    /// Stops driving every map of a shard that this server owns no longer; nothing more is written for them.
    pub(crate) fn disown(&self, shard: ShardId) {
        self.inner().maps.retain(|_, handle| {
            let keep = handle.job.shard != shard;
            if !keep {
                handle.stop.cancel();
            }
            keep
        });
    }

    /// Stops every map and waits for their tasks.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(crate) fn worker_joined(&self, worker: Peer) {
        let inner = self.inner();
        for handle in inner.maps.values() {
            if let Some(worker) = worker.for_map(&handle.job) {
                let _ = handle.control.send(Control::Joined(worker));
            }
        }
        // Within the lock, so that a map that opens now hears of it exactly once.
        self.shared.roster.join(worker);
    }

    pub(crate) fn worker_parted(&self, incarnation: Incarnation) {
        let inner = self.inner();
        if self.shared.wire.is_connected(incarnation) {
            // A newer stream came in between.
            return;
        }
        self.shared.roster.part(incarnation);
        for handle in inner.maps.values() {
            let _ = handle.control.send(Control::Parted(incarnation));
        }
    }

    /// A worker takes nothing more; it finishes what it holds.
    pub(crate) fn worker_left(&self, incarnation: Incarnation) {
        let inner = self.inner();
        self.shared.roster.leave(incarnation);
        for handle in inner.maps.values() {
            let _ = handle.control.send(Control::Left(incarnation));
        }
    }

    pub(crate) fn emit(&self, from: From, emit: v1::Emit) -> Result<(), BadField> {
        let key = map_key("emit", emit.run, emit.attempt)?;
        let mut inner = self.inner();
        if inner.maps.contains_key(&key) {
            inner.say(from, key, Said::Emit(from.incarnation, emit));
        } else if let Some(ended) = inner.ended.get(&key) {
            let error = match ended {
                Ended::Complete => String::new(),
                Ended::Aborted => "the run's attempt has ended".into(),
            };
            let ack = v1::EmitAck { run: emit.run, attempt: emit.attempt, batch_no: emit.batch_no, error };
            self.shared.wire.send(from.incarnation, ToWorker::EmitAck(ack));
        } else {
            // The report that the split has started opens the map, and may come after the first batches.
            inner.early.keep(from, key, emit);
        }
        Ok(())
    }

    pub(crate) fn credit(&self, from: From, credit: v1::SubtaskCredit) -> Result<(), BadField> {
        self.shared.roster.set_credit(from.incarnation, &credit.handler, credit.free);
        for handle in self.inner().maps.values() {
            if handle.job.shard.group() == from.group && handle.job.handler() == credit.handler {
                handle.wake.notify_one();
            }
        }
        Ok(())
    }

    pub(crate) fn results(&self, from: From, results: v1::SubtaskResults) -> Result<(), BadField> {
        let key = map_key("results", results.run, results.attempt)?;
        let mut inner = self.inner();
        if inner.maps.contains_key(&key) {
            inner.say(from, key, Said::Results(from.incarnation, results));
        } else if inner.ended.contains_key(&key) {
            let ack = v1::ResultsAck { seqs: vec![results.seq] };
            self.shared.wire.send(from.incarnation, ToWorker::ResultsAck(ack));
        } else {
            self.look_up(&mut inner, key);
        }
        Ok(())
    }

    /// The answer to `AskHeld`.
    pub(crate) fn held(&self, from: From, held: v1::SubtasksHeld) -> Result<(), BadField> {
        let key = map_key("held", held.run, held.attempt)?;
        self.inner().say(from, key, Said::Held(from.incarnation, held));
        Ok(())
    }

    pub(crate) fn reduce_credit(&self, from: From, credit: v1::ReduceCredit) -> Result<(), BadField> {
        let key = map_key("reduce_credit", credit.run, credit.attempt)?;
        self.inner().say(from, key, Said::ReduceCredit(from.incarnation, credit));
        Ok(())
    }

    /// A report whose `run_kind` is `REDUCE`; the hub acknowledges it.
    pub(crate) fn reduce_report(&self, from: From, report: v1::Report) -> Result<(), BadField> {
        let key = map_key("report", report.run, report.attempt)?;
        let report = convert::report(report)?;
        let mut inner = self.inner();
        if inner.maps.contains_key(&key) {
            inner.say(from, key, Said::Reduce(from.incarnation, Box::new(report)));
        } else if inner.ended.contains_key(&key) {
            let ack = v1::ReportAck { seqs: vec![report.seq] };
            self.shared.wire.send(from.incarnation, ToWorker::ReportAck(ack));
        } else {
            self.look_up(&mut inner, key);
        }
        Ok(())
    }

    /// Progress of a map driven here.
    pub(crate) fn progress(&self, key: RunKey) -> Option<v1::MapProgressAnswer> {
        let inner = self.inner();
        let ((_, attempt), handle) =
            inner.maps.iter().filter(|((run, _), _)| *run == key).max_by_key(|((_, attempt), _)| *attempt)?;
        let view = lock(&handle.view).clone()?;
        Some(v1::MapProgressAnswer {
            known: true,
            attempt: attempt.get(),
            phase: view.phase.as_str().into(),
            total: view.total,
            done: view.done,
            failed: view.failed,
            running: view.running,
            waiting: view.waiting,
            per_second: view.per_second,
            done_by_worker: view.done_by_worker.into_iter().collect(),
            running_by_worker: view.running_by_worker.into_iter().collect(),
        })
    }

    /// Prepares that the attempt after `attempt`, which has ended, re-runs only what is not done. Call it before that attempt is planned.
    pub(crate) async fn retry_failed_only(&self, key: RunKey, attempt: AttemptNo) -> Result<(), Status> {
        resume::prepare_rerun(&self.shared.store, key, attempt).await
    }

    /// Nobody here drives the attempt. If it is over, whoever talks of it can be told so; if its map is about to be opened, it cannot.
    fn look_up(&self, inner: &mut Inner, key: MapKey) {
        let now = Instant::now();
        inner.lookups.retain(|_, at| now.duration_since(*at) < LOOK_UP_AGAIN);
        if inner.lookups.contains_key(&key) || inner.lookups.len() >= LOOKUPS || self.stop.is_cancelled() {
            return;
        }
        inner.lookups.insert(key, now);
        let (store, books) = (self.shared.store.clone(), Arc::clone(&self.inner));
        self.tasks.spawn(async move {
            match is_over(&store, key).await {
                Ok(true) => lock(&books).remember(key, Ended::Complete),
                Ok(false) => {}
                // The worker repeats itself, and is looked up again.
                Err(error) => tracing::debug!(run = %key.0, attempt = %key.1, error = %error, "could not look an attempt up"),
            }
        });
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

impl Inner {
    /// Queues what a worker says about a map, if it is driven here and the worker's business.
    fn say(&mut self, from: From, key: MapKey, said: Said) {
        let Some(handle) = self.maps.get(&key).filter(|handle| handle.job.shard.group() == from.group) else {
            return;
        };
        if handle.said.try_send(said).is_err() {
            tracing::debug!(run = %key.0, attempt = %key.1, worker = %from.incarnation, "the map is behind; the worker will repeat what it said");
        }
    }

    /// A map's task is over.
    fn closed(&mut self, key: MapKey, epoch: Epoch, ending: Ending) {
        if self.maps.get(&key).is_some_and(|handle| handle.job.epoch == epoch) {
            self.maps.remove(&key);
        }
        match ending {
            Ending::Complete => self.remember(key, Ended::Complete),
            Ending::Aborted => self.remember(key, Ended::Aborted),
            Ending::Dropped => {}
        }
    }

    fn remember(&mut self, key: MapKey, ended: Ended) {
        if self.ended.insert(key, ended).is_none() {
            self.ended_order.push_back(key);
        }
        if self.ended_order.len() > ENDED
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }
}

/// Whether nothing can happen to an attempt any more.
async fn is_over(store: &SharedStore, (run, attempt): MapKey) -> Result<bool, StoreError> {
    if store.map_header(run, attempt).await?.is_some_and(|header| header.phase == MapPhase::Ended) {
        return Ok(true);
    }
    let row = store.run(run).await?;
    Ok(row.is_none_or(|row| row.attempt > attempt || (row.attempt == attempt && row.state.is_final())))
}

fn map_key(field: &str, run: Option<v1::RunRef>, attempt: u32) -> Result<MapKey, BadField> {
    let run = convert::run_key(&format!("{field}.run"), run)?;
    Ok((run, convert::attempt(&format!("{field}.attempt"), attempt)?))
}

/// Every change under these locks is small and whole, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
