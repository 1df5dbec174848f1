//! An expression in English. Shapes that have a usual phrase get it; all others are told field by field, never guessed.

use super::WrittenExpression;
use super::days::DayRule;
use super::field::{Element, Field, FieldSpec, specs};
use crate::schedule::CronDialect;

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const ORDINALS: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

/// More times of day than these are told field by field.
const MOST_TIMES: usize = 6;

impl WrittenExpression {
    /// What it means, without its time zone: `at 09:00:00 on Monday to Friday`.
    pub(in crate::schedule) fn sentence(&self) -> String {
        let times = times(self);
        let dates = self.dates();
        match &times {
            Times::Points(points) if matches!(self.days, DayRule::Every) => {
                format!("{points} every day{dates}")
            }
            Times::Points(phrase) | Times::Rhythm(phrase) => format!("{phrase}{dates}"),
        }
    }

    /// Whether it means the same on every clock: a rhythm of minutes or seconds all through the year.
    pub(in crate::schedule) fn is_the_same_everywhere(&self) -> bool {
        let all_hours = self.hours.elements == [Element::All];
        all_hours && matches!(times(self), Times::Rhythm(_)) && self.dates().is_empty()
    }

    /// Why no date at all matches, for an expression of which that was found.
    pub(in crate::schedule) fn why_never(&self) -> String {
        format!("no date is{}", self.dates())
    }

    /// Its days, months and years, each after a blank; empty where it means every day.
    fn dates(&self) -> String {
        let WrittenExpression { days_of_month, months, days_of_week, years, .. } = self;
        let mut phrase = match &self.days {
            DayRule::Every => String::new(),
            DayRule::OfMonth(_) => format!(" {}", month_days(days_of_month)),
            DayRule::OfWeek(_) => format!(" {}", week_days(days_of_week)),
            DayRule::Either(..) => format!(" {} or {}", month_days(days_of_month), week_days(days_of_week)),
        };
        if !months.is_unrestricted() {
            let name = |month: u16| MONTHS[usize::from(month) - 1].to_owned();
            phrase.push_str(&format!(" in {}", join(&plain(months, spec_of(4), name))));
        }
        if !years.is_unrestricted() {
            let preposition = if months.is_unrestricted() { "in" } else { "of" };
            phrase.push_str(&format!(
                " {preposition} {}",
                join(&plain(years, spec_of(6), |year| year.to_string()))
            ));
        }
        phrase
    }
}

enum Times {
    /// Single times of day: `at 09:00:00`.
    Points(String),
    /// A repetition: `every 5 minutes`.
    Rhythm(String),
}

fn times(written: &WrittenExpression) -> Times {
    let WrittenExpression { seconds, minutes, hours, .. } = written;
    if let Some(points) = points(seconds, minutes, hours) {
        return Times::Points(format!("at {}", join(&points)));
    }
    rhythm(seconds, minutes, hours).map(Times::Rhythm).unwrap_or_else(|| {
        let part = |field: &Field, index: usize, one: &str, many: &str| {
            if field.elements == [Element::All] {
                return format!("every {one}");
            }
            let values = plain(field, spec_of(index), |value| value.to_string());
            let name = if matches!(field.elements[..], [Element::Value(_)]) { one } else { many };
            format!("{name} {}", join(&values))
        };
        let hours = part(hours, 2, "hour", "hours");
        let minutes = part(minutes, 1, "minute", "minutes");
        Times::Points(format!("at {hours}, {minutes}, {}", part(seconds, 0, "second", "seconds")))
    })
}

/// The single times of day, where there are few.
fn points(seconds: &Field, minutes: &Field, hours: &Field) -> Option<Vec<String>> {
    let (seconds, minutes, hours) = (values(seconds)?, values(minutes)?, values(hours)?);
    if seconds.len() * minutes.len() * hours.len() > MOST_TIMES {
        return None;
    }
    let mut times = Vec::new();
    for hour in &hours {
        for minute in &minutes {
            times.extend(seconds.iter().map(|second| clock(*hour, *minute, *second)));
        }
    }
    Some(times)
}

/// `every 15 minutes between 09:00 and 17:59`, and its kin.
fn rhythm(seconds: &Field, minutes: &Field, hours: &Field) -> Option<String> {
    let every_minute = minutes.elements == [Element::All];
    if let Some(step) = even_step(seconds, 60) {
        return match (every_minute, hour_window(hours)) {
            (true, Some(window)) => Some(format!("every {}{window}", times_unit(step, "second"))),
            _ => None,
        };
    }
    let second = only(seconds)?;
    if let Some(step) = even_step(minutes, 60) {
        let window = hour_window(hours)?;
        let at = if second == 0 { String::new() } else { format!(" at second {second}") };
        return Some(format!("every {}{at}{window}", times_unit(step, "minute")));
    }
    let minute = only(minutes)?;
    if let Some(step) = even_step(hours, 24) {
        let at = match (minute, second) {
            (0, 0) => String::new(),
            (minute, 0) => format!(" at minute {minute}"),
            (minute, second) => format!(" at minute {minute} and second {second}"),
        };
        return Some(format!("every {}{at}", times_unit(step, "hour")));
    }
    let (step, from, to) = match hours.elements[..] {
        [Element::Range { from, to }] => (1, from, to),
        [element @ Element::Step { from, step, .. }] => (step, from, element.values(spec_of(2)).last()?),
        _ => return None,
    };
    let (from, to) = (clock(from, minute, second), clock(to, minute, second));
    Some(format!("every {} from {from} to {to}", times_unit(step, "hour")))
}

/// The hours within which a rhythm goes on, after a blank; empty for all of them.
fn hour_window(hours: &Field) -> Option<String> {
    match hours.elements[..] {
        [Element::All] => Some(String::new()),
        [Element::Value(hour)] => Some(format!(" between {hour:02}:00 and {hour:02}:59")),
        [Element::Range { from, to }] => Some(format!(" between {from:02}:00 and {to:02}:59")),
        _ => {
            let hours = values(hours)?.iter().map(|hour| format!("{hour:02}")).collect::<Vec<_>>();
            Some(format!(" in the hours {}", join(&hours)))
        }
    }
}

/// The step of a field that repeats evenly from 0 on, over the hour or the day.
fn even_step(field: &Field, size: u16) -> Option<u16> {
    match field.elements[..] {
        [Element::All] => Some(1),
        [Element::Step { from: 0, to, step }] if to == size - 1 && size.is_multiple_of(step) => Some(step),
        _ => None,
    }
}

fn times_unit(count: u16, unit: &str) -> String {
    if count == 1 { unit.to_owned() } else { format!("{count} {unit}s") }
}

fn clock(hour: u16, minute: u16, second: u16) -> String {
    format!("{hour:02}:{minute:02}:{second:02}")
}

/// Its values, ascending, where it is nothing but a list of them.
fn values(field: &Field) -> Option<Vec<u16>> {
    let value = |element: &Element| match element {
        Element::Value(value) => Some(*value),
        _ => None,
    };
    let mut values = field.elements.iter().map(value).collect::<Option<Vec<u16>>>()?;
    values.sort_unstable();
    values.dedup();
    Some(values)
}

fn only(field: &Field) -> Option<u16> {
    match values(field)?[..] {
        [value] => Some(value),
        _ => None,
    }
}

fn month_days(field: &Field) -> String {
    let days = plain(field, spec_of(3), |day| day.to_string());
    let several = days.len() > 1
        || field.elements.iter().any(|e| matches!(e, Element::Range { .. } | Element::Step { .. }));
    let mut parts = Vec::new();
    if !days.is_empty() {
        parts.push(format!("day{} {}", if several { "s" } else { "" }, join(&days)));
    }
    for element in &field.elements {
        match *element {
            Element::LastDay { before: 0 } => parts.push("the last day".to_owned()),
            Element::LastDay { before } => parts.push(format!("{} before the last day", times_day(before))),
            Element::LastWorkday { before: 0 } => {
                parts.push("the last weekday (Monday to Friday)".to_owned())
            }
            Element::LastWorkday { before } => {
                let day = format!("{} before the last day", times_day(before));
                parts.push(format!("the weekday (Monday to Friday) nearest to {day}"));
            }
            Element::NearestWorkday(day) => {
                parts.push(format!("the weekday (Monday to Friday) nearest to day {day}"))
            }
            _ => {}
        }
    }
    format!("on {} of the month", join(&parts))
}

fn times_day(count: u16) -> String {
    format!("{count} day{}", if count == 1 { "" } else { "s" })
}

fn week_days(field: &Field) -> String {
    let name = |weekday: u16| WEEKDAYS[usize::from(weekday)].to_owned();
    let mut parts = plain(field, spec_of(5), name);
    for element in &field.elements {
        match *element {
            Element::LastWeekday(weekday) => parts.push(format!("the last {} of the month", name(weekday))),
            Element::NthWeekday { weekday, n } => {
                parts.push(format!("the {} {} of the month", ORDINALS[usize::from(n) - 1], name(weekday)));
            }
            _ => {}
        }
    }
    format!("on {}", join(&parts))
}

/// The elements that do not depend on the month, in words: ranges as such, short steps spelled out.
fn plain(field: &Field, spec: &FieldSpec, name: impl Fn(u16) -> String) -> Vec<String> {
    let mut parts = Vec::new();
    for element in &field.elements {
        match *element {
            Element::Range { from, to } => parts.push(format!("{} to {}", name(from), name(to))),
            Element::Step { step, .. } => {
                let values = element.values(spec).collect::<Vec<_>>();
                match values[..] {
                    [first, .., last] if values.len() > MOST_TIMES => {
                        parts.push(format!("{} to {} in steps of {step}", name(first), name(last)));
                    }
                    _ => parts.extend(values.into_iter().map(&name)),
                }
            }
            Element::All | Element::Unspecified | Element::Value(_) => {
                parts.extend(element.values(spec).map(&name))
            }
            _ => {}
        }
    }
    parts
}

/// The bounds of a field; what elements hold is the same in both dialects.
fn spec_of(index: usize) -> &'static FieldSpec {
    &specs(CronDialect::Quartz)[index]
}

/// `a, b and c`.
pub(in crate::schedule) fn join(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
