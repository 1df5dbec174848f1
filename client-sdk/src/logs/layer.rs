//! The `tracing` layer that finds the run an event belongs to.

use std::cell::RefCell;
use std::fmt::Write as _;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Span, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::hub::RunLog;
use super::mask::{is_secret, mask};
use crate::context::RunInfo;
use crate::run_id::trace_text;

thread_local! {
    /// The log of the run whose span is being made on this thread: spans carry fields, not handles.
    static NEXT: RefCell<Option<Target>> = const { RefCell::new(None) };
}

#[derive(Clone)]
struct Target {
    log: RunLog,
    /// The subtask's key or number; empty for the run itself.
    prefix: String,
}

/// Makes the span of a run or a subtask: its events go to the run's log, and it carries the trace id for every other layer.
pub(crate) fn run_span(info: &RunInfo, subtask: Option<(&str, u64)>) -> Span {
    let make = || match subtask {
        None => tracing::error_span!(
            target: "carillon", "run",
            id = info.run_id(), attempt = info.key.attempt, job = info.job_name, trace_id = trace_text(&info.trace_id)
        ),
        Some((key, index)) => tracing::error_span!(
            target: "carillon", "subtask",
            id = info.run_id(), attempt = info.key.attempt, job = info.job_name, trace_id = trace_text(&info.trace_id), index, key
        ),
    };
    let Some(log) = info.log.clone() else { return make() };
    let prefix = match subtask {
        None => String::new(),
        Some(("", index)) => index.to_string(),
        Some((key, _)) => key.to_owned(),
    };
    NEXT.with_borrow_mut(|next| *next = Some(Target { log, prefix }));
    let span = make();
    NEXT.with_borrow_mut(|next| *next = None);
    span
}

/// See [`log_layer`](super::log_layer).
#[derive(Debug, Clone)]
pub struct RunLogLayer {
    most_verbose: Level,
}

impl Default for RunLogLayer {
    fn default() -> Self {
        Self { most_verbose: Level::INFO }
    }
}

impl RunLogLayer {
    /// Sends events up to this level of verbosity.
    #[must_use]
    pub fn with_level(self, most_verbose: Level) -> Self {
        Self { most_verbose }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for RunLogLayer {
    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(target) = NEXT.with_borrow(|next| next.clone()) else { return };
        if let Some(span) = ctx.span(id) {
            span.extensions_mut().insert(target);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        if *event.metadata().level() > self.most_verbose {
            return;
        }
        let Some(scope) = ctx.event_scope(event) else { return };
        for span in scope {
            if let Some(target) = span.extensions().get::<Target>() {
                target.log.write(&line(event, &target.prefix));
                return;
            }
        }
    }
}

fn line(event: &Event<'_>, prefix: &str) -> String {
    let mut line = String::with_capacity(96);
    // A clock before 1970 is the only failure; the line is worth more than its time.
    let _ = SystemTime.format_time(&mut Writer::new(&mut line));
    let _ = write!(line, " {:>5} ", event.metadata().level());
    if !prefix.is_empty() {
        let _ = write!(line, "[{prefix}] ");
    }
    let mut fields = Fields::default();
    event.record(&mut fields);
    let text = if fields.message.is_empty() {
        fields.rest.trim_start().to_owned()
    } else {
        fields.message + &fields.rest
    };
    // Lines after the first are indented, so that each beginning with a time is an event.
    line.push_str(&text.trim_end().replace('\n', "\n    "));
    line.push('\n');
    line
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = mask(value).into_owned();
        } else if is_secret(field.name()) {
            let _ = write!(self.rest, " {}=***", field.name());
        } else {
            let _ = write!(self.rest, " {}={}", field.name(), mask(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
