//! Changes of the database behind the store: what it had acknowledged before may be lost since, for it may have failed over to a replica that
//! missed the last commits. So every shard looks at it again after each.
//!
//! A writer that was left in doubt notices one at once. Where nothing was being written, and where a pool opens new connections for broken
//! ones without a word, only the database itself can tell that it is another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use carillon_store::SharedStore;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often the database is asked who it is: a run whose end was lost stays open for so long, at one small statement a server.
const ASK_EVERY: Duration = Duration::from_secs(1);

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

    /// Notes whenever another database answers, until it is stopped.
    pub(crate) async fn watch(self: Arc<Self>, store: SharedStore, stop: CancellationToken) {
        let mut known: Option<String> = None;
        let mut round = tokio::time::interval(ASK_EVERY);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = round.tick() => {}
                () = stop.cancelled() => return,
            }
            // One that does not answer is heard of by those who write.
            let Ok(now) = store.instance().await else { continue };
            if known.as_ref().is_some_and(|known| *known != now) {
                tracing::warn!(instance = now, "another database answers; every shard is looked at again");
                self.note();
            }
            known = Some(now);
        }
    }
}
