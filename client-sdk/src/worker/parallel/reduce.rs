//! The outputs of all subtasks on their way to a reduce.
//!
//! The feed asks for a few messages after the last index it has, and asks again only when they are here: nothing is under way when it asks, so a
//! question always means the same to whichever server gets it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use carillon_proto::v1;
use tokio::sync::Notify;

use super::{RESEND_AFTER, lock};
use crate::run_id::AttemptKey;

/// Messages asked for at a time.
const WINDOW: u32 = 4;

/// Outputs in hand below which more are asked for.
const LOW: usize = 1_000;

/// See the module.
pub(crate) struct ReduceFeed {
    key: AttemptKey,
    shard: u32,
    state: Mutex<State>,
    arrived: Notify,
    wake: Arc<Notify>,
}

struct State {
    outputs: VecDeque<v1::SubtaskOutput>,
    after_index: i64,
    /// Messages asked for and not here yet.
    expected: u32,
    asked: Option<Instant>,
    again: bool,
    ended: bool,
}

impl ReduceFeed {
    pub(crate) fn new(key: AttemptKey, shard: u32, wake: Arc<Notify>) -> Self {
        let state = State {
            outputs: VecDeque::new(),
            after_index: -1,
            expected: 0,
            asked: None,
            again: false,
            ended: false,
        };
        Self { key, shard, state: Mutex::new(state), arrived: Notify::new(), wake }
    }

    pub(crate) fn shard(&self) -> u32 {
        self.shard
    }

    /// The next output in order; `None` after the last.
    pub(crate) async fn next(&self) -> Option<v1::SubtaskOutput> {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            {
                let mut state = lock(&self.state);
                if let Some(output) = state.outputs.pop_front() {
                    if state.outputs.len() == LOW && state.expected == 0 {
                        self.wake.notify_one();
                    }
                    return Some(output);
                }
                if state.ended {
                    return None;
                }
            }
            self.wake.notify_one();
            arrived.await;
        }
    }

    pub(crate) fn arrived(&self, input: v1::ReduceInput) {
        let mut state = lock(&self.state);
        state.expected = state.expected.saturating_sub(1);
        state.asked = Some(Instant::now());
        for output in input.outputs {
            // A repeated question brings some outputs twice.
            let index = i64::try_from(output.index).unwrap_or(i64::MAX);
            if index > state.after_index {
                state.after_index = index;
                state.outputs.push_back(output);
            }
        }
        state.ended |= input.last;
        drop(state);
        self.arrived.notify_waiters();
        self.wake.notify_one();
    }

    /// The stream may have swallowed the question or the answer.
    pub(crate) fn ask_again(&self) {
        lock(&self.state).expected = 0;
    }

    /// What to ask for now, and whether it is a repetition.
    pub(crate) fn credit(&self, now: Instant) -> Option<(v1::ReduceCredit, bool)> {
        let mut state = lock(&self.state);
        if state.expected > 0
            && state.asked.is_some_and(|asked| now.saturating_duration_since(asked) >= RESEND_AFTER)
        {
            state.expected = 0;
            state.again = true;
        }
        if state.ended || state.expected > 0 || state.outputs.len() > LOW {
            return None;
        }
        state.expected = WINDOW;
        state.asked = Some(now);
        let again = std::mem::take(&mut state.again);
        let credit = v1::ReduceCredit {
            run: Some(self.key.run.into()),
            attempt: self.key.attempt,
            shard: self.shard,
            free: WINDOW,
            after_index: state.after_index,
        };
        Some((credit, again))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_id::RunKey;

    fn feed() -> ReduceFeed {
        let run = RunKey { fire_time_ms: 1, job: 1, ordinal: 0 };
        ReduceFeed::new(AttemptKey { run, attempt: 1, reduce: true }, 0, Arc::new(Notify::new()))
    }

    fn input(indexes: std::ops::Range<u64>, last: bool) -> v1::ReduceInput {
        let outputs = indexes.map(|index| v1::SubtaskOutput { index, output: bytes::Bytes::new() }).collect();
        v1::ReduceInput { run: None, attempt: 1, outputs, last }
    }

    #[tokio::test]
    async fn outputs_come_once_and_in_order_though_a_holder_repeats_some() {
        let feed = feed();
        let now = Instant::now();
        assert_eq!(feed.credit(now).unwrap().0.after_index, -1);
        feed.arrived(input(0..3, false));
        feed.ask_again();
        assert_eq!(feed.credit(now).unwrap().0.after_index, 2);
        feed.arrived(input(1..5, true));
        let mut seen = Vec::new();
        while let Some(output) = feed.next().await {
            seen.push(output.index);
        }
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        assert!(feed.credit(now + RESEND_AFTER).is_none(), "nothing is left to ask for");
    }

    #[test]
    fn a_question_without_answer_is_repeated_to_all() {
        let feed = feed();
        let now = Instant::now();
        assert!(!feed.credit(now).unwrap().1);
        assert!(feed.credit(now).is_none());
        assert!(feed.credit(now + RESEND_AFTER).unwrap().1);
    }
}
