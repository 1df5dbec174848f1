//! The link that a peer opens; what is said on it is `crate::peers`' part.

use std::pin::Pin;
use std::sync::Arc;

use carillon_proto::v1::PeerMessage;
use carillon_proto::v1::peer_server::Peer;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::peers::{self, Peers};

/// The gRPC service.
#[derive(Clone)]
pub(crate) struct PeerService {
    pub(crate) peers: Arc<Peers>,
    /// Cancelled when the server has ended, however it did.
    pub(crate) ended: CancellationToken,
}

#[tonic::async_trait]
impl Peer for PeerService {
    type LinkStream = Pin<Box<dyn Stream<Item = Result<PeerMessage, Status>> + Send>>;

    async fn link(
        &self,
        request: Request<Streaming<PeerMessage>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let told = peers::accept(&self.peers, request.into_inner(), self.ended.child_token());
        Ok(Response::new(Box::pin(ReceiverStream::new(told).map(Ok))))
    }
}
