//! What every promise needs: a cluster to stand on, members to send in, and waiting with a deadline.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout};

use crate::coordination::Coordination;
use crate::hint::{Hint, Hints, SessionState};
use crate::lock::{LockOutcome, LockVersion};
use crate::member::{Load, Member, MemberKind};
use crate::name::{LockKey, MemberId, Topic};

/// How long anything may take before a promise counts as broken: a few session timeouts on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A backend under test. All its handles see each other.
#[async_trait]
pub trait Cluster: Sync {
    /// What the backend hands out.
    type Handle: Coordination;

    /// A new handle with a session of its own, connected.
    async fn handle(&self) -> Self::Handle;

    /// Ends the session on the coordinator's side, as if it had been silent for too long.
    async fn expire(&self, handle: &Self::Handle);
}

/// A server as the tests know it; ids are told apart by the promise under test.
pub(super) fn server(id: &str) -> Member {
    Member {
        id: MemberId::new(id).expect("test ids are names"),
        kind: MemberKind::Server,
        room: "room-a".to_owned(),
        address: format!("{id}.example:7070"),
        server_group: 1,
        cluster: 101,
        version: "0.1.0".to_owned(),
        incarnation: 1,
        load: Load::default(),
        draining: false,
        joined_at_ms: 1_700_000_000_000,
    }
}

pub(super) async fn joined<C: Cluster>(cluster: &C, id: &str) -> C::Handle {
    let handle = cluster.handle().await;
    handle.join(server(id)).await.expect("a free id is given");
    handle
}

pub(super) fn key(name: &str) -> LockKey {
    LockKey::new(name).expect("test keys are names")
}

pub(super) fn topic(name: &str) -> Topic {
    Topic::new(name).expect("test topics are names")
}

pub(super) fn acquired(outcome: LockOutcome) -> LockVersion {
    match outcome {
        LockOutcome::Acquired { version } => version,
        LockOutcome::HeldBy(holder) => panic!("the lock should be free, but {holder:?} has it"),
    }
}

/// Waits until a probe says yes.
pub(super) async fn eventually<F: Future<Output = bool>>(what: &str, mut probe: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !probe().await {
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for a hint; a [`Hint::Rescan`] stands for any that may have been missed.
pub(super) async fn hinted(hints: &mut Hints, wanted: impl Fn(&Hint) -> bool + Copy, what: &str) {
    let waiting = async {
        while let Some(hint) = hints.next().await {
            if wanted(&hint) || hint == Hint::Rescan {
                return;
            }
        }
        panic!("the hints ended while waiting for {what}");
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("no hint of {what}"));
}

/// All sessions of a handle must be told apart; reads the number of the one it is connected by.
pub(super) async fn session_number(handle: &impl Coordination, wanted: impl Fn(u64) -> bool) -> u64 {
    let mut states = handle.session();
    let waiting = states.wait_for(|state| match state {
        SessionState::Connected { session } => wanted(session),
        _ => false,
    });
    match timeout(PATIENCE, waiting).await.expect("the session comes in time") {
        Some(SessionState::Connected { session }) => session,
        other => unreachable!("waited for a connected session of a live handle, got {other:?}"),
    }
}

pub(super) fn show<T: Debug>(value: &T) -> String {
    format!("{value:?}")
}
