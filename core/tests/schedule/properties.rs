//! What holds for every schedule, whatever it is.

use carillon_core::schedule::{CompiledSchedule, CronDialect, Schedule, ScheduleKind};
use carillon_core::time::{Span, Timestamp};
use proptest::prelude::*;

use super::generated::expression;

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Shanghai",
    "Pacific/Apia",
    "America/Santiago",
    "Africa/Casablanca",
];

/// A schedule that fires by the clock.
fn timed() -> impl Strategy<Value = Schedule> {
    let cron = (expression(), prop::sample::select(&ZONES[..]))
        .prop_map(|(cron, zone)| Schedule::cron(cron.text(), zone));
    let rate = (1_000_u64..100_000_000).prop_map(|every| Schedule::fixed_rate(Span::from_millis(every)));
    prop_oneof![5 => cron, 1 => rate]
}

/// Whatever is written in a cron expression's letters.
fn scribble() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[0-9*?/,#LW @A-Za-z\\-]{0,80}",
        "([0-9]{1,2}|\\*|\\?|[A-Z]{3}|[0-9*]/[0-9]|L|[0-9]-[0-9L])( [0-9*?LW#/,-]{1,4}){4,7}",
    ]
}

/// From 2000 to 2040.
fn instants() -> impl Strategy<Value = Timestamp> {
    (946_684_800_000_i64..2_208_988_800_000).prop_map(Timestamp::from_millis)
}

/// Only schedules that never fire may be refused, since all that is generated is well-formed.
fn compiled(schedule: &Schedule) -> Option<CompiledSchedule> {
    match schedule.compile() {
        Ok(compiled) => Some(compiled),
        Err(error) => {
            assert!(error.to_string().starts_with("never fires: "), "{schedule:?}: {error}");
            None
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fires_ascend_strictly_and_lie_after_the_question(schedule in timed(), after in instants()) {
        let Some(schedule) = compiled(&schedule) else { return Ok(()) };
        let mut last = after;
        for fire in schedule.fires_after(after).take(40) {
            prop_assert!(fire > last, "{} after {}", fire, last);
            last = fire;
        }
    }

    #[test]
    fn nothing_fires_between_a_question_and_its_answer(schedule in timed(), after in instants(), share in 0.0..1.0) {
        let Some(schedule) = compiled(&schedule) else { return Ok(()) };
        let Some(next) = schedule.next_after(after) else { return Ok(()) };
        // Asked from anywhere on the way, up to the last millisecond, the answer is the same.
        let way = next.since(after).as_millis();
        let between = after + Span::from_millis(((way - 1) as f64 * share) as u64);
        prop_assert_eq!(schedule.next_after(between), Some(next), "from {}", between);
        prop_assert_eq!(schedule.next_after(next - Span::MILLISECOND), Some(next));
    }

    #[test]
    fn fires_are_what_repeated_questions_answer(schedule in timed(), from in instants(), days in 0_u64..400) {
        let Some(schedule) = compiled(&schedule) else { return Ok(()) };
        let to = from + Span::DAY.saturating_mul(days);
        let mut asked = Vec::new();
        let mut after = from;
        while let Some(next) = schedule.next_after(after).filter(|next| *next <= to && asked.len() < 50) {
            asked.push(next);
            after = next;
        }
        prop_assert_eq!(schedule.fires(from, to, 50), asked);
    }

    #[test]
    fn an_interval_may_be_split_anywhere(schedule in timed(), from in instants(), hours in 0_u64..100, share in 0.0..1.0) {
        let Some(schedule) = compiled(&schedule) else { return Ok(()) };
        // Half of them begin at a fire, where an interval could count it twice or not at all.
        let from = if hours % 2 == 0 { schedule.next_after(from).unwrap_or(from) } else { from };
        let length = Span::HOUR.saturating_mul(hours).as_millis();
        let middle = from + Span::from_millis((length as f64 * share) as u64);
        let to = from + Span::from_millis(length);
        let whole = schedule.fires(from, to, 2_000);
        prop_assume!(whole.len() < 2_000);
        let mut halves = schedule.fires(from, middle, 2_000);
        halves.extend(schedule.fires(middle, to, 2_000));
        prop_assert_eq!(halves, whole);
    }

    #[test]
    fn a_window_cuts_and_changes_nothing_else(schedule in timed(), from in instants(), days in 0_u64..40) {
        let Some(open) = compiled(&schedule) else { return Ok(()) };
        let to = from + Span::DAY.saturating_mul(days);
        let windowed = Schedule { starts_at: Some(from), ends_at: Some(to), ..schedule };
        let expected = open.fires(from - Span::MILLISECOND, to, 30);
        match compiled(&windowed) {
            Some(windowed) => prop_assert_eq!(windowed.fires(Timestamp::MIN, Timestamp::MAX, 30), expected),
            None => prop_assert_eq!(expected, []),
        }
    }

    #[test]
    fn jitter_stays_below_its_bound(job in any::<u64>(), fire in instants(), bound in 0_u64..86_400_000) {
        let mut schedule = Schedule::api();
        schedule.jitter = Some(Span::from_millis(bound));
        let jitter = schedule.compile().unwrap().jitter(job, fire);
        prop_assert!(jitter.is_zero() || jitter < Span::from_millis(bound));
    }

    #[test]
    fn reading_never_panics_and_points_into_the_expression(text in scribble(), unix in any::<bool>(), zone in scribble()) {
        let dialect = if unix { CronDialect::Unix } else { CronDialect::Quartz };
        let kind = ScheduleKind::Cron { expression: text.clone(), time_zone: "UTC".to_owned(), dialect };
        match Schedule::new(kind).compile() {
            Ok(compiled) => prop_assert!(!compiled.sentence().is_empty()),
            Err(error) => {
                prop_assert!(error.to_string().len() < 2_000);
                if let Some((column, length)) = error.position() {
                    prop_assert!(column >= 1 && length >= 1);
                    prop_assert!(column + length <= text.chars().count().max(1) + 1, "{}", error);
                }
            }
        }
        // A zone name made of scribbles is refused, or happens to be one.
        let _ = Schedule::cron("0 0 0 * * ?", zone).compile();
    }

    #[test]
    fn json_brings_back_what_was_written(schedule in timed(), from in instants()) {
        let schedule = Schedule { starts_at: Some(from), jitter: Some(Span::from_millis(7)), ..schedule };
        let json = serde_json::to_string(&schedule).unwrap();
        prop_assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
    }

    #[test]
    fn a_preview_answers_for_everything(schedule in timed(), after in instants()) {
        let Some(compiled) = compiled(&schedule) else { return Ok(()) };
        let preview = compiled.preview(after, 5);
        let fires: Vec<Timestamp> = preview.fires.iter().map(|fire| fire.at).collect();
        prop_assert_eq!(fires, compiled.fires(after, Timestamp::MAX, 5));
        for fire in preview.fires {
            prop_assert_eq!(fire.local.parse::<Timestamp>().unwrap(), fire.at);
        }
        prop_assert!(preview.clock_changes.len() <= 8);
    }
}
