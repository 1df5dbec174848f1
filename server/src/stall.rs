//! The stall guard: notices that this process was held up (stopped, swapped out, its machine paused), so that what it believed is read
//! again before it acts on it. It saves noise; safety does not need it.
//!
//! It is a thread of its own: a runtime that is merely busy is no stall, and reading everything again would make it busier.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// How often the guard looks: a quarter of what it is to notice.
const TICK: Duration = Duration::from_millis(50);

/// A gap of this much counts as a stall (trigger-protocol: "Stall guard").
const STALL: Duration = Duration::from_millis(200);

/// The guard's finding, read by every shard loop.
#[derive(Debug)]
pub(crate) struct Stalls {
    started: Instant,
    /// Microseconds from `started` to the guard's last look.
    looked: AtomicU64,
    count: AtomicU64,
}

impl Stalls {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { started: Instant::now(), looked: AtomicU64::new(0), count: AtomicU64::new(0) })
    }

    /// How many stalls were there so far. One that has just ended counts before the guard has looked again.
    pub(crate) fn count(&self) -> u64 {
        self.count_at(Instant::now())
    }

    fn count_at(&self, now: Instant) -> u64 {
        let looked = Duration::from_micros(self.looked.load(Ordering::Relaxed));
        let unseen = (now - self.started).saturating_sub(looked) > STALL + TICK;
        self.count.load(Ordering::Relaxed) + u64::from(unseen)
    }

    fn look_at(&self, now: Instant) -> Option<Duration> {
        let elapsed = now - self.started;
        let before = self.looked.swap(elapsed.as_micros() as u64, Ordering::Relaxed);
        let gap = elapsed.saturating_sub(Duration::from_micros(before));
        if gap <= STALL + TICK {
            return None;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        Some(gap)
    }
}

/// Starts the thread "stall guard"; it ends soon after `stop` is cancelled.
pub(crate) fn start(stalls: Arc<Stalls>, metrics: Metrics, stop: CancellationToken) -> std::io::Result<()> {
    let guard = move || {
        while !stop.is_cancelled() {
            std::thread::sleep(TICK);
            if let Some(gap) = stalls.look_at(Instant::now()) {
                metrics.stalls.inc();
                tracing::warn!(
                    gap_ms = gap.as_millis() as u64,
                    "this process was held up; what it knows is read again"
                );
            }
        }
    };
    std::thread::Builder::new().name("stall guard".into()).spawn(guard).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_gap_counts_once_and_at_once() {
        let stalls = Stalls::new();
        let soon = stalls.started + Duration::from_millis(60);
        assert_eq!((stalls.look_at(soon), stalls.count_at(soon)), (None, 0));
        let late = soon + Duration::from_millis(900);
        assert_eq!(stalls.count_at(late), 1, "before the guard has looked");
        assert_eq!(stalls.look_at(late), Some(Duration::from_millis(900)));
        assert_eq!(stalls.count_at(late), 1, "and after it");
    }
}
