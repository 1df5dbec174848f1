//! The commands on what runs: servers, their shards, workers.

use clap::{Args, Subcommand};

use super::{Limit, Remote};

#[derive(Debug, Subcommand)]
pub(crate) enum ServerAction {
    /// List the running servers
    #[command(after_help = "Example:\n  carillon server list -o wide")]
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Show one server
    #[command(after_help = "Example:\n  carillon server get server-1")]
    Get {
        #[command(flatten)]
        remote: Remote,
        /// Its name
        server: String,
    },
    /// Let a server hand over all its shards and take no new ones
    #[command(after_help = "Example:\n  carillon server drain server-1")]
    Drain {
        #[command(flatten)]
        remote: Remote,
        /// Its name
        server: String,
    },
}

/// Shards: who owns and who stands by
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon shard list")]
pub(crate) struct ShardArgs {
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(subcommand)]
    pub(crate) action: ShardAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ShardAction {
    /// List the shards with their holders
    #[command(after_help = "Example:\n  carillon shard list --group billing")]
    List {
        /// Only those of this group, by id or name
        #[arg(long)]
        group: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
}

/// Workers: the processes with the handlers
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon worker list --group billing")]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(subcommand)]
    pub(crate) action: WorkerAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerAction {
    /// List the connected workers
    #[command(after_help = "Example:\n  carillon worker list --group billing -o wide")]
    List {
        /// Only those of this group, by id or name
        #[arg(long)]
        group: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
}
