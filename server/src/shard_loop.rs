//! The loop of one shard: it feeds the engine with what comes from workers, consoles, the store and the clock, and carries out what the
//! engine decides. It holds no rule of its own.
//!
//! Begin with [`ShardLoop::run`]. How effects are carried out stands in `effects`, how the store is looked at in `look`.

mod effects;
mod look;
mod outbox;
mod row;
mod telling;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use carillon_core::engine::{
    Effect, Engine, EngineConfig, EngineView, HeldRun, Input, Report, ReportKind, TriggerRequest, WorkerInfo,
};
use carillon_core::ids::{
    AttemptNo, Epoch, Incarnation, JobId, JobsVersion, RunKey, ServerId, ShardId, TraceId,
};
use carillon_core::run::{Run, RunState};
use carillon_core::time::Timestamp;
use carillon_store::SharedStore;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::arms::Arms;
use crate::clock::Clock;
use crate::committer::{Done, Lane, Operation};
use crate::events::{Events, Tally};
use crate::figures::Figures;
use crate::map::MapHub;
use crate::metrics::Metrics;
use crate::ownership::Ownership;
use crate::peers::Peers;
use crate::stall::Stalls;
use crate::store_breaks::StoreBreaks;
use crate::switchboard::Switchboard;
use look::Looking;
use outbox::Outbox;
use row::RowRead;
use telling::Telling;

/// Batches from workers that wait for the loop; more than that and their streams are read more slowly.
const WORKER_EVENTS: usize = 1_024;

/// Requests of consoles that wait for the loop.
const REQUESTS: usize = 1_024;

/// Inputs taken in one go before effects are carried out: a batch large enough to share messages and transactions.
const DRAIN: usize = 256;

/// Steps that wait for the store before workers' reports are left in their streams. About 100 MB; at 10,000 fires a second it takes a
/// database outage of half a minute.
const STEPS_IN_FLIGHT: usize = 400_000;

/// What a worker's stream tells a shard, in the order it was said.
#[derive(Debug)]
pub(crate) enum WorkerEvent {
    Joined(Arc<WorkerInfo>),
    Disconnected(Incarnation),
    /// It has a stream at a peer.
    Elsewhere(Arc<WorkerInfo>),
    /// It has none at any peer any longer.
    GoneElsewhere(Incarnation),
    Left {
        incarnation: Incarnation,
        held: Vec<HeldRun>,
    },
    Reports(Incarnation, Vec<Report>),
}

/// Why a request cannot be served here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("this server does not own the shard")]
    NotOwner,
    #[error("the shard has no such job")]
    UnknownJob,
    #[error("the store does not take it")]
    NotStored,
    #[error("the run is not a dead letter of a job in force")]
    NotRetryable,
}

/// What the rest of the server wants of a shard.
#[derive(Debug)]
pub(crate) enum Request {
    /// This server claimed the epoch: load the shard and act.
    Own {
        epoch: Epoch,
    },
    /// Another server owns the shard.
    Disown {
        why: &'static str,
    },
    Trigger {
        request: TriggerRequest,
        reply: oneshot::Sender<Result<(RunKey, bool), Refused>>,
    },
    JobsChanged {
        jobs_version: JobsVersion,
        job: JobId,
        touched: Vec<RunKey>,
        reply: oneshot::Sender<Vec<RunKey>>,
    },
    /// Answers when the run is final, at once where it is not open here.
    Cancel {
        key: RunKey,
        by: String,
        reply: oneshot::Sender<Option<RunState>>,
    },
    /// Answers when the next attempt is stored.
    Retry {
        run: Box<Run>,
        by: String,
        reply: oneshot::Sender<Result<AttemptNo, Refused>>,
    },
    /// News of a parallel run's map, or of a peer.
    Tell(Input),
    /// A peer that holds the shard too wants its whole plan; only an owner has one.
    TellPlan {
        to: ServerId,
    },
}

/// A shard's loop as others see it.
#[derive(Debug, Clone)]
pub(crate) struct ShardHandle {
    id: ShardId,
    workers: mpsc::Sender<WorkerEvent>,
    requests: mpsc::Sender<Request>,
    view: Arc<Mutex<EngineView>>,
}

impl ShardHandle {
    pub(crate) fn id(&self) -> ShardId {
        self.id
    }

    /// The shard as it was after the loop's last step.
    pub(crate) fn view(&self) -> EngineView {
        *self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues what a worker's stream says; waits where the loop is behind. False when the loop has ended.
    pub(crate) async fn worker(&self, event: WorkerEvent) -> bool {
        self.workers.send(event).await.is_ok()
    }

    /// Queues what is said again soon anyhow: where the loop is behind it is dropped.
    pub(crate) fn try_tell(&self, input: Input) {
        let _ = self.requests.try_send(Request::Tell(input));
    }

    /// Queues a request; waits where the loop is behind. False when the loop has ended.
    pub(crate) async fn request(&self, request: Request) -> bool {
        self.requests.send(request).await.is_ok()
    }
}

/// What every shard loop of a server shares.
#[derive(Clone)]
pub(crate) struct Shell {
    pub(crate) me: ServerId,
    pub(crate) engine: EngineConfig,
    pub(crate) store: SharedStore,
    pub(crate) clock: Clock,
    pub(crate) switchboard: Arc<Switchboard>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) ownership: Ownership,
    pub(crate) maps: Arc<MapHub>,
    pub(crate) events: Arc<Events>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) arms: Arc<Arms>,
    pub(crate) metrics: Metrics,
    pub(crate) stalls: Arc<Stalls>,
    pub(crate) breaks: Arc<StoreBreaks>,
}

/// The loop's state.
pub(crate) struct ShardLoop {
    id: ShardId,
    shell: Shell,
    engine: Engine,
    view: Arc<Mutex<EngineView>>,
    workers: mpsc::Receiver<WorkerEvent>,
    requests: mpsc::Receiver<Request>,
    lane: Lane,
    done: mpsc::UnboundedReceiver<Done>,
    done_sender: mpsc::UnboundedSender<Done>,
    stop: CancellationToken,
    /// The epoch that this server holds, whether the engine has it already or the shard is still being read.
    epoch: Option<Epoch>,
    /// Steps handed to the store and not answered.
    steps_in_flight: usize,
    looking: Looking,
    stalls_seen: u64,
    breaks_seen: u64,
    /// A standby's look at the shard's row.
    row: RowRead,
    /// What the other holders are to hear.
    telling: Telling,
    effects: Vec<Effect>,
    outbox: Outbox,
    tally: Tally,
    /// Traces given by requesters; all others follow from the run's key.
    traces: HashMap<RunKey, TraceId>,
    triggers: HashMap<(JobId, String), PendingTrigger>,
    edits: Vec<(JobsVersion, oneshot::Sender<Vec<RunKey>>)>,
    cancels: HashMap<RunKey, Vec<oneshot::Sender<Option<RunState>>>>,
    retries: HashMap<RunKey, oneshot::Sender<Result<AttemptNo, Refused>>>,
}

struct PendingTrigger {
    replies: Vec<oneshot::Sender<Result<(RunKey, bool), Refused>>>,
    /// Kept until the job was looked for once more.
    request: TriggerRequest,
    looked_again: bool,
}

impl ShardLoop {
    /// A loop that owns nothing yet, and its handle. It runs until `stop` is cancelled.
    pub(crate) fn new(id: ShardId, shell: Shell, lane: Lane, stop: CancellationToken) -> (Self, ShardHandle) {
        let (worker_sender, workers) = mpsc::channel(WORKER_EVENTS);
        let (request_sender, requests) = mpsc::channel(REQUESTS);
        // Not bounded by itself: an answer belongs to an operation in flight, and those are bounded.
        let (done_sender, done) = mpsc::unbounded_channel();
        let engine = Engine::new(id, shell.engine);
        let view = Arc::new(Mutex::new(engine.view(Timestamp::EPOCH)));
        let handle =
            ShardHandle { id, workers: worker_sender, requests: request_sender, view: Arc::clone(&view) };
        let shard_loop = Self {
            id,
            engine,
            view,
            workers,
            requests,
            lane,
            done,
            done_sender,
            stop,
            epoch: None,
            steps_in_flight: 0,
            looking: Looking::default(),
            stalls_seen: shell.stalls.count(),
            breaks_seen: shell.breaks.count(),
            row: RowRead::default(),
            telling: Telling::default(),
            effects: Vec::new(),
            outbox: Outbox::default(),
            tally: Tally::default(),
            traces: HashMap::new(),
            triggers: HashMap::new(),
            edits: Vec::new(),
            cancels: HashMap::new(),
            retries: HashMap::new(),
            shell,
        };
        (shard_loop, handle)
    }

    /// Runs until it is stopped. `connected` are the workers that were there before the loop, `elsewhere` those that peers had.
    pub(crate) async fn run(mut self, connected: Vec<Arc<WorkerInfo>>, elsewhere: Vec<Arc<WorkerInfo>>) {
        for worker in connected {
            self.step(Input::WorkerJoined((*worker).clone()));
        }
        for worker in elsewhere {
            self.step(Input::WorkerElsewhere((*worker).clone()));
        }
        loop {
            let takes_workers = self.steps_in_flight < STEPS_IN_FLIGHT;
            let wake = self.next_wake();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(done) = self.done.recv() => self.take_done(done),
                row = self.row.next() => self.take_row(row),
                Some(request) = self.requests.recv() => self.take_request(request),
                Some(event) = self.workers.recv(), if takes_workers => self.take_event(event),
                () = tokio::time::sleep_until(wake) => {}
            }
            self.drain();
            self.look_for_stall();
            self.look_for_break();
            self.look_again();
            self.tick();
            self.publish();
        }
        self.step_down("the server lets the shard go");
        self.publish();
        tracing::debug!(shard = %self.id, "the shard's loop ends");
    }

    /// Takes what else is there, so that it shares messages and transactions.
    fn drain(&mut self) {
        for _ in 0..DRAIN {
            let Ok(done) = self.done.try_recv() else { break };
            self.take_done(done);
        }
        for _ in 0..DRAIN {
            let Ok(request) = self.requests.try_recv() else { break };
            self.take_request(request);
        }
        for _ in 0..DRAIN {
            if self.steps_in_flight >= STEPS_IN_FLIGHT {
                break;
            }
            let Ok(event) = self.workers.try_recv() else { break };
            self.take_event(event);
        }
    }

    fn next_wake(&self) -> tokio::time::Instant {
        // With nothing to wait for the loop looks around once a second, which costs nothing.
        let mut wake = tokio::time::Instant::now() + std::time::Duration::from_secs(1);
        if let Some(at) = self.looking.next_wake() {
            wake = wake.min(at);
        }
        if let Some(at) = self.telling.due_at() {
            wake = wake.min(at);
        }
        if let Some(at) = self.engine.next_wake() {
            wake = wake.min(tokio::time::Instant::now() + self.shell.clock.until(at));
        }
        wake
    }

    fn tick(&mut self) {
        let now = self.shell.clock.now();
        if self.engine.next_wake().is_some_and(|at| at <= now) {
            self.step(Input::Tick);
        }
        self.carry_out();
        if self.telling.due_at().is_some_and(|at| at <= tokio::time::Instant::now()) {
            self.tell_peers();
        }
    }

    fn tell_peers(&mut self) {
        if let Some(news) = self.telling.take() {
            self.shell.peers.tell(self.id, &news);
        }
    }

    fn step(&mut self, input: Input) {
        self.engine.step(self.shell.clock.now(), input, &mut self.effects);
    }

    fn take_event(&mut self, event: WorkerEvent) {
        match event {
            WorkerEvent::Joined(worker) => self.step(Input::WorkerJoined((*worker).clone())),
            WorkerEvent::Disconnected(incarnation) => self.step(Input::WorkerDisconnected(incarnation)),
            WorkerEvent::Elsewhere(worker) => self.step(Input::WorkerElsewhere((*worker).clone())),
            WorkerEvent::GoneElsewhere(incarnation) => self.step(Input::WorkerGoneElsewhere(incarnation)),
            WorkerEvent::Left { incarnation, held } => self.step(Input::WorkerLeft { incarnation, held }),
            WorkerEvent::Reports(from, reports) => {
                for report in reports {
                    self.take_report(from, report);
                }
            }
        }
    }

    fn take_report(&mut self, from: Incarnation, report: Report) {
        let owned = self.engine.view(Timestamp::EPOCH).epoch.is_some();
        // A worker may only speak of runs of its own group: those of another one's jobs are none of this shard's. Of a job that is not known
        // here the row tells: it may be new, and found by another holder first, or deleted before this server had the shard.
        let ours = self.engine.is_open(report.key) || self.engine.has_seen(report.key.job);
        if owned && !ours {
            return self.store(Operation::Stray { from, report: Box::new(report) });
        }
        if report.kind == ReportKind::Armed {
            self.shell.arms.taken(report.key, report.attempt, from, report.at);
        }
        self.step(Input::Report(from, report));
    }

    /// Takes a report about a job that is not known here, if the run is one of the shard's.
    fn take_stray(&mut self, from: Incarnation, report: Report, of_shard: bool) {
        if of_shard {
            return self.step(Input::Report(from, report));
        }
        tracing::debug!(run = %report.key, shard = %self.id, worker = %from, "a report about a run of another shard is dropped");
        self.outbox.ack(from, report.seq);
    }

    fn take_request(&mut self, request: Request) {
        let owned = self.engine.view(Timestamp::EPOCH).epoch.is_some();
        match request {
            Request::Own { epoch } => self.begin_to_own(epoch),
            Request::Disown { why } => {
                if self.epoch.is_some() {
                    self.step_down(why);
                }
            }
            Request::Trigger { reply, .. } if !owned => answer(reply, Err(Refused::NotOwner)),
            Request::Trigger { request, reply } => {
                let pending = self
                    .triggers
                    .entry((request.job, request.idempotency_key.clone()))
                    .or_insert_with(|| PendingTrigger {
                        replies: Vec::new(),
                        request: request.clone(),
                        looked_again: false,
                    });
                pending.replies.push(reply);
                if pending.replies.len() == 1 {
                    self.step(Input::Trigger(request));
                }
            }
            Request::JobsChanged { jobs_version, job, touched, reply } => {
                self.edits.push((jobs_version, reply));
                self.step(Input::JobsChanged { jobs_version, job, touched });
            }
            Request::Cancel { key, reply, .. } if !self.engine.is_open(key) => answer(reply, None),
            Request::Cancel { key, by, reply } => {
                self.cancels.entry(key).or_default().push(reply);
                self.step(Input::Cancel { key, by });
            }
            Request::Retry { reply, .. } if !owned => answer(reply, Err(Refused::NotOwner)),
            Request::Retry { run, by, reply } => {
                let key = run.key;
                self.retries.insert(key, reply);
                let before = self.effects.len();
                self.step(Input::Retry { run, by });
                let planned = self.effects[before..].iter().any(
                    |effect| matches!(effect, Effect::NextAttempt { advance, .. } if advance.key == key),
                );
                if !planned && let Some(reply) = self.retries.remove(&key) {
                    answer(reply, Err(Refused::NotRetryable));
                }
            }
            Request::Tell(input) => self.step(input),
            Request::TellPlan { to } => {
                // What the engine has said already comes first.
                self.carry_out();
                self.tell_peers();
                if let Some(plan) = self.engine.plan_so_far() {
                    self.shell.peers.tell_all(&to, self.id, &plan);
                }
            }
        }
    }

    fn begin_to_own(&mut self, epoch: Epoch) {
        if self.epoch.is_some_and(|held| held >= epoch) {
            return;
        }
        self.epoch = Some(epoch);
        self.shell.metrics.handovers.inc();
        self.look_at(None);
    }

    /// Forgets everything but the workers; what is on its way to the store still arrives there.
    fn step_down(&mut self, why: &str) {
        if let Some(epoch) = self.epoch.take() {
            tracing::info!(shard = %self.id, %epoch, why, "the shard is owned here no longer");
        }
        self.forget_looks();
        self.step(Input::Disown);
        self.shell.peers.forget_plans_of(self.id);
        self.shell.maps.disown(self.id);
        self.traces.clear();
        for (_, pending) in self.triggers.drain() {
            for reply in pending.replies {
                answer(reply, Err(Refused::NotOwner));
            }
        }
        for (_, reply) in self.retries.drain() {
            answer(reply, Err(Refused::NotOwner));
        }
        self.edits.clear();
        self.cancels.clear();
        self.carry_out();
        self.shell.events.changed("shards", self.id.to_string(), Some(self.id.group()));
    }

    fn publish(&mut self) {
        let view = self.engine.view(self.shell.clock.now());
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }
}

/// Answers whoever still waits; nobody waiting is no failure.
fn answer<T>(reply: oneshot::Sender<T>, value: T) {
    let _ = reply.send(value);
}
