//! What a map writes: batches of its split and checkpoints, each in order, each tried until the store takes it or refuses for good.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carillon_core::ids::AttemptNo;
use carillon_store::subtasks::{MapCheckpoint, SubtaskBatch};
use carillon_store::{SharedStore, StoreError};
use tokio::sync::mpsc;

use super::driver::MapJob;
use super::lock;
use super::window::Window;

/// Batches stored in one go, and their bytes: a transaction of some ten milliseconds.
const BATCHES: usize = 16;
const BYTES: usize = 8 * 1024 * 1024;

/// The waits between tries: soon after a deadlock, seldom enough for a database that is away.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What was written.
#[derive(Debug)]
pub(super) enum Written {
    /// Batches up to this one.
    Batches(u32),
    /// A checkpoint.
    Checkpoint(u64),
    /// A larger epoch has claimed the map: another server drives it.
    Fenced,
}

/// Asks the store until it answers. Refusals other than a fence are not mended by asking again, but nothing else is left to do either: a person
/// has to look, and meanwhile nothing is lost.
pub(super) async fn persist<T, F>(
    job: &MapJob,
    what: &'static str,
    mut ask: impl FnMut() -> F,
) -> Result<T, Fenced>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut wait = FIRST_WAIT;
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(StoreError::Conflict { .. }) => return Err(Fenced),
            Err(error) if error.is_retryable() => {
                tracing::warn!(run = %job.run, attempt = %job.attempt, shard = %job.shard, error = &error as &dyn std::error::Error, what, "the store did not answer a parallel run; it is asked again");
            }
            Err(error) => {
                tracing::error!(run = %job.run, attempt = %job.attempt, shard = %job.shard, error = &error as &dyn std::error::Error, what, "the store refuses a parallel run, which stands still");
                wait = LONGEST_WAIT;
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Another server drives the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fenced;

/// Stores batches in order until the driver ends; gives what it stored to the window.
pub(super) async fn store_batches(
    job: Arc<MapJob>,
    attempt: AttemptNo,
    store: SharedStore,
    window: Arc<Mutex<Window>>,
    mut batches: mpsc::UnboundedReceiver<SubtaskBatch>,
    written: mpsc::UnboundedSender<Written>,
) {
    while let Some(first) = batches.recv().await {
        let mut bytes = size(&first);
        let mut together = vec![first];
        while together.len() < BATCHES && bytes < BYTES {
            let Ok(next) = batches.try_recv() else { break };
            bytes += size(&next);
            together.push(next);
        }
        let up_to = together.last().map_or(0, |batch| batch.batch_no);
        let stored =
            persist(&job, "store subtasks", || store.store_batches(job.run, attempt, &together)).await;
        let news = if stored.is_ok() { Written::Batches(up_to) } else { Written::Fenced };
        {
            let mut window = lock(&window);
            together.into_iter().for_each(|batch| window.offer(Arc::new(batch)));
        }
        if written.send(news).is_err() {
            return;
        }
    }
}

/// Writes checkpoints until the driver ends.
pub(super) async fn write_checkpoints(
    job: Arc<MapJob>,
    store: SharedStore,
    mut checkpoints: mpsc::UnboundedReceiver<(u64, MapCheckpoint)>,
    written: mpsc::UnboundedSender<Written>,
) {
    while let Some((id, checkpoint)) = checkpoints.recv().await {
        let stored = persist(&job, "write a checkpoint", || store.checkpoint(&checkpoint)).await;
        let news = if stored.is_ok() { Written::Checkpoint(id) } else { Written::Fenced };
        if written.send(news).is_err() {
            return;
        }
    }
}

fn size(batch: &SubtaskBatch) -> usize {
    batch.subtasks.iter().map(|subtask| subtask.payload.len() + subtask.key.len() + 16).sum()
}
