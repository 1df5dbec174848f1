//! Scripted faults of the embedded coordinator: what an ensemble and a network do to a server, on demand.

use std::time::Duration;

use crate::embedded::{Embedded, EmbeddedRegistry};

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails as if there were no connection; nothing was sent.
    Refuse,
    /// The request is lost on its way: a write fails as unknown and has no effect, a read as unavailable.
    LoseRequest,
    /// The answer is lost on its way: a write takes effect and fails as unknown, a read as unavailable. The handle then
    /// does what the contract says, e.g. releases the lock whose taking it was not told of.
    LoseAnswer,
    /// The call takes this much longer.
    Delay(Duration),
}

/// Faults of one server.
impl Embedded {
    /// Lets the next call that goes to the registry suffer a fault; further ones queue behind it.
    pub fn script(&self, fault: Fault) {
        self.registry.lock().add_fault(self.id, fault);
    }

    /// Ends the session on the registry's side: its locks are free and its member gone at once. A connected handle
    /// learns it, makes a new session and joins again before this returns; a disconnected one learns it when it
    /// reconnects.
    pub fn expire_session(&self) {
        self.registry.lock().expire(self.id);
    }

    /// Cuts the handle off. Its session stays, and so do its locks, until it is expired.
    pub fn disconnect(&self) {
        self.registry.lock().disconnect(self.id);
    }

    /// Heals what [`disconnect`](Self::disconnect) cut.
    pub fn reconnect(&self) {
        self.registry.lock().reconnect(self.id);
    }
}

/// Faults of the whole ensemble.
impl EmbeddedRegistry {
    /// Cuts every handle off: the ensemble is away.
    pub fn disconnect_all(&self) {
        let mut state = self.lock();
        for id in state.handle_ids() {
            state.disconnect(id);
        }
    }

    /// Heals every handle.
    pub fn reconnect_all(&self) {
        let mut state = self.lock();
        for id in state.handle_ids() {
            state.reconnect(id);
        }
    }

    /// Ends every session.
    pub fn expire_all(&self) {
        let mut state = self.lock();
        for id in state.handle_ids() {
            state.expire(id);
        }
    }
}
