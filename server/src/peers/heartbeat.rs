//! Every 100 ms: each owner's word on its shards, what this server holds, and relays for workers that only peers reach.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use carillon_core::ids::{Incarnation, ServerId, ShardId};
use carillon_proto::v1::peer_message::Message;
use carillon_proto::v1::{self};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Peers, relay};
use crate::rpc::Gateway;
use crate::stall::Stalls;

/// How often an owner speaks (trigger-protocol: "Watch").
const EVERY: Duration = Duration::from_millis(100);

/// How long a worker may be without a stream of its own before a peer's is used: a reconnect takes less.
const RELAY_AFTER: Duration = Duration::from_millis(500);

/// The loop "peer heartbeat".
pub(super) async fn run(
    peers: Arc<Peers>,
    gateway: Arc<Gateway>,
    stalls: Arc<Stalls>,
    stop: CancellationToken,
) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stalled = stalls.count();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        // After a stall the own word is old: others may have been told of another owner since.
        let count = stalls.count();
        if std::mem::replace(&mut stalled, count) == count {
            peers.speak(gateway.clock.now().as_millis());
        }
        for (worker, by, hello) in peers.unreached() {
            relay::open(&peers, &gateway, worker, by, (*hello).clone());
        }
    }
}

impl Peers {
    fn speak(&self, server_time_ms: i64) {
        let shards = self.switchboard.shards();
        let held: Vec<ShardId> = shards.iter().map(|shard| shard.id()).collect();
        let mut inner = self.inner();
        let mut watermarks: HashMap<ShardId, v1::Watermark> = HashMap::new();
        for shard in &shards {
            let view = shard.view();
            let Some(epoch) = view.epoch else { continue };
            let watermark = v1::Watermark {
                shard: shard.id().to_string(),
                epoch: epoch.get(),
                planned_until_ms: view.planned_until.as_millis(),
                armed_until_ms: view.armed_until.as_millis(),
                yields_to: inner.yields.get(&shard.id()).cloned().unwrap_or_default(),
            };
            watermarks.insert(shard.id(), watermark);
        }
        for (peer, link) in &mut inner.links {
            if link.told_held.as_ref() != Some(&held) {
                let shards = held.iter().map(ToString::to_string).collect();
                if link.send(peer, Message::ShardsHeld(v1::ShardsHeld { shards })) {
                    link.told_held = Some(held.clone());
                }
            }
            // An empty one is a sign of life all the same.
            let shards = held
                .iter()
                .filter(|shard| link.holds.contains(shard))
                .filter_map(|shard| watermarks.get(shard));
            let message = v1::Watermarks { server_time_ms, shards: shards.cloned().collect() };
            link.send(peer, Message::Watermarks(message));
        }
    }

    /// Workers of groups held here that have had no stream to this server for a while, and a peer that has one.
    fn unreached(&self) -> Vec<(Incarnation, ServerId, Arc<v1::Hello>)> {
        let now = Instant::now();
        let mut unreached = Vec::new();
        let mut inner = self.inner();
        let inner = &mut *inner;
        for (worker, known) in &mut inner.workers {
            if self.switchboard.has_worker(*worker) || self.switchboard.shards_of(known.group).is_empty() {
                known.missing_since = None;
                continue;
            }
            let since = *known.missing_since.get_or_insert(now);
            if now - since >= RELAY_AFTER
                && !inner.relays.contains_key(worker)
                && let Some(by) = known.at.iter().find(|peer| inner.links.contains_key(*peer))
            {
                unreached.push((*worker, by.clone(), known.hello.clone()));
            }
        }
        unreached
    }
}
