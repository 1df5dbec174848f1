//! Log lines on stderr, by the `logs` concern.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LogsConfig};

/// Starts writing log lines. Only the first call of a process counts.
pub(crate) fn start(logs: &LogsConfig) {
    let filter = EnvFilter::try_new(logs.level.as_str()).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    // A second start, as in tests of one process, keeps the first one's lines.
    let _ = match logs.format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
}
