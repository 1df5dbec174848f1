//! The state behind all embedded handles: what the ensemble knows, and what each handle knows of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{broadcast, watch};

use crate::embedded::faults::Fault;
use crate::error::{CoordinationError, Result};
use crate::hint::{Hint, SessionState};
use crate::lock::{LockData, LockHolder, LockOutcome, LockVersion};
use crate::member::Member;
use crate::name::{LockKey, MemberId, Topic};

/// Stands for the ensemble of one cluster inside this process.
#[derive(Debug, Default)]
pub struct EmbeddedRegistry {
    state: Mutex<State>,
}

impl EmbeddedRegistry {
    /// An empty registry.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the registry")
    }
}

pub(super) type HandleId = u64;
type SessionId = u64;

#[derive(Debug, Default)]
pub(super) struct State {
    next_id: u64,
    members: BTreeMap<MemberId, (SessionId, Member)>,
    locks: BTreeMap<LockKey, Holding>,
    /// The generation of the last holding of each key; never forgotten, so that no generation returns.
    generations: BTreeMap<LockKey, u64>,
    handles: BTreeMap<HandleId, Handle>,
}

#[derive(Debug)]
struct Holding {
    session: SessionId,
    member: MemberId,
    data: LockData,
    version: LockVersion,
}

#[derive(Debug)]
struct Handle {
    session: SessionId,
    session_number: u64,
    connected: bool,
    closed: bool,
    /// What it wants to be known as, from its join on.
    wish: Option<Member>,
    /// The locks it believes to hold.
    held: BTreeSet<LockKey>,
    /// Locks to be released at reconnecting.
    releasing: BTreeSet<LockKey>,
    faults: VecDeque<Fault>,
    hints: broadcast::Sender<Hint>,
    state: watch::Sender<SessionState>,
}

impl Handle {
    fn hint(&self, hint: Hint) {
        // Nobody listening is fine: hints are for those who do.
        let _ = self.hints.send(hint);
    }

    fn enter(&self, state: SessionState) {
        if self.state.send_replace(state) != state {
            self.hint(Hint::Session(state));
        }
    }
}

/// Handles and their sessions.
impl State {
    pub(super) fn add_handle(
        &mut self,
        hints: broadcast::Sender<Hint>,
        state: watch::Sender<SessionState>,
    ) -> HandleId {
        let id = self.new_id();
        let handle = Handle {
            session: 0,
            session_number: 0,
            connected: true,
            closed: false,
            wish: None,
            held: BTreeSet::new(),
            releasing: BTreeSet::new(),
            faults: VecDeque::new(),
            hints,
            state,
        };
        self.handles.insert(id, handle);
        self.establish(id);
        id
    }

    pub(super) fn handle_ids(&self) -> Vec<HandleId> {
        self.handles.keys().copied().collect()
    }

    pub(super) fn must_be_connected(&self, id: HandleId, doing: &'static str) -> Result<()> {
        let handle = self.handle(id);
        if handle.closed {
            Err(CoordinationError::Closed { doing })
        } else if !handle.connected {
            Err(CoordinationError::Disconnected { doing })
        } else {
            Ok(())
        }
    }

    pub(super) fn close(&mut self, id: HandleId) {
        let handle = self.handle_mut(id);
        if handle.closed {
            return;
        }
        handle.closed = true;
        handle.wish = None;
        handle.held.clear();
        let session = handle.session;
        self.end_session(session);
        self.handle(id).enter(SessionState::Closed);
        self.settle_refused();
    }

    pub(super) fn forget(&mut self, id: HandleId) {
        self.handles.remove(&id);
    }

    pub(super) fn disconnect(&mut self, id: HandleId) {
        let handle = self.handle_mut(id);
        if !handle.closed {
            handle.connected = false;
            handle.enter(SessionState::Disconnected);
        }
    }

    pub(super) fn reconnect(&mut self, id: HandleId) {
        let handle = self.handle_mut(id);
        if handle.closed || handle.connected {
            return;
        }
        handle.connected = true;
        if handle.session == 0 {
            self.lose_session(id);
            return;
        }
        for key in std::mem::take(&mut self.handle_mut(id).releasing) {
            self.release(id, &key);
        }
        self.report_lost_locks(id);
        self.settle(id);
        self.handle(id).hint(Hint::Rescan);
    }

    pub(super) fn expire(&mut self, id: HandleId) {
        let handle = self.handle_mut(id);
        if handle.closed {
            return;
        }
        let session = std::mem::take(&mut handle.session);
        let connected = handle.connected;
        self.end_session(session);
        if connected {
            self.lose_session(id);
        }
        self.settle_refused();
    }

    /// The handle learns that its session is gone, and makes a new one.
    fn lose_session(&mut self, id: HandleId) {
        let handle = self.handle_mut(id);
        handle.releasing.clear();
        handle.enter(SessionState::Expired);
        self.report_lost_locks(id);
        self.establish(id);
        self.handle(id).hint(Hint::Rescan);
    }

    fn establish(&mut self, id: HandleId) {
        let session = self.new_id();
        let handle = self.handle_mut(id);
        handle.session = session;
        handle.session_number += 1;
        self.settle(id);
    }

    /// Makes a connected handle the member it wants to be, and says what state that leaves it in.
    fn settle(&mut self, id: HandleId) {
        let handle = self.handle(id);
        let connected = SessionState::Connected { session: handle.session_number };
        let state = match handle.wish.clone().map(|member| self.join(id, member)) {
            Some(Err(CoordinationError::IdTaken { .. })) => SessionState::IdTaken,
            _ => connected,
        };
        self.handle(id).enter(state);
    }

    /// Those whose id was taken may have it back once it is free.
    fn settle_refused(&mut self) {
        for id in self.handle_ids() {
            if *self.handle(id).state.borrow() == SessionState::IdTaken {
                self.settle(id);
            }
        }
    }

    fn end_session(&mut self, session: SessionId) {
        let keys: Vec<LockKey> = self
            .locks
            .iter()
            .filter(|(_, lock)| lock.session == session)
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.locks.remove(&key);
            self.tell_all(Hint::LockReleased(key));
        }
        let members = self.members.len();
        self.members.retain(|_, (owner, _)| *owner != session);
        if self.members.len() != members {
            self.tell_all(Hint::MembersChanged);
        }
    }

    fn report_lost_locks(&mut self, id: HandleId) {
        let handle = self.handle(id);
        let lost: Vec<LockKey> = handle.held.iter().filter(|key| !self.owns(id, key)).cloned().collect();
        let handle = self.handle_mut(id);
        for key in lost {
            handle.held.remove(&key);
            handle.hint(Hint::LockLost(key));
        }
    }

    fn tell_all(&self, hint: Hint) {
        for handle in self.handles.values().filter(|handle| handle.connected && !handle.closed) {
            handle.hint(hint.clone());
        }
    }

    pub(super) fn add_fault(&mut self, id: HandleId, fault: Fault) {
        self.handle_mut(id).faults.push_back(fault);
    }

    pub(super) fn take_fault(&mut self, id: HandleId) -> Option<Fault> {
        self.handle_mut(id).faults.pop_front()
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn handle(&self, id: HandleId) -> &Handle {
        self.handles.get(&id).expect("a handle is forgotten only when it is dropped")
    }

    fn handle_mut(&mut self, id: HandleId) -> &mut Handle {
        self.handles.get_mut(&id).expect("a handle is forgotten only when it is dropped")
    }
}

/// Members and topics.
impl State {
    pub(super) fn join(&mut self, id: HandleId, member: Member) -> Result<()> {
        let session = self.handle(id).session;
        if let Some((owner, holder)) = self.members.get(&member.id)
            && *owner != session
        {
            return Err(CoordinationError::IdTaken { holder: Box::new(holder.clone()) });
        }
        self.handle_mut(id).wish = Some(member.clone());
        let before = self.members.insert(member.id.clone(), (session, member.clone()));
        if before.is_none_or(|(_, before)| before != member) {
            self.tell_all(Hint::MembersChanged);
        }
        let handle = self.handle(id);
        if *handle.state.borrow() == SessionState::IdTaken {
            handle.enter(SessionState::Connected { session: handle.session_number });
        }
        Ok(())
    }

    pub(super) fn is_joined(&self, id: HandleId) -> bool {
        self.handle(id).wish.is_some()
    }

    pub(super) fn unjoin(&mut self, id: HandleId) {
        let handle = self.handle_mut(id);
        handle.wish = None;
        let session = handle.session;
        self.end_session(session);
    }

    pub(super) fn wish_member(&mut self, id: HandleId, member: Member) -> Result<()> {
        let handle = self.handle_mut(id);
        match &handle.wish {
            Some(before) if before.id == member.id => {
                handle.wish = Some(member);
                Ok(())
            }
            Some(before) => Err(CoordinationError::BadSettings {
                reason: format!("a member keeps its id: {} cannot become {}", before.id, member.id),
            }),
            None => Err(CoordinationError::NotJoined { doing: "updating the member" }),
        }
    }

    pub(super) fn refresh_member(&mut self, id: HandleId) {
        self.settle(id);
    }

    pub(super) fn members(&self) -> Vec<Member> {
        self.members.values().map(|(_, member)| member.clone()).collect()
    }

    pub(super) fn notify(&self, topic: &Topic) {
        self.tell_all(Hint::Topic(topic.clone()));
    }
}

/// Locks.
impl State {
    pub(super) fn try_lock(
        &mut self,
        id: HandleId,
        key: &LockKey,
        data: LockData,
        displacing: Option<LockVersion>,
    ) -> Result<LockOutcome> {
        let session = self.handle(id).session;
        let member = match self.members.values().find(|(owner, _)| *owner == session) {
            Some((_, member)) => member.id.clone(),
            None => return Err(CoordinationError::NotJoined { doing: "taking a lock" }),
        };
        match self.locks.get(key) {
            Some(lock) if lock.session == session => {
                return Ok(LockOutcome::Acquired { version: lock.version });
            }
            Some(lock) if displacing != Some(lock.version) => {
                return Ok(LockOutcome::HeldBy(lock.seen_by(session)));
            }
            Some(lock) => {
                let displaced = lock.session;
                self.tell_all(Hint::LockReleased(key.clone()));
                self.locks.remove(key);
                if let Some((&other, _)) =
                    self.handles.iter().find(|(_, handle)| handle.session == displaced && handle.connected)
                {
                    self.report_lost_locks(other);
                }
            }
            None => {}
        }
        let generation = self.generations.entry(key.clone()).or_insert(0);
        *generation += 1;
        let version = LockVersion { generation: *generation, revision: 0 };
        self.locks.insert(key.clone(), Holding { session, member, data, version });
        self.handle_mut(id).held.insert(key.clone());
        self.tell_all(Hint::LockChanged(key.clone()));
        Ok(LockOutcome::Acquired { version })
    }

    pub(super) fn update_lock(&mut self, id: HandleId, key: &LockKey, data: LockData) -> Result<LockVersion> {
        if !self.owns(id, key) {
            return Err(CoordinationError::NotHolder { key: key.clone() });
        }
        let lock = self.locks.get_mut(key).expect("it is owned, so it is there");
        lock.data = data;
        lock.version.revision += 1;
        let version = lock.version;
        self.tell_all(Hint::LockChanged(key.clone()));
        Ok(version)
    }

    pub(super) fn wish_release(&mut self, id: HandleId, key: &LockKey) {
        let handle = self.handle_mut(id);
        if handle.held.remove(key) && !handle.connected {
            handle.releasing.insert(key.clone());
        }
    }

    pub(super) fn release(&mut self, id: HandleId, key: &LockKey) {
        self.handle_mut(id).held.remove(key);
        if self.owns(id, key) {
            self.locks.remove(key);
            self.tell_all(Hint::LockReleased(key.clone()));
        }
    }

    pub(super) fn read_lock(&self, id: HandleId, key: &LockKey) -> Option<LockHolder> {
        let session = self.handle(id).session;
        self.locks.get(key).map(|lock| lock.seen_by(session))
    }

    pub(super) fn locks(&self, id: HandleId) -> BTreeMap<LockKey, LockHolder> {
        let session = self.handle(id).session;
        self.locks.iter().map(|(key, lock)| (key.clone(), lock.seen_by(session))).collect()
    }

    /// What the handle knows of its lock.
    pub(super) fn holds(&self, id: HandleId, key: &LockKey) -> bool {
        let handle = self.handle(id);
        handle.connected && !handle.closed && handle.held.contains(key)
    }

    /// What the registry knows of it.
    fn owns(&self, id: HandleId, key: &LockKey) -> bool {
        let session = self.handle(id).session;
        self.locks.get(key).is_some_and(|lock| lock.session == session)
    }
}

impl Holding {
    fn seen_by(&self, session: SessionId) -> LockHolder {
        LockHolder {
            member: self.member.clone(),
            data: self.data,
            version: self.version,
            mine: self.session == session,
        }
    }
}
