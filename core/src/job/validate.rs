//! Bounds of a job's fields, each refusal naming the field, the value and what would be right.

use serde::Serialize;

use super::{Job, JobSpec, Misfire, Overlap, Routing};
use crate::schedule::CompiledSchedule;
use crate::time::Span;

/// The largest params as JSON text: they travel in every Arm, several times a second for busy jobs.
pub const MAX_PARAMS_BYTES: usize = 64 * 1024;

/// One thing wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field, as a dotted path: `schedule.expression`.
    pub field: String,
    /// What was given and what would be right.
    pub message: String,
    /// For texts with a syntax: the 1-based column of the error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl FieldError {
    /// An error about `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), column: None }
    }
}

impl JobSpec {
    /// Checks every bound and compiles the schedule.
    ///
    /// # Errors
    /// All the fields that are out of bounds, in the order of the spec.
    pub fn validate(&self) -> Result<CompiledSchedule, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut check = |fine: bool, field: &str, message: String| {
            if !fine {
                errors.push(FieldError::new(field, message));
            }
        };
        for (field, text) in [("name", &self.name), ("handler", &self.handler)] {
            check(
                is_name(text, 128),
                field,
                format!(
                    "{:?} is not a {field}: 1 to 128 characters, no control characters, no blanks at the ends",
                    shorten(text)
                ),
            );
        }
        check(self.description.chars().count() <= 4096, "description", "at most 4,096 characters".into());
        check(self.owner.chars().count() <= 128, "owner", "at most 128 characters".into());
        let params = self.params.to_string().len();
        check(
            params <= MAX_PARAMS_BYTES,
            "params",
            format!(
                "{params} bytes as JSON, at most {MAX_PARAMS_BYTES} (64 KiB); pass a reference to larger data instead"
            ),
        );
        check(
            self.labels.len() <= 32
                && self.labels.iter().all(|(key, value)| is_name(key, 64) && value.len() <= 256),
            "labels",
            "at most 32 labels, keys of 1 to 64 and values of at most 256 characters".into(),
        );
        check(
            self.selector.labels.len() <= 16,
            "selector.labels",
            format!("{} labels, at most 16", self.selector.labels.len()),
        );
        check(
            (1..=Misfire::MAX_LIMIT).contains(&self.misfire.limit),
            "misfire.limit",
            format!("{} is not between 1 and {}", self.misfire.limit, Misfire::MAX_LIMIT),
        );
        match self.overlap {
            Overlap::Parallel { max: count } | Overlap::Queue { limit: count } => check(
                (1..=10_000).contains(&count),
                if self.overlap.is_serial() { "overlap.limit" } else { "overlap.max" },
                format!("{count} is not between 1 and 10,000"),
            ),
            Overlap::Skip | Overlap::Replace => {}
        }
        if let Routing::Hash { field } = &self.routing {
            check(
                !field.is_empty() && field.len() <= 128,
                "routing.field",
                "a field name of 1 to 128 characters".into(),
            );
        }
        for (field, attempts) in [
            ("retry.max_attempts", self.retry.max_attempts),
            ("parallel.max_attempts", self.parallel.max_attempts),
        ] {
            check((1..=100).contains(&attempts), field, format!("{attempts} is not between 1 and 100"));
        }
        let day = Span::from_secs(86_400);
        for (field, span, most) in [
            ("retry.initial", Some(self.retry.initial), day),
            ("retry.max", Some(self.retry.max), Span::from_secs(30 * 86_400)),
            ("timeout", self.timeout, Span::from_secs(30 * 86_400)),
            ("start_window", self.start_window, day),
            ("parallel.retry_delay", Some(self.parallel.retry_delay), day),
            ("parallel.timeout", self.parallel.timeout, Span::from_secs(30 * 86_400)),
        ] {
            let Some(span) = span else { continue };
            check(
                span.as_millis() >= 10 && span <= most,
                field,
                format!("{span} is not between 10ms and {most}"),
            );
        }
        check(
            self.retry.initial <= self.retry.max,
            "retry.max",
            format!("{} is shorter than retry.initial {}", self.retry.max, self.retry.initial),
        );
        match self.schedule.compile() {
            Ok(compiled) if errors.is_empty() => Ok(compiled),
            Ok(_) => Err(errors),
            Err(error) => {
                errors.push(FieldError {
                    field: format!("schedule.{}", error.field()),
                    column: error.position().map(|(column, _)| column),
                    message: error.to_string(),
                });
                Err(errors)
            }
        }
    }
}

impl Job {
    /// The compiled schedule of a job that was validated when it was stored.
    ///
    /// # Errors
    /// When the stored spec is no longer valid, for example because a time zone left the database.
    pub fn compile(&self) -> Result<CompiledSchedule, crate::schedule::ScheduleError> {
        self.spec.schedule.compile()
    }
}

fn is_name(text: &str, most: usize) -> bool {
    !text.is_empty()
        && text.chars().count() <= most
        && text.trim() == text
        && !text.chars().any(char::is_control)
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}
