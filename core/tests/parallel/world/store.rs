//! What is durable of the map.

use std::collections::{BTreeMap, BTreeSet};

use carillon_core::parallel::{MapChunk, MapHeader, SUBTASKS_PER_CHUNK};
use carillon_core::time::Timestamp;

#[derive(Default)]
pub(crate) struct Store {
    pub(super) epoch: u64,
    /// End index by batch.
    pub(super) batches: Vec<u64>,
    pub(crate) header: Option<MapHeader>,
    pub(super) chunks: BTreeMap<u32, MapChunk>,
    pub(super) outputs: BTreeSet<u64>,
    pub(super) failures: BTreeMap<(u64, u32), (Timestamp, bool)>,
}

impl Store {
    pub(super) fn end(&self) -> u64 {
        self.batches.last().copied().unwrap_or(0)
    }

    pub(super) fn bit(&self, index: u64, of: fn(&MapChunk) -> &Vec<u8>) -> bool {
        let within = index % SUBTASKS_PER_CHUNK;
        let chunk = self.chunks.get(&((index / SUBTASKS_PER_CHUNK) as u32));
        chunk
            .and_then(|chunk| of(chunk).get((within / 8) as usize))
            .is_some_and(|byte| byte >> (within % 8) & 1 == 1)
    }

    pub(super) fn done(&self, index: u64) -> bool {
        self.bit(index, |chunk| &chunk.done)
    }

    pub(super) fn failed(&self, index: u64) -> bool {
        self.bit(index, |chunk| &chunk.failed)
    }
}
