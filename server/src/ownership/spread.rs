//! Spreading owners over the holders: an owner that owns more than its part gives a shard to another holder, a few at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use carillon_core::ids::ServerId;
use carillon_core::placement::{HandOver, OwnedShard, hand_overs};
use carillon_store::shards::ShardRow;
use tokio::time::Instant;

use super::Reconciler;

/// Shards given away at once in the server group: each is a load of its jobs at the taker, and nothing presses.
const AT_ONCE: usize = 4;

/// How long a shard is offered before it is kept: two looks of the taker.
const OFFER: Duration = Duration::from_secs(3);

impl Reconciler {
    /// Every server computes the same hand-overs from the same rows, and does its own.
    pub(super) async fn spread_owners(&mut self, rows: &[ShardRow], live: &BTreeSet<ServerId>) {
        self.end_offers(rows);
        let owned = rows.iter().filter_map(|row| {
            let owner = row.owner.as_ref()?;
            Some(OwnedShard { id: row.id, owner, holders: &row.holders })
        });
        let owned: Vec<_> = owned.collect();
        for HandOver { shard, from, to } in hand_overs(&owned, live, AT_ONCE) {
            let minimum_hold = Duration::from_millis(self.shell.engine.minimum_hold.as_millis());
            let settled = |since: Instant| since.elapsed() >= minimum_hold;
            let Some(held) = self.held.get_mut(&shard).filter(|_| from == self.shell.me) else { continue };
            let ready =
                held.claimed.is_some() && !held.yielded && held.given_to.is_none() && settled(held.since);
            if !ready || !self.shell.peers.stands_by(&to, shard) || !self.coordination.holds(&held.key) {
                continue;
            }
            tracing::info!(%shard, %to, "the shard is given to another holder, which owns fewer");
            held.given_to = Some((to.clone(), Instant::now()));
            self.shell.peers.yields(shard, Some(to.as_str()));
            if let Err(error) = self.coordination.release(&held.key).await {
                tracing::debug!(%shard, error = %crate::chain(&error), "could not release the trigger lock yet");
            }
        }
    }

    /// An offer that nobody took ends, and the lock is taken again.
    fn end_offers(&mut self, rows: &[ShardRow]) {
        for row in rows {
            let Some(held) = self.held.get_mut(&row.id) else { continue };
            if held.given_to.as_ref().is_some_and(|(_, at)| at.elapsed() >= OFFER) {
                held.given_to = None;
                // What is not taken now is not offered again before it was held for a while.
                held.since = Instant::now();
                self.shell.peers.yields(row.id, None);
            }
        }
    }
}
