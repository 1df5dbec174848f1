//! The command line: what can be asked. Every command's help carries an example.

mod operators;
mod processes;

use clap::{Parser, Subcommand};

pub(crate) use operators::*;
pub(crate) use processes::*;

/// A highly available distributed task scheduler: one binary for its servers, consoles and operators.
#[derive(Debug, Parser)]
#[command(
    name = "carillon",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  carillon dev                                  everything in one process, to try it\n  \
                  carillon job list                             the jobs of the console at CARILLON_CONSOLE\n  \
                  carillon cron explain '0 0 9 ? * MON-FRI'     what an expression means"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Dev(DevArgs),
    Server(ServerArgs),
    Console(ConsoleArgs),
    Migrate(MigrateArgs),
    AdminToken(AdminTokenArgs),
    Config(ConfigArgs),
    Healthcheck(HealthcheckArgs),
    Group(GroupArgs),
    Job(JobArgs),
    Run(RunArgs),
    Shard(ShardArgs),
    Worker(WorkerArgs),
    DeadLetter(DeadLetterArgs),
    User(UserArgs),
    Token(TokenArgs),
    Grant(GrantArgs),
    Audit(AuditArgs),
    Get(GetArgs),
    Describe(DescribeArgs),
    Apply(ApplyArgs),
    Diff(DiffArgs),
    Delete(DeleteArgs),
    Cron(CronArgs),
    Completions(CompletionsArgs),
}
