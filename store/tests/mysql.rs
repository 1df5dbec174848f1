//! MySQL keeps the promises of the store, and says what it does not know when the server fails.
//!
//! Needs a server: `tests/services/mariadb.sh start DIR`, then `CARILLON_TEST_MYSQL=$(tests/services/mariadb.sh url DIR)`.
#![allow(clippy::unwrap_used, reason = "a test that fails to unwrap has failed")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use carillon_core::ids::GroupId;
use carillon_core::time::Timestamp;
use carillon_store::catalog::Group;
use carillon_store::mysql::{MysqlConfig, MysqlStore};
use carillon_store::{CatalogStore, SharedStore, Store, StoreError, conformance};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The URL of the server to test with; none, loudly, where none is given and none is required.
fn server() -> Option<String> {
    match std::env::var("CARILLON_TEST_MYSQL") {
        Ok(url) => Some(url),
        Err(_) if std::env::var("CARILLON_REQUIRE_SERVICES").is_ok_and(|required| required == "1") => {
            panic!("CARILLON_TEST_MYSQL is not set, and CARILLON_REQUIRE_SERVICES=1")
        }
        Err(_) => {
            eprintln!(
                "SKIPPED: set CARILLON_TEST_MYSQL=mysql://user:password@host:port/database to run this test"
            );
            None
        }
    }
}

/// A database of its own on the server, dropped at the end.
struct Database {
    server: String,
    name: String,
    url: String,
}

impl Database {
    async fn create(server: String, name: &str) -> Self {
        let name = format!("carillon_{name}_{}", std::process::id());
        let (base, _) = server.rsplit_once('/').expect("the URL names a database");
        let url = format!("{base}/{name}");
        let database = Self { server, name, url };
        database.ask(&format!("DROP DATABASE IF EXISTS {}", database.name)).await;
        database
            .ask(&format!("CREATE DATABASE {} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", database.name))
            .await;
        database
    }

    async fn connection(&self) -> Conn {
        Conn::new(Opts::from_url(&self.server).unwrap()).await.unwrap()
    }

    async fn ask(&self, sql: &str) {
        let mut connection = self.connection().await;
        connection.query_drop(sql).await.unwrap();
        connection.disconnect().await.unwrap();
    }

    /// The process numbers of this database's connections, once there are as many as wanted.
    async fn connections(&self, wanted: usize) -> Vec<u64> {
        let mut connection = self.connection().await;
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let sql = format!("SELECT id FROM information_schema.processlist WHERE db = '{}'", self.name);
            let found: Vec<u64> = connection.query(sql).await.unwrap();
            if found.len() == wanted {
                return found;
            }
            assert!(Instant::now() < deadline, "{} connections, not {wanted}", found.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn store(&self) -> Arc<MysqlStore> {
        self.store_with(Duration::from_secs(5), 16)
    }

    fn store_with(&self, timeout: Duration, max_connections: usize) -> Arc<MysqlStore> {
        let config = MysqlConfig { timeout, max_connections, ..MysqlConfig::new(&self.url) };
        Arc::new(MysqlStore::connect(config).unwrap())
    }

    async fn drop(self) {
        self.ask(&format!("DROP DATABASE {}", self.name)).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_promise_is_kept_one_after_the_other_and_all_at_once() {
    let Some(server) = server() else { return };
    let database = Database::create(server, "promises").await;
    // All at once they wait for each other: two cores, and a flush of the log for every commit.
    let store: SharedStore = database.store_with(Duration::from_secs(60), 32);
    store.migrate().await.unwrap();
    let mut broken = conformance::keep(&conformance::all(), &store).await;
    broken.extend(conformance::keep_at_once(&conformance::all(), &store).await);
    store.close().await;
    assert!(broken.is_empty(), "broken promises: {broken:#?}");
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_missing_migration_is_named_and_each_is_applied_once() {
    let Some(server) = server() else { return };
    let database = Database::create(server, "migrations").await;
    let stores = [database.store(), database.store(), database.store()];
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
    database.ask(&format!("UPDATE {}.schema_migration SET checksum = 'other'", database.name)).await;
    for store in stores {
        for refused in [store.ready().await.unwrap_err(), store.migrate().await.unwrap_err()] {
            assert!(refused.to_string().contains("0001_initial was edited"), "{refused}");
        }
        store.close().await;
    }
    database.drop().await;
}

#[tokio::test]
async fn an_edit_after_a_failover_has_a_version_that_no_lost_edit_had() {
    let Some(server) = server() else { return };
    let database = Database::create(server, "versions").await;
    let store = database.store();
    store.migrate().await.unwrap();
    let promoted = async || {
        database.ask(&format!("UPDATE {}.job SET instance = 'another server'", database.name)).await;
    };
    conformance::edits::an_edit_after_a_failover_has_a_version_that_no_lost_edit_had(store, promoted).await;
    database.drop().await;
}

/// Holds the lock of one row until it is dropped.
async fn lock_a_group(database: &Database) -> Conn {
    let mut other = database.connection().await;
    other.query_drop(format!("USE {}", database.name)).await.unwrap();
    other.query_drop("BEGIN").await.unwrap();
    other.query_drop("SELECT * FROM task_group WHERE group_id = '101-1-2-1' FOR UPDATE").await.unwrap();
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_not_given_in_time_is_busy_and_nothing_happened() {
    let Some(server) = server() else { return };
    let database = Database::create(server, "locks").await;
    let store = database.store_with(Duration::from_secs(4), 2);
    store.migrate().await.unwrap();
    store.create_group(&group(1), Timestamp::EPOCH).await.unwrap();
    let other = lock_a_group(&database).await;
    let mut edited = group(1);
    edited.name = "edited".to_owned();
    edited.revision = 2;
    let refused = store.update_group(&edited).await.unwrap_err();
    assert!(matches!(refused, StoreError::Busy { .. }), "{refused:?}");
    other.disconnect().await.unwrap();
    assert_eq!(store.group(group(1).id).await.unwrap(), Some(group(1)));
    assert!(store.update_group(&edited).await.unwrap());
    store.close().await;
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_killed_in_mid_transaction_leaves_nothing_half_done() {
    let Some(server) = server() else { return };
    let database = Database::create(server, "kills").await;
    let store = database.store_with(Duration::from_secs(8), 1);
    store.migrate().await.unwrap();
    store.create_group(&group(1), Timestamp::EPOCH).await.unwrap();
    let victim = database.connections(1).await[0];
    let other = lock_a_group(&database).await;
    // It has the audit-worthy part done and waits for the group's row when it is killed.
    let deleting = tokio::spawn({
        let store = store.clone();
        async move { store.delete_group(group(1).id).await }
    });
    let deadline = Instant::now() + Duration::from_secs(3);
    let mut watcher = database.connection().await;
    loop {
        let sql = format!("SELECT info FROM information_schema.processlist WHERE id = {victim}");
        let doing: Option<Option<String>> = watcher.query_first(sql).await.unwrap();
        if doing.flatten().is_some_and(|sql| sql.starts_with("DELETE FROM task_group")) {
            break;
        }
        assert!(Instant::now() < deadline, "the deletion never waited for the row");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    watcher.query_drop(format!("KILL {victim}")).await.unwrap();
    let failed = deleting.await.unwrap().unwrap_err();
    assert!(failed.is_retryable(), "{failed:?}");
    other.disconnect().await.unwrap();
    assert_eq!(store.group(group(1).id).await.unwrap(), Some(group(1)), "on a new connection");
    assert_eq!(store.shards_of_group_count().await, 1);
    store.close().await;
    database.drop().await;
}

trait Counted {
    async fn shards_of_group_count(&self) -> usize;
}

impl Counted for MysqlStore {
    async fn shards_of_group_count(&self) -> usize {
        carillon_store::ShardStore::shards_of_group(self, group(1).id).await.unwrap().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_gives_up_leaves_no_open_transaction_behind() {
    let Some(server) = server() else { return };
    let database = Database::create(server, "abandoned").await;
    let store = database.store_with(Duration::from_secs(8), 1);
    store.migrate().await.unwrap();
    store.create_group(&group(1), Timestamp::EPOCH).await.unwrap();
    let other = lock_a_group(&database).await;
    for patience in [0, 1, 2, 5, 20, 100] {
        let deleting = store.delete_group(group(1).id);
        let gave_up = tokio::time::timeout(Duration::from_millis(patience), deleting).await;
        assert!(gave_up.is_err(), "the row is locked");
    }
    other.disconnect().await.unwrap();
    // The only connection's place in the pool is free again, and what it had begun is undone.
    assert_eq!(store.group(group(1).id).await.unwrap(), Some(group(1)));
    store.create_group(&group(2), Timestamp::EPOCH).await.unwrap();
    let open: Option<u64> = database
        .connection()
        .await
        .query_first("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_rows_locked > 0")
        .await
        .unwrap();
    assert!(open.is_some());
    assert_eq!(store.groups(None, 10).await.unwrap().len(), 2);
    store.close().await;
    database.drop().await;
}

/// The script's folder of a server of its own, since it is to be stopped.
struct OwnServer {
    folder: tempfile::TempDir,
}

impl OwnServer {
    fn script(&self, words: &[&str]) -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/services/mariadb.sh");
        let folder = self.folder.path().join("server");
        let output =
            std::process::Command::new(path).arg(words[0]).arg(folder).args(&words[1..]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        self.script(&["stop"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_or_dies_is_unavailable_within_the_deadline_and_comes_back() {
    if server().is_none() {
        return;
    }
    let own = OwnServer { folder: tempfile::tempdir().unwrap() };
    let url = own.script(&["start"]);
    // Arranged with patience, since the machine may be busy; asked without.
    let patient = MysqlConfig { timeout: Duration::from_secs(60), ..MysqlConfig::new(&url) };
    let patient = MysqlStore::connect(patient).unwrap();
    patient.migrate().await.unwrap();
    patient.create_group(&group(1), Timestamp::EPOCH).await.unwrap();
    let deadline = Duration::from_secs(2);
    let store = MysqlStore::connect(MysqlConfig { timeout: deadline, ..MysqlConfig::new(url) }).unwrap();
    serves_again(&store).await;
    own.script(&["pause"]);
    for number in 2..4 {
        let begun = Instant::now();
        let failed = store.create_group(&group(number), Timestamp::EPOCH).await.unwrap_err();
        assert!(failed.is_unknown(), "{failed:?}");
        assert!(begun.elapsed() < deadline * 2, "{:?}", begun.elapsed());
        assert!(store.groups(None, 10).await.unwrap_err().is_unknown());
    }
    own.script(&["cont"]);
    serves_again(&store).await;
    own.script(&["kill"]);
    let failed = store.create_group(&group(9), Timestamp::EPOCH).await.unwrap_err();
    assert!(failed.is_unknown(), "{failed:?}");
    own.script(&["revive"]);
    own.script(&["wait"]);
    serves_again(&store).await;
    assert_eq!(patient.group(group(1).id).await.unwrap(), Some(group(1)), "acknowledged, so it survived");
    patient.close().await;
    store.close().await;
}

/// What becomes of the way to a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    /// Connections say nothing any longer, whoever closes them.
    Cut,
    /// Connections say nothing any longer, and end when they are used again; whoever connects from then on finds a server with another name.
    TakenOver,
}

/// A way to a server.
struct Way {
    url: String,
    fate: watch::Sender<Fate>,
}

impl Way {
    /// To the server of a database; `host` is its name.
    async fn to(database: &Database, host: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let opts = Opts::from_url(&database.url).unwrap();
        let server = format!("{}:{}", opts.ip_or_hostname(), opts.tcp_port());
        let url = database.url.replace(&server, &listener.local_addr().unwrap().to_string());
        let fate = watch::Sender::new(Fate::Open);
        let known = fate.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Self::relay(client, server.clone(), host.clone(), known.subscribe()));
            }
        });
        Self { url, fate }
    }

    async fn relay(mut client: TcpStream, server: String, host: String, mut fate: watch::Receiver<Fate>) {
        let mut server = TcpStream::connect(server).await.unwrap();
        let born = *fate.borrow_and_update();
        let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
        loop {
            let now = *fate.borrow();
            if now == Fate::Cut {
                std::future::pending::<()>().await;
            }
            tokio::select! {
                Ok(count) = client.read(&mut asked) => {
                    if count == 0 || now != born {
                        return;
                    }
                    server.write_all(&asked[..count]).await.unwrap();
                }
                Ok(count) = server.read(&mut answered), if now == born => {
                    if count == 0 {
                        return;
                    }
                    let mut answer = answered[..count].to_vec();
                    let named = (0..count).filter(|at| answered[*at..count].starts_with(host.as_bytes()));
                    for at in named.filter(|_| born == Fate::TakenOver) {
                        answer[at] = b'?';
                    }
                    client.write_all(&answer).await.unwrap();
                }
                Ok(()) = fate.changed() => {}
            }
        }
    }
}

/// A crashed host says nothing when its address goes to another one, and nobody would wait for it to the end of a deadline.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_of_a_server_is_given_up_once_another_one_answers() {
    let Some(server) = server() else { return };
    let database = Database::create(server, "taken_over").await;
    let host: Option<String> = database.connection().await.query_first("SELECT @@hostname").await.unwrap();
    let way = Way::to(&database, host.unwrap()).await;
    let deadline = Duration::from_secs(60);
    let config = MysqlConfig { timeout: deadline, ..MysqlConfig::new(&way.url) };
    let store = Arc::new(MysqlStore::connect(config).unwrap());
    store.migrate().await.unwrap();
    store.create_group(&group(1), Timestamp::EPOCH).await.unwrap();
    let before = store.instance().await.unwrap();
    let lock = lock_a_group(&database).await;
    let deleting = tokio::spawn({
        let store = store.clone();
        async move { store.delete_group(group(1).id).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!deleting.is_finished(), "the row is locked");

    way.fate.send_replace(Fate::TakenOver);
    let begun = Instant::now();
    let after = loop {
        match store.instance().await {
            Ok(answer) => break answer,
            Err(error) => assert!(error.is_retryable() && begun.elapsed() < deadline, "{error:?}"),
        }
    };
    assert_ne!(before, after);
    let given_up = deleting.await.unwrap().unwrap_err();
    assert!(given_up.is_unknown(), "{given_up:?}");
    assert!(begun.elapsed() < deadline / 2, "{:?}", begun.elapsed());
    lock.disconnect().await.unwrap();
    serves_again(&store).await;
    store.close().await;
    database.drop().await;
}

/// A server of ours that is cut from the database in the middle of a transaction holds nobody up for as long as the cut lasts.
#[tokio::test(flavor = "multi_thread")]
async fn locks_of_a_client_that_is_cut_off_are_given_up_soon_after_its_deadline() {
    let Some(server) = server() else { return };
    let database = Database::create(server, "cut_off").await;
    let store = database.store();
    store.migrate().await.unwrap();
    store.create_group(&group(1), Timestamp::EPOCH).await.unwrap();
    let way = Way::to(&database, "no name".into()).await;
    let deadline = Duration::from_secs(4);
    let config = MysqlConfig { timeout: deadline, ..MysqlConfig::new(&way.url) };
    let cut_off = MysqlStore::connect(config).unwrap();
    let lock = lock_a_group(&database).await;
    let deleting = tokio::spawn(async move { cut_off.delete_group(group(1).id).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    way.fate.send_replace(Fate::Cut);
    // The deletion gets the row, and its client never hears of it.
    lock.disconnect().await.unwrap();
    let begun = Instant::now();
    let mut edited = group(1);
    edited.revision = 2;
    while let Err(error) = store.update_group(&edited).await {
        assert!(error.is_retryable() && begun.elapsed() < deadline * 5, "{error:?}");
    }
    assert!(deleting.await.unwrap().unwrap_err().is_unknown());
    store.close().await;
    database.drop().await;
}

/// Asks until it answers, as any loop would.
async fn serves_again(store: &MysqlStore) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error) = store.groups(None, 10).await {
        assert!(error.is_retryable() && Instant::now() < deadline, "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let config = MysqlConfig {
        timeout: Duration::from_secs(2),
        ..MysqlConfig::new("mysql://carillon:secret@127.0.0.1:1/carillon")
    };
    let store = MysqlStore::connect(config).unwrap();
    let failed = store.ready().await.unwrap_err();
    assert!(matches!(failed, StoreError::Unavailable { .. }), "{failed:?}");
    assert!(!format!("{failed:?}").contains("secret"));
    store.close().await;
}
