//! A connection of the pool, in the middle of one operation.

use std::fmt::Write as _;
use std::time::Duration;

use carillon_core::ids::RunKey;
use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn, Pool};

use crate::StoreError;
use crate::database::{Database, Existing, Insert, ShardNumbers};
use crate::mysql::errors::translate;
use crate::mysql::literals::{push_literal, with_literals};
use crate::value::{Row, Value};

/// A connection, and whether it has a transaction that nobody has ended yet.
pub(crate) struct MysqlConnection {
    conn: Option<Conn>,
    action: &'static str,
    numbers: ShardNumbers,
    open: bool,
}

impl MysqlConnection {
    /// Takes a connection from the pool.
    pub(super) async fn take(
        pool: &Pool,
        action: &'static str,
        numbers: ShardNumbers,
    ) -> Result<Self, StoreError> {
        let conn = pool.get_conn().await.map_err(|error| translate(action, error))?;
        Ok(Self { conn: Some(conn), action, numbers, open: false })
    }

    fn conn(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("it is there until the drop")
    }

    /// Runs what begins a transaction.
    pub(super) async fn begin(&mut self, sql: &str) -> Result<(), StoreError> {
        self.open = true;
        self.run(sql).await.map(drop)
    }

    /// Runs what ends it.
    pub(super) async fn end(&mut self, sql: &str) -> Result<(), StoreError> {
        self.run(sql).await?;
        self.open = false;
        Ok(())
    }

    /// Marks that the connection has state that must not reach the next user, such as a named lock.
    pub(super) fn keep_apart(&mut self, apart: bool) {
        self.open = apart;
    }

    async fn run(&mut self, sql: &str) -> Result<u64, StoreError> {
        let action = self.action;
        let conn = self.conn();
        conn.query_drop(sql).await.map_err(|error| translate(action, error))?;
        Ok(conn.affected_rows())
    }

    async fn rows(&mut self, sql: &str) -> Result<Vec<Row>, StoreError> {
        let action = self.action;
        let rows: Vec<mysql_async::Row> =
            self.conn().query(sql).await.map_err(|error| translate(action, error))?;
        let mut read = Vec::with_capacity(rows.len());
        for row in rows {
            let columns = row.columns();
            let values = columns.iter().zip(row.unwrap()).map(|(column, value)| read_value(column, value));
            let values: Result<Vec<Value>, String> = values.collect();
            read.push(Row::new(action, values.map_err(|detail| StoreError::Corrupt { action, detail })?));
        }
        Ok(read)
    }
}

/// A connection that was dropped in the middle of a transaction is closed, so that the server undoes it at once and nobody goes on in it.
impl Drop for MysqlConnection {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let (Some(conn), Ok(runtime)) = (self.conn.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        // Whether or not the farewell arrives, the socket closes and the pool makes room.
        runtime.spawn(async move { tokio::time::timeout(Duration::from_secs(1), conn.disconnect()).await });
    }
}

/// The text protocol sends every value as its text; the column's type says what it was.
fn read_value(column: &Column, value: mysql_async::Value) -> Result<Value, String> {
    /// The character set of columns that hold bytes.
    const BINARY: u16 = 63;
    let bytes = match value {
        mysql_async::Value::NULL => return Ok(Value::Null),
        mysql_async::Value::Int(number) => return Ok(Value::Integer(number)),
        mysql_async::Value::UInt(number) => return Ok(Value::from(number)),
        mysql_async::Value::Bytes(bytes) => bytes,
        other => return Err(format!("a value of a kind that the schema has not: {other:?}")),
    };
    match column.column_type() {
        ColumnType::MYSQL_TYPE_TINY
        | ColumnType::MYSQL_TYPE_SHORT
        | ColumnType::MYSQL_TYPE_INT24
        | ColumnType::MYSQL_TYPE_LONG
        | ColumnType::MYSQL_TYPE_LONGLONG
        | ColumnType::MYSQL_TYPE_NEWDECIMAL => std::str::from_utf8(&bytes)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .map(Value::Integer)
            .ok_or_else(|| "a number that is none".to_owned()),
        _ if column.character_set() == BINARY => Ok(Value::Bytes(bytes)),
        _ => String::from_utf8(bytes).map(Value::Text).map_err(|_| "a text that is not UTF-8".to_owned()),
    }
}

/// How long a statement may grow: a sixteenth of the packet that a server with default settings takes, and past the size where longer
/// statements are quicker.
const STATEMENT_BYTES: usize = 1024 * 1024;

/// How many keys a statement names at most: one page of locks, and a statement of some 30 kB.
const KEYS: usize = 1_000;

fn insert_parts(insert: &Insert) -> (String, String) {
    let head = format!("INSERT INTO {} ({}) VALUES ", insert.table, insert.columns.join(", "));
    let tail = match &insert.existing {
        Existing::Refuse => String::new(),
        // An update that changes nothing; INSERT IGNORE would also swallow texts that are too long.
        Existing::Keep => format!(
            " ON DUPLICATE KEY UPDATE {first} = {table}.{first}",
            first = insert.columns[0],
            table = insert.table
        ),
        Existing::Replace { columns, .. } => {
            let set: Vec<String> =
                columns.iter().map(|column| format!("{column} = VALUES({column})")).collect();
            format!(" ON DUPLICATE KEY UPDATE {}", set.join(", "))
        }
        Existing::Assign { assignments } => format!(" ON DUPLICATE KEY UPDATE {assignments}"),
    };
    (head, tail)
}

fn push_keys(sql: &mut String, keys: &[RunKey]) {
    sql.push_str("(fire_time, job, ordinal) IN (");
    for (index, key) in keys.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let _ = write!(sql, "{separator}({}, {}, {})", key.fire_time.as_millis(), key.job, key.ordinal);
    }
    sql.push(')');
}

impl Database for MysqlConnection {
    const FOR_UPDATE: &'static str = "FOR UPDATE";
    // MariaDB does not know FOR SHARE; both know this.
    const FOR_SHARE: &'static str = "LOCK IN SHARE MODE";
    // Servers of one replication have different ids; names and ports tell others apart.
    const INSTANCE: &'static str = "CONCAT_WS(' ', @@server_id, @@hostname, @@port)";
    const ASSIGNS: bool = true;

    fn action(&self) -> &'static str {
        self.action
    }

    fn shard_numbers(&self) -> &ShardNumbers {
        &self.numbers
    }

    fn indexed(table: &str, index: &str) -> String {
        format!("{table} FORCE INDEX ({index})")
    }

    async fn execute(&mut self, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
        self.run(&with_literals(sql, &values)).await
    }

    async fn query(&mut self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.rows(&with_literals(sql, &values)).await
    }

    async fn insert(&mut self, insert: &Insert, values: Vec<Value>) -> Result<u64, StoreError> {
        if values.is_empty() {
            return Ok(0);
        }
        let (head, tail) = insert_parts(insert);
        let mut inserted = 0;
        let mut sql = head.clone();
        for row in values.chunks(insert.columns.len()) {
            if sql.len() > STATEMENT_BYTES {
                sql.push_str(&tail);
                inserted += self.run(&sql).await?;
                sql.clone_from(&head);
            }
            sql.push_str(if sql.len() == head.len() { "(" } else { ", (" });
            for (index, value) in row.iter().enumerate() {
                if index > 0 {
                    sql.push_str(", ");
                }
                push_literal(&mut sql, value);
            }
            sql.push(')');
        }
        sql.push_str(&tail);
        inserted += self.run(&sql).await?;
        Ok(inserted)
    }

    async fn query_runs(
        &mut self,
        select: &str,
        keys: &[RunKey],
        lock: bool,
    ) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::with_capacity(keys.len());
        for some in keys.chunks(KEYS) {
            // Without the hint a small table is read, and locked, from end to end.
            let mut sql = format!("{select} FORCE INDEX (PRIMARY) WHERE ");
            push_keys(&mut sql, some);
            if lock {
                sql.push_str(" FOR UPDATE");
            }
            rows.extend(self.rows(&sql).await?);
        }
        Ok(rows)
    }

    async fn delete_runs(&mut self, table: &str, keys: &[RunKey]) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for some in keys.chunks(KEYS) {
            let mut sql = format!("DELETE {table} FROM {table} FORCE INDEX (PRIMARY) WHERE ");
            push_keys(&mut sql, some);
            deleted += self.run(&sql).await?;
        }
        Ok(deleted)
    }
}
