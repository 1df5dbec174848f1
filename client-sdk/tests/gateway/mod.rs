//! A server as a worker sees it: takes streams, answers what it is told to, remembers what it was sent.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "a part of several test programs, each of which uses some of it"
)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use carillon_client::{CancellationToken, Worker};
use carillon_proto::v1::server_message::Message as ToWorker;
use carillon_proto::v1::worker_gateway_server::{WorkerGateway, WorkerGatewayServer};
use carillon_proto::v1::worker_message::Message as FromWorker;
use carillon_proto::v1::{self, ReportKind};
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

/// Every wait of these tests ends by then; a healthy one takes milliseconds.
pub const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Seen {
    pub hellos: Vec<v1::Hello>,
    pub reports: Vec<v1::Report>,
    pub logs: Vec<v1::LogChunk>,
    pub emits: Vec<v1::Emit>,
    pub credits: HashMap<String, u32>,
    pub results: Vec<v1::SubtaskResults>,
    pub reduce_credits: Vec<v1::ReduceCredit>,
    pub progress: Vec<v1::Progress>,
    pub leaves: Vec<v1::Leave>,
    pub held: Vec<v1::SubtasksHeld>,
    pub ended_streams: usize,
}

impl Seen {
    pub fn kinds(&self, run: v1::RunRef) -> Vec<ReportKind> {
        let mut seqs = Vec::new();
        let of_run = self.reports.iter().filter(|report| report.run == Some(run));
        of_run
            .filter(|report| {
                let new = !seqs.contains(&report.seq);
                seqs.push(report.seq);
                new
            })
            .map(v1::Report::kind)
            .collect()
    }

    pub fn last(&self, run: v1::RunRef, kind: ReportKind) -> Option<&v1::Report> {
        self.reports.iter().rev().find(|report| report.run == Some(run) && report.kind() == kind)
    }

    pub fn log_of(&self, run: v1::RunRef) -> String {
        let mut chunks: Vec<_> = self.logs.iter().filter(|chunk| chunk.run == Some(run)).collect();
        chunks.sort_by_key(|chunk| chunk.chunk_no);
        chunks.dedup_by_key(|chunk| chunk.chunk_no);
        chunks.iter().map(|chunk| String::from_utf8_lossy(&chunk.text).into_owned()).collect()
    }
}

struct State {
    seen: Mutex<Seen>,
    changed: Notify,
    streams: Mutex<Vec<mpsc::UnboundedSender<Result<v1::ServerMessage, Status>>>>,
    acknowledge: AtomicBool,
}

pub struct Gateway {
    pub address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Service(Arc<State>);

impl Gateway {
    pub async fn start() -> Self {
        let state = Arc::new(State {
            seen: Mutex::default(),
            changed: Notify::new(),
            streams: Mutex::default(),
            acknowledge: AtomicBool::new(true),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = WorkerGatewayServer::new(Service(Arc::clone(&state)));
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, state, server }
    }

    /// Whether reports, logs and results are acknowledged.
    pub fn acknowledge(&self, yes: bool) {
        self.state.acknowledge.store(yes, Ordering::Relaxed);
    }

    pub fn send(&self, message: ToWorker) {
        for stream in self.state.streams.lock().unwrap().iter() {
            let _ = stream.send(Ok(v1::ServerMessage { message: Some(message.clone()) }));
        }
    }

    /// Ends every stream; workers come back by themselves.
    pub fn hang_up(&self) {
        for stream in self.state.streams.lock().unwrap().drain(..) {
            let _ = stream.send(Err(Status::unavailable("hanging up")));
        }
    }

    pub fn arm(&self, arm: v1::Arm) {
        self.send(ToWorker::Arms(v1::ArmBatch { arms: vec![arm] }));
    }

    pub fn look<T>(&self, see: impl FnOnce(&Seen) -> T) -> T {
        see(&self.state.seen.lock().unwrap())
    }

    /// Waits until something was seen.
    pub async fn until<T>(&self, what: &str, mut see: impl FnMut(&mut Seen) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let changed = self.state.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(found) = see(&mut self.state.seen.lock().unwrap()) {
                    return found;
                }
                changed.await;
            }
        };
        match tokio::time::timeout(DEADLINE, waiting).await {
            Ok(found) => found,
            Err(_) => {
                panic!("not within {DEADLINE:?}: {what}; seen {:?}", self.look(|seen| seen.reports.clone()))
            }
        }
    }

    pub async fn until_report(&self, run: v1::RunRef, kind: ReportKind) -> v1::Report {
        self.until(&format!("{kind:?} of {run:?}"), |seen| seen.last(run, kind).cloned()).await
    }

    pub async fn until_connected(&self) -> v1::Hello {
        self.until("a worker", |seen| seen.hellos.last().cloned()).await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tonic::async_trait]
impl WorkerGateway for Service {
    type OpenStream = UnboundedReceiverStream<Result<v1::ServerMessage, Status>>;

    async fn open(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let mut incoming = request.into_inner();
        let (sender, receiver) = mpsc::unbounded_channel();
        let state = Arc::clone(&self.0);
        tokio::spawn(async move {
            while let Some(Ok(message)) = incoming.next().await {
                let Some(message) = message.message else { continue };
                state.take(message, &sender);
                state.changed.notify_waiters();
            }
            state.seen.lock().unwrap().ended_streams += 1;
            state.changed.notify_waiters();
        });
        Ok(Response::new(UnboundedReceiverStream::new(receiver)))
    }
}

impl State {
    fn take(&self, message: FromWorker, sender: &mpsc::UnboundedSender<Result<v1::ServerMessage, Status>>) {
        let answer = |message| {
            let _ = sender.send(Ok(v1::ServerMessage { message: Some(message) }));
        };
        let acknowledge = self.acknowledge.load(Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap();
        match message {
            FromWorker::Hello(hello) => {
                let (server, server_time_ms) = ("server-1".to_owned(), now_ms());
                answer(ToWorker::Welcome(v1::Welcome {
                    server,
                    server_time_ms,
                    shards: vec![0],
                    report_interval_ms: 20,
                    log_limit: 0,
                }));
                self.streams.lock().unwrap().push(sender.clone());
                seen.hellos.push(hello);
            }
            FromWorker::Reports(batch) => {
                let seqs = batch.reports.iter().map(|report| report.seq).collect();
                seen.reports.extend(batch.reports);
                if acknowledge {
                    answer(ToWorker::ReportAck(v1::ReportAck { seqs }));
                }
            }
            FromWorker::Logs(batch) => {
                let seqs = batch.chunks.iter().map(|chunk| chunk.seq).collect();
                seen.logs.extend(batch.chunks);
                if acknowledge {
                    answer(ToWorker::LogAck(v1::LogAck { seqs }));
                }
            }
            FromWorker::Emit(emit) => {
                if acknowledge {
                    let (run, attempt, batch_no) = (emit.run, emit.attempt, emit.batch_no);
                    answer(ToWorker::EmitAck(v1::EmitAck { run, attempt, batch_no, error: String::new() }));
                }
                seen.emits.push(emit);
            }
            FromWorker::Credit(credit) => {
                seen.credits.insert(credit.handler, credit.free);
            }
            FromWorker::Results(results) => {
                if acknowledge {
                    answer(ToWorker::ResultsAck(v1::ResultsAck { seqs: vec![results.seq] }));
                }
                seen.results.push(results);
            }
            FromWorker::ReduceCredit(credit) => seen.reduce_credits.push(credit),
            FromWorker::TimeProbe(probe) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
                let (server_time_ms, server_time_us) =
                    (now.as_millis() as i64, (now.as_micros() % 1_000) as u32);
                answer(ToWorker::TimeAnswer(v1::TimeAnswer { id: probe.id, server_time_ms, server_time_us }));
            }
            FromWorker::Leave(leave) => {
                seen.leaves.push(leave);
                answer(ToWorker::LeaveAck(v1::LeaveAck {}));
            }
            FromWorker::SubtasksHeld(held) => seen.held.push(held),
            FromWorker::Progress(progress) => seen.progress.push(progress),
        }
    }
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A running worker, drained at the end of the test.
pub struct Running {
    pub stop: CancellationToken,
    pub served: JoinHandle<Result<(), carillon_client::Error>>,
}

impl Running {
    pub async fn drain(self) {
        self.stop.cancel();
        tokio::time::timeout(DEADLINE, self.served).await.expect("a drain ends").unwrap().unwrap();
    }
}

pub fn worker(gateways: &[&Gateway]) -> Worker {
    Worker::builder()
        .servers(gateways.iter().map(|gateway| gateway.address.to_string()))
        .group("101-1-2-6601")
        .token("cri_wkr_test")
        .name("test")
}

pub fn run(worker: Worker) -> Running {
    let stop = CancellationToken::new();
    let served = tokio::spawn(worker.serve_until(stop.clone()));
    Running { stop, served }
}

/// An Arm of job 1, due now, for the worker that said this Hello.
pub fn arm(hello: &v1::Hello, handler: &str, params: &str) -> v1::Arm {
    let now = now_ms();
    let run = v1::RunRef { fire_time_ms: now, job: 1, ordinal: 0 };
    v1::Arm {
        run: Some(run),
        attempt: 1,
        plan_no: 1,
        job_version: 1,
        incarnation: hello.incarnation,
        due_ms: now,
        start_by_ms: now + 60_000,
        handler: handler.to_owned(),
        params: params.to_owned().into(),
        trace_id: vec![7; 16].into(),
        epoch: 3,
        overlap: v1::Overlap::Queue.into(),
        kind: v1::RunKind::Simple.into(),
        job_name: "job one".to_owned(),
        description: "simple task test".to_owned(),
        max_attempts: 3,
        ..v1::Arm::default()
    }
}
