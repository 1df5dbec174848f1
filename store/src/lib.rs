//! Carillon's store: what must survive, in domain words.
//!
//! It is a trait, [`Store`], with two backends: [`mysql`] for clusters and [`sqlite`] for `carillon dev`. Both keep the promises that
//! [`conformance`] states as functions. It does not decide anything, and must not know who owns what, gRPC or HTTP.
//!
//! Begin with [`runs::RunStore`], the hot path; then [`catalog`], [`shards`], [`subtasks`], [`logs`], [`observed`] and [`accounts`].

pub mod accounts;
pub mod catalog;
pub mod error;
pub mod logs;
pub mod observed;
pub mod runs;
pub mod shards;
pub mod subtasks;

pub mod conformance;
pub mod mysql;
pub mod sqlite;

mod backed;
mod database;
mod sql;
mod value;

pub use accounts::AccountStore;
pub use catalog::CatalogStore;
pub use error::StoreError;
pub use logs::LogStore;
pub use observed::ObservedStore;
pub use runs::RunStore;
pub use shards::ShardStore;
pub use subtasks::SubtaskStore;

use std::sync::Arc;

use async_trait::async_trait;

/// Everything that a server or a console keeps. Cheap to clone behind [`SharedStore`].
#[async_trait]
pub trait Store:
    CatalogStore
    + ShardStore
    + RunStore
    + SubtaskStore
    + LogStore
    + AccountStore
    + ObservedStore
    + Send
    + Sync
    + 'static
{
    /// Applies the migrations of `sql/` that are missing, in order, one process at a time.
    async fn migrate(&self) -> Result<MigrationReport, StoreError>;

    /// Whether the store answers and has the schema this binary needs.
    async fn ready(&self) -> Result<(), StoreError>;

    /// Which database answers, in words that only serve to be compared: another one than before may lack what that one had acknowledged.
    async fn instance(&self) -> Result<String, StoreError>;

    /// Closes connections; open requests are finished first.
    async fn close(&self);

    /// The backend's word for metrics and the about page: `mysql` or `sqlite`.
    fn backend(&self) -> &'static str;
}

/// A store shared by the loops of a process.
pub type SharedStore = Arc<dyn Store>;

/// What [`Store::migrate`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationReport {
    /// The names of the migrations applied now.
    pub applied: Vec<String>,
    /// The newest migration in force.
    pub version: u32,
}

/// Opens the store that a URL names: `mysql://user:password@host:port/database` or `sqlite:path/to/file.db`. Does not migrate.
/// [`StoreError::Corrupt`] for a URL that is neither.
pub async fn open(url: &str) -> Result<SharedStore, StoreError> {
    if let Some(path) = url.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
        return Ok(Arc::new(sqlite::SqliteStore::open(sqlite::SqliteConfig::file(path)).await?));
    }
    if url.starts_with("mysql:") {
        return Ok(Arc::new(mysql::MysqlStore::connect(mysql::MysqlConfig::new(url))?));
    }
    // The URL may hold a password, so only its scheme is told.
    let scheme = url.split_once(':').map_or("nothing", |(scheme, _)| scheme);
    Err(StoreError::Corrupt {
        action: "open the store",
        detail: format!(
            "its URL begins with {scheme:?}: expected mysql://user:password@host:port/database or sqlite:path"
        ),
    })
}
