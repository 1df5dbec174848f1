//! Cluster time: what the servers' clocks say, counted on this process's monotonic clock.
//!
//! Every stream is probed each second; of its newest [`WINDOW`] answers the one with the smallest round trip counts, because its error is at
//! most half of that. The target is the median over the streams, so one server with a wrong clock moves nothing once there are three. The
//! clock follows the target by at most 1 ms in 10 ms and so never stands still or runs back; only the very first sample is taken at once, when
//! nothing has been started by this clock yet. Where all answers of a stream are slow, on a machine that is too busy, they move the clock only as
//! far as they prove it wrong.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::ledger::ClusterTime;
use super::spool::LinkId;

/// How many answers of a stream are looked at: ten seconds, so that a quiet moment is among them and drift is not.
const WINDOW: usize = 10;

/// An answer within 20 ms is off by 10 ms at most, and is taken at its word.
const SHORT: i64 = 20_000;

/// One microsecond of correction for each ten of time: 1 ms per 10 ms.
const SLEW_DIVISOR: i64 = 10;

/// The arithmetic, on microseconds of any monotonic clock.
pub(crate) struct Estimate {
    streams: HashMap<LinkId, VecDeque<Sample>>,
    /// Cluster time minus monotonic time: what is applied, since when, and where it should go.
    offset: i64,
    offset_at: i64,
    target: i64,
    synchronised: bool,
}

#[derive(Clone, Copy)]
struct Sample {
    round_trip: i64,
    offset: i64,
}

impl Sample {
    /// The offset nearest to that one which the answer allows: the server's time was read at some instant of the round trip.
    fn nearest_to(self, offset: i64) -> i64 {
        let error = self.round_trip / 2;
        offset.clamp(self.offset - error, self.offset + error)
    }
}

impl Estimate {
    /// Starts with an offset taken from the system's clock, which serves until the first answer.
    pub(crate) fn new(now: i64, offset: i64) -> Self {
        Self { streams: HashMap::new(), offset, offset_at: now, target: offset, synchronised: false }
    }

    /// Takes an answer: sent and received on the monotonic clock, and the server's time between.
    pub(crate) fn sample(&mut self, link: LinkId, sent: i64, received: i64, server_time: i64) {
        let round_trip = (received - sent).max(0);
        let samples = self.streams.entry(link).or_default();
        if samples.len() == WINDOW {
            samples.pop_front();
        }
        samples.push_back(Sample { round_trip, offset: server_time - (sent + round_trip / 2) });
        self.retarget(received);
    }

    /// Forgets a stream that has ended. The last one's offset is kept.
    pub(crate) fn forget(&mut self, now: i64, link: LinkId) {
        if self.streams.remove(&link).is_some() && !self.streams.is_empty() {
            self.retarget(now);
        }
    }

    fn retarget(&mut self, now: i64) {
        self.offset = self.offset_at(now);
        self.offset_at = now;
        let mut offsets: Vec<i64> = self
            .streams
            .values()
            .filter_map(|samples| {
                let best = samples.iter().min_by_key(|sample| sample.round_trip)?;
                Some(if best.round_trip > SHORT { best.nearest_to(self.offset) } else { best.offset })
            })
            .collect();
        offsets.sort_unstable();
        let middle = offsets.len() / 2;
        self.target = match offsets.len() {
            0 => return,
            odd if odd % 2 == 1 => offsets[middle],
            _ => i64::midpoint(offsets[middle - 1], offsets[middle]),
        };
        if !self.synchronised {
            self.synchronised = true;
            self.offset = self.target;
        }
    }

    fn offset_at(&self, now: i64) -> i64 {
        let most = (now - self.offset_at).max(0) / SLEW_DIVISOR;
        self.offset + (self.target - self.offset).clamp(-most, most)
    }

    /// Cluster time at a monotonic instant.
    pub(crate) fn at(&self, now: i64) -> i64 {
        now + self.offset_at(now)
    }
}

/// The process's cluster clock: the one place of the worker that reads clocks.
pub(crate) struct ClusterClock {
    origin: Instant,
    estimate: Mutex<Estimate>,
}

impl ClusterClock {
    pub(crate) fn new() -> Self {
        let system = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let offset = i64::try_from(system.as_micros()).unwrap_or(i64::MAX / 2);
        Self { origin: Instant::now(), estimate: Mutex::new(Estimate::new(0, offset)) }
    }

    pub(crate) fn now(&self) -> ClusterTime {
        let now = self.monotonic(Instant::now());
        ClusterTime::from_micros(self.lock().at(now))
    }

    pub(crate) fn sample(&self, link: LinkId, sent: Instant, received: Instant, server_time_us: i64) {
        let (sent, received) = (self.monotonic(sent), self.monotonic(received));
        self.lock().sample(link, sent, received, server_time_us);
    }

    pub(crate) fn forget(&self, link: LinkId) {
        let now = self.monotonic(Instant::now());
        self.lock().forget(now, link);
    }

    /// How long until `at`, as the clock goes now.
    pub(crate) fn until(&self, at: ClusterTime) -> Duration {
        Duration::from_micros(at.as_micros().saturating_sub(self.now().as_micros()).max(0).unsigned_abs())
    }

    fn monotonic(&self, at: Instant) -> i64 {
        i64::try_from(at.saturating_duration_since(self.origin).as_micros()).unwrap_or(i64::MAX / 2)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Estimate> {
        self.estimate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_answer_is_taken_at_once() {
        let mut clock = Estimate::new(0, 500);
        clock.sample(1, 1_000, 3_000, 10_002_000);
        assert_eq!(clock.at(3_000), 10_003_000);
    }

    #[test]
    fn slow_answers_do_not_make_a_right_clock_wrong() {
        let mut clock = Estimate::new(0, 0);
        for second in 0..30 {
            // The server's time was read at the very end of a long way there.
            let sent = second * 1_000_000;
            clock.sample(1, sent, sent + 90_000, sent + 89_000);
            assert_eq!(clock.at(sent + 100_000), sent + 100_000);
        }
    }

    #[test]
    fn slow_answers_move_a_wrong_clock_as_far_as_they_prove_it_wrong() {
        let mut clock = Estimate::new(0, 1_000_000);
        clock.sample(1, 0, 90_000, 45_000);
        assert_eq!(clock.at(90_000), 90_000 + 45_000);
    }

    #[test]
    fn the_answer_with_the_shortest_round_trip_counts() {
        let mut clock = Estimate::new(0, 0);
        clock.sample(1, 0, 100, 5_050);
        clock.sample(1, 1_000, 41_000, 1_000 + 5_000 + 39_000);
        assert_eq!(clock.at(1_000_000), 1_005_000, "the slow answer came almost wholly on the way back");
    }

    #[test]
    fn one_wrong_server_among_three_moves_nothing() {
        let mut clock = Estimate::new(0, 0);
        clock.sample(1, 0, 0, 1_000);
        clock.sample(2, 0, 0, 1_010);
        clock.sample(3, 0, 0, 9_000_000);
        assert_eq!(clock.at(100_000_000), 100_001_010);
    }

    #[test]
    fn a_correction_takes_ten_times_its_size() {
        let mut clock = Estimate::new(0, 0);
        clock.sample(1, 0, 0, 0);
        clock.forget(0, 1);
        clock.sample(2, 0, 0, 1_000);
        assert_eq!(clock.at(5_000), 5_500);
        assert_eq!(clock.at(10_000), 11_000);
        assert_eq!(clock.at(20_000), 21_000);
    }

    proptest! {
        #[test]
        fn cluster_time_goes_on_steadily_whatever_the_answers(
            answers in prop::collection::vec((0u64..4, 1i64..50_000, 0i64..50_000, -10_000_000i64..10_000_000), 1..80)
        ) {
            let mut clock = Estimate::new(0, 0);
            let mut now = 0;
            let mut last = None;
            for (link, pause, round_trip, error) in answers {
                let before = clock.at(now);
                now += pause + round_trip;
                if last.is_some() {
                    let gone = clock.at(now) - before;
                    let real = pause + round_trip;
                    prop_assert!((gone - real).abs() <= real / 10 + 1, "{gone} in {real}");
                }
                clock.sample(link, now - round_trip, now, now + error);
                if let Some(last) = last {
                    prop_assert!(clock.at(now) >= last);
                }
                last = Some(clock.at(now));
            }
        }
    }
}
