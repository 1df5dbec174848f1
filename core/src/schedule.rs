//! When a job fires: the schedule a user writes, and the arithmetic behind it.
//!
//! [`Schedule`] is the plain, serialisable wish. [`Schedule::compile`] checks it and gives a [`CompiledSchedule`], which
//! answers "when next?" without parsing or looking anything up. [`preview()`](fn@preview) shows a person what a schedule means.
//! Nothing here knows "now": fire times come from the schedule alone, so a jump of the clock neither repeats nor skips one.
//!
//! # Daylight saving
//!
//! A cron expression speaks of local times. Its *hour field* decides how it meets a change of the clock:
//!
//! * **Interval expression**: the hour field is `*`, has a step (`*/4`, `8-18/2`) or lists all 24 hours. It fires whenever the
//!   local clock shows a matching time: in both passes of a repeated hour, and not at all in a skipped one.
//! * **Fixed expression**: every other one, lists and ranges of hours included. Each matching local time fires exactly once:
//!   a time that is skipped fires at the first instant after the gap (all times of one gap together, and together with
//!   a regular fire at that very instant), and a time that is repeated fires in its first pass only.
//!
//! So `0 30 2 * * ?` runs every single day of the year, and `0 */20 * * * ?` every twenty minutes of real time.
//!
//! # Why not a crate
//!
//! `croner` was to be the base. Measured at version 4.0.2, it loses the spring fire and doubles the autumn one of `0 30 2,14 * * ?`
//! (any list of hours counts as an interval), ends with an error at the day Pacific/Apia skipped and at a lone `L` weekday, cannot
//! hold `L-3`, and does not say where an expression is wrong. What would be left of it is less than the adapter
//! around it, so the parser and the search are our own (`cron/`), and `croner` and `cron` check them as oracles in the tests.

mod compiled;
mod cron;
mod error;
mod preview;
mod wire;
mod zone;

use crate::time::{Span, Timestamp};

pub use compiled::{CompiledSchedule, Fires};
pub use error::ScheduleError;
pub use preview::{ClockChange, ClockChangeNote, MAX_PREVIEW_FIRES, Preview, PreviewFire, preview};

/// When a job fires, as its owner wrote it.
///
/// In JSON it is one flat object whose `type` says which fields it may have:
/// `{"type":"cron","expression":"0 0/1 * * * ?","time_zone":"Asia/Shanghai"}`. Reading refuses unknown fields but does not
/// check values against each other; [`Schedule::compile`] does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// What makes it fire.
    pub kind: ScheduleKind,
    /// No nominal fire time before this instant; itself included.
    pub starts_at: Option<Timestamp>,
    /// No nominal fire time after this instant; itself included.
    pub ends_at: Option<Timestamp>,
    /// Each fire is due up to this much later than its nominal time; see [`CompiledSchedule::jitter`].
    pub jitter: Option<Span>,
}

/// The ways in which a schedule can fire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ScheduleKind {
    /// At the local times that match a cron expression.
    Cron {
        /// The expression in its dialect, at most 256 bytes.
        expression: String,
        /// IANA name of the zone whose clock the expression means; `UTC` unless given.
        time_zone: String,
        /// How to read the expression; `quartz` unless given.
        dialect: CronDialect,
    },
    /// At `anchor` and every whole multiple of `every` after it.
    FixedRate {
        /// The period; at least 1 s unless [`Limits`] allow less.
        every: Span,
        /// The first fire; the Unix epoch unless given.
        anchor: Option<Timestamp>,
    },
    /// A while after the previous run is final; the engine asks [`CompiledSchedule::successor`].
    FixedDelay {
        /// From the end of one run to the fire time of the next.
        delay: Span,
    },
    /// Once, even when that instant has passed (then the misfire policy decides).
    Once {
        /// The only fire time.
        at: Timestamp,
    },
    /// Never by itself: only when triggered by request.
    Api,
}

/// How a cron expression is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CronDialect {
    /// Six or seven fields, seconds first, Sunday = 1, with `?`, `L`, `W`, `#` and years. Day of month and day of week
    /// cannot both be restricted: as in Quartz one of them must be `?`, or `*`, which counts as `?` beside a restriction.
    #[default]
    Quartz,
    /// The five fields of crontab, Sunday = 0 or 7, or a name such as `@daily`. Where both day fields are restricted, a day
    /// that matches *either* counts. Only a plain `*` is unrestricted.
    Unix,
}

/// What a server allows its schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The shortest period of a fixed rate and the shortest fixed delay; less than [`Limits::FLOOR`] counts as that.
    /// Cron expressions cannot fire more than once a second and are not limited by it.
    pub min_interval: Span,
}

impl Limits {
    /// No server can allow less: the planner works in slices of seconds and starts are accurate to about 20 ms.
    pub const FLOOR: Span = Span::from_millis(100);
}

impl Default for Limits {
    /// At least a second between fires.
    fn default() -> Limits {
        Limits { min_interval: Span::SECOND }
    }
}

impl Schedule {
    /// A schedule of that kind without start, end or jitter.
    pub fn new(kind: ScheduleKind) -> Schedule {
        Schedule { kind, starts_at: None, ends_at: None, jitter: None }
    }

    /// A Quartz cron expression on the clock of an IANA time zone.
    pub fn cron(expression: impl Into<String>, time_zone: impl Into<String>) -> Schedule {
        Schedule::new(ScheduleKind::Cron {
            expression: expression.into(),
            time_zone: time_zone.into(),
            dialect: CronDialect::Quartz,
        })
    }

    /// A fixed rate, counted from the Unix epoch.
    pub fn fixed_rate(every: Span) -> Schedule {
        Schedule::new(ScheduleKind::FixedRate { every, anchor: None })
    }

    /// A fixed delay after the previous run.
    pub fn fixed_delay(delay: Span) -> Schedule {
        Schedule::new(ScheduleKind::FixedDelay { delay })
    }

    /// A single fire.
    pub fn once(at: Timestamp) -> Schedule {
        Schedule::new(ScheduleKind::Once { at })
    }

    /// No fires of its own.
    pub fn api() -> Schedule {
        Schedule::new(ScheduleKind::Api)
    }

    /// Checks the schedule and prepares it for questions, within the default [`Limits`].
    ///
    /// # Errors
    /// What is wrong, where, and what would be right; among others that it never fires.
    pub fn compile(&self) -> Result<CompiledSchedule, ScheduleError> {
        self.compile_with(&Limits::default())
    }

    /// Like [`Schedule::compile`] within the given limits.
    ///
    /// # Errors
    /// As [`Schedule::compile`].
    pub fn compile_with(&self, limits: &Limits) -> Result<CompiledSchedule, ScheduleError> {
        CompiledSchedule::new(self, limits)
    }
}

impl ScheduleKind {
    /// The word for this kind in JSON and on pages: `cron`, `fixed_rate`, `fixed_delay`, `once` or `api`.
    pub fn name(&self) -> &'static str {
        match self {
            ScheduleKind::Cron { .. } => "cron",
            ScheduleKind::FixedRate { .. } => "fixed_rate",
            ScheduleKind::FixedDelay { .. } => "fixed_delay",
            ScheduleKind::Once { .. } => "once",
            ScheduleKind::Api => "api",
        }
    }
}

impl CronDialect {
    /// The word for this dialect in JSON and messages.
    pub fn name(self) -> &'static str {
        match self {
            CronDialect::Quartz => "quartz",
            CronDialect::Unix => "unix",
        }
    }
}
