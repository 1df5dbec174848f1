//! Payloads of stored subtasks that will be wanted next, within a bound of bytes whatever the run's size.

use std::collections::BTreeMap;
use std::sync::Arc;

use carillon_store::subtasks::{SubtaskBatch, SubtaskPayload};

/// Bytes of payloads kept of one map. Half a second of work at 100,000 small subtasks a second, and a few hundred of the largest.
const BYTES: usize = 16 * 1024 * 1024;

/// What a subtask takes in memory beyond its payload and key.
const OVERHEAD: usize = 64;

/// See the module.
#[derive(Default)]
pub(super) struct Window {
    /// By the index of its first subtask.
    batches: BTreeMap<u64, Arc<SubtaskBatch>>,
    bytes: usize,
}

impl Window {
    /// Offers a batch that was just stored; it is kept where there is room. The reader reads what is not.
    pub(super) fn offer(&mut self, batch: Arc<SubtaskBatch>) {
        if self.bytes + bytes(&batch) <= BYTES {
            self.insert(batch);
        }
    }

    /// Puts in a batch that is wanted now; what lies farthest ahead makes room.
    pub(super) fn put(&mut self, batch: Arc<SubtaskBatch>) {
        let wanted = batch.first_index;
        self.insert(batch);
        while self.bytes > BYTES && self.batches.len() > 1 {
            let last = self.batches.last_key_value().map(|(first, _)| *first);
            let victim = if last == Some(wanted) {
                self.batches.first_key_value().map(|(first, _)| *first)
            } else {
                last
            };
            let Some(victim) = victim.and_then(|first| self.batches.remove(&first)) else { break };
            self.bytes -= bytes(&victim);
        }
    }

    /// The batch that holds a subtask.
    pub(super) fn batch_of(&self, index: u64) -> Option<Arc<SubtaskBatch>> {
        let (_, batch) = self.batches.range(..=index).next_back()?;
        subtask(batch, index).map(|_| Arc::clone(batch))
    }

    /// Forgets what lies wholly below an index: it was handed out.
    pub(super) fn drop_below(&mut self, index: u64) {
        while let Some(first) = self.batches.first_entry() {
            if first.get().first_index + first.get().subtasks.len() as u64 > index {
                break;
            }
            self.bytes -= bytes(&first.remove());
        }
    }

    fn insert(&mut self, batch: Arc<SubtaskBatch>) {
        self.bytes += bytes(&batch);
        if let Some(replaced) = self.batches.insert(batch.first_index, batch) {
            self.bytes -= bytes(&replaced);
        }
    }
}

/// A subtask of a batch.
pub(super) fn subtask(batch: &SubtaskBatch, index: u64) -> Option<&SubtaskPayload> {
    batch.subtasks.get(usize::try_from(index.checked_sub(batch.first_index)?).ok()?)
}

fn bytes(batch: &SubtaskBatch) -> usize {
    batch.subtasks.iter().map(|subtask| subtask.payload.len() + subtask.key.len() + OVERHEAD).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first_index: u64, count: usize, bytes: usize) -> Arc<SubtaskBatch> {
        let subtasks = vec![SubtaskPayload { key: String::new(), payload: vec![b'1'; bytes] }; count];
        Arc::new(SubtaskBatch { batch_no: 0, first_index, subtasks })
    }

    #[test]
    fn it_stays_within_its_bytes_and_keeps_what_is_wanted_now() {
        let mut window = Window::default();
        for number in 0..100 {
            window.offer(batch(number * 10, 10, 60_000));
        }
        assert!(window.bytes <= BYTES);
        assert!(
            window.batch_of(5).is_some() && window.batch_of(995).is_none(),
            "the first ones are wanted first"
        );
        window.put(batch(990, 10, 60_000));
        assert!(window.bytes <= BYTES && window.batch_of(995).is_some());
        window.drop_below(995);
        assert!(window.batch_of(5).is_none() && window.batch_of(995).is_some());
        window.drop_below(1_000);
        assert_eq!(window.bytes, 0);
    }
}
