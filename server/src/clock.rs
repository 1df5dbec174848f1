//! The only file of the server that reads the wall clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carillon_core::time::Timestamp;

/// The cluster's time as this server has it: the system's clock and an offset, which only tests set. Clones share the offset.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// Now, in whole milliseconds.
    pub fn now(&self) -> Timestamp {
        self.now_micros().0
    }

    /// Now, and the microseconds (0 to 999) below the millisecond.
    pub fn now_micros(&self) -> (Timestamp, u32) {
        // A clock before 1970 reads as 1970: nothing is due then, which is the harmless side.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let offset = self.offset_ms.load(Ordering::Relaxed);
        (Timestamp::from_millis(millis.saturating_add(offset)), since.subsec_micros() % 1_000)
    }

    /// How long until `at`; zero when it is past. Counted from the exact instant, so that a sleep does not end early.
    pub fn until(&self, at: Timestamp) -> Duration {
        let (now, micros) = self.now_micros();
        Duration::from_millis(at.since(now).as_millis())
            .saturating_sub(Duration::from_micros(u64::from(micros)))
    }

    /// Moves this clock by `millis`: the seam by which a test shows a jump or a skew.
    pub fn shift(&self, millis: i64) {
        self.offset_ms.fetch_add(millis, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carillon_core::time::Span;

    #[test]
    fn a_shifted_clock_is_off_by_the_shift_and_its_clones_too() {
        let clock = Clock::system();
        let clone = clock.clone();
        let before = clock.now();
        clock.shift(3_600_000);
        assert!(clone.now().since(before) >= Span::from_secs(3_600));
        assert_eq!(clone.until(before), Duration::ZERO);
        assert!(clone.until(clone.now() + Span::from_secs(2)) > Duration::from_millis(1_990));
    }
}
