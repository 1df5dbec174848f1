//! The SQLite backend: one file, for `carillon dev` and tests.
//!
//! One thread writes. Requests that wait for it together share a transaction (group commit), each inside a savepoint of its own, so that
//! ten thousand small requests a second cost a few hundred commits. Reads run on a few connections of their own and never wait for the
//! writer, because the journal is a write-ahead log.

mod connection;
mod migrations;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::database::{Backend, Database, Operation, ShardNumbers};
use crate::sql::jobs;
use crate::{MigrationReport, StoreError};
use connection::SqliteConnection;
use writer::Writer;

/// What an acknowledged commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The death of the process, by any signal (`synchronous = NORMAL`). A power loss or a crash of the operating system may take the last
    /// commits back, never half of one. The default: it is what a laptop needs, and the quickest.
    #[default]
    Process,
    /// A power loss too (`synchronous = FULL`): every group of commits waits for the disk.
    Power,
}

/// Where and how to open.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// The database file, made when it is missing; none for a database in memory, which ends with the store.
    pub path: Option<PathBuf>,
    /// What an acknowledged commit survives.
    pub durability: Durability,
    /// How long a request waits for another process that writes to the same file, or for a place in the writer's queue.
    pub timeout: Duration,
}

impl SqliteConfig {
    /// A file, with the defaults.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), ..Self::in_memory() }
    }

    /// A database in memory, for tests.
    pub fn in_memory() -> Self {
        Self { path: None, durability: Durability::default(), timeout: Duration::from_secs(5) }
    }
}

/// How many connections read: more than two cores keep busy, few enough that each has its own page cache.
const READERS: usize = 4;

/// The SQLite backend.
pub struct SqliteStore {
    writer: Writer,
    /// Connections that nobody uses; none at all in memory, where only the writer sees the database.
    readers: Option<Readers>,
}

struct Readers {
    idle: Arc<Mutex<Vec<SqliteConnection>>>,
    /// As many permits as connections.
    permits: Arc<Semaphore>,
}

impl SqliteStore {
    /// Opens the database and starts the writer's thread. Does not migrate.
    pub async fn open(config: SqliteConfig) -> Result<Self, StoreError> {
        let opened = tokio::task::spawn_blocking(move || Self::open_now(&config)).await;
        opened.map_err(|error| StoreError::Unavailable { action: OPEN, source: error.into() })?
    }

    fn open_now(config: &SqliteConfig) -> Result<Self, StoreError> {
        let numbers = ShardNumbers::default();
        // The writer first: it makes the file and sets the journal's mode, which stays with the file.
        let writer = SqliteConnection::open(config, OPEN, numbers.clone())?;
        let mut idle = Vec::new();
        if config.path.is_some() {
            for _ in 0..READERS {
                idle.push(SqliteConnection::open(config, OPEN, numbers.clone())?);
            }
        }
        let readers = (!idle.is_empty()).then(|| Readers {
            permits: Arc::new(Semaphore::new(idle.len())),
            idle: Arc::new(Mutex::new(idle)),
        });
        Ok(Self { writer: Writer::start(writer, config.timeout)?, readers })
    }
}

const OPEN: &str = "open the database";

impl Backend for SqliteStore {
    type Connection = SqliteConnection;

    async fn read<T, F>(&self, action: &'static str, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Self::Connection) -> Operation<'c, T> + Send + Sync + 'static,
    {
        // A read transaction costs a few microseconds, so every read is one.
        self.snapshot(action, operation).await
    }

    async fn snapshot<T, F>(&self, action: &'static str, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Self::Connection) -> Operation<'c, T> + Send + Sync + 'static,
    {
        let Some(readers) = &self.readers else { return self.writer.write(action, operation).await };
        let closed = |_| connection::closed(action);
        let permit = readers.permits.clone().acquire_owned().await.map_err(closed)?;
        let idle = readers.idle.clone();
        let read = tokio::task::spawn_blocking(move || {
            let taken = idle.lock().expect("nothing panics while it holds this lock").pop();
            let mut connection = taken.expect("there are as many connections as permits");
            let answer = connection.snapshot(action, &operation);
            idle.lock().expect("nothing panics while it holds this lock").push(connection);
            drop(permit);
            answer
        });
        read.await.map_err(|error| StoreError::Unavailable { action, source: error.into() })?
    }

    async fn write<T, F>(&self, action: &'static str, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Self::Connection) -> Operation<'c, T> + Send + Sync + 'static,
    {
        self.writer.write(action, operation).await
    }

    async fn apply_migrations(&self) -> Result<MigrationReport, StoreError> {
        self.writer.alone("migrate the database", migrations::apply).await
    }

    async fn check_ready(&self) -> Result<(), StoreError> {
        self.read("use the database", |db| Box::pin(migrations::check(db))).await
    }

    async fn answering(&self) -> Result<String, StoreError> {
        self.read("ask which database answers", |db| Box::pin(jobs::instance(db))).await
    }

    async fn shut(&self) {
        if let Some(readers) = &self.readers {
            // Whoever reads has a permit; those that come later are refused.
            let all = u32::try_from(READERS).expect("a handful");
            let finished = readers.permits.acquire_many(all).await;
            readers.permits.close();
            drop(finished);
            readers.idle.lock().expect("nothing panics while it holds this lock").clear();
        }
        self.writer.stop().await;
    }

    fn name(&self) -> &'static str {
        "sqlite"
    }
}

/// Runs an operation whose answers are all ready at once, as SQLite's are.
fn now<D: Database, T>(
    db: &mut D,
    operation: &(impl for<'c> Fn(&'c mut D) -> Operation<'c, T> + ?Sized),
) -> Result<T, StoreError> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match operation(db).as_mut().poll(&mut context) {
        std::task::Poll::Ready(answer) => answer,
        std::task::Poll::Pending => unreachable!("no statement of this backend is awaited"),
    }
}
