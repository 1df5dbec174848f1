//! What pages show without reading runs: figures of each minute and hour, and how long a group's history is kept.

use async_trait::async_trait;
use carillon_core::ids::{GroupId, RunKey};
use carillon_core::time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// The upper bounds of the lateness counts in milliseconds, each inclusive; one more count is for what is later than the last. Close
/// together where an operator's objective may lie (1 ms to 1 s), wide where only "much too late" matters.
pub const LATENESS_BOUNDS_MS: [u64; 26] = [
    0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000,
    5_000, 10_000, 30_000, 60_000,
];

/// How many of the latest starts a rollup names: as many as a page shows of them.
pub const WORST_KEPT: usize = 10;

/// How many starts were how late.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lateness {
    /// By [`LATENESS_BOUNDS_MS`]; zeroes at the end are left out.
    counts: Vec<u64>,
}

impl Lateness {
    /// Counts a start. One before its time, as a clock's correction may make it, counts as on time.
    pub fn record(&mut self, millis: i64) {
        let millis = millis.max(0).unsigned_abs();
        let place = LATENESS_BOUNDS_MS.partition_point(|bound| *bound < millis);
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += 1;
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Self) {
        if self.counts.len() < other.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        for (sum, more) in self.counts.iter_mut().zip(&other.counts) {
            *sum += more;
        }
    }

    /// How many starts were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many starts were at most so late, as far as the bounds tell: those of the bound at or below `limit`.
    pub fn within(&self, limit: Span) -> u64 {
        let places = LATENESS_BOUNDS_MS.partition_point(|bound| *bound <= limit.as_millis());
        self.counts.iter().take(places).sum()
    }

    /// The lateness in milliseconds that a share (0 to 1) of the starts did not exceed, read off between the bounds; `latest` bounds what
    /// is later than the last of them. None without starts.
    pub fn quantile(&self, share: f64, latest: u64) -> Option<f64> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let rank = share.clamp(0.0, 1.0) * total as f64;
        let mut below = 0.0;
        for (place, count) in self.counts.iter().enumerate() {
            let count = *count as f64;
            if count > 0.0 && below + count >= rank {
                let upper = LATENESS_BOUNDS_MS.get(place).copied().unwrap_or(latest).min(latest) as f64;
                let lower =
                    place.checked_sub(1).map_or(0.0, |place| LATENESS_BOUNDS_MS[place] as f64).min(upper);
                return Some(lower + (upper - lower) * ((rank - below) / count).clamp(0.0, 1.0));
            }
            below += count;
        }
        Some(latest as f64)
    }
}

/// What happened in some span of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Handlers that started, each attempt once.
    pub started: u64,
    /// Runs that succeeded.
    pub succeeded: u64,
    /// Runs that failed for good, died or timed out.
    pub failed: u64,
    /// Fires that could not start in time.
    pub missed: u64,
    /// Fires that a policy left out.
    pub skipped: u64,
    /// The largest lateness of a start, in milliseconds.
    pub lateness_max_ms: u64,
    /// How late the starts were.
    pub lateness: Lateness,
    /// The latest starts, worst first, at most [`WORST_KEPT`].
    pub worst: Vec<LateStart>,
}

/// A start and how late it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateStart {
    /// Milliseconds after its time.
    pub late_ms: u64,
    /// The run.
    pub run: RunKey,
}

impl Figures {
    /// Counts a start; names it where it is among the worst.
    pub fn start(&mut self, run: RunKey, late_ms: i64) {
        self.started += 1;
        self.lateness.record(late_ms);
        let late_ms = late_ms.max(0).unsigned_abs();
        self.lateness_max_ms = self.lateness_max_ms.max(late_ms);
        let is_worse = self.worst.last().is_none_or(|last| late_ms > last.late_ms);
        if is_worse || self.worst.len() < WORST_KEPT {
            self.name(LateStart { late_ms, run });
        }
    }

    /// Adds the figures of another.
    pub fn add(&mut self, other: &Self) {
        self.started += other.started;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.missed += other.missed;
        self.skipped += other.skipped;
        self.lateness_max_ms = self.lateness_max_ms.max(other.lateness_max_ms);
        self.lateness.add(&other.lateness);
        other.worst.iter().for_each(|start| self.name(*start));
    }

    fn name(&mut self, start: LateStart) {
        let place = self.worst.partition_point(|other| other.late_ms >= start.late_ms);
        self.worst.insert(place, start);
        self.worst.truncate(WORST_KEPT);
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.started + self.succeeded + self.failed + self.missed + self.skipped == 0
    }
}

/// How much time a rollup covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RollupSpan {
    /// As the servers write them; kept for days.
    Minute,
    /// Summed from minutes; kept for months.
    Hour,
}

impl RollupSpan {
    /// Its length.
    pub const fn length(self) -> Span {
        match self {
            Self::Minute => Span::from_secs(60),
            Self::Hour => Span::from_secs(3_600),
        }
    }
}

/// Figures of one minute or hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollup {
    /// How much time it covers.
    pub span: RollupSpan,
    /// Its first instant, a multiple of its length.
    pub begins_at: Timestamp,
    /// The task group; none for all groups together.
    pub group: Option<GroupId>,
    /// One start of a server's process, so that two of them add up and a repeated write is the same row; 0 for sums. At most 63 bits.
    pub writer: u64,
    /// What happened.
    pub figures: Figures,
}

/// Figures over time, and how long history is kept.
#[async_trait]
pub trait ObservedStore {
    /// Writes figures; a row with the same span, begin, group and writer is replaced. Safe to repeat.
    async fn write_rollups(&self, rollups: &[Rollup]) -> Result<(), StoreError>;

    /// The figures of spans that begin in `[from, to)`, oldest first, one for each writer: of the named groups, or of all groups
    /// together.
    async fn rollups(
        &self,
        span: RollupSpan,
        groups: Option<&[GroupId]>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Rollup>, StoreError>;

    /// Sums the minutes of the hour that begins at `hour` into hours, by group. Safe to repeat as long as the minutes are there.
    async fn sum_hour(&self, hour: Timestamp) -> Result<(), StoreError>;

    /// Where summing has to go on: the hour of the oldest minute that is not part of a summed hour and begins before `before`.
    async fn first_hour_to_sum(&self, before: Timestamp) -> Result<Option<Timestamp>, StoreError>;

    /// Deletes figures that began before an instant, a bounded number at a call; returns how many.
    async fn drop_rollups_before(
        &self,
        span: RollupSpan,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, StoreError>;

    /// The groups that keep their runs for another time than the setting says, in days.
    async fn retentions(&self) -> Result<Vec<(GroupId, u32)>, StoreError>;

    /// How many days a group keeps its runs; none where it goes by the setting.
    async fn retention(&self, group: GroupId) -> Result<Option<u32>, StoreError>;

    /// Sets or takes back how many days a group keeps its runs.
    async fn set_retention(&self, group: GroupId, days: Option<u32>) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use carillon_core::ids::JobId;

    use super::*;

    #[test]
    fn quantiles_lie_between_the_bounds_and_never_above_the_latest() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.quantile(0.5, 0), None);
        (0..98).for_each(|_| lateness.record(2));
        lateness.record(-5);
        lateness.record(170_000);
        assert_eq!((lateness.total(), lateness.within(Span::from_millis(2))), (100, 99));
        let median = lateness.quantile(0.5, 170_000).unwrap();
        assert!((1.0..=2.0).contains(&median), "{median}");
        assert_eq!(lateness.quantile(1.0, 170_000), Some(170_000.0));
        assert!(lateness.quantile(0.99, 170_000).unwrap() <= 2.0);
    }

    #[test]
    fn an_objective_between_two_bounds_counts_only_what_surely_met_it() {
        let mut lateness = Lateness::default();
        lateness.record(60);
        assert_eq!(lateness.within(Span::from_millis(60)), 0);
        assert_eq!(lateness.within(Span::from_millis(75)), 1);
    }

    #[test]
    fn the_worst_starts_are_kept_in_order_however_figures_are_added() {
        let key = |millis: i64| RunKey::scheduled(JobId::new(1), Timestamp::from_millis(millis));
        let mut halves = [Figures::default(), Figures::default()];
        for millis in 0..100_i64 {
            halves[usize::from(millis % 2 == 0)].start(key(millis), (millis * 37) % 101);
        }
        let [mut sum, other] = halves;
        sum.add(&other);
        let late: Vec<u64> = sum.worst.iter().map(|start| start.late_ms).collect();
        assert_eq!(sum.started, 100);
        assert_eq!(late, [100, 99, 98, 97, 96, 95, 94, 93, 92, 91]);
        assert_eq!(sum.lateness_max_ms, 100);
    }
}
