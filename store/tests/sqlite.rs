//! SQLite keeps the promises of the store, in memory and in a file.
#![allow(clippy::unwrap_used, reason = "a test that fails to unwrap has failed")]

use std::sync::Arc;

use carillon_core::ids::GroupId;
use carillon_core::time::Timestamp;
use carillon_store::catalog::Group;
use carillon_store::sqlite::{Durability, SqliteConfig, SqliteStore};
use carillon_store::{SharedStore, Store, StoreError, conformance};

async fn fresh(config: SqliteConfig) -> SharedStore {
    let store = SqliteStore::open(config).await.unwrap();
    store.migrate().await.unwrap();
    Arc::new(store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_promise_is_kept_in_a_database_of_its_own_in_memory() {
    let mut broken = Vec::new();
    for promise in conformance::all() {
        let store = fresh(SqliteConfig::in_memory()).await;
        broken.extend(conformance::keep(&[promise], &store).await);
        store.close().await;
    }
    assert!(broken.is_empty(), "broken promises: {broken:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_promise_is_kept_in_one_file_one_after_the_other_and_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = fresh(SqliteConfig::file(folder.path().join("carillon.db"))).await;
    let mut broken = conformance::keep(&conformance::all(), &store).await;
    broken.extend(conformance::keep_at_once(&conformance::all(), &store).await);
    store.close().await;
    assert!(broken.is_empty(), "broken promises: {broken:#?}");
}

#[tokio::test]
async fn a_missing_migration_is_named_and_each_is_applied_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = SqliteConfig::file(folder.path().join("carillon.db"));
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(Arc::new(SqliteStore::open(config.clone()).await.unwrap()));
    }
    let refused = stores[0].ready().await.unwrap_err().to_string();
    assert!(refused.contains("migration 0001_initial is missing"), "{refused}");
    let migrating: Vec<_> = stores
        .iter()
        .map(|store| {
            let store = store.clone();
            tokio::spawn(async move { store.migrate().await.unwrap() })
        })
        .collect();
    let mut applied = Vec::new();
    for migrated in migrating {
        let report = migrated.await.unwrap();
        assert_eq!(report.version, 4);
        applied.extend(report.applied);
    }
    assert_eq!(applied, ["0001_initial", "0002_observed", "0003_pages", "0004_instance"]);
    for store in stores {
        store.ready().await.unwrap();
        store.close().await;
    }
}

#[tokio::test]
async fn an_edit_after_a_failover_has_a_version_that_no_lost_edit_had() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carillon.db");
    let store = fresh(SqliteConfig::file(&path)).await;
    let copied = async || {
        let file = rusqlite::Connection::open(&path).unwrap();
        assert_eq!(file.execute("UPDATE job SET instance = 'another file'", []).unwrap(), 1);
    };
    conformance::edits::an_edit_after_a_failover_has_a_version_that_no_lost_edit_had(store, copied).await;
}

#[tokio::test]
async fn an_edited_migration_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carillon.db");
    let store = fresh(SqliteConfig::file(&path)).await;
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute("UPDATE schema_migration SET checksum = 'other'", []).unwrap();
    for refused in [store.ready().await.unwrap_err(), store.migrate().await.unwrap_err()] {
        assert!(refused.to_string().contains("0001_initial was edited"), "{refused}");
    }
}

fn group(number: u32) -> Group {
    let at = Timestamp::EPOCH;
    Group {
        id: GroupId::new(101, 1, 2, number).unwrap(),
        name: format!("group {number}"),
        description: String::new(),
        shards: 1,
        revision: 1,
        created_at: at,
        updated_at: at,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_share_a_commit_fail_each_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = SqliteConfig::file(folder.path().join("carillon.db"));
    config.durability = Durability::Power;
    let store = fresh(config).await;
    // Two of each: one of every pair is refused while its neighbours in the group are committed.
    let creating: Vec<_> = (0..200)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.create_group(&group(1 + number / 2), Timestamp::EPOCH).await })
        })
        .collect();
    let (mut made, mut refused) = (0, 0);
    for created in creating {
        match created.await.unwrap() {
            Ok(()) => made += 1,
            Err(StoreError::Conflict { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((made, refused), (100, 100));
    assert_eq!(store.groups(None, 1_000).await.unwrap().len(), 100);
    store.close().await;
}

#[tokio::test]
async fn a_closed_store_refuses_and_its_file_holds_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carillon.db");
    let store = fresh(SqliteConfig::file(&path)).await;
    store.create_group(&group(1), Timestamp::EPOCH).await.unwrap();
    store.close().await;
    for refused in [
        store.create_group(&group(2), Timestamp::EPOCH).await.unwrap_err(),
        store.groups(None, 10).await.unwrap_err(),
    ] {
        assert!(refused.to_string().contains("unavailable"), "{refused}");
    }
    store.close().await;
    let again = carillon_store::open(&format!("sqlite:{}", path.display())).await.unwrap();
    assert_eq!(again.groups(None, 10).await.unwrap(), [group(1)]);
    again.close().await;
}

#[tokio::test]
async fn another_process_that_writes_for_long_makes_us_busy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carillon.db");
    let mut config = SqliteConfig::file(&path);
    config.timeout = std::time::Duration::from_millis(50);
    let store = fresh(config).await;
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = store.create_group(&group(1), Timestamp::EPOCH).await.unwrap_err();
    assert!(matches!(refused, StoreError::Busy { .. }), "{refused}");
    assert_eq!(store.groups(None, 10).await.unwrap(), [], "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    store.create_group(&group(1), Timestamp::EPOCH).await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn a_url_that_is_no_store_is_refused_without_telling_its_password() {
    for url in ["postgres://u:secret@h/d", "sqlite:", "", "mysql://u:secret@h:99999/d"] {
        let Err(refused) = carillon_store::open(url).await else { panic!("{url} opened") };
        assert!(!format!("{refused:?}").contains("secret"), "{refused:?}");
    }
}
