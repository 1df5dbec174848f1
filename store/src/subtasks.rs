//! Subtasks of parallel runs: batches stored before any is handed out, completion as bitmaps, outputs for the reduce.

use async_trait::async_trait;
use carillon_core::ids::{AttemptNo, Epoch, RunKey};
use carillon_core::parallel::{MapChunk, MapHeader, MapPhase};
use carillon_core::time::Timestamp;

use crate::StoreError;

/// A batch of subtasks as emitted by `split`, at most 4 MiB of payloads. Payloads are stored compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtaskBatch {
    /// The batch's number, from 0 without gaps; a repeated number is the same batch.
    pub batch_no: u32,
    /// The index of its first subtask.
    pub first_index: u64,
    /// Its subtasks, each with an optional key to search by and its JSON payload, at most 64 KiB each.
    pub subtasks: Vec<SubtaskPayload>,
}

/// One subtask as emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtaskPayload {
    /// A short text to find it by, at most 128 characters; empty for none.
    pub key: String,
    /// The value as JSON text.
    pub payload: Vec<u8>,
}

/// What is written at a checkpoint, in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct MapCheckpoint {
    /// The run.
    pub run: RunKey,
    /// The attempt whose map this is: the key of header, chunks and failures.
    pub attempt: AttemptNo,
    /// The epoch of the server that drives the map.
    pub epoch: Epoch,
    /// The attempt whose split is processed, `header.source_attempt` or `attempt`: the key of the outputs.
    pub data_attempt: AttemptNo,
    /// Phase and counts.
    pub header: MapHeader,
    /// The bitmaps' chunks that changed since the last checkpoint.
    pub chunks: Vec<MapChunk>,
    /// Outputs of the subtasks done since the last checkpoint, `(index, JSON text)`; at most 16 KiB each.
    pub outputs: Vec<(u64, Vec<u8>)>,
    /// Rows of subtasks that failed an attempt since the last checkpoint.
    pub failures: Vec<SubtaskFailure>,
}

/// A failed attempt of a subtask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubtaskFailure {
    /// Which subtask.
    pub index: u64,
    /// Which try of it, from 1.
    pub attempt: u32,
    /// When it ended.
    pub at: Timestamp,
    /// Where, as the worker's name.
    pub worker: String,
    /// The error text, at most 1,000 characters.
    pub error: String,
    /// Whether it was the last try.
    pub last: bool,
}

/// Durable state of parallel runs, keyed by (run, attempt).
#[async_trait]
pub trait SubtaskStore {
    /// Stores emitted batches, compressed; numbers that exist are left as they are.
    async fn store_batches(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        batches: &[SubtaskBatch],
    ) -> Result<(), StoreError>;

    /// The batches that hold indexes `first..first + count`, in order.
    async fn batches(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        first: u64,
        count: u64,
    ) -> Result<Vec<SubtaskBatch>, StoreError>;

    /// How far the split got: the next batch number and the next index.
    async fn split_progress(&self, run: RunKey, attempt: AttemptNo) -> Result<(u32, u64), StoreError>;

    /// Takes an attempt's map over for `epoch` and reads its header; none where none was written. From then on checkpoints of a smaller
    /// epoch are refused, so that a server which was paused cannot undo what its successor wrote. [`StoreError::Conflict`] where a larger
    /// epoch has claimed it.
    async fn claim_map(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        epoch: Epoch,
    ) -> Result<Option<MapHeader>, StoreError>;

    /// Writes a checkpoint. Outputs and failures whose key exists are left as they are. Safe to repeat. [`StoreError::Conflict`], and
    /// nothing is written, where a larger epoch has claimed the map.
    async fn checkpoint(&self, checkpoint: &MapCheckpoint) -> Result<(), StoreError>;

    /// Phase and counts of an attempt's map.
    async fn map_header(&self, run: RunKey, attempt: AttemptNo) -> Result<Option<MapHeader>, StoreError>;

    /// The chunks of its bitmaps, in order; chunks never written are left out.
    async fn map_chunks(&self, run: RunKey, attempt: AttemptNo) -> Result<Vec<MapChunk>, StoreError>;

    /// Outputs in index order from `after` (exclusive), at most `limit`.
    async fn outputs(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, StoreError>;

    /// Failed attempts, by subtask and attempt, from `after` (exclusive), at most `limit`; only last ones if `only_last`.
    async fn failures(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        only_last: bool,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<SubtaskFailure>, StoreError>;

    /// Failed attempts of the given subtasks.
    async fn failures_of(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        indexes: &[u64],
    ) -> Result<Vec<SubtaskFailure>, StoreError>;

    /// Indexes of subtasks whose key starts with `prefix`, in index order from `after` (exclusive), at most `limit`.
    async fn find_by_key(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        prefix: &str,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError>;

    /// Parallel runs in a phase, for the pages; at most `limit`.
    async fn map_runs_in(
        &self,
        phase: MapPhase,
        limit: usize,
    ) -> Result<Vec<(RunKey, AttemptNo)>, StoreError>;
}
