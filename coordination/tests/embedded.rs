//! The embedded backend keeps every promise, and does what its scripted faults say.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use carillon_coordination::conformance::{self, Cluster};
use carillon_coordination::embedded::Fault;
use carillon_coordination::{
    Coordination, CoordinationError, Embedded, EmbeddedRegistry, Hint, LockData, LockKey, Member,
    SessionState,
};

struct InProcess(Arc<EmbeddedRegistry>);

#[async_trait]
impl Cluster for InProcess {
    type Handle = Embedded;

    async fn handle(&self) -> Embedded {
        Embedded::new(&self.0)
    }

    async fn expire(&self, handle: &Embedded) {
        handle.expire_session();
    }
}

macro_rules! keeps {
    ($($promise:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $promise() {
            conformance::$promise(&InProcess(EmbeddedRegistry::new())).await;
        }
    )*};
}

carillon_coordination::every_promise!(keeps);

fn server(id: &str) -> Member {
    let text = format!(
        r#"{{"id":"{id}","kind":"server","room":"a","address":"{id}:1","server_group":1,"cluster":101,"version":"0","incarnation":1}}"#
    );
    serde_json::from_str(&text).unwrap()
}

async fn pair() -> (Embedded, Embedded, LockKey) {
    let registry = EmbeddedRegistry::new();
    let (one, two) = (Embedded::new(&registry), Embedded::new(&registry));
    one.join(server("one")).await.unwrap();
    two.join(server("two")).await.unwrap();
    (one, two, LockKey::new("101-1-2-6601.0").unwrap())
}

async fn drain(hints: &mut carillon_coordination::Hints) -> Vec<Hint> {
    let mut all = Vec::new();
    while let Ok(Some(hint)) = tokio::time::timeout(Duration::ZERO, hints.next()).await {
        all.push(hint);
    }
    all
}

#[tokio::test]
async fn a_lock_whose_answer_was_lost_is_not_held_afterwards() {
    let (one, two, lock) = pair().await;
    one.script(Fault::LoseAnswer);
    let outcome = one.try_lock(&lock, LockData::default()).await;
    assert!(matches!(outcome, Err(CoordinationError::Unknown { .. })), "{outcome:?}");
    assert!(!one.holds(&lock));
    assert!(two.try_lock(&lock, LockData::default()).await.unwrap().is_acquired());
}

#[tokio::test]
async fn a_release_whose_request_was_lost_still_happens() {
    for fault in [Fault::LoseRequest, Fault::Refuse] {
        let (one, two, lock) = pair().await;
        one.try_lock(&lock, LockData::default()).await.unwrap();
        one.script(fault);
        assert!(one.release(&lock).await.unwrap_err().is_retryable());
        assert!(two.try_lock(&lock, LockData::default()).await.unwrap().is_acquired(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_join_whose_answer_was_lost_leaves_no_member() {
    let registry = EmbeddedRegistry::new();
    let one = Embedded::new(&registry);
    one.script(Fault::LoseAnswer);
    assert!(matches!(one.join(server("one")).await, Err(CoordinationError::Unknown { .. })));
    assert_eq!(one.members().await.unwrap(), []);
    one.join(server("one")).await.unwrap();
    assert_eq!(one.members().await.unwrap(), [server("one")]);
}

#[tokio::test]
async fn a_disconnected_handle_does_not_act_on_its_lock_and_learns_of_its_expiry_later() {
    let (one, two, lock) = pair().await;
    one.try_lock(&lock, LockData::default()).await.unwrap();
    let mut hints = one.hints();

    one.disconnect();
    assert!(!one.holds(&lock));
    assert!(matches!(one.members().await, Err(CoordinationError::Disconnected { .. })));
    assert!(
        !two.try_lock(&lock, LockData::default()).await.unwrap().is_acquired(),
        "its session still lives"
    );
    one.expire_session();
    assert!(two.try_lock(&lock, LockData::default()).await.unwrap().is_acquired());
    assert_eq!(one.session().state(), SessionState::Disconnected, "it cannot know yet");

    one.reconnect();
    assert_eq!(one.session().state(), SessionState::Connected { session: 2 });
    let seen = drain(&mut hints).await;
    let wanted = [
        Hint::Session(SessionState::Disconnected),
        Hint::Session(SessionState::Expired),
        Hint::LockLost(lock.clone()),
        Hint::Session(SessionState::Connected { session: 2 }),
        Hint::Rescan,
    ];
    let mut rest = seen.iter();
    assert!(wanted.iter().all(|hint| rest.any(|other| other == hint)), "{seen:?}");
    assert!(!one.holds(&lock));
}

#[tokio::test]
async fn a_short_cut_costs_no_lock() {
    let (one, two, lock) = pair().await;
    one.try_lock(&lock, LockData::default()).await.unwrap();
    one.disconnect();
    one.reconnect();
    assert!(one.holds(&lock));
    assert_eq!(one.session().state(), SessionState::Connected { session: 1 });

    one.disconnect();
    let seen = two.read_lock(&lock).await.unwrap().unwrap().version;
    assert!(two.displace(&lock, seen, LockData::default()).await.unwrap().is_acquired());
    let mut hints = one.hints();
    one.reconnect();
    assert!(!one.holds(&lock));
    assert!(drain(&mut hints).await.contains(&Hint::LockLost(lock)));
}

#[tokio::test]
async fn what_was_released_and_described_while_cut_off_is_done_at_reconnecting() {
    let (one, two, lock) = pair().await;
    one.try_lock(&lock, LockData::default()).await.unwrap();
    one.disconnect();
    assert!(one.release(&lock).await.is_err());
    let draining = Member { draining: true, ..server("one") };
    assert!(one.update_member(draining.clone()).await.is_err());
    one.reconnect();
    assert_eq!(two.read_lock(&lock).await.unwrap(), None);
    assert!(two.members().await.unwrap().contains(&draining));
}

#[tokio::test]
async fn who_lost_its_id_gets_it_back_when_it_is_free() {
    let registry = EmbeddedRegistry::new();
    let (old, new) = (Embedded::new(&registry), Embedded::new(&registry));
    old.join(server("same")).await.unwrap();
    old.disconnect();
    old.expire_session();
    new.join(server("same")).await.unwrap();

    old.reconnect();
    assert_eq!(old.session().state(), SessionState::IdTaken);
    let outcome = old.try_lock(&LockKey::new("x").unwrap(), LockData::default()).await;
    assert!(matches!(outcome, Err(CoordinationError::NotJoined { .. })), "{outcome:?}");
    new.leave().await.unwrap();
    assert_eq!(old.session().state(), SessionState::Connected { session: 2 });
    assert_eq!(old.members().await.unwrap(), [server("same")]);
}

#[tokio::test]
async fn dropping_a_handle_ends_its_session() {
    let (one, two, lock) = pair().await;
    one.try_lock(&lock, LockData::default()).await.unwrap();
    drop(one);
    assert_eq!(two.members().await.unwrap(), [server("two")]);
    assert!(two.try_lock(&lock, LockData::default()).await.unwrap().is_acquired());
}
