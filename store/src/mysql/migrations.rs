//! MySQL's migrations.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::database::Database;
use crate::mysql::connection::MysqlConnection;
use crate::mysql::errors::timed_out;
use crate::sql::migrations::{self, Migration};
use crate::value::{Value, values};
use crate::{MigrationReport, StoreError};

const MIGRATIONS: &[Migration] = &[
    Migration { name: "0001_initial", sql: include_str!("../../../sql/mysql/0001_initial.sql") },
    Migration { name: "0002_observed", sql: include_str!("../../../sql/mysql/0002_observed.sql") },
    Migration { name: "0003_pages", sql: include_str!("../../../sql/mysql/0003_pages.sql") },
    Migration { name: "0004_instance", sql: include_str!("../../../sql/mysql/0004_instance.sql") },
];

/// How long to wait for another process that migrates: longer than any migration of an empty or small database takes.
const LOCK_SECONDS: u32 = 60;

/// How long the migrations themselves may take: an index on a large table takes its time.
const DEADLINE: Duration = Duration::from_secs(3_600);

/// Applies what is missing, under a named lock. DDL commits by itself, so the statements of a migration may be repeated: what was cut off
/// in the middle goes on at the next call.
pub(super) async fn apply(db: &mut MysqlConnection) -> Result<MigrationReport, StoreError> {
    let action = db.action();
    // The lock belongs to the connection, and must end with it whatever happens.
    db.keep_apart(true);
    let deadline = Duration::from_secs(u64::from(LOCK_SECONDS) + 5);
    let locked = db.query_one(
        // Named locks are the server's, so the name holds the database's.
        "SELECT GET_LOCK(CONCAT('carillon_migrate_', SHA1(DATABASE())), ?)",
        values![LOCK_SECONDS],
    );
    let locked = tokio::time::timeout(deadline, locked).await.map_err(|_| timed_out(action, deadline))??;
    let got = match locked {
        Some(mut row) => row.take::<Option<i64>>()? == Some(1),
        None => false,
    };
    if !got {
        return Err(StoreError::Busy {
            action,
            source: format!("another process has been migrating for {LOCK_SECONDS} s").into(),
        });
    }
    let applied = migrations::apply(db, MIGRATIONS, milliseconds_now());
    let report = tokio::time::timeout(DEADLINE, applied).await.map_err(|_| timed_out(action, DEADLINE))??;
    let released =
        db.query_one("SELECT RELEASE_LOCK(CONCAT('carillon_migrate_', SHA1(DATABASE())))", Vec::new());
    if let Ok(Ok(_)) = tokio::time::timeout(deadline, released).await {
        db.keep_apart(false);
    }
    Ok(report)
}

/// The only clock of this backend: when a migration was applied, for people.
fn milliseconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Whether every migration is in force.
pub(super) async fn check(db: &mut MysqlConnection) -> Result<(), StoreError> {
    let noted = db
        .query_one(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?",
            vec![Value::from("schema_migration")],
        )
        .await?;
    if noted.is_none() {
        return Err(migrations::missing(db.action(), &MIGRATIONS[0]));
    }
    migrations::check(db, MIGRATIONS).await
}
