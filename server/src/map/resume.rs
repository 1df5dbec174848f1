//! Reads a map from the store: for a run whose split just began, after a takeover, and for a re-run of failed subtasks.

use std::collections::BTreeMap;

use carillon_core::ids::{AttemptNo, Epoch, RunKey};
use carillon_core::parallel::{MapHeader, MapPhase, MapRules, MapStart, SubtaskRetry};
use carillon_store::subtasks::MapCheckpoint;
use carillon_store::{SharedStore, StoreError};
use tonic::Status;

use super::driver::MapJob;
use super::writer::{Fenced, persist};

/// Failed tries read in one go.
const PAGE: usize = 5_000;

/// The most failed subtasks whose tries are remembered; of more, some get further tries than the policy says.
const MOST_RETRIES: usize = 200_000;

/// What the store knows, and whose split it is. From here on checkpoints of an earlier epoch are refused.
pub(super) async fn read(job: &MapJob, store: &SharedStore) -> Result<(MapStart, AttemptNo), Fenced> {
    let (run, attempt) = job.key();
    let header: Option<MapHeader> =
        persist(job, "claim a map", || store.claim_map(run, attempt, job.epoch)).await?;
    let data_attempt = header.as_ref().and_then(|header| header.source_attempt).unwrap_or(attempt);
    let chunks = persist(job, "read a map", || store.map_chunks(run, attempt)).await?;
    let (next_batch, next_index) =
        persist(job, "read a split", || store.split_progress(run, data_attempt)).await?;
    let retries = if header.is_some() { read_retries(job, store).await? } else { Vec::new() };
    let rules = MapRules::of(&job.in_force.job.spec);
    Ok((MapStart { run, rules, header, chunks, next_batch, next_index, retries }, data_attempt))
}

/// Subtasks that failed a try; the engine drops those that were settled since.
async fn read_retries(job: &MapJob, store: &SharedStore) -> Result<Vec<SubtaskRetry>, Fenced> {
    let mut retries: BTreeMap<u64, SubtaskRetry> = BTreeMap::new();
    let mut after = None;
    while retries.len() < MOST_RETRIES {
        let read = || store.failures(job.run, job.attempt, false, after, PAGE);
        let page = persist(job, "read failed subtasks", read).await?;
        // A page ends between two subtasks.
        let Some(last) = page.last() else { break };
        after = Some(last.index);
        for failure in &page {
            let retry = SubtaskRetry { index: failure.index, tries: failure.attempt, at: failure.at };
            let known = retries.entry(failure.index).or_insert(retry);
            if known.tries < retry.tries {
                *known = retry;
            }
        }
        for failure in page.iter().filter(|failure| failure.last) {
            retries.remove(&failure.index);
        }
    }
    Ok(retries.into_values().collect())
}

/// Writes the beginning of the attempt after `attempt`: everything that is done stays done, everything else is open.
pub(super) async fn prepare_rerun(
    store: &SharedStore,
    run: RunKey,
    attempt: AttemptNo,
) -> Result<(), Status> {
    let refused = |why: String| Status::failed_precondition(format!("run: {run}, attempt {attempt}: {why}"));
    let unavailable = |error: StoreError| {
        tracing::warn!(%run, %attempt, error = &error as &dyn std::error::Error, "could not prepare a re-run of failed subtasks");
        Status::unavailable("the store does not answer; try again")
    };
    let header = store.map_header(run, attempt).await.map_err(unavailable)?;
    let header = header.ok_or_else(|| refused("it has no subtasks".into()))?;
    if header.phase != MapPhase::Ended {
        return Err(refused(format!("its subtasks are still {}", header.phase.as_str())));
    }
    if !header.split_complete {
        return Err(refused("its split was never complete, so all of it has to be retried".into()));
    }
    let mut chunks = store.map_chunks(run, attempt).await.map_err(unavailable)?;
    for chunk in &mut chunks {
        chunk.failed.clear();
    }
    let header = MapHeader::rerun_of(&header, attempt);
    let next = attempt.next();
    let checkpoint = MapCheckpoint {
        run,
        attempt: next,
        // Below any owner's: whoever drives the attempt claims it.
        epoch: Epoch::new(0),
        data_attempt: header.source_attempt.unwrap_or(next),
        header,
        chunks,
        outputs: Vec::new(),
        failures: Vec::new(),
    };
    match store.checkpoint(&checkpoint).await {
        Ok(()) => Ok(()),
        Err(StoreError::Conflict { .. }) => Err(refused("the next attempt has begun already".into())),
        Err(error) => Err(unavailable(error)),
    }
}
