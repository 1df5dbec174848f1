//! A connection to a SQLite file.

use std::future::{Future, ready};

use carillon_core::ids::RunKey;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, params_from_iter};

use crate::StoreError;
use crate::database::{Database, Existing, Insert, Operation, ShardNumbers};
use crate::sqlite::{Durability, SqliteConfig, now};
use crate::value::{Row, Value, values};

/// A connection, and the operation that it is in the middle of.
pub(crate) struct SqliteConnection {
    connection: Connection,
    pub(super) action: &'static str,
    numbers: ShardNumbers,
}

impl SqliteConnection {
    /// Opens the file, or a database in memory, and sets what does not stay with the file.
    pub(super) fn open(
        config: &SqliteConfig,
        action: &'static str,
        numbers: ShardNumbers,
    ) -> Result<Self, StoreError> {
        let opened = match &config.path {
            Some(path) => Connection::open_with_flags(
                path,
                OpenFlags::SQLITE_OPEN_READ_WRITE
                    | OpenFlags::SQLITE_OPEN_CREATE
                    | OpenFlags::SQLITE_OPEN_NO_MUTEX,
            ),
            None => Connection::open_in_memory(),
        };
        let unavailable = |error: rusqlite::Error| StoreError::Unavailable { action, source: error.into() };
        let connection = opened.map_err(unavailable)?;
        let synchronous = match config.durability {
            Durability::Process => "NORMAL",
            Durability::Power => "FULL",
        };
        connection.busy_timeout(config.timeout).map_err(unavailable)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(unavailable)?;
        connection.pragma_update(None, "synchronous", synchronous).map_err(unavailable)?;
        // 64 MiB of pages for each connection: the hot end of the run table and its indexes.
        connection.pragma_update(None, "cache_size", -65_536).map_err(unavailable)?;
        // Every statement of this crate, with room to spare.
        connection.set_prepared_statement_cache_capacity(256);
        Ok(Self { connection, action, numbers })
    }

    fn error(&self, error: rusqlite::Error) -> StoreError {
        let action = self.action;
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => StoreError::Conflict {
                what: "a row",
                id: error.to_string(),
                conflict: "exists already".to_owned(),
            },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StoreError::Busy { action, source: error.into() }
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                StoreError::Corrupt { action, detail: error.to_string() }
            }
            _ => StoreError::Unavailable { action, source: error.into() },
        }
    }

    /// Runs statements that take and give nothing.
    pub(super) fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.connection.execute_batch(sql).map_err(|error| self.error(error))
    }

    /// Whether SQLite has rolled the transaction back by itself, as it does when the disk is full.
    pub(super) fn lost_transaction(&self) -> bool {
        self.connection.is_autocommit()
    }

    pub(super) fn forget_shard_numbers(&self) {
        self.numbers.forget();
    }

    /// Runs an operation in a read transaction.
    pub(super) fn snapshot<T>(
        &mut self,
        action: &'static str,
        operation: &impl for<'c> Fn(&'c mut Self) -> Operation<'c, T>,
    ) -> Result<T, StoreError> {
        self.action = action;
        self.batch("BEGIN")?;
        let answer = now(self, operation);
        // There is nothing to keep, and nothing can go wrong that the next BEGIN would not tell.
        let _ = self.batch("ROLLBACK");
        answer
    }

    fn execute_now(&mut self, sql: &str, values: &[Value]) -> Result<u64, StoreError> {
        let run = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.execute(params_from_iter(values))
        };
        run().map(|changed| changed as u64).map_err(|error| self.error(error))
    }

    fn query_now(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        self.query_into(sql, values, &mut rows)?;
        Ok(rows)
    }

    fn query_into(&mut self, sql: &str, values: &[Value], into: &mut Vec<Row>) -> Result<(), StoreError> {
        let action = self.action;
        let mut run = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let columns = statement.column_count();
            let mut rows = statement.query(params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                let values = (0..columns).map(|column| row.get_ref(column).map(read));
                into.push(Row::new(action, values.collect::<Result<_, _>>()?));
            }
            Ok(())
        };
        run().map_err(|error| self.error(error))
    }

    fn insert_now(&mut self, insert: &Insert, values: &[Value]) -> Result<u64, StoreError> {
        if values.is_empty() {
            return Ok(0);
        }
        let sql = insert_sql(insert);
        let mut inserted = 0;
        for row in values.chunks(insert.columns.len()) {
            inserted += self.execute_now(&sql, row)?;
        }
        Ok(inserted)
    }
}

fn insert_sql(insert: &Insert) -> String {
    let existing = match &insert.existing {
        Existing::Refuse => String::new(),
        Existing::Keep => "ON CONFLICT DO NOTHING".to_owned(),
        Existing::Replace { key, columns } => {
            let set: Vec<String> =
                columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
            format!("ON CONFLICT ({}) DO UPDATE SET {}", key.join(", "), set.join(", "))
        }
        Existing::Assign { .. } => unreachable!("this backend does not assign"),
    };
    format!(
        "INSERT INTO {} ({}) VALUES ({}) {existing}",
        insert.table,
        insert.columns.join(", "),
        crate::database::placeholders(insert.columns.len()),
    )
}

/// What a closed store answers.
pub(super) fn closed(action: &'static str) -> StoreError {
    StoreError::Unavailable { action, source: "the store is closed".into() }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn read(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        // No column of the schema is a real number.
        ValueRef::Real(number) => Value::Text(number.to_string()),
        ValueRef::Text(text) => match String::from_utf8(text.to_vec()) {
            Ok(text) => Value::Text(text),
            Err(error) => Value::Bytes(error.into_bytes()),
        },
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

impl Database for SqliteConnection {
    const FOR_UPDATE: &'static str = "";
    const FOR_SHARE: &'static str = "";
    const INSTANCE: &'static str = "'the file'";
    const ASSIGNS: bool = false;

    fn action(&self) -> &'static str {
        self.action
    }

    fn shard_numbers(&self) -> &ShardNumbers {
        &self.numbers
    }

    fn indexed(table: &str, index: &str) -> String {
        format!("{table} INDEXED BY {index}")
    }

    fn execute(
        &mut self,
        sql: &str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send {
        ready(self.execute_now(sql, &values))
    }

    fn query(
        &mut self,
        sql: &str,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send {
        ready(self.query_now(sql, &values))
    }

    fn insert(
        &mut self,
        insert: &Insert,
        values: Vec<Value>,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send {
        ready(self.insert_now(insert, &values))
    }

    fn query_runs(
        &mut self,
        select: &str,
        keys: &[RunKey],
        _lock: bool,
    ) -> impl Future<Output = Result<Vec<Row>, StoreError>> + Send {
        let sql = format!("{select} WHERE fire_time = ? AND job = ? AND ordinal = ?");
        let mut rows = Vec::with_capacity(keys.len());
        let found = keys.iter().try_for_each(|key| {
            self.query_into(&sql, &values![key.fire_time, key.job, key.ordinal], &mut rows)
        });
        ready(found.map(|()| rows))
    }

    fn delete_runs(
        &mut self,
        table: &str,
        keys: &[RunKey],
    ) -> impl Future<Output = Result<u64, StoreError>> + Send {
        let sql = format!("DELETE FROM {table} WHERE fire_time = ? AND job = ? AND ordinal = ?");
        let deleted = keys.iter().try_fold(0, |deleted, key| {
            let more = self.execute_now(&sql, &values![key.fire_time, key.job, key.ordinal])?;
            Ok(deleted + more)
        });
        ready(deleted)
    }
}
