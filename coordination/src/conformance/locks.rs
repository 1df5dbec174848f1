//! Promises about locks.

use std::collections::BTreeSet;

use futures::future::join_all;

use crate::conformance::scene::{Cluster, acquired, eventually, hinted, joined, key, show};
use crate::coordination::Coordination;
use crate::error::CoordinationError;
use crate::hint::Hint;
use crate::lock::{LockData, LockOutcome};

/// A lock has one holder; who else tries is told who that is and what it wrote.
pub async fn a_lock_has_one_holder<C: Cluster>(cluster: &C) {
    let (first, second) = (joined(cluster, "holder-1").await, joined(cluster, "holder-2").await);
    let lock = key("one-holder.0");
    assert_eq!(second.read_lock(&lock).await.expect("answered"), None);

    let version = acquired(first.try_lock(&lock, LockData::with_epoch(5)).await.expect("answered"));
    let holder = match second.try_lock(&lock, LockData::with_epoch(6)).await.expect("answered") {
        LockOutcome::HeldBy(holder) => holder,
        other => panic!("two holders at once: {other:?}"),
    };

    assert_eq!(
        (holder.member.as_str(), holder.data, holder.version),
        ("holder-1", LockData::with_epoch(5), version)
    );
    assert!(!holder.mine);
    assert!(first.holds(&lock) && !second.holds(&lock));
    let own = first.read_lock(&lock).await.expect("answered").expect("held");
    assert!(own.mine && own.version == version, "{own:?}");
}

/// Of many that try at the same moment exactly one gets the lock.
pub async fn contenders_elect_exactly_one<C: Cluster>(cluster: &C) {
    let mut contenders = Vec::new();
    for number in 0..4 {
        contenders.push(joined(cluster, &format!("contender-{number}")).await);
    }
    for round in 0..10 {
        let lock = key(&format!("election.{round}"));
        let tries = contenders.iter().map(|contender| contender.try_lock(&lock, LockData::default()));
        let outcomes = join_all(tries).await;
        let winners =
            outcomes.iter().filter(|outcome| matches!(outcome, Ok(LockOutcome::Acquired { .. }))).count();
        assert_eq!(winners, 1, "round {round}: {outcomes:?}");
        assert!(outcomes.iter().all(Result::is_ok), "round {round}: {outcomes:?}");
        assert_eq!(contenders.iter().filter(|contender| contender.holds(&lock)).count(), 1);
    }
}

/// No lock without a member to name as its holder.
pub async fn a_lock_needs_a_member<C: Cluster>(cluster: &C) {
    let stranger = cluster.handle().await;
    let outcome = stranger.try_lock(&key("stranger.0"), LockData::default()).await;
    assert!(matches!(outcome, Err(CoordinationError::NotJoined { .. })), "{outcome:?}");
}

/// Taking a lock one holds already succeeds and leaves data and version alone.
pub async fn taking_a_held_lock_again_changes_nothing<C: Cluster>(cluster: &C) {
    let holder = joined(cluster, "again").await;
    let lock = key("again.0");
    let first = acquired(holder.try_lock(&lock, LockData::with_epoch(1)).await.expect("answered"));
    let second = acquired(holder.try_lock(&lock, LockData::with_epoch(2)).await.expect("answered"));
    assert_eq!(first, second);
    let read = holder.read_lock(&lock).await.expect("answered").expect("held");
    assert_eq!(read.data, LockData::with_epoch(1));
}

/// A released lock goes to another, who is woken by a hint; its version never returns.
pub async fn a_released_lock_goes_to_another<C: Cluster>(cluster: &C) {
    let (first, second) = (joined(cluster, "release-1").await, joined(cluster, "release-2").await);
    let lock = key("release.0");
    let before = acquired(first.try_lock(&lock, LockData::default()).await.expect("answered"));
    let mut hints = second.hints();

    first.release(&lock).await.expect("released");
    assert!(!first.holds(&lock));
    first.release(&lock).await.expect("releasing what one does not hold succeeds");

    hinted(
        &mut hints,
        |hint| matches!(hint, Hint::LockReleased(k) if k.as_str() == "release.0"),
        "the release",
    )
    .await;
    let after = acquired(second.try_lock(&lock, LockData::default()).await.expect("answered"));
    assert!(after.generation > before.generation, "{before:?} then {after:?}");
    first.release(&lock).await.expect("releasing what another holds succeeds");
    assert!(second.read_lock(&lock).await.expect("answered").expect("still held").mine);
}

/// When a session ends, its locks are free, others are woken, and the loser is told.
pub async fn a_lock_is_free_again_after_its_session<C: Cluster>(cluster: &C) {
    let (loser, heir) = (joined(cluster, "loser").await, joined(cluster, "heir").await);
    let lock = key("heritage.0");
    acquired(loser.try_lock(&lock, LockData::with_epoch(1)).await.expect("answered"));
    let (mut of_loser, mut of_heir) = (loser.hints(), heir.hints());

    cluster.expire(&loser).await;

    hinted(
        &mut of_heir,
        |hint| matches!(hint, Hint::LockReleased(k) if k.as_str() == "heritage.0"),
        "the free lock",
    )
    .await;
    eventually("the heir has the lock", || async {
        heir.try_lock(&lock, LockData::with_epoch(2)).await.expect("answered").is_acquired()
    })
    .await;
    hinted(&mut of_loser, |hint| matches!(hint, Hint::LockLost(k) if k.as_str() == "heritage.0"), "the loss")
        .await;
    eventually("the loser knows", || async { !loser.holds(&lock) }).await;
}

/// Displacing works in one step at the state that was seen, and at no other: neither after an update nor after the lock
/// went to somebody else in between.
pub async fn displacing_needs_the_state_that_was_seen<C: Cluster>(cluster: &C) {
    let (stuck, rescuer) = (joined(cluster, "stuck").await, joined(cluster, "rescuer").await);
    let third = joined(cluster, "third").await;
    let lock = key("displace.0");

    let taken = acquired(stuck.try_lock(&lock, LockData::default()).await.expect("answered"));
    let updated = stuck.update_lock(&lock, LockData::with_epoch(7)).await.expect("its holder may write");
    assert_eq!(updated.generation, taken.generation);
    assert_ne!(updated, taken);
    match rescuer.displace(&lock, taken, LockData::with_epoch(8)).await.expect("answered") {
        LockOutcome::HeldBy(holder) => {
            assert_eq!((holder.member.as_str(), holder.version), ("stuck", updated))
        }
        other => panic!("a holder that has moved on was displaced: {other:?}"),
    }

    let mut of_stuck = stuck.hints();
    let rescued =
        acquired(rescuer.displace(&lock, updated, LockData::with_epoch(8)).await.expect("answered"));
    assert!(rescued.generation > updated.generation);
    assert!(rescuer.holds(&lock));
    hinted(
        &mut of_stuck,
        |hint| matches!(hint, Hint::LockLost(k) if k.as_str() == "displace.0"),
        "being displaced",
    )
    .await;
    eventually("the displaced one knows", || async { !stuck.holds(&lock) }).await;

    rescuer.update_lock(&lock, LockData::with_epoch(9)).await.expect("the new holder may write");
    match third.displace(&lock, updated, LockData::with_epoch(10)).await.expect("answered") {
        LockOutcome::HeldBy(holder) => assert_eq!(holder.member.as_str(), "rescuer"),
        other => panic!("the same revision of an earlier holding must not do: {other:?}"),
    }

    rescuer.release(&lock).await.expect("released");
    eventually("a free lock is simply taken", || async {
        third.displace(&lock, updated, LockData::default()).await.expect("answered").is_acquired()
    })
    .await;
}

/// Who has lost a lock cannot write into it, even if it does not know of the loss yet; nor can who never held it.
pub async fn updates_are_fenced_after_a_loss<C: Cluster>(cluster: &C) {
    let (former, present) = (joined(cluster, "former").await, joined(cluster, "present").await);
    let lock = key("fenced.0");
    let version = acquired(former.try_lock(&lock, LockData::with_epoch(1)).await.expect("answered"));
    acquired(present.displace(&lock, version, LockData::with_epoch(2)).await.expect("answered"));

    let outcome = former.update_lock(&lock, LockData::with_epoch(99)).await;
    assert!(matches!(outcome, Err(CoordinationError::NotHolder { .. })), "{outcome:?}");
    former.release(&lock).await.expect("releasing what is lost succeeds");

    let holder = present.read_lock(&lock).await.expect("answered").expect("still held");
    assert!(holder.mine && holder.data == LockData::with_epoch(2), "{}", show(&holder));
    let never_held = former.update_lock(&key("fenced.1"), LockData::default()).await;
    assert!(matches!(never_held, Err(CoordinationError::NotHolder { .. })), "{never_held:?}");
}

/// A thousand locks are taken, listed, and all lost together with their session.
pub async fn a_thousand_locks<C: Cluster>(cluster: &C) {
    const LOCKS: usize = 1000;
    let (owner, reader) = (joined(cluster, "thousand-owner").await, joined(cluster, "thousand-reader").await);
    let keys: BTreeSet<_> = (0..LOCKS).map(|number| key(&format!("thousand.{number}"))).collect();
    let outcomes = join_all(keys.iter().map(|key| owner.try_lock(key, LockData::with_epoch(3)))).await;
    for outcome in outcomes {
        acquired(outcome.expect("answered"));
    }
    let updates = join_all(keys.iter().map(|key| owner.update_lock(key, LockData::with_epoch(4)))).await;
    assert!(updates.iter().all(Result::is_ok));

    eventually("the reader lists all of them", || async {
        let listed = reader.locks().await.expect("answered");
        let found = listed.iter().filter(|(key, holder)| {
            keys.contains(key)
                && holder.member.as_str() == "thousand-owner"
                && holder.data == LockData::with_epoch(4)
        });
        found.count() == LOCKS
    })
    .await;

    cluster.expire(&owner).await;
    eventually("all of them are free", || async {
        let listed = reader.locks().await.expect("answered");
        !listed.keys().any(|key| keys.contains(key))
    })
    .await;
    eventually("their owner knows", || async { !keys.iter().any(|key| owner.holds(key)) }).await;
}
