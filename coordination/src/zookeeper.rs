//! The coordinator on a ZooKeeper ensemble.
//!
//! Below the root (by custom `/carillon/<cluster>`):
//!
//! | znode | kind | says |
//! |---|---|---|
//! | `members/<id>` | ephemeral | the member, as JSON |
//! | `locks/<key>` | ephemeral | who holds the lock: member, epoch, generation, as JSON |
//! | `generations/<key>` | persistent | its data version is the generation of the last holding; never deleted |
//! | `topics/<topic>` | persistent | written to at each notification |
//!
//! Every holding of a lock spends one generation, in the same transaction that creates the lock. That makes all
//! conditions exact (a znode's own version starts at 0 again with every holder), and it is how an attempt with an unknown
//! outcome is settled: whoever spends the generation it was waiting for has made sure that it can never take effect.
//!
//! Three recursive watches per session (members, locks, topics) are all it costs an idle ensemble, however many locks
//! there are.
//!
//! Start reading at `session.rs`: one task per handle owns the session, reports its state, and replaces it when it is lost.

mod attempts;
mod chores;
mod failure;
mod locks;
mod members;
mod session;
mod settings;
mod shared;
mod znodes;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use zookeeper_client as zk;

pub use settings::ZooKeeperSettings;

use crate::coordination::Coordination;
use crate::error::{CoordinationError, Result};
use crate::hint::{Hints, SessionState, SessionStates};
use crate::lock::{LockData, LockHolder, LockOutcome, LockVersion};
use crate::member::Member;
use crate::name::{LockKey, Topic};
use failure::{Failure, answer};
use shared::Shared;

/// A handle on a ZooKeeper ensemble. Dropping it closes its session in the background;
/// [`leave`](Coordination::leave) waits for that.
pub struct ZooKeeper {
    shared: Arc<Shared>,
    stop: CancellationToken,
    supervisor: Mutex<Option<JoinHandle<bool>>>,
}

impl ZooKeeper {
    /// Starts a handle that connects in the background and goes on trying; until then it is disconnected. A server that
    /// starts while the ensemble is away begins its work like this.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`BadSettings`](CoordinationError::BadSettings).
    pub fn start(settings: ZooKeeperSettings) -> Result<Self> {
        settings.check()?;
        let span = tracing::info_span!("coordination", root = %settings.root);
        let shared = Arc::new(Shared::new(settings));
        let stop = CancellationToken::new();
        let supervisor = tokio::spawn(session::supervise(Arc::clone(&shared), stop.clone()).instrument(span));
        Ok(Self { shared, stop, supervisor: Mutex::new(Some(supervisor)) })
    }

    /// Starts a handle and waits until it is connected, for up to the session timeout and one operation.
    ///
    /// # Errors
    /// [`BadSettings`](CoordinationError::BadSettings), or [`Unavailable`](CoordinationError::Unavailable) if the ensemble
    /// does not answer in time.
    pub async fn connect(settings: ZooKeeperSettings) -> Result<Self> {
        let patience = settings.session_timeout + settings.operation_timeout;
        let handle = Self::start(settings)?;
        let mut states = handle.session();
        let connected = timeout(patience, states.wait_for(SessionState::is_connected)).await;
        match connected {
            Ok(Some(_)) => Ok(handle),
            _ => Err(CoordinationError::Unavailable { doing: "connect", source: None }),
        }
    }

    /// Ends the session on the ensemble's side, as its expiry would: for tests and fault drills. Returns when the
    /// handle has learned it from the ensemble; it then makes a new session.
    ///
    /// # Errors
    /// [`Disconnected`](CoordinationError::Disconnected) or [`Unavailable`](CoordinationError::Unavailable) if the
    /// ensemble could not be told.
    pub async fn expire_session(&self) -> Result<()> {
        let doing = "expire the session";
        let session = self.shared.session(doing)?;
        // A second connection takes the session over, and closes it. The first one comes back for its session, and may take
        // it over again before that is done: then the ensemble refuses the closing ("moved"), which the client does not
        // tell. So only this handle's own word counts.
        let deadline = Instant::now() + self.shared.settings.session_timeout * 3;
        let mut states = self.session();
        let lost = |state| match state {
            SessionState::Connected { session: number } => number != session.number,
            SessionState::Disconnected => false,
            SessionState::Expired | SessionState::IdTaken | SessionState::Closed => true,
        };
        loop {
            let connector = zk::Client::connector().with_session(session.client.session().clone());
            let connecting = connector.connect(&self.shared.settings.servers);
            let failure = match answer(self.shared.deadline(), connecting).await {
                Ok(usurper) => {
                    drop(usurper);
                    Failure::NoAnswer(None)
                }
                Err(failure) => failure,
            };
            if timeout_at(self.shared.deadline(), states.wait_for(lost)).await.is_ok() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(failure.into_read(doing));
            }
        }
    }
}

#[async_trait]
impl Coordination for ZooKeeper {
    async fn join(&self, member: Member) -> Result<()> {
        members::join(&self.shared, member).await
    }

    async fn update_member(&self, member: Member) -> Result<()> {
        members::update(&self.shared, member).await
    }

    async fn leave(&self) -> Result<()> {
        self.shared.close();
        self.stop.cancel();
        let supervisor = self.supervisor.lock().expect("nothing panics while it holds the supervisor").take();
        let Some(supervisor) = supervisor else { return Ok(()) };
        // The supervisor gives the ensemble one operation's time to answer, calls in flight end within the same.
        let patience = self.shared.settings.operation_timeout * 2;
        match timeout(patience, supervisor).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) | Err(_) => Err(CoordinationError::Unknown { doing: "leave", source: None }),
            Ok(Err(panic)) => {
                Err(CoordinationError::Unknown { doing: "leave", source: Some(Box::new(panic)) })
            }
        }
    }

    async fn members(&self) -> Result<Vec<Member>> {
        members::read_all(&self.shared).await
    }

    async fn try_lock(&self, key: &LockKey, data: LockData) -> Result<LockOutcome> {
        locks::take(&self.shared, key, data, None).await
    }

    async fn displace(&self, key: &LockKey, seen: LockVersion, data: LockData) -> Result<LockOutcome> {
        locks::take(&self.shared, key, data, Some(seen)).await
    }

    async fn update_lock(&self, key: &LockKey, data: LockData) -> Result<LockVersion> {
        locks::update(&self.shared, key, data).await
    }

    async fn release(&self, key: &LockKey) -> Result<()> {
        locks::release(&self.shared, key).await
    }

    async fn read_lock(&self, key: &LockKey) -> Result<Option<LockHolder>> {
        locks::read_one(&self.shared, key).await
    }

    async fn locks(&self) -> Result<BTreeMap<LockKey, LockHolder>> {
        locks::read_all(&self.shared).await
    }

    fn holds(&self, key: &LockKey) -> bool {
        self.shared.holds(key)
    }

    async fn notify(&self, topic: &Topic) -> Result<()> {
        let doing = "send a hint";
        let session = self.shared.session(doing)?;
        let deadline = self.shared.deadline();
        let path = znodes::topic(topic);
        loop {
            match answer(deadline, session.client.set_data(&path, b"", None)).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.is_code(&zk::Error::NoNode) => {}
                Err(failure) => return Err(failure.into_write(doing)),
            }
            match answer(deadline, session.client.create(&path, b"", &znodes::PERSISTENT)).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.is_code(&zk::Error::NodeExists) => {}
                Err(failure) => return Err(failure.into_write(doing)),
            }
        }
    }

    fn hints(&self) -> Hints {
        self.shared.hints()
    }

    fn session(&self) -> SessionStates {
        self.shared.states()
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.shared.close();
        self.stop.cancel();
    }
}

impl fmt::Debug for ZooKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZooKeeper")
            .field("root", &self.shared.settings.root)
            .field("session", &self.shared.states().state())
            .finish()
    }
}
