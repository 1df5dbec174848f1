//! The task of one map: it feeds the engine and carries out what it decides.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use carillon_core::engine::{Arm, Input, JobInForce, MapOutcome as EngineOutcome, Report, ReportKind};
use carillon_core::ids::{AttemptNo, Epoch, Incarnation, PlanNo, RunKey, ShardId, TraceId};
use carillon_core::job::DEFAULT_START_WINDOW;
use carillon_core::parallel::{
    MAX_OUTPUT_BYTES, MAX_SUBTASK_BYTES, MapEffect, MapEngine, MapInput, MapOutcome, MapPhase, MapView,
    MapWorker, OutcomeKind, ReduceNews, SubtaskOutcome,
};
use carillon_core::run::{Reason, ReasonCode, Run};
use carillon_proto::v1::{self, server_message::Message as ToWorker};
use carillon_store::subtasks::{MapCheckpoint, SubtaskBatch, SubtaskFailure, SubtaskPayload};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::courier::{Courier, Dispatch};
use super::window::Window;
use super::writer::{self, Written};
use super::{Shared, feed, lock, resume};
use crate::rpc::convert::{self, run_ref};

/// Messages taken in one go before the loop looks at everything else again.
const DRAIN: usize = 64;

/// Outputs kept until the next checkpoint: beyond the first bound it is written at once, beyond the second no more subtasks are handed out.
const FLUSH_BYTES: usize = 4 * 1024 * 1024;
const STOP_BYTES: usize = 32 * 1024 * 1024;

/// How often the progress for the pages is taken.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

/// A key of a subtask in characters.
const MAX_KEY: usize = 128;

/// An error text in characters.
const MAX_ERROR: usize = 1_000;

/// How long handlers of a cancelled run may take to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Questions of a reduce that wait; there is one at a time.
const QUESTIONS: usize = 8;

/// What does not change about a map.
#[derive(Debug)]
pub(crate) struct MapJob {
    pub(crate) shard: ShardId,
    pub(crate) epoch: Epoch,
    pub(crate) run: RunKey,
    pub(crate) attempt: AttemptNo,
    pub(crate) in_force: Arc<JobInForce>,
    pub(crate) own_params: Option<Value>,
    pub(crate) params: Bytes,
    pub(crate) trace: TraceId,
    pub(crate) trace_id: Bytes,
}

impl MapJob {
    pub(super) fn new(shard: ShardId, epoch: Epoch, run: &Run, in_force: Arc<JobInForce>) -> Self {
        let params = match &run.params {
            Some(params) => Bytes::from(params.to_string()),
            None => Bytes::copy_from_slice(&in_force.params_json),
        };
        let trace = run.trace_id();
        Self {
            shard,
            epoch,
            run: run.key,
            attempt: run.attempt,
            in_force,
            own_params: run.params.clone(),
            params,
            trace,
            trace_id: Bytes::copy_from_slice(&trace.get().to_be_bytes()),
        }
    }

    pub(super) fn key(&self) -> super::MapKey {
        (self.run, self.attempt)
    }

    pub(super) fn handler(&self) -> &str {
        &self.in_force.job.spec.handler
    }

    pub(super) fn run_ref(&self) -> v1::RunRef {
        run_ref(self.run)
    }
}

/// What the hub tells a map; never dropped.
#[derive(Debug)]
pub(super) enum Control {
    Joined(MapWorker),
    Parted(Incarnation),
    Left(Incarnation),
    Abort,
}

/// What workers say about a map; dropped where it is behind, and repeated.
#[derive(Debug)]
pub(super) enum Said {
    Emit(Incarnation, v1::Emit),
    Results(Incarnation, v1::SubtaskResults),
    Held(Incarnation, v1::SubtasksHeld),
    Reduce(Incarnation, Box<Report>),
    ReduceCredit(Incarnation, v1::ReduceCredit),
}

/// How a driver ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The attempt ended, durably.
    Complete,
    /// It was aborted, durably.
    Aborted,
    /// Another server drives it, or will.
    Dropped,
}

/// See the module.
pub(super) struct Driver {
    shared: Shared,
    job: Arc<MapJob>,
    control: mpsc::UnboundedReceiver<Control>,
    said: mpsc::Receiver<Said>,
    wake: Arc<Notify>,
    view: Arc<Mutex<Option<MapView>>>,
    stop: CancellationToken,
}

impl Driver {
    pub(super) fn new(
        shared: Shared,
        job: Arc<MapJob>,
        control: mpsc::UnboundedReceiver<Control>,
        said: mpsc::Receiver<Said>,
        wake: Arc<Notify>,
        view: Arc<Mutex<Option<MapView>>>,
        stop: CancellationToken,
    ) -> Self {
        Self { shared, job, control, said, wake, view, stop }
    }

    pub(super) async fn run(mut self) -> Ending {
        let stop = self.stop.clone();
        let ending = tokio::select! {
            () = stop.cancelled() => Ending::Dropped,
            ending = self.drive() => ending,
        };
        self.shared.roster.set_hungry(&self.job, false);
        ending
    }

    async fn drive(&mut self) -> Ending {
        let Ok((start, data_attempt)) = resume::read(&self.job, &self.shared.store).await else {
            return Ending::Dropped;
        };
        tracing::info!(run = %self.job.run, attempt = %self.job.attempt, shard = %self.job.shard, epoch = %self.job.epoch, trace_id = %self.job.trace, stored = start.next_index, phase = start.header.as_ref().map_or("new", |header| header.phase.as_str()), "driving a parallel run");
        let engine = MapEngine::new(self.shared.clock.now(), start);
        // The helpers end when this is dropped.
        let mut helpers = JoinSet::new();
        let mut map = Map::new(&self.shared, &self.job, data_attempt, engine, &mut helpers);
        while let Ok(control) = self.control.try_recv() {
            map.control(control);
        }
        map.step(MapInput::Tick);
        loop {
            map.give_credit();
            map.publish(&self.view);
            for news in std::mem::take(&mut map.news) {
                self.shared.wire.tell(self.job.shard, news).await;
            }
            if let Some(ending) = map.ending {
                return ending;
            }
            let wake = map.next_wake();
            tokio::select! {
                biased;
                Some(control) = self.control.recv() => map.control(control),
                Some(written) = map.written.recv() => map.written(written),
                Some(said) = self.said.recv() => map.said(said),
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(wake) => map.step(MapInput::Tick),
            }
            for _ in 0..DRAIN {
                let Ok(said) = self.said.try_recv() else { break };
                map.said(said);
            }
        }
    }
}

/// The engine and what surrounds it.
struct Map {
    shared: Shared,
    job: Arc<MapJob>,
    data_attempt: AttemptNo,
    engine: MapEngine,
    effects: Vec<MapEffect>,
    /// The batch of the message at hand.
    emitting: Option<SubtaskBatch>,
    /// The results of the message at hand, and who sent them.
    results: Vec<v1::SubtaskResult>,
    from: Option<Incarnation>,
    /// What counts and is not in a checkpoint yet.
    outputs: Vec<(u64, Vec<u8>)>,
    output_bytes: usize,
    failures: Vec<SubtaskFailure>,
    batches: mpsc::UnboundedSender<SubtaskBatch>,
    checkpoints: mpsc::UnboundedSender<(u64, MapCheckpoint)>,
    written: mpsc::UnboundedReceiver<Written>,
    dispatches: mpsc::UnboundedSender<Dispatch>,
    questions: mpsc::Sender<(Incarnation, v1::ReduceCredit)>,
    /// For the trigger engine.
    news: Vec<Input>,
    credits_seen: u64,
    hungry: bool,
    published: Option<Instant>,
    /// The engine took a step since the progress was published.
    changed: bool,
    ending: Option<Ending>,
}

impl Map {
    fn new(
        shared: &Shared,
        job: &Arc<MapJob>,
        data_attempt: AttemptNo,
        engine: MapEngine,
        helpers: &mut JoinSet<()>,
    ) -> Self {
        // None of these queues grows without bound: batches by what a worker sends unacknowledged, checkpoints come one at a time, and
        // dispatches are bounded by the engine's windows.
        let (batches, batch_receiver) = mpsc::unbounded_channel();
        let (checkpoints, checkpoint_receiver) = mpsc::unbounded_channel();
        let (dispatches, dispatch_receiver) = mpsc::unbounded_channel();
        let (questions, question_receiver) = mpsc::channel(QUESTIONS);
        let (written_sender, written) = mpsc::unbounded_channel();
        let window = Arc::new(Mutex::new(Window::default()));
        let store = &shared.store;
        helpers.spawn(writer::store_batches(
            job.clone(),
            data_attempt,
            store.clone(),
            window.clone(),
            batch_receiver,
            written_sender.clone(),
        ));
        helpers.spawn(writer::write_checkpoints(
            job.clone(),
            store.clone(),
            checkpoint_receiver,
            written_sender,
        ));
        helpers.spawn(Courier::new(job.clone(), data_attempt, shared.clone(), window).run(dispatch_receiver));
        helpers.spawn(feed::run(job.clone(), data_attempt, shared.clone(), question_receiver));
        Self {
            shared: shared.clone(),
            job: job.clone(),
            data_attempt,
            engine,
            effects: Vec::new(),
            emitting: None,
            results: Vec::new(),
            from: None,
            outputs: Vec::new(),
            output_bytes: 0,
            failures: Vec::new(),
            batches,
            checkpoints,
            written,
            dispatches,
            questions,
            news: Vec::new(),
            credits_seen: 0,
            hungry: false,
            published: None,
            changed: true,
            ending: None,
        }
    }

    fn next_wake(&self) -> Instant {
        // Soon after a change and once a second anyway, for the progress.
        let pause = if self.changed { PUBLISH_EVERY } else { Duration::from_secs(1) };
        let latest = self.published.map_or_else(Instant::now, |at| at + pause);
        let due = self.engine.next_wake().map(|at| Instant::now() + self.shared.clock.until(at));
        due.map_or(latest, |due| due.min(latest))
    }

    fn step(&mut self, input: MapInput) {
        self.changed = true;
        let mut effects = std::mem::take(&mut self.effects);
        self.engine.step(self.shared.clock.now(), input, &mut effects);
        effects.drain(..).for_each(|effect| self.carry_out(effect));
        self.effects = effects;
    }

    // ---- what comes in ----

    fn control(&mut self, control: Control) {
        match control {
            Control::Joined(worker) => self.step(MapInput::WorkerJoined(worker)),
            Control::Parted(worker) => self.step(MapInput::WorkerDisconnected(worker)),
            Control::Left(worker) => self.step(MapInput::WorkerLeft(worker)),
            Control::Abort => self.step(MapInput::Abort),
        }
    }

    fn written(&mut self, written: Written) {
        match written {
            Written::Batches(up_to) => self.step(MapInput::BatchesStored { up_to }),
            Written::Checkpoint(id) => self.step(MapInput::CheckpointStored { id }),
            Written::Fenced => {
                tracing::warn!(run = %self.job.run, attempt = %self.job.attempt, shard = %self.job.shard, epoch = %self.job.epoch, "another server drives the parallel run; it is let go here");
                self.ending = Some(Ending::Dropped);
            }
        }
    }

    fn said(&mut self, said: Said) {
        match said {
            Said::Emit(from, emit) => self.emit(from, emit),
            Said::Results(from, results) => self.take_results(from, results),
            Said::Held(worker, held) => {
                let held = held.held.iter().map(|subtask| (subtask.index, subtask.attempt)).collect();
                self.step(MapInput::Held { worker, held });
            }
            Said::Reduce(worker, report) => {
                let (plan_no, seq) = (report.plan_no, report.seq);
                let news = reduce_news(*report);
                self.step(MapInput::Reduce { worker, plan_no, seq, news });
            }
            Said::ReduceCredit(worker, credit) => {
                let reducing = self.engine.header().phase == MapPhase::Reducing;
                if reducing && self.engine.header().reduce.is_some_and(|at| at.worker == worker) {
                    // A question that does not fit is asked again.
                    let _ = self.questions.try_send((worker, credit));
                }
            }
        }
    }

    fn emit(&mut self, worker: Incarnation, emit: v1::Emit) {
        let v1::Emit { batch_no, first_index, subtasks, last, .. } = emit;
        let too_large = subtasks.iter().enumerate().find_map(|(place, subtask)| {
            let index = first_index + place as u64;
            if subtask.payload.len() > MAX_SUBTASK_BYTES {
                return Some(format!(
                    "subtask {index} has {} bytes; at most {MAX_SUBTASK_BYTES} are taken",
                    subtask.payload.len()
                ));
            }
            let characters = subtask.key.chars().count();
            (characters > MAX_KEY).then(|| {
                format!("the key of subtask {index} has {characters} characters; at most {MAX_KEY} are taken")
            })
        });
        if let Some(error) = too_large {
            self.ack_emit(worker, batch_no, error);
            return;
        }
        let count = subtasks.len() as u64;
        let subtasks = subtasks
            .into_iter()
            .map(|subtask| SubtaskPayload { key: subtask.key, payload: subtask.payload.into() });
        self.emitting = Some(SubtaskBatch { batch_no, first_index, subtasks: subtasks.collect() });
        self.step(MapInput::Emitted { worker, batch_no, first_index, count, last });
        self.emitting = None;
    }

    fn take_results(&mut self, worker: Incarnation, mut results: v1::SubtaskResults) {
        let outcomes = results.results.iter_mut().map(|result| {
            if result.ok && result.output.len() > MAX_OUTPUT_BYTES {
                result.error = format!(
                    "the output has {} bytes; at most {MAX_OUTPUT_BYTES} are taken",
                    result.output.len()
                );
                (result.ok, result.fatal) = (false, true);
            }
            let kind = match (result.ok, result.fatal) {
                (true, _) => OutcomeKind::Done,
                (false, false) => OutcomeKind::Failed,
                (false, true) => OutcomeKind::Fatal,
            };
            SubtaskOutcome { index: result.index, attempt: result.attempt, kind }
        });
        let outcomes = outcomes.collect();
        self.results = results.results;
        self.from = Some(worker);
        self.step(MapInput::Results { worker, seq: results.seq, results: outcomes });
        self.results = Vec::new();
        if self.output_bytes > FLUSH_BYTES {
            self.step(MapInput::Flush);
        }
    }

    /// Passes the workers' credit on, where there is work for it.
    fn give_credit(&mut self) {
        let header = self.engine.header();
        let open = matches!(header.phase, MapPhase::Splitting | MapPhase::Processing);
        let hungry = open && header.emitted > header.done + header.failed;
        if hungry != self.hungry {
            self.hungry = hungry;
            self.shared.roster.set_hungry(&self.job, hungry);
        }
        if !hungry || self.output_bytes > STOP_BYTES {
            return;
        }
        if let Some(free) = self.shared.roster.credits(&self.job, &mut self.credits_seen) {
            self.step(MapInput::Credit { free });
        }
    }

    // ---- what goes out ----

    fn carry_out(&mut self, effect: MapEffect) {
        match effect {
            MapEffect::StoreBatch { batch_no } => {
                let batch = self.emitting.take().expect("a batch is stored when it is emitted");
                debug_assert_eq!(batch.batch_no, batch_no);
                // Where the writer is gone, this map is being let go.
                let _ = self.batches.send(batch);
            }
            MapEffect::AckEmit { worker, batch_no, error } => {
                self.ack_emit(worker, batch_no, error.unwrap_or_default());
            }
            MapEffect::HandOut { worker, subtasks } => {
                self.shared.roster.spend(worker, self.job.handler(), subtasks.len() as u32);
                let keep_outputs = self.engine.header().keep_outputs;
                let _ = self.dispatches.send(Dispatch::HandOut { worker, subtasks, keep_outputs });
            }
            MapEffect::AskHeld { worker } => drop(self.dispatches.send(Dispatch::AskHeld { worker })),
            MapEffect::Count { done, failed } => {
                if self.engine.header().keep_outputs {
                    for place in done {
                        let result = &mut self.results[place];
                        let output = Vec::from(std::mem::take(&mut result.output));
                        self.output_bytes += output.len() + 32;
                        self.outputs.push((result.index, output));
                    }
                }
                let worker = self.from.map(|worker| self.shared.roster.name(worker)).unwrap_or_default();
                for failure in failed {
                    let result = &self.results[failure.place];
                    self.failures.push(SubtaskFailure {
                        index: result.index,
                        attempt: failure.attempt,
                        at: self.shared.clock.now(),
                        worker: worker.clone(),
                        error: result.error.chars().take(MAX_ERROR).collect(),
                        last: failure.last,
                    });
                }
            }
            MapEffect::Checkpoint { id, header, chunks } => {
                self.output_bytes = 0;
                let checkpoint = MapCheckpoint {
                    run: self.job.run,
                    attempt: self.job.attempt,
                    epoch: self.job.epoch,
                    data_attempt: self.data_attempt,
                    header: *header,
                    chunks,
                    outputs: std::mem::take(&mut self.outputs),
                    failures: std::mem::take(&mut self.failures),
                };
                let _ = self.checkpoints.send((id, checkpoint));
            }
            MapEffect::AckResults { worker, seqs } => {
                self.shared.wire.send(worker, ToWorker::ResultsAck(v1::ResultsAck { seqs }));
            }
            MapEffect::SplitDone => {
                tracing::info!(run = %self.job.run, attempt = %self.job.attempt, trace_id = %self.job.trace, subtasks = self.engine.header().emitted, "the split of a parallel run is stored");
                self.news.push(Input::MapSplit { key: self.job.run, attempt: self.job.attempt });
            }
            MapEffect::StartReduce { worker, plan_no } => self.start_reduce(worker, plan_no),
            MapEffect::AckReduce { worker, seq } => {
                self.shared.wire.send(worker, ToWorker::ReportAck(v1::ReportAck { seqs: vec![seq] }));
            }
            MapEffect::Cancel { worker } => {
                let cancel = v1::Cancel {
                    run: Some(self.job.run_ref()),
                    attempt: self.job.attempt.get(),
                    grace_ms: GRACE.as_millis() as u64,
                    why: "the run's attempt has ended".into(),
                };
                self.shared.wire.send(worker, ToWorker::Cancel(cancel));
            }
            MapEffect::TakenFrom { name, subtasks, why } => {
                tracing::info!(run = %self.job.run, attempt = %self.job.attempt, trace_id = %self.job.trace, worker = %name, subtasks, why, "subtasks go to other workers");
            }
            MapEffect::End(outcome) => self.end(outcome),
        }
    }

    fn end(&mut self, outcome: Option<MapOutcome>) {
        let header = self.engine.header();
        tracing::info!(run = %self.job.run, attempt = %self.job.attempt, trace_id = %self.job.trace, done = header.done, failed = header.failed, aborted = outcome.is_none(), "a parallel run's attempt has ended");
        self.ending = Some(if outcome.is_some() { Ending::Complete } else { Ending::Aborted });
        let outcome = match outcome {
            Some(MapOutcome::Succeeded { result }) => EngineOutcome::Succeeded { result },
            Some(MapOutcome::Failed { reason }) => EngineOutcome::Failed(reason),
            None => return,
        };
        self.news.push(Input::MapEnded { key: self.job.run, attempt: self.job.attempt, outcome });
    }

    fn ack_emit(&self, worker: Incarnation, batch_no: u32, error: String) {
        let ack =
            v1::EmitAck { run: Some(self.job.run_ref()), attempt: self.job.attempt.get(), batch_no, error };
        self.shared.wire.send(worker, ToWorker::EmitAck(ack));
    }

    fn start_reduce(&self, worker: Incarnation, plan_no: PlanNo) {
        let now = self.shared.clock.now();
        let job = &self.job;
        let arm = Arm {
            to: worker,
            key: job.run,
            attempt: job.attempt,
            plan_no,
            job_version: job.in_force.job.version,
            due_at: now,
            start_by: now + DEFAULT_START_WINDOW,
            params: job.own_params.clone(),
            trace: job.trace,
            epoch: job.epoch,
            job: job.in_force.clone(),
        };
        let mut arm = convert::arm(job.shard, &arm);
        arm.kind = v1::RunKind::Reduce.into();
        self.shared.wire.send(worker, ToWorker::Arms(v1::ArmBatch { arms: vec![arm] }));
    }

    fn publish(&mut self, view: &Mutex<Option<MapView>>) {
        let pause = if self.changed { PUBLISH_EVERY } else { Duration::from_secs(1) };
        if self.published.is_none_or(|at| at.elapsed() >= pause) {
            self.changed = false;
            self.published = Some(Instant::now());
            *lock(view) = Some(self.engine.view(self.shared.clock.now()));
        }
    }
}

fn reduce_news(report: Report) -> ReduceNews {
    let never = |why: &str| ReduceNews::Refused(Reason::new(ReasonCode::Busy, why));
    match report.kind {
        ReportKind::Armed | ReportKind::Queued | ReportKind::Started => ReduceNews::Taken,
        ReportKind::Refused(refusal, detail) => ReduceNews::Refused(Reason::new(refusal.code(), detail)),
        ReportKind::Disarmed => never("withdrawn from the worker"),
        ReportKind::Succeeded { result, .. } => ReduceNews::Succeeded(result),
        ReportKind::Failed { code, error, .. } => {
            ReduceNews::Failed(Reason::new(code, format!("the reduce failed: {error}")))
        }
        ReportKind::TimedOut { .. } => ReduceNews::Failed(Reason::new(
            ReasonCode::Timeout,
            "the reduce did not end within the job's timeout",
        )),
        ReportKind::Cancelled { started_at: None } | ReportKind::Skipped { started_at: None, .. } => {
            never("the worker did not start it")
        }
        ReportKind::Cancelled { started_at: Some(_) } => {
            ReduceNews::Failed(Reason::new(ReasonCode::Replaced, "the reduce was stopped by its worker"))
        }
        ReportKind::Skipped { started_at: Some(_), .. } => ReduceNews::Succeeded(None),
    }
}
