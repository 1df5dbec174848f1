//! SQLite keeps the promises.
use carillon_store::sqlite::{SqliteConfig, SqliteStore};
use carillon_store::{CatalogStore, Store};

#[tokio::test]
async fn smoke() {
    let store = SqliteStore::open(SqliteConfig::in_memory()).await.unwrap();
    assert!(store.ready().await.unwrap_err().to_string().contains("0001_initial is missing"));
    assert_eq!(store.migrate().await.unwrap().applied, ["0001_initial"]);
    assert!(store.migrate().await.unwrap().applied.is_empty());
    store.ready().await.unwrap();
    assert_eq!(store.next_group_number(101).await.unwrap(), 6601);
    assert_eq!(store.next_group_number(101).await.unwrap(), 6602);
    assert_eq!(store.next_job_id().await.unwrap().get(), 1);
    store.close().await;
}
