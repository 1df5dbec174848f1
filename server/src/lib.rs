//! Carillon's server: the shell around the engine.
//!
//! **What it is.** Loops, gRPC services, group commit, ownership of shards, run logs, metrics: it feeds `carillon_core::engine` with what
//! happens, persists what the engine decides, then acts on it.
//!
//! **What it is not.** A place for scheduling rules: those are the engine's. Nor for SQL text, znode paths or web pages, which it must not know.
//!
//! **Where to begin.** [`serve()`](fn@serve) puts it together. Then `shard_loop` (one task a shard), `committer` (what all shards want written, in
//! batches), `ownership` (which shards are ours), `peers` (what the servers tell each other),
//! `rpc` (the edge), `switchboard` (who is connected).

mod arms;
mod clock;
mod committer;
mod config;
mod error;
mod events;
mod figures;
mod http;
mod logs;
mod map;
mod metrics;
mod ownership;
mod peers;
mod placer;
mod rpc;
mod serve;
mod shard_loop;
mod stall;
mod store_breaks;
mod switchboard;

pub use clock::Clock;
pub use config::{ServerConfig, TlsConfig};
pub use error::ServerError;
pub use metrics::Metrics;
pub use serve::{Server, serve};

/// An error with all its causes, as one line for a log.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
