//! The worker: a process that offers handlers to the servers of its task group.

mod builder;
mod clock;
mod discovery;
mod engine;
mod ledger;
mod link;
mod links;
mod parallel;
mod spool;
mod threads;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use carillon_proto::v1;
use carillon_proto::v1::worker_message::Message as ToServer;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::job::AnyJob;
use crate::logs::LogHub;
use crate::progress::ProgressBoard;
pub use builder::Worker;
use clock::ClusterClock;
use discovery::Source;
pub(crate) use engine::panicked;
use engine::{EVENT_QUEUE, Engine, Event, Stand, Unit};
pub(crate) use ledger::{Arm, ClusterTime, Input, Kind, Ledger, Output, Overlap, Payload, UnitSpec};
use links::Links;
pub(crate) use parallel::{EmitBuffer, ReduceFeed};
use parallel::{LevelTwo, Parallel};
use spool::LinkId;

/// How often log lines are gathered into chunks.
const LOG_EVERY: Duration = Duration::from_millis(100);

/// How long the last reports, results and log lines may take after the last handler has ended.
const FLUSH_DEADLINE: Duration = Duration::from_secs(5);

/// The grace of runs that are still running at the drain's deadline.
const LAST_GRACE: Duration = Duration::from_secs(1);

/// What the worker's tasks share.
struct Shared {
    hello: v1::Hello,
    clock: ClusterClock,
    links: Links,
    logs: Arc<LogHub>,
    progress: Arc<ProgressBoard>,
    parallel: Arc<Parallel>,
    events: mpsc::Sender<Event>,
    link_ends: mpsc::UnboundedSender<LinkId>,
    /// Woken when the list of servers may have changed.
    look_again: Notify,
}

/// A worker with everything that it needs to run.
struct Plan {
    hello: v1::Hello,
    source: Source,
    units: Vec<(UnitSpec, AnyJob)>,
    drain_deadline: Duration,
}

/// Serves until `stop`, then drains.
async fn serve(plan: Plan, stop: CancellationToken) -> Result<(), Error> {
    let Plan { hello, source, units, drain_deadline } = plan;
    let (events, arrivals) = mpsc::channel(EVENT_QUEUE);
    // One number for each stream that ends.
    let (link_ends, ended_links) = mpsc::unbounded_channel();
    let level_two = units.iter().map(|(spec, job)| {
        let job = if let AnyJob::Parallel(job, _) = job { Some(Arc::clone(job)) } else { None };
        LevelTwo { handler: spec.handler.clone(), concurrency: spec.concurrency, job }
    });
    let shared = Arc::new(Shared {
        clock: ClusterClock::new(),
        links: Links::default(),
        logs: Arc::new(LogHub::default()),
        progress: Arc::new(ProgressBoard::default()),
        parallel: Arc::new(Parallel::new(level_two.collect())),
        events,
        link_ends,
        look_again: Notify::new(),
        hello,
    });
    shared.parallel.attach(&shared);

    let ledger = Ledger::new(shared.hello.incarnation, units.iter().map(|(spec, _)| spec.clone()).collect());
    let units = units.into_iter().map(|(spec, job)| Unit::new(&spec.handler, job)).collect();
    let (engine, endings, stand) = Engine::new(Arc::clone(&shared), ledger, units);
    let close = CancellationToken::new();
    let hang_up = CancellationToken::new();
    let engine = tokio::spawn(engine.run(arrivals, endings, ended_links, close.clone()));
    let links = tokio::spawn(discovery::keep_links(Arc::clone(&shared), source, hang_up.clone()));
    let logs = tokio::spawn(ship_logs(Arc::clone(&shared), close.clone()));
    let parallel = tokio::spawn({
        let (parallel, close) = (Arc::clone(&shared.parallel), close.clone());
        async move { parallel.run(close).await }
    });

    stop.cancelled().await;
    drain(&shared, stand, drain_deadline).await;
    hang_up.cancel();
    close.cancel();
    let _ = tokio::join!(engine, links, logs, parallel);
    tracing::info!(target: "carillon", "worker stopped");
    Ok(())
}

/// Leaves cleanly: nothing new, finish what runs, tell everything.
async fn drain(shared: &Shared, mut stand: watch::Receiver<Stand>, deadline: Duration) {
    tracing::info!(target: "carillon", "draining");
    let begun = Instant::now();
    shared.parallel.drain();
    if shared.events.send(Event::Drain).await.is_err() {
        return;
    }
    let _ = tokio::time::timeout(FLUSH_DEADLINE, stand.wait_for(|stand| stand.draining)).await;
    let ended = tokio::time::timeout(deadline, async {
        let _ = stand.wait_for(|stand| stand.open_runs == 0).await;
        wait_until(|| shared.parallel.is_idle()).await;
    });
    if ended.await.is_err() {
        tracing::warn!(target: "carillon", ?deadline, "runs are still running at the drain's deadline, cancelling them");
        let grace_ms = u64::try_from(LAST_GRACE.as_millis()).unwrap_or(1_000);
        let _ = shared.events.send(Event::CancelAll { grace_ms }).await;
        let _ = tokio::time::timeout(2 * LAST_GRACE, stand.wait_for(|stand| stand.open_runs == 0)).await;
    }
    let told = tokio::time::timeout(FLUSH_DEADLINE, async {
        wait_until(|| shared.logs.is_idle()).await;
        let _ = stand.wait_for(|stand| !stand.reports_kept && !stand.leaves_open).await;
    });
    if told.await.is_err() {
        tracing::warn!(target: "carillon", "no server took the last reports or logs");
    }
    tracing::info!(target: "carillon", took = ?begun.elapsed(), "drained");
}

async fn wait_until(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ship_logs(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let batches = shared.logs.to_send(Instant::now());
        for batch in batches {
            let shard = batch.chunks.first().map_or(0, |chunk| chunk.shard);
            let kept = batch.clone();
            if !shared.links.send_any(shard, ToServer::Logs(batch)) {
                shared.logs.not_sent(&kept);
            }
        }
        tokio::select! {
            () = shared.logs.wake.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(LOG_EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}
