//! The hazards of a real ensemble: silent nodes, failovers, lost quorums, lost data.
//!
//! Needs `CARILLON_TEST_ZOOKEEPER_DIR`, the folder of a three-node ensemble started by `tests/services/zookeeper.sh`: the
//! tests pause and kill its nodes, one test at a time.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may panic, and must say when it is skipped"
)]

#[path = "support/ensemble.rs"]
mod ensemble;

use std::future::Future;
use std::time::Duration;

use carillon_coordination::conformance::PATIENCE;
use carillon_coordination::{
    Coordination, CoordinationError, Hint, Hints, LockData, LockKey, LockOutcome, SessionState, Topic,
    ZooKeeper,
};
use ensemble::{Nodes, Root, server};
use futures::future::join_all;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

/// The tests share one ensemble, and break it.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

fn key(name: &str) -> LockKey {
    LockKey::new(name).unwrap()
}

async fn eventually<F: Future<Output = bool>>(what: &str, mut probe: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !probe().await {
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn takes(handle: &ZooKeeper, lock: &LockKey) -> bool {
    matches!(handle.try_lock(lock, LockData::default()).await, Ok(LockOutcome::Acquired { .. }))
}

fn state(handle: &ZooKeeper) -> SessionState {
    handle.session().state()
}

async fn is_in(handle: &ZooKeeper, wanted: impl Fn(SessionState) -> bool + Copy) -> SessionState {
    let mut states = handle.session();
    let waiting = states.wait_for(wanted);
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{handle:?}")).unwrap()
}

async fn hinted(hints: &mut Hints, wanted: &Hint) {
    let waiting = async { while hints.next().await.unwrap() != *wanted {} };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("no {wanted:?}"));
}

async fn sees_member(handle: &ZooKeeper, id: &str) -> bool {
    handle.members().await.is_ok_and(|members| members.contains(&server(id)))
}

/// One member that hangs on a follower alone, and one that hangs on the other nodes.
async fn one_on_a_follower(nodes: &Nodes) -> (u32, Root, ZooKeeper, ZooKeeper) {
    let root = nodes.root();
    let follower = nodes.follower();
    let one = root.joined_by(&nodes.address(follower), "one").await;
    let two = root.joined_by(&nodes.addresses_without(follower), "two").await;
    (follower, root, one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_is_cut_off_stops_trusting_its_lock_before_anybody_else_gets_it() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(nodes) = Nodes::new("cut_off") else { return };
    let (follower, root, one, two) = one_on_a_follower(&nodes).await;
    let lock = key("cut-off.0");
    assert!(takes(&one, &lock).await);
    let (mut of_one, mut of_two) = (one.hints(), two.hints());

    nodes.pause(follower);
    let silent = Instant::now();
    is_in(&one, |state| state == SessionState::Disconnected).await;
    assert!(!one.holds(&lock));
    let noticed = silent.elapsed();
    assert!(noticed < root.session_timeout() * 3 / 5, "noticed after {noticed:?}");
    assert!(!takes(&two, &lock).await, "its session still lives");
    let early = one.try_lock(&lock, LockData::default()).await;
    assert!(matches!(early, Err(CoordinationError::Disconnected { .. })), "{early:?}");

    hinted(&mut of_two, &Hint::LockReleased(lock.clone())).await;
    eventually("two has the lock", || takes(&two, &lock)).await;
    let freed = silent.elapsed();
    eprintln!("trusted no more after {noticed:?}, free for others after {freed:?}");
    assert!(!one.holds(&lock));

    nodes.cont(follower);
    hinted(&mut of_one, &Hint::LockLost(lock.clone())).await;
    is_in(&one, |state| state == SessionState::Connected { session: 2 }).await;
    eventually("one is a member again", || sees_member(&two, "one")).await;
    assert!(!takes(&one, &lock).await, "two holds it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_silence_costs_nothing() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(nodes) = Nodes::new("short_silence") else { return };
    let (follower, _root, one, two) = one_on_a_follower(&nodes).await;
    let lock = key("short.0");
    assert!(takes(&one, &lock).await);
    let mut hints = one.hints();

    nodes.pause(follower);
    is_in(&one, |state| state == SessionState::Disconnected).await;
    // While it is away, hints are missed.
    let topic = Topic::new("missed").unwrap();
    two.notify(&topic).await.unwrap();
    nodes.cont(follower);

    is_in(&one, |state| state == SessionState::Connected { session: 1 }).await;
    assert!(one.holds(&lock), "the session lives on, and so does the lock");
    hinted(&mut hints, &Hint::Rescan).await;
    assert!(!takes(&two, &lock).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn being_displaced_while_cut_off_is_seen_at_once_after_coming_back() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(nodes) = Nodes::new("displaced_away") else { return };
    let (follower, _root, one, two) = one_on_a_follower(&nodes).await;
    let lock = key("displaced.0");
    assert!(takes(&one, &lock).await);
    let mut hints = one.hints();

    nodes.pause(follower);
    is_in(&one, |state| state == SessionState::Disconnected).await;
    let seen = two.read_lock(&lock).await.unwrap().unwrap().version;
    assert!(two.displace(&lock, seen, LockData::with_epoch(2)).await.unwrap().is_acquired());
    nodes.cont(follower);

    is_in(&one, |state| state == SessionState::Connected { session: 1 }).await;
    assert!(!one.holds(&lock), "it was connected and believed to hold a lock that was gone");
    hinted(&mut hints, &Hint::LockLost(lock.clone())).await;
    assert!(two.holds(&lock));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_and_locks_survive_the_death_of_the_leader_and_calls_never_lie() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(nodes) = Nodes::new("leader_killed") else { return };
    let root = nodes.root();
    let (one, two) = (root.joined("one").await, root.joined("two").await);
    let lock = key("survivor.0");
    assert!(takes(&one, &lock).await);
    let leader = nodes.leader();
    let keys: Vec<_> = (0..100).map(|number| key(&format!("storm.{number}"))).collect();

    let stop = Instant::now() + Duration::from_secs(3);
    let contend = async |handle: &ZooKeeper| {
        let (mut acquired, mut failed) = (0, 0);
        while Instant::now() < stop {
            for outcome in join_all(keys.iter().map(|key| handle.try_lock(key, LockData::default()))).await {
                match outcome {
                    Ok(LockOutcome::Acquired { .. }) => acquired += 1,
                    Ok(LockOutcome::HeldBy(_)) => {}
                    Err(error) if error.is_retryable() => failed += 1,
                    Err(error) => panic!("not retryable in a failover: {error:?}"),
                }
            }
            for (at, key) in keys.iter().enumerate() {
                if at % 2 == 0 && handle.holds(key) {
                    let _ = handle.release(key).await;
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
        (acquired, failed)
    };
    let failover = async {
        sleep(Duration::from_millis(300)).await;
        nodes.kill(leader);
    };
    let (of_one, of_two, ()) = tokio::join!(contend(&one), contend(&two), failover);
    eprintln!("acquired and failed: one {of_one:?}, two {of_two:?}");

    is_in(&one, SessionState::is_connected).await;
    is_in(&two, SessionState::is_connected).await;
    assert_eq!(state(&one), SessionState::Connected { session: 1 });
    assert!(one.holds(&lock) && !takes(&two, &lock).await, "the lock outlived the leader");
    eventually("both believe what the ensemble says", || async {
        let Ok(seen) = two.locks().await else { return false };
        keys.iter().all(|key| {
            let holder = seen.get(key).map(|holder| holder.member.as_str());
            one.holds(key) == (holder == Some("one")) && two.holds(key) == (holder == Some("two"))
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_leader_is_replaced_and_leaves_no_ghosts() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(nodes) = Nodes::new("leader_paused") else { return };
    let root = nodes.root();
    let (one, two) = (root.joined("one").await, root.joined("two").await);
    let leader = nodes.leader();
    let keys: Vec<_> = (0..50).map(|number| key(&format!("silent.{number}"))).collect();

    nodes.pause(leader);
    let outcomes = join_all(keys.iter().map(|key| one.try_lock(key, LockData::default()))).await;
    assert!(
        outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(LockOutcome::is_acquired)
            || outcome.as_ref().is_err_and(CoordinationError::is_retryable)),
        "{outcomes:?}"
    );
    let after = key("silent.after");
    eventually("another leads, and two takes a lock", || takes(&two, &after)).await;
    nodes.cont(leader);
    nodes.wait();

    is_in(&one, SessionState::is_connected).await;
    eventually("every lock is held by one, knowingly, or can be taken", || async {
        for key in keys.iter().filter(|key| !one.holds(key) && !two.holds(key)) {
            if !takes(&two, key).await {
                return false;
            }
        }
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_quorum_is_survived_without_help() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(nodes) = Nodes::new("no_quorum") else { return };
    let root = nodes.root();
    let (one, two) = (root.joined("one").await, root.joined("two").await);
    let lock = key("quorum.0");
    assert!(takes(&one, &lock).await);
    let mut hints = one.hints();

    // Until the clients themselves give their sessions up, which the ensemble meanwhile cannot end.
    for index in 1..=3 {
        nodes.kill(index);
    }
    let lost = |state: SessionState| state == SessionState::Expired;
    is_in(&one, lost).await;
    is_in(&two, lost).await;
    assert!(!one.holds(&lock));
    hinted(&mut hints, &Hint::LockLost(lock.clone())).await;
    for index in 1..=3 {
        nodes.revive(index);
    }
    nodes.wait();

    is_in(&one, SessionState::is_connected).await;
    is_in(&two, SessionState::is_connected).await;
    eventually("both are members again", || async {
        sees_member(&one, "two").await && sees_member(&two, "one").await
    })
    .await;
    // The former session's lock is there until the ensemble has ended that session.
    eventually("the lock can be taken again", || takes(&two, &lock)).await;
    assert!(!one.holds(&lock));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wiped_data_are_survived_without_help() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(nodes) = Nodes::new("wiped") else { return };
    let root = nodes.root();
    let (one, two) = (root.joined("one").await, root.joined("two").await);
    let lock = key("wiped.0");
    assert!(takes(&one, &lock).await);

    for index in 1..=3 {
        nodes.kill(index);
    }
    nodes.wipe();
    for index in 1..=3 {
        nodes.revive(index);
    }
    nodes.wait();

    is_in(&one, |state| matches!(state, SessionState::Connected { session } if session > 1)).await;
    is_in(&two, |state| matches!(state, SessionState::Connected { session } if session > 1)).await;
    eventually("both are members again", || async {
        sees_member(&one, "two").await && sees_member(&two, "one").await
    })
    .await;
    assert!(!one.holds(&lock));
    eventually("the lock can be taken again", || takes(&two, &lock)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_to_find_its_id_taken_holds_back_until_it_is_free() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(nodes) = Nodes::new("id_taken") else { return };
    let (follower, root, one, two) = one_on_a_follower(&nodes).await;
    nodes.pause(follower);
    eventually("the ensemble has ended its session", || async {
        two.members().await.is_ok_and(|members| members == [server("two")])
    })
    .await;
    let usurper = root.joined_by(&nodes.addresses_without(follower), "one").await;
    nodes.cont(follower);

    is_in(&one, |state| state == SessionState::IdTaken).await;
    let outcome = one.try_lock(&key("taken.0"), LockData::default()).await;
    assert!(matches!(outcome, Err(CoordinationError::NotJoined { .. })), "{outcome:?}");
    usurper.leave().await.unwrap();
    is_in(&one, SessionState::is_connected).await;
    eventually("one is a member again", || sees_member(&two, "one")).await;
    assert!(takes(&one, &key("taken.0")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_locks_cost_an_idle_ensemble_nothing() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(nodes) = Nodes::new("idle") else { return };
    let root = nodes.root();
    // A session that another test could not close any more is ended by the ensemble later, by a transaction.
    let sessions = || nodes.figure(nodes.leader(), "zk_global_sessions");
    eprintln!("{} sessions are left over from before", sessions());
    eventually("there are no sessions but one's own", async || sessions() == 0).await;
    let watches_before: i64 = (1..=3).map(|index| nodes.figure(index, "zk_watch_count")).sum();
    let (one, two) = (root.joined("one").await, root.joined("two").await);
    let keys: Vec<_> = (0..1000).map(|number| key(&format!("idle.{number}"))).collect();
    for outcome in join_all(keys.iter().map(|key| one.try_lock(key, LockData::default()))).await {
        assert!(outcome.unwrap().is_acquired());
    }
    eventually("two sees them all", || async { two.locks().await.is_ok_and(|locks| locks.len() == 1000) })
        .await;

    let packets = || -> i64 { (1..=3).map(|index| nodes.figure(index, "zk_packets_received")).sum() };
    let (zxid, received) = (nodes.zxid(nodes.leader()), packets());
    sleep(Duration::from_secs(3)).await; // nothing to wait for: it is about nothing happening
    let received = packets() - received;
    assert_eq!(sessions(), 2, "this test is about two sessions");
    assert_eq!(nodes.zxid(nodes.leader()), zxid, "an idle cluster writes nothing");
    // Two sessions ping every 0.6 s; asking for the figures is not counted.
    assert!(received <= 20, "{received} requests in 3 s by two idle sessions");
    let watches: i64 = (1..=3).map(|index| nodes.figure(index, "zk_watch_count")).sum();
    // Three recursive watches each, which the ensemble counts twice (for data and for children).
    assert_eq!(watches - watches_before, 12, "however many locks there are");
    assert!(keys.iter().all(|key| one.holds(key)));
}
