//! The traits of the store, kept by whatever is a [`Backend`]: each method names what it does and runs its SQL.

mod accounts;
mod catalog;
mod logs;
mod observed;
mod runs;
mod shards;
mod subtasks;

use async_trait::async_trait;

use crate::database::Backend;
use crate::{MigrationReport, Store, StoreError};

#[async_trait]
impl<B: Backend> Store for B {
    async fn migrate(&self) -> Result<MigrationReport, StoreError> {
        self.apply_migrations().await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.check_ready().await
    }

    async fn instance(&self) -> Result<String, StoreError> {
        self.answering().await
    }

    async fn close(&self) {
        self.shut().await;
    }

    fn backend(&self) -> &'static str {
        self.name()
    }
}
