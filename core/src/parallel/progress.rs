//! What pages show of a map in progress.

use std::collections::{BTreeMap, VecDeque};

use super::MapPhase;
use crate::time::Timestamp;

/// A map in progress, as the API shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct MapView {
    /// Where it is.
    pub phase: MapPhase,
    /// Subtasks stored so far; all of them from `Processing` on.
    pub total: u64,
    /// Subtasks done.
    pub done: u64,
    /// Subtasks failed for good.
    pub failed: u64,
    /// Subtasks at workers.
    pub running: u64,
    /// Subtasks stored and not settled that no worker has.
    pub waiting: u64,
    /// Subtasks settled a second, over the last five seconds.
    pub per_second: f64,
    /// Subtasks done, by worker name.
    pub done_by_worker: BTreeMap<String, u64>,
    /// Subtasks at workers, by worker name.
    pub running_by_worker: BTreeMap<String, u64>,
}

/// Seconds that a rate looks back.
const RATE_SECONDS: i64 = 5;

/// Counts events by the second and answers their rate.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter {
    /// When counting began.
    since: Option<Timestamp>,
    /// `(second, events)`, oldest first; at most six.
    seconds: VecDeque<(i64, u64)>,
}

impl Meter {
    /// Counts events that happened now.
    pub(super) fn count(&mut self, now: Timestamp, events: u64) {
        self.since.get_or_insert(now);
        let second = now.as_millis().div_euclid(1_000);
        match self.seconds.back_mut() {
            // A clock that jumps back counts into the newest second.
            Some((last, count)) if *last >= second => *count += events,
            _ => self.seconds.push_back((second, events)),
        }
        while self.seconds.len() > RATE_SECONDS as usize + 1 {
            self.seconds.pop_front();
        }
    }

    /// Events a second over the last five seconds, or since the first one.
    pub(super) fn per_second(&self, now: Timestamp) -> f64 {
        let Some(since) = self.since else { return 0.0 };
        let oldest = now.as_millis().div_euclid(1_000) - RATE_SECONDS;
        let recent: u64 =
            self.seconds.iter().filter(|(second, _)| *second >= oldest).map(|(_, count)| count).sum();
        let seen = now.millis_since(since).clamp(1, now.as_millis() - oldest * 1_000);
        recent as f64 * 1_000.0 / seen as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_forgets_what_is_older_than_its_window() {
        let at = Timestamp::from_millis;
        let mut meter = Meter::default();
        assert_eq!(meter.per_second(at(0)), 0.0);
        (0..10_000).step_by(10).for_each(|millis| meter.count(at(millis), 1));
        assert!((meter.per_second(at(10_000)) - 100.0).abs() < 1.0, "{}", meter.per_second(at(10_000)));
        assert_eq!(meter.per_second(at(20_000)), 0.0);
    }
}
