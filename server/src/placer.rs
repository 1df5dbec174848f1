//! The placer: one elected server of the server group decides which servers hold which shards, by `carillon_core::placement`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use carillon_coordination::{Coordination, Hint, LockData, LockKey, Member, MemberKind, Topic};
use carillon_core::ids::{ServerId, ShardId};
use carillon_core::placement::{Server, Shard, Snapshot, Standing, place};
use carillon_store::SharedStore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::ownership::Ownership;
use crate::peers::Peers;

/// How often the placer looks without a hint.
const PERIOD: Duration = Duration::from_secs(1);

/// How long hints are gathered: servers often come and go together.
const GATHER: Duration = Duration::from_millis(50);

/// The loop "placer".
pub(crate) struct Placer {
    pub(crate) store: SharedStore,
    pub(crate) coordination: Arc<dyn Coordination>,
    pub(crate) clock: Clock,
    pub(crate) ownership: Ownership,
    pub(crate) peers: Arc<Peers>,
    pub(crate) cluster: u32,
    pub(crate) server_group: u32,
    pub(crate) away_grace: Duration,
    /// When each server was there last, with its room.
    pub(crate) seen: BTreeMap<ServerId, (Instant, String)>,
    /// Shards reported as short of servers, so that each is reported once.
    pub(crate) short: BTreeSet<ShardId>,
}

impl Placer {
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let Ok(key) = LockKey::new(format!("placer:{}", self.server_group)) else { return };
        let mut hints = self.coordination.hints();
        loop {
            self.look(&key).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PERIOD) => {}
                () = wake(&mut hints, &key) => tokio::time::sleep(GATHER).await,
            }
        }
    }

    async fn look(&mut self, key: &LockKey) {
        if self.ownership.is_draining() {
            if self.coordination.holds(key) {
                // The session's end releases it otherwise.
                let _ = self.coordination.release(key).await;
            }
            return;
        }
        // Also while another server is elected: who takes its place must know who was there a moment ago.
        let Ok(members) = self.coordination.members().await else { return };
        let servers = self.servers(&members);
        let elected = self.coordination.holds(key)
            || self
                .coordination
                .try_lock(key, LockData::default())
                .await
                .is_ok_and(|outcome| outcome.is_acquired());
        if !elected {
            return;
        }
        let rows = match self.store.shards_of(self.cluster, self.server_group).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(error = %crate::chain(&error), "could not read the shards to place them");
                return;
            }
        };
        let shards = rows.into_iter().map(|row| Shard { id: row.id, holders: row.holders }).collect();
        let seed = self.clock.now().as_millis().unsigned_abs();
        let placements = place(&Snapshot { servers, shards }, seed);
        let mut changes = Vec::new();
        for placement in placements {
            if placement.missing == 0 {
                self.short.remove(&placement.shard);
            } else if self.short.insert(placement.shard) {
                tracing::warn!(shard = %placement.shard, missing = placement.missing, "there are fewer servers than the shard wants holders");
            }
            if placement.changed {
                let why = placement
                    .holders
                    .iter()
                    .map(|holder| format!("{} ({})", holder.server, holder.why.as_str()));
                let why = why.collect::<Vec<_>>().join(", ");
                tracing::info!(shard = %placement.shard, holders = %why, "the shard is placed");
                changes.push((
                    placement.shard,
                    placement.holders.into_iter().map(|holder| holder.server).collect(),
                ));
            }
        }
        if changes.is_empty() {
            return;
        }
        if let Err(error) = self.store.place(&changes).await {
            tracing::warn!(error = %crate::chain(&error), "could not write where shards are placed");
            return;
        }
        if let Ok(topic) = Topic::new("shards") {
            // Only a hint: the others look once a second anyhow.
            let _ = self.coordination.notify(&topic).await;
        }
    }

    /// The servers of the group, those included that were there a moment ago, or that are still heard though the coordinator misses them.
    fn servers(&mut self, members: &[Member]) -> Vec<Server> {
        let now = Instant::now();
        let mut servers: Vec<Server> = members
            .iter()
            .filter(|member| {
                member.kind == MemberKind::Server
                    && member.cluster == self.cluster
                    && member.server_group == self.server_group
            })
            .filter_map(|member| {
                let standing = if member.draining { Standing::Leaving } else { Standing::Live };
                Some(Server { id: member.id.as_str().parse().ok()?, room: member.room.clone(), standing })
            })
            .collect();
        for server in &servers {
            self.seen.insert(server.id.clone(), (now, server.room.clone()));
        }
        let grace = self.away_grace;
        for (id, (at, _)) in &mut self.seen {
            if self.peers.is_linked(id) {
                *at = now;
            }
        }
        self.seen.retain(|_, (at, _)| now - *at < grace);
        for (id, (_, room)) in &self.seen {
            if servers.iter().all(|server| server.id != *id) {
                servers.push(Server { id: id.clone(), room: room.clone(), standing: Standing::Away });
            }
        }
        servers
    }
}

/// Waits for a hint that may concern placement.
async fn wake(hints: &mut carillon_coordination::Hints, key: &LockKey) {
    loop {
        match hints.next().await {
            Some(Hint::MembersChanged | Hint::Rescan | Hint::Session(_) | Hint::Topic(_)) => return,
            Some(Hint::LockReleased(released)) if released == *key => return,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}
