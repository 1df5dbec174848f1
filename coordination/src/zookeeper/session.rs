//! The task that owns the session: makes it, listens to it, reports its state, and makes a new one when it is lost.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use zookeeper_client as zk;

use crate::error::Result;
use crate::hint::Hint;
use crate::name::{LockKey, Topic};
use crate::zookeeper::chores;
use crate::zookeeper::failure::answer;
use crate::zookeeper::shared::{Session, Shared};
use crate::zookeeper::znodes::{self, GENERATIONS, LOCKS, MEMBERS, TOPICS, child};

/// The pause between attempts to make a session. The client itself goes round all nodes within one attempt.
const CONNECT_PAUSE: Duration = Duration::from_millis(250);

/// Runs until stopped. Says whether the ensemble has confirmed the end of the last session, or there was none.
pub(super) async fn supervise(shared: Arc<Shared>, stop: CancellationToken) -> bool {
    loop {
        let established = tokio::select! {
            biased;
            () = stop.cancelled() => return true,
            established = establish(&shared) => established,
        };
        let id = established.client.session_id().0;
        tracing::info!(session = %established.client.session_id(), "coordination session established");
        let states = established.client.state_watcher();
        let end = serve(&shared, established, &stop).await;
        match end {
            End::Stopped => return closed(states, shared.deadline()).await,
            End::Lost => {
                tracing::warn!(session = %zk::SessionId(id), "coordination session lost, and all its locks");
            }
            End::Renewed => {
                tracing::warn!(session = %zk::SessionId(id), "coordination session given up for a new one");
            }
        }
        shared.session_lost(id);
    }
}

/// Waits until a client whose last user is gone has told the ensemble and got its answer.
async fn closed(mut states: zk::StateWatcher, deadline: Instant) -> bool {
    loop {
        if states.peek_state().is_terminated() {
            return true;
        }
        if timeout_at(deadline, states.changed()).await.is_err() {
            return false;
        }
    }
}

/// A session with its watches in place.
struct Established {
    client: zk::Client,
    members: zk::PersistentWatcher,
    locks: zk::PersistentWatcher,
    topics: zk::PersistentWatcher,
}

async fn establish(shared: &Shared) -> Established {
    let mut failing = false;
    loop {
        match try_establish(shared).await {
            Ok(established) => return established,
            Err(error) if failing => {
                tracing::debug!(error = &error as &dyn std::error::Error, "still no coordination session");
            }
            Err(error) => {
                failing = true;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    servers = %shared.settings.servers,
                    "cannot make a coordination session, trying on"
                );
            }
        }
        sleep(CONNECT_PAUSE).await;
    }
}

async fn try_establish(shared: &Shared) -> Result<Established> {
    let doing = "make a session";
    let settings = &shared.settings;
    // The client gives up by itself when no node has answered for as long as a session would live.
    let deadline = Instant::now() + settings.session_timeout + settings.operation_timeout;
    let connector = zk::Client::connector().with_session_timeout(settings.session_timeout);
    let client = answer(deadline, connector.connect(&settings.servers))
        .await
        .map_err(|failure| failure.into_read(doing))?;

    let prepare = async {
        client.mkdir(&settings.root, &znodes::PERSISTENT).await?;
        let client = client.chroot(settings.root.as_str()).map_err(|_| zk::Error::BadArguments(&"root"))?;
        for folder in [MEMBERS, LOCKS, GENERATIONS, TOPICS] {
            client.mkdir(folder, &znodes::PERSISTENT).await?;
        }
        let recursive = zk::AddWatchMode::PersistentRecursive;
        let members = client.watch(MEMBERS, recursive).await?;
        let locks = client.watch(LOCKS, recursive).await?;
        let topics = client.watch(TOPICS, recursive).await?;
        Ok::<_, zk::Error>(Established { client, members, locks, topics })
    };
    answer(shared.deadline(), prepare).await.map_err(|failure| failure.into_read(doing))
}

/// Why a session is no longer served.
enum End {
    Stopped,
    Lost,
    Renewed,
}

async fn serve(shared: &Shared, established: Established, stop: &CancellationToken) -> End {
    let session = Session { client: established.client.clone(), number: shared.view().session };
    let serving = async {
        tokio::select! {
            biased;
            () = stop.cancelled() => End::Stopped,
            () = shared.asked_to_renew(session.number) => End::Renewed,
            () = listen(shared, established) => End::Lost,
            () = chores::keep_order(shared, &session) => End::Lost,
        }
    };
    // The client's watchers panic when the client's own task has died. A handle that went on saying "connected" after that
    // would be worse than any lost session. (It is also seen, harmlessly, while a runtime shuts down.)
    let end = AssertUnwindSafe(serving).catch_unwind().await;
    shared.unlink();
    end.unwrap_or_else(|_| {
        tracing::error!("the coordination client panicked, its session is given up");
        End::Lost
    })
}

/// Passes on what the session says, until it says that it is lost.
async fn listen(shared: &Shared, established: Established) {
    let Established { client, mut members, mut locks, mut topics } = established;
    let mut states = client.state_watcher();
    let mut state = states.state();
    loop {
        match state {
            zk::SessionState::SyncConnected => shared.connected(&client),
            zk::SessionState::Disconnected | zk::SessionState::ConnectedReadOnly => shared.disconnected(),
            zk::SessionState::Expired | zk::SessionState::Closed | zk::SessionState::AuthFailed => return,
        }
        state = loop {
            // Session events come by the watches too; there they only say that no more will come.
            let event = tokio::select! {
                biased;
                state = states.changed() => break state,
                event = members.changed() => event,
                event = locks.changed() => event,
                event = topics.changed() => event,
            };
            if event.event_type != zk::EventType::Session {
                pass_on(shared, &event);
            } else if event.session_state.is_terminated() {
                return;
            }
        };
    }
}

fn pass_on(shared: &Shared, event: &zk::WatchedEvent) {
    let gone = event.event_type == zk::EventType::NodeDeleted;
    if let Some(name) = child(&event.path, MEMBERS) {
        let mut view = shared.view();
        match &view.wish {
            // Whoever removed this member's own node: it wants to be there.
            Some(wish) if gone && view.present && wish.id.as_str() == name => {
                view.unwritten = true;
                shared.chores.notify_one();
            }
            Some(_) if !view.present => shared.chores.notify_one(),
            _ => {}
        }
        drop(view);
        shared.hint(Hint::MembersChanged);
    } else if let Some(Ok(key)) = child(&event.path, LOCKS).map(LockKey::new) {
        let mut view = shared.view();
        if gone && view.held.contains_key(&key) {
            view.suspect.insert(key.clone());
            shared.chores.notify_one();
        }
        drop(view);
        shared.hint(if gone { Hint::LockReleased(key) } else { Hint::LockChanged(key) });
    } else if let Some(Ok(topic)) = child(&event.path, TOPICS).map(Topic::new)
        && !gone
    {
        shared.hint(Hint::Topic(topic));
    }
}
