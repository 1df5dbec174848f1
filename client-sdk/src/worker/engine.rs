//! The task that owns the ledger and the spool: inputs in, outputs carried out.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use carillon_proto::v1;
use carillon_proto::v1::worker_message::Message as ToServer;
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::ledger::{Arm, ClusterTime, Held, Input, Kind, Ledger, Output};
use super::spool::{LinkId, Spool};
use super::threads::Threads;
use super::{Shared, wire};
use crate::context::{RunContext, RunInfo};
use crate::job::{AnyJob, JobError, Outcome, Verdict};
use crate::logs::{RunLog, run_span};
use crate::run_id::AttemptKey;

/// What reaches the engine from streams and from the worker's owner.
pub(crate) enum Event {
    HeldWanted {
        reply: oneshot::Sender<Vec<Held>>,
    },
    Up {
        link: LinkId,
        interval: Duration,
    },
    Arms(Vec<v1::Arm>),
    Disarms(Vec<v1::Disarm>),
    Cancel(v1::Cancel),
    Acknowledged(Vec<u64>),
    LeaveAcknowledged {
        link: LinkId,
    },
    Drain,
    /// The drain's deadline: cancel what still runs.
    CancelAll {
        grace_ms: u64,
    },
}

/// Events that wait for the engine; streams hold back when it is behind, which TCP tells the servers.
pub(crate) const EVENT_QUEUE: usize = 1_024;

/// How long reports are gathered until a server says otherwise.
const DEFAULT_INTERVAL: Duration = Duration::from_millis(20);

/// How often what no holder has acknowledged is said again: how long the end of a run stays unknown when its shard has changed hands.
/// A database takes a report within a tenth of that.
const REPEAT_EVERY: Duration = Duration::from_secs(1);

/// How often progress is sent.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// Events and endings taken in one turn, so that a burst is one step of the report batching and timers are not kept waiting.
const TURN: usize = 256;

type Ended = (AttemptKey, ClusterTime, Outcome);

/// How far a drain is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stand {
    pub(crate) draining: bool,
    pub(crate) open_runs: usize,
    pub(crate) reports_kept: bool,
    pub(crate) leaves_open: bool,
}

pub(crate) struct Unit {
    job: AnyJob,
    threads: Threads,
}

impl Unit {
    pub(crate) fn new(handler: &str, job: AnyJob) -> Self {
        Self { job, threads: Threads::new(handler) }
    }
}

struct Running {
    cancel: CancellationToken,
    task: Option<AbortHandle>,
}

pub(crate) struct Engine {
    shared: Arc<Shared>,
    ledger: Ledger,
    spool: Spool,
    units: Vec<Unit>,
    running: HashMap<AttemptKey, Running>,
    ended: mpsc::UnboundedSender<Ended>,
    interval: Duration,
    last_flush: Instant,
    repeat_at: Instant,
    leaving: HashMap<LinkId, bool>,
    draining: bool,
    stand: watch::Sender<Stand>,
    outputs: Vec<Output>,
}

impl Engine {
    pub(crate) fn new(
        shared: Arc<Shared>,
        ledger: Ledger,
        units: Vec<Unit>,
    ) -> (Self, mpsc::UnboundedReceiver<Ended>, watch::Receiver<Stand>) {
        // Bounded by the running handlers: each ends once.
        let (ended, endings) = mpsc::unbounded_channel();
        let (stand, watched) = watch::channel(Stand::default());
        let now = Instant::now();
        let engine = Self {
            shared,
            ledger,
            spool: Spool::default(),
            units,
            running: HashMap::new(),
            ended,
            interval: DEFAULT_INTERVAL,
            last_flush: now - DEFAULT_INTERVAL,
            repeat_at: now + REPEAT_EVERY,
            leaving: HashMap::new(),
            draining: false,
            stand,
            outputs: Vec::new(),
        };
        (engine, endings, watched)
    }

    /// Runs until `stop`; its owner is the worker, which waits for it.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut endings: mpsc::UnboundedReceiver<Ended>,
        mut link_ends: mpsc::UnboundedReceiver<LinkId>,
        stop: CancellationToken,
    ) {
        let mut progress = tokio::time::interval(PROGRESS_EVERY);
        progress.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut arrived = Vec::with_capacity(TURN);
        let mut over = Vec::with_capacity(TURN);
        let alarm = tokio::time::sleep_until(Instant::now());
        tokio::pin!(alarm);
        loop {
            let wake = self.next_wake();
            if alarm.deadline() != wake {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                biased;
                () = &mut alarm => {
                    self.step(Input::Tick);
                }
                _ = endings.recv_many(&mut over, TURN) => {
                    for (key, started, outcome) in over.drain(..) {
                        self.running.remove(&key);
                        self.step(Input::Finished { key, started, outcome });
                    }
                    for number in 0..self.units.len() {
                        self.shared.parallel.set_running(number, self.ledger.running_in(number));
                    }
                }
                count = events.recv_many(&mut arrived, TURN) => {
                    if count == 0 {
                        return;
                    }
                    for event in arrived.drain(..) {
                        self.take(event);
                    }
                }
                Some(link) = link_ends.recv() => {
                    self.spool.link_down(link);
                    self.leaving.remove(&link);
                }
                _ = progress.tick() => {
                    for progress in self.shared.progress.take() {
                        self.shared.links.send_all(&ToServer::Progress(progress));
                    }
                }
                () = stop.cancelled() => {
                    for running in self.running.values() {
                        running.cancel.cancel();
                        running.task.as_ref().inspect(|task| task.abort());
                    }
                    return;
                }
            }
            self.flush();
            self.tell_stand();
        }
    }

    fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let far = now + Duration::from_secs(3_600);
        let ledger = self.ledger.next_wake().map_or(far, |at| now + self.shared.clock.until(at));
        let flush = if self.spool.behind().is_empty() { far } else { self.last_flush + self.interval };
        let repeat = if self.spool.is_empty() { far } else { self.repeat_at };
        ledger.min(flush).min(repeat)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::HeldWanted { reply } => {
                let _ = reply.send(self.ledger.held());
            }
            Event::Up { link, interval } => {
                // A server that names no interval leaves it to the worker; more than a second would be no news.
                if !interval.is_zero() {
                    self.interval = interval.min(Duration::from_secs(1));
                }
                self.spool.link_up(link);
                if self.draining {
                    self.leave(link);
                }
            }
            Event::Arms(arms) => {
                self.ledger.set_spool_full(self.spool.is_full());
                let arms: Vec<Arm> = arms.into_iter().filter_map(wire::arm).collect();
                for arm in &arms {
                    // How long before its time a run is at its worker shows how much failure it outlives.
                    let (run, attempt, due_us) = (arm.key.run, arm.key.attempt, arm.due.as_micros());
                    tracing::trace!(target: "carillon::arm", %run, attempt, plan_no = arm.plan_no, due_us, "told to arm");
                }
                self.step(Input::Arms(arms));
            }
            Event::Disarms(disarms) => {
                for disarm in disarms {
                    let Some(run) = disarm.run else { continue };
                    let v1::Disarm { attempt, plan_no, shard, job_version, epoch, .. } = disarm;
                    self.step(Input::Disarm { run: run.into(), attempt, plan_no, shard, job_version, epoch });
                }
            }
            Event::Cancel(cancel) => {
                let Some(run) = cancel.run else { return };
                let (attempt, grace_ms, why) = (cancel.attempt, cancel.grace_ms, cancel.why);
                self.step(Input::Cancel { run: run.into(), attempt, grace_ms, why });
            }
            Event::Acknowledged(seqs) => {
                let more = self.spool.acknowledge(&seqs);
                self.say_again(more);
            }
            Event::LeaveAcknowledged { link } => {
                self.leaving.insert(link, true);
            }
            Event::Drain => {
                self.draining = true;
                self.step(Input::Drain);
                self.flush();
                for link in self.shared.links.ids() {
                    self.leave(link);
                }
            }
            Event::CancelAll { grace_ms } => {
                for held in self.ledger.held() {
                    let AttemptKey { run, attempt, .. } = held.key;
                    let why = "the worker is shutting down".to_owned();
                    self.step(Input::Cancel { run, attempt, grace_ms, why });
                }
            }
        }
    }

    fn leave(&mut self, link: LinkId) {
        // A run that ended is held no more, but a holder that has not heard of it would take it for never started.
        let mut held = self.ledger.held();
        held.extend(self.spool.untold(&held));
        let leave = v1::Leave { held: wire::held(held) };
        self.shared.links.send(link, ToServer::Leave(leave));
        self.leaving.insert(link, false);
    }

    fn step(&mut self, input: Input) {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.ledger.step(self.shared.clock.now(), input, &mut outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Report(report) => self.spool.push(report),
                Output::Start { unit, arm } => self.start(unit, *arm),
                Output::Cancel { key } => {
                    if let Some(running) = self.running.get(&key) {
                        running.cancel.cancel();
                    }
                }
                Output::Abandon { key } => {
                    if let Some(task) = self.running.remove(&key).and_then(|running| running.task) {
                        task.abort();
                    }
                }
            }
        }
        self.outputs = outputs;
    }

    fn start(&mut self, number: usize, arm: Arm) {
        self.shared.parallel.set_running(number, self.ledger.running_in(number));
        let unit = &self.units[number];
        let key = arm.key;
        let cancel = CancellationToken::new();
        let shared = Arc::clone(&self.shared);
        let ended = self.ended.clone();
        let job = unit.job.clone();
        let stopped = cancel.clone();
        let task = match job {
            AnyJob::Simple(job) => {
                Some(spawn(shared, arm, stopped, ended, move |ctx, params| job.run(ctx, params)))
            }
            AnyJob::Parallel(_, Some(job)) if key.reduce => {
                let feed = shared.parallel.open_reduce(key, arm.shard);
                Some(spawn(shared, arm, stopped, ended, move |ctx, params| {
                    job.reduce(ctx, params, feed.port()).map(move |outcome| {
                        drop(feed);
                        outcome
                    })
                }))
            }
            AnyJob::Parallel(job, _) => {
                let split = shared.parallel.open_split(key, arm.shard);
                Some(spawn(shared, arm, stopped, ended, move |ctx, params| {
                    job.split(ctx, params, split.port()).map(move |outcome| {
                        drop(split);
                        outcome
                    })
                }))
            }
            AnyJob::Blocking(job) => {
                let fallback = ended.clone();
                let run = unit.threads.run(Box::new(move || {
                    let started = shared.clock.now();
                    let (ctx, span, params) = enter(&shared, arm, stopped);
                    let outcome = span.in_scope(|| {
                        std::panic::catch_unwind(AssertUnwindSafe(|| job.run(ctx, &params)))
                            .unwrap_or_else(|panic| panicked(&*panic).into())
                    });
                    let _ = ended.send((key, started, outcome));
                }));
                if let Err(error) = run {
                    let error = JobError::new(Verdict::Failed, format!("no thread for the handler: {error}"));
                    let _ = fallback.send((key, self.shared.clock.now(), error.into()));
                }
                None
            }
        };
        self.running.insert(key, Running { cancel, task });
    }

    fn flush(&mut self) {
        let now = Instant::now();
        if now >= self.repeat_at {
            self.repeat_at = now + REPEAT_EVERY;
            let again = self.spool.repeat();
            self.say_again(again);
        }
        let behind = self.spool.behind();
        if behind.is_empty() || now < self.last_flush + self.interval {
            return;
        }
        self.last_flush = now;
        let up = self.shared.links.ids();
        for link in behind {
            if !up.contains(&link) {
                self.spool.link_down(link);
                continue;
            }
            while let Some((batch, up_to)) = self.spool.batch(link) {
                if !self.shared.links.send(link, ToServer::Reports(batch)) {
                    break;
                }
                self.spool.sent(link, up_to);
            }
        }
    }

    fn say_again(&self, batch: Option<v1::ReportBatch>) {
        if let Some(batch) = batch {
            // A stream that does not take it now has it before it in its queue.
            self.shared.links.send_all(&ToServer::Reports(batch));
        }
    }

    fn tell_stand(&self) {
        if self.draining {
            let stand = Stand {
                draining: true,
                open_runs: self.ledger.open_runs(),
                reports_kept: !self.spool.is_empty(),
                leaves_open: self.leaving.values().any(|acknowledged| !acknowledged),
            };
            self.stand.send_if_modified(|old| std::mem::replace(old, stand) != stand);
        }
    }
}

fn spawn<F, R>(
    shared: Arc<Shared>,
    arm: Arm,
    stopped: CancellationToken,
    ended: mpsc::UnboundedSender<Ended>,
    handler: F,
) -> AbortHandle
where
    F: FnOnce(RunContext, Bytes) -> R + Send + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    let key = arm.key;
    let task = tokio::spawn(async move {
        let started = shared.clock.now();
        let (ctx, span, params) = enter(&shared, arm, stopped);
        let run = async move { handler(ctx, params).await };
        let outcome = AssertUnwindSafe(run.instrument(span)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|panic| panicked(&*panic).into());
        let _ = ended.send((key, started, outcome));
    });
    task.abort_handle()
}

/// Makes what a handler sees of its run.
fn enter(shared: &Shared, arm: Arm, stopped: CancellationToken) -> (RunContext, tracing::Span, Bytes) {
    let parallel = arm.kind != Kind::Simple;
    let payload = arm.payload;
    let info = Arc::new(RunInfo {
        key: arm.key,
        max_attempts: payload.max_attempts,
        job_name: payload.job_name,
        description: payload.description,
        trace_id: payload.trace_id,
        epoch: payload.epoch,
        log: Some(RunLog::new(&shared.logs, arm.key, arm.shard, parallel)),
        progress: Arc::clone(&shared.progress),
        text: OnceLock::new(),
    });
    let span = run_span(&info, None);
    (RunContext::new(info, None, stopped), span, payload.params)
}

/// What is said of a handler that panicked.
pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> JobError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    JobError::new(Verdict::Panicked, format!("handler panicked: {text}"))
}
