//! The subtasks of a running split, batched, numbered and kept until the server has stored them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use carillon_proto::v1;
use tokio::sync::Notify;

use super::{RESEND_AFTER, lock};
use crate::job::{JobError, JobResult, fatal};
use crate::run_id::AttemptKey;

/// The most subtasks, and the most bytes, of a batch: what the server stores in one go.
const BATCH: usize = 2_000;
const BATCH_BYTES: usize = 512 * 1024;

/// The most batches that are not stored yet: enough to hide the way there and back, few enough that memory stays flat.
const WINDOW: usize = 8;

/// See the module.
pub(crate) struct EmitBuffer {
    key: AttemptKey,
    shard: u32,
    state: Mutex<State>,
    /// Woken by acknowledgements, for those who push or finish.
    room: Notify,
    /// Woken when there is something to send.
    wake: Arc<Notify>,
}

#[derive(Default)]
struct State {
    open: Vec<v1::Subtask>,
    open_bytes: usize,
    next_index: u64,
    next_batch: u32,
    unstored: VecDeque<Batch>,
    complete: bool,
    failed: Option<String>,
}

struct Batch {
    message: v1::Emit,
    sent: Option<Instant>,
    again: bool,
}

impl EmitBuffer {
    pub(crate) fn new(key: AttemptKey, shard: u32, wake: Arc<Notify>) -> Self {
        Self { key, shard, state: Mutex::default(), room: Notify::new(), wake }
    }

    pub(crate) fn shard(&self) -> u32 {
        self.shard
    }

    pub(crate) fn count(&self) -> u64 {
        lock(&self.state).next_index
    }

    /// Adds a subtask; waits while the window is full.
    pub(crate) async fn push(&self, key: String, payload: Bytes) -> JobResult {
        let mut subtask = Some((key, payload));
        self.wait_until(|state| {
            if state.unstored.len() >= WINDOW {
                return false;
            }
            let Some((key, payload)) = subtask.take() else { return true };
            state.open_bytes += key.len() + payload.len();
            state.open.push(v1::Subtask { index: state.next_index, attempt: 1, key, payload });
            state.next_index += 1;
            if state.open.len() == 1 {
                self.wake.notify_one();
            }
            if state.open.len() >= BATCH || state.open_bytes >= BATCH_BYTES {
                self.seal(state, false);
                self.wake.notify_one();
            }
            true
        })
        .await
    }

    /// Ends the split; returns when everything is stored.
    pub(crate) async fn finish(&self) -> JobResult {
        {
            let mut state = lock(&self.state);
            if !state.complete {
                state.complete = true;
                self.seal(&mut state, true);
            }
        }
        self.wake.notify_one();
        self.wait_until(|state| state.unstored.is_empty()).await
    }

    async fn wait_until(&self, mut done: impl FnMut(&mut State) -> bool) -> JobResult {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let mut state = lock(&self.state);
                if let Some(error) = &state.failed {
                    return Err(stopped(error));
                }
                if done(&mut state) {
                    return Ok(());
                }
            }
            room.await;
        }
    }

    fn seal(&self, state: &mut State, last: bool) {
        let subtasks = std::mem::take(&mut state.open);
        state.open_bytes = 0;
        let first_index = state.next_index - subtasks.len() as u64;
        let message = v1::Emit {
            run: Some(self.key.run.into()),
            attempt: self.key.attempt,
            shard: self.shard,
            batch_no: state.next_batch,
            first_index,
            subtasks,
            last,
        };
        state.next_batch += 1;
        state.unstored.push_back(Batch { message, sent: None, again: false });
    }

    /// Hands over what was not sent, and again what should have been acknowledged by now. `hand_over` tells whether it was taken; its second
    /// argument says that it is a repetition.
    pub(crate) fn send(&self, now: Instant, mut hand_over: impl FnMut(v1::Emit, bool) -> bool) {
        let mut state = lock(&self.state);
        // A split that emits slowly should not keep its subtasks from running.
        if !state.open.is_empty() && state.unstored.len() < WINDOW {
            self.seal(&mut state, false);
        }
        for batch in &mut state.unstored {
            match batch.sent {
                Some(sent) if now.saturating_duration_since(sent) < RESEND_AFTER => continue,
                Some(_) => batch.again = true,
                None => {}
            }
            if !hand_over(batch.message.clone(), batch.again) {
                return;
            }
            batch.sent = Some(now);
        }
    }

    /// The stream may have swallowed what was sent.
    pub(crate) fn resend(&self) {
        for batch in &mut lock(&self.state).unstored {
            batch.again |= batch.sent.is_some();
            batch.sent = None;
        }
    }

    /// The server has stored this batch and all before it, or stops the split.
    pub(crate) fn acknowledged(&self, batch_no: u32, error: &str) {
        let mut state = lock(&self.state);
        if !error.is_empty() {
            state.failed = Some(error.to_owned());
            state.unstored.clear();
        }
        while state.unstored.front().is_some_and(|batch| batch.message.batch_no <= batch_no) {
            state.unstored.pop_front();
        }
        drop(state);
        self.room.notify_waiters();
    }
}

fn stopped(error: &str) -> JobError {
    fatal(format!("the server stopped the split: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_id::RunKey;

    fn buffer() -> EmitBuffer {
        let run = RunKey { fire_time_ms: 1, job: 1, ordinal: 0 };
        EmitBuffer::new(AttemptKey { run, attempt: 1, reduce: false }, 0, Arc::new(Notify::new()))
    }

    fn sent(buffer: &EmitBuffer, now: Instant) -> Vec<(u32, u64, usize, bool)> {
        let mut batches = Vec::new();
        buffer.send(now, |emit, _| {
            batches.push((emit.batch_no, emit.first_index, emit.subtasks.len(), emit.last));
            true
        });
        batches
    }

    #[tokio::test]
    async fn a_push_waits_while_too_much_is_not_stored() {
        let buffer = Arc::new(buffer());
        let pushing = tokio::spawn({
            let buffer = Arc::clone(&buffer);
            async move {
                for _ in 0..(WINDOW + 1) * BATCH {
                    buffer.push(String::new(), Bytes::from_static(b"1")).await.unwrap();
                }
            }
        });
        let full = async {
            while buffer.count() < (WINDOW * BATCH) as u64 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), full).await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(buffer.count(), (WINDOW * BATCH) as u64);
        buffer.acknowledged(0, "");
        tokio::time::timeout(std::time::Duration::from_secs(10), pushing).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn batches_are_numbered_without_gaps_and_sent_again_to_a_new_holder() {
        let buffer = buffer();
        let now = Instant::now();
        for _ in 0..3 {
            buffer.push(String::new(), Bytes::from_static(b"1")).await.unwrap();
        }
        assert_eq!(sent(&buffer, now), [(0, 0, 3, false)]);
        assert_eq!(sent(&buffer, now), []);
        buffer.push(String::new(), Bytes::from_static(b"1")).await.unwrap();
        assert_eq!(sent(&buffer, now), [(1, 3, 1, false)]);
        buffer.acknowledged(0, "");
        buffer.resend();
        assert_eq!(sent(&buffer, now), [(1, 3, 1, false)]);
    }

    #[tokio::test]
    async fn a_split_that_the_server_stops_fails_for_good() {
        let buffer = buffer();
        buffer.push(String::new(), Bytes::new()).await.unwrap();
        buffer.acknowledged(0, "more than 10,000,000 subtasks");
        let error = buffer.finish().await.unwrap_err();
        assert!(error.is_fatal() && error.message().contains("10,000,000"), "{error}");
    }
}
