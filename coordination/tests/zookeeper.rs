//! The ZooKeeper backend keeps every promise, on a real ensemble.
//!
//! Needs `CARILLON_TEST_ZOOKEEPER=host:port,...` (see `tests/services/zookeeper.sh`). Every test works below a root of its
//! own, so they run at once on one ensemble.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may panic, and must say when it is skipped"
)]

#[path = "support/ensemble.rs"]
mod ensemble;

use std::time::Duration;

use async_trait::async_trait;
use carillon_coordination::conformance::{self, Cluster, PATIENCE};
use carillon_coordination::{
    Coordination, CoordinationError, LockData, LockKey, SessionState, ZooKeeper, ZooKeeperSettings,
};
use ensemble::{Root, server};

#[async_trait]
impl Cluster for Root {
    type Handle = ZooKeeper;

    async fn handle(&self) -> ZooKeeper {
        self.connect().await
    }

    async fn expire(&self, handle: &ZooKeeper) {
        handle.expire_session().await.unwrap();
    }
}

macro_rules! keeps {
    ($($promise:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let Some(root) = Root::new(stringify!($promise)) else { return };
            conformance::$promise(&root).await;
        }
    )*};
}

carillon_coordination::every_promise!(keeps);

#[tokio::test]
async fn a_handle_starts_while_there_is_no_ensemble() {
    let settings = ZooKeeperSettings {
        session_timeout: Duration::from_millis(500),
        operation_timeout: Duration::from_millis(500),
        ..ZooKeeperSettings::new("127.0.0.1:1", "/carillon-test/nowhere")
    };
    let handle = ZooKeeper::start(settings.clone()).unwrap();
    assert_eq!(handle.session().state(), SessionState::Disconnected);
    let outcome = handle.join(server("early")).await;
    assert!(matches!(outcome, Err(CoordinationError::Disconnected { .. })), "{outcome:?}");
    handle.leave().await.unwrap();

    let outcome = ZooKeeper::connect(settings).await;
    assert!(matches!(outcome, Err(CoordinationError::Unavailable { .. })), "{outcome:?}");
}

#[tokio::test]
async fn dropping_a_handle_closes_its_session() {
    let Some(root) = Root::new("dropping_a_handle_closes_its_session") else { return };
    let (one, two) = (root.joined("one").await, root.joined("two").await);
    let lock = LockKey::new("x").unwrap();
    assert!(one.try_lock(&lock, LockData::default()).await.unwrap().is_acquired());
    let dropped = tokio::time::Instant::now();
    drop(one);
    while !two.try_lock(&lock, LockData::default()).await.unwrap().is_acquired() {
        assert!(dropped.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(dropped.elapsed() < root.session_timeout(), "it took the expiry: {:?}", dropped.elapsed());
}
