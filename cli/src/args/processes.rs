//! The commands that are processes, or that look after them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::ServerAction;
use crate::config::Role;

/// Run everything in one process on this machine: server, console, a worker with sample jobs
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  carillon dev\n  carillon dev --ephemeral --port 8080    nothing is kept"
)]
pub(crate) struct DevArgs {
    /// The folder that keeps the database and the tokens
    #[arg(long, value_name = "DIR", default_value = "carillon-data", conflicts_with = "ephemeral")]
    pub(crate) data: PathBuf,
    /// Keep nothing: a fresh folder that is deleted at the end
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Delete what the folder keeps before starting
    #[arg(long, conflicts_with = "ephemeral")]
    pub(crate) reset: bool,
    /// The console's port; where it is taken, the next free one
    #[arg(long, default_value_t = 7700)]
    pub(crate) port: u16,
    /// Start without the sample jobs and their worker
    #[arg(long)]
    pub(crate) no_samples: bool,
}

/// Where a process's configuration comes from.
#[derive(Debug, Default, Args)]
pub(crate) struct ConfigSource {
    /// The TOML file to read
    #[arg(long, value_name = "FILE", env = "CARILLON_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Set any key, such as --set store.url=sqlite:carillon.db; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// store.url: where everything is kept
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// zookeeper.connect: the ensemble, host:port,...
    #[arg(long, value_name = "HOSTS")]
    pub(crate) zookeeper: Option<String>,
}

/// Run a server, or look after the running ones
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  carillon server --config /etc/carillon/server.toml\n  \
                  carillon server --id server-1 --room room-a --store mysql://carillon:secret@db/carillon --zookeeper zoo1:2181\n  \
                  carillon server list\n  carillon server drain server-1"
)]
pub(crate) struct ServerArgs {
    #[command(subcommand)]
    pub(crate) action: Option<ServerAction>,
    #[command(flatten)]
    pub(crate) source: ConfigSource,
    /// server.id: the server's name, unique in the cluster
    #[arg(long, value_name = "NAME")]
    pub(crate) id: Option<String>,
    /// server.room: the machine room it stands in
    #[arg(long, value_name = "ROOM")]
    pub(crate) room: Option<String>,
    /// server.listen: where it listens for workers, consoles and peers
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// server.advertise: host:port under which the others reach it
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Option<String>,
}

/// Run a console: the web pages and the REST API
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  carillon console --listen 0.0.0.0:7700 --store mysql://carillon:secret@db/carillon --zookeeper zoo1:2181"
)]
pub(crate) struct ConsoleArgs {
    #[command(flatten)]
    pub(crate) source: ConfigSource,
    /// console.listen: where it serves
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
}

/// Bring the store's tables up to what this binary needs
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon migrate --store mysql://carillon:secret@db/carillon")]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) source: ConfigSource,
}

/// Make an API token of the administrator, straight in the store: for the first set-up, or when nobody can sign in
///
/// The token goes to stdout. Where there are no users yet, the administrator is made as well, with a password that is shown once, on
/// stderr. Whoever can read the store's URL may do so.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  carillon admin-token --store mysql://carillon:secret@db/carillon > admin.token"
)]
pub(crate) struct AdminTokenArgs {
    #[command(flatten)]
    pub(crate) source: ConfigSource,
    /// When the token ends
    #[arg(long, value_name = "DURATION", default_value = "30d")]
    pub(crate) expires_in: carillon_core::time::Span,
}

/// Show or check the configuration
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon config print --config server.toml")]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) action: ConfigAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Show every key with its value and where it came from; passwords are masked
    #[command(
        after_help = "Example:\n  CARILLON_SERVER_ROOM=room-a carillon config print --config server.toml"
    )]
    Print {
        #[command(flatten)]
        source: ConfigSource,
        /// How to show it
        #[arg(short, long, value_enum, default_value_t = ConfigFormat::Table)]
        output: ConfigFormat,
    },
    /// Check the configuration and say everything that is wrong
    #[command(after_help = "Example:\n  carillon config validate --config server.toml --role server")]
    Validate {
        #[command(flatten)]
        source: ConfigSource,
        /// Also check that everything this process needs is there
        #[arg(long, value_enum)]
        role: Option<Role>,
    },
}

/// How `config print` shows the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConfigFormat {
    /// Key, value and origin in columns
    Table,
    /// A config file with a comment at each key
    Toml,
    /// A JSON array of key, value, origin, variable and help
    Json,
}

/// Ask a process on this machine whether it is alive, for containers
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  carillon healthcheck --http 127.0.0.1:7700    a console: GET /livez\n  \
                  carillon healthcheck --grpc 127.0.0.1:7710    a server: its port answers"
)]
pub(crate) struct HealthcheckArgs {
    /// The console's address, or a whole URL of a health page
    #[arg(long, value_name = "ADDRESS", required_unless_present = "grpc", conflicts_with = "grpc")]
    pub(crate) http: Option<String>,
    /// The server's address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) grpc: Option<String>,
    /// How long to wait
    #[arg(long, default_value = "3s")]
    pub(crate) timeout: carillon_core::time::Span,
}

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon completions bash > /etc/bash_completion.d/carillon")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Understand schedules, on this machine alone
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  carillon cron explain '0 0 9 ? * MON-FRI' --tz Asia/Shanghai")]
pub(crate) struct CronArgs {
    #[command(subcommand)]
    pub(crate) action: CronAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CronAction {
    /// Say when an expression fires next, or where it is wrong
    #[command(after_help = "Examples:\n  carillon cron explain '0 0 9 ? * MON-FRI' --tz Asia/Shanghai\n  \
                            carillon cron explain '*/5 * * * *' --dialect unix --count 3")]
    Explain {
        /// The expression, in quotes
        expression: String,
        /// The time zone whose clock it means, an IANA name
        #[arg(long, value_name = "ZONE", default_value = "UTC")]
        tz: String,
        /// How to read it: quartz has the seconds first, unix has five fields
        #[arg(long, value_enum, default_value_t = Dialect::Quartz)]
        dialect: Dialect,
        /// How many fires to show
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=100))]
        count: u16,
        /// Show fires after this instant instead of now
        #[arg(long, value_name = "TIME")]
        after: Option<carillon_core::time::Timestamp>,
        /// How to show it
        #[arg(short, long, value_enum, default_value_t = crate::output::Format::Table)]
        output: crate::output::Format,
    },
}

/// How a cron expression is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// Six or seven fields, seconds first, Sunday = 1
    Quartz,
    /// Five fields, Sunday = 0
    Unix,
}
