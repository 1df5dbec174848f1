//! Requests that outlive their callers: what was given up on may take effect later, and must not stay.
//!
//! Needs `CARILLON_TEST_ZOOKEEPER=host:port,...`. A proxy before one node holds requests or answers back.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may panic, and must say when it is skipped"
)]

#[path = "support/ensemble.rs"]
mod ensemble;
#[path = "support/proxy.rs"]
mod proxy;

use std::future::Future;
use std::time::Duration;

use carillon_coordination::conformance::PATIENCE;
use carillon_coordination::{
    Coordination, CoordinationError, Hint, Hints, LockData, LockKey, LockOutcome, Member, SessionState,
    ZooKeeper, ZooKeeperSettings, join_with_patience,
};
use ensemble::{Root, server};
use futures::future::join_all;
use proxy::{CREATE, LateAnswer, MULTI, Proxy};
use tokio::time::{Instant, sleep, timeout};
use zookeeper_client as zk;

/// `one` hangs on a node behind the proxy, `two` on the ensemble.
struct Scene {
    root: Root,
    proxy: Proxy,
    one: ZooKeeper,
    two: ZooKeeper,
    lock: LockKey,
}

impl Scene {
    async fn new(test: &str) -> Option<Self> {
        let root = Root::new(test)?;
        let node = root.settings.servers.split(',').next().unwrap().to_owned();
        let proxy = Proxy::before(&node).await;
        let one = root.joined_by(&proxy.address, "one").await;
        let two = root.joined("two").await;
        Some(Self { root, proxy, one, two, lock: LockKey::new("101-1-2-6601.0").unwrap() })
    }

    async fn one_is_connected(&self) {
        let mut states = self.one.session();
        timeout(PATIENCE, states.wait_for(SessionState::is_connected)).await.unwrap().unwrap();
    }

    async fn two_takes_the_lock(&self) {
        eventually("two has the lock", || async {
            self.two
                .try_lock(&self.lock, LockData::default())
                .await
                .is_ok_and(|outcome| outcome.is_acquired())
        })
        .await;
        assert!(!self.one.holds(&self.lock));
    }

    async fn raw(&self) -> zk::Client {
        let client = zk::Client::connect(&self.root.settings.servers).await.unwrap();
        client.chroot(self.root.settings.root.clone()).unwrap()
    }
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut probe: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !probe().await {
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn hinted(hints: &mut Hints, wanted: &Hint) {
    let waiting = async { while hints.next().await.unwrap() != *wanted {} };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("no {wanted:?}"));
}

fn assert_unknown<T: std::fmt::Debug>(outcome: Result<T, CoordinationError>) {
    assert!(matches!(outcome, Err(CoordinationError::Unknown { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_lock_taken_after_its_caller_timed_out_is_released() {
    let Some(scene) = Scene::new("after_timeout").await else { return };
    let mut hints = scene.two.hints();
    scene.proxy.hold(MULTI);
    assert_unknown(scene.one.try_lock(&scene.lock, LockData::default()).await);
    assert!(!scene.one.holds(&scene.lock));
    assert_eq!(scene.two.read_lock(&scene.lock).await.unwrap(), None, "it has not taken effect yet");

    scene.proxy.deliver();
    hinted(&mut hints, &Hint::LockChanged(scene.lock.clone())).await; // so it did take effect
    hinted(&mut hints, &Hint::LockReleased(scene.lock.clone())).await;
    scene.two_takes_the_lock().await;
}

#[tokio::test]
async fn a_lock_taken_after_its_caller_went_away_is_released() {
    let Some(mut scene) = Scene::new("after_drop").await else { return };
    let mut hints = scene.two.hints();
    scene.proxy.hold(MULTI);
    {
        let attempt = scene.one.try_lock(&scene.lock, LockData::default());
        tokio::select! {
            outcome = attempt => panic!("the request is held back, but {outcome:?}"),
            () = scene.proxy.wait_for_held() => {}
        }
    }
    scene.proxy.deliver();
    hinted(&mut hints, &Hint::LockChanged(scene.lock.clone())).await;
    hinted(&mut hints, &Hint::LockReleased(scene.lock.clone())).await;
    scene.two_takes_the_lock().await;
}

#[tokio::test]
async fn an_attempt_that_arrives_after_it_was_settled_has_no_effect() {
    for known_lock in [false, true] {
        let Some(mut scene) = Scene::new("after_settling").await else { return };
        let raw = scene.raw().await;
        if known_lock {
            scene.one.try_lock(&scene.lock, LockData::default()).await.unwrap();
            scene.one.release(&scene.lock).await.unwrap();
        }
        let generation = || async {
            let stat = raw.check_stat(&format!("/generations/{}", scene.lock)).await.unwrap();
            stat.map(|stat| stat.version)
        };
        raw.sync("/").await.unwrap();
        let before = generation().await;
        assert_eq!(before.is_some(), known_lock);
        let first = scene.one.session().state();

        // The request sits on a connection that its client has given up. On the next one the handle settles the matter.
        scene.proxy.hold(MULTI);
        assert_unknown(scene.one.try_lock(&scene.lock, LockData::with_epoch(1)).await);
        scene.proxy.cut();
        eventually("the generation is spent", || async { generation().await > before }).await;
        scene.one_is_connected().await;
        assert_eq!(scene.one.session().state(), first, "the session lives on");

        scene.proxy.deliver();
        let answer = scene.proxy.late_answer().await;
        eprintln!("the late request was answered by {answer:?}");
        assert_ne!(answer, LateAnswer::Code(0), "it must not succeed");
        raw.sync("/").await.unwrap();
        assert_eq!(raw.check_stat(&format!("/locks/{}", scene.lock)).await.unwrap(), None);
        scene.two_takes_the_lock().await;
    }
}

#[tokio::test]
async fn a_lock_whose_taking_was_not_confirmed_is_released() {
    let Some(scene) = Scene::new("lost_answer").await else { return };
    let mut hints = scene.two.hints();
    // The answer to the read passes, the one to the transaction does not.
    let lock = scene.lock.clone();
    scene.proxy.hold(MULTI);
    let attempt = scene.one.try_lock(&lock, LockData::default());
    let lose_answer = async {
        sleep(Duration::from_millis(100)).await;
        scene.proxy.hold_answers();
        scene.proxy.deliver();
    };
    let (outcome, ()) = tokio::join!(attempt, lose_answer);
    assert_unknown(outcome);
    hinted(&mut hints, &Hint::LockChanged(lock.clone())).await;
    assert!(scene.two.read_lock(&lock).await.unwrap().is_some_and(|holder| holder.member.as_str() == "one"));
    assert!(!scene.one.holds(&lock));

    scene.proxy.cut();
    hinted(&mut hints, &Hint::LockReleased(lock)).await;
    scene.two_takes_the_lock().await;
    assert_eq!(scene.one.session().state(), SessionState::Connected { session: 1 });
}

#[tokio::test]
async fn after_an_unknown_outcome_the_same_handle_can_take_the_lock() {
    let Some(scene) = Scene::new("again").await else { return };
    scene.proxy.hold(MULTI);
    assert_unknown(scene.one.try_lock(&scene.lock, LockData::default()).await);
    let in_doubt = scene.one.try_lock(&scene.lock, LockData::default()).await;
    assert!(matches!(in_doubt, Err(CoordinationError::Unavailable { .. })), "{in_doubt:?}");

    scene.proxy.deliver();
    eventually("one has the lock", || async {
        scene
            .one
            .try_lock(&scene.lock, LockData::with_epoch(2))
            .await
            .is_ok_and(|outcome| outcome.is_acquired())
    })
    .await;
    assert!(scene.one.holds(&scene.lock));
    let seen = scene.one.read_lock(&scene.lock).await.unwrap().unwrap();
    assert!(
        seen.mine && seen.data == LockData::with_epoch(2),
        "the attempt that counts is the last: {seen:?}"
    );
    let other = scene.two.try_lock(&scene.lock, LockData::default()).await.unwrap();
    assert!(!other.is_acquired());
}

#[tokio::test]
async fn a_release_that_timed_out_or_was_cut_off_happens() {
    for cut in [false, true] {
        let Some(scene) = Scene::new("release").await else { return };
        scene.one.try_lock(&scene.lock, LockData::default()).await.unwrap();
        scene.proxy.hold(MULTI);
        assert_unknown(scene.one.release(&scene.lock).await);
        assert!(!scene.one.holds(&scene.lock));
        assert!(scene.two.read_lock(&scene.lock).await.unwrap().is_some(), "it is still there");
        if cut {
            scene.proxy.cut();
        } else {
            scene.proxy.deliver();
        }
        scene.two_takes_the_lock().await;
    }
}

#[tokio::test]
async fn an_update_that_was_not_confirmed_does_not_block_the_next() {
    let Some(scene) = Scene::new("update").await else { return };
    scene.one.try_lock(&scene.lock, LockData::default()).await.unwrap();
    scene.proxy.hold(MULTI);
    assert_unknown(scene.one.update_lock(&scene.lock, LockData::with_epoch(1)).await);
    assert!(scene.one.holds(&scene.lock), "only what it says is unknown");
    scene.proxy.deliver();
    eventually("the late update is there", || async {
        let holder = scene.two.read_lock(&scene.lock).await.unwrap();
        holder.is_some_and(|holder| holder.data == LockData::with_epoch(1))
    })
    .await;

    let version = scene.one.update_lock(&scene.lock, LockData::with_epoch(2)).await.unwrap();
    let holder = scene.one.read_lock(&scene.lock).await.unwrap().unwrap();
    assert_eq!((holder.data, holder.version), (LockData::with_epoch(2), version));
}

#[tokio::test]
async fn a_join_that_timed_out_leaves_no_member_behind() {
    let Some(root) = Root::new("join") else { return };
    let node = root.settings.servers.split(',').next().unwrap().to_owned();
    let mut proxy = Proxy::before(&node).await;
    let two = root.joined("two").await;
    let settings = ZooKeeperSettings {
        servers: proxy.address.clone(),
        operation_timeout: Duration::from_millis(700),
        ..root.settings.clone()
    };
    let one = ZooKeeper::connect(settings).await.unwrap();
    let mut hints = two.hints();

    proxy.hold(CREATE);
    assert_unknown(one.join(server("one")).await);
    proxy.deliver();
    assert_eq!(proxy.late_answer().await, LateAnswer::Code(0), "it did take effect");
    hinted(&mut hints, &Hint::MembersChanged).await;
    eventually("only two is there", || async { two.members().await.unwrap() == [server("two")] }).await;
    let outcome = one.try_lock(&LockKey::new("x").unwrap(), LockData::default()).await;
    assert!(
        matches!(outcome, Err(CoordinationError::NotJoined { .. } | CoordinationError::Disconnected { .. })),
        "{outcome:?}"
    );

    eventually("one has joined", || async { one.join(server("one")).await.is_ok() }).await;
    eventually("both are there", || async { two.members().await.unwrap() == [server("one"), server("two")] })
        .await;
}

#[tokio::test]
async fn a_predecessor_that_crashed_is_waited_out() {
    let Some(scene) = Scene::new("crashed").await else { return };
    scene.one.try_lock(&scene.lock, LockData::default()).await.unwrap();
    scene.proxy.close();
    let crashed = Instant::now();
    let successor = ZooKeeper::connect(scene.root.settings.clone()).await.unwrap();
    let reborn = Member { incarnation: 2, ..server("one") };
    match successor.join(reborn.clone()).await {
        Err(CoordinationError::IdTaken { holder }) => assert_eq!(holder.incarnation, 1),
        other => panic!("the predecessor's session still lives, but {other:?}"),
    }

    join_with_patience(&successor, reborn.clone(), PATIENCE).await.unwrap();
    let waited = crashed.elapsed();
    // The ensemble looks for dead sessions once per tick (0.5 s).
    assert!(waited < scene.root.session_timeout() + Duration::from_secs(2), "it took {waited:?}");
    eventually("two sees the successor", || async {
        scene.two.members().await.is_ok_and(|members| members.contains(&reborn))
    })
    .await;
    assert!(successor.try_lock(&scene.lock, LockData::default()).await.unwrap().is_acquired());
}

#[tokio::test]
async fn calls_in_flight_on_a_cut_connection_fail_as_unknown_and_leave_nothing_unclear() {
    let Some(scene) = Scene::new("in_flight").await else { return };
    let keys: Vec<_> = (0..200).map(|number| LockKey::new(format!("in-flight.{number}")).unwrap()).collect();
    for round in 0..5 {
        let attempts = join_all(keys.iter().map(|key| scene.one.try_lock(key, LockData::with_epoch(round))));
        let cut = async {
            sleep(Duration::from_millis(5 * round)).await;
            scene.proxy.cut();
        };
        let (outcomes, ()) = tokio::join!(attempts, cut);
        for outcome in &outcomes {
            match outcome {
                Ok(LockOutcome::Acquired { .. }) => {}
                Err(error) if error.is_retryable() => {}
                other => panic!("neither acquired nor retryable: {other:?}"),
            }
        }
        scene.one_is_connected().await;
        eventually("what one believes is what two sees", || async {
            let Ok(seen) = scene.two.locks().await else { return false };
            keys.iter()
                .all(|key| scene.one.holds(key) == seen.get(key).is_some_and(|h| h.member.as_str() == "one"))
        })
        .await;
        for (key, outcome) in keys.iter().zip(&outcomes) {
            assert_eq!(scene.one.holds(key), outcome.is_ok(), "{key}: {outcome:?}");
        }
        let acquired = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        eprintln!("round {round}: {acquired} of {} acquired before the cut", keys.len());
        for outcome in join_all(keys.iter().map(|key| scene.one.release(key))).await {
            outcome.unwrap();
        }
    }
}
