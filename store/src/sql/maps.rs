//! Checkpoints of parallel runs: phase, counts and bitmaps.

use std::sync::Arc;

use carillon_core::ids::{AttemptNo, RunKey};
use carillon_core::parallel::{MAX_OUTPUT_BYTES, MapChunk, MapHeader, MapPhase};

use crate::StoreError;
use crate::database::{Database, Existing, Insert};
use crate::sql::run_rows::read_key;
use crate::sql::subtasks::{OF_ATTEMPT, attempt_values};
use crate::subtasks::MapCheckpoint;
use crate::value::{Json, json, values};

const HEADER: Insert = Insert {
    table: "map_run",
    columns: &[
        "fire_time",
        "job",
        "ordinal",
        "attempt",
        "phase",
        "emitted",
        "done",
        "failed",
        "done_by_worker",
    ],
    existing: Existing::Replace {
        key: &["fire_time", "job", "ordinal", "attempt"],
        columns: &["phase", "emitted", "done", "failed", "done_by_worker"],
    },
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

/// By primary key in each table.
pub(crate) async fn checkpoint<D: Database>(
    db: &mut D,
    checkpoint: Arc<MapCheckpoint>,
) -> Result<(), StoreError> {
    let attempt = || attempt_values(checkpoint.run, checkpoint.attempt);
    let header = &checkpoint.header;
    let mut row = attempt();
    row.extend(values![
        header.phase.as_str(),
        header.emitted,
        header.done,
        header.failed,
        json(&header.done_by_worker),
    ]);
    db.insert(&HEADER, row).await?;

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
        rows.extend(attempt());
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
        .query_one(
            &format!("SELECT phase, emitted, done, failed, done_by_worker FROM map_run WHERE {OF_ATTEMPT}"),
            attempt_values(run, attempt),
        )
        .await?;
    let Some(mut row) = found else { return Ok(None) };
    let phase: String = row.take()?;
    Ok(Some(MapHeader {
        phase: phase_of(db.action(), &phase)?,
        emitted: row.take()?,
        done: row.take()?,
        failed: row.take()?,
        done_by_worker: row.take::<Json<_>>()?.0,
    }))
}

fn phase_of(action: &'static str, word: &str) -> Result<MapPhase, StoreError> {
    [MapPhase::Splitting, MapPhase::Processing, MapPhase::Reducing, MapPhase::Ended]
        .into_iter()
        .find(|phase| phase.as_str() == word)
        .ok_or_else(|| StoreError::Corrupt {
            action,
            detail: format!("{word:?} is no phase this version knows"),
        })
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
