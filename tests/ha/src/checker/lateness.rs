//! How late handlers started, as a distribution.

use std::fmt;

use hdrhistogram::Histogram;

use crate::ledger::Line;

/// Starts and their lateness, in microseconds; a start that is early counts as 0.
#[derive(Debug, Clone)]
pub struct Lateness(Histogram<u64>);

impl Lateness {
    /// Of these starts.
    pub fn of<'a>(starts: impl Iterator<Item = &'a Line>) -> Self {
        Self::of_micros(starts.map(|line| line.at_us - line.fire_time_ms * 1_000))
    }

    /// Of these many microseconds each.
    pub fn of_micros(late: impl Iterator<Item = i64>) -> Self {
        let mut histogram = Histogram::new(3).expect("three digits are a legal precision");
        for late in late {
            histogram.record(late.max(0).unsigned_abs()).expect("the histogram grows by itself");
        }
        Self(histogram)
    }

    /// The share of the starts that were at most so late; 1 where there were none.
    pub fn share_within_ms(&self, ms: f64) -> f64 {
        if self.0.is_empty() {
            return 1.0;
        }
        self.0.count_between(0, (ms * 1_000.0) as u64) as f64 / self.0.len() as f64
    }

    /// How many starts.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The lateness that this share of the starts does not exceed, in milliseconds.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1_000.0
    }

    /// The largest lateness in milliseconds.
    pub fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1_000.0
    }
}

impl fmt::Display for Lateness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.quantile_ms(0.5), self.quantile_ms(0.99));
        write!(f, "{} starts, p50 {p50:.1} ms, p99 {p99:.1} ms, max {:.1} ms", self.count(), self.max_ms())
    }
}
