//! A standby's look at the shard's row, when what it was told lets it doubt that the shard is planned.

use std::time::Duration;

use carillon_core::engine::Input;
use carillon_store::StoreError;
use carillon_store::shards::ShardRow;
use tokio::task::JoinHandle;

use super::ShardLoop;

/// How long the store may take. The engine asks again by itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// The look under way; one at a time.
#[derive(Debug, Default)]
pub(super) struct RowRead {
    read: Option<JoinHandle<Result<Option<ShardRow>, StoreError>>>,
    /// The look before failed in a way that leaves open what became of the store.
    failed: bool,
}

impl RowRead {
    /// Waits for the answer of the look under way; for ever where there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<ShardRow>, StoreError> {
        match &mut self.read {
            Some(read) => {
                let row = read
                    .await
                    .expect("the reading task neither panics nor is aborted while its handle is kept");
                self.read = None;
                row
            }
            None => std::future::pending().await,
        }
    }
}

impl ShardLoop {
    pub(super) fn read_row(&mut self) {
        if self.row.read.is_some() {
            return;
        }
        let (store, shard) = (self.shell.store.clone(), self.id);
        self.row.read = Some(tokio::spawn(async move {
            let timed_out =
                StoreError::Unavailable { action: "read a shard's row", source: "no answer in time".into() };
            tokio::time::timeout(PATIENCE, store.shard(shard)).await.unwrap_or(Err(timed_out))
        }));
    }

    pub(super) fn take_row(&mut self, row: Result<Option<ShardRow>, StoreError>) {
        if row.is_ok() && std::mem::take(&mut self.row.failed) {
            self.shell.breaks.note();
        }
        match row {
            Ok(Some(row)) => {
                self.step(Input::ShardRead { epoch: row.epoch, planned_until: row.planned_until })
            }
            Ok(None) => {}
            Err(error) => {
                self.row.failed |= error.is_unknown();
                self.shell.metrics.store_failures.inc();
                tracing::debug!(shard = %self.id, error = %crate::chain(&error), "could not read the shard's row");
            }
        }
    }
}
