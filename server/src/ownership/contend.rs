//! Contending for a shard: who takes a free trigger lock, when a lock is taken from somebody who is stuck or dead, and the claim in the store.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use carillon_coordination::{
    Coordination, LockData, LockHolder, LockKey, LockOutcome, LockVersion, Member, MemberKind,
};
use carillon_core::ids::{Epoch, ServerId, ShardId};
use carillon_store::shards::{ClaimCause, ClaimNote, ShardRow};
use futures::StreamExt as _;
use tokio::time::Instant;

use super::{PERIOD, Reconciler, TakeOver};
use crate::peers::OwnerSays;
use crate::shard_loop::{Request, Shell};

/// How much longer each later holder waits before it takes a free lock, so that the preferred owner usually has it.
const AFTER_YOU: Duration = Duration::from_millis(150);

/// The longest such wait, so that a shard is not without an owner for long whoever is missing.
const LONGEST_AFTER_YOU: Duration = Duration::from_millis(300);

/// Shards claimed side by side: enough that a thousand take a second or two, few enough to leave the database alone.
const CLAIMS_AT_ONCE: usize = 16;

/// How long a server that could not claim a shard leaves its lock to others.
const AFTER_FAILED_CLAIM: Duration = Duration::from_secs(1);

/// How soon a server looks again where somebody was faster, or the lock could not be asked for.
const AFTER_LOST_RACE: Duration = Duration::from_millis(100);

/// Whether a held shard may be tried for.
enum Chance {
    No,
    /// Not yet: others come first for so long.
    After(Duration),
    Now(Try),
}

/// A try to own a shard, or to have the lock of one that is owned.
struct Try {
    row: ShardRow,
    key: LockKey,
    owns: bool,
    /// Who has the lock is to be displaced.
    stuck: Option<LockVersion>,
    cause: ClaimCause,
}

impl Reconciler {
    /// Claims the shards that a standby's engine sees not planned, without the coordinator and without waiting for the trigger lock: whoever
    /// has that is stuck, and [`contend`](Self::contend) takes it away when it can.
    pub(super) async fn take_over(&mut self) {
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

    /// Tries to become the owner of every held shard that has none who acts. Returns when a lock that is left to others so far is due.
    pub(super) async fn contend(
        &mut self,
        rows: Vec<ShardRow>,
        live: &BTreeSet<ServerId>,
    ) -> Option<Duration> {
        // Without the coordinator nobody takes a shard over by its lock; an owner goes on.
        let locks = self.coordination.locks().await.ok();
        let mut later: Option<Duration> = None;
        let mut sooner = |wait: Duration| later = Some(later.map_or(wait, |later: Duration| later.min(wait)));
        let mut tries = Vec::new();
        for row in rows {
            match self.chance(row, locks.as_ref(), live).await {
                Chance::No => {}
                Chance::After(wait) => sooner(wait),
                Chance::Now(now) => tries.push(now),
            }
        }
        let (shell, member, coordination) = (&self.shell, &self.member, &*self.coordination);
        let claims: HashMap<ShardId, Claim> = futures::stream::iter(tries)
            .map(|this: Try| async move {
                let note = claim_note(shell, member, this.cause);
                (this.row.id, lock_and_claim(shell, coordination, &this, &note).await)
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
                Claim::Again => later = Some(later.unwrap_or(PERIOD).min(AFTER_LOST_RACE)),
            }
        }
        later
    }

    /// Looks at a held shard: ends what was owned and is no longer, and says whether it may be tried for.
    async fn chance(
        &mut self,
        row: ShardRow,
        locks: Option<&BTreeMap<LockKey, LockHolder>>,
        live: &BTreeSet<ServerId>,
    ) -> Chance {
        let Some(held) = self.held.get_mut(&row.id) else { return Chance::No };
        let (me, now) = (&self.shell.me, Instant::now());
        let owns = row.owner.as_ref() == Some(me) && held.claimed == Some(row.epoch);
        if !owns && held.claimed.take_if(|claimed| *claimed < row.epoch).is_some() {
            held.given_to = None;
            self.shell.peers.yields(row.id, None);
            held.handle.request(Request::Disown { why: "another server has claimed it" }).await;
        }
        if held.epoch_seen.0 != row.epoch {
            held.epoch_seen = (row.epoch, now);
        }
        let Some(locks) = locks else { return Chance::No };
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
            return Chance::No;
        }
        if held.given_to.is_some() {
            return Chance::No;
        }
        let mut stuck = None;
        if let Some(holder) = holder.filter(|holder| !holder.mine) {
            // Whoever has the lock for an epoch that is over is stuck, or cannot have heard of it. One without an epoch is about to claim.
            let over = owns && holder.data.epoch.is_some_and(|epoch| epoch < row.epoch.get());
            // Its session outlives a dead server by seconds. A shard that has just changed hands is left alone, against servers that take
            // each other for dead.
            let minimum_hold = Duration::from_millis(self.shell.engine.minimum_hold.as_millis());
            let owner = row.owner.as_ref().filter(|owner| owner.as_str() == holder.member.as_str());
            let dead = !owns
                && now - held.epoch_seen.1 >= minimum_hold
                && owner.is_some_and(|owner| self.dead.contains(owner));
            if !over && !dead {
                held.free_since = None;
                return Chance::No;
            }
            stuck = Some(holder.version);
        } else if owns && holder.is_some() {
            return Chance::No;
        }
        let barred = held.not_before.map(|at| at.saturating_duration_since(now));
        if let Some(wait) = barred.filter(|wait| !wait.is_zero()) {
            return Chance::After(wait);
        }
        let waited = now - *held.free_since.get_or_insert(now);
        let wait = if owns || holder.is_some_and(|holder| holder.mine) {
            Duration::ZERO
        } else {
            politeness(&row, me, live)
        };
        if waited < wait {
            return Chance::After(wait - waited);
        }
        let cause = match says {
            OwnerSays::Take => ClaimCause::HandedOver,
            _ if stuck.is_some() => ClaimCause::OwnerGone,
            _ => claim_cause(&row, me, &self.members),
        };
        Chance::Now(Try { key: held.key.clone(), row, owns, stuck, cause })
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
    this: &Try,
    note: &ClaimNote,
) -> Claim {
    let Try { row, key, owns, stuck, .. } = this;
    let data = if *owns { LockData::with_epoch(row.epoch.get()) } else { LockData::default() };
    let locked = match stuck {
        Some(seen) => coordination.displace(key, *seen, data).await,
        None => coordination.try_lock(key, data).await,
    };
    match locked {
        Ok(LockOutcome::Acquired { .. }) if *owns => return Claim::Owner(row.epoch),
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
