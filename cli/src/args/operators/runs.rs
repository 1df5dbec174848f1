//! The commands on runs, dead ones among them.

use clap::{Args, Subcommand};

use super::{Limit, Remote};

/// Runs: what happened
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon run list --job billing/close-day --state failed")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(subcommand)]
    pub(crate) action: RunAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunAction {
    /// List runs, newest first; those still to come only with --state planned
    #[command(after_help = "Example:\n  carillon run list --job billing/close-day --state failed --from 1d")]
    List {
        /// Only those of this group, by id or name
        #[arg(long)]
        group: Option<String>,
        /// Only those of this job: its number, or group/name
        #[arg(long)]
        job: Option<String>,
        /// Only those in this state; may be repeated
        #[arg(long)]
        state: Vec<String>,
        /// Not before this time, or this long ago
        #[arg(long, value_name = "TIME|DURATION")]
        from: Option<String>,
        /// Before this time, or this long ago
        #[arg(long, value_name = "TIME|DURATION")]
        to: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one run
    #[command(after_help = "Example:\n  carillon run get 01hx2k9a00000002")]
    Get {
        /// Its id
        run: String,
    },
    /// Print a run's log
    #[command(visible_alias = "log", after_help = "Example:\n  carillon run logs 01hx2k9a00000002 --follow")]
    Logs {
        /// Its id
        run: String,
        /// The attempt; the newest unless told
        #[arg(long)]
        attempt: Option<u32>,
        /// Go on until the run is over
        #[arg(short, long)]
        follow: bool,
    },
    /// Cancel a run
    #[command(after_help = "Example:\n  carillon run cancel 01hx2k9a00000002")]
    Cancel {
        /// Its id
        run: String,
    },
    /// Make a finished run due again, as a new attempt
    #[command(after_help = "Example:\n  carillon run retry 01hx2k9a00000002 --failed-subtasks")]
    Retry {
        /// Its id
        run: String,
        /// Only the failed subtasks of a parallel run
        #[arg(long)]
        failed_subtasks: bool,
    },
    /// List the subtasks of a parallel run
    #[command(after_help = "Example:\n  carillon run subtasks 01hx2k9a00000002 --state failed")]
    Subtasks {
        /// Its id
        run: String,
        /// Only those in this state
        #[arg(long)]
        state: Option<String>,
        /// Only those with this in their key
        #[arg(long)]
        key: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
}

/// Dead letters: runs whose attempts are used up
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon dead-letter list --group billing")]
pub(crate) struct DeadLetterArgs {
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(subcommand)]
    pub(crate) action: DeadLetterAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetterAction {
    /// List them, newest first
    #[command(after_help = "Example:\n  carillon dead-letter list --group billing")]
    List {
        /// Only those of this group, by id or name
        #[arg(long)]
        group: Option<String>,
        /// Only those of this job: its number, or group/name
        #[arg(long)]
        job: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Make dead runs due again
    #[command(after_help = "Example:\n  carillon dead-letter retry 01hx2k9a00000002 01hx2k9b00000002")]
    Retry {
        /// Their ids
        #[arg(required = true)]
        runs: Vec<String>,
    },
    /// Take dead runs off the list; they stay in history
    #[command(after_help = "Example:\n  carillon dead-letter discard 01hx2k9a00000002")]
    Discard {
        /// Their ids
        #[arg(required = true)]
        runs: Vec<String>,
    },
}
