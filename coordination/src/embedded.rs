//! The coordinator inside this process: for `carillon dev`, for tests, and wherever one process is all there is.
//!
//! An [`EmbeddedRegistry`] stands for the ensemble; each [`Embedded`] made from it is one server's handle, with a session
//! of its own. Sessions live until they are ended: by [`leave`](Coordination::leave), by dropping the handle, or by a
//! scripted fault (see [`faults`]). No time passes in here, so tests under a paused clock work.

pub mod faults;
mod registry;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};

pub use faults::Fault;
pub use registry::EmbeddedRegistry;

use crate::coordination::Coordination;
use crate::error::{CoordinationError, Result};
use crate::hint::{HINT_BUFFER, Hints, SessionState, SessionStates};
use crate::lock::{LockData, LockHolder, LockOutcome, LockVersion};
use crate::member::Member;
use crate::name::{LockKey, Topic};
use registry::{HandleId, State};

/// One server's handle on an [`EmbeddedRegistry`]. Dropping it ends its session at once.
pub struct Embedded {
    registry: Arc<EmbeddedRegistry>,
    id: HandleId,
    hints: broadcast::Sender<crate::hint::Hint>,
    session: SessionStates,
}

impl Embedded {
    /// A handle on a registry, connected.
    pub fn new(registry: &Arc<EmbeddedRegistry>) -> Self {
        let (hints, _) = broadcast::channel(HINT_BUFFER);
        let (state, session) = watch::channel(SessionState::Disconnected);
        let id = registry.lock().add_handle(hints.clone(), state);
        Self { registry: Arc::clone(registry), id, hints, session: SessionStates::new(session) }
    }

    /// A handle on a registry of its own: a cluster of one.
    pub fn alone() -> Self {
        Self::new(&EmbeddedRegistry::new())
    }

    /// A read: passes the scripted fault, then reads if connected.
    async fn read<T>(&self, doing: &'static str, read: impl FnOnce(&State) -> T + Send) -> Result<T> {
        let fault = self.next_fault().await;
        let state = self.registry.lock();
        state.must_be_connected(self.id, doing)?;
        match fault {
            None => Ok(read(&state)),
            Some(LostCall::Refused) => Err(CoordinationError::Disconnected { doing }),
            Some(LostCall::NoRequest | LostCall::NoAnswer) => {
                Err(CoordinationError::Unavailable { doing, source: None })
            }
        }
    }

    /// A write: passes the scripted fault; `undo` is what the handle does by itself about an answer it never got.
    async fn write<T>(
        &self,
        doing: &'static str,
        write: impl FnOnce(&mut State) -> Result<T> + Send,
        undo: impl FnOnce(&mut State) + Send,
    ) -> Result<T> {
        let fault = self.next_fault().await;
        let mut state = self.registry.lock();
        state.must_be_connected(self.id, doing)?;
        match fault {
            None => write(&mut state),
            Some(LostCall::Refused) => {
                undo(&mut state);
                Err(CoordinationError::Disconnected { doing })
            }
            Some(LostCall::NoRequest) => {
                undo(&mut state);
                Err(CoordinationError::Unknown { doing, source: None })
            }
            Some(LostCall::NoAnswer) => {
                // What the registry would have answered is exactly what gets lost.
                let _ = write(&mut state);
                undo(&mut state);
                Err(CoordinationError::Unknown { doing, source: None })
            }
        }
    }

    async fn next_fault(&self) -> Option<LostCall> {
        let fault = self.registry.lock().take_fault(self.id)?;
        match fault {
            Fault::Refuse => Some(LostCall::Refused),
            Fault::LoseRequest => Some(LostCall::NoRequest),
            Fault::LoseAnswer => Some(LostCall::NoAnswer),
            Fault::Delay(time) => {
                tokio::time::sleep(time).await;
                None
            }
        }
    }
}

/// How far a call got that a scripted fault kept from succeeding.
enum LostCall {
    Refused,
    NoRequest,
    NoAnswer,
}

#[async_trait]
impl Coordination for Embedded {
    async fn join(&self, member: Member) -> Result<()> {
        let id = self.id;
        let was_member = self.registry.lock().is_joined(id);
        let undo = move |state: &mut State| {
            if !was_member {
                state.unjoin(id);
            }
        };
        self.write("join", |state| state.join(id, member), undo).await
    }

    async fn update_member(&self, member: Member) -> Result<()> {
        let id = self.id;
        self.registry.lock().wish_member(id, member.clone())?;
        let write = |state: &mut State| state.join(id, member);
        self.write("update the member", write, move |state| state.refresh_member(id)).await
    }

    async fn leave(&self) -> Result<()> {
        self.registry.lock().close(self.id);
        Ok(())
    }

    async fn members(&self) -> Result<Vec<Member>> {
        self.read("read the members", State::members).await
    }

    async fn try_lock(&self, key: &LockKey, data: LockData) -> Result<LockOutcome> {
        let id = self.id;
        let held_before = self.registry.lock().holds(id, key);
        let undo = |state: &mut State| {
            if !held_before {
                state.release(id, key);
            }
        };
        self.write("take a lock", |state| state.try_lock(id, key, data, None), undo).await
    }

    async fn displace(&self, key: &LockKey, seen: LockVersion, data: LockData) -> Result<LockOutcome> {
        let id = self.id;
        let held_before = self.registry.lock().holds(id, key);
        let undo = |state: &mut State| {
            if !held_before {
                state.release(id, key);
            }
        };
        self.write("displace a holder", |state| state.try_lock(id, key, data, Some(seen)), undo).await
    }

    async fn update_lock(&self, key: &LockKey, data: LockData) -> Result<LockVersion> {
        self.write("update a lock", |state| state.update_lock(self.id, key, data), |_| {}).await
    }

    async fn release(&self, key: &LockKey) -> Result<()> {
        let id = self.id;
        self.registry.lock().wish_release(id, key);
        let write = |state: &mut State| {
            state.release(id, key);
            Ok(())
        };
        self.write("release a lock", write, |state| state.release(id, key)).await
    }

    async fn read_lock(&self, key: &LockKey) -> Result<Option<LockHolder>> {
        self.read("read a lock", |state| state.read_lock(self.id, key)).await
    }

    async fn locks(&self) -> Result<BTreeMap<LockKey, LockHolder>> {
        self.read("read the locks", |state| state.locks(self.id)).await
    }

    fn holds(&self, key: &LockKey) -> bool {
        self.registry.lock().holds(self.id, key)
    }

    async fn notify(&self, topic: &Topic) -> Result<()> {
        let write = |state: &mut State| {
            state.notify(topic);
            Ok(())
        };
        self.write("send a hint", write, |_| {}).await
    }

    fn hints(&self) -> Hints {
        Hints::new(self.hints.subscribe())
    }

    fn session(&self) -> SessionStates {
        self.session.clone()
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        state.close(self.id);
        state.forget(self.id);
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("id", &self.id).field("session", &self.session.state()).finish()
    }
}
