//! A store, a hub, and workers that keep the protocol of parallel runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use carillon_core::engine::{HandlerInfo, Input, JobInForce, MapOutcome, WorkerInfo};
use carillon_core::ids::{
    AttemptNo, Epoch, GroupId, Incarnation, JobId, JobVersion, PlanNo, RunKey, ShardId,
};
use carillon_core::job::{Job, JobSpec};
use carillon_core::run::{Run, RunState, TriggerKind};
use carillon_core::time::Timestamp;
use carillon_proto::v1::{self, server_message::Message};
use carillon_store::sqlite::{SqliteConfig, SqliteStore};
use carillon_store::{SharedStore, Store};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::async_trait;

use crate::clock::Clock;
use crate::map::{From, MapHub, Peer, Wire, lock};
use crate::rpc::convert::run_ref;

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a handler says to a subtask.
#[derive(Clone)]
pub(super) enum Verdict {
    Done(String),
    Slow(String, Duration),
    Failed(String),
    Fatal(String),
    /// It never returns.
    Silence,
}

type Answer = Arc<dyn Fn(u64, u32) -> Verdict + Send + Sync>;

/// What the world outside the hub saw.
#[derive(Default)]
struct Seen {
    executions: BTreeMap<(u64, u32), u32>,
    payloads: BTreeMap<u64, Bytes>,
    told: Vec<Input>,
    cancels: usize,
}

struct Outside {
    links: Mutex<HashMap<Incarnation, mpsc::UnboundedSender<Message>>>,
    seen: Mutex<Seen>,
    counts_executions: AtomicBool,
}

#[async_trait]
impl Wire for Outside {
    fn send(&self, to: Incarnation, message: Message) -> bool {
        lock(&self.links).get(&to).is_some_and(|link| link.send(message).is_ok())
    }

    fn is_connected(&self, worker: Incarnation) -> bool {
        lock(&self.links).contains_key(&worker)
    }

    async fn tell(&self, _: ShardId, news: Input) -> bool {
        lock(&self.seen).told.push(news);
        true
    }
}

/// A worker: what survives a server.
struct Worker {
    incarnation: Incarnation,
    peer: Peer,
    answer: Answer,
    hub: Mutex<Arc<MapHub>>,
    credit: AtomicU64,
    seq: AtomicU64,
    unacked: Mutex<BTreeMap<u64, v1::SubtaskResults>>,
    /// Handed out and not answered.
    in_hand: Mutex<BTreeMap<u64, u32>>,
    emit_acks: mpsc::UnboundedSender<v1::EmitAck>,
    reduced: Mutex<u64>,
}

pub(super) struct Scene {
    pub(super) hub: Arc<MapHub>,
    pub(super) store: SharedStore,
    pub(super) clock: Clock,
    pub(super) run: RunKey,
    pub(super) shard: ShardId,
    job: Arc<JobInForce>,
    epoch: Epoch,
    outside: Arc<Outside>,
    workers: Mutex<HashMap<u64, Arc<Worker>>>,
    acks: Mutex<HashMap<u64, Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<v1::EmitAck>>>>>,
    emitted: Arc<AtomicUsize>,
    _folder: Option<tempfile::TempDir>,
}

fn group() -> GroupId {
    "101-1-2-6601".parse().unwrap()
}

impl Scene {
    pub(super) async fn new() -> Self {
        Self::with(SqliteConfig::in_memory(), None).await
    }

    pub(super) async fn on_disk() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::with(SqliteConfig::file(folder.path().join("carillon.db")), Some(folder)).await
    }

    async fn with(config: SqliteConfig, folder: Option<tempfile::TempDir>) -> Self {
        let store = SqliteStore::open(config).await.unwrap();
        store.migrate().await.unwrap();
        let store: SharedStore = Arc::new(store);
        let spec: JobSpec = serde_json::from_value(serde_json::json!({
            "group": group(), "name": "map", "kind": "parallel", "handler": "map", "schedule": { "type": "api" },
            "parallel": { "retry_delay": "10ms" },
        }))
        .unwrap();
        let clock = Clock::system();
        let now = clock.now();
        let job = Job {
            id: JobId::new(1),
            version: JobVersion::new(1),
            shard_index: 0,
            spec,
            effective_from: now,
            created_at: now,
            updated_at: now,
            updated_by: "test".into(),
        };
        let outside = Arc::new(Outside {
            links: Mutex::default(),
            seen: Mutex::default(),
            counts_executions: AtomicBool::new(true),
        });
        Self {
            hub: MapHub::new(store.clone(), clock.clone(), outside.clone(), CancellationToken::new()),
            store,
            clock,
            run: RunKey::triggered(JobId::new(1), now, "once"),
            shard: ShardId::new(group(), 0),
            job: Arc::new(JobInForce::compile(job).unwrap()),
            epoch: Epoch::new(1),
            outside,
            workers: Mutex::default(),
            acks: Mutex::default(),
            emitted: Arc::default(),
            _folder: folder,
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn open(&self, attempt: AttemptNo) {
        let now = self.clock.now();
        let run = Run {
            trigger: TriggerKind::Api,
            plan_no: PlanNo::new(1),
            attempt,
            state: RunState::Running,
            due_at: now,
            start_by: now,
            started_at: Some(now),
            ..Run::planned(self.run, self.shard, self.epoch, JobVersion::new(1))
        };
        self.hub.open(self.shard, self.epoch, run, self.job.clone());
    }

    /// The server is gone with all it knew; workers keep a stream to the one that follows.
    pub(super) fn replace_server(&mut self) {
        self.hub.disown(self.shard);
        self.epoch = self.epoch.next();
        self.hub = MapHub::new(
            self.store.clone(),
            self.clock.clone(),
            self.outside.clone(),
            CancellationToken::new(),
        );
        for worker in lock(&self.workers).values() {
            *lock(&worker.hub) = self.hub.clone();
            self.hub.worker_joined(worker.peer.clone());
            worker.tell_credit();
        }
    }

    // ---- workers ----

    pub(super) fn worker(
        &self,
        number: u64,
        reduces: bool,
        answer: impl Fn(u64, u32) -> Verdict + Send + Sync + 'static,
    ) {
        let incarnation = Incarnation::new(number);
        let info = WorkerInfo {
            incarnation,
            name: format!("worker-{number}"),
            room: String::new(),
            labels: BTreeMap::new(),
            handlers: vec![HandlerInfo { name: "map".into(), parallel: true, reduce: reduces }],
            held: Vec::new(),
        };
        let handler =
            v1::Handler { name: "map".into(), parallel: true, reduce: reduces, concurrency: 16, queue: 100 };
        let (emit_acks, acks) = mpsc::unbounded_channel();
        let worker = Arc::new(Worker {
            incarnation,
            peer: Peer::new(group(), Arc::new(info), [handler].into()),
            answer: Arc::new(answer),
            hub: Mutex::new(self.hub.clone()),
            credit: AtomicU64::new(64),
            seq: AtomicU64::new(0),
            unacked: Mutex::default(),
            in_hand: Mutex::default(),
            emit_acks,
            reduced: Mutex::default(),
        });
        let (link, messages) = mpsc::unbounded_channel();
        lock(&self.outside.links).insert(incarnation, link);
        self.hub.worker_joined(worker.peer.clone());
        worker.tell_credit();
        lock(&self.workers).insert(number, worker.clone());
        lock(&self.acks).insert(number, Arc::new(tokio::sync::Mutex::new(acks)));
        tokio::spawn(worker.run(messages, self.outside.clone()));
    }

    pub(super) fn set_credit(&self, number: u64, credit: u64) {
        let worker = lock(&self.workers)[&number].clone();
        worker.credit.store(credit, Ordering::Relaxed);
        worker.tell_credit();
    }

    pub(super) fn kill(&self, number: u64) {
        let incarnation = Incarnation::new(number);
        lock(&self.outside.links).remove(&incarnation);
        lock(&self.workers).remove(&number);
        self.hub.worker_parted(incarnation);
    }

    pub(super) fn switch(&self, on: bool) -> Arc<AtomicBool> {
        Arc::new(AtomicBool::new(on))
    }

    // ---- level 1 ----

    /// Splits to the end; the error is what the server answered.
    pub(super) async fn split(
        &self,
        number: u64,
        attempt: AttemptNo,
        payloads: &[String],
        batch: usize,
    ) -> Result<(), String> {
        self.split_in_background(number, attempt, payloads, batch).await.unwrap()
    }

    pub(super) fn split_in_background(
        &self,
        number: u64,
        attempt: AttemptNo,
        payloads: &[String],
        batch: usize,
    ) -> JoinHandle<Result<(), String>> {
        let worker = lock(&self.workers)[&number].clone();
        let acks = lock(&self.acks)[&number].clone();
        let payloads: Vec<Bytes> = payloads.iter().map(|payload| Bytes::from(payload.clone())).collect();
        let (run, emitted) = (self.run, self.emitted.clone());
        tokio::spawn(async move {
            let mut acks = acks.lock().await;
            let mut batches: Vec<&[Bytes]> = payloads.chunks(batch).collect();
            batches.push(&[]);
            let (mut stored, mut sent, mut told_at) = (0, 0, Instant::now());
            while stored < batches.len() {
                while sent < batches.len().min(stored + 8) {
                    worker.emit(
                        run,
                        attempt,
                        sent,
                        batch * sent.min(payloads.len().div_ceil(batch)),
                        batches[sent],
                        sent + 1 == batches.len(),
                        payloads.len(),
                    );
                    emitted.fetch_add(1, Ordering::Relaxed);
                    sent += 1;
                }
                match tokio::time::timeout(Duration::from_millis(200), acks.recv()).await {
                    Ok(Some(ack)) if ack.attempt != attempt.get() => {}
                    Ok(Some(ack)) if !ack.error.is_empty() => return Err(ack.error),
                    Ok(Some(ack)) => {
                        stored = stored.max(ack.batch_no as usize + 1);
                        told_at = Instant::now();
                    }
                    // What was lost with a server is repeated.
                    _ => sent = stored,
                }
                assert!(told_at.elapsed() < PATIENCE, "the split is never acknowledged");
            }
            Ok(())
        })
    }

    /// Emits one batch that is not the last, and waits until it is stored.
    pub(super) async fn split_part(
        &self,
        number: u64,
        attempt: AttemptNo,
        payloads: &[String],
        batch_no: usize,
    ) {
        let worker = lock(&self.workers)[&number].clone();
        let payloads: Vec<Bytes> = payloads.iter().map(|payload| Bytes::from(payload.clone())).collect();
        worker.emit(self.run, attempt, batch_no, batch_no * payloads.len(), &payloads, false, usize::MAX);
        let acks = lock(&self.acks)[&number].clone();
        let ack =
            tokio::time::timeout(PATIENCE, async { acks.lock().await.recv().await }).await.unwrap().unwrap();
        assert_eq!((ack.batch_no as usize, ack.error.as_str()), (batch_no, ""));
    }

    // ---- what was seen ----

    pub(super) async fn ended(&self, attempt: AttemptNo) -> MapOutcome {
        let find = |scene: &Self| {
            scene.told().into_iter().find_map(|input| match input {
                Input::MapEnded { attempt: of, outcome, .. } if of == attempt => Some(outcome),
                _ => None,
            })
        };
        self.until(|scene| find(scene).is_some()).await;
        find(self).unwrap()
    }

    pub(super) async fn until(&self, reached: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !reached(self) {
            if began.elapsed() > PATIENCE {
                panic!("not reached; the map stands at {:?}", self.hub.progress(self.run));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) fn told(&self) -> Vec<Input> {
        lock(&self.outside.seen).told.clone()
    }

    pub(super) fn executions(&self) -> BTreeMap<(u64, u32), u32> {
        lock(&self.outside.seen).executions.clone()
    }

    pub(super) fn forget_executions(&self) {
        lock(&self.outside.seen).executions.clear();
    }

    pub(super) fn without_executions(&self) {
        self.outside.counts_executions.store(false, Ordering::Relaxed);
    }

    pub(super) fn payloads(&self) -> Vec<String> {
        let seen = lock(&self.outside.seen);
        seen.payloads.values().map(|payload| String::from_utf8(payload.to_vec()).unwrap()).collect()
    }

    pub(super) fn cancels(&self) -> usize {
        lock(&self.outside.seen).cancels
    }

    pub(super) fn emitted(&self) -> usize {
        self.emitted.load(Ordering::Relaxed)
    }
}

impl Worker {
    fn from(&self) -> From {
        From { incarnation: self.incarnation, group: group() }
    }

    fn hub(&self) -> Arc<MapHub> {
        lock(&self.hub).clone()
    }

    fn tell_credit(&self) {
        let free = self.credit.load(Ordering::Relaxed) as u32;
        self.hub().credit(self.from(), v1::SubtaskCredit { handler: "map".into(), free }).unwrap();
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of the message")]
    fn emit(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        batch_no: usize,
        first: usize,
        payloads: &[Bytes],
        last: bool,
        total: usize,
    ) {
        let first_index = first.min(total) as u64;
        let subtasks = (first_index..).zip(payloads).map(|(index, payload)| v1::Subtask {
            index,
            attempt: 1,
            key: String::new(),
            payload: payload.clone(),
        });
        let emit = v1::Emit {
            run: Some(run_ref(run)),
            attempt: attempt.get(),
            shard: 0,
            batch_no: batch_no as u32,
            first_index,
            subtasks: subtasks.collect(),
            last,
        };
        self.hub().emit(self.from(), emit).unwrap();
    }

    async fn run(self: Arc<Self>, mut messages: mpsc::UnboundedReceiver<Message>, outside: Arc<Outside>) {
        let mut repeat = tokio::time::interval(Duration::from_millis(100));
        loop {
            let message = tokio::select! {
                message = messages.recv() => message,
                _ = repeat.tick() => {
                    self.repeat();
                    continue;
                }
            };
            match message {
                None => return,
                Some(Message::Subtasks(subtasks)) => self.process(subtasks, &outside).await,
                Some(Message::AskHeld(ask)) => {
                    let in_hand = lock(&self.in_hand).clone();
                    let unacked: Vec<_> =
                        lock(&self.unacked).values().flat_map(|sent| sent.results.clone()).collect();
                    let held = in_hand
                        .into_iter()
                        .chain(unacked.iter().map(|result| (result.index, result.attempt)));
                    let held = held.map(|(index, attempt)| v1::HeldSubtask { index, attempt }).collect();
                    let held =
                        v1::SubtasksHeld { run: ask.run, attempt: ask.attempt, shard: ask.shard, held };
                    self.hub().held(self.from(), held).unwrap();
                }
                Some(Message::ResultsAck(ack)) => {
                    let mut unacked = lock(&self.unacked);
                    unacked.retain(|seq, _| !ack.seqs.contains(seq));
                }
                Some(Message::EmitAck(ack)) => drop(self.emit_acks.send(ack)),
                Some(Message::Cancel(_)) => {
                    lock(&outside.seen).cancels += 1;
                    lock(&self.in_hand).clear();
                }
                Some(Message::Arms(arms)) => arms.arms.iter().for_each(|arm| self.reduce(arm)),
                Some(Message::ReduceInput(input)) => self.reduce_input(&input),
                Some(_) => {}
            }
        }
    }

    fn repeat(&self) {
        let unacked: Vec<_> = lock(&self.unacked).values().cloned().collect();
        for results in unacked {
            self.hub().results(self.from(), results).unwrap();
        }
        self.tell_credit();
    }

    async fn process(&self, message: v1::Subtasks, outside: &Outside) {
        let mut results = Vec::with_capacity(message.subtasks.len());
        lock(&self.in_hand).extend(message.subtasks.iter().map(|subtask| (subtask.index, subtask.attempt)));
        if outside.counts_executions.load(Ordering::Relaxed) {
            let mut seen = lock(&outside.seen);
            for subtask in &message.subtasks {
                *seen.executions.entry((subtask.index, subtask.attempt)).or_default() += 1;
                seen.payloads.insert(subtask.index, subtask.payload.clone());
            }
        }
        for subtask in &message.subtasks {
            let mut result = v1::SubtaskResult {
                index: subtask.index,
                attempt: subtask.attempt,
                ok: true,
                ..Default::default()
            };
            match (self.answer)(subtask.index, subtask.attempt) {
                Verdict::Done(output) => {
                    result.output = if message.keep_outputs { output.into() } else { Bytes::new() }
                }
                Verdict::Slow(output, wait) => {
                    tokio::time::sleep(wait).await;
                    result.output = output.into();
                }
                Verdict::Failed(error) => (result.ok, result.error) = (false, error),
                Verdict::Fatal(error) => (result.ok, result.error, result.fatal) = (false, error, true),
                Verdict::Silence => continue,
            }
            results.push(result);
        }
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        let results = v1::SubtaskResults {
            run: message.run,
            attempt: message.attempt,
            shard: message.shard,
            seq,
            results,
        };
        if !results.results.is_empty() {
            let mut in_hand = lock(&self.in_hand);
            in_hand.retain(|index, _| results.results.iter().all(|result| result.index != *index));
            lock(&self.unacked).insert(seq, results.clone());
            drop(in_hand);
            self.hub().results(self.from(), results).unwrap();
        }
        self.tell_credit();
    }

    // ---- the reduce sums numbers ----

    fn reduce(&self, arm: &v1::Arm) {
        assert_eq!(arm.kind, v1::RunKind::Reduce as i32);
        *lock(&self.reduced) = 0;
        self.report(arm.run, arm.attempt, arm.plan_no, v1::ReportKind::Started, Bytes::new());
        self.ask(arm.run, arm.attempt, -1);
    }

    fn ask(&self, run: Option<v1::RunRef>, attempt: u32, after_index: i64) {
        let credit = v1::ReduceCredit { run, attempt, shard: 0, free: 2, after_index };
        self.hub().reduce_credit(self.from(), credit).unwrap();
    }

    fn reduce_input(&self, input: &v1::ReduceInput) {
        let numbers = input
            .outputs
            .iter()
            .map(|output| std::str::from_utf8(&output.output).unwrap().parse::<u64>().unwrap());
        *lock(&self.reduced) += numbers.sum::<u64>();
        if input.last {
            let sum = Bytes::from(lock(&self.reduced).to_string());
            self.report(input.run, input.attempt, 1, v1::ReportKind::Succeeded, sum);
        } else if let Some(last) = input.outputs.last() {
            let next = last.index as i64;
            // Every second message, since each question asks for two.
            if next % 1_000 == 999 {
                self.ask(input.run, input.attempt, next);
            }
        }
    }

    fn report(
        &self,
        run: Option<v1::RunRef>,
        attempt: u32,
        plan_no: u32,
        kind: v1::ReportKind,
        result: Bytes,
    ) {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        let report = v1::Report {
            seq,
            run,
            attempt,
            plan_no,
            kind: kind.into(),
            at_ms: Timestamp::EPOCH.as_millis() + 1,
            result,
            run_kind: v1::RunKind::Reduce.into(),
            ..Default::default()
        };
        self.hub().reduce_report(self.from(), report).unwrap();
    }
}
