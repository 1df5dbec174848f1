//! Parallel runs: the two-level map, its phases and its record of what is done.
//!
//! Level 1 splits at one worker, level 2 processes on all of them, an optional reduce ends it. [`MapEngine`] decides for one attempt of one
//! run; the types here are what it shares with the store. Begin with [`MapInput`] and [`MapEffect`].

mod completion;
mod durability;
mod engine;
mod hand_out;
mod progress;
mod reduce;
mod results;
mod split;
mod workers;

pub use engine::{
    CountedFailure, HandedOut, MapEffect, MapEngine, MapInput, MapRules, MapStart, OutcomeKind,
    SubtaskOutcome, SubtaskRetry,
};
pub use progress::MapView;
pub use reduce::ReduceNews;
pub use workers::MapWorker;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{AttemptNo, Incarnation, PlanNo};
use crate::run::Reason;

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
    /// Subtasks that went to another worker because theirs was lost or left, by the name of the worker that had them.
    #[serde(default)]
    pub taken_from: BTreeMap<String, u64>,
    /// Whether the split was stored completely, even where the attempt ended since: only then can its subtasks be re-run without it.
    #[serde(default)]
    pub split_complete: bool,
    /// For "re-run failed subtasks only": the attempt whose split, batches and outputs this one goes on with. None for its own.
    #[serde(default)]
    pub source_attempt: Option<AttemptNo>,
    /// Whether outputs are kept for a reduce; decided when the first subtask is handed out, by whether a worker's handler reduces.
    #[serde(default)]
    pub keep_outputs: bool,
    /// Where the reduce was sent last, from `Reducing` on.
    #[serde(default)]
    pub reduce: Option<ReduceAt>,
    /// How the attempt ended; none before, and none for one that was cancelled.
    #[serde(default)]
    pub outcome: Option<MapOutcome>,
}

impl MapHeader {
    /// The header of an attempt whose split is about to begin.
    pub fn new() -> Self {
        Self {
            phase: MapPhase::Splitting,
            emitted: 0,
            done: 0,
            failed: 0,
            done_by_worker: BTreeMap::new(),
            taken_from: BTreeMap::new(),
            split_complete: false,
            source_attempt: None,
            keep_outputs: false,
            reduce: None,
            outcome: None,
        }
    }

    /// The header of an attempt that re-runs what `previous`, the ended attempt `number`, did not get done. Its bitmaps are those of the
    /// previous attempt without the failed bits.
    pub fn rerun_of(previous: &Self, number: AttemptNo) -> Self {
        Self {
            phase: MapPhase::Processing,
            failed: 0,
            source_attempt: Some(previous.source_attempt.unwrap_or(number)),
            reduce: None,
            outcome: None,
            ..previous.clone()
        }
    }
}

impl Default for MapHeader {
    fn default() -> Self {
        Self::new()
    }
}

/// Where a reduce was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReduceAt {
    /// The worker.
    pub worker: Incarnation,
    /// Grows with every change of the worker.
    pub plan_no: PlanNo,
}

/// How a parallel run's attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum MapOutcome {
    /// Enough subtasks succeeded, and the reduce if there is one.
    Succeeded {
        /// The reduce's result, or the counts.
        result: Option<Value>,
    },
    /// Too many subtasks failed, or the reduce did.
    Failed {
        /// Why.
        reason: Reason,
    },
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
