//! Who is connected and what is held here: the workers with a stream to this server, their own or by way of a peer, and the shards with a
//! loop, under one lock, so that a worker that joins while a shard arrives is told to it exactly once.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carillon_core::engine::WorkerInfo;
use carillon_core::ids::{AttemptNo, GroupId, Incarnation, RunKey, ServerId, ShardId};
use carillon_core::time::Timestamp;
use carillon_proto::v1::{GoAway, ServerMessage, server_message::Message};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::metrics::Metrics;
use crate::shard_loop::ShardHandle;

/// Messages that wait for a worker's connection. A worker that takes a thousand batches' time to read is not served better by more.
pub(crate) const OUTGOING_MESSAGES: usize = 1_024;

/// Runs counted as in progress at one worker for the pages; beyond it the count stands still.
const COUNTED_RUNS: usize = 100_000;

/// What goes to a worker's stream.
pub(crate) type Outgoing = mpsc::Sender<Result<ServerMessage, Status>>;

/// A worker's stream as the rest of the server sees it.
#[derive(Debug, Clone)]
pub(crate) struct WorkerLink {
    /// Tells this stream from an earlier one of the same incarnation.
    pub(crate) number: u64,
    pub(crate) group: GroupId,
    pub(crate) info: Arc<WorkerInfo>,
    pub(crate) sdk_version: String,
    pub(crate) handlers: Arc<[carillon_proto::v1::Handler]>,
    pub(crate) address: String,
    pub(crate) connected_at: Timestamp,
    pub(crate) outgoing: Outgoing,
    /// Ends the stream.
    pub(crate) close: CancellationToken,
    pub(crate) progress: Arc<Mutex<InProgress>>,
    /// The peer by way of which the worker is reached; none for a stream of its own.
    pub(crate) via: Option<ServerId>,
    /// Peers that hear what the worker says, since it has no stream to them.
    pub(crate) taps: Arc<Mutex<BTreeSet<ServerId>>>,
}

impl WorkerLink {
    /// The peers that hear what the worker says.
    pub(crate) fn tapped_by(&self) -> Vec<ServerId> {
        self.taps.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn untap(&self, peer: &ServerId) {
        self.taps.lock().unwrap_or_else(PoisonError::into_inner).remove(peer);
    }
}

/// What a worker has in progress, by its own reports.
#[derive(Debug, Default)]
pub(crate) struct InProgress {
    started: HashSet<(RunKey, AttemptNo)>,
    pub(crate) draining: bool,
}

impl InProgress {
    pub(crate) fn started(&mut self, key: RunKey, attempt: AttemptNo) {
        if self.started.len() < COUNTED_RUNS {
            self.started.insert((key, attempt));
        }
    }

    pub(crate) fn ended(&mut self, key: RunKey, attempt: AttemptNo) {
        self.started.remove(&(key, attempt));
    }

    pub(crate) fn running(&self) -> usize {
        self.started.len()
    }
}

/// The workers and shards of this server.
#[derive(Debug)]
pub(crate) struct Switchboard {
    inner: Mutex<Inner>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Inner {
    shards: HashMap<ShardId, ShardHandle>,
    workers: HashMap<Incarnation, WorkerLink>,
    links: u64,
}

impl Switchboard {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { inner: Mutex::default(), metrics }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change under the lock is one insertion or removal, so a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a worker's stream in, in place of an earlier one of the incarnation, which is closed. Returns the link's number and the
    /// shards that have to hear of the worker; none for a stream by way of a peer where the worker has one of its own.
    pub(crate) fn join(&self, mut link: WorkerLink) -> Option<(u64, Vec<ShardHandle>)> {
        let mut inner = self.inner();
        let known = inner.workers.get(&link.info.incarnation);
        if link.via.is_some() && known.is_some_and(|known| known.via.is_none()) {
            return None;
        }
        inner.links += 1;
        link.number = inner.links;
        let (number, group) = (link.number, link.group);
        if let Some(earlier) = inner.workers.insert(link.info.incarnation, link) {
            tracing::info!(worker = %earlier.info.name, incarnation = %earlier.info.incarnation, "a newer stream of the worker replaces this one");
            earlier.close.cancel();
        }
        self.metrics.workers.set(inner.workers.len() as i64);
        Some((number, inner.shards_of(group)))
    }

    /// Forgets a stream. Returns the shards that have to hear of it; none when a newer stream has replaced it.
    pub(crate) fn part(&self, incarnation: Incarnation, number: u64) -> Option<Vec<ShardHandle>> {
        let mut inner = self.inner();
        let link = inner.workers.get(&incarnation).filter(|link| link.number == number)?;
        let group = link.group;
        inner.workers.remove(&incarnation);
        self.metrics.workers.set(inner.workers.len() as i64);
        Some(inner.shards_of(group))
    }

    /// Takes a shard in; returns the workers of its group.
    pub(crate) fn add_shard(&self, handle: ShardHandle) -> Vec<Arc<WorkerInfo>> {
        let mut inner = self.inner();
        let group = handle.id().group();
        inner.shards.insert(handle.id(), handle);
        self.metrics.shards_held.set(inner.shards.len() as i64);
        inner.workers.values().filter(|link| link.group == group).map(|link| link.info.clone()).collect()
    }

    /// Forgets a shard.
    pub(crate) fn remove_shard(&self, shard: ShardId) {
        let mut inner = self.inner();
        inner.shards.remove(&shard);
        self.metrics.shards_held.set(inner.shards.len() as i64);
    }

    pub(crate) fn shard(&self, shard: ShardId) -> Option<ShardHandle> {
        self.inner().shards.get(&shard).cloned()
    }

    /// Every shard held here, in id order.
    pub(crate) fn shards(&self) -> Vec<ShardHandle> {
        let mut shards: Vec<_> = self.inner().shards.values().cloned().collect();
        shards.sort_by_key(ShardHandle::id);
        shards
    }

    /// The shards of a group held here, in index order.
    pub(crate) fn shards_of(&self, group: GroupId) -> Vec<ShardHandle> {
        self.inner().shards_of(group)
    }

    /// Every worker connected here, in the order of incarnations.
    pub(crate) fn workers(&self) -> Vec<WorkerLink> {
        let mut workers: Vec<_> = self.inner().workers.values().cloned().collect();
        workers.sort_by_key(|link| link.info.incarnation);
        workers
    }

    pub(crate) fn worker_count(&self) -> usize {
        self.inner().workers.len()
    }

    /// Asks the workers of a group to look for its holders again: sooner than they would by themselves, so that who takes a shard over
    /// hears of them before it gives them up.
    pub(crate) fn look_again(&self, group: GroupId, why: &str) {
        for worker in self.workers().into_iter().filter(|worker| worker.group == group) {
            let message = Message::GoAway(GoAway { why: why.to_owned() });
            self.send(worker.info.incarnation, ServerMessage { message: Some(message) });
        }
    }

    /// Whether a worker has a stream here.
    pub(crate) fn has_worker(&self, incarnation: Incarnation) -> bool {
        self.inner().workers.contains_key(&incarnation)
    }

    /// Lets a peer hear what a worker says; false where the worker has no stream of its own here.
    pub(crate) fn tap(&self, worker: Incarnation, peer: &ServerId) -> bool {
        let inner = self.inner();
        let Some(link) = inner.workers.get(&worker).filter(|link| link.via.is_none()) else { return false };
        link.taps.lock().unwrap_or_else(PoisonError::into_inner).insert(peer.clone());
        true
    }

    pub(crate) fn untap(&self, worker: Incarnation, peer: &ServerId) {
        if let Some(link) = self.inner().workers.get(&worker) {
            link.untap(peer);
        }
    }

    /// As [`send`](Self::send), to a worker with a stream of its own: what a peer passes on goes no further.
    pub(crate) fn send_direct(&self, to: Incarnation, message: ServerMessage) -> bool {
        let own = self.inner().workers.get(&to).is_some_and(|link| link.via.is_none());
        own && self.send(to, message)
    }

    /// Queues a message for a worker; false when it has no stream here. A worker whose queue is full is disconnected: it comes back and is
    /// armed again, while waiting for it would hold up everybody else.
    pub(crate) fn send(&self, to: Incarnation, message: ServerMessage) -> bool {
        let inner = self.inner();
        let Some(link) = inner.workers.get(&to) else { return false };
        match link.outgoing.try_send(Ok(message)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) if link.close.is_cancelled() => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::warn!(worker = %link.info.name, incarnation = %to, "the worker does not read what it is sent, so its stream is closed");
                link.close.cancel();
                false
            }
        }
    }
}

impl Inner {
    fn shards_of(&self, group: GroupId) -> Vec<ShardHandle> {
        let mut shards: Vec<_> =
            self.shards.values().filter(|shard| shard.id().group() == group).cloned().collect();
        shards.sort_by_key(ShardHandle::id);
        shards
    }
}
