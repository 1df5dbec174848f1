//! The MySQL backend, for clusters: MySQL 8 or MariaDB 10.6 and later, one writable endpoint.
//!
//! Every operation has a deadline. When it passes, or the connection breaks, the answer is [`StoreError::Unavailable`]: what was asked may
//! have happened. So it is when another database answers at the address: connections to the one before it may say nothing for ever. A
//! connection whose transaction was cut off in the middle is closed, never used again. Dead-locks are tried again while there is time,
//! because the server has undone everything.

mod connection;
mod errors;
mod literals;
mod migrations;

use std::time::{Duration, Instant};

use mysql_async::{Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts};
use tokio::sync::watch;

use crate::database::{Backend, Operation, ShardNumbers};
use crate::sql::jobs;
use crate::{MigrationReport, StoreError};
use connection::MysqlConnection;
use errors::{abandoned, refused_url, timed_out};

/// Where and how to connect.
#[derive(Clone)]
pub struct MysqlConfig {
    /// `mysql://user:password@host:port/database`.
    pub url: String,
    /// The most connections at a time. More than the server has cores for only queue there; 16 by default.
    pub max_connections: usize,
    /// The deadline of every operation, waiting for a connection included; 5 s by default.
    pub timeout: Duration,
}

impl MysqlConfig {
    /// A URL, with the defaults.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), max_connections: 16, timeout: Duration::from_secs(5) }
    }
}

impl std::fmt::Debug for MysqlConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL holds a password.
        f.debug_struct("MysqlConfig")
            .field("max_connections", &self.max_connections)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The MySQL backend.
pub struct MysqlStore {
    pool: Pool,
    timeout: Duration,
    numbers: ShardNumbers,
    /// Which database answered last, once somebody has asked.
    answering: watch::Sender<Option<String>>,
}

/// How long the server keeps a transaction that nobody goes on with beyond an operation's deadline, in seconds: whoever began it may be cut
/// off, and its locks would hold everybody up for as long as the cut lasts.
const IDLE_TRANSACTION: u64 = 1;

/// How long the server keeps a connection that says nothing, in seconds: beyond what the pool keeps it for.
const IDLE_CONNECTION: u64 = 120;

/// How a transaction begins and ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Each statement by itself.
    Statements,
    /// All statements see one instant.
    Snapshot,
    /// All or nothing.
    Transaction,
}

/// How often an operation that dead-locked is tried in all: each round of a dead-lock has a winner, so five rounds without luck mean a
/// crowd, which the caller should hear about.
const TRIES: u32 = 5;

impl MysqlStore {
    /// Prepares a pool of connections; the first operation makes the first of them. [`StoreError::Corrupt`] for a URL that cannot be
    /// read.
    pub fn connect(config: MysqlConfig) -> Result<Self, StoreError> {
        let opts = Opts::from_url(&config.url).map_err(refused_url)?;
        // Before our deadline, so that the answer is "busy" (nothing happened) and not "unavailable" (who knows).
        let lock_wait = (config.timeout.as_secs() / 2).max(1);
        let idle_transaction = config.timeout.as_secs() + IDLE_TRANSACTION;
        let session = vec![
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".to_owned(),
            // MySQL knows no limit for idle transactions: there it is that of idle connections.
            format!(
                "SET SESSION innodb_lock_wait_timeout = {lock_wait}, autocommit = 1,
                     wait_timeout = {IDLE_CONNECTION} /*M!100300 , idle_transaction_timeout = {idle_transaction} */,
                     sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
            ),
        ];
        let constraints = PoolConstraints::new(0, config.max_connections.max(1))
            .expect("nothing is at most any number of connections");
        // A reset costs a round trip each time; we leave no state behind, or close the connection.
        let pool_opts = PoolOpts::default()
            .with_constraints(constraints)
            .with_reset_connection(false)
            .with_inactive_connection_ttl(Duration::from_secs(60));
        let opts = OptsBuilder::from_opts(opts)
            .setup(session)
            .pool_opts(pool_opts)
            .tcp_nodelay(true)
            // A socket file would bypass the address that was configured.
            .prefer_socket(false)
            .stmt_cache_size(0);
        Ok(Self {
            pool: Pool::new(opts),
            timeout: config.timeout,
            numbers: ShardNumbers::default(),
            answering: watch::Sender::new(None),
        })
    }

    async fn within_deadline<T, F>(
        &self,
        action: &'static str,
        scope: Scope,
        operation: F,
    ) -> Result<T, StoreError>
    where
        F: for<'c> Fn(&'c mut MysqlConnection) -> Operation<'c, T> + Send + Sync,
        T: Send,
    {
        let begun = Instant::now();
        let tries = async {
            let mut tries = 1;
            loop {
                let outcome = self.try_once(action, scope, &operation).await;
                let busy = matches!(outcome, Err(StoreError::Busy { .. }));
                if !busy || tries == TRIES || begun.elapsed() > self.timeout / 4 {
                    return outcome;
                }
                tries += 1;
            }
        };
        tokio::select! {
            outcome = tokio::time::timeout(self.timeout, tries) => match outcome {
                Ok(outcome) => outcome,
                Err(_) => Err(timed_out(action, self.timeout)),
            },
            () = self.replaced() => Err(abandoned(action)),
        }
    }

    /// Returns when another database answers than when it was called.
    async fn replaced(&self) {
        let mut answering = self.answering.subscribe();
        let before = answering.borrow_and_update().clone();
        // The sender lives as long as the store.
        let _ = answering.wait_for(|now| before.is_some() && *now != before).await;
    }

    async fn try_once<T, F>(&self, action: &'static str, scope: Scope, operation: &F) -> Result<T, StoreError>
    where
        F: for<'c> Fn(&'c mut MysqlConnection) -> Operation<'c, T> + Send + Sync,
    {
        let mut connection = MysqlConnection::take(&self.pool, action, self.numbers.clone()).await?;
        match scope {
            Scope::Statements => return operation(&mut connection).await,
            Scope::Snapshot => {
                connection.begin("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
                connection.begin("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?;
            }
            Scope::Transaction => connection.begin("START TRANSACTION").await?,
        }
        let outcome = operation(&mut connection).await;
        match outcome {
            Ok(value) => {
                connection.end("COMMIT").await?;
                Ok(value)
            }
            Err(error) => {
                // If this fails too, the connection is closed, which undoes the transaction as well.
                if !error.is_unknown() {
                    let _ = connection.end("ROLLBACK").await;
                }
                Err(error)
            }
        }
    }
}

impl Backend for MysqlStore {
    type Connection = MysqlConnection;

    async fn read<T, F>(&self, action: &'static str, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Self::Connection) -> Operation<'c, T> + Send + Sync + 'static,
    {
        self.within_deadline(action, Scope::Statements, operation).await
    }

    async fn snapshot<T, F>(&self, action: &'static str, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Self::Connection) -> Operation<'c, T> + Send + Sync + 'static,
    {
        self.within_deadline(action, Scope::Snapshot, operation).await
    }

    async fn write<T, F>(&self, action: &'static str, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Self::Connection) -> Operation<'c, T> + Send + Sync + 'static,
    {
        self.within_deadline(action, Scope::Transaction, operation).await
    }

    async fn apply_migrations(&self) -> Result<MigrationReport, StoreError> {
        let action = "migrate the database";
        let connection = MysqlConnection::take(&self.pool, action, self.numbers.clone());
        let mut connection = tokio::time::timeout(self.timeout, connection)
            .await
            .map_err(|_| timed_out(action, self.timeout))??;
        migrations::apply(&mut connection).await
    }

    async fn check_ready(&self) -> Result<(), StoreError> {
        self.within_deadline("use the database", Scope::Statements, |db| Box::pin(migrations::check(db)))
            .await
    }

    async fn answering(&self) -> Result<String, StoreError> {
        let answer = self
            .within_deadline("ask which database answers", Scope::Statements, |db| {
                Box::pin(jobs::instance(db))
            })
            .await?;
        self.answering.send_if_modified(|known| known.replace(answer.clone()).as_ref() != Some(&answer));
        Ok(answer)
    }

    async fn shut(&self) {
        // A server that does not answer must not keep us from ending.
        if tokio::time::timeout(self.timeout, self.pool.clone().disconnect()).await.is_err() {
            tracing::warn!("connections to the database did not close in time");
        }
    }

    fn name(&self) -> &'static str {
        "mysql"
    }
}
