//! The same expressions answered by others: second by second from their meaning, and by two other libraries.

use carillon_core::schedule::{CompiledSchedule, Schedule};
use carillon_core::time::{Span, Timestamp};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::generated::{Expression, daily, expression};

fn compiled(expression: &Expression, zone: &str) -> Option<CompiledSchedule> {
    let text = expression.text();
    match Schedule::cron(&text, zone).compile() {
        Ok(compiled) => Some(compiled),
        Err(error) => {
            assert!(error.to_string().starts_with("never fires: "), "{text}: {error}");
            None
        }
    }
}

fn instants() -> impl Strategy<Value = Timestamp> {
    (1_577_836_800_i64..1_893_456_000).prop_map(|seconds| Timestamp::from_millis(seconds * 1_000))
}

fn local(at: Timestamp, zone: &TimeZone) -> DateTime {
    zone.to_datetime(jiff::Timestamp::from_millisecond(at.as_millis()).unwrap())
}

/// The first second after `after` that matches, by trying one after the other; days without a match are passed over.
fn by_trying(expression: &Expression, after: Timestamp, days: u64) -> Option<Timestamp> {
    let midnight = after.floor(Span::DAY);
    for day in (0..=days).map(|day| midnight + Span::DAY.saturating_mul(day)) {
        if !expression.matches_date(local(day, &TimeZone::UTC).date()) {
            continue;
        }
        let mut seconds = (0..86_400).map(|second| day + Span::from_secs(second)).filter(|at| *at > after);
        if let Some(found) = seconds.find(|at| expression.matches_time(local(*at, &TimeZone::UTC))) {
            return Some(found);
        }
    }
    None
}

/// The fires in `(from, to]` by the definition of the module documentation, trying every second. An interval expression fires
/// whenever the clock shows a match. Of a fixed one, every local time fires at the first instant at which the clock has reached it.
fn by_definition(expression: &Expression, zone: &TimeZone, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let mut fires = Vec::new();
    // The clock of the day before, since local times of a repeated hour were first reached there.
    let mut at = from - Span::DAY;
    let mut reached = local(at, zone);
    while at < to {
        at = at + Span::SECOND;
        let shown = local(at, zone);
        let fire = if expression.is_interval() {
            expression.matches(shown)
        } else {
            let mut any = false;
            while reached < shown {
                reached = reached.checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
                any |= expression.matches(reached);
            }
            any
        };
        if fire && at > from {
            fires.push(at);
        }
    }
    fires
}

/// A zone and an instant shortly before one of its changes.
fn changes() -> impl Strategy<Value = (&'static str, Timestamp)> {
    let changes: Vec<(&'static str, Timestamp)> = [
        ("Europe/Berlin", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-10-25T01:00:00Z"),
        ("America/New_York", "2026-03-08T07:00:00Z"),
        ("America/New_York", "2026-11-01T06:00:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
        ("America/Santiago", "2026-04-05T03:00:00Z"),
        ("America/Santiago", "2026-09-06T04:00:00Z"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z"),
        ("Asia/Shanghai", "2026-03-29T01:00:00Z"),
    ]
    .map(|(zone, at)| (zone, at.parse().unwrap()))
    .to_vec();
    (prop::sample::select(changes), 0_u64..10_800)
        .prop_map(|((zone, at), before)| (zone, at - Span::from_secs(before)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn trying_every_second_finds_the_same_fire(expression in expression(), after in instants()) {
        let Some(schedule) = compiled(&expression, "UTC") else {
            prop_assert_eq!(by_trying(&expression, "1999-12-31T23:59:59Z".parse().unwrap(), 366 * 40), None);
            return Ok(());
        };
        const DAYS: u64 = 1_500;
        let horizon = after.floor(Span::DAY) + Span::DAY.saturating_mul(DAYS + 1);
        let next = schedule.next_after(after).filter(|next| *next < horizon);
        prop_assert_eq!(next, by_trying(&expression, after, DAYS), "{}", expression.text());
    }

    #[test]
    fn around_clock_changes_the_definition_gives_the_same_fires(expression in daily(), (zone, from) in changes()) {
        let Some(schedule) = compiled(&expression, zone) else { return Ok(()) };
        let to = from + Span::from_secs(4 * 3_600);
        let expected = by_definition(&expression, &TimeZone::get(zone).unwrap(), from, to);
        prop_assert_eq!(schedule.fires(from, to, 100_000), expected, "{} in {} from {}", expression.text(), zone, from);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_cron_crate_agrees_in_utc_where_it_accepts(expression in expression(), after in instants()) {
        let text = expression.text();
        let Ok(other) = text.parse::<cron::Schedule>() else { return Ok(()) };
        let start = chrono::DateTime::from_timestamp_millis(after.as_millis()).unwrap();
        let theirs: Vec<i64> = other.after(&start).take(15).map(|fire| fire.timestamp_millis()).collect();
        let ours: Vec<i64> = match compiled(&expression, "UTC") {
            Some(schedule) => schedule.fires_after(after).take(15).map(Timestamp::as_millis).collect(),
            None => Vec::new(),
        };
        // Its years end in 2100, ours in 2199.
        let ours: Vec<i64> = ours.into_iter().take_while(|fire| *fire < 4_102_444_800_000).collect();
        prop_assert_eq!(&theirs[..ours.len().min(theirs.len())], &ours[..], "{}", text);
    }

    #[test]
    fn croner_agrees_in_utc_where_it_accepts(expression in expression(), after in instants()) {
        let text = expression.text();
        let parser = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Required)
            .alternative_weekdays(true)
            .sloppy_ranges(true)
            .build();
        let Ok(other) = parser.parse(&text) else { return Ok(()) };
        let mut theirs = Vec::new();
        let mut last = jiff::Timestamp::from_millisecond(after.as_millis()).unwrap().to_zoned(TimeZone::UTC);
        while theirs.len() < 15 && let Ok(next) = other.find_next_occurrence(&last, false) {
            theirs.push(Timestamp::from_millis(next.timestamp().as_millisecond()));
            last = next;
        }
        let ours = match compiled(&expression, "UTC") {
            Some(schedule) => schedule.fires_after(after).take(15).collect(),
            None => Vec::new(),
        };
        prop_assert_eq!(theirs, ours, "{}", text);
    }
}

#[test]
fn the_other_libraries_accept_enough_to_be_oracles() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let expressions: Vec<Expression> = (0..300)
        .map(|_| expression().new_tree(&mut runner).unwrap().current())
        .filter(|e| !e.wraps())
        .collect();
    let by_cron = expressions.iter().filter(|e| e.text().parse::<cron::Schedule>().is_ok()).count();
    assert!(expressions.len() > 100, "{} expressions", expressions.len());
    assert!(by_cron * 3 > expressions.len(), "the cron crate accepts {by_cron} of {}", expressions.len());
}
