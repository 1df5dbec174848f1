//! The subtasks of a parallel run: progress, who does how much, what failed, search by key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use carillon_core::ids::{AttemptNo, RunKey};
use carillon_core::job::JobKind;
use carillon_core::parallel::{MapChunk, MapHeader, SUBTASKS_PER_CHUNK};
use carillon_core::run::Run;
use carillon_core::time::{Span, Timestamp};
use carillon_proto::v1::MapProgressAnswer;
use carillon_store::accounts::Role;
use carillon_store::subtasks::{SubtaskFailure, SubtaskPayload};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::runs::spec_of_version;
use crate::auth::Access;
use crate::console::Console;
use crate::json::Params;
use crate::operation::{Need, Operations};
use crate::page::{self, Page};
use crate::problem::{Problem, Result};

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_run_subtasks, _, _>(run_subtasks, Need::RoleOrWorker(Role::Viewer));
}

/// Which subtasks.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SubtaskParams {
    /// The attempt of the run; the current one unless given.
    #[param(minimum = 1, maximum = 1_000_000)]
    attempt: Option<u32>,
    /// Only those that failed for good: `failed`.
    #[param(inline)]
    state: Option<OnlyState>,
    /// Only those whose key begins with this.
    #[param(min_length = 1, max_length = 128)]
    key: Option<String>,
    /// Items on the page (default 50).
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The states to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnlyState {
    /// Failed for good.
    Failed,
}

/// The subtasks of an attempt of a parallel run.
#[derive(Serialize, ToSchema)]
pub(crate) struct Subtasks {
    /// How far the map is.
    progress: MapProgress,
    /// A page of subtasks, by index.
    #[serde(flatten)]
    page: Page<SubtaskView>,
}

/// How far a map is.
#[derive(Serialize, ToSchema)]
pub(crate) struct MapProgress {
    /// The attempt of the run.
    attempt: u32,
    /// `waiting` before it has begun, `splitting`, `processing`, `reducing` or `ended`.
    phase: String,
    /// Subtasks stored so far; final once `splitting` is over.
    total: u64,
    /// Subtasks done.
    done: u64,
    /// Subtasks failed for good.
    failed: u64,
    /// Subtasks at workers now; absent where no server drives the map.
    running: Option<u64>,
    /// Subtasks nobody has yet.
    waiting: u64,
    /// Subtasks done a second, lately; absent where no server drives the map.
    per_second: Option<f64>,
    /// About how long the rest takes at that rate.
    #[schema(value_type = Option<String>)]
    remaining: Option<Span>,
    /// What each worker did and does.
    workers: Vec<WorkerShare>,
}

/// A worker's share of a map.
#[derive(Serialize, ToSchema)]
pub(crate) struct WorkerShare {
    /// The worker's name.
    name: String,
    /// Subtasks it did.
    done: u64,
    /// Subtasks it has now.
    running: u64,
}

/// One subtask.
#[derive(Serialize, ToSchema)]
pub(crate) struct SubtaskView {
    /// Its place in the order in which they were emitted, from 0.
    #[schema(value_type = String)]
    index: String,
    /// The text to find it by.
    key: String,
    /// `done`, `failed`, or `open` while it waits or runs.
    state: &'static str,
    /// Its failed tries so far.
    attempt: u32,
    /// The worker of its last failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
    /// Its last error.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// When it failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    failed_at: Option<Timestamp>,
    /// What it was emitted with.
    payload: Value,
}

/// The subtasks of a parallel run
///
/// By index; with `key` those whose key begins so, with `state=failed` those that failed for good.
#[utoipa::path(get, path = "/api/v1/runs/{run}/subtasks", tag = "runs",
    params(("run" = String, Path, description = "Its id."), SubtaskParams),
    responses((status = 200, description = "Progress and a page of subtasks.", body = Subtasks)))]
async fn run_subtasks(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<SubtaskParams>,
) -> Result<Json<Subtasks>> {
    let run = access.run();
    let attempt = AttemptNo::new(params.attempt.unwrap_or(run.attempt.get()));
    let header = console.store.map_header(run.key, attempt).await?;
    let Some(header) = header else {
        if is_parallel(&console, run).await? {
            let progress = waiting(attempt);
            return Ok(Json(Subtasks {
                progress,
                page: Page::of(Vec::new(), 1, |_: &SubtaskView| String::new()),
            }));
        }
        return Err(Problem::new(
            axum::http::StatusCode::NOT_FOUND,
            "no_subtasks",
            format!("attempt {attempt} of this run has no subtasks: it is not parallel"),
        ));
    };
    let live = if attempt == run.attempt && !run.state.is_final() {
        let shard = console.store.shard(run.shard).await?;
        match shard {
            Some(shard) => console.servers.map_progress(&shard, run.key).await,
            None => None,
        }
    } else {
        None
    };
    let limit = page::limit(params.limit);
    let after: Option<u64> = page::position(params.cursor.as_deref())?;
    let map = Map {
        run: run.key,
        attempt,
        data: header.source_attempt.unwrap_or(attempt),
        emitted: header.emitted,
    };
    let indexes = indexes(&console, map, &params, after, limit + 1).await?;
    let page = Page::of(indexes, limit, u64::to_string);
    let views = views(&console, map, &page.items).await?;
    let page = Page { items: views, next_cursor: page.next_cursor, total: None, total_capped: false };
    Ok(Json(Subtasks { progress: progress(attempt, header, live), page }))
}

/// Whether the run's job is parallel, in the version that it belongs to.
async fn is_parallel(console: &Console, run: &Run) -> Result<bool> {
    let spec = spec_of_version(console, run).await?;
    Ok(spec.is_some_and(|spec| spec.kind == JobKind::Parallel))
}

/// The progress of a map that has not begun.
fn waiting(attempt: AttemptNo) -> MapProgress {
    MapProgress {
        attempt: attempt.get(),
        phase: "waiting".to_owned(),
        total: 0,
        done: 0,
        failed: 0,
        running: None,
        waiting: 0,
        per_second: None,
        remaining: None,
        workers: Vec::new(),
    }
}

/// Where an attempt's map is kept.
#[derive(Debug, Clone, Copy)]
struct Map {
    run: RunKey,
    /// The attempt: the key of what was done and what failed.
    attempt: AttemptNo,
    /// The attempt whose split made the subtasks: an earlier one where only failed subtasks are run again.
    data: AttemptNo,
    emitted: u64,
}

/// The indexes of the page.
async fn indexes(
    console: &Console,
    map: Map,
    params: &SubtaskParams,
    after: Option<u64>,
    count: usize,
) -> Result<Vec<u64>> {
    let store = &console.store;
    let Map { run, attempt, data, emitted } = map;
    match (&params.key, params.state) {
        (Some(key), None) => Ok(store.find_by_key(run, data, key, after, count).await?),
        (Some(key), Some(OnlyState::Failed)) => {
            // Few subtasks fail: of those found by key the failed ones are picked, page by page.
            let mut found = Vec::new();
            let mut after = after;
            loop {
                let some = store.find_by_key(run, data, key, after, count).await?;
                let failures = store.failures_of(run, attempt, &some).await?;
                let failed: Vec<u64> =
                    failures.iter().filter(|failure| failure.last).map(|failure| failure.index).collect();
                found.extend(some.iter().copied().filter(|index| failed.contains(index)));
                after = some.last().copied();
                if some.len() < count || found.len() >= count {
                    found.truncate(count);
                    return Ok(found);
                }
            }
        }
        (None, Some(OnlyState::Failed)) => {
            let failures = store.failures(run, attempt, true, after, count).await?;
            Ok(failures.into_iter().map(|failure| failure.index).collect())
        }
        (None, None) => {
            let first = after.map_or(0, |after| after + 1);
            Ok((first..emitted.min(first.saturating_add(count as u64))).collect())
        }
    }
}

/// What is known of the subtasks with these indexes.
async fn views(console: &Console, map: Map, indexes: &[u64]) -> Result<Vec<SubtaskView>> {
    let Map { run, attempt, data, .. } = map;
    if indexes.is_empty() {
        return Ok(Vec::new());
    }
    let store = &console.store;
    let mut payloads: HashMap<u64, SubtaskPayload> = HashMap::new();
    for (first, count) in ranges(indexes) {
        for batch in store.batches(run, data, first, count).await? {
            let numbered = (batch.first_index..).zip(batch.subtasks);
            payloads.extend(numbered.filter(|(index, _)| (first..first + count).contains(index)));
        }
    }
    let chunks = store.map_chunks(run, attempt).await?;
    let failures = store.failures_of(run, attempt, indexes).await?;
    let mut last: HashMap<u64, &SubtaskFailure> = HashMap::new();
    for failure in &failures {
        let known = last.entry(failure.index).or_insert(failure);
        if failure.attempt > known.attempt {
            *known = failure;
        }
    }
    Ok(indexes
        .iter()
        .map(|index| {
            let payload = payloads.remove(index);
            let failure = last.get(index);
            SubtaskView {
                index: index.to_string(),
                key: payload.as_ref().map(|payload| payload.key.clone()).unwrap_or_default(),
                state: state(&chunks, *index),
                attempt: failure.map_or(0, |failure| failure.attempt),
                worker: failure.map(|failure| failure.worker.clone()),
                error: failure.map(|failure| failure.error.clone()),
                failed_at: failure.map(|failure| failure.at),
                payload: payload
                    .and_then(|payload| serde_json::from_slice(&payload.payload).ok())
                    .unwrap_or_default(),
            }
        })
        .collect())
}

/// Runs of neighbouring indexes as (first, count), so that a page of neighbours is one query.
fn ranges(indexes: &[u64]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for index in indexes {
        match ranges.last_mut() {
            Some((first, count)) if *first + *count == *index => *count += 1,
            _ => ranges.push((*index, 1)),
        }
    }
    ranges
}

fn state(chunks: &[MapChunk], index: u64) -> &'static str {
    let Some(chunk) = chunks.iter().find(|chunk| u64::from(chunk.number) == index / SUBTASKS_PER_CHUNK)
    else {
        return "open";
    };
    let place = (index % SUBTASKS_PER_CHUNK) as usize;
    let is_set = |bits: &[u8]| bits.get(place / 8).is_some_and(|byte| byte >> (place % 8) & 1 == 1);
    match (is_set(&chunk.failed), is_set(&chunk.done)) {
        (true, _) => "failed",
        (false, true) => "done",
        (false, false) => "open",
    }
}

/// What the store knows, brought up to date by the server that drives the map.
fn progress(attempt: AttemptNo, header: MapHeader, live: Option<MapProgressAnswer>) -> MapProgress {
    let Some(live) = live.filter(|live| live.attempt == attempt.get()) else {
        let workers = header.done_by_worker.into_iter();
        return MapProgress {
            attempt: attempt.get(),
            phase: header.phase.as_str().to_owned(),
            total: header.emitted,
            done: header.done,
            failed: header.failed,
            running: None,
            waiting: header.emitted.saturating_sub(header.done + header.failed),
            per_second: None,
            remaining: None,
            workers: workers.map(|(name, done)| WorkerShare { name, done, running: 0 }).collect(),
        };
    };
    let rest = live.total.saturating_sub(live.done + live.failed);
    let remaining =
        (live.per_second > 0.0).then(|| Span::from_secs((rest as f64 / live.per_second).ceil() as u64));
    let mut shares: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (name, done) in live.done_by_worker {
        shares.entry(name).or_default().0 = done;
    }
    for (name, running) in live.running_by_worker {
        shares.entry(name).or_default().1 = running;
    }
    MapProgress {
        attempt: attempt.get(),
        phase: live.phase,
        total: live.total,
        done: live.done,
        failed: live.failed,
        running: Some(live.running),
        waiting: live.waiting,
        per_second: Some(live.per_second),
        remaining,
        workers: shares
            .into_iter()
            .map(|(name, (done, running))| WorkerShare { name, done, running })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_read_together() {
        assert_eq!(ranges(&[3, 4, 5, 9, 11, 12]), [(3, 3), (9, 1), (11, 2)]);
        assert_eq!(ranges(&[]), []);
    }

    #[test]
    fn a_subtasks_state_is_read_from_its_bits() {
        let chunk = MapChunk { number: 1, done: vec![0b0000_0110], failed: vec![0b0000_0100] };
        let at = |place| state(std::slice::from_ref(&chunk), SUBTASKS_PER_CHUNK + place);
        assert_eq!([at(0), at(1), at(2), at(9)], ["open", "done", "failed", "open"]);
        assert_eq!(state(&[], 7), "open");
    }
}
