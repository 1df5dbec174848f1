//! What a map needs of the rest of the server: a way to workers and to the shard's trigger engine.

use carillon_core::engine::Input;
use carillon_core::ids::{Incarnation, ShardId};
use carillon_proto::v1::ServerMessage;
use carillon_proto::v1::server_message::Message;
use tonic::async_trait;

use crate::shard_loop::Request;
use crate::switchboard::Switchboard;

/// The seam between maps and the switchboard; tests put workers of their own behind it.
#[async_trait]
pub(crate) trait Wire: Send + Sync + 'static {
    /// Queues a message for a worker; false when it has no stream here. What one map sends to one worker keeps its order.
    fn send(&self, to: Incarnation, message: Message) -> bool;

    /// Whether the worker has a stream here.
    fn is_connected(&self, worker: Incarnation) -> bool;

    /// Tells the trigger engine of a shard; false when it is not here.
    async fn tell(&self, shard: ShardId, news: Input) -> bool;
}

#[async_trait]
impl Wire for Switchboard {
    fn send(&self, to: Incarnation, message: Message) -> bool {
        Switchboard::send(self, to, ServerMessage { message: Some(message) })
    }

    fn is_connected(&self, worker: Incarnation) -> bool {
        self.has_worker(worker)
    }

    async fn tell(&self, shard: ShardId, news: Input) -> bool {
        match self.shard(shard) {
            Some(handle) => handle.request(Request::Tell(news)).await,
            None => false,
        }
    }
}
