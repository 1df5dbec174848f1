//! Log lines on stderr, by the `logs` concern.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::{LogFormat, LogsConfig};

/// Starts writing log lines. Only the first call of a process counts.
pub(crate) fn start(logs: &LogsConfig) {
    // A second start, as in tests of one process, keeps the first one's lines.
    let _ = tracing_subscriber::registry().with(lines(logs)).try_init();
}

/// The same in a process with a worker in it, whose runs' lines go to their logs in the console, whatever is shown here.
pub(crate) fn start_with_runs(logs: &LogsConfig) {
    let _ = tracing_subscriber::registry().with(lines(logs)).with(carillon_client::log_layer()).try_init();
}

fn lines(logs: &LogsConfig) -> Box<dyn Layer<Registry> + Send + Sync> {
    let filter = EnvFilter::try_new(logs.level.as_str()).unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    match logs.format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    }
}
