//! Parallel runs: the two-level map, its phases and its record of what is done.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where a parallel run's attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapPhase {
    /// Level 1 emits subtasks; level 2 may process those already stored.
    Splitting,
    /// Every subtask is stored; level 2 processes them.
    Processing,
    /// Every subtask is done; the outputs are being reduced at one worker.
    Reducing,
    /// Nothing further happens to this attempt.
    Ended,
}

impl MapPhase {
    /// The phase's word in the API and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Splitting => "splitting",
            Self::Processing => "processing",
            Self::Reducing => "reducing",
            Self::Ended => "ended",
        }
    }
}

/// Phase and counts of a map: small, written at every checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapHeader {
    /// Where it is.
    pub phase: MapPhase,
    /// Subtasks stored so far; all of them from `Processing` on.
    pub emitted: u64,
    /// Subtasks done.
    pub done: u64,
    /// Subtasks failed for good.
    pub failed: u64,
    /// Subtasks done by worker name, at most [`MAX_WORKERS_COUNTED`] names.
    pub done_by_worker: BTreeMap<String, u64>,
}

/// How many workers a map counts by name; more are counted together, so that the header stays small.
pub const MAX_WORKERS_COUNTED: usize = 1_000;

/// How many subtasks one chunk of the bitmaps covers: 8 KiB a bitmap, so that a checkpoint writes little and a row stays small.
pub const SUBTASKS_PER_CHUNK: u64 = 65_536;

/// The most subtasks of a run (semantics: "Limits").
pub const MAX_SUBTASKS: u64 = 10_000_000;

/// The largest payload of a subtask.
pub const MAX_SUBTASK_BYTES: usize = 64 * 1024;

/// The largest output of a subtask kept for the reduce.
pub const MAX_OUTPUT_BYTES: usize = 16 * 1024;

/// A piece of a map's bitmaps: bit `i` of byte `i / 8` (lowest first) stands for subtask `number * SUBTASKS_PER_CHUNK + i`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapChunk {
    /// The chunk's number, from 0.
    pub number: u32,
    /// Which are done; shorter than 8 KiB where the rest is zero.
    pub done: Vec<u8>,
    /// Which failed for good; empty where none did.
    pub failed: Vec<u8>,
}
