//! A worker's stream by way of a peer: what the worker says to the peer comes here too, and what it is told from here the peer passes on.
//! To the rest of the server it is a stream like any other; the worker's own takes its place when it comes.

use std::sync::Arc;

use carillon_core::ids::{Incarnation, ServerId};
use carillon_proto::v1::peer_message::Message;
use carillon_proto::v1::server_message::Message as ToWorker;
use carillon_proto::v1::{self, ServerMessage};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Peers, Relay};
use crate::rpc::Gateway;
use crate::switchboard::OUTGOING_MESSAGES;

/// What a worker said and nobody here has taken yet; a worker's batches of 20 ms for some seconds. Beyond it the relay ends and begins anew.
const SAID: usize = 256;

/// Begins a worker's stream by way of `by`.
pub(super) fn open(
    peers: &Arc<Peers>,
    gateway: &Arc<Gateway>,
    worker: Incarnation,
    by: ServerId,
    hello: v1::Hello,
) {
    let (said, messages) = mpsc::channel(SAID);
    let (outgoing, mut told) = mpsc::channel::<Result<ServerMessage, tonic::Status>>(OUTGOING_MESSAGES);
    let number = {
        let mut inner = peers.inner();
        inner.numbers += 1;
        let number = inner.numbers;
        inner.relays.insert(worker, Relay { number, by: by.clone(), said });
        number
    };
    let incarnation = worker.get();
    if !peers.send(&by, Message::RelayOpen(v1::RelayOpen { incarnation })) {
        return peers.end_relay(worker, number);
    }
    let (passing, to) = (peers.clone(), by.clone());
    // Ends when the session drops its sender.
    tokio::spawn(async move {
        while let Some(Ok(message)) = told.recv().await {
            // What is about the stream itself is the other server's to say.
            let own = matches!(message.message, Some(ToWorker::Welcome(_) | ToWorker::TimeAnswer(_)) | None);
            if !own {
                passing.send(&to, Message::RelayDown(v1::RelayDown { incarnation, message: Some(message) }));
            }
        }
    });
    let (peers, gateway) = (peers.clone(), gateway.clone());
    tokio::spawn(async move {
        gateway.relayed(hello, by.clone(), outgoing, ReceiverStream::new(messages)).await;
        peers.end_relay(worker, number);
        peers.send(&by, Message::RelayClose(v1::RelayClose { incarnation }));
    });
}

impl Peers {
    fn end_relay(&self, worker: Incarnation, number: u64) {
        let mut inner = self.inner();
        if inner.relays.get(&worker).is_some_and(|relay| relay.number == number) {
            inner.relays.remove(&worker);
        }
    }

    /// A worker's word that came by way of a peer.
    pub(super) fn relayed_up(&self, by: &ServerId, worker: Incarnation, message: v1::WorkerMessage) {
        let mut inner = self.inner();
        let Some(relay) = inner.relays.get(&worker).filter(|relay| relay.by == *by) else {
            if let Some(link) = inner.links.get(by) {
                link.send(by, Message::RelayClose(v1::RelayClose { incarnation: worker.get() }));
            }
            return;
        };
        if relay.said.try_send(Ok(message)).is_err() {
            // The stream ends with its sender; the worker repeats what was not acknowledged.
            inner.relays.remove(&worker);
        }
    }

    /// The peer does not pass a worker's word on any longer.
    pub(super) fn relay_closed(&self, by: &ServerId, worker: Incarnation) {
        let mut inner = self.inner();
        if inner.relays.get(&worker).is_some_and(|relay| relay.by == *by) {
            inner.relays.remove(&worker);
        }
    }
}
