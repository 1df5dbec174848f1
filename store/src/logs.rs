//! The logs of runs.

use async_trait::async_trait;
use carillon_core::ids::{AttemptNo, RunKey};

use crate::StoreError;

/// A piece of an attempt's log: whole lines of UTF-8 text, each ended by a newline; at most 4 MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// The run.
    pub run: RunKey,
    /// The attempt.
    pub attempt: AttemptNo,
    /// The chunk's number within the attempt, from 0, given by the worker; a repeated number is the same chunk.
    pub chunk_no: u32,
    /// The byte offset of the chunk in the attempt's log.
    pub offset: u64,
    /// The lines.
    pub text: String,
}

/// The most log bytes that servers keep for an attempt unless they are told otherwise: a chatty job that fires each second fills 600 MB a
/// minute with it. The worker writes a marker where it drops lines.
pub const MAX_LOG_BYTES: u64 = 10 * 1024 * 1024;

/// The longest log that can be kept: chunks of a log that many workers write are numbered by their offsets, in 32 bits.
pub const LONGEST_LOG_BYTES: u64 = u32::MAX as u64;

/// The logs of runs.
#[async_trait]
pub trait LogStore {
    /// Appends chunks; numbers that exist are left as they are. What would make a log longer than [`LONGEST_LOG_BYTES`] is left
    /// out; a server's own limit is the server's to keep.
    async fn append_logs(&self, chunks: &[LogChunk]) -> Result<(), StoreError>;

    /// Bytes `from..from + limit` of an attempt's log, or less where a chunk in between has not arrived yet, with the total length so far.
    /// Reads no more of the log than these bytes and the rest of the chunks that they begin and end in.
    async fn read_log(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        from: u64,
        limit: u64,
    ) -> Result<(Vec<u8>, u64), StoreError>;
}
