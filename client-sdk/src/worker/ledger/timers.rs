//! One heap of everything that happens by itself. Timers are not withdrawn: whoever pops one checks that it still applies.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::ClusterTime;
use crate::run_id::AttemptKey;

/// What happens at an instant. What falls on one instant happens in the order of the keys, which is that of the fire times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Due { plan_no: u32 },
    StartBy,
    Timeout,
    Grace,
    Forget,
}

#[derive(Default)]
pub(super) struct Timers {
    soon: BinaryHeap<Reverse<(ClusterTime, AttemptKey, Timer)>>,
    /// Forgetting is most of all timers and the least urgent: kept apart so that the other heap stays small.
    forget: BinaryHeap<Reverse<(ClusterTime, AttemptKey)>>,
}

impl Timers {
    pub(super) fn set(&mut self, at: ClusterTime, key: AttemptKey, timer: Timer) {
        match timer {
            Timer::Forget => self.forget.push(Reverse((at, key))),
            _ => self.soon.push(Reverse((at, key, timer))),
        }
    }

    pub(super) fn next(&self) -> Option<ClusterTime> {
        let soon = self.soon.peek().map(|Reverse((at, ..))| *at);
        let forget = self.forget.peek().map(|Reverse((at, _))| *at);
        soon.into_iter().chain(forget).min()
    }

    pub(super) fn pop_due(&mut self, now: ClusterTime) -> Option<(Timer, AttemptKey)> {
        if self.soon.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            return self.soon.pop().map(|Reverse((_, key, timer))| (timer, key));
        }
        if self.forget.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            return self.forget.pop().map(|Reverse((_, key))| (Timer::Forget, key));
        }
        None
    }
}
