//! The commands on task groups.

use clap::{Args, Subcommand};

use super::{Limit, Remote};

/// Task groups: the owners of jobs, workers and permissions
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon group create billing --backups 2")]
pub(crate) struct GroupArgs {
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(subcommand)]
    pub(crate) action: GroupAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupAction {
    /// List the groups you may see
    #[command(after_help = "Example:\n  carillon group list -o wide")]
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one group
    #[command(after_help = "Example:\n  carillon group get 101-1-2-6601")]
    Get {
        /// Its id or its name
        group: String,
    },
    /// Create a group; the console allocates its number
    #[command(after_help = "Example:\n  carillon group create billing --backups 2 --shards 4")]
    Create {
        /// A name for people, unique in the cluster
        name: String,
        /// The cluster; the console's own unless told
        #[arg(long)]
        cluster: Option<u32>,
        /// The pool of servers that holds it
        #[arg(long, default_value_t = 1)]
        server_group: u32,
        /// How many servers hold each shard: 2 is one owner and one hot standby
        #[arg(long, default_value_t = 2)]
        backups: u32,
        /// Over how many shards its jobs are spread
        #[arg(long, default_value_t = 1)]
        shards: u16,
        /// Free text
        #[arg(long)]
        description: Option<String>,
    },
    /// Rename or describe a group
    #[command(after_help = "Example:\n  carillon group update billing --description 'invoices and dunning'")]
    Update {
        /// Its id or its name
        group: String,
        /// The new name
        #[arg(long)]
        name: Option<String>,
        /// The new description
        #[arg(long)]
        description: Option<String>,
    },
    /// Delete a group that has no jobs
    #[command(after_help = "Example:\n  carillon group delete billing")]
    Delete {
        /// Its id or its name
        group: String,
    },
}
