//! Outcomes of subtasks on their way to the checkpoint.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use carillon_proto::v1;
use tokio::sync::Notify;

use super::{RESEND_AFTER, lock};
use crate::job::JobError;
use crate::run_id::AttemptKey;

/// The most results, and the most bytes, of a message.
const BATCH: usize = 2_000;
const BATCH_BYTES: usize = 1024 * 1024;

/// The most messages without acknowledgement; beyond them no more subtasks are taken.
const MAX_UNACKNOWLEDGED: usize = 200;

/// See the module.
pub(crate) struct Results {
    state: Mutex<State>,
    wake: Arc<Notify>,
}

#[derive(Default)]
struct State {
    next_seq: u64,
    gathered: HashMap<(AttemptKey, u32), Vec<v1::SubtaskResult>>,
    unacknowledged: BTreeMap<u64, Sent>,
}

struct Sent {
    message: v1::SubtaskResults,
    at: Option<Instant>,
    again: bool,
}

impl Results {
    pub(crate) fn new(wake: Arc<Notify>) -> Self {
        Self { state: Mutex::default(), wake }
    }

    /// Adds what one loop of a pool has finished.
    pub(crate) fn add(
        &self,
        key: AttemptKey,
        shard: u32,
        results: impl IntoIterator<Item = v1::SubtaskResult>,
    ) {
        lock(&self.state).gathered.entry((key, shard)).or_default().extend(results);
        self.wake.notify_one();
    }

    /// Fails a whole batch that cannot be taken.
    pub(crate) fn refuse(&self, batch: &v1::Subtasks, error: &JobError) {
        let Some(run) = batch.run else { return };
        let key = AttemptKey { run: run.into(), attempt: batch.attempt, reduce: false };
        let results =
            batch.subtasks.iter().map(|subtask| result(subtask.index, subtask.attempt, Err(error), false));
        self.add(key, batch.shard, results.collect::<Vec<_>>());
    }

    /// Numbers what has gathered; gives it with what is to be sent again (then marked `true`).
    pub(crate) fn to_send(&self, now: Instant) -> Vec<(v1::SubtaskResults, bool)> {
        let mut state = lock(&self.state);
        let State { next_seq, gathered, unacknowledged } = &mut *state;
        for ((key, shard), mut results) in gathered.drain() {
            while !results.is_empty() {
                let mut bytes = 0;
                let fits = results.iter().take(BATCH).take_while(|result| {
                    bytes += result.output.len() + result.error.len();
                    bytes <= BATCH_BYTES
                });
                let count = fits.count().max(1);
                let rest = results.split_off(count);
                *next_seq += 1;
                let message = v1::SubtaskResults {
                    run: Some(key.run.into()),
                    attempt: key.attempt,
                    shard,
                    seq: *next_seq,
                    results: std::mem::replace(&mut results, rest),
                };
                unacknowledged.insert(*next_seq, Sent { message, at: None, again: false });
            }
        }
        unacknowledged
            .values_mut()
            .filter_map(|sent| {
                match sent.at {
                    Some(at) if now.saturating_duration_since(at) < RESEND_AFTER => return None,
                    Some(_) => sent.again = true,
                    None => {}
                }
                sent.at = Some(now);
                Some((sent.message.clone(), sent.again))
            })
            .collect()
    }

    pub(crate) fn not_sent(&self, seq: u64) {
        if let Some(sent) = lock(&self.state).unacknowledged.get_mut(&seq) {
            sent.at = None;
        }
    }

    /// The stream may have swallowed what was sent; all holders are asked now.
    pub(crate) fn resend(&self) {
        for sent in lock(&self.state).unacknowledged.values_mut() {
            sent.again |= sent.at.is_some();
            sent.at = None;
        }
    }

    pub(crate) fn acknowledged(&self, seqs: &[u64]) {
        let mut state = lock(&self.state);
        for seq in seqs {
            state.unacknowledged.remove(seq);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Subtasks of an attempt that are finished and not acknowledged: index and try.
    pub(crate) fn held(&self, key: AttemptKey) -> Vec<(u64, u32)> {
        let state = lock(&self.state);
        let run = v1::RunRef::from(key.run);
        let gathered =
            state.gathered.iter().filter(|((of, _), _)| *of == key).flat_map(|(_, results)| results);
        let sent = state.unacknowledged.values().map(|sent| &sent.message);
        let sent = sent.filter(|message| message.run == Some(run) && message.attempt == key.attempt);
        gathered
            .chain(sent.flat_map(|message| &message.results))
            .map(|result| (result.index, result.attempt))
            .collect()
    }

    pub(crate) fn is_full(&self) -> bool {
        lock(&self.state).unacknowledged.len() >= MAX_UNACKNOWLEDGED
    }

    pub(crate) fn is_empty(&self) -> bool {
        let state = lock(&self.state);
        state.gathered.is_empty() && state.unacknowledged.is_empty()
    }
}

/// The outcome of one try of a subtask.
pub(super) fn result(
    index: u64,
    attempt: u32,
    outcome: Result<Bytes, &JobError>,
    keep_output: bool,
) -> v1::SubtaskResult {
    match outcome {
        Ok(output) => {
            let output = if keep_output { output } else { Bytes::new() };
            v1::SubtaskResult { index, attempt, ok: true, output, error: String::new(), fatal: false }
        }
        Err(error) => v1::SubtaskResult {
            index,
            attempt,
            ok: false,
            output: Bytes::new(),
            error: error.message().to_owned(),
            fatal: error.is_fatal(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_id::RunKey;

    fn key() -> AttemptKey {
        AttemptKey { run: RunKey { fire_time_ms: 1, job: 1, ordinal: 0 }, attempt: 1, reduce: false }
    }

    #[test]
    fn results_are_kept_until_acknowledged_and_repeated_to_all() {
        let results = Results::new(Arc::new(Notify::new()));
        results.add(key(), 0, (0..3).map(|index| result(index, 1, Ok(Bytes::new()), false)));
        let now = Instant::now();
        let sent = results.to_send(now);
        assert_eq!((sent.len(), sent[0].0.results.len(), sent[0].1), (1, 3, false));
        assert!(results.to_send(now).is_empty());
        let again = results.to_send(now + RESEND_AFTER);
        assert_eq!((again[0].0.seq, again[0].1), (sent[0].0.seq, true));
        results.acknowledged(&[sent[0].0.seq]);
        assert!(results.is_empty());
    }

    #[test]
    fn large_outputs_are_spread_over_messages() {
        let results = Results::new(Arc::new(Notify::new()));
        let output = Bytes::from(vec![b'1'; 16 * 1024]);
        results.add(key(), 0, (0..100).map(|index| result(index, 1, Ok(output.clone()), true)));
        let sent = results.to_send(Instant::now());
        assert!(sent.len() > 1);
        assert_eq!(sent.iter().map(|(message, _)| message.results.len()).sum::<usize>(), 100);
    }
}
