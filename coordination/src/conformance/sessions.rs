//! Promises about sessions.

use crate::conformance::scene::{Cluster, acquired, eventually, hinted, joined, key, server, session_number};
use crate::coordination::Coordination;
use crate::hint::{Hint, SessionState};
use crate::lock::LockData;

/// After its session was lost a handle is a member again by itself, with a working watch, but holds no lock it did not take
/// anew.
pub async fn a_lost_session_is_replaced_but_not_its_locks<C: Cluster>(cluster: &C) {
    let handle = joined(cluster, "replaced").await;
    let witness = joined(cluster, "replaced-witness").await;
    let lock = key("replaced.0");
    acquired(handle.try_lock(&lock, LockData::with_epoch(1)).await.expect("answered"));
    let first = session_number(&handle, |_| true).await;
    let mut hints = handle.hints();

    cluster.expire(&handle).await;

    hinted(&mut hints, |hint| *hint == Hint::Session(SessionState::Expired), "the lost session").await;
    let second = session_number(&handle, |number| number > first).await;
    assert!(second > first);
    eventually("it is a member again", || async {
        let members = witness.members().await.expect("answered");
        members.contains(&server("replaced"))
    })
    .await;
    assert!(!handle.holds(&lock), "a lock is never retaken silently");
    assert_eq!(witness.read_lock(&lock).await.expect("answered"), None);

    acquired(handle.try_lock(&lock, LockData::with_epoch(2)).await.expect("answered"));
    let mut hints = handle.hints();
    witness.try_lock(&key("replaced.1"), LockData::default()).await.expect("answered");
    let wanted = |hint: &Hint| matches!(hint, Hint::LockChanged(k) if k.as_str() == "replaced.1");
    hinted(&mut hints, wanted, "a change after the new session").await;
}

/// Each new session of a handle has a higher number.
pub async fn every_session_has_its_number<C: Cluster>(cluster: &C) {
    let handle = joined(cluster, "numbered").await;
    let lock = key("numbered.0");
    let mut last = session_number(&handle, |_| true).await;
    for _ in 0..3 {
        eventually("the lock is taken", || async {
            handle.try_lock(&lock, LockData::default()).await.is_ok_and(|outcome| outcome.is_acquired())
        })
        .await;
        cluster.expire(&handle).await;
        last = session_number(&handle, |number| number > last).await;
        assert!(!handle.holds(&lock), "session {last} holds what an earlier one took");
    }
    handle.members().await.expect("the last session works");
}
