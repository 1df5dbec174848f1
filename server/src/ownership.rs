//! Ownership: which shards this server holds and which of them it owns.
//!
//! A reconciler without input: woken by a hint, by its period, by a link with a peer that broke, or by a request to drain, it reads the
//! shards, the members and the locks, and does the same thing every time. The trigger lock says who should act first; the claim in the store
//! says who may (trigger-protocol: "Trigger lock"). So a lost lock changes nothing until another server has claimed the shard, and nobody
//! takes a shard whose owner is heard and keeps it, lock or not.
//!
//! One thing is asked for: a standby's engine that sees a shard not planned wants it taken over ([`Ownership::take_over`]). That needs the
//! store alone; the lock follows. `contend` says who takes a lock and claims a shard, `dead` which servers are surely gone, `spread` how owners
//! are spread over the holders.

mod contend;
mod dead;
mod spread;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use carillon_coordination::{Coordination, Hint, LockKey, Member, MemberKind};
use carillon_core::engine::Input;
use carillon_core::ids::{Epoch, ServerId, ShardId};
use carillon_core::placement;
use carillon_store::shards::ShardRow;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::committer::Committer;
use crate::peers::ANYBODY;
use crate::shard_loop::{Request, ShardHandle, ShardLoop, Shell};
use dead::Dead;

/// How often the reconciler looks without a hint.
const PERIOD: Duration = Duration::from_secs(1);

/// How often it looks while shards are being handed over.
const HAND_OVER_PERIOD: Duration = Duration::from_millis(50);

/// How long hints are gathered: a server that dies releases many locks at once.
const GATHER: Duration = Duration::from_millis(5);

/// Shards handed over side by side: each is a load of its jobs at the taker.
const HAND_OVERS_AT_ONCE: usize = 8;

/// How long a server that stops waits for others to take its shards.
const STEP_DOWN_PATIENCE: Duration = Duration::from_secs(2);

/// How often the member's load is written when it has changed.
const LOAD_EVERY: Duration = Duration::from_secs(5);

/// What the rest of the server may ask of the reconciler.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ownership {
    draining: Arc<AtomicBool>,
    kick: Arc<Notify>,
    take_overs: Arc<Mutex<BTreeMap<ShardId, TakeOver>>>,
    /// Peers whose links broke.
    lost: Arc<Mutex<BTreeSet<ServerId>>>,
}

/// A standby's wish.
#[derive(Debug)]
struct TakeOver {
    seen: Epoch,
    why: String,
}

impl Ownership {
    /// Has the reconciler look now.
    pub(crate) fn kick(&self) {
        self.kick.notify_one();
    }

    /// The link with a peer broke: it may be dead.
    pub(crate) fn lost(&self, peer: &ServerId) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(peer.clone());
        self.kick();
    }

    /// Claims a shard that its owner does not plan, from the epoch under which that was seen.
    pub(crate) fn take_over(&self, shard: ShardId, seen: Epoch, why: String) {
        let mut take_overs = self.take_overs.lock().unwrap_or_else(PoisonError::into_inner);
        take_overs.insert(shard, TakeOver { seen, why });
        drop(take_overs);
        self.kick();
    }

    fn wanted_take_overs(&self) -> BTreeMap<ShardId, TakeOver> {
        std::mem::take(&mut *self.take_overs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands over every shard and takes no new ones.
    pub(crate) fn drain(&self) {
        if !self.draining.swap(true, Ordering::Relaxed) {
            tracing::info!("the server drains: it hands its shards over and takes no new ones");
        }
        self.kick.notify_one();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// The reconciler.
pub(crate) struct Reconciler {
    shell: Shell,
    cluster: u32,
    server_group: u32,
    coordination: Arc<dyn Coordination>,
    committer: Committer,
    ownership: Ownership,
    member: Member,
    member_written: Option<Instant>,
    /// The members as last read: without the coordinator they are the best there is.
    members: Vec<Member>,
    held: BTreeMap<ShardId, Held>,
    loops: JoinSet<ShardId>,
    dead: Dead,
    /// Shards let go whose loops still wind up.
    ending: BTreeSet<ShardId>,
}

/// A shard with a loop here.
struct Held {
    handle: ShardHandle,
    stop: CancellationToken,
    key: LockKey,
    /// The epoch that this process claimed.
    claimed: Option<Epoch>,
    free_since: Option<Instant>,
    /// After a claim that failed the lock is left to others until then.
    not_before: Option<Instant>,
    /// The lock was released for others to take.
    yielded: bool,
    /// The lock was released for this server to take, then.
    given_to: Option<(ServerId, Instant)>,
    /// When this process claimed it.
    since: Instant,
    /// This server's place among the holders, as the engine was told.
    rank: Option<u8>,
    /// Its holders that lived when this server looked last.
    living: BTreeSet<ServerId>,
    /// The shard's epoch, and since when this server has seen it.
    epoch_seen: (Epoch, Instant),
}

impl Reconciler {
    pub(crate) fn new(
        shell: Shell,
        coordination: Arc<dyn Coordination>,
        committer: Committer,
        ownership: Ownership,
        member: Member,
    ) -> Self {
        Self {
            shell,
            cluster: member.cluster,
            server_group: member.server_group,
            coordination,
            committer,
            ownership,
            member,
            member_written: None,
            members: Vec::new(),
            held: BTreeMap::new(),
            loops: JoinSet::new(),
            dead: Dead::default(),
            ending: BTreeSet::new(),
        }
    }

    /// The loop "ownership"; at its end every shard is let go, to others where there are others.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut hints = self.coordination.hints();
        loop {
            let next = self.reconcile().await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(next) => {}
                () = self.ownership.kick.notified() => {}
                () = wake(&mut hints) => tokio::time::sleep(GATHER).await,
            }
        }
        self.step_down().await;
    }

    /// Looks once, and does what is to be done. Returns when to look again at the latest.
    async fn reconcile(&mut self) -> Duration {
        while let Some(ended) = self.loops.try_join_next() {
            if let Ok(shard) = ended {
                self.ending.remove(&shard);
            }
        }
        if let Ok(members) = self.coordination.members().await {
            self.members = members;
        }
        self.look_for_dead().await;
        self.write_member().await;
        self.take_over().await;
        let rows = match self.shell.store.shards_of(self.cluster, self.server_group).await {
            Ok(rows) => rows,
            Err(error) => {
                // Whoever owns a shard goes on, and nobody takes one.
                tracing::warn!(error = %crate::chain(&error), "could not read the shards");
                self.shell.metrics.store_failures.inc();
                return PERIOD;
            }
        };
        let draining = self.ownership.is_draining();
        let live = self.live_servers();
        self.forget_deleted(&rows);
        if !draining {
            self.spread_owners(&rows, &live).await;
        }
        let mut contenders = Vec::new();
        let mut regrouped = BTreeSet::new();
        for row in rows {
            if !draining && self.is_wanted(&row, &live) {
                self.hold(row.id);
                self.tell_rank(&row, &live).await;
                if self.has_other_holders(&row, &live) {
                    regrouped.insert(row.id.group());
                }
                contenders.push(row);
            } else if self.held.contains_key(&row.id) {
                self.yield_shard(&row).await;
            }
        }
        for group in regrouped {
            self.shell.switchboard.look_again(group, "other servers hold the task group");
        }
        let later = self.contend(contenders, &live).await;
        let handing_over = !self.ending.is_empty() || self.held.values().any(|held| held.yielded);
        if handing_over { HAND_OVER_PERIOD } else { later.map_or(PERIOD, |later| later.min(PERIOD)) }
    }

    /// Servers of the group that take shards.
    fn live_servers(&self) -> BTreeSet<ServerId> {
        let ours = |member: &&Member| {
            member.kind == MemberKind::Server
                && member.cluster == self.cluster
                && member.server_group == self.server_group
                && !member.draining
        };
        let mut live: BTreeSet<ServerId> =
            self.members.iter().filter(ours).filter_map(|member| member.id.as_str().parse().ok()).collect();
        if self.ownership.is_draining() {
            live.remove(&self.shell.me);
        } else {
            // Cut off from the coordinator this server still lives.
            live.insert(self.shell.me.clone());
        }
        live.retain(|server| !self.dead.contains(server));
        live
    }

    /// A shard is held by its holders; one whose holders are all gone by whoever is chosen among the living.
    fn is_wanted(&self, row: &ShardRow, live: &BTreeSet<ServerId>) -> bool {
        let me = &self.shell.me;
        if row.holders.iter().any(|holder| live.contains(holder)) {
            return row.holders.contains(me);
        }
        placement::adopter(row.id, live.iter()) == Some(me)
    }

    fn hold(&mut self, shard: ShardId) {
        if let Some(held) = self.held.get_mut(&shard) {
            if std::mem::take(&mut held.yielded) {
                self.shell.peers.yields(shard, None);
            }
            return;
        }
        if self.ending.contains(&shard) {
            // Two loops of one shard would take each other's maps and workers away.
            return;
        }
        let Ok(key) = LockKey::new(shard.to_string()) else { return };
        let stop = CancellationToken::new();
        let (shard_loop, handle) =
            ShardLoop::new(shard, self.shell.clone(), self.committer.lane(), stop.clone());
        self.shell.peers.forget_plan(shard);
        let connected = self.shell.switchboard.add_shard(handle.clone());
        // After the loop is known: whoever is told to peers from now on it hears itself.
        let elsewhere = self.shell.peers.workers_elsewhere(shard.group());
        self.loops.spawn(async move {
            shard_loop.run(connected, elsewhere).await;
            shard
        });
        tracing::debug!(%shard, "the shard is held here");
        let held = Held {
            handle,
            stop,
            key,
            claimed: None,
            free_since: None,
            not_before: None,
            yielded: false,
            given_to: None,
            since: Instant::now(),
            rank: None,
            living: BTreeSet::new(),
            epoch_seen: (Epoch::default(), Instant::now()),
        };
        self.held.insert(shard, held);
    }

    /// Lets others take a shard: releases the lock, goes on triggering, and ends the loop once another server has claimed the shard.
    async fn yield_shard(&mut self, row: &ShardRow) {
        let yielding = self.held.values().filter(|held| held.yielded).count();
        let Some(held) = self.held.get_mut(&row.id) else { return };
        let owns = held.claimed.is_some()
            && held.claimed == Some(row.epoch)
            && row.owner.as_ref() == Some(&self.shell.me);
        if !owns {
            self.let_go(row.id).await;
            return;
        }
        if !held.yielded && yielding < HAND_OVERS_AT_ONCE {
            held.yielded = true;
            self.shell.peers.yields(row.id, Some(ANYBODY));
            self.shell.switchboard.look_again(row.id.group(), "a shard goes to another server");
            tracing::info!(shard = %row.id, epoch = %row.epoch, "the shard is offered to another server");
            // Not released is not lost: the next look does it again, and the session's end does it at last.
            if let Err(error) = self.coordination.release(&held.key).await {
                tracing::debug!(shard = %row.id, error = %crate::chain(&error), "could not release the trigger lock yet");
            }
        }
    }

    /// Ends a shard's loop.
    async fn let_go(&mut self, shard: ShardId) {
        let Some(held) = self.held.remove(&shard) else { return };
        self.shell.peers.yields(shard, None);
        self.shell.switchboard.remove_shard(shard);
        self.shell.switchboard.look_again(shard.group(), "a shard is held here no more");
        held.stop.cancel();
        self.ending.insert(shard);
        if let Err(error) = self.coordination.release(&held.key).await {
            tracing::debug!(%shard, error = %crate::chain(&error), "could not release the trigger lock yet");
        }
    }

    fn forget_deleted(&mut self, rows: &[ShardRow]) {
        let there: BTreeSet<ShardId> = rows.iter().map(|row| row.id).collect();
        let gone: Vec<ShardId> = self.held.keys().copied().filter(|shard| !there.contains(shard)).collect();
        for shard in gone {
            if let Some(held) = self.held.remove(&shard) {
                self.shell.peers.yields(shard, None);
                self.shell.switchboard.remove_shard(shard);
                held.stop.cancel();
                self.ending.insert(shard);
            }
        }
    }

    /// Tells a shard's engine this server's place among the holders that live.
    async fn tell_rank(&mut self, row: &ShardRow, live: &BTreeSet<ServerId>) {
        let me = &self.shell.me;
        let rank = if row.owner.as_ref() == Some(me) {
            0
        } else {
            let owner = row.owner.as_ref().filter(|owner| live.contains(*owner));
            let others = row.holders.iter().filter(|holder| live.contains(*holder) && Some(*holder) != owner);
            let before = others.take_while(|holder| *holder != me).count() + usize::from(owner.is_some());
            u8::try_from(before).unwrap_or(u8::MAX)
        };
        let Some(held) = self.held.get_mut(&row.id) else { return };
        if held.rank.replace(rank) != Some(rank) {
            held.handle.request(Request::Tell(Input::Rank(rank))).await;
        }
    }

    /// Whether others hold the shard than when this server looked last: its workers should have a stream to each before one is needed.
    fn has_other_holders(&mut self, row: &ShardRow, live: &BTreeSet<ServerId>) -> bool {
        let named = row.holders.iter().chain(&row.owner);
        let living: BTreeSet<ServerId> = named.filter(|server| live.contains(*server)).cloned().collect();
        let Some(held) = self.held.get_mut(&row.id) else { return false };
        let before = std::mem::replace(&mut held.living, living);
        !before.is_empty() && before != held.living
    }

    /// Writes this server's description when it has changed: at once where it drains, now and then for its load.
    async fn write_member(&mut self) {
        let mut member = self.member.clone();
        member.draining = self.ownership.is_draining();
        let shards = self.held.values();
        member.load.shards_owned = shards.filter(|held| held.handle.view().epoch.is_some()).count() as u32;
        member.load.shards_held = self.held.len() as u32;
        member.load.workers = self.shell.switchboard.worker_count() as u32;
        let recent = self.member_written.is_some_and(|at| at.elapsed() < LOAD_EVERY);
        if member == self.member || (recent && member.draining == self.member.draining) {
            return;
        }
        match self.coordination.update_member(member.clone()).await {
            Ok(()) => {
                self.member = member;
                self.member_written = Some(Instant::now());
            }
            Err(error) => {
                tracing::debug!(error = %crate::chain(&error), "could not write the member's description")
            }
        }
    }

    /// At the end: others take the shards while this server still triggers, as far as there are others; then the loops end.
    async fn step_down(mut self) {
        self.ownership.draining.store(true, Ordering::Relaxed);
        let give_up = Instant::now() + STEP_DOWN_PATIENCE;
        loop {
            self.reconcile().await;
            let owned = self.held.values().any(|held| held.claimed.is_some());
            if !owned || self.live_servers().is_empty() || Instant::now() >= give_up {
                break;
            }
            tokio::time::sleep(HAND_OVER_PERIOD).await;
        }
        for held in self.held.values() {
            held.stop.cancel();
        }
        for shard in std::mem::take(&mut self.held).into_keys() {
            self.shell.switchboard.remove_shard(shard);
        }
        while self.loops.join_next().await.is_some() {}
    }
}

impl Held {
    /// This server has claimed the epoch.
    async fn owns(&mut self, epoch: Epoch) {
        self.free_since = None;
        if self.claimed != Some(epoch) {
            self.claimed = Some(epoch);
            self.since = Instant::now();
            self.handle.request(Request::Own { epoch }).await;
        }
    }
}

/// Waits for a hint that may concern ownership.
async fn wake(hints: &mut carillon_coordination::Hints) {
    loop {
        match hints.next().await {
            Some(Hint::LockChanged(_)) => {}
            Some(_) => return,
            // The handle is gone; the period goes on.
            None => std::future::pending().await,
        }
    }
}
