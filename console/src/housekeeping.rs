//! What one console does for all: sums figures into hours, and drops what is older than it is kept. Elected by a lock; whoever has it does a
//! bounded amount of work every minute, so that nobody notices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use carillon_coordination::{LockData, LockKey};
use carillon_core::ids::GroupId;
use carillon_core::time::{Span, Timestamp};
use carillon_store::StoreError;
use carillon_store::observed::RollupSpan;
use tokio_util::sync::CancellationToken;

use crate::console::Console;
use crate::problem::chain;

/// How often the elected one looks.
const PERIOD: Duration = Duration::from_secs(60);

/// Runs of one transaction: some ten milliseconds of a database's time, so that no trigger waits behind it for long.
const RUNS_AT_ONCE: usize = 500;

/// Between two such transactions.
const BREATHER: Duration = Duration::from_millis(20);

/// Transactions of a round: with the pauses at most some 20 s of a minute, and 600,000 runs an hour above the bound of what is due.
const MOST_BATCHES: usize = 200;

/// How long figures of minutes are kept: what charts of a day and of the last hours need.
const MINUTES_KEPT: Span = Span::from_secs(3 * 24 * 3600);

/// How long figures of hours are kept.
const HOURS_KEPT: Span = Span::from_secs(400 * 24 * 3600);

/// How long changes of owner are kept.
const HAND_OVERS_KEPT: Span = Span::from_secs(90 * 24 * 3600);

/// A minute's figures may come this late, from a server that could not reach the store; its hour is summed again until then.
const LATE_FIGURES: Span = Span::from_secs(3 * 3600);

/// The loop "housekeeping".
pub(crate) async fn run(console: Arc<Console>, shutdown: CancellationToken) {
    let key = LockKey::new("housekeeping").expect("a plain word is a key");
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(PERIOD) => {}
        }
        if !is_elected(&console, &key).await {
            continue;
        }
        let round = keep_house(&console);
        tokio::select! {
            () = shutdown.cancelled() => break,
            done = round => if let Err(error) = done {
                tracing::warn!(error = %chain(&error), "could not keep house; it is tried again in a minute");
            },
        }
    }
    if console.coordination.holds(&key) {
        // The session's end releases it otherwise.
        let _ = console.coordination.release(&key).await;
    }
}

async fn is_elected(console: &Console, key: &LockKey) -> bool {
    if console.coordination.holds(key) {
        return true;
    }
    let tried = console.coordination.try_lock(key, LockData::default()).await;
    tried.is_ok_and(|outcome| outcome.is_acquired())
}

impl Console {
    /// One round of what one console does for all, every minute: sums figures, drops old runs, figures and records. Bounded; what is left is
    /// for the next round.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn keep_house(&self) -> Result<(), StoreError> {
        keep_house(self).await
    }
}

async fn keep_house(console: &Console) -> Result<(), StoreError> {
    let now = console.now();
    sum_figures(console, now).await?;
    let store = &console.store;
    for (span, kept) in [(RollupSpan::Minute, MINUTES_KEPT), (RollupSpan::Hour, HOURS_KEPT)] {
        store.drop_rollups_before(span, now.saturating_sub(kept), RUNS_AT_ONCE).await?;
    }
    store.drop_hand_overs_before(now.saturating_sub(HAND_OVERS_KEPT), RUNS_AT_ONCE).await?;
    let dropped = drop_runs(console, now).await?;
    if dropped > 0 {
        tracing::info!(dropped, "dropped runs that are older than they are kept");
    }
    Ok(())
}

/// Sums the hours that are over.
async fn sum_figures(console: &Console, now: Timestamp) -> Result<(), StoreError> {
    let length = RollupSpan::Hour.length();
    let this_hour = now.floor(length);
    // The last few again, for figures that came late; and those that nobody has summed while there was no console.
    let mut hour = this_hour.saturating_sub(LATE_FIGURES);
    if let Some(first) = console.store.first_hour_to_sum(this_hour).await? {
        hour = hour.min(first.max(now.saturating_sub(MINUTES_KEPT).floor(length)));
    }
    while hour < this_hour {
        console.store.sum_hour(hour).await?;
        hour = hour + length;
    }
    Ok(())
}

/// Drops runs that are older than their group keeps them; returns how many.
async fn drop_runs(console: &Console, now: Timestamp) -> Result<usize, StoreError> {
    let ago = |days: u32| now.saturating_sub(Span::from_secs(u64::from(days) * 24 * 3600));
    let own: BTreeMap<GroupId, u32> = console.store.retentions().await?.into_iter().collect();
    let longest = own.values().copied().max().unwrap_or(0).max(console.config.keep_days);
    let mut room = MOST_BATCHES;
    let mut dropped = 0;
    // Along the fire time, whatever the group: the cheap way, and the only one for groups that are gone.
    dropped += drop_by(console, &mut room, None, ago(longest)).await?;
    if own.is_empty() {
        return Ok(dropped);
    }
    let mut after = None;
    loop {
        let groups = console.store.groups(after, 500).await?;
        for group in &groups {
            let days = own.get(&group.id).copied().unwrap_or(console.config.keep_days);
            if days < longest && room > 0 {
                dropped += drop_by(console, &mut room, Some(group.id), ago(days)).await?;
            }
        }
        match groups.last() {
            Some(last) if room > 0 => after = Some(last.id),
            _ => return Ok(dropped),
        }
    }
}

async fn drop_by(
    console: &Console,
    room: &mut usize,
    group: Option<GroupId>,
    before: Timestamp,
) -> Result<usize, StoreError> {
    let mut dropped = 0;
    while *room > 0 {
        *room -= 1;
        let some = match group {
            None => console.store.drop_runs_before(before, RUNS_AT_ONCE).await?,
            Some(group) => console.store.drop_runs_of(group, before, RUNS_AT_ONCE).await?,
        };
        dropped += some;
        if some < RUNS_AT_ONCE {
            break;
        }
        tokio::time::sleep(BREATHER).await;
    }
    Ok(dropped)
}
