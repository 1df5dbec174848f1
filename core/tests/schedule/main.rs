//! Schedules as their users see them: what an expression means, what is refused, and how clocks that change are met.

#![expect(clippy::unwrap_used, reason = "a test that fails to unwrap has failed")]

mod clock_changes;
mod expressions;
mod generated;
mod kinds;
mod oracles;
mod previews;
mod properties;
mod refusals;

use carillon_core::schedule::{CompiledSchedule, CronDialect, Schedule, ScheduleKind};
use carillon_core::time::Timestamp;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn quartz(expression: &str, time_zone: &str) -> CompiledSchedule {
    Schedule::cron(expression, time_zone).compile().unwrap_or_else(|error| panic!("{error}"))
}

fn unix(expression: &str, time_zone: &str) -> CompiledSchedule {
    let kind = ScheduleKind::Cron {
        expression: expression.to_owned(),
        time_zone: time_zone.to_owned(),
        dialect: CronDialect::Unix,
    };
    Schedule::new(kind).compile().unwrap_or_else(|error| panic!("{error}"))
}

/// The next `count` fires after an instant, as the zone's clock shows them: `2026-03-29T03:00:00+02:00`.
fn local_fires(schedule: &CompiledSchedule, after: &str, count: usize) -> Vec<String> {
    let zone = match &schedule.spec().kind {
        ScheduleKind::Cron { time_zone, .. } => jiff::tz::TimeZone::get(time_zone).unwrap(),
        _ => jiff::tz::TimeZone::UTC,
    };
    let shown = |fire: Timestamp| {
        let fire = jiff::Timestamp::from_millisecond(fire.as_millis()).unwrap().to_zoned(zone.clone());
        fire.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    };
    schedule.fires_after(at(after)).take(count).map(shown).collect()
}

/// Like [`local_fires`] without the offset, for zones where nothing changes.
fn utc_fires(schedule: &CompiledSchedule, after: &str, count: usize) -> Vec<String> {
    local_fires(schedule, after, count).iter().map(|fire| fire[..19].to_owned()).collect()
}
