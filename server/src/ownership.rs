//! Ownership: which shards this server holds and which of them it owns.
//!
//! A reconciler without input: woken by a hint, by its period, by a link with a peer that broke, or by a request to drain, it reads the
//! shards, the members and the locks, and does the same thing every time. The trigger lock says who should act first; the claim in the store
//! says who may (trigger-protocol: "Trigger lock"). So a lost lock changes nothing until another server has claimed the shard, and nobody
//! takes a shard whose owner is heard and keeps it, lock or not.
//!
//! One thing is asked for: a standby's engine that sees a shard not planned wants it taken over ([`Ownership::take_over`]). That needs the
//! store alone; the lock follows. How owners are spread over the holders stands in `spread`.

mod dead;
mod spread;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use carillon_coordination::{
    Coordination, Hint, LockData, LockHolder, LockKey, LockOutcome, LockVersion, Member, MemberKind,
};
use carillon_core::engine::Input;
use carillon_core::ids::{Epoch, ServerId, ShardId};
use carillon_core::placement;
use carillon_store::shards::{ClaimCause, ClaimNote, ShardRow};
use futures::StreamExt as _;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::committer::Committer;
use crate::peers::{ANYBODY, OwnerSays};
use crate::shard_loop::{Request, ShardHandle, ShardLoop, Shell};
use dead::Dead;

/// How often the reconciler looks without a hint.
const PERIOD: Duration = Duration::from_secs(1);

/// How often it looks while shards are being handed over.
const HAND_OVER_PERIOD: Duration = Duration::from_millis(50);

/// How long hints are gathered: a server that dies releases many locks at once.
const GATHER: Duration = Duration::from_millis(5);

/// How much longer each later holder waits before it takes a free lock, so that the preferred owner usually has it.
const AFTER_YOU: Duration = Duration::from_millis(150);

/// The longest such wait, so that a shard is not without an owner for long whoever is missing.
const LONGEST_AFTER_YOU: Duration = Duration::from_millis(300);

/// Shards claimed side by side: enough that a thousand take a second or two, few enough to leave the database alone.
const CLAIMS_AT_ONCE: usize = 16;

/// Shards handed over side by side: each is a load of its jobs at the taker.
const HAND_OVERS_AT_ONCE: usize = 8;

/// How long a server that stops waits for others to take its shards.
const STEP_DOWN_PATIENCE: Duration = Duration::from_secs(2);

/// How long a server that could not claim a shard leaves its lock to others.
const AFTER_FAILED_CLAIM: Duration = Duration::from_secs(1);

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

    /// Claims the shards that a standby's engine sees not planned, without the coordinator and without waiting for the trigger lock: whoever
    /// has that is stuck, and [`contend`](Self::contend) takes it away when it can.
    async fn take_over(&mut self) {
        for (shard, TakeOver { seen, why }) in self.ownership.wanted_take_overs() {
            let Some(held) = self.held.get_mut(&shard).filter(|_| !self.ownership.is_draining()) else {
                continue;
            };
            let note = claim_note(&self.shell, &self.member, ClaimCause::OwnerLags);
            match claim(&self.shell, shard, seen, &note).await {
                Ok(Some(epoch)) => {
                    tracing::warn!(%shard, %epoch, why, "the shard was not planned, so this server takes it over");
                    self.shell.metrics.takeover("not_planning");
                    held.owns(epoch).await;
                }
                Ok(None) => tracing::debug!(%shard, "another server was faster to take the shard over"),
                Err(()) => {}
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

    /// Tries to become the owner of every held shard that has none who acts. Returns when a lock that is left to others so far is due.
    async fn contend(&mut self, rows: Vec<ShardRow>, live: &BTreeSet<ServerId>) -> Option<Duration> {
        // Without the coordinator nobody takes a shard over by its lock; an owner goes on.
        let locks = self.coordination.locks().await.ok();
        let minimum_hold = Duration::from_millis(self.shell.engine.minimum_hold.as_millis());
        let now = Instant::now();
        let mut later: Option<Duration> = None;
        let mut sooner = |wait: Duration| later = Some(later.map_or(wait, |later: Duration| later.min(wait)));
        let mut tries = Vec::new();
        for row in rows {
            let Some(held) = self.held.get_mut(&row.id) else { continue };
            let owns = row.owner.as_ref() == Some(&self.shell.me) && held.claimed == Some(row.epoch);
            if !owns && held.claimed.take_if(|claimed| *claimed < row.epoch).is_some() {
                held.given_to = None;
                self.shell.peers.yields(row.id, None);
                held.handle.request(Request::Disown { why: "another server has claimed it" }).await;
            }
            if held.epoch_seen.0 != row.epoch {
                held.epoch_seen = (row.epoch, now);
            }
            let Some(locks) = &locks else { continue };
            let holder = locks.get(&held.key);
            let says = if owns { OwnerSays::Nothing } else { self.shell.peers.owner_says(row.id, row.epoch) };
            if matches!(says, OwnerSays::Keeps | OwnerSays::Leave) {
                // An owner that is heard keeps its shard, also while it cannot reach the coordinator. A lock of an earlier time is in its way.
                held.free_since = None;
                if holder.is_some_and(|holder| holder.mine)
                    && let Err(error) = self.coordination.release(&held.key).await
                {
                    tracing::debug!(shard = %row.id, error = %crate::chain(&error), "could not release the trigger lock yet");
                }
                continue;
            }
            if held.given_to.is_some() {
                continue;
            }
            let mut stuck = None;
            if let Some(holder) = holder.filter(|holder| !holder.mine) {
                // Whoever has the lock for an epoch that is over is stuck, or cannot have heard of it. One without an epoch is about to claim.
                let over = owns && holder.data.epoch.is_some_and(|epoch| epoch < row.epoch.get());
                // Its session outlives a dead server by seconds. A shard that has just changed hands is left alone, against servers that
                // take each other for dead.
                let dead = !owns
                    && now - held.epoch_seen.1 >= minimum_hold
                    && row.owner.as_ref().is_some_and(|owner| {
                        owner.as_str() == holder.member.as_str() && self.dead.contains(owner)
                    });
                if !over && !dead {
                    held.free_since = None;
                    continue;
                }
                stuck = Some(holder.version);
            } else if owns && holder.is_some() {
                continue;
            }
            if let Some(wait) =
                held.not_before.map(|at| at.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
            {
                sooner(wait);
                continue;
            }
            let since = *held.free_since.get_or_insert(now);
            let wait = if owns || holder.is_some_and(|holder| holder.mine) {
                Duration::ZERO
            } else {
                politeness(&row, &self.shell.me, live)
            };
            let waited = now - since;
            if waited < wait {
                sooner(wait - waited);
                continue;
            }
            let cause = match says {
                OwnerSays::Take => ClaimCause::HandedOver,
                _ if stuck.is_some() => ClaimCause::OwnerGone,
                _ => claim_cause(&row, &self.shell.me, &self.members),
            };
            tries.push((row, held.key.clone(), owns, stuck, cause));
        }
        let claims: HashMap<ShardId, Claim> = futures::stream::iter(tries)
            .map(|(row, key, owns, stuck, cause)| {
                let (shell, coordination) = (&self.shell, &self.coordination);
                let note = claim_note(shell, &self.member, cause);
                async move {
                    (row.id, lock_and_claim(shell, &**coordination, &row, &key, owns, stuck, &note).await)
                }
            })
            .buffer_unordered(CLAIMS_AT_ONCE)
            .collect()
            .await;
        for (shard, claim) in claims {
            let Some(held) = self.held.get_mut(&shard) else { continue };
            match claim {
                Claim::Owner(epoch) => held.owns(epoch).await,
                Claim::Taken => held.free_since = None,
                Claim::Failed => held.not_before = Some(Instant::now() + AFTER_FAILED_CLAIM),
                Claim::Again => later = Some(later.unwrap_or(PERIOD).min(Duration::from_millis(100))),
            }
        }
        later
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

/// What became of a try to own a shard.
enum Claim {
    Owner(Epoch),
    /// Another server has the lock, or was faster.
    Taken,
    /// The store did not take the claim; the lock was released, since another server may reach the store.
    Failed,
    /// It could not be tried, or somebody was faster.
    Again,
}

/// How long a server leaves a free lock to the holders before it.
fn politeness(row: &ShardRow, me: &ServerId, live: &BTreeSet<ServerId>) -> Duration {
    let before =
        row.holders.iter().take_while(|holder| *holder != me).filter(|holder| live.contains(*holder)).count();
    (AFTER_YOU * before as u32).min(LONGEST_AFTER_YOU)
}

/// Why a shard whose trigger lock is free may be claimed: for the record that people read.
fn claim_cause(row: &ShardRow, me: &ServerId, members: &[Member]) -> ClaimCause {
    let Some(owner) = &row.owner else { return ClaimCause::First };
    if owner == me {
        return ClaimCause::Again;
    }
    let member = members
        .iter()
        .find(|member| member.kind == MemberKind::Server && member.id.as_str() == owner.as_str());
    match member {
        None => ClaimCause::OwnerGone,
        Some(member) if member.draining || !row.holders.contains(owner) => ClaimCause::HandedOver,
        Some(_) => ClaimCause::LockLost,
    }
}

/// What the record of a claim made now says.
fn claim_note(shell: &Shell, member: &Member, cause: ClaimCause) -> ClaimNote {
    ClaimNote { at: shell.clock.now(), room: member.room.clone(), cause }
}

async fn lock_and_claim(
    shell: &Shell,
    coordination: &dyn Coordination,
    row: &ShardRow,
    key: &LockKey,
    owns: bool,
    stuck: Option<LockVersion>,
    note: &ClaimNote,
) -> Claim {
    let data = if owns { LockData::with_epoch(row.epoch.get()) } else { LockData::default() };
    let locked = match stuck {
        Some(seen) => coordination.displace(key, seen, data).await,
        None => coordination.try_lock(key, data).await,
    };
    match locked {
        Ok(LockOutcome::Acquired { .. }) if owns => return Claim::Owner(row.epoch),
        Ok(LockOutcome::Acquired { .. }) => {}
        Ok(LockOutcome::HeldBy(LockHolder { member, .. })) => {
            tracing::debug!(shard = %row.id, holder = %member, "another server has the trigger lock");
            return Claim::Taken;
        }
        Err(error) => {
            tracing::debug!(shard = %row.id, error = %crate::chain(&error), "could not take the trigger lock");
            return Claim::Again;
        }
    }
    let epoch = match claim(shell, row.id, row.epoch, note).await {
        Ok(Some(epoch)) => epoch,
        // Somebody else claimed it since it was read: look again.
        Ok(None) => return Claim::Again,
        Err(()) => {
            // Not released is not lost: the lock is still ours then, and the claim is tried again.
            let _ = coordination.release(key).await;
            return Claim::Failed;
        }
    };
    tracing::info!(shard = %row.id, %epoch, "the shard is claimed by this server");
    if row.owner.as_ref().is_some_and(|owner| *owner != shell.me) {
        let cause = match note.cause {
            ClaimCause::HandedOver => "planned",
            _ if stuck.is_some() => "dead",
            _ => "lock_free",
        };
        shell.metrics.takeover(cause);
    }
    if let Err(error) = coordination.update_lock(key, LockData::with_epoch(epoch.get())).await {
        // For observers, and for whoever would displace it.
        tracing::debug!(shard = %row.id, error = %crate::chain(&error), "could not write the epoch into the trigger lock");
    }
    Claim::Owner(epoch)
}

/// Makes this server the owner by the store's word; none where somebody else was faster, an error where the store does not say.
async fn claim(shell: &Shell, shard: ShardId, seen: Epoch, note: &ClaimNote) -> Result<Option<Epoch>, ()> {
    match shell.store.claim(shard, seen, &shell.me, note).await {
        Ok(epoch) => Ok(epoch),
        Err(error) => {
            tracing::warn!(%shard, error = %crate::chain(&error), "could not claim the shard");
            shell.metrics.store_failures.inc();
            match shell.store.shard(shard).await {
                Ok(Some(now)) if now.epoch == seen.next() && now.owner.as_ref() == Some(&shell.me) => {
                    Ok(Some(now.epoch))
                }
                _ => Err(()),
            }
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
