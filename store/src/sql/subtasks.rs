//! The subtasks of parallel runs: batches, outputs, failures.

use std::sync::Arc;

use carillon_core::ids::{AttemptNo, RunKey};

use crate::StoreError;
use crate::database::{Database, Existing, Insert, placeholders};
use crate::sql::subtask_bodies::{check, pack, unpack};
use crate::subtasks::{SubtaskBatch, SubtaskFailure, SubtaskPayload};
use crate::value::{Row, Value, values};

/// The attempt of a run, as the beginning of every primary key here.
pub(super) const OF_ATTEMPT: &str = "fire_time = ? AND job = ? AND ordinal = ? AND attempt = ?";

pub(super) fn attempt_values(run: RunKey, attempt: AttemptNo) -> Vec<Value> {
    values![run.fire_time, run.job, run.ordinal, attempt]
}

const NEW_BATCHES: Insert = Insert {
    table: "subtask_batch",
    columns: &[
        "fire_time",
        "job",
        "ordinal",
        "attempt",
        "batch_no",
        "first_index",
        "subtasks",
        "least_key",
        "greatest_key",
        "search_keys",
        "body",
    ],
    existing: Existing::Keep,
};

pub(crate) async fn store_batches<D: Database>(
    db: &mut D,
    run: RunKey,
    attempt: AttemptNo,
    batches: Arc<[SubtaskBatch]>,
) -> Result<(), StoreError> {
    let mut rows = Vec::new();
    for batch in batches.iter() {
        check(&batch.subtasks)?;
        let keys = || batch.subtasks.iter().map(|subtask| subtask.key.as_bytes());
        let has_keys = keys().any(|key| !key.is_empty());
        rows.extend(attempt_values(run, attempt));
        rows.extend(values![
            batch.batch_no,
            batch.first_index,
            batch.subtasks.len(),
            keys().min().filter(|_| has_keys),
            keys().max().filter(|_| has_keys),
            has_keys.then(|| pack(keys())),
            pack(batch.subtasks.iter().map(|subtask| subtask.payload.as_slice())),
        ]);
    }
    db.insert(&NEW_BATCHES, rows).await?;
    Ok(())
}

/// Along `subtask_batch_from`: from the last batch that begins at or before `first`.
pub(crate) async fn batches<D: Database>(
    db: &mut D,
    run: RunKey,
    attempt: AttemptNo,
    first: u64,
    count: u64,
) -> Result<Vec<SubtaskBatch>, StoreError> {
    let mut before = attempt_values(run, attempt);
    before.push(Value::from(first));
    let begin = db
        .query_one(
            &format!("SELECT MAX(first_index) FROM subtask_batch WHERE {OF_ATTEMPT} AND first_index <= ?"),
            before,
        )
        .await?;
    let begin: Option<u64> = match begin {
        Some(mut row) => row.take()?,
        None => None,
    };
    let mut range = attempt_values(run, attempt);
    range.extend(values![begin.unwrap_or(first), first.saturating_add(count).min(i64::MAX as u64)]);
    let rows = db
        .query(
            &format!(
                "SELECT batch_no, first_index, subtasks, search_keys, body FROM subtask_batch
                 WHERE {OF_ATTEMPT} AND first_index >= ? AND first_index < ? ORDER BY first_index, batch_no"
            ),
            range,
        )
        .await?;
    let action = db.action();
    let mut batches = Vec::with_capacity(rows.len());
    for row in rows {
        let batch = read_batch(action, row)?;
        if batch.first_index + batch.subtasks.len() as u64 > first {
            batches.push(batch);
        }
    }
    Ok(batches)
}

fn read_batch(action: &'static str, mut row: Row) -> Result<SubtaskBatch, StoreError> {
    let batch_no = row.take()?;
    let first_index = row.take()?;
    let count: usize = row.take()?;
    let keys: Option<Vec<u8>> = row.take()?;
    let body: Vec<u8> = row.take()?;
    let payloads = unpack(action, &body)?;
    let keys = match keys {
        Some(packed) => unpack(action, &packed)?,
        None => vec![Vec::new(); count],
    };
    if payloads.len() != count || keys.len() != count {
        return Err(StoreError::Corrupt {
            action,
            detail: format!("batch {batch_no} should hold {count} subtasks and holds {}", payloads.len()),
        });
    }
    let mut subtasks = Vec::with_capacity(count);
    for (key, payload) in keys.into_iter().zip(payloads) {
        let key = String::from_utf8(key).map_err(|_| StoreError::Corrupt {
            action,
            detail: format!("batch {batch_no} holds a key that is not a text"),
        })?;
        subtasks.push(SubtaskPayload { key, payload });
    }
    Ok(SubtaskBatch { batch_no, first_index, subtasks })
}

/// The end of the primary key's range.
pub(crate) async fn split_progress<D: Database>(
    db: &mut D,
    run: RunKey,
    attempt: AttemptNo,
) -> Result<(u32, u64), StoreError> {
    let found = db
        .query_one(
            &format!(
                "SELECT batch_no + 1, first_index + subtasks FROM subtask_batch
                 WHERE {OF_ATTEMPT} ORDER BY batch_no DESC LIMIT 1"
            ),
            attempt_values(run, attempt),
        )
        .await?;
    match found {
        Some(mut row) => Ok((row.take()?, row.take()?)),
        None => Ok((0, 0)),
    }
}

/// Reads the keys of the batches that may hold the prefix, in pages of 50 (a few hundred kilobytes), until enough are found. A search is
/// made by a person now and then; an index of every key would double the writing of every run.
pub(crate) async fn find_by_key<D: Database>(
    db: &mut D,
    run: RunKey,
    attempt: AttemptNo,
    prefix: Arc<str>,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<u64>, StoreError> {
    const BATCHES_A_QUERY: usize = 50;
    let sql = format!(
        "SELECT batch_no, first_index, least_key, search_keys FROM subtask_batch
         WHERE {OF_ATTEMPT} AND batch_no >= ? AND first_index + subtasks > ?
           AND search_keys IS NOT NULL AND greatest_key >= ?
         ORDER BY batch_no LIMIT ?"
    );
    let action = db.action();
    let from = after.map_or(0, |after| after + 1);
    let mut found = Vec::new();
    let mut next_batch: u32 = 0;
    loop {
        let mut page = attempt_values(run, attempt);
        page.extend(values![next_batch, from, prefix.as_bytes(), BATCHES_A_QUERY]);
        let rows = db.query(&sql, page).await?;
        let last_page = rows.len() < BATCHES_A_QUERY;
        for mut row in rows {
            let batch_no: u32 = row.take()?;
            next_batch = batch_no + 1;
            let first_index: u64 = row.take()?;
            let least: Option<Vec<u8>> = row.take()?;
            let beyond = |key: &[u8]| key > prefix.as_bytes() && !key.starts_with(prefix.as_bytes());
            if least.is_some_and(|least| beyond(&least)) {
                continue;
            }
            let packed: Vec<u8> = row.take()?;
            for (index, key) in (first_index..).zip(unpack(action, &packed)?) {
                // A subtask without a key is not found by any.
                if index >= from && !key.is_empty() && key.starts_with(prefix.as_bytes()) {
                    found.push(index);
                    if found.len() == limit {
                        return Ok(found);
                    }
                }
            }
        }
        if last_page {
            return Ok(found);
        }
    }
}

/// By primary key.
pub(crate) async fn outputs<D: Database>(
    db: &mut D,
    run: RunKey,
    attempt: AttemptNo,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
    let mut page = attempt_values(run, attempt);
    page.extend(values![first_after(after), limit]);
    let rows = db
        .query(
            &format!(
                "SELECT subtask_index, output FROM subtask_output
                 WHERE {OF_ATTEMPT} AND subtask_index >= ? ORDER BY subtask_index LIMIT ?"
            ),
            page,
        )
        .await?;
    rows.into_iter().map(|mut row| Ok((row.take()?, row.take()?))).collect()
}

fn first_after(after: Option<u64>) -> u64 {
    after.map_or(0, |after| after.saturating_add(1).min(i64::MAX as u64))
}

const FAILURE: &str = "SELECT subtask_index, try_no, failed_at, worker, error, is_last FROM subtask_failure";

fn read_failure(mut row: Row) -> Result<SubtaskFailure, StoreError> {
    Ok(SubtaskFailure {
        index: row.take()?,
        attempt: row.take()?,
        at: row.take()?,
        worker: row.take()?,
        error: row.take()?,
        last: row.take()?,
    })
}

/// By primary key. A page ends between two subtasks, so that the next one, which begins after the last index, misses nothing.
pub(crate) async fn failures<D: Database>(
    db: &mut D,
    run: RunKey,
    attempt: AttemptNo,
    only_last: bool,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<SubtaskFailure>, StoreError> {
    let last = if only_last { "AND is_last <> 0" } else { "" };
    let mut page = attempt_values(run, attempt);
    page.extend(values![first_after(after), limit.saturating_add(1)]);
    let rows = db
        .query(
            &format!(
                "{FAILURE} WHERE {OF_ATTEMPT} AND subtask_index >= ? {last}
                 ORDER BY subtask_index, try_no LIMIT ?"
            ),
            page,
        )
        .await?;
    let mut failures: Vec<SubtaskFailure> = rows.into_iter().map(read_failure).collect::<Result<_, _>>()?;
    let Some(beyond) = failures.get(limit).map(|failure| failure.index) else { return Ok(failures) };
    failures.truncate(limit);
    if failures.last().is_some_and(|last| last.index == beyond) {
        if failures.first().is_some_and(|first| first.index == beyond) {
            let mut whole = failures_of(db, run, attempt, Arc::from([beyond])).await?;
            whole.retain(|failure| failure.last || !only_last);
            return Ok(whole);
        }
        failures.retain(|failure| failure.index != beyond);
    }
    Ok(failures)
}

/// By primary key.
pub(crate) async fn failures_of<D: Database>(
    db: &mut D,
    run: RunKey,
    attempt: AttemptNo,
    indexes: Arc<[u64]>,
) -> Result<Vec<SubtaskFailure>, StoreError> {
    let mut failures = Vec::new();
    // 500 a query keeps the statement small.
    for some in indexes.chunks(500) {
        let mut values = attempt_values(run, attempt);
        values.extend(some.iter().copied().map(Value::from));
        let sql = format!(
            "{FAILURE} WHERE {OF_ATTEMPT} AND subtask_index IN ({}) ORDER BY subtask_index, try_no",
            placeholders(some.len())
        );
        for row in db.query(&sql, values).await? {
            failures.push(read_failure(row)?);
        }
    }
    Ok(failures)
}
