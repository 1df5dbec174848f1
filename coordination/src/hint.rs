//! Hints: what may have changed. A hint only wakes a reader; what it then reads is the truth.

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;

use crate::name::{LockKey, Topic};

/// How many hints wait for a slow reader before it gets [`Hint::Rescan`] instead. A session with 4,000 locks can be lost
/// without making its own readers rescan for the number of hints alone; at about 100 bytes each it costs 400 KB.
pub const HINT_BUFFER: usize = 4096;

/// Something may have changed.
///
/// Hints may come late, twice, or for a change that was undone since. None is skipped silently: a reader that missed some
/// gets [`Rescan`](Self::Rescan).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// The session changed its state.
    Session(SessionState),
    /// A member came, went, or changed its description.
    MembersChanged,
    /// A lock was taken, or its data changed.
    LockChanged(LockKey),
    /// A lock was released, or its holder is gone.
    LockReleased(LockKey),
    /// This handle held the lock and holds it no more, without having released it.
    LockLost(LockKey),
    /// Somebody called [`notify`](crate::Coordination::notify) for the topic.
    Topic(Topic),
    /// Hints may have been missed: read everything again.
    Rescan,
}

/// The state of a handle's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// Connected and, if it was ever joined, a member.
    Connected {
        /// Counts the sessions of this handle from 1. If it differs from the one seen before, a session was lost in
        /// between, and all its locks with it.
        session: u64,
    },
    /// Not connected (or not yet). Locks may be lost already: stop acting on them.
    Disconnected,
    /// The session is lost, its locks and its member node with it; a new one is being made.
    Expired,
    /// Connected by a new session, but another live session has taken this member's id meanwhile. The handle goes on
    /// trying to become a member again; no lock can be taken until then.
    IdTaken,
    /// The handle has left for good.
    Closed,
}

impl SessionState {
    /// Whether locks held in this state may be acted on.
    pub fn is_connected(self) -> bool {
        matches!(self, Self::Connected { .. })
    }
}

/// A reader of the session's state. Only the latest state is kept: compare the session's number to see whether one was lost
/// in between.
///
/// It gives out copies, never a borrow that would keep the handle from changing its state: who holds such a borrow and
/// calls the handle may wait for ever.
#[derive(Debug, Clone)]
pub struct SessionStates {
    receiver: watch::Receiver<SessionState>,
}

impl SessionStates {
    pub(crate) fn new(receiver: watch::Receiver<SessionState>) -> Self {
        Self { receiver }
    }

    /// The state now.
    pub fn state(&self) -> SessionState {
        *self.receiver.borrow()
    }

    /// Waits for a change since the last call and returns the new state; `None` once the handle is gone. Cancel safe.
    pub async fn changed(&mut self) -> Option<SessionState> {
        self.receiver.changed().await.ok()?;
        Some(*self.receiver.borrow_and_update())
    }

    /// Waits for a state, which may be the present one; `None` once the handle is gone. Cancel safe.
    pub async fn wait_for(&mut self, wanted: impl Fn(SessionState) -> bool) -> Option<SessionState> {
        loop {
            let state = *self.receiver.borrow_and_update();
            if wanted(state) {
                return Some(state);
            }
            self.receiver.changed().await.ok()?;
        }
    }
}

/// A reader of hints, from the moment it was made.
#[derive(Debug)]
pub struct Hints {
    receiver: broadcast::Receiver<Hint>,
}

impl Hints {
    pub(crate) fn new(receiver: broadcast::Receiver<Hint>) -> Self {
        Self { receiver }
    }

    /// Waits for the next hint; `None` once the handle is gone and all hints are read. Cancel safe.
    pub async fn next(&mut self) -> Option<Hint> {
        match self.receiver.recv().await {
            Ok(hint) => Some(hint),
            Err(RecvError::Lagged(_)) => Some(Hint::Rescan),
            Err(RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_was_too_slow_is_told_to_rescan() {
        let (sender, receiver) = broadcast::channel(2);
        let mut hints = Hints::new(receiver);
        for _ in 0..5 {
            sender.send(Hint::MembersChanged).expect("a receiver");
        }
        assert_eq!(hints.next().await, Some(Hint::Rescan));
        assert_eq!(hints.next().await, Some(Hint::MembersChanged));
        drop(sender);
        assert_eq!(hints.next().await, Some(Hint::MembersChanged));
        assert_eq!(hints.next().await, None);
    }
}
