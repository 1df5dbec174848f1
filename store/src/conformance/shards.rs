//! Ownership and placement: invariant I6, an epoch never goes back.

use carillon_core::ids::{Epoch, GroupId, ShardId};
use carillon_core::time::Timestamp;

use super::fixture::{CLUSTER, Fixture, new_group, note, patiently, server};
use crate::shards::{ClaimCause, HandOver};
use crate::{SharedStore, StoreError};

/// The epoch is the fencing token: who claims must have read the last one.
pub async fn a_claim_needs_the_epoch_that_was_read(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let owner = server("server-2");
    let gone = note(fixture.at(1), ClaimCause::OwnerGone);
    assert_eq!(store.claim(fixture.shard, Epoch::new(0), &owner, &gone).await.unwrap(), None);
    assert_eq!(store.claim(fixture.shard, Epoch::new(2), &owner, &gone).await.unwrap(), None);
    assert_eq!(store.claim(fixture.shard, Epoch::new(1), &owner, &gone).await.unwrap(), Some(Epoch::new(2)));
    // The same server again is a new epoch, since it may have forgotten what it knew.
    assert_eq!(store.claim(fixture.shard, Epoch::new(2), &owner, &gone).await.unwrap(), Some(Epoch::new(3)));
    let row = fixture.row().await;
    assert_eq!((row.epoch, row.owner, row.planned_until), (Epoch::new(3), Some(owner), fixture.start));
    let nowhere = ShardId::new(GroupId::new(CLUSTER, 1, 2, 1).unwrap(), 0);
    assert_eq!(store.claim(nowhere, Epoch::new(0), &server("server-1"), &gone).await.unwrap(), None);
    assert_eq!(store.shard(nowhere).await.unwrap(), None);
}

/// Each claim leaves a record with its time, room, cause and predecessor; a refused one leaves none.
pub async fn each_claim_is_recorded(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let lags = note(fixture.at(5), ClaimCause::OwnerLags);
    let two = server("server-2");
    assert_eq!(store.claim(fixture.shard, Epoch::new(1), &two, &lags).await.unwrap(), Some(Epoch::new(2)));
    assert_eq!(store.claim(fixture.shard, Epoch::new(1), &server("server-3"), &lags).await.unwrap(), None);
    let of_group = [fixture.group];
    let read = |from, to, limit| store.hand_overs(Some(&of_group), from, to, limit);
    let (first, second) = (
        HandOver {
            shard: fixture.shard,
            epoch: Epoch::new(1),
            owner: server("server-1"),
            previous: None,
            note: note(fixture.start, ClaimCause::First),
        },
        HandOver {
            shard: fixture.shard,
            epoch: Epoch::new(2),
            owner: two,
            previous: Some(server("server-1")),
            note: lags.clone(),
        },
    );
    assert_eq!(read(fixture.start, fixture.at(6), 10).await.unwrap(), [second.clone(), first.clone()]);
    assert_eq!(read(fixture.start, fixture.at(6), 1).await.unwrap(), [second]);
    assert_eq!(read(fixture.start, fixture.at(5), 10).await.unwrap(), [first]);
    assert_eq!(store.hand_overs(Some(&[]), fixture.start, fixture.at(6), 10).await.unwrap(), []);
}

/// Eight servers read the same epoch and claim.
pub async fn of_many_claimers_one_wins(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    for round in 1..=5 {
        let claims: Vec<_> = (1..=8)
            .map(|number| {
                let (store, shard) = (store.clone(), fixture.shard);
                let owner = server(&format!("server-{number}"));
                let gone = note(fixture.at(round), ClaimCause::OwnerGone);
                tokio::spawn(async move {
                    let epoch = patiently(|| store.claim(shard, Epoch::new(round), &owner, &gone)).await;
                    epoch.map(|epoch| (epoch, owner))
                })
            })
            .collect();
        let mut winners = Vec::new();
        for claim in claims {
            winners.extend(claim.await.unwrap());
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        let row = fixture.row().await;
        assert_eq!(winners, [(row.epoch, row.owner.unwrap())]);
    }
}

/// Holders keep their order, the preferred owner first.
pub async fn placement_reads_back(store: SharedStore) {
    let group = new_group(&store, 3, Timestamp::from_millis(5_000)).await;
    let holders = vec![server("b"), server("a.1"), server("c_-")];
    let placements =
        [(ShardId::new(group, 2), holders.clone()), (ShardId::new(group, 0), vec![server("a.1")])];
    store.place(&placements).await.unwrap();
    let rows = store.shards_of_group(group).await.unwrap();
    let placed: Vec<_> = rows.iter().map(|row| row.holders.clone()).collect();
    assert_eq!(placed, [vec![server("a.1")], vec![], holders]);
    store.place(&[(ShardId::new(group, 2), Vec::new())]).await.unwrap();
    assert_eq!(store.shards_of_group(group).await.unwrap()[2].holders, []);

    let nowhere = ShardId::new(group, 3);
    let refused = store.place(&[(ShardId::new(group, 1), vec![server("x")]), (nowhere, Vec::new())]).await;
    assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    assert_eq!(store.shards_of_group(group).await.unwrap()[1].holders, [], "nothing of it was written");
}

/// A server group's shards come in the order of their ids, which is not that of their texts.
pub async fn shards_are_listed_in_order(store: SharedStore) {
    let small = new_group(&store, 2, Timestamp::from_millis(7_000)).await;
    let large = GroupId::new(small.cluster(), 1, 2, small.number() + 1_000_000).unwrap();
    let mut group = super::fixture::draft_group(&store, 12).await;
    group.id = large;
    group.name = format!("large {large}");
    store.create_group(&group, Timestamp::from_millis(8_000)).await.unwrap();
    let rows = store.shards_of(CLUSTER, 1).await.unwrap();
    assert!(rows.is_sorted_by_key(|row| row.id), "{rows:?}");
    let of = |group: GroupId| rows.iter().filter(|row| row.id.group() == group).count();
    assert_eq!((of(small), of(large)), (2, 12));
    let row = rows.iter().find(|row| row.id == ShardId::new(small, 1)).unwrap();
    assert_eq!((row.epoch, row.jobs_version.get(), &row.owner), (Epoch::new(0), 0, &None));
    assert_eq!(row.planned_until, Timestamp::from_millis(7_000));
    assert_eq!(store.shards_of(CLUSTER, 999).await.unwrap(), []);
}

/// Another name means another database, which may lack what this one has acknowledged; over any connection, and beside other work.
pub async fn the_same_database_names_itself_the_same(store: SharedStore) {
    let first = store.instance().await.unwrap();
    assert!(!first.is_empty());
    let (one, other) = tokio::join!(store.instance(), store.instance());
    assert_eq!([one.unwrap(), other.unwrap()], [first.clone(), first]);
}
