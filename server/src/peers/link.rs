//! One link to a peer, whoever opened it: both introduce themselves, tell what they hold, and pass on what the other says.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use carillon_core::engine::Input;
use carillon_core::ids::{Epoch, Incarnation, ServerId, ShardId};
use carillon_core::time::Timestamp;
use carillon_proto::v1::peer_message::Message;
use carillon_proto::v1::{self, PeerMessage};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{OUTGOING, Peers};
use crate::rpc::{BadField, introduction, read_plan_news, shard_id};
use crate::shard_loop::Request;

/// A peer that says nothing for this long is cut off or held up: twenty heartbeats.
const SILENCE: Duration = Duration::from_secs(2);

/// How long a new link may take to introduce itself.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);

/// The largest message taken from a peer: those that are sent have 1 MiB and a little.
pub(crate) const MAX_PEER_BYTES: usize = 16 * 1024 * 1024;

/// Most shards that a server may say it holds or owns.
const MAX_SHARDS_SAID: usize = 100_000;

/// How a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("cannot connect")]
    Connect(#[source] tonic::transport::Error),
    #[error("the cluster's secret cannot be sent: it is not text")]
    Secret,
    #[error("the peer ended the link: {0}")]
    Status(Box<Status>),
    #[error("the peer closed the link")]
    Closed,
    #[error("the peer was silent for {SILENCE:?}")]
    Silent,
    #[error("the peer did not introduce itself")]
    NoHello,
    #[error("expected {expected}, and {found} answers at its address")]
    OtherServer { expected: ServerId, found: String },
    #[error("the peer said something wrong: {0}")]
    Bad(#[from] BadField),
}

impl From<Status> for LinkError {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// Takes a link that a peer opens. Returns what the peer is told.
pub(crate) fn accept(
    peers: &Arc<Peers>,
    mut messages: impl Stream<Item = Result<PeerMessage, Status>> + Unpin + Send + 'static,
    close: CancellationToken,
) -> mpsc::Receiver<PeerMessage> {
    let (outgoing, told) = mpsc::channel(OUTGOING);
    let peers = peers.clone();
    // Ends with the stream, or with the server.
    tokio::spawn(async move {
        if let Err(error) = keep(&peers, None, outgoing, &mut messages, close).await {
            tracing::debug!(error = %crate::chain(&error), "a link that a peer opened ended");
        }
    });
    told
}

/// Keeps a link until it ends.
pub(super) async fn keep(
    peers: &Arc<Peers>,
    expected: Option<&ServerId>,
    outgoing: mpsc::Sender<PeerMessage>,
    messages: &mut (impl Stream<Item = Result<PeerMessage, Status>> + Unpin),
    close: CancellationToken,
) -> Result<(), LinkError> {
    let hello = v1::PeerHello { server: peers.me.to_string() };
    // The queue was just made.
    let _ = outgoing.try_send(PeerMessage { message: Some(Message::Hello(hello)) });
    let first = tokio::time::timeout(HELLO_PATIENCE, messages.next()).await;
    let first = first.map_err(|_| LinkError::NoHello)?.ok_or(LinkError::Closed)??;
    let Some(Message::Hello(hello)) = first.message else { return Err(LinkError::NoHello) };
    let peer: ServerId = hello.server.parse().map_err(|error: carillon_core::ids::IdError| {
        BadField::new("peer_hello.server", error.to_string())
    })?;
    if let Some(expected) = expected.filter(|expected| **expected != peer) {
        return Err(LinkError::OtherServer { expected: expected.clone(), found: hello.server });
    }
    if peer == peers.me {
        return Err(BadField::new("peer_hello.server", format!("{peer} is this server's own name")).into());
    }
    let number = peers.join(&peer, outgoing, close.clone());
    tracing::info!(%peer, "linked with a peer");
    for worker in peers.switchboard.workers().iter().filter(|worker| worker.via.is_none()) {
        let hello = super::hello_of(worker);
        peers.send(&peer, Message::WorkerHere(v1::WorkerHere { hello: Some(hello) }));
    }
    let link = Link { peers, peer: &peer, number };
    let ended = link.listen(messages, &close).await;
    peers.part(&peer, number).await;
    tracing::info!(%peer, "the link with a peer ended");
    ended
}

struct Link<'a> {
    peers: &'a Arc<Peers>,
    peer: &'a ServerId,
    number: u64,
}

impl Link<'_> {
    async fn listen(
        &self,
        messages: &mut (impl Stream<Item = Result<PeerMessage, Status>> + Unpin),
        close: &CancellationToken,
    ) -> Result<(), LinkError> {
        loop {
            let message = tokio::select! {
                biased;
                () = close.cancelled() => return Ok(()),
                message = tokio::time::timeout(SILENCE, messages.next()) => message,
            };
            let message = message.map_err(|_| LinkError::Silent)?.ok_or(LinkError::Closed)??;
            if let Some(message) = message.message {
                self.take(message).await?;
            }
        }
    }

    async fn take(&self, message: Message) -> Result<(), BadField> {
        let (peers, peer) = (self.peers, self.peer);
        match message {
            Message::Hello(_) => return Err(BadField::new("message", "a second hello")),
            Message::ShardsHeld(held) => {
                bounded("shards_held.shards", held.shards.len())?;
                let shards = held.shards.iter().map(|shard| shard_id("shards_held.shards", shard));
                peers.held_by(peer, self.number, shards.collect::<Result<HashSet<_>, _>>()?);
            }
            Message::Watermarks(said) => {
                bounded("watermarks.shards", said.shards.len())?;
                for watermark in &said.shards {
                    self.watermark(shard_id("watermarks.shard", &watermark.shard)?, watermark);
                }
            }
            Message::PlanNews(news) => {
                let (shard, news) = read_plan_news(news)?;
                if let Some(handle) = peers.switchboard.shard(shard)
                    && peers.follows(peer, self.number, shard, &news)
                {
                    handle.request(Request::Tell(Input::News(Box::new(news)))).await;
                }
            }
            Message::PlanWanted(wanted) => {
                peers.plan_wanted(peer, shard_id("plan_wanted.shard", &wanted.shard)?).await;
            }
            Message::WorkerHere(here) => {
                let hello = here.hello.ok_or_else(|| BadField::new("worker_here.hello", "missing"))?;
                let introduced = introduction(&hello)?;
                peers.worker_elsewhere(peer, introduced.group, hello, introduced.info).await;
            }
            Message::WorkerGone(gone) => {
                peers.worker_gone_elsewhere(peer, Incarnation::new(gone.incarnation)).await;
            }
            Message::RelayOpen(open) => {
                let worker = Incarnation::new(open.incarnation);
                if !peers.switchboard.tap(worker, peer) {
                    let closed = v1::RelayClose { incarnation: open.incarnation };
                    peers.send(peer, Message::RelayClose(closed));
                }
            }
            Message::RelayClose(closed) => {
                let worker = Incarnation::new(closed.incarnation);
                peers.switchboard.untap(worker, peer);
                peers.relay_closed(peer, worker);
            }
            Message::RelayUp(said) => {
                if let Some(message) = said.message {
                    peers.relayed_up(peer, Incarnation::new(said.incarnation), message);
                }
            }
            Message::RelayDown(told) => {
                if let Some(message) = told.message {
                    peers.switchboard.send_direct(Incarnation::new(told.incarnation), message);
                }
            }
        }
        Ok(())
    }

    /// An owner's word on a shard: for its loop here, and perhaps the sign that its plan is not known.
    fn watermark(&self, shard: ShardId, said: &v1::Watermark) {
        let Some(handle) = self.peers.switchboard.shard(shard) else { return };
        let epoch = Epoch::new(said.epoch);
        let (fresh, unknown) = self.peers.spoke(self.peer, self.number, shard, said);
        if fresh {
            // One that is lost is followed by the next.
            handle.try_tell(Input::Watermark {
                epoch,
                planned_until: Timestamp::from_millis(said.planned_until_ms),
                armed_until: Timestamp::from_millis(said.armed_until_ms),
            });
        }
        if unknown && handle.view().epoch.is_none_or(|own| own < epoch) {
            let wanted = v1::PlanWanted { shard: said.shard.clone() };
            self.peers.send(self.peer, Message::PlanWanted(wanted));
        }
    }
}

fn bounded(field: &str, count: usize) -> Result<(), BadField> {
    if count > MAX_SHARDS_SAID {
        return Err(BadField::new(field, format!("{count}; at most {MAX_SHARDS_SAID} are taken")));
    }
    Ok(())
}
