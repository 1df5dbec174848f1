//! The commands that ask a console.

use std::path::PathBuf;

use carillon_core::time::Span;
use clap::{Args, Subcommand};

use crate::output::Format;

/// The port of the console unless told otherwise; `carillon dev` takes the same.
pub(crate) const DEFAULT_CONSOLE: &str = "http://127.0.0.1:7700";

/// Which console to ask, as whom, and how to show the answer.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Console")]
pub(crate) struct Remote {
    /// The console's URL
    #[arg(long, global = true, value_name = "URL", env = "CARILLON_CONSOLE", default_value = DEFAULT_CONSOLE)]
    pub(crate) console: String,
    /// The API token; without it, carillon-data/admin.token where `carillon dev` left one
    #[arg(long, global = true, env = "CARILLON_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// How to show the answer
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

/// How much of a list.
#[derive(Debug, Args)]
pub(crate) struct Limit {
    /// At most this many
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    pub(crate) limit: usize,
}

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
    pub(crate) at: Option<carillon_core::time::Timestamp>,
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

/// Users: the people who sign in
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon user create lin --display-name 'Lin Wei'")]
pub(crate) struct UserArgs {
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(subcommand)]
    pub(crate) action: UserAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserAction {
    /// List the users
    #[command(after_help = "Example:\n  carillon user list")]
    List {
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one user
    #[command(after_help = "Example:\n  carillon user get lin")]
    Get {
        /// The sign-in name or the number
        user: String,
    },
    /// Create a user, with a password that is made up and shown once
    #[command(after_help = "Example:\n  carillon user create lin --display-name 'Lin Wei'")]
    Create {
        /// The sign-in name
        name: String,
        /// A name for people
        #[arg(long)]
        display_name: Option<String>,
        /// May do everything
        #[arg(long)]
        administrator: bool,
        /// Take the password from stdin instead
        #[arg(long)]
        password: bool,
    },
    /// Change a user
    #[command(after_help = "Example:\n  carillon user update lin --disabled true")]
    Update {
        /// The sign-in name or the number
        user: String,
        /// The new name for people
        #[arg(long)]
        display_name: Option<String>,
        /// Whether the user may do everything
        #[arg(long)]
        administrator: Option<bool>,
        /// Whether the user is kept from signing in
        #[arg(long)]
        disabled: Option<bool>,
        /// Set a new password, read from stdin
        #[arg(long)]
        password: bool,
    },
    /// Delete a user with grants, sessions and tokens
    #[command(after_help = "Example:\n  carillon user delete lin")]
    Delete {
        /// The sign-in name or the number
        user: String,
    },
}

/// Tokens: for programs that act as a user, and for workers
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon token create billing-workers --worker-of billing")]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(subcommand)]
    pub(crate) action: TokenAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenAction {
    /// List the tokens; the tokens themselves are never shown again
    #[command(after_help = "Example:\n  carillon token list")]
    List {
        /// Only worker tokens of this group, by id or name
        #[arg(long)]
        group: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Make a token; it is printed once, on stdout
    #[command(after_help = "Examples:\n  carillon token create ci --at-most operator --expires-in 90d\n  \
                            carillon token create billing-workers --worker-of billing > worker.token")]
    Create {
        /// What people call it
        name: String,
        /// A worker token of this group, by id or name; otherwise a token that acts as you
        #[arg(long, value_name = "GROUP", conflicts_with = "at_most")]
        worker_of: Option<String>,
        /// No more than this role on any group: viewer, operator, developer or owner
        #[arg(long, value_name = "ROLE")]
        at_most: Option<String>,
        /// When it ends; never unless told
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<Span>,
    },
    /// Delete a token: it stops working at once
    #[command(after_help = "Example:\n  carillon token delete 3")]
    Delete {
        /// Its number
        token: u64,
    },
}

/// Grants: roles of users on task groups
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon grant create lin billing operator")]
pub(crate) struct GrantArgs {
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(subcommand)]
    pub(crate) action: GrantAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GrantAction {
    /// List the grants of a group or of a user
    #[command(after_help = "Example:\n  carillon grant list --group billing")]
    List {
        /// The group, by id or name
        #[arg(long, required_unless_present = "user")]
        group: Option<String>,
        /// The user, by sign-in name or number
        #[arg(long)]
        user: Option<String>,
    },
    /// Give a role, in place of the one the user had on the group
    #[command(after_help = "Example:\n  carillon grant create lin billing operator")]
    Create {
        /// The user, by sign-in name or number
        user: String,
        /// The group, by id or name
        group: String,
        /// viewer, operator (trigger, pause), developer (edit) or owner (grant)
        role: String,
    },
    /// Withdraw a user's role on a group
    #[command(after_help = "Example:\n  carillon grant delete lin billing")]
    Delete {
        /// The user, by sign-in name or number
        user: String,
        /// The group, by id or name
        group: String,
    },
}

/// The audit trail: who changed what
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon audit list --actor lin --limit 20")]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(subcommand)]
    pub(crate) action: AuditAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditAction {
    /// List the entries, newest first
    #[command(after_help = "Example:\n  carillon audit list --target job/17")]
    List {
        /// Only those about this group, by id or name
        #[arg(long)]
        group: Option<String>,
        /// Only those on this target, such as job/17
        #[arg(long)]
        target: Option<String>,
        /// Only this actor's
        #[arg(long)]
        actor: Option<String>,
        /// Only this action, such as job.update
        #[arg(long)]
        action: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
}

/// Kinds of things that can be shown by the general commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Task groups
    #[value(alias = "groups")]
    Group,
    /// Jobs
    #[value(alias = "jobs")]
    Job,
    /// Runs
    #[value(alias = "runs")]
    Run,
    /// Servers
    #[value(alias = "servers")]
    Server,
    /// Users
    #[value(alias = "users")]
    User,
}

/// List things of a kind, or show one of them as a table row
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  carillon get jobs\n  carillon get job billing/close-day -o yaml")]
pub(crate) struct GetArgs {
    /// What
    #[arg(value_enum)]
    pub(crate) kind: Kind,
    /// Which one: as the kind's own command takes it; all of them unless told
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Show everything about one thing
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon describe job billing/close-day")]
pub(crate) struct DescribeArgs {
    /// What
    #[arg(value_enum)]
    pub(crate) kind: Kind,
    /// Which one: as the kind's own command takes it
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Create or change groups and jobs so that they are as the files say
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  carillon apply -f jobs.yaml\n\nA file holds documents, YAML or JSON:\n  kind: group\n  spec: {name: billing, backups: 2}\n  ---\n  kind: job\n  spec:\n    group: billing\n    name: close-day\n    handler: close_day\n    schedule: {type: cron, expression: 0 0 1 * * ?, time_zone: Asia/Shanghai}"
)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Say what would happen, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Show what apply would change
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon diff -f jobs.yaml --exit-code")]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Exit with 1 where there are differences
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Delete what the files name: jobs first, then groups
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon delete -f jobs.yaml")]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub(crate) files: Files,
    /// What is gone already is fine
    #[arg(long)]
    pub(crate) ignore_not_found: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// The files with documents.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// A file of documents, YAML or JSON, or - for stdin; may be repeated
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}
