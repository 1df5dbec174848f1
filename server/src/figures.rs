//! The figures of each minute, by task group and for all groups together: counted here, written to the store every few seconds, so that
//! pages never read the runs for them. For observers only: nothing is decided by it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carillon_core::ids::{GroupId, RunKey};
use carillon_core::time::Timestamp;
use carillon_store::SharedStore;
use carillon_store::observed::{Figures as Counts, Rollup, RollupSpan};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::events::Tally;

/// How often what was counted is written: a page that opens sees the running minute, and the store sees one small statement.
const WRITE_EVERY: Duration = Duration::from_secs(10);

/// The last write of a server that stops must not keep it.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// Minutes kept while the store does not take them: two hours, longer than an outage that nobody has noticed.
const MOST_MINUTES: usize = 120;

/// Figures that are not written yet, or whose minute is not over.
#[derive(Debug)]
pub(crate) struct Figures {
    /// Marks this process, so that what it writes again is the same row and what another one writes adds up.
    writer: u64,
    minutes: Mutex<BTreeMap<Timestamp, Minute>>,
}

#[derive(Debug, Default)]
struct Minute {
    counts: BTreeMap<Option<GroupId>, Counts>,
    /// Groups with something that is not written.
    unwritten: BTreeSet<Option<GroupId>>,
}

impl Figures {
    pub(crate) fn new() -> Self {
        Self { writer: rand::random::<u64>() >> 1, minutes: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Timestamp, Minute>> {
        // Figures for people: a panic while one was counted leaves nothing worth refusing.
        self.minutes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what a shard's step brought.
    pub(crate) fn tally(&self, now: Timestamp, group: GroupId, tally: &Tally) {
        let finals = tally.succeeded + tally.failed + tally.missed + tally.skipped;
        if tally.started.is_empty() && finals == 0 {
            return;
        }
        let mut minutes = self.lock();
        let minute = minutes.entry(now.floor(RollupSpan::Minute.length())).or_default();
        for group in [None, Some(group)] {
            let counts = minute.counts.entry(group).or_default();
            counts.succeeded += tally.succeeded;
            counts.failed += tally.failed;
            counts.missed += tally.missed;
            counts.skipped += tally.skipped;
            for (run, late_ms) in &tally.started {
                let run: RunKey = *run;
                counts.start(run, *late_ms);
            }
            minute.unwritten.insert(group);
        }
    }

    /// What is to be written, each row as it stands now.
    fn unwritten(&self) -> Vec<Rollup> {
        let mut minutes = self.lock();
        while minutes.len() > MOST_MINUTES {
            minutes.pop_first();
        }
        let rows = minutes.iter_mut().flat_map(|(begins_at, minute)| {
            let counts = &minute.counts;
            std::mem::take(&mut minute.unwritten).into_iter().map(|group| Rollup {
                span: RollupSpan::Minute,
                begins_at: *begins_at,
                group,
                writer: self.writer,
                figures: counts.get(&group).cloned().unwrap_or_default(),
            })
        });
        rows.collect()
    }

    /// The store did not take them.
    fn give_back(&self, rows: &[Rollup]) {
        let mut minutes = self.lock();
        for row in rows {
            if let Some(minute) = minutes.get_mut(&row.begins_at) {
                minute.unwritten.insert(row.group);
            }
        }
    }

    /// Forgets the minutes that are over and written.
    fn forget_before(&self, minute: Timestamp) {
        self.lock().retain(|begins_at, kept| *begins_at >= minute || !kept.unwritten.is_empty());
    }

    async fn write(&self, store: &SharedStore, now: Timestamp) {
        let rows = self.unwritten();
        if !rows.is_empty()
            && let Err(error) = store.write_rollups(&rows).await
        {
            tracing::debug!(error = %crate::chain(&error), "could not write the figures yet");
            self.give_back(&rows);
        }
        self.forget_before(now.floor(RollupSpan::Minute.length()));
    }
}

/// The loop "figures": writes what was counted; a last time when it is stopped.
pub(crate) async fn run(figures: Arc<Figures>, store: SharedStore, clock: Clock, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(WRITE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => figures.write(&store, clock.now()).await,
        }
    }
    // Nobody waits for it longer: these are figures.
    let _ = tokio::time::timeout(LAST_WRITE, figures.write(&store, clock.now())).await;
}

#[cfg(test)]
mod tests {
    use carillon_core::ids::JobId;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_minute_is_written_as_it_grows_and_forgotten_when_it_is_over() {
        let figures = Figures::new();
        let group = GroupId::new(101, 1, 2, 6601).unwrap();
        let run = RunKey::scheduled(JobId::new(1), at("2026-11-20T09:00:01Z"));
        let start = Tally { started: vec![(run, 3)], ..Tally::default() };
        figures.tally(at("2026-11-20T09:00:01Z"), group, &start);
        let rows = figures.unwritten();
        assert_eq!(
            rows.iter().map(|row| (row.group, row.figures.started)).collect::<Vec<_>>(),
            [(None, 1), (Some(group), 1)]
        );
        assert!(figures.unwritten().is_empty(), "nothing new");
        figures.tally(at("2026-11-20T09:00:59Z"), group, &start);
        figures.tally(at("2026-11-20T09:01:00Z"), group, &Tally { missed: 1, ..Tally::default() });
        let rows = figures.unwritten();
        let told: Vec<_> =
            rows.iter().map(|row| (row.begins_at, row.figures.started, row.figures.missed)).collect();
        let (first, second) = (at("2026-11-20T09:00:00Z"), at("2026-11-20T09:01:00Z"));
        assert_eq!(told, [(first, 2, 0), (first, 2, 0), (second, 0, 1), (second, 0, 1)]);
        figures.give_back(&rows[..2]);
        figures.forget_before(second);
        assert_eq!(figures.unwritten().len(), 2, "what the store did not take is kept");
        figures.forget_before(at("2026-11-20T09:02:00Z"));
        assert!(figures.lock().is_empty());
    }
}
