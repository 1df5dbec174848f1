//! Logs, for every backend.

use std::sync::Arc;

use async_trait::async_trait;
use carillon_core::ids::{AttemptNo, RunKey};

use crate::StoreError;
use crate::database::Backend;
use crate::logs::{LogChunk, LogStore};
use crate::sql::logs;

#[async_trait]
impl<B: Backend> LogStore for B {
    async fn append_logs(&self, chunks: &[LogChunk]) -> Result<(), StoreError> {
        let chunks: Arc<[LogChunk]> = chunks.into();
        self.write("append to the logs", move |db| Box::pin(logs::append_logs(db, chunks.clone()))).await
    }

    async fn read_log(
        &self,
        run: RunKey,
        attempt: AttemptNo,
        from: u64,
        limit: u64,
    ) -> Result<(Vec<u8>, u64), StoreError> {
        self.read("read the log", move |db| Box::pin(logs::read_log(db, run, attempt, from, limit))).await
    }
}
