//! What the shared SQL asks of a backend: statements inside a transaction, and transactions.
//!
//! The SQL in `sql/` is written once, in the subset that MySQL, MariaDB and SQLite share; a [`Database`] adds the few things that
//! differ (locks, what to do with rows that exist, many rows at a time). SQLite's answers are ready at once, MySQL's are awaited.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use carillon_core::ids::{GroupId, RunKey, ShardId};

use crate::value::{Row, Value, values};
use crate::{MigrationReport, StoreError};

/// An INSERT of any number of rows.
#[derive(Debug)]
pub(crate) struct Insert {
    pub(crate) table: &'static str,
    pub(crate) columns: &'static [&'static str],
    pub(crate) existing: Existing,
}

/// What becomes of a row whose primary key exists.
#[derive(Debug)]
pub(crate) enum Existing {
    /// [`StoreError::Conflict`].
    Refuse,
    /// It stays as it is.
    Keep,
    /// These columns take the new values.
    Replace { key: &'static [&'static str], columns: &'static [&'static str] },
    /// These assignments, in which `VALUES(column)` is the new value; only where [`Database::ASSIGNS`]. A row that changes counts 2, one
    /// that stays 0, one that is new 1.
    Assign { assignments: String },
}

/// A connection in the middle of one operation.
pub(crate) trait Database: Send {
    /// Ends a SELECT that locks its rows until the transaction ends; empty where writers are alone anyhow.
    const FOR_UPDATE: &'static str;

    /// Ends a SELECT that keeps its rows as they are until the transaction ends, and lets others keep them so, too; empty as above.
    const FOR_SHARE: &'static str;

    /// An expression that tells which database answers.
    const INSTANCE: &'static str;

    /// Whether an INSERT can assign to rows that exist under a condition, and says how many changed; worth it where a look first is a
    /// round trip.
    const ASSIGNS: bool;

    /// What the operation does, for errors.
    fn action(&self) -> &'static str;

    /// The shard numbers this process knows.
    fn shard_numbers(&self) -> &ShardNumbers;

    /// The name of a table with the index to be used.
    fn indexed(table: &str, index: &str) -> String;

    /// Runs a statement; returns how many rows it changed. A row that stays what it was may or may not count.
    fn execute(
        &mut self,
        sql: &str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Runs a query.
    fn query(
        &mut self,
        sql: &str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// Inserts rows given one after the other in `values`; returns how many are new (meaningless with [`Existing::Replace`]).
    fn insert(
        &mut self,
        insert: &Insert,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Runs `select` (up to and without WHERE) for rows with the given run keys, locking them when `lock`. In no particular order.
    fn query_runs(
        &mut self,
        select: &str,
        keys: &[RunKey],
        lock: bool,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send;

    /// Deletes the rows of `table` with the given run keys; returns how many.
    fn delete_runs(
        &mut self,
        table: &str,
        keys: &[RunKey],
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// The first row of a query.
    fn query_one(
        &mut self,
        sql: &str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Option<Row>, StoreError>> + Send {
        async move { Ok(self.query(sql, values).await?.into_iter().next()) }
    }
}

/// An operation under way.
pub(crate) type Operation<'connection, T> =
    Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'connection>>;

/// A database that runs operations. An operation may be run again when the database refused it for a passing reason.
pub(crate) trait Backend: Send + Sync + 'static {
    /// Its connection.
    type Connection: Database + 'static;

    /// Runs an operation of a single SELECT, or of several that need no common snapshot.
    fn read<T, F>(
        &self,
        action: &'static str,
        operation: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Self::Connection) -> Operation<'c, T> + Send + Sync + 'static;

    /// Runs SELECTs that all see the database as of one instant.
    fn snapshot<T, F>(
        &self,
        action: &'static str,
        operation: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Self::Connection) -> Operation<'c, T> + Send + Sync + 'static;

    /// Runs an operation in one transaction: committed when it succeeds, rolled back when it fails.
    fn write<T, F>(
        &self,
        action: &'static str,
        operation: F,
    ) -> impl Future<Output = Result<T, StoreError>> + Send
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Self::Connection) -> Operation<'c, T> + Send + Sync + 'static;

    /// See [`crate::Store::migrate`].
    fn apply_migrations(&self) -> impl Future<Output = Result<MigrationReport, StoreError>> + Send;

    /// See [`crate::Store::ready`].
    fn check_ready(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// See [`crate::Store::instance`].
    fn answering(&self) -> impl Future<Output = Result<String, StoreError>> + Send;

    /// See [`crate::Store::close`].
    fn shut(&self) -> impl Future<Output = ()> + Send;

    /// See [`crate::Store::backend`].
    fn name(&self) -> &'static str;
}

/// `?, ?, ?` for a list of values.
pub(crate) fn placeholders(count: usize) -> String {
    let mut text = "?, ".repeat(count);
    text.truncate(text.len().saturating_sub(2));
    text
}

/// The numbers that shards have in run rows. They never change, so a process remembers each it has met: 256 a group at most.
#[derive(Debug, Clone, Default)]
pub(crate) struct ShardNumbers(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    numbers: HashMap<ShardId, i64>,
    shards: HashMap<i64, ShardId>,
}

impl ShardNumbers {
    fn with<T>(&self, read: impl FnOnce(&mut Known) -> T) -> T {
        read(&mut self.0.lock().expect("nothing panics while it holds this lock"))
    }

    fn remember(&self, shard: ShardId, number: i64) {
        self.with(|known| {
            known.numbers.insert(shard, number);
            known.shards.insert(number, shard);
        });
    }

    /// Forgets everything: when a commit failed, a number read inside it may not exist.
    pub(crate) fn forget(&self) {
        self.with(|known| *known = Known::default());
    }
}

/// The number of a shard; none when there never was such a shard. Uses `shard_number_of`.
pub(crate) async fn number_of<D: Database>(db: &mut D, shard: ShardId) -> Result<Option<i64>, StoreError> {
    if let Some(number) = db.shard_numbers().with(|known| known.numbers.get(&shard).copied()) {
        return Ok(Some(number));
    }
    let found = db
        .query_one(
            "SELECT shard FROM shard_number WHERE group_id = ? AND shard_index = ?",
            values![shard.group(), shard.index()],
        )
        .await?;
    let Some(mut row) = found else { return Ok(None) };
    let number = row.take()?;
    db.shard_numbers().remember(shard, number);
    Ok(Some(number))
}

/// The number of a shard that must exist.
pub(crate) async fn existing_number_of<D: Database>(db: &mut D, shard: ShardId) -> Result<i64, StoreError> {
    number_of(db, shard).await?.ok_or_else(|| StoreError::NotFound { what: "shard", id: shard.to_string() })
}

/// The shard of a number that a row names. Uses the primary key of `shard_number`.
pub(crate) async fn shard_of<D: Database>(db: &mut D, number: i64) -> Result<ShardId, StoreError> {
    if let Some(shard) = db.shard_numbers().with(|known| known.shards.get(&number).copied()) {
        return Ok(shard);
    }
    let found = db
        .query_one("SELECT group_id, shard_index FROM shard_number WHERE shard = ?", values![number])
        .await?;
    let mut row = found.ok_or_else(|| StoreError::Corrupt {
        action: db.action(),
        detail: format!("a row names shard number {number}, which does not exist"),
    })?;
    let group: GroupId = row.take()?;
    let shard = ShardId::new(group, row.take()?);
    db.shard_numbers().remember(shard, number);
    Ok(shard)
}
