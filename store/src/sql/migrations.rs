//! The migrations of `sql/`, as they lie in the binary, and what is in force.

use std::collections::BTreeMap;

use crate::database::Database;
use crate::value::values;
use crate::{MigrationReport, StoreError};

/// One file of `sql/`: applied once, never edited afterwards.
#[derive(Debug)]
pub(crate) struct Migration {
    /// The file's name without its ending; begins with the number.
    pub(crate) name: &'static str,
    /// The file.
    pub(crate) sql: &'static str,
}

impl Migration {
    fn version(&self) -> u32 {
        let digits = self.name.split('_').next().unwrap_or_default();
        digits.parse().expect("the name of every migration begins with its number")
    }

    /// FNV-1a of the text: it guards against mistakes, not against malice.
    fn checksum(&self) -> String {
        let hash = self.sql.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{hash:016x}")
    }

    /// The statements: comment lines are left out, each statement ends with a semicolon at the end of a line.
    pub(crate) fn statements(&self) -> Vec<String> {
        let lines: Vec<&str> = self.sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        lines
            .join("\n")
            .split(";\n")
            .map(|statement| statement.trim().trim_end_matches(';').to_owned())
            .filter(|statement| !statement.is_empty())
            .collect()
    }
}

/// Where the migrations in force are noted.
pub(crate) const MIGRATION_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migration (
         name VARCHAR(128) NOT NULL PRIMARY KEY,
         checksum VARCHAR(64) NOT NULL,
         applied_at BIGINT NOT NULL
     )";

/// Applies what is missing, in order. The caller holds the lock that keeps other processes out, and `now` is in milliseconds.
pub(crate) async fn apply<D: Database>(
    db: &mut D,
    migrations: &[Migration],
    now: i64,
) -> Result<MigrationReport, StoreError> {
    db.execute(MIGRATION_TABLE, Vec::new()).await?;
    let in_force = in_force(db).await?;
    let mut report = MigrationReport { applied: Vec::new(), version: 0 };
    for migration in migrations {
        report.version = migration.version();
        match in_force.get(migration.name) {
            Some(checksum) => refuse_edited(db.action(), migration, checksum)?,
            None => {
                for statement in migration.statements() {
                    db.execute(&statement, Vec::new()).await?;
                }
                db.execute(
                    "INSERT INTO schema_migration (name, checksum, applied_at) VALUES (?, ?, ?)",
                    values![migration.name, migration.checksum(), now],
                )
                .await?;
                report.applied.push(migration.name.to_owned());
            }
        }
    }
    Ok(report)
}

/// Says which migration is missing, was edited, or is newer than this binary.
pub(crate) async fn check<D: Database>(db: &mut D, migrations: &[Migration]) -> Result<(), StoreError> {
    let in_force = in_force(db).await?;
    for migration in migrations {
        match in_force.get(migration.name) {
            Some(checksum) => refuse_edited(db.action(), migration, checksum)?,
            None => return Err(missing(db.action(), migration)),
        }
    }
    Ok(())
}

/// What to say when a migration, or even the table that notes them, is missing.
pub(crate) fn missing(action: &'static str, migration: &Migration) -> StoreError {
    StoreError::Corrupt {
        action,
        detail: format!("migration {} is missing: run `carillon migrate`", migration.name),
    }
}

fn refuse_edited(action: &'static str, migration: &Migration, checksum: &str) -> Result<(), StoreError> {
    if migration.checksum() == checksum {
        return Ok(());
    }
    Err(StoreError::Corrupt {
        action,
        detail: format!("migration {} was edited after it had been applied to this database", migration.name),
    })
}

/// By primary key.
async fn in_force<D: Database>(db: &mut D) -> Result<BTreeMap<String, String>, StoreError> {
    let rows = db.query("SELECT name, checksum FROM schema_migration ORDER BY name", Vec::new()).await?;
    rows.into_iter().map(|mut row| Ok((row.take()?, row.take()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cut_into_its_statements() {
        let migration = Migration {
            name: "0001_test",
            sql: "-- a comment; with a semicolon\nCREATE TABLE a (\n  b INT\n);\n\nCREATE INDEX c ON a (b);\n",
        };
        assert_eq!(migration.statements(), ["CREATE TABLE a (\n  b INT\n)", "CREATE INDEX c ON a (b)"]);
        assert_eq!(migration.version(), 1);
    }
}
