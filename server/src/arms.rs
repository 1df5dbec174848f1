//! Which runs this server armed lately, and when: what the timeline of a run shows between due and started.
//!
//! Decoration, not truth: nothing is decided by it, it is in no store, and it ends with the process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use carillon_core::ids::{AttemptNo, Incarnation, RunKey};
use carillon_core::time::Timestamp;

/// Attempts remembered: the last hours of a small cluster, the last minutes of one with a thousand fires a second; about 15 MB.
const KEPT: usize = 100_000;

/// That an attempt was armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Armed {
    pub(crate) attempt: AttemptNo,
    /// At this worker.
    pub(crate) worker: Incarnation,
    /// When the Arm was sent first, by this server's clock.
    pub(crate) at: Timestamp,
    /// When the worker took it, by its own word.
    pub(crate) taken_at: Option<Timestamp>,
}

/// What is remembered of it.
#[derive(Debug, Default)]
pub(crate) struct Arms {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    armed: BTreeMap<(RunKey, AttemptNo), Armed>,
    /// Oldest first.
    order: VecDeque<(RunKey, AttemptNo)>,
}

impl Arms {
    /// An Arm is sent. Sent again to the same worker it says nothing new.
    pub(crate) fn sent(&self, key: RunKey, attempt: AttemptNo, worker: Incarnation, at: Timestamp) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (key, attempt);
        match kept.armed.get(&place) {
            Some(before) if before.worker == worker => return,
            Some(_) => {}
            None => kept.order.push_back(place),
        }
        kept.armed.insert(place, Armed { attempt, worker, at, taken_at: None });
        if kept.order.len() > KEPT
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.armed.remove(&oldest);
        }
    }

    /// The worker says that it will start the attempt.
    pub(crate) fn taken(&self, key: RunKey, attempt: AttemptNo, worker: Incarnation, at: Timestamp) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(armed) = kept.armed.get_mut(&(key, attempt))
            && armed.worker == worker
        {
            armed.taken_at.get_or_insert(at);
        }
    }

    /// The attempts of a run that this server armed, as far as it remembers.
    pub(crate) fn of(&self, key: RunKey) -> Vec<Armed> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.armed
            .range((key, AttemptNo::FIRST)..)
            .take_while(|((run, _), _)| *run == key)
            .map(|(_, armed)| *armed)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use carillon_core::ids::JobId;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn run(ms: i64) -> RunKey {
        RunKey { fire_time: at(ms), job: JobId::new(1), ordinal: 0 }
    }

    #[test]
    fn the_first_arm_at_the_worker_counts_and_its_word_goes_with_it() {
        let (arms, worker, other) = (Arms::default(), Incarnation::new(7), Incarnation::new(8));
        let (first, second) = (AttemptNo::FIRST, AttemptNo::FIRST.next());
        arms.sent(run(5_000), first, worker, at(3_500));
        arms.sent(run(5_000), first, worker, at(3_900));
        arms.taken(run(5_000), first, worker, at(3_502));
        arms.taken(run(5_000), first, worker, at(3_950));
        arms.taken(run(5_000), second, worker, at(3_950));
        arms.sent(run(5_000), second, other, at(9_000));
        arms.sent(run(5_001), first, worker, at(3_501));
        let told = |attempt, worker, at, taken_at| Armed { attempt, worker, at, taken_at };
        assert_eq!(
            arms.of(run(5_000)),
            [told(first, worker, at(3_500), Some(at(3_502))), told(second, other, at(9_000), None)]
        );
        assert_eq!(arms.of(run(4_999)), []);
    }

    #[test]
    fn a_move_to_another_worker_is_armed_anew() {
        let (arms, one, other) = (Arms::default(), Incarnation::new(7), Incarnation::new(8));
        arms.sent(run(5_000), AttemptNo::FIRST, one, at(3_500));
        arms.sent(run(5_000), AttemptNo::FIRST, other, at(4_000));
        arms.taken(run(5_000), AttemptNo::FIRST, one, at(4_001));
        let armed = Armed { attempt: AttemptNo::FIRST, worker: other, at: at(4_000), taken_at: None };
        assert_eq!(arms.of(run(5_000)), [armed]);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let arms = Arms::default();
        for ms in 0..=KEPT as i64 {
            arms.sent(run(ms), AttemptNo::FIRST, Incarnation::new(7), at(ms));
        }
        assert_eq!(arms.of(run(0)), []);
        assert_eq!(arms.of(run(1)).len(), 1);
        let kept = arms.kept.lock().unwrap();
        assert_eq!((kept.armed.len(), kept.order.len()), (KEPT, KEPT));
    }
}
