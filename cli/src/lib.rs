//! The command line of Carillon: everything of the binary `carillon` but its `main`.
//!
//! **What it is.** The place where the parts are put together: it reads the configuration, makes the store and the coordination, and
//! starts server and console with them; and the operators' commands, which ask a console over REST like anybody else.
//!
//! **What it is not.** A place for rules: it decides nothing about fires, runs or rights.
//!
//! **What it must not know.** SQL, znode paths, protobuf.
//!
//! **Where to begin.** [`run`]; then `args` for what can be asked, [`config`] for what a process is told, `dev` for everything
//! in one process, `operate` for the operators' commands.

mod api;
mod args;
mod clock;
mod completions;
pub mod config;
mod configure;
mod cron;
mod dev;
mod failure;
mod healthcheck;
mod logging;
mod operate;
mod output;
mod parts;
mod processes;
mod suggest;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command, ServerArgs};
use failure::Outcome;

/// The whole tree of commands, for completions, documentation and tests of files that call the binary.
pub fn command() -> clap::Command {
    Args::command()
}

/// Runs one command line to its end: data on stdout, talk on stderr. The exit codes are 0 done, 1 error, 2 usage or bad input,
/// 3 not found, 4 conflict, 5 the run failed, 6 unreachable.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are no errors: clap prints them on stdout and its refusals on stderr.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match dispatch(args.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::say(&format!("error: {failure}"));
            ExitCode::from(&failure)
        }
    }
}

fn dispatch(command: Command) -> Outcome {
    match command {
        Command::Server(ServerArgs { action: Some(action), .. }) => operate::server(action),
        Command::Dev(args) => dev::run(args),
        Command::Server(args) => processes::server(args),
        Command::Console(args) => processes::console(args),
        Command::Migrate(args) => processes::migrate(args),
        Command::AdminToken(args) => processes::admin_token(args),
        Command::Config(args) => configure::run(args),
        Command::Cron(args) => cron::run(args),
        Command::Healthcheck(args) => healthcheck::run(args),
        Command::Completions(args) => completions::run(args),
        other => operate::run(other),
    }
}
