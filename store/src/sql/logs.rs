//! The logs of runs.

use std::sync::Arc;

use carillon_core::ids::{AttemptNo, RunKey};

use crate::StoreError;
use crate::database::{Database, Existing, Insert};
use crate::logs::{LONGEST_LOG_BYTES, LogChunk};
use crate::sql::subtasks::{OF_ATTEMPT, attempt_values};
use crate::value::{Value, values};

const NEW_CHUNKS: Insert = Insert {
    table: "log_chunk",
    columns: &["fire_time", "job", "ordinal", "attempt", "chunk_no", "byte_offset", "byte_length", "body"],
    existing: Existing::Keep,
};

/// The largest chunk: written in hexadecimal it is half of the packet that a server with default settings takes.
const MAX_CHUNK_BYTES: usize = 4 * 1024 * 1024;

pub(crate) async fn append_logs<D: Database>(db: &mut D, chunks: Arc<[LogChunk]>) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for chunk in chunks.iter() {
        let bytes = chunk.text.as_bytes();
        if bytes.len() > MAX_CHUNK_BYTES {
            return Err(StoreError::LimitExceeded {
                what: "a log chunk in bytes",
                limit: MAX_CHUNK_BYTES as u64,
            });
        }
        // Worker and server keep to what is configured; offsets beyond this would not fit where they double as numbers.
        if chunk.offset.saturating_add(bytes.len() as u64) > LONGEST_LOG_BYTES {
            continue;
        }
        rows.extend(attempt_values(chunk.run, chunk.attempt));
        rows.extend(values![
            chunk.chunk_no,
            chunk.offset,
            bytes.len(),
            lz4_flex::block::compress_prepend_size(bytes),
        ]);
    }
    db.insert(&NEW_CHUNKS, rows).await?;
    Ok(())
}

/// Along `log_chunk_from`: the chunks that hold the range, and the end of the last chunk. Ends at a gap, which a chunk still under way may
/// fill.
pub(crate) async fn read_log<D: Database>(
    db: &mut D,
    run: RunKey,
    attempt: AttemptNo,
    from: u64,
    limit: u64,
) -> Result<(Vec<u8>, u64), StoreError> {
    let table = D::indexed("log_chunk", "log_chunk_from");
    let total = db
        .query_one(
            &format!(
                "SELECT byte_offset + byte_length FROM {table} WHERE {OF_ATTEMPT}
                 ORDER BY byte_offset DESC, byte_length DESC LIMIT 1"
            ),
            attempt_values(run, attempt),
        )
        .await?;
    let total: u64 = match total {
        Some(mut row) => row.take()?,
        None => 0,
    };
    // No log is longer, so these bounds lose nothing and fit a signed column.
    let from = from.min(LONGEST_LOG_BYTES);
    let to = from.saturating_add(limit).min(LONGEST_LOG_BYTES);
    if from >= to.min(total) {
        return Ok((Vec::new(), total));
    }
    // The last one that begins no later than the range, and those that begin in it.
    let mut range = attempt_values(run, attempt);
    range.push(Value::from(from));
    let first = db
        .query_one(
            &format!("SELECT MAX(byte_offset) FROM {table} WHERE {OF_ATTEMPT} AND byte_offset <= ?"),
            range,
        )
        .await?;
    let Some(first) = first.map(|mut row| row.take::<Option<u64>>()).transpose()?.flatten() else {
        return Ok((Vec::new(), total));
    };
    let mut range = attempt_values(run, attempt);
    range.extend([Value::from(first), Value::from(to)]);
    let rows = db
        .query(
            &format!(
                "SELECT byte_offset, body FROM {table}
                 WHERE {OF_ATTEMPT} AND byte_offset >= ? AND byte_offset < ? ORDER BY byte_offset, byte_length"
            ),
            range,
        )
        .await?;
    let mut log = Vec::new();
    let mut at = from;
    for mut row in rows {
        let offset: u64 = row.take()?;
        let body: Vec<u8> = row.take()?;
        let text =
            lz4_flex::block::decompress_size_prepended(&body).map_err(|error| StoreError::Corrupt {
                action: db.action(),
                detail: format!("a chunk does not decompress: {error}"),
            })?;
        let end = offset + text.len() as u64;
        if offset > at || at >= to {
            break;
        }
        if end > at {
            // Both bounds are within the chunk, because offset <= at < end.
            let until = end.min(to);
            log.extend_from_slice(&text[(at - offset) as usize..(until - offset) as usize]);
            at = until;
        }
    }
    Ok((log, total))
}
