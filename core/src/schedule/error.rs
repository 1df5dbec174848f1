//! What can be wrong with a schedule.

use crate::time::{Span, Timestamp};

/// Why a schedule was refused. The text says what would be right; [`ScheduleError::field`] names the JSON field at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// A cron expression is wrong at one place.
    #[error("cron expression {expression:?}: {}at column {column}: {problem}", field_prefix(.field))]
    Cron {
        /// The expression as given, shortened where it is far too long.
        expression: String,
        /// Which of its fields, for example `month`; `None` where the expression as a whole is at fault.
        field: Option<&'static str>,
        /// Where the offending text starts: 1 is the first character.
        column: usize,
        /// How many characters it has.
        length: usize,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// No such time zone.
    #[error("unknown time zone {name:?}: {hint}")]
    UnknownTimeZone {
        /// The name as given.
        name: String,
        /// The nearest name, where there is one.
        suggestion: Option<String>,
        /// What to write instead.
        hint: String,
    },
    /// There is no instant at which it would fire.
    #[error("never fires: {reason}")]
    NeverFires {
        /// The JSON field that makes it so.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// It fires more often than is allowed.
    #[error("{field} {given} is too short: at least {minimum}")]
    TooShort {
        /// The JSON field.
        field: &'static str,
        /// Its value.
        given: Span,
        /// The shortest value allowed.
        minimum: Span,
    },
    /// A duration is beyond what makes sense.
    #[error("{field} {given} is too long: at most {maximum}{why}")]
    TooLong {
        /// The JSON field.
        field: &'static str,
        /// Its value.
        given: Span,
        /// The longest value allowed.
        maximum: Span,
        /// The reason where it is not obvious, starting with a comma; else empty.
        why: &'static str,
    },
    /// It ends before it starts.
    #[error("ends_at {ends_at} lies before starts_at {starts_at}")]
    EmptyWindow {
        /// The start.
        starts_at: Timestamp,
        /// The end, earlier.
        ends_at: Timestamp,
    },
}

fn field_prefix(field: &Option<&'static str>) -> String {
    field.map(|name| format!("{name} field ")).unwrap_or_default()
}

impl ScheduleError {
    /// Where in the cron expression the offending text stands: its first column, counted in characters from 1, and its
    /// length in characters. `None` where the expression is not at fault.
    pub fn position(&self) -> Option<(usize, usize)> {
        match self {
            ScheduleError::Cron { column, length, .. } => Some((*column, *length)),
            _ => None,
        }
    }

    /// The JSON field at fault.
    pub fn field(&self) -> &'static str {
        match self {
            ScheduleError::Cron { .. } => "expression",
            ScheduleError::UnknownTimeZone { .. } => "time_zone",
            ScheduleError::NeverFires { field, .. }
            | ScheduleError::TooShort { field, .. }
            | ScheduleError::TooLong { field, .. } => field,
            ScheduleError::EmptyWindow { .. } => "ends_at",
        }
    }
}
