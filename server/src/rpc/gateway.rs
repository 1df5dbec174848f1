//! The worker gateway: one stream a worker. It checks what workers say, passes it on to shards, maps and logs, and writes what they are
//! told. It decides nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use carillon_core::engine::Report;
use carillon_core::ids::{GroupId, MAX_SHARDS, ServerId, ShardId};
use carillon_core::network::{Network, room_of};
use carillon_proto::v1::worker_gateway_server::WorkerGateway;
use carillon_proto::v1::{
    self, LeaveAck, ServerMessage, TimeAnswer, Welcome, WorkerMessage, server_message::Message as ToWorker,
    worker_message::Message as FromWorker,
};
use carillon_store::logs::LogChunk;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use super::WorkerTokens;
use super::convert::{self, BadField, Introduction};
use crate::clock::Clock;
use crate::events::Events;
use crate::logs::{Incoming, Logs};
use crate::map::{self, MapHub};
use crate::peers::Peers;
use crate::shard_loop::WorkerEvent;
use crate::switchboard::{OUTGOING_MESSAGES, Outgoing, Switchboard, WorkerLink};

/// How long a new stream may take to introduce itself.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);

/// Reports in one batch; a worker that gathers more splits them.
const MAX_REPORTS: usize = 20_000;

/// Log chunks in one batch.
const MAX_CHUNKS: usize = 1_000;

/// Bytes of one log chunk.
const MAX_CHUNK_BYTES: usize = 256 * 1024;

/// The largest message taken from a worker: a batch of reports with results, or of subtasks.
pub(crate) const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// What all streams share.
pub(crate) struct Gateway {
    pub(crate) server: String,
    pub(crate) report_interval: Duration,
    pub(crate) log_limit: u64,
    /// Where workers stand that do not say it.
    pub(crate) rooms: Vec<(Network, String)>,
    pub(crate) clock: Clock,
    pub(crate) tokens: WorkerTokens,
    pub(crate) switchboard: Arc<Switchboard>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) maps: Arc<MapHub>,
    pub(crate) logs: Logs,
    pub(crate) events: Arc<Events>,
    /// Cancelled when no new streams are taken.
    pub(crate) closing: CancellationToken,
    /// Cancelled when the server has ended, however it did.
    pub(crate) ended: CancellationToken,
}

/// The gRPC service.
#[derive(Clone)]
pub(crate) struct GatewayService(pub(crate) Arc<Gateway>);

#[tonic::async_trait]
impl WorkerGateway for GatewayService {
    type OpenStream = Pin<Box<dyn Stream<Item = Result<ServerMessage, Status>> + Send>>;

    async fn open(
        &self,
        request: Request<Streaming<WorkerMessage>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let gateway = &self.0;
        if gateway.closing.is_cancelled() {
            return Err(Status::unavailable(
                "the server is shutting down; look for the other holders of the task group",
            ));
        }
        let remote = request.remote_addr();
        let address = remote.map(|address| address.to_string()).unwrap_or_default();
        let mut messages = request.into_inner();
        let hello = tokio::time::timeout(HELLO_PATIENCE, messages.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no hello within 10 s"))??
            .and_then(|first| first.message);
        let Some(FromWorker::Hello(mut hello)) = hello else {
            return Err(BadField::new("message", "the first message of a stream must be hello").into());
        };
        if let Some(remote) = remote.filter(|_| hello.room.is_empty()) {
            // Peers are told of it as if the worker had said it.
            hello.room = room_of(&gateway.rooms, remote.ip()).unwrap_or_default().to_owned();
        }
        let introduction = convert::introduction(&hello)?;
        gateway.tokens.check(&hello.token, introduction.group).await?;
        let (outgoing, stream) = mpsc::channel(OUTGOING_MESSAGES);
        let session = Session::new(gateway, introduction, hello, address, None, outgoing);
        // The task ends with the stream: when the worker closes it, when its connection dies, or when `close` is cancelled.
        tokio::spawn(session.run(messages));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

impl Gateway {
    /// Serves a worker that a peer reaches, until its messages end or a stream of its own takes this one's place.
    pub(crate) async fn relayed(
        self: &Arc<Self>,
        hello: v1::Hello,
        via: ServerId,
        outgoing: Outgoing,
        messages: impl Stream<Item = Result<WorkerMessage, Status>> + Unpin + Send,
    ) {
        let introduction = match convert::introduction(&hello) {
            Ok(introduction) => introduction,
            Err(error) => {
                return tracing::warn!(peer = %via, %error, "a peer introduces a worker wrongly");
            }
        };
        let address = format!("by way of {via}");
        Session::new(self, introduction, hello, address, Some(via), outgoing).run(messages).await;
    }
}

/// One worker's stream.
struct Session {
    gateway: Arc<Gateway>,
    link: WorkerLink,
}

impl Session {
    fn new(
        gateway: &Arc<Gateway>,
        introduction: Introduction,
        hello: v1::Hello,
        address: String,
        via: Option<ServerId>,
        outgoing: Outgoing,
    ) -> Self {
        let Introduction { group, info } = introduction;
        let link = WorkerLink {
            number: 0,
            group,
            info: Arc::new(info),
            sdk_version: hello.sdk_version,
            handlers: hello.handlers.into(),
            address,
            connected_at: gateway.clock.now(),
            outgoing,
            close: gateway.ended.child_token(),
            progress: Arc::default(),
            via,
            taps: Arc::default(),
        };
        Self { gateway: gateway.clone(), link }
    }

    async fn run(mut self, mut messages: impl Stream<Item = Result<WorkerMessage, Status>> + Unpin + Send) {
        let incarnation = self.link.info.incarnation;
        let group = self.link.group;
        self.welcome().await;
        let Some((number, shards)) = self.gateway.switchboard.join(self.link.clone()) else { return };
        self.link.number = number;
        let own = self.link.via.is_none();
        if own {
            self.gateway.peers.worker_here(&self.link);
        }
        let peer = map::Peer::new(group, self.link.info.clone(), self.link.handlers.clone());
        self.gateway.maps.worker_joined(peer);
        for shard in &shards {
            shard.worker(WorkerEvent::Joined(self.link.info.clone())).await;
        }
        tracing::info!(worker = %self.link.info.name, %incarnation, group = %group, address = %self.link.address, handlers = self.link.handlers.len(), held = self.link.info.held.len(), "worker connected");
        self.gateway.events.changed("workers", group.to_string(), Some(group));
        let end = self.listen(&mut messages).await;
        let left = matches!(end, End::Left);
        match end {
            End::Bad(bad) => {
                tracing::warn!(worker = %self.link.info.name, %incarnation, group = %group, error = %bad, "the worker sent something wrong, so its stream is ended");
                self.refuse(bad.into()).await;
            }
            End::Closed => {
                self.refuse(Status::aborted("this stream is replaced, or the worker did not read it")).await
            }
            End::Gone | End::Left => {}
        }
        if let Some(shards) = self.gateway.switchboard.part(incarnation, number) {
            self.gateway.maps.worker_parted(incarnation);
            if own {
                self.gateway.peers.worker_gone(incarnation);
            }
            for shard in shards {
                shard.worker(WorkerEvent::Disconnected(incarnation)).await;
            }
            tracing::info!(worker = %self.link.info.name, %incarnation, group = %group, left, "worker disconnected");
            self.gateway.events.changed("workers", group.to_string(), Some(group));
        }
    }

    async fn welcome(&self) {
        let shards = self.gateway.switchboard.shards_of(self.link.group);
        let welcome = Welcome {
            server: self.gateway.server.clone(),
            server_time_ms: self.gateway.clock.now().as_millis(),
            shards: shards.iter().map(|shard| u32::from(shard.id().index())).collect(),
            report_interval_ms: self.gateway.report_interval.as_millis() as u32,
            log_limit: self.gateway.log_limit,
        };
        self.say(ToWorker::Welcome(welcome)).await;
    }

    /// Queues a message of this session's own. Where the queue is full it waits: the worker hears nothing either way.
    async fn say(&self, message: ToWorker) {
        let message = ServerMessage { message: Some(message) };
        tokio::select! {
            // A closed stream is noticed by the reader.
            _ = self.link.outgoing.send(Ok(message)) => {}
            () = self.link.close.cancelled() => {}
        }
    }

    async fn refuse(&self, status: Status) {
        // The last word; a worker that does not read will miss it.
        let _ = tokio::time::timeout(Duration::from_millis(500), self.link.outgoing.send(Err(status))).await;
    }

    async fn listen(
        &self,
        messages: &mut (impl Stream<Item = Result<WorkerMessage, Status>> + Unpin + Send),
    ) -> End {
        let mut left = false;
        loop {
            let message = tokio::select! {
                biased;
                () = self.link.close.cancelled() => return End::Closed,
                message = messages.next() => message,
            };
            match message {
                None => return if left { End::Left } else { End::Gone },
                Some(Err(status)) => {
                    tracing::debug!(worker = %self.link.info.name, status = %status, "the worker's stream broke");
                    // What could not even be read as a message was wrong; everything else is a connection that is no more.
                    return match status.code() {
                        Code::OutOfRange
                        | Code::ResourceExhausted
                        | Code::Internal
                        | Code::InvalidArgument => End::Bad(BadField::new("message", status.message())),
                        _ if left => End::Left,
                        _ => End::Gone,
                    };
                }
                Some(Ok(WorkerMessage { message: None })) => {
                    // A message of a later version: what it cannot do without, it will see.
                }
                Some(Ok(WorkerMessage { message: Some(message) })) => {
                    left |= matches!(message, FromWorker::Leave(_));
                    if let Err(bad) = self.take(message).await {
                        return End::Bad(bad);
                    }
                }
            }
        }
    }

    /// Lets peers hear what the worker has no stream to tell them.
    fn pass_on(&self, message: &FromWorker) {
        let concerns_all = matches!(
            message,
            FromWorker::Reports(_)
                | FromWorker::Leave(_)
                | FromWorker::Emit(_)
                | FromWorker::Credit(_)
                | FromWorker::Results(_)
                | FromWorker::SubtasksHeld(_)
                | FromWorker::ReduceCredit(_)
        );
        if !concerns_all {
            return;
        }
        for peer in self.link.tapped_by() {
            let message = WorkerMessage { message: Some(message.clone()) };
            if !self.gateway.peers.relay_up(&peer, self.link.info.incarnation, message) {
                self.link.untap(&peer);
            }
        }
    }

    async fn take(&self, message: FromWorker) -> Result<(), BadField> {
        self.pass_on(&message);
        let from = map::From { incarnation: self.link.info.incarnation, group: self.link.group };
        let maps = &self.gateway.maps;
        match message {
            FromWorker::Hello(_) => {
                return Err(BadField::new(
                    "message",
                    "a second hello; a worker introduces itself once a stream",
                ));
            }
            FromWorker::Reports(batch) => self.reports(batch.reports).await?,
            FromWorker::Logs(batch) => self.logs(batch.chunks)?,
            FromWorker::Emit(emit) => maps.emit(from, emit)?,
            FromWorker::Credit(credit) => maps.credit(from, credit)?,
            FromWorker::Results(results) => maps.results(from, results)?,
            FromWorker::SubtasksHeld(held) => maps.held(from, held)?,
            FromWorker::ReduceCredit(credit) => maps.reduce_credit(from, credit)?,
            FromWorker::TimeProbe(probe) => {
                let (now, micros) = self.gateway.clock.now_micros();
                let answer =
                    TimeAnswer { id: probe.id, server_time_ms: now.as_millis(), server_time_us: micros };
                self.say(ToWorker::TimeAnswer(answer)).await;
            }
            FromWorker::Leave(leave) => self.leave(&leave).await?,
            FromWorker::Progress(progress) => {
                // For observers; nothing is stored, and no page shows it yet.
                convert::run_key("progress.run", progress.run)?;
            }
        }
        Ok(())
    }

    /// Sorts reports by shard, each shard's in their order.
    async fn reports(&self, reports: Vec<v1::Report>) -> Result<(), BadField> {
        if reports.len() > MAX_REPORTS {
            let problem = format!("{} reports; at most {MAX_REPORTS} are taken in one batch", reports.len());
            return Err(BadField::new("reports", problem));
        }
        let from = map::From { incarnation: self.link.info.incarnation, group: self.link.group };
        let mut by_shard: Vec<(ShardId, Vec<Report>)> = Vec::new();
        let mut for_maps = Vec::new();
        {
            let mut progress = self.link.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for report in reports {
                let shard = shard_of(self.link.group, report.shard)?;
                if report.run_kind == v1::RunKind::Reduce as i32 {
                    for_maps.push(report);
                    continue;
                }
                let report = convert::report(report)?;
                note(&mut progress, &report);
                match by_shard.iter_mut().find(|(known, _)| *known == shard) {
                    Some((_, reports)) => reports.push(report),
                    None => by_shard.push((shard, vec![report])),
                }
            }
        }
        for report in for_maps {
            self.gateway.maps.reduce_report(from, report)?;
        }
        for (shard, reports) in by_shard {
            // A shard that is not held here has its owner elsewhere, which acknowledges.
            if let Some(handle) = self.gateway.switchboard.shard(shard) {
                handle.worker(WorkerEvent::Reports(from.incarnation, reports)).await;
            }
        }
        Ok(())
    }

    fn logs(&self, chunks: Vec<v1::LogChunk>) -> Result<(), BadField> {
        if chunks.len() > MAX_CHUNKS {
            let problem = format!("{} chunks; at most {MAX_CHUNKS} are taken in one batch", chunks.len());
            return Err(BadField::new("logs", problem));
        }
        for chunk in chunks {
            if chunk.text.len() > MAX_CHUNK_BYTES {
                let problem = format!("{} bytes; a chunk has at most {MAX_CHUNK_BYTES}", chunk.text.len());
                return Err(BadField::new("logs.text", problem));
            }
            let text = match String::from_utf8(chunk.text.to_vec()) {
                Ok(text) => text,
                Err(wrong) => String::from_utf8_lossy(wrong.as_bytes()).into_owned(),
            };
            let incoming = Incoming {
                from: self.link.info.incarnation,
                group: self.link.group,
                seq: chunk.seq,
                shared: chunk.shared.then(|| shard_of(self.link.group, chunk.shard)).transpose()?,
                chunk: LogChunk {
                    run: convert::run_key("logs.run", chunk.run)?,
                    attempt: convert::attempt("logs.attempt", chunk.attempt)?,
                    chunk_no: chunk.chunk_no,
                    offset: chunk.offset,
                    text,
                },
            };
            self.gateway.logs.take(incoming);
        }
        Ok(())
    }

    async fn leave(&self, leave: &v1::Leave) -> Result<(), BadField> {
        let held = convert::held_runs("leave.held", &leave.held)?;
        self.link.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner).draining = true;
        for shard in self.gateway.switchboard.shards_of(self.link.group) {
            shard
                .worker(WorkerEvent::Left { incarnation: self.link.info.incarnation, held: held.clone() })
                .await;
        }
        self.gateway.maps.worker_left(self.link.info.incarnation);
        self.say(ToWorker::LeaveAck(LeaveAck {})).await;
        Ok(())
    }
}

/// How a stream ended.
enum End {
    /// The worker closed it, or its connection died.
    Gone,
    /// It said that it leaves, and then closed it.
    Left,
    /// This server closes it.
    Closed,
    /// It said something wrong.
    Bad(BadField),
}

fn shard_of(group: GroupId, index: u32) -> Result<ShardId, BadField> {
    u16::try_from(index)
        .ok()
        .filter(|index| *index < MAX_SHARDS)
        .map(|index| ShardId::new(group, index))
        .ok_or_else(|| {
            BadField::new("report.shard", format!("{index} is no shard; a group has at most {MAX_SHARDS}"))
        })
}

fn note(progress: &mut crate::switchboard::InProgress, report: &Report) {
    use carillon_core::engine::ReportKind;
    match report.kind {
        ReportKind::Started => progress.started(report.key, report.attempt),
        ReportKind::Armed | ReportKind::Queued | ReportKind::Refused(..) | ReportKind::Disarmed => {}
        ReportKind::Succeeded { .. }
        | ReportKind::Failed { .. }
        | ReportKind::TimedOut { .. }
        | ReportKind::Cancelled { .. }
        | ReportKind::Skipped { .. } => progress.ended(report.key, report.attempt),
    }
}
