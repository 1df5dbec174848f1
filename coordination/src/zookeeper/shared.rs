//! What the calls and the session's task share: the link to the ensemble, and what this handle believes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;
use zookeeper_client as zk;

use crate::error::{CoordinationError, Result};
use crate::hint::{HINT_BUFFER, Hint, Hints, SessionState, SessionStates};
use crate::lock::LockVersion;
use crate::member::Member;
use crate::name::{LockKey, MemberId};
use crate::zookeeper::attempts::Attempt;
use crate::zookeeper::settings::ZooKeeperSettings;

/// How many lost sessions are remembered as this handle's own. Only those matter that the ensemble has not ended yet, and
/// a session is replaced no faster than it takes to lose it.
const FORMER_SESSIONS: usize = 8;

pub(super) struct Shared {
    pub(super) settings: ZooKeeperSettings,
    view: Mutex<View>,
    hints: broadcast::Sender<Hint>,
    state: watch::Sender<SessionState>,
    /// Changes whenever an attempt is settled.
    pub(super) settled: watch::Sender<()>,
    /// There is something to be done for the session.
    pub(super) chores: Notify,
    /// The session may have to be given up.
    renew: Notify,
}

/// What this handle believes.
#[derive(Default)]
pub(super) struct View {
    link: Link,
    /// Changes with every change of the link.
    mark: u64,
    /// The number of the session, or of the next one while there is none.
    pub(super) session: u64,
    /// The sessions of this handle that were lost.
    former: Vec<i64>,
    closed: bool,
    /// The session of this number must be given up, because something it asked for cannot be withdrawn otherwise.
    give_up: Option<u64>,
    /// What it wants to be known as, from its join on.
    pub(super) wish: Option<Member>,
    /// It is a member in this session.
    pub(super) present: bool,
    /// The wish is not written yet.
    pub(super) unwritten: bool,
    pub(super) held: BTreeMap<LockKey, LockVersion>,
    /// Locks among `held` that may be lost.
    pub(super) suspect: BTreeSet<LockKey>,
    pub(super) attempts: BTreeMap<LockKey, Attempt>,
}

/// How far the connection may be used.
#[derive(Default)]
enum Link {
    #[default]
    Away,
    /// There is a connection, but not yet certainty about what is still held.
    Recovering(zk::Client),
    Ready(zk::Client),
}

/// One session, as used by one call.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) client: zk::Client,
    pub(super) number: u64,
}

impl Session {
    /// The ensemble's id of it, as the owner of ephemeral nodes.
    pub(super) fn id(&self) -> i64 {
        self.client.session_id().0
    }
}

impl Shared {
    pub(super) fn new(settings: ZooKeeperSettings) -> Self {
        Self {
            settings,
            view: Mutex::new(View { session: 1, ..View::default() }),
            hints: broadcast::channel(HINT_BUFFER).0,
            state: watch::channel(SessionState::Disconnected).0,
            settled: watch::channel(()).0,
            chores: Notify::new(),
            renew: Notify::new(),
        }
    }

    pub(super) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("nothing panics while it holds the view")
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.settings.operation_timeout
    }

    pub(super) fn hints(&self) -> Hints {
        Hints::new(self.hints.subscribe())
    }

    pub(super) fn states(&self) -> SessionStates {
        SessionStates::new(self.state.subscribe())
    }

    pub(super) fn hint(&self, hint: Hint) {
        // Nobody listening is fine: hints are for those who do.
        let _ = self.hints.send(hint);
    }

    /// Says the new state, once; nothing follows after closed.
    pub(super) fn enter(&self, state: SessionState) {
        let changed = self.state.send_if_modified(|current| {
            let changes = *current != SessionState::Closed && *current != state;
            if changes {
                *current = state;
            }
            changes
        });
        if changed {
            self.hint(Hint::Session(state));
        }
    }

    /// The session for a call.
    pub(super) fn session(&self, doing: &'static str) -> Result<Session> {
        let view = self.view();
        match &view.link {
            _ if view.closed => Err(CoordinationError::Closed { doing }),
            Link::Ready(client) => Ok(Session { client: client.clone(), number: view.session }),
            Link::Away | Link::Recovering(_) => Err(CoordinationError::Disconnected { doing }),
        }
    }

    /// The member that this session is, for a call that acts in its name.
    pub(super) fn member(&self, doing: &'static str) -> Result<MemberId> {
        let view = self.view();
        match &view.wish {
            Some(member) if view.present => Ok(member.id.clone()),
            _ => Err(CoordinationError::NotJoined { doing }),
        }
    }

    pub(super) fn holds(&self, key: &LockKey) -> bool {
        let view = self.view();
        matches!(view.link, Link::Ready(_)) && !view.closed && view.held.contains_key(key)
    }

    /// Takes note of a lock. It is looked at once more soon, because word of its loss may have come before.
    pub(super) fn acquired(
        &self,
        session: u64,
        key: &LockKey,
        version: LockVersion,
        doing: &'static str,
    ) -> Result<()> {
        let mut view = self.view();
        if view.session != session || view.closed {
            return Err(CoordinationError::SessionLost { doing });
        }
        view.held.insert(key.clone(), version);
        view.suspect.insert(key.clone());
        self.chores.notify_one();
        Ok(())
    }

    /// Takes note of the loss of a holding, unless it has been replaced by a later one.
    pub(super) fn lost(&self, key: &LockKey, generation: u64) {
        let mut view = self.view();
        if view.held.get(key).is_some_and(|version| version.generation == generation) {
            view.held.remove(key);
            self.hint(Hint::LockLost(key.clone()));
        }
    }
}

/// The life of the link, as the session's task sees it.
impl Shared {
    /// There is a connection: of a new session, or again.
    pub(super) fn connected(&self, client: &zk::Client) {
        let mut view = self.view();
        if view.closed {
            return;
        }
        view.link = Link::Recovering(client.clone());
        view.mark += 1;
        self.chores.notify_one();
    }

    pub(super) fn disconnected(&self) {
        let mut view = self.view();
        view.link = Link::Away;
        view.mark += 1;
        self.enter(SessionState::Disconnected);
    }

    /// Nobody may use the session from now on; its client is closed when the calls in flight have ended.
    pub(super) fn unlink(&self) {
        let mut view = self.view();
        view.link = Link::Away;
        view.mark += 1;
    }

    /// Asks for another session in place of this one.
    pub(super) fn give_up(&self, session: u64) {
        self.view().give_up = Some(session);
        self.renew.notify_one();
    }

    pub(super) async fn asked_to_renew(&self, session: u64) {
        while self.view().give_up != Some(session) {
            self.renew.notified().await;
        }
    }

    /// The link, if it waits for recovery.
    pub(super) fn recovering(&self) -> Option<u64> {
        let view = self.view();
        matches!(view.link, Link::Recovering(_)).then_some(view.mark)
    }

    pub(super) fn is_connected(&self) -> bool {
        !matches!(self.view().link, Link::Away)
    }

    /// Recovery is done, if the link is still the one that was recovered.
    pub(super) fn ready(&self, mark: u64) {
        let mut view = self.view();
        if view.mark != mark {
            return;
        }
        if let Link::Recovering(client) = std::mem::take(&mut view.link) {
            view.link = Link::Ready(client);
        }
        let refused = view.wish.is_some() && !view.present;
        self.enter(if refused {
            SessionState::IdTaken
        } else {
            SessionState::Connected { session: view.session }
        });
        self.hint(Hint::Rescan);
    }

    /// The session is a member now, as wished.
    pub(super) fn joined(&self, session: u64, member: &Member) {
        let mut view = self.view();
        if view.closed {
            return;
        }
        if view.session != session {
            self.chores.notify_one(); // the new session may have come before the wish
            return;
        }
        view.present = true;
        view.unwritten = view.wish.as_ref().is_some_and(|wish| wish != member);
        if view.unwritten {
            self.chores.notify_one();
        }
        if matches!(view.link, Link::Ready(_)) {
            self.enter(SessionState::Connected { session });
        }
    }

    /// The session is gone, and all that hung on it.
    pub(super) fn session_lost(&self, id: i64) {
        let mut view = self.view();
        if view.closed {
            return;
        }
        view.link = Link::Away;
        view.mark += 1;
        // From here on no call of the old session may take note of anything.
        view.session += 1;
        view.former.push(id);
        if view.former.len() > FORMER_SESSIONS {
            view.former.remove(0);
        }
        view.present = false;
        view.suspect.clear();
        view.attempts.retain(|_, attempt| matches!(attempt, Attempt::InFlight));
        self.enter(SessionState::Expired);
        for (key, _) in std::mem::take(&mut view.held) {
            self.hint(Hint::LockLost(key));
        }
        self.settled.send_replace(());
    }

    pub(super) fn is_former(&self, session: i64) -> bool {
        self.view().former.contains(&session)
    }

    /// The handle leaves for good.
    pub(super) fn close(&self) {
        let mut view = self.view();
        view.closed = true;
        view.link = Link::Away;
        view.mark += 1;
        view.present = false;
        view.held.clear();
        view.attempts.clear();
        self.enter(SessionState::Closed);
        self.settled.send_replace(());
    }
}
