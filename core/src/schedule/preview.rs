//! What a person sees before saving a schedule: a sentence, the next fires, and what changes of the clock do to it.

use jiff::civil::DateTime;
use serde::Serialize;

use super::compiled::Plan;
use super::cron::sentence::join;
use super::cron::{CronExpression, WrittenExpression};
use super::zone::{Transition, Zone};
use super::{CompiledSchedule, Schedule, ScheduleError, ScheduleKind};
use crate::time::{Span, Timestamp};

/// The most fires a preview shows: a page's worth, and no way to keep a console busy.
pub const MAX_PREVIEW_FIRES: usize = 100;

/// How far ahead changes of the clock are told.
const NOTES_AHEAD: Span = Span::from_secs(366 * 86_400);

/// The most notes: a year has two changes, Morocco's years have four.
const MOST_NOTES: usize = 8;

/// The local times that a note tells one by one, and how many it counts beyond.
const TIMES_TOLD: usize = 3;
const TIMES_COUNTED: usize = 1_000;

/// A schedule explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// What it means, in English.
    pub sentence: String,
    /// The next nominal fire times, ascending; empty for `fixed_delay` and `api`, which no clock drives.
    pub fires: Vec<PreviewFire>,
    /// What the changes of the clock in the coming year do to it, ascending; none where they do not touch it.
    pub clock_changes: Vec<ClockChangeNote>,
}

/// A fire in a preview.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreviewFire {
    /// The instant.
    pub at: Timestamp,
    /// The same on the schedule's clock with its offset: `2026-11-20T17:00:00+08:00`.
    pub local: String,
}

/// What a change of the clock does to a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClockChangeNote {
    /// The first instant after the change.
    pub at: Timestamp,
    /// Which way the clock goes.
    pub change: ClockChange,
    /// What it means for the fires, in English.
    pub text: String,
}

/// Which way a clock is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockChange {
    /// Set forward: local times are skipped.
    Forward,
    /// Set back: local times are repeated.
    Back,
}

/// Explains a schedule within the default limits: its next fires after an instant, at most [`MAX_PREVIEW_FIRES`].
///
/// # Errors
/// As [`Schedule::compile`].
pub fn preview(schedule: &Schedule, after: Timestamp, count: usize) -> Result<Preview, ScheduleError> {
    Ok(schedule.compile()?.preview(after, count))
}

impl CompiledSchedule {
    /// Explains the schedule: its next fires after an instant, at most [`MAX_PREVIEW_FIRES`].
    pub fn preview(&self, after: Timestamp, count: usize) -> Preview {
        let fires = self.fires_after(after).take(count.min(MAX_PREVIEW_FIRES));
        Preview {
            sentence: self.sentence(),
            fires: fires.map(|at| PreviewFire { at, local: self.local_text(at) }).collect(),
            clock_changes: self.clock_changes(after),
        }
    }

    /// What the schedule means, in English: `at 09:00:00 on Monday to Friday (Asia/Shanghai)`.
    pub fn sentence(&self) -> String {
        let spec = self.spec();
        let mut sentence = match (&spec.kind, self.plan()) {
            (ScheduleKind::Cron { expression, dialect, .. }, Plan::Cron { zone, .. }) => {
                // Read again: the compiled schedule keeps only what the search needs.
                let written =
                    WrittenExpression::parse(expression, *dialect).expect("it was compiled from this");
                let place = if written.is_the_same_everywhere() {
                    String::new()
                } else {
                    format!(" ({})", zone.name())
                };
                format!("{}{place}", written.sentence())
            }
            (ScheduleKind::FixedRate { every, anchor: None }, _) => format!("every {every}"),
            (ScheduleKind::FixedRate { every, anchor: Some(anchor) }, _) => {
                format!("every {every}, the first time at {anchor}")
            }
            (ScheduleKind::FixedDelay { delay }, _) => format!("{delay} after the previous run is final"),
            (ScheduleKind::Once { at }, _) => format!("once at {at}"),
            _ => "only when triggered".to_owned(),
        };
        if let Some(starts_at) = spec.starts_at {
            sentence.push_str(&format!(", from {starts_at} on"));
        }
        if let Some(ends_at) = spec.ends_at {
            sentence.push_str(&format!(", until {ends_at}"));
        }
        if let Some(jitter) = spec.jitter.filter(|jitter| !jitter.is_zero()) {
            sentence.push_str(&format!(", each up to {jitter} later"));
        }
        sentence
    }

    fn local_text(&self, at: Timestamp) -> String {
        match self.plan() {
            Plan::Cron { zone, .. } => zone.text(at),
            _ => Zone::utc().text(at),
        }
    }

    fn clock_changes(&self, after: Timestamp) -> Vec<ClockChangeNote> {
        let Plan::Cron { expression, zone } = self.plan() else { return Vec::new() };
        let from = self.spec().starts_at.map_or(after, |starts_at| starts_at.max(after));
        let until = self.spec().ends_at.unwrap_or(Timestamp::MAX).min(from + NOTES_AHEAD);
        let changes =
            std::iter::successors(zone.next_transition(from), |change| zone.next_transition(change.at));
        changes
            .take_while(|change| change.at <= until)
            .take(MOST_NOTES)
            .filter_map(|change| note(expression, zone, change))
            .collect()
    }
}

/// What one change does; `None` where no matching time is skipped or repeated.
fn note(expression: &CronExpression, zone: &Zone, change: Transition) -> Option<ClockChangeNote> {
    let Transition { at, from, to } = change;
    let direction = if to > from { ClockChange::Forward } else { ClockChange::Back };
    let matches = matching_between(expression, from.min(to), from.max(to));
    if matches.is_empty() {
        return None;
    }
    // The date goes without saying unless the clock skips or repeats midnight.
    let format = if from.date() == to.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    let several = matches.len() > 1;
    let fate = match (direction, expression.is_interval(), several) {
        (ClockChange::Forward, true, false) => "does not exist and does not fire".to_owned(),
        (ClockChange::Forward, true, true) => "do not exist and do not fire".to_owned(),
        (ClockChange::Forward, false, false) => {
            format!("does not exist and fires at {} instead", to.strftime(format))
        }
        (ClockChange::Forward, false, true) => {
            format!("do not exist and fire together at {}", to.strftime(format))
        }
        (ClockChange::Back, true, false) => "happens twice and fires both times".to_owned(),
        (ClockChange::Back, true, true) => "happen twice and fire both times".to_owned(),
        (ClockChange::Back, false, false) => "happens twice and fires only the first time".to_owned(),
        (ClockChange::Back, false, true) => "happen twice and fire only the first time".to_owned(),
    };
    let mut told: Vec<String> =
        matches.iter().take(TIMES_TOLD).map(|time| time.strftime(format).to_string()).collect();
    match matches.len().saturating_sub(TIMES_TOLD) {
        0 => {}
        _ if matches.len() == TIMES_COUNTED => told.push("many more".to_owned()),
        rest => told.push(format!("{rest} more")),
    }
    let way = if direction == ClockChange::Forward { "forward" } else { "back" };
    let text = format!(
        "on {} the clock of {} goes {way} from {} to {}: {} {fate}",
        to.strftime("%Y-%m-%d"),
        zone.name(),
        from.strftime(format),
        to.strftime(format),
        join(&told),
    );
    Some(ClockChangeNote { at, change: direction, text })
}

/// The matching local times in `[from, to)`, at most [`TIMES_COUNTED`].
fn matching_between(expression: &CronExpression, from: DateTime, to: DateTime) -> Vec<DateTime> {
    let next = |time: &DateTime| time.checked_add(jiff::SignedDuration::from_secs(1)).ok();
    std::iter::successors(expression.first_from(from), |time| expression.first_from(next(time)?))
        .take_while(|time| *time < to)
        .take(TIMES_COUNTED)
        .collect()
}
