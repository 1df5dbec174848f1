//! One server: connect, say Hello, pass messages both ways, measure its clock; again after every end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use carillon_proto::v1::server_message::Message as FromServer;
use carillon_proto::v1::worker_gateway_client::WorkerGatewayClient;
use carillon_proto::v1::worker_message::Message as ToServer;
use carillon_proto::v1::{self};
use futures::StreamExt;
use rand::RngExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use super::engine::Event;
use super::links::{LINK_QUEUE, wrap};
use super::spool::LinkId;
use super::{Shared, wire};

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(5);

/// A server that takes longer to accept, or to say Welcome, is treated as away.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);

/// A server answers time probes each second: after five without a word the stream is dead, whatever TCP believes.
const SILENCE: Duration = Duration::from_secs(5);

const PROBE_EVERY: Duration = Duration::from_secs(1);

/// Probes sent at once when a stream opens, so that one has a short round trip.
const FIRST_PROBES: u64 = 5;

/// The largest message taken: an ArmBatch of a thousand runs with the largest params.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("cannot connect")]
    Connect(#[source] tonic::transport::Error),
    #[error("server ended the stream: {0}")]
    Status(#[source] Box<tonic::Status>),
    #[error("server did not {0} within {OPEN_DEADLINE:?}")]
    Slow(&'static str),
    #[error("server closed the stream")]
    Closed,
    #[error("server was silent for {SILENCE:?}")]
    Silent,
    #[error("server's first message is not welcome")]
    NoWelcome,
    #[error("the worker is stopping")]
    Stopping,
}

impl From<tonic::Status> for LinkError {
    fn from(status: tonic::Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// Keeps a stream to `address` until told to stop. Owned by the discovery loop, which waits for it.
pub(super) async fn keep(shared: Arc<Shared>, address: String, stop: CancellationToken) {
    let mut backoff = FIRST_BACKOFF;
    while !stop.is_cancelled() {
        let opened = Instant::now();
        let ended = tokio::select! {
            ended = run(&shared, &address, &stop) => ended,
            () = stop.cancelled() => return,
        };
        match ended {
            Err(LinkError::Stopping) => return,
            Err(LinkError::Status(status)) if refuses(&status) => {
                tracing::error!(target: "carillon", server = address, code = ?status.code(), why = status.message(), "server refuses this worker, trying again");
            }
            Err(error) => {
                tracing::info!(target: "carillon", server = address, error = %chain(&error), "no stream to server, trying again");
            }
            Ok(()) => {}
        }
        // Perhaps the group has moved: the console knows.
        shared.look_again.notify_one();
        if opened.elapsed() > LAST_BACKOFF {
            backoff = FIRST_BACKOFF;
        }
        let jitter = rand::rng().random_range(0.5..1.5);
        tokio::select! {
            () = tokio::time::sleep(backoff.mul_f64(jitter)) => {}
            () = stop.cancelled() => return,
        }
        backoff = (backoff * 2).min(LAST_BACKOFF);
    }
}

/// Whether a person has to mend something: token, group, or what the worker says of itself.
fn refuses(status: &tonic::Status) -> bool {
    use tonic::Code::{InvalidArgument, NotFound, PermissionDenied, Unauthenticated, Unimplemented};
    matches!(status.code(), Unauthenticated | PermissionDenied | InvalidArgument | NotFound | Unimplemented)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

async fn run(shared: &Arc<Shared>, address: &str, stop: &CancellationToken) -> Result<(), LinkError> {
    static NEXT_LINK: AtomicU64 = AtomicU64::new(1);
    let link: LinkId = NEXT_LINK.fetch_add(1, Ordering::Relaxed);

    let uri = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let channel = Endpoint::from_shared(uri)
        .map_err(LinkError::Connect)?
        .connect_timeout(OPEN_DEADLINE)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(SILENCE)
        .keep_alive_timeout(SILENCE)
        .connect()
        .await
        .map_err(LinkError::Connect)?;
    let mut client = WorkerGatewayClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);

    let (sender, queue) = mpsc::channel(LINK_QUEUE);
    let hello = hello(shared).await?;
    let mut probes = Probes::default();
    // The queue was just made and holds far more than these.
    let _ = sender.try_send(wrap(ToServer::Hello(hello)));
    for _ in 0..FIRST_PROBES {
        let _ = sender.try_send(probes.next());
    }

    let opening = client.open(ReceiverStream::new(queue));
    let opened = tokio::time::timeout(OPEN_DEADLINE, opening).await;
    let mut messages = opened.map_err(|_| LinkError::Slow("open the stream"))??.into_inner();
    let first = tokio::time::timeout(OPEN_DEADLINE, messages.next()).await;
    let first = first.map_err(|_| LinkError::Slow("say welcome"))?.ok_or(LinkError::Closed)??;
    let Some(FromServer::Welcome(welcome)) = first.message else { return Err(LinkError::NoWelcome) };
    tracing::info!(target: "carillon", server = welcome.server, address, "connected");
    shared.logs.keep(welcome.log_limit);

    let _up = Up::new(shared, link, sender.clone());
    let interval = Duration::from_millis(u64::from(welcome.report_interval_ms));
    send(shared, Event::Up { link, interval }).await?;

    let mut tick = tokio::time::interval(PROBE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            biased;
            message = messages.next() => {
                let message = message.ok_or(LinkError::Closed)??;
                heard = Instant::now();
                if let Some(message) = message.message {
                    receive(shared, link, message, &mut probes).await?;
                }
            }
            _ = tick.tick() => {
                if heard.elapsed() > SILENCE {
                    return Err(LinkError::Silent);
                }
                let _ = sender.try_send(probes.next());
            }
            () = stop.cancelled() => return Ok(()),
        }
    }
}

async fn hello(shared: &Shared) -> Result<v1::Hello, LinkError> {
    let (reply, held) = oneshot::channel();
    send(shared, Event::HeldWanted { reply }).await?;
    let held = held.await.map_err(|_| LinkError::Stopping)?;
    Ok(v1::Hello { held: wire::held(held), ..shared.hello.clone() })
}

async fn receive(
    shared: &Arc<Shared>,
    link: LinkId,
    message: FromServer,
    probes: &mut Probes,
) -> Result<(), LinkError> {
    match message {
        FromServer::TimeAnswer(answer) => {
            if let Some((sent, received)) = probes.answered(answer.id) {
                let micros = i64::from(answer.server_time_us);
                let server_time = answer.server_time_ms.saturating_mul(1_000).saturating_add(micros);
                shared.clock.sample(link, sent, received, server_time);
            }
        }
        FromServer::Arms(batch) => {
            for arm in &batch.arms {
                shared.links.guess_home(arm.shard, link);
            }
            send(shared, Event::Arms(batch.arms)).await?;
        }
        FromServer::Disarms(batch) => send(shared, Event::Disarms(batch.disarms)).await?,
        FromServer::Cancel(cancel) => {
            shared.parallel.cancel(&cancel);
            send(shared, Event::Cancel(cancel)).await?;
        }
        FromServer::ReportAck(ack) => send(shared, Event::Acknowledged(ack.seqs)).await?,
        FromServer::LeaveAck(_) => send(shared, Event::LeaveAcknowledged { link }).await?,
        FromServer::LogAck(ack) => shared.logs.acknowledge(&ack.seqs),
        FromServer::EmitAck(ack) => shared.parallel.emit_acknowledged(link, &ack),
        FromServer::Subtasks(subtasks) => shared.parallel.subtasks(link, subtasks),
        FromServer::ResultsAck(ack) => shared.parallel.results_acknowledged(&ack.seqs),
        FromServer::ReduceInput(input) => shared.parallel.reduce_input(input),
        FromServer::AskHeld(ask) => {
            let held = shared.parallel.held(&ask);
            shared.links.send(link, ToServer::SubtasksHeld(held));
        }
        FromServer::GoAway(away) => {
            tracing::info!(target: "carillon", why = away.why, "server asks to look for others");
            shared.look_again.notify_one();
        }
        FromServer::Welcome(_) => {}
    }
    Ok(())
}

async fn send(shared: &Shared, event: Event) -> Result<(), LinkError> {
    shared.events.send(event).await.map_err(|_| LinkError::Stopping)
}

/// A stream that is up, until dropped: also when the future that runs it is.
struct Up {
    shared: Arc<Shared>,
    link: LinkId,
}

impl Up {
    fn new(shared: &Arc<Shared>, link: LinkId, sender: mpsc::Sender<v1::WorkerMessage>) -> Self {
        shared.links.add(link, sender);
        shared.parallel.link_changed();
        Self { shared: Arc::clone(shared), link }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.shared.links.remove(self.link);
        self.shared.clock.forget(self.link);
        self.shared.logs.resend_all();
        self.shared.parallel.link_changed();
        let _ = self.shared.link_ends.send(self.link);
    }
}

/// Time probes on their way.
#[derive(Default)]
struct Probes {
    next: u64,
    sent: Vec<(u64, Instant)>,
}

impl Probes {
    fn next(&mut self) -> v1::WorkerMessage {
        self.next += 1;
        // Answers come in order and within seconds; older ones are of no use.
        if self.sent.len() >= 16 {
            self.sent.remove(0);
        }
        self.sent.push((self.next, Instant::now()));
        wrap(ToServer::TimeProbe(v1::TimeProbe { id: self.next }))
    }

    fn answered(&mut self, id: u64) -> Option<(Instant, Instant)> {
        let place = self.sent.iter().position(|(sent, _)| *sent == id)?;
        Some((self.sent.remove(place).1, Instant::now()))
    }
}
