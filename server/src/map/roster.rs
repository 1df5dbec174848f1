//! The workers with a stream to this server as maps see them, and the subtasks each still takes, by handler.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use carillon_core::engine::WorkerInfo;
use carillon_core::ids::{GroupId, Incarnation};
use carillon_core::parallel::MapWorker;
use carillon_core::routing::is_eligible;
use carillon_proto::v1;

use super::driver::MapJob;
use super::{MapKey, lock};

/// A worker with a stream.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    group: GroupId,
    info: Arc<WorkerInfo>,
    handlers: Arc<[v1::Handler]>,
}

impl Peer {
    pub(crate) fn new(group: GroupId, info: Arc<WorkerInfo>, handlers: Arc<[v1::Handler]>) -> Self {
        Self { group, info, handlers }
    }

    /// The worker as a map's engine knows it; none where it may not run the job.
    pub(super) fn for_map(&self, job: &MapJob) -> Option<MapWorker> {
        if self.group != job.shard.group() || !is_eligible(&job.in_force.job.spec, &self.info) {
            return None;
        }
        let handler = self.handlers.iter().find(|handler| handler.name == job.handler())?;
        Some(MapWorker {
            worker: self.info.incarnation,
            name: self.info.name.clone(),
            concurrency: handler.concurrency.max(1),
            reduces: handler.reduce,
        })
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    inner: Mutex<Inner>,
    /// Grows with every change of a credit or of who is hungry.
    version: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    peers: HashMap<Incarnation, Connected>,
    /// Maps that have work to hand out, by group and handler: they share the workers' credit.
    hungry: HashMap<(GroupId, String), Vec<MapKey>>,
}

#[derive(Debug)]
struct Connected {
    peer: Peer,
    leaving: bool,
    credits: HashMap<String, u32>,
}

impl Roster {
    pub(super) fn join(&self, peer: Peer) {
        let connected = Connected { leaving: false, credits: HashMap::new(), peer };
        lock(&self.inner).peers.insert(connected.peer.info.incarnation, connected);
    }

    pub(super) fn part(&self, worker: Incarnation) {
        lock(&self.inner).peers.remove(&worker);
    }

    pub(super) fn leave(&self, worker: Incarnation) {
        if let Some(connected) = lock(&self.inner).peers.get_mut(&worker) {
            connected.leaving = true;
        }
    }

    /// The workers for a map that opens.
    pub(super) fn workers_of(&self, job: &MapJob) -> Vec<MapWorker> {
        let inner = lock(&self.inner);
        let staying = inner.peers.values().filter(|connected| !connected.leaving);
        staying.filter_map(|connected| connected.peer.for_map(job)).collect()
    }

    /// A worker's name, for rows that people read.
    pub(super) fn name(&self, worker: Incarnation) -> String {
        let inner = lock(&self.inner);
        inner
            .peers
            .get(&worker)
            .map_or_else(|| worker.to_string(), |connected| connected.peer.info.name.clone())
    }

    pub(super) fn set_credit(&self, worker: Incarnation, handler: &str, free: u32) {
        if let Some(connected) = lock(&self.inner).peers.get_mut(&worker) {
            // Only handlers it has introduced: bounds the map.
            if connected.peer.handlers.iter().any(|known| known.name == handler) {
                connected.credits.insert(handler.to_owned(), free);
                self.version.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// A map has handed subtasks out.
    pub(super) fn spend(&self, worker: Incarnation, handler: &str, subtasks: u32) {
        let mut inner = lock(&self.inner);
        let connected = inner.peers.get_mut(&worker);
        if let Some(credit) = connected.and_then(|connected| connected.credits.get_mut(handler)) {
            *credit = credit.saturating_sub(subtasks);
        }
    }

    /// A map has work to hand out, or none any more.
    pub(super) fn set_hungry(&self, job: &MapJob, hungry: bool) {
        let mut inner = lock(&self.inner);
        let maps = inner.hungry.entry((job.shard.group(), job.handler().to_owned())).or_default();
        let key = job.key();
        maps.retain(|other| *other != key);
        if hungry {
            maps.push(key);
        }
        inner.hungry.retain(|_, maps| !maps.is_empty());
        self.version.fetch_add(1, Ordering::Release);
    }

    /// What the workers take of one map: their credit in equal parts for the maps that have work. None where nothing changed since `seen`.
    pub(super) fn credits(&self, job: &MapJob, seen: &mut u64) -> Option<Vec<(Incarnation, u32)>> {
        let version = self.version.load(Ordering::Acquire);
        if version == *seen {
            return None;
        }
        *seen = version;
        let inner = lock(&self.inner);
        let maps = inner.hungry.get(&(job.shard.group(), job.handler().to_owned())).map_or(1, Vec::len).max(1)
            as u32;
        let of_group = inner.peers.iter().filter(|(_, connected)| connected.peer.group == job.shard.group());
        let credits = of_group.filter_map(|(worker, connected)| {
            let free = connected.credits.get(job.handler())?;
            Some((*worker, free.div_ceil(maps)))
        });
        Some(credits.collect())
    }
}
