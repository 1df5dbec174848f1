//! SQLite's migrations.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::database::Database;
use crate::sql::migrations::{self, Migration};
use crate::sqlite::connection::SqliteConnection;
use crate::sqlite::now;
use crate::value::values;
use crate::{MigrationReport, StoreError};

pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { name: "0001_initial", sql: include_str!("../../../sql/sqlite/0001_initial.sql") },
    Migration { name: "0002_observed", sql: include_str!("../../../sql/sqlite/0002_observed.sql") },
    Migration { name: "0003_pages", sql: include_str!("../../../sql/sqlite/0003_pages.sql") },
    Migration { name: "0004_instance", sql: include_str!("../../../sql/sqlite/0004_instance.sql") },
];

/// Applies what is missing, all in one transaction that keeps other processes out.
pub(super) fn apply(connection: &mut SqliteConnection) -> Result<MigrationReport, StoreError> {
    connection.batch("BEGIN EXCLUSIVE")?;
    let applied = now(connection, &|db: &mut SqliteConnection| {
        Box::pin(migrations::apply(db, MIGRATIONS, milliseconds_now()))
    });
    match applied {
        Ok(report) => connection.batch("COMMIT").map(|()| report),
        Err(error) => {
            let _ = connection.batch("ROLLBACK");
            Err(error)
        }
    }
}

/// The only clock of this crate: when a migration was applied, for people.
fn milliseconds_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Whether every migration is in force.
pub(super) async fn check(db: &mut SqliteConnection) -> Result<(), StoreError> {
    let noted = db
        .query_one(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?",
            values!["schema_migration"],
        )
        .await?;
    if noted.is_none() {
        return Err(migrations::missing(db.action(), &MIGRATIONS[0]));
    }
    migrations::check(db, MIGRATIONS).await
}
