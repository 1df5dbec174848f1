//! Level 1: batches as they are emitted and stored.

use std::collections::VecDeque;

use super::engine::{MapEffect, MapEngine};
use super::{MAX_SUBTASKS, MapPhase};
use crate::ids::Incarnation;

/// How many batches may be on their way to the store; further ones are dropped and come again. The splitting worker keeps fewer than this
/// unacknowledged, so it is a bound for a faulty one.
const MAX_UNSTORED_BATCHES: usize = 256;

/// How far the split is.
#[derive(Debug, Clone)]
pub(super) struct Split {
    /// The next batch to be taken.
    next_batch: u32,
    /// The next index to be taken.
    next_index: u64,
    /// Batches on their way to the store: number, and the index after its last.
    unstored: VecDeque<(u32, u64)>,
    /// Who emits: the sender of the newest batch.
    emitter: Option<Incarnation>,
    /// The last batch was taken: its number.
    last: Option<u32>,
    complete: bool,
}

impl Split {
    pub(super) fn new(next_batch: u32, next_index: u64, complete: bool) -> Self {
        Self { next_batch, next_index, unstored: VecDeque::new(), emitter: None, last: None, complete }
    }

    /// Whether every batch is stored, the last one included.
    pub(super) fn is_complete(&self) -> bool {
        self.complete || (self.last.is_some() && self.unstored.is_empty())
    }

    /// The last batch, to be acknowledged once the end of the split is durable.
    pub(super) fn take_last_ack(&mut self) -> Option<(Incarnation, u32)> {
        self.complete = true;
        Some((self.emitter?, self.last?))
    }
}

impl MapEngine {
    pub(super) fn emitted(&mut self, worker: Incarnation, batch_no: u32, first: u64, count: u64, last: bool) {
        let refuse = |error: String| MapEffect::AckEmit { worker, batch_no, error: Some(error) };
        let split = &mut self.split;
        if self.header.phase == MapPhase::Ended && !split.complete {
            self.effects.push(refuse("the run's attempt has ended".into()));
            return;
        }
        split.emitter = Some(worker);
        if split.complete {
            // The acknowledgement of the last batch went lost. While the end of the split is on its way to the store, it follows from there.
            self.when_durable(MapEffect::AckEmit { worker, batch_no, error: None });
            return;
        }
        if batch_no < split.next_batch {
            let stored = split.unstored.front().is_none_or(|(oldest, _)| batch_no < *oldest);
            if last && batch_no + 1 == split.next_batch {
                split.last = Some(batch_no);
            } else if stored {
                self.effects.push(MapEffect::AckEmit { worker, batch_no, error: None });
            }
            return;
        }
        // A gap: batches before it were lost on a broken stream and come again, and this one after them.
        if batch_no > split.next_batch || split.last.is_some() || split.unstored.len() >= MAX_UNSTORED_BATCHES
        {
            return;
        }
        if first != split.next_index {
            let expected = split.next_index;
            self.effects.push(refuse(format!("batch {batch_no} begins at {first} where {expected} follows")));
            return;
        }
        if first + count > MAX_SUBTASKS {
            self.effects.push(refuse(format!(
                "the split emitted more than {MAX_SUBTASKS} subtasks, the most of a run"
            )));
            return;
        }
        if last {
            split.last = Some(batch_no);
        }
        if count > 0 {
            split.next_batch += 1;
            split.next_index += count;
            split.unstored.push_back((batch_no, split.next_index));
            self.effects.push(MapEffect::StoreBatch { batch_no });
        } else if !last {
            self.effects.push(refuse(format!("batch {batch_no} is empty and not the last")));
        }
    }

    pub(super) fn batches_stored(&mut self, up_to: u32) {
        let split = &mut self.split;
        let mut newest = None;
        while let Some((batch_no, end)) = split.unstored.front().copied().filter(|(no, _)| *no <= up_to) {
            split.unstored.pop_front();
            self.header.emitted = end;
            newest = Some(batch_no);
        }
        let (Some(batch_no), Some(worker)) = (newest, split.emitter) else { return };
        if split.last != Some(batch_no) && self.header.phase != MapPhase::Ended {
            self.effects.push(MapEffect::AckEmit { worker, batch_no, error: None });
        }
    }
}
