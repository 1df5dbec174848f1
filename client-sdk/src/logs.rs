//! Logs of runs: `tracing` events inside a run's span become lines of that run's log in the console.
//!
//! [`init_logs`] sets everything up; a program with its own subscriber adds [`log_layer`] to it. Events of tasks that a handler spawns belong to
//! the run only if the task is instrumented: `tokio::spawn(work.in_current_span())` with `tracing::Instrument`.

mod hub;
mod layer;
mod mask;

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

pub(crate) use hub::{LogHub, RunLog};
pub use layer::RunLogLayer;
pub(crate) use layer::run_span;

/// Prints logs to standard error, filtered by `RUST_LOG` (`info` by default), and sends those of runs to their logs in the console.
///
/// Does nothing where the program has installed a subscriber already; add [`log_layer`] to that one.
pub fn init_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Escape codes are for terminals; in a file they hide what one searches for.
    let colours = std::io::stderr().is_terminal();
    let printed = fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_filter(filter);
    // A subscriber that is there already was chosen on purpose.
    let _ = tracing_subscriber::registry().with(printed).with(log_layer()).try_init();
}

/// The layer that sends the events of runs to their logs, at level `info` and above until told otherwise.
///
/// ```
/// use tracing_subscriber::prelude::*;
///
/// let subscriber = tracing_subscriber::registry().with(carillon_client::log_layer());
/// # let _ = subscriber;
/// ```
pub fn log_layer() -> RunLogLayer {
    RunLogLayer::default()
}
