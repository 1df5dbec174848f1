//! The committer: what all shards want written, gathered for a moment and written together (group commit); and read, where what is read has
//! to include what was written before.
//!
//! A few *lanes* write side by side; a shard always uses the same one, and a lane keeps the order of what concerns the same. Within a batch,
//! operations of one kind share a transaction as far as that order allows, and stages that concern nothing in common go side by side; see
//! `batch`. How each kind is written, repeated and read back stands in `write`.

mod batch;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use carillon_core::change::{Advance, Move, Slice, TriggeredRun};
use carillon_core::engine::Report;
use carillon_core::ids::{AttemptNo, Epoch, Incarnation, JobId, RunKey, ServerId, ShardId};
use carillon_core::run::Run;
use carillon_core::time::Timestamp;
use carillon_store::SharedStore;
use carillon_store::catalog::Plan;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::store_breaks::StoreBreaks;
use crate::switchboard::Switchboard;
use batch::Batch;
use write::Writer;

/// Rows of a batch: enough to write at full speed, few enough that a transaction takes some tens of milliseconds.
const BATCH_ROWS: usize = 8_000;

/// What is to be written.
#[derive(Debug)]
pub(crate) enum Operation {
    Slice(Slice),
    Insert(Vec<Run>),
    Trigger(Box<TriggeredRun>),
    Advance {
        steps: Vec<Advance>,
        acks: Vec<(Incarnation, u64)>,
        epoch: Option<Epoch>,
    },
    NextAttempt {
        advance: Box<Advance>,
        acks: Vec<(Incarnation, u64)>,
    },
    Move(Vec<Move>),
    /// Reads the shard's plan, or one job's part of it, as it stands after every earlier operation that concerns it.
    Read {
        only: Option<JobId>,
        /// Under which it was asked for; none for a standby.
        epoch: Option<Epoch>,
    },
    /// Finds out whether a run of a job that the shard does not know is one of the shard's all the same.
    Stray {
        from: Incarnation,
        report: Box<Report>,
    },
}

impl Operation {
    /// How many rows it concerns, at least one.
    pub(crate) fn rows(&self) -> usize {
        let rows = match self {
            Self::Slice(slice) => slice.runs.len(),
            Self::Insert(runs) => runs.len(),
            Self::Trigger(_) | Self::NextAttempt { .. } | Self::Read { .. } | Self::Stray { .. } => 1,
            Self::Advance { steps, .. } => steps.len(),
            Self::Move(moves) => moves.len(),
        };
        rows.max(1)
    }

    /// Whether somebody waits for it right now, so that nothing more is gathered first.
    fn is_urgent(&self) -> bool {
        match self {
            Self::Trigger(_) | Self::Move(_) | Self::Insert(_) | Self::Read { .. } => true,
            Self::Slice(_) | Self::Advance { .. } | Self::NextAttempt { .. } | Self::Stray { .. } => false,
        }
    }
}

/// An operation of a shard, and who hears of it.
#[derive(Debug)]
struct Work {
    shard: ShardId,
    operation: Operation,
    done: mpsc::UnboundedSender<Done>,
}

/// What became of an operation.
#[derive(Debug)]
pub(crate) struct Done {
    /// As [`Operation::rows`] said.
    pub(crate) rows: usize,
    pub(crate) kind: DoneKind,
}

#[derive(Debug)]
pub(crate) enum DoneKind {
    /// The steps are durable, or can never be; acknowledgements are on their way. `refused` where a decision was not taken, or the shard
    /// has another owner by now.
    Advanced {
        refused: bool,
    },
    Slice {
        epoch: Epoch,
        to: Timestamp,
        fate: SliceFate,
    },
    /// These are in the store and new; `refused` where one was fenced.
    Inserted {
        runs: Vec<Run>,
        refused: bool,
    },
    Triggered {
        job: JobId,
        idempotency_key: String,
        /// Its run, and the row where it is new; none where the store refuses it.
        outcome: Option<(RunKey, Option<Box<Run>>)>,
        /// Another server owns the shard.
        fenced: bool,
    },
    Moved(Vec<(Move, bool)>),
    NextAttempt {
        key: RunKey,
        attempt: AttemptNo,
        applied: bool,
    },
    Read {
        only: Option<JobId>,
        epoch: Option<Epoch>,
        answer: ReadAnswer,
    },
    /// What a worker said of a run of a job that the shard does not know, and whether its row is one of the shard's.
    Stray {
        from: Incarnation,
        report: Box<Report>,
        of_shard: bool,
    },
}

/// What a look at the store has shown.
#[derive(Debug)]
pub(crate) enum ReadAnswer {
    Plan(Box<Plan>),
    /// There is no such shard.
    Gone,
    /// The store refuses to be read so; it was logged.
    Failed,
}

/// The most open runs read: a horizon of 30 s at 50,000 fires a second, with room. More than that is no plan but a mistake, and is logged.
pub(crate) const MAX_OPEN_RUNS: usize = 2_000_000;

/// What became of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SliceFate {
    Committed {
        /// Fires that were written as skipped.
        skipped: u64,
    },
    /// Another server owns the shard.
    Lost,
    /// The jobs or the watermark are not what they were.
    Changed,
}

/// Where a shard hands its operations in.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    // Not bounded by itself: shards stop taking reports when too much of theirs is in flight, plan one slice at a time, and take
    // requests through bounded queues.
    sender: mpsc::UnboundedSender<Work>,
}

impl Lane {
    pub(crate) fn submit(&self, shard: ShardId, operation: Operation, done: mpsc::UnboundedSender<Done>) {
        // The lanes outlive the shards, so a closed lane means that the process is going down: what is lost is done again by whoever
        // owns the shard next.
        let _ = self.sender.send(Work { shard, operation, done });
    }
}

/// Hands out lanes.
#[derive(Debug)]
pub(crate) struct Committer {
    lanes: Vec<Lane>,
    next: AtomicUsize,
}

/// What lanes share.
#[derive(Clone)]
pub(crate) struct CommitterParts {
    pub(crate) me: ServerId,
    pub(crate) store: SharedStore,
    pub(crate) switchboard: Arc<Switchboard>,
    pub(crate) metrics: Metrics,
    pub(crate) breaks: Arc<StoreBreaks>,
    pub(crate) gather: Duration,
}

impl Committer {
    /// Starts `count` lanes on `tasks`. Each ends when every [`Lane`] to it is dropped and its work is done, or when `abandon` is cancelled.
    pub(crate) fn start(
        parts: &CommitterParts,
        count: usize,
        tasks: &mut tokio::task::JoinSet<&'static str>,
        abandon: &CancellationToken,
    ) -> Self {
        let lanes = (0..count.max(1))
            .map(|_| {
                let (sender, receiver) = mpsc::unbounded_channel();
                let (parts, abandon) = (parts.clone(), abandon.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = run_lane(parts, receiver) => {}
                        () = abandon.cancelled() => {}
                    }
                    "commit lane"
                });
                Lane { sender }
            })
            .collect();
        Self { lanes, next: AtomicUsize::new(0) }
    }

    /// The lane of a new shard loop, in turn.
    pub(crate) fn lane(&self) -> Lane {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.lanes[next % self.lanes.len()].clone()
    }
}

async fn run_lane(parts: CommitterParts, mut work: mpsc::UnboundedReceiver<Work>) {
    let writer = Writer::new(&parts);
    while let Some(first) = work.recv().await {
        let mut batch = Batch::default();
        let mut urgent = first.operation.is_urgent();
        batch.add(first);
        let until = tokio::time::Instant::now() + parts.gather;
        while batch.rows() < BATCH_ROWS {
            let next = match work.try_recv() {
                Ok(next) => Some(next),
                Err(_) if urgent => None,
                Err(_) => tokio::time::timeout_at(until, work.recv()).await.ok().flatten(),
            };
            let Some(next) = next else { break };
            urgent |= next.operation.is_urgent();
            batch.add(next);
        }
        writer.write(batch).await;
    }
}
