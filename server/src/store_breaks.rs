//! Breaks of the connection to the store, as those who use it notice them: what the store had acknowledged before may be lost since, for a
//! database may have failed over to a replica that missed the last commits. So every shard looks at it again after each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many there were; read by every shard loop.
#[derive(Debug, Default)]
pub(crate) struct StoreBreaks(AtomicU64);

impl StoreBreaks {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The store has answered again after a failure whose outcome was unknown.
    pub(crate) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
