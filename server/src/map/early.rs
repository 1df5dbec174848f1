//! Batches of a split whose start has not been reported yet.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use carillon_proto::v1;

use super::driver::Said;
use super::{From, MapKey};

/// Batches kept for maps that are not open, and their bytes: what a few dozen splits send before their start is known.
const BATCHES: usize = 512;
const BYTES: usize = 64 * 1024 * 1024;

/// How long they are kept: the worker repeats them after 3 s anyway.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Default)]
pub(super) struct Early {
    kept: VecDeque<Kept>,
    bytes: usize,
}

struct Kept {
    at: Instant,
    from: From,
    key: MapKey,
    emit: v1::Emit,
    bytes: usize,
}

impl Early {
    /// Keeps a batch for a while.
    pub(super) fn keep(&mut self, from: From, key: MapKey, emit: v1::Emit) {
        let bytes = emit.subtasks.iter().map(|subtask| subtask.payload.len() + subtask.key.len() + 64).sum();
        self.kept.push_back(Kept { at: Instant::now(), from, key, emit, bytes });
        self.bytes += bytes;
        let too_much = |early: &Self| early.kept.len() > BATCHES || early.bytes > BYTES;
        while too_much(self) || self.kept.front().is_some_and(|kept| kept.at.elapsed() > PATIENCE) {
            let Some(dropped) = self.kept.pop_front() else { break };
            self.bytes -= dropped.bytes;
        }
    }

    /// Takes what was kept for a map that opens, in order.
    pub(super) fn take(&mut self, key: MapKey) -> Vec<Said> {
        let (theirs, others) = std::mem::take(&mut self.kept).into_iter().partition(|kept| kept.key == key);
        self.kept = others;
        let theirs: VecDeque<Kept> = theirs;
        self.bytes -= theirs.iter().map(|kept| kept.bytes).sum::<usize>();
        theirs.into_iter().map(|kept| Said::Emit(kept.from.incarnation, kept.emit)).collect()
    }
}
