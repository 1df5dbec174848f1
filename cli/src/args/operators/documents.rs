//! The commands on anything, and on files that say how things are to be.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Limit, Remote};

/// Kinds of things that can be shown by the general commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
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
