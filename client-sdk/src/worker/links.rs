//! The streams that are up, by number; and which of them speaks for a shard.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError, RwLock};

use carillon_proto::v1::{self, worker_message::Message};
use tokio::sync::mpsc;

use super::spool::LinkId;

/// Messages that wait for one stream. A server that does not read makes the senders hold back, which keep what is not acknowledged anyway.
pub(crate) const LINK_QUEUE: usize = 256;

#[derive(Default)]
pub(crate) struct Links {
    up: RwLock<BTreeMap<LinkId, mpsc::Sender<v1::WorkerMessage>>>,
    /// The stream that last acted for a shard: its owner, as far as one can see from here.
    homes: Mutex<HashMap<u32, LinkId>>,
}

impl Links {
    pub(crate) fn add(&self, link: LinkId, sender: mpsc::Sender<v1::WorkerMessage>) {
        self.up.write().unwrap_or_else(PoisonError::into_inner).insert(link, sender);
    }

    pub(crate) fn remove(&self, link: LinkId) {
        self.up.write().unwrap_or_else(PoisonError::into_inner).remove(&link);
        self.homes.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, home| *home != link);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.up.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(crate) fn ids(&self) -> Vec<LinkId> {
        self.up.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Notes that this stream armed a run of the shard: a guess, since any holder may, so it displaces nobody.
    pub(crate) fn guess_home(&self, shard: u32, link: LinkId) {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner).entry(shard).or_insert(link);
    }

    /// Notes that this stream acts for the shard.
    pub(crate) fn set_home(&self, shard: u32, link: LinkId) {
        self.homes.lock().unwrap_or_else(PoisonError::into_inner).insert(shard, link);
    }

    /// Hands a message to a stream without waiting; `false` where it is down or its queue is full.
    pub(crate) fn send(&self, link: LinkId, message: Message) -> bool {
        let up = self.up.read().unwrap_or_else(PoisonError::into_inner);
        up.get(&link).is_some_and(|sender| sender.try_send(wrap(message)).is_ok())
    }

    /// Hands a message to every stream; tells whether any took it.
    pub(crate) fn send_all(&self, message: &Message) -> bool {
        let up = self.up.read().unwrap_or_else(PoisonError::into_inner);
        let mut taken = false;
        for sender in up.values() {
            taken |= sender.try_send(wrap(message.clone())).is_ok();
        }
        taken
    }

    /// Hands a message to the stream that speaks for the shard, or to all where none is known to.
    pub(crate) fn send_home(&self, shard: u32, message: Message) -> bool {
        let home = self.homes.lock().unwrap_or_else(PoisonError::into_inner).get(&shard).copied();
        match home {
            Some(link) => self.send(link, message),
            None => self.send_all(&message),
        }
    }

    /// Hands a message to one stream, whichever takes it, the shard's own first.
    pub(crate) fn send_any(&self, shard: u32, message: Message) -> bool {
        let home = self.homes.lock().unwrap_or_else(PoisonError::into_inner).get(&shard).copied();
        let up = self.up.read().unwrap_or_else(PoisonError::into_inner);
        let first = home.and_then(|link| up.get(&link));
        let mut message = wrap(message);
        for sender in first.into_iter().chain(up.values()) {
            match sender.try_send(message) {
                Ok(()) => return true,
                Err(refused) => message = refused.into_inner(),
            }
        }
        false
    }
}

pub(crate) fn wrap(message: Message) -> v1::WorkerMessage {
    v1::WorkerMessage { message: Some(message) }
}
