//! The commands that ask a console.

mod accounts;
mod documents;
mod groups;
mod jobs;
mod runs;
mod servers;

use clap::Args;

pub(crate) use accounts::*;
pub(crate) use documents::*;
pub(crate) use groups::*;
pub(crate) use jobs::*;
pub(crate) use runs::*;
pub(crate) use servers::*;

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
