//! A cluster in this process, and a scripted worker.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use carillon_coordination::{Coordination, Embedded, EmbeddedRegistry};
use carillon_core::ids::{GroupId, JobId, JobVersion, RunKey, ShardId};
use carillon_core::job::{Job, JobSpec};
use carillon_core::run::{Reason, ReasonCode, Run};
use carillon_core::time::Timestamp;
use carillon_proto::v1::control_client::ControlClient;
use carillon_proto::v1::worker_gateway_client::WorkerGatewayClient;
use carillon_proto::v1::{
    Arm, Handler, HeldRun, Hello, Leave, Report, ReportBatch, ReportKind, RunRef, ServerMessage,
    WorkerMessage, server_message::Message as ToWorker, worker_message::Message as FromWorker,
};
use carillon_server::{Clock, ServerConfig, ServerError};
use carillon_store::accounts::{Token, TokenScope};
use carillon_store::catalog::{EditOutcome, Group, JobChange, JobEdit};
use carillon_store::runs::RunFilter;
use carillon_store::sqlite::{SqliteConfig, SqliteStore};
use carillon_store::{SharedStore, Store as _};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

pub(crate) const TOKEN: &str = "cri_wkr_of_the_test";

/// Waits until `look` gives something; panics with `what` after 15 s, which a slow machine needs and a quick one does not.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let give_up = tokio::time::Instant::now() + Duration::from_secs(15);
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(tokio::time::Instant::now() < give_up, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn now() -> Timestamp {
    Clock::system().now()
}

/// A store, a coordinator and a task group with a worker token.
pub(crate) struct Cluster {
    pub(crate) store: SharedStore,
    pub(crate) registry: Arc<EmbeddedRegistry>,
    pub(crate) group: GroupId,
    sessions: Mutex<BTreeMap<String, Weak<Embedded>>>,
    _folder: tempfile::TempDir,
}

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ServerError>>,
}

impl Cluster {
    pub(crate) async fn new(backups: u32, shards: u16) -> Self {
        if std::env::var_os("CARILLON_TEST_LOG").is_some() {
            // For a person who wants to see what a test does; a second subscriber is refused, which is no matter.
            let _ =
                tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_ansi(false).try_init();
        }
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(SqliteConfig::file(folder.path().join("test.db"))).await.unwrap();
        store.migrate().await.unwrap();
        let store: SharedStore = Arc::new(store);
        let number = store.next_group_number(101).await.unwrap();
        let group = GroupId::new(101, 1, backups, number).unwrap();
        let at = now();
        let row = Group {
            id: group,
            name: "test".into(),
            description: String::new(),
            shards,
            revision: 1,
            created_at: at,
            updated_at: at,
        };
        store.create_group(&row, at).await.unwrap();
        let cluster = Self {
            store,
            registry: EmbeddedRegistry::new(),
            group,
            sessions: Mutex::default(),
            _folder: folder,
        };
        cluster.token(TOKEN, TokenScope::Worker { group }, None).await;
        cluster
    }

    pub(crate) async fn token(&self, text: &str, scope: TokenScope, expires_at: Option<Timestamp>) {
        let token = Token {
            id: 0,
            name: "test".into(),
            hash: Sha256::digest(text.as_bytes()).into(),
            prefix: "cri_wkr".into(),
            scope,
            created_at: now(),
            created_by: "test".into(),
            expires_at,
            last_used_at: None,
        };
        self.store.create_token(&token).await.unwrap();
    }

    /// A job as JSON, with group and name filled in.
    pub(crate) async fn job(&self, name: &str, fields: serde_json::Value) -> Job {
        let mut spec = serde_json::json!({ "group": self.group.to_string(), "name": name, "handler": "h" });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let spec: JobSpec = serde_json::from_value(spec).unwrap();
        let id = self.store.next_job_id().await.unwrap();
        let shards = self.store.shards_of_group(self.group).await.unwrap().len() as u16;
        let shard = ShardId::of_job(self.group, id, shards);
        let at = now();
        let job = Job {
            id,
            version: JobVersion::new(1),
            shard_index: shard.index(),
            spec,
            effective_from: at,
            created_at: at,
            updated_at: at,
            updated_by: "test".into(),
        };
        loop {
            let row = self.store.shard(shard).await.unwrap().unwrap();
            let edit = JobEdit {
                shard,
                seen_jobs_version: row.jobs_version,
                seen_planned_until: row.planned_until,
                change: JobChange::Create(job.clone()),
                at: row.planned_until.max(at),
                cancel_reason: Reason::new(ReasonCode::Edited, "edited"),
                runs: Vec::new(),
            };
            match self.store.edit_job(&edit).await.unwrap() {
                EditOutcome::Edited { .. } => return job,
                EditOutcome::ShardChanged => {}
                EditOutcome::VersionChanged(_) => panic!("a new job has no other version"),
            }
        }
    }

    pub(crate) async fn server(&self, id: &str, room: &str) -> TestServer {
        self.server_with(id, room, |_| {}).await
    }

    pub(crate) async fn server_with(
        &self,
        id: &str,
        room: &str,
        change: impl FnOnce(&mut ServerConfig),
    ) -> TestServer {
        let mut config = ServerConfig::new(id.parse().unwrap(), 101, 1, room);
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let session = Arc::new(Embedded::new(&self.registry));
        self.sessions.lock().unwrap().insert(id.to_owned(), Arc::downgrade(&session));
        let coordination: Arc<dyn Coordination> = session;
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(carillon_server::serve(
            config,
            self.store.clone(),
            coordination,
            listener,
            Clock::system(),
            shutdown.clone(),
        ));
        TestServer { address, shutdown, task }
    }

    /// A server's handle on the coordinator: while somebody has it, its session outlives the server.
    pub(crate) fn session(&self, id: &str) -> Arc<Embedded> {
        self.sessions.lock().unwrap()[id].upgrade().expect("the server lives")
    }

    pub(crate) fn shard(&self, index: u16) -> ShardId {
        ShardId::new(self.group, index)
    }

    pub(crate) async fn runs(&self) -> Vec<Run> {
        self.store.list_runs(&RunFilter::default(), None, 1_000).await.unwrap()
    }

    pub(crate) async fn owner(&self, index: u16) -> Option<String> {
        self.store.shard(self.shard(index)).await.unwrap().unwrap().owner.map(|owner| owner.to_string())
    }
}

impl TestServer {
    pub(crate) async fn control(&self) -> ControlClient<Channel> {
        let address = format!("http://{}", self.address);
        eventually("the server answers", || async { ControlClient::connect(address.clone()).await.ok() })
            .await
    }

    /// As kill -9: everything of it stops where it is.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(6), self.task)
            .await
            .expect("it stops in time")
            .unwrap()
            .unwrap();
    }

    /// How it ended by itself.
    pub(crate) async fn ended(self) -> ServerError {
        tokio::time::timeout(Duration::from_secs(6), self.task).await.expect("it ends").unwrap().unwrap_err()
    }
}

pub(crate) fn run_ref(key: RunKey) -> RunRef {
    RunRef { fire_time_ms: key.fire_time.as_millis(), job: key.job.get(), ordinal: key.ordinal }
}

pub(crate) fn run_key(run: RunRef) -> RunKey {
    RunKey {
        fire_time: Timestamp::from_millis(run.fire_time_ms),
        job: JobId::new(run.job),
        ordinal: run.ordinal,
    }
}

/// A stream to a gateway, as bare messages.
pub(crate) struct Wire {
    pub(crate) sender: mpsc::Sender<WorkerMessage>,
    pub(crate) messages: Streaming<ServerMessage>,
}

impl Wire {
    /// Opens a stream with `first` as its first message.
    pub(crate) async fn open(address: SocketAddr, first: FromWorker) -> Result<Self, Status> {
        let url = format!("http://{address}");
        let mut client = eventually("the server answers", || async {
            WorkerGatewayClient::connect(url.clone()).await.ok()
        })
        .await;
        let (sender, receiver) = mpsc::channel(256);
        sender.send(WorkerMessage { message: Some(first) }).await.unwrap();
        let messages = client.open(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Self { sender, messages })
    }

    pub(crate) async fn say(&self, message: FromWorker) {
        let _ = self.sender.send(WorkerMessage { message: Some(message) }).await;
    }

    /// The next message; the status the stream ended with.
    pub(crate) async fn hear(&mut self) -> Result<ToWorker, Status> {
        let message = tokio::time::timeout(Duration::from_secs(10), self.messages.message())
            .await
            .expect("a word within 10 s")?;
        Ok(message.and_then(|message| message.message).expect("a message"))
    }

    /// Reads until the stream ends, and gives the status.
    pub(crate) async fn end(mut self) -> Status {
        loop {
            match tokio::time::timeout(Duration::from_secs(10), self.messages.message())
                .await
                .expect("an end within 10 s")
            {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok("ended"),
                Err(status) => return status,
            }
        }
    }
}

pub(crate) fn hello(group: GroupId, incarnation: u64) -> Hello {
    Hello {
        group: group.to_string(),
        token: TOKEN.into(),
        incarnation,
        name: format!("worker-{incarnation}"),
        handlers: vec![Handler {
            name: "h".into(),
            parallel: false,
            reduce: false,
            concurrency: 16,
            queue: 100,
        }],
        labels: Default::default(),
        room: "a".into(),
        sdk_version: "test".into(),
        held: Vec::new(),
    }
}

/// What a worker has seen and done.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) arms: Vec<(Arm, Timestamp)>,
    /// Handler starts, by run and attempt: more than one is a doubled start.
    pub(crate) starts: BTreeMap<(RunKey, u32), u32>,
    pub(crate) started_at: BTreeMap<(RunKey, u32), Timestamp>,
    pub(crate) disarmed: BTreeSet<(RunKey, u32)>,
    pub(crate) acked: BTreeSet<u64>,
    pub(crate) go_away: bool,
}

struct Inner {
    seen: Seen,
    /// Reports that nobody has acknowledged.
    spool: BTreeMap<u64, Report>,
    next_seq: u64,
    held: BTreeMap<(RunKey, u32), HeldRun>,
    /// Attempts up to this number fail.
    fail_up_to: u32,
    /// What became of attempts that have ended.
    ended: BTreeMap<(RunKey, u32), (Report, ReportKind)>,
}

/// A worker that keeps the protocol: first Arm wins, starts at T, reports until acknowledged, connects again.
#[derive(Clone)]
pub(crate) struct TestWorker {
    pub(crate) incarnation: u64,
    group: GroupId,
    takes: Duration,
    inner: Arc<Mutex<Inner>>,
    wake: Arc<tokio::sync::Notify>,
    cuts: Arc<Mutex<BTreeSet<SocketAddr>>>,
    stop: CancellationToken,
    leave: CancellationToken,
}

impl TestWorker {
    /// Connects to every address and stays connected. Each run takes `takes`.
    pub(crate) fn start(group: GroupId, incarnation: u64, addresses: &[SocketAddr], takes: Duration) -> Self {
        let inner = Inner {
            seen: Seen::default(),
            spool: BTreeMap::new(),
            next_seq: 1,
            held: BTreeMap::new(),
            fail_up_to: 0,
            ended: BTreeMap::new(),
        };
        let worker = Self {
            incarnation,
            group,
            takes,
            inner: Arc::new(Mutex::new(inner)),
            wake: Arc::default(),
            cuts: Arc::default(),
            stop: CancellationToken::new(),
            leave: CancellationToken::new(),
        };
        for address in addresses {
            tokio::spawn(worker.clone().stay_connected(*address));
        }
        worker
    }

    pub(crate) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.inner.lock().unwrap().seen)
    }

    /// Connects to one more server.
    pub(crate) fn connect(&self, address: SocketAddr) {
        tokio::spawn(self.clone().stay_connected(address));
    }

    /// Says that it leaves, on every stream.
    pub(crate) fn leave(&self) {
        self.leave.cancel();
    }

    /// Attempts up to this number fail from now on.
    pub(crate) fn fail_up_to(&self, attempt: u32) {
        self.inner.lock().unwrap().fail_up_to = attempt;
    }

    /// Loses its stream to a server, and finds no way to it any longer.
    pub(crate) fn cut(&self, address: SocketAddr) {
        self.cuts.lock().unwrap().insert(address);
    }

    fn is_cut(&self, address: SocketAddr) -> bool {
        self.cuts.lock().unwrap().contains(&address)
    }

    /// As kill -9.
    pub(crate) fn kill(&self) {
        self.stop.cancel();
    }

    async fn stay_connected(self, address: SocketAddr) {
        while !self.stop.is_cancelled() {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = self.session(address) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn session(&self, address: SocketAddr) -> Result<(), Status> {
        if self.is_cut(address) {
            return Ok(());
        }
        let held = self.inner.lock().unwrap().held.values().copied().collect();
        let first = FromWorker::Hello(Hello { held, ..hello(self.group, self.incarnation) });
        let url = format!("http://{address}");
        let mut client = WorkerGatewayClient::connect(url).await.map_err(|_| Status::unavailable("down"))?;
        let (sender, receiver) = mpsc::channel(256);
        sender.send(WorkerMessage { message: Some(first) }).await.unwrap();
        let mut messages = client.open(ReceiverStream::new(receiver)).await?.into_inner();
        let mut said = BTreeSet::new();
        let mut left = false;
        let mut again = tokio::time::interval(Duration::from_millis(20));
        let mut repeat = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = again.tick() => {
                    if self.is_cut(address) {
                        return Ok(());
                    }
                }
                _ = repeat.tick() => said.clear(),
                () = self.wake.notified() => {}
                () = self.leave.cancelled(), if !left => {
                    left = true;
                    let held = self.inner.lock().unwrap().held.values().copied().collect();
                    let leave = FromWorker::Leave(Leave { held });
                    let _ = sender.send(WorkerMessage { message: Some(leave) }).await;
                }
                message = messages.message() => match message? {
                    Some(ServerMessage { message: Some(message) }) => self.take(message),
                    _ => return Ok(()),
                }
            }
            let reports: Vec<Report> = {
                let inner = self.inner.lock().unwrap();
                inner
                    .spool
                    .iter()
                    .filter(|(seq, _)| !said.contains(*seq))
                    .map(|(_, report)| report.clone())
                    .collect()
            };
            if !reports.is_empty() {
                said.extend(reports.iter().map(|report| report.seq));
                let batch = FromWorker::Reports(ReportBatch { reports });
                if sender.send(WorkerMessage { message: Some(batch) }).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    fn take(&self, message: ToWorker) {
        match message {
            ToWorker::Arms(batch) => batch.arms.into_iter().for_each(|arm| self.arm(arm)),
            ToWorker::Disarms(batch) => {
                for disarm in batch.disarms {
                    let key = run_key(disarm.run.unwrap());
                    let mut inner = self.inner.lock().unwrap();
                    let started = inner.seen.starts.contains_key(&(key, disarm.attempt));
                    if !started && inner.seen.disarmed.insert((key, disarm.attempt)) {
                        inner.held.remove(&(key, disarm.attempt));
                        let report = Report {
                            run: disarm.run,
                            attempt: disarm.attempt,
                            plan_no: disarm.plan_no,
                            shard: disarm.shard,
                            ..Report::default()
                        };
                        inner.report(report, ReportKind::Disarmed);
                    }
                }
            }
            ToWorker::ReportAck(ack) => {
                let mut inner = self.inner.lock().unwrap();
                for seq in ack.seqs {
                    inner.spool.remove(&seq);
                    inner.seen.acked.insert(seq);
                }
            }
            ToWorker::GoAway(_) => self.inner.lock().unwrap().seen.go_away = true,
            _ => {}
        }
    }

    fn arm(&self, arm: Arm) {
        let key = run_key(arm.run.unwrap());
        let id = (key, arm.attempt);
        let report = Report {
            run: arm.run,
            attempt: arm.attempt,
            plan_no: arm.plan_no,
            shard: arm.shard,
            ..Report::default()
        };
        {
            let mut inner = self.inner.lock().unwrap();
            inner.seen.arms.push((arm.clone(), now()));
            if arm.incarnation != self.incarnation || inner.seen.disarmed.contains(&id) {
                return;
            }
            if inner.held.contains_key(&id) || inner.seen.starts.contains_key(&id) {
                // An Arm that comes again is answered with what became of the run.
                if let Some((ended, kind)) = inner.ended.get(&id).cloned() {
                    inner.report(ended, kind);
                }
                return;
            }
            let held = HeldRun { run: arm.run, attempt: arm.attempt, plan_no: arm.plan_no, started: false };
            inner.held.insert(id, held);
            inner.report(report.clone(), ReportKind::Armed);
        }
        self.wake.notify_waiters();
        let worker = self.clone();
        tokio::spawn(async move {
            let due = Timestamp::from_millis(arm.due_ms);
            tokio::time::sleep(Clock::system().until(due)).await;
            let started = now();
            {
                let mut inner = worker.inner.lock().unwrap();
                if worker.stop.is_cancelled() || inner.held.remove(&id).is_none() {
                    return;
                }
                *inner.seen.starts.entry(id).or_default() += 1;
                inner.seen.started_at.insert(id, started);
                inner.report(report.clone(), ReportKind::Started);
            }
            worker.wake.notify_waiters();
            tokio::time::sleep(worker.takes).await;
            if worker.stop.is_cancelled() {
                return;
            }
            let ended = Report { started_ms: started.as_millis(), ..report };
            {
                let mut inner = worker.inner.lock().unwrap();
                let (ended, kind) = if arm.attempt <= inner.fail_up_to {
                    (Report { error: "boom".into(), ..ended }, ReportKind::Failed)
                } else {
                    let result = bytes::Bytes::from_static(b"\"done\"");
                    (Report { result, ..ended }, ReportKind::Succeeded)
                };
                inner.ended.insert(id, (ended.clone(), kind));
                inner.report(ended, kind);
            }
            worker.wake.notify_waiters();
        });
    }
}

impl Inner {
    fn report(&mut self, report: Report, kind: ReportKind) {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.spool.insert(seq, Report { seq, kind: kind.into(), at_ms: now().as_millis(), ..report });
    }
}
