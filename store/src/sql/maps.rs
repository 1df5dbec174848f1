//! Checkpoints of parallel runs: phase, counts and bitmaps.

use std::sync::Arc;

use carillon_core::ids::{AttemptNo, Epoch, RunKey};
use carillon_core::parallel::{MAX_OUTPUT_BYTES, MapChunk, MapHeader, MapPhase};

use crate::StoreError;
use crate::database::{Database, Existing, Insert};
use crate::sql::run_rows::read_key;
use crate::sql::subtasks::{OF_ATTEMPT, attempt_values};
use crate::subtasks::MapCheckpoint;
use crate::value::{Json, Value, json, values};

const CLAIMED: Insert = Insert {
    table: "map_run",
    columns: &["fire_time", "job", "ordinal", "attempt", "epoch"],
    existing: Existing::Keep,
};

const CHUNKS: Insert = Insert {
    table: "subtask_chunk",
    columns: &["fire_time", "job", "ordinal", "attempt", "chunk_no", "done", "failed"],
    existing: Existing::Replace {
        key: &["fire_time", "job", "ordinal", "attempt", "chunk_no"],
        columns: &["done", "failed"],
    },
};

const OUTPUTS: Insert = Insert {
    table: "subtask_output",
    columns: &["fire_time", "job", "ordinal", "attempt", "subtask_index", "output"],
    existing: Existing::Keep,
};

const FAILURES: Insert = Insert {
    table: "subtask_failure",
    columns: &[
        "fire_time",
        "job",
        "ordinal",
        "attempt",
        "subtask_index",
        "try_no",
        "failed_at",
        "worker",
        "error",
        "is_last",
    ],
    existing: Existing::Keep,
};

/// Locks the map's row for `epoch`, making it where there is none; refuses where a larger one has it. By primary key.
async fn fence<D: Database>(
    db: &mut D,
    run: RunKey,
    attempt: AttemptNo,
    epoch: Epoch,
) -> Result<(), StoreError> {
    let mut row = attempt_values(run, attempt);
    row.push(Value::from(epoch));
    db.insert(&CLAIMED, row).await?;
    let sql = format!("SELECT epoch FROM map_run WHERE {OF_ATTEMPT} {}", D::FOR_UPDATE);
    let holder = match db.query_one(&sql, attempt_values(run, attempt)).await? {
        Some(mut row) => row.take()?,
        None => epoch,
    };
    if holder > epoch {
        return Err(StoreError::Conflict {
            what: "the map of run",
            id: run.to_string(),
            conflict: format!("belongs to epoch {holder}, not to {epoch}"),
        });
    }
    Ok(())
}

/// By primary key.
pub(crate) async fn claim_map<D: Database>(
    db: &mut D,
    run: RunKey,
    attempt: AttemptNo,
    epoch: Epoch,
) -> Result<Option<MapHeader>, StoreError> {
    fence(db, run, attempt, epoch).await?;
    let mut row = values![epoch];
    row.extend(attempt_values(run, attempt));
    db.execute(&format!("UPDATE map_run SET epoch = ? WHERE {OF_ATTEMPT}"), row).await?;
    map_header(db, run, attempt).await
}

/// By primary key in each table.
pub(crate) async fn checkpoint<D: Database>(
    db: &mut D,
    checkpoint: Arc<MapCheckpoint>,
) -> Result<(), StoreError> {
    fence(db, checkpoint.run, checkpoint.attempt, checkpoint.epoch).await?;
    let attempt = || attempt_values(checkpoint.run, checkpoint.attempt);
    let header = &checkpoint.header;
    let mut row = values![checkpoint.epoch, header.phase.as_str(), json(header)];
    row.extend(attempt());
    db.execute(&format!("UPDATE map_run SET epoch = ?, phase = ?, header = ? WHERE {OF_ATTEMPT}"), row)
        .await?;

    let mut rows = Vec::new();
    for chunk in &checkpoint.chunks {
        rows.extend(attempt());
        rows.extend(values![chunk.number, chunk.done.as_slice(), chunk.failed.as_slice()]);
    }
    db.insert(&CHUNKS, rows).await?;

    let mut rows = Vec::new();
    for (index, output) in &checkpoint.outputs {
        if output.len() > MAX_OUTPUT_BYTES {
            return Err(StoreError::LimitExceeded {
                what: "a subtask's output in bytes",
                limit: MAX_OUTPUT_BYTES as u64,
            });
        }
        rows.extend(attempt_values(checkpoint.run, checkpoint.data_attempt));
        rows.extend(values![*index, output.as_slice()]);
    }
    db.insert(&OUTPUTS, rows).await?;

    let mut rows = Vec::new();
    for failure in &checkpoint.failures {
        rows.extend(attempt());
        rows.extend(values![
            failure.index,
            failure.attempt,
            failure.at,
            &failure.worker,
            &failure.error,
            failure.last,
        ]);
    }
    db.insert(&FAILURES, rows).await?;
    Ok(())
}

/// By primary key.
pub(crate) async fn map_header<D: Database>(
    db: &mut D,
    run: RunKey,
    attempt: AttemptNo,
) -> Result<Option<MapHeader>, StoreError> {
    let found = db
        .query_one(&format!("SELECT header FROM map_run WHERE {OF_ATTEMPT}"), attempt_values(run, attempt))
        .await?;
    match found {
        Some(mut row) => Ok(row.take::<Option<Json<_>>>()?.map(|header| header.0)),
        None => Ok(None),
    }
}

/// By primary key.
pub(crate) async fn map_chunks<D: Database>(
    db: &mut D,
    run: RunKey,
    attempt: AttemptNo,
) -> Result<Vec<MapChunk>, StoreError> {
    let rows = db
        .query(
            &format!("SELECT chunk_no, done, failed FROM subtask_chunk WHERE {OF_ATTEMPT} ORDER BY chunk_no"),
            attempt_values(run, attempt),
        )
        .await?;
    rows.into_iter()
        .map(|mut row| Ok(MapChunk { number: row.take()?, done: row.take()?, failed: row.take()? }))
        .collect()
}

/// Along `map_run_in_phase`, newest first.
pub(crate) async fn map_runs_in<D: Database>(
    db: &mut D,
    phase: MapPhase,
    limit: usize,
) -> Result<Vec<(RunKey, AttemptNo)>, StoreError> {
    let rows = db
        .query(
            "SELECT fire_time, job, ordinal, attempt FROM map_run
             WHERE phase = ? ORDER BY fire_time DESC, job DESC, ordinal DESC, attempt DESC LIMIT ?",
            values![phase.as_str(), limit],
        )
        .await?;
    rows.into_iter().map(|mut row| Ok((read_key(&mut row)?, row.take()?))).collect()
}
