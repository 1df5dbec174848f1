//! Promises about members.

use std::time::Duration;

use crate::conformance::scene::{Cluster, PATIENCE, eventually, hinted, joined, key, server};
use crate::coordination::Coordination;
use crate::error::CoordinationError;
use crate::hint::{Hint, SessionState};
use crate::lock::LockData;
use crate::member::{Load, Member};
use crate::patience::join_with_patience;

async fn seen(handle: &impl Coordination, id: &str) -> Option<Member> {
    let members = handle.members().await.expect("members are readable");
    assert!(members.is_sorted_by(|a, b| a.id < b.id), "members come ordered by id, each once");
    members.into_iter().find(|member| member.id.as_str() == id)
}

/// Members see each other come, change and go, and are woken by a hint each time.
pub async fn members_see_each_other_come_change_and_go<C: Cluster>(cluster: &C) {
    let watcher = joined(cluster, "come-go-watcher").await;
    let mut hints = watcher.hints();
    assert_eq!(seen(&watcher, "come-go-watcher").await, Some(server("come-go-watcher")));

    let other = joined(cluster, "come-go-other").await;
    hinted(&mut hints, |hint| *hint == Hint::MembersChanged, "the newcomer").await;
    eventually("the newcomer is seen", || async {
        seen(&watcher, "come-go-other").await == Some(server("come-go-other"))
    })
    .await;

    let busy = Member {
        load: Load { shards_owned: 3, shards_held: 7, workers: 2 },
        draining: true,
        ..server("come-go-other")
    };
    other.update_member(busy.clone()).await.expect("a member may change its description");
    hinted(&mut hints, |hint| *hint == Hint::MembersChanged, "the new load").await;
    eventually("the new load is seen", || async {
        seen(&watcher, "come-go-other").await.as_ref() == Some(&busy)
    })
    .await;

    other.leave().await.expect("a member may leave");
    hinted(&mut hints, |hint| *hint == Hint::MembersChanged, "the leaving").await;
    eventually("the leaving is seen", || async { seen(&watcher, "come-go-other").await.is_none() }).await;
}

/// Of two live servers with one id the second is refused and told who holds it; the first is not disturbed.
pub async fn a_second_server_with_one_id_is_refused<C: Cluster>(cluster: &C) {
    let first = joined(cluster, "twin").await;
    let second = cluster.handle().await;
    let twin = Member { address: "elsewhere:7070".to_owned(), incarnation: 2, ..server("twin") };

    match second.join(twin.clone()).await {
        Err(CoordinationError::IdTaken { holder }) => assert_eq!(*holder, server("twin")),
        other => panic!("the second must be refused, got {other:?}"),
    }
    let short = Duration::from_millis(600);
    match join_with_patience(&second, twin.clone(), short).await {
        Err(CoordinationError::IdTaken { .. }) => {}
        other => panic!("patience must not push a live server aside, got {other:?}"),
    }
    assert_eq!(seen(&first, "twin").await, Some(server("twin")));
    first.join(server("twin")).await.expect("joining again as oneself is fine");

    first.leave().await.expect("the first leaves");
    join_with_patience(&second, twin.clone(), PATIENCE).await.expect("the id is free now");
    assert_eq!(seen(&second, "twin").await, Some(twin));
}

/// A process that starts again finds its predecessor's session alive; with patience it joins as soon as that is gone.
pub async fn a_restarted_server_waits_out_its_predecessor<C: Cluster>(cluster: &C) {
    let predecessor = joined(cluster, "phoenix").await;
    let successor = cluster.handle().await;
    let reborn = Member { incarnation: 2, ..server("phoenix") };
    let waiting = join_with_patience(&successor, reborn.clone(), PATIENCE);
    let dying = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        predecessor.leave().await.expect("the predecessor goes");
    };
    let (outcome, ()) = tokio::join!(waiting, dying);
    outcome.expect("the successor joins");
    assert_eq!(seen(&successor, "phoenix").await, Some(reborn));
}

/// Leaving frees the locks and the id at once, and ends the handle.
pub async fn leaving_gives_everything_back<C: Cluster>(cluster: &C) {
    let leaver = joined(cluster, "leaver").await;
    let stayer = joined(cluster, "stayer").await;
    let lock = key("leaver.0");
    assert!(leaver.try_lock(&lock, LockData::default()).await.expect("answered").is_acquired());
    let mut hints = stayer.hints();

    leaver.leave().await.expect("leaving succeeds");
    leaver.leave().await.expect("leaving twice is leaving once");

    assert_eq!(leaver.session().state(), SessionState::Closed);
    assert!(!leaver.holds(&lock));
    assert!(matches!(leaver.members().await, Err(CoordinationError::Closed { .. })));
    assert!(matches!(
        leaver.try_lock(&lock, LockData::default()).await,
        Err(CoordinationError::Closed { .. })
    ));
    hinted(
        &mut hints,
        |hint| matches!(hint, Hint::LockReleased(k) if k.as_str() == "leaver.0"),
        "the freed lock",
    )
    .await;
    eventually("the lock can be taken", || async {
        stayer.try_lock(&lock, LockData::default()).await.expect("answered").is_acquired()
    })
    .await;
    assert_eq!(seen(&stayer, "leaver").await, None);
}
