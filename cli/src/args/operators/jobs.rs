//! The commands on jobs.

use carillon_core::time::{Span, Timestamp};
use clap::{Args, Subcommand};

use super::{Limit, Remote};

/// Jobs: what to run and when
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon job trigger billing/close-day --wait")]
pub(crate) struct JobArgs {
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(subcommand)]
    pub(crate) action: JobAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JobAction {
    /// List jobs
    #[command(after_help = "Example:\n  carillon job list --group billing --text invoice")]
    List {
        /// Only those of this group, by id or name
        #[arg(long)]
        group: Option<String>,
        /// Only those with this in the name or handler
        #[arg(long)]
        text: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one job
    #[command(after_help = "Example:\n  carillon job get billing/close-day -o yaml")]
    Get {
        /// Its number, or group/name
        job: String,
    },
    /// Create a job
    #[command(
        after_help = "Examples:\n  carillon job create --group billing --name close-day --handler close_day --cron '0 0 1 * * ?' --tz Asia/Shanghai\n  \
                            carillon job create --group billing --name resend --handler resend --api --params '{\"limit\":10}'"
    )]
    Create {
        /// The group that owns it, by id or name
        #[arg(long)]
        group: String,
        /// Its name, unique in the group
        #[arg(long)]
        name: String,
        #[command(flatten)]
        fields: JobFields,
    },
    /// Change a job; what is not given stays
    #[command(
        after_help = "Example:\n  carillon job update billing/close-day --cron '0 30 1 * * ?' --timeout 10m"
    )]
    Update {
        /// Its number, or group/name
        job: String,
        /// Only if this is still its revision
        #[arg(long)]
        revision: Option<u32>,
        /// The new name
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        fields: JobFields,
    },
    /// Delete a job; its runs stay in history
    #[command(after_help = "Example:\n  carillon job delete billing/close-day")]
    Delete {
        /// Its number, or group/name
        job: String,
    },
    /// Start a run now
    #[command(
        after_help = "Examples:\n  carillon job trigger billing/close-day --params '\"2026-11-20\"' --wait\n  \
                            carillon job trigger 17 --idempotency-key close-2026-11-20"
    )]
    Trigger {
        /// Its number, or group/name
        job: String,
        /// Params in place of the job's: JSON, or a plain text
        #[arg(long)]
        params: Option<String>,
        /// The same key again is the same run
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
        /// Wait for the run's end; exit code 5 when it did not succeed
        #[arg(long)]
        wait: bool,
        /// How long to wait
        #[arg(long, default_value = "1h", requires = "wait")]
        timeout: Span,
    },
    /// Stop firing by the schedule; the job can still be triggered
    #[command(after_help = "Example:\n  carillon job pause billing/close-day")]
    Pause {
        /// Its number, or group/name
        job: String,
    },
    /// Fire by the schedule again
    #[command(after_help = "Example:\n  carillon job resume billing/close-day")]
    Resume {
        /// Its number, or group/name
        job: String,
    },
    /// The ledger: every fire time with its outcome and reason
    #[command(after_help = "Example:\n  carillon job fires billing/close-day --limit 20")]
    Fires {
        /// Its number, or group/name
        job: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// The versions the job had
    #[command(after_help = "Example:\n  carillon job versions billing/close-day")]
    Versions {
        /// Its number, or group/name
        job: String,
        #[command(flatten)]
        limit: Limit,
    },
}

/// What can be said about a job in flags; `carillon apply` can say everything.
#[derive(Debug, Default, Args)]
pub(crate) struct JobFields {
    /// The name of the code at the workers
    #[arg(long)]
    pub(crate) handler: Option<String>,
    /// simple, or parallel for a two-level map
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Free text
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// What the handler is given: JSON, or a plain text
    #[arg(long)]
    pub(crate) params: Option<String>,
    /// Fire by a Quartz cron expression, seconds first
    #[arg(long, value_name = "EXPRESSION", group = "schedule")]
    pub(crate) cron: Option<String>,
    /// The time zone of --cron, an IANA name
    #[arg(long, value_name = "ZONE", requires = "cron")]
    pub(crate) tz: Option<String>,
    /// Fire at a fixed rate
    #[arg(long, value_name = "DURATION", group = "schedule")]
    pub(crate) every: Option<Span>,
    /// Fire this long after the previous run's end
    #[arg(long, value_name = "DURATION", group = "schedule")]
    pub(crate) delay: Option<Span>,
    /// Fire once, at this time
    #[arg(long, value_name = "TIME", group = "schedule")]
    pub(crate) at: Option<Timestamp>,
    /// Fire only when triggered
    #[arg(long, group = "schedule")]
    pub(crate) api: bool,
    /// The longest an attempt may take
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<Span>,
    /// Attempts in all, the first included
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_attempts: Option<u32>,
    /// When the previous run still runs: parallel, skip, queue or replace
    #[arg(long, value_name = "POLICY")]
    pub(crate) overlap: Option<String>,
    /// For fires that could not start in time: skip, fire_once or fire_all
    #[arg(long, value_name = "POLICY")]
    pub(crate) misfire: Option<String>,
    /// Who answers for it
    #[arg(long)]
    pub(crate) owner: Option<String>,
    /// A label; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
}
