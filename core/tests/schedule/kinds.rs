//! The types of schedule besides cron, their windows, jitter and JSON.

use carillon_core::schedule::{CronDialect, Limits, Schedule, ScheduleKind};
use carillon_core::time::{Span, Timestamp};

use super::{at, quartz};

#[test]
fn a_fixed_rate_fires_at_the_anchor_and_its_multiples() {
    let kind =
        ScheduleKind::FixedRate { every: Span::from_secs(90), anchor: Some(at("2026-01-01T00:00:10Z")) };
    let schedule = Schedule::new(kind).compile().unwrap();
    let fires = schedule.fires(at("2025-01-01T00:00:00Z"), at("2026-01-01T00:03:10Z"), 10);
    assert_eq!(fires, [at("2026-01-01T00:00:10Z"), at("2026-01-01T00:01:40Z"), at("2026-01-01T00:03:10Z")]);
    assert_eq!(schedule.next_after(at("2026-01-01T00:01:39.999Z")), Some(at("2026-01-01T00:01:40Z")));
    assert_eq!(schedule.next_after(Timestamp::MAX), None);
}

#[test]
fn a_fixed_rate_without_an_anchor_counts_from_the_epoch() {
    let schedule = Schedule::fixed_rate(Span::from_secs(7)).compile().unwrap();
    let next = schedule.next_after(at("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(next.as_millis() % 7_000, 0);
    assert_eq!(schedule.next_after(at("1960-01-01T00:00:00Z")), Some(Timestamp::EPOCH));
}

#[test]
fn below_a_second_needs_a_server_that_allows_it() {
    let quick = Schedule::fixed_rate(Span::from_millis(250));
    assert_eq!(quick.compile().unwrap_err().to_string(), "every 250ms is too short: at least 1s");
    let allowing = Limits { min_interval: Span::from_millis(100) };
    let fires = quick.compile_with(&allowing).unwrap().fires(Timestamp::EPOCH, at("1970-01-01T00:00:01Z"), 9);
    assert_eq!(fires.iter().map(|fire| fire.as_millis()).collect::<Vec<_>>(), [250, 500, 750, 1000]);

    let limitless = Limits { min_interval: Span::ZERO };
    let error = Schedule::fixed_rate(Span::from_millis(99)).compile_with(&limitless).unwrap_err();
    assert_eq!(error.to_string(), "every 99ms is too short: at least 100ms");
    assert_eq!(error.field(), "every");
    let error = Schedule::fixed_delay(Span::ZERO).compile().unwrap_err();
    assert_eq!(error.to_string(), "delay 0s is too short: at least 1s");
    let error = Schedule::fixed_rate(Span::MAX).compile().unwrap_err();
    assert!(error.to_string().ends_with("is too long: at most 36500d"), "{error}");
}

#[test]
fn a_fixed_delay_follows_the_end_of_the_previous_run() {
    let mut spec = Schedule::fixed_delay(Span::MINUTE);
    spec.starts_at = Some(at("2026-01-01T00:00:00Z"));
    spec.ends_at = Some(at("2026-01-02T00:00:00Z"));
    let schedule = spec.compile().unwrap();
    assert_eq!(schedule.next_after(Timestamp::EPOCH), None);
    assert_eq!(schedule.successor(at("2026-01-01T10:00:00.5Z")), Some(at("2026-01-01T10:01:00.5Z")));
    assert_eq!(schedule.successor(at("2025-06-01T00:00:00Z")), Some(at("2026-01-01T00:00:00Z")));
    assert_eq!(schedule.successor(at("2026-01-01T23:59:00Z")), Some(at("2026-01-02T00:00:00Z")));
    assert_eq!(schedule.successor(at("2026-01-01T23:59:00.001Z")), None);
    assert_eq!(quartz("0 0 0 * * ?", "UTC").successor(Timestamp::EPOCH), None);
}

#[test]
fn once_fires_once_even_in_the_past() {
    let schedule = Schedule::once(at("2020-01-01T00:00:00.123Z")).compile().unwrap();
    assert_eq!(schedule.next_after(Timestamp::EPOCH), Some(at("2020-01-01T00:00:00.123Z")));
    assert_eq!(schedule.next_after(at("2020-01-01T00:00:00.123Z")), None);
    assert_eq!(schedule.check_fires_after(at("2026-01-01T00:00:00Z")), Ok(()));
}

#[test]
fn api_never_fires_by_itself() {
    let schedule = Schedule::api().compile().unwrap();
    assert_eq!(schedule.next_after(Timestamp::MIN), None);
    assert_eq!(schedule.successor(Timestamp::MIN), None);
}

#[test]
fn both_ends_of_the_window_may_fire() {
    let mut spec = Schedule::cron("0 0 0 * * ?", "UTC");
    spec.starts_at = Some(at("2026-01-02T00:00:00Z"));
    spec.ends_at = Some(at("2026-01-04T00:00:00Z"));
    let schedule = spec.compile().unwrap();
    let fires = schedule.fires(Timestamp::MIN, Timestamp::MAX, 100);
    assert_eq!(fires, [at("2026-01-02T00:00:00Z"), at("2026-01-03T00:00:00Z"), at("2026-01-04T00:00:00Z")]);
}

#[test]
fn a_limit_cuts_the_list_of_fires() {
    let schedule = quartz("* * * * * ?", "UTC");
    let (from, to) = (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
    assert_eq!(schedule.fires(from, to, 3).len(), 3);
    assert_eq!(schedule.fires(from, to, 0).len(), 0);
    assert_eq!(schedule.fires(to, from, 3).len(), 0);
}

#[test]
fn what_has_no_fire_left_can_be_told_when_it_is_saved() {
    let now = at("2026-01-01T00:00:00Z");
    let past = quartz("0 0 0 1 1 ? 2020", "UTC").check_fires_after(now).unwrap_err();
    assert_eq!(past.to_string(), "never fires: its last fire lies before 2026-01-01T00:00:00.000Z");
    assert_eq!(past.field(), "expression");
    let mut ended = Schedule::api();
    ended.ends_at = Some(at("2025-01-01T00:00:00Z"));
    assert_eq!(ended.compile().unwrap().check_fires_after(now).unwrap_err().field(), "ends_at");
    assert_eq!(quartz("0 0 0 * * ?", "UTC").check_fires_after(now), Ok(()));
}

#[test]
fn jitter_is_the_same_for_everyone_and_spread_over_jobs() {
    let mut spec = Schedule::fixed_rate(Span::from_secs(60));
    spec.jitter = Some(Span::from_secs(30));
    let schedule = spec.compile().unwrap();
    let fire = at("2026-01-01T00:00:00Z");

    let offsets: Vec<u64> = (0..1000).map(|job| schedule.jitter(job, fire).as_millis()).collect();
    assert!(offsets.iter().all(|offset| *offset < 30_000));
    for third in 0..3 {
        let within = offsets.iter().filter(|offset| **offset / 10_000 == third).count();
        assert!((250..420).contains(&within), "{within} of 1000 jobs in the {third}. third");
    }
    // A released version must not change the due times of another: all holders of a shard have to agree.
    assert_eq!(offsets[..3], [9_283, 9_291, 12_196]);
    assert_eq!(schedule.due(0, fire), fire + Span::from_millis(offsets[0]));
    assert_eq!(Schedule::fixed_rate(Span::SECOND).compile().unwrap().due(7, fire), fire);
}

#[test]
fn jitter_is_bounded() {
    let mut spec = Schedule::fixed_rate(Span::from_secs(10));
    spec.jitter = Some(Span::from_secs(11));
    let error = spec.compile().unwrap_err();
    assert_eq!(
        error.to_string(),
        "jitter 11s is too long: at most 10s, its period: fires would overtake each other"
    );
    let mut spec = Schedule::cron("0 0 0 * * ?", "UTC");
    spec.jitter = Some(Span::from_secs(86_401));
    assert_eq!(spec.compile().unwrap_err().to_string(), "jitter 1d1s is too long: at most 1d");
}

#[test]
fn json_is_one_flat_object_per_type() {
    for (json, schedule) in [
        (r#"{"type":"api"}"#, Schedule::api()),
        (r#"{"type":"fixed_delay","delay":"1m30s"}"#, Schedule::fixed_delay(Span::from_secs(90))),
        (r#"{"type":"once","at":"2026-01-01T00:00:00.000Z"}"#, Schedule::once(at("2026-01-01T00:00:00Z"))),
        (
            r#"{"type":"cron","expression":"0 0 9 * * ?","time_zone":"Asia/Shanghai","dialect":"quartz"}"#,
            Schedule::cron("0 0 9 * * ?", "Asia/Shanghai"),
        ),
        (
            r#"{"type":"fixed_rate","every":"10s","anchor":"2026-01-01T00:00:00.000Z","starts_at":"2026-01-01T00:00:00.000Z","ends_at":"2027-01-01T00:00:00.000Z","jitter":"500ms"}"#,
            Schedule {
                kind: ScheduleKind::FixedRate {
                    every: Span::from_secs(10),
                    anchor: Some(at("2026-01-01T00:00:00Z")),
                },
                starts_at: Some(at("2026-01-01T00:00:00Z")),
                ends_at: Some(at("2027-01-01T00:00:00Z")),
                jitter: Some(Span::from_millis(500)),
            },
        ),
    ] {
        assert_eq!(serde_json::to_string(&schedule).unwrap(), json);
        assert_eq!(serde_json::from_str::<Schedule>(json).unwrap(), schedule);
    }
}

#[test]
fn json_has_defaults() {
    let cron: Schedule =
        serde_json::from_str(r#"{"expression":"0 9 * * *","dialect":"unix","type":"cron","jitter":null}"#)
            .unwrap();
    let ScheduleKind::Cron { time_zone, dialect, .. } = &cron.kind else { panic!("{cron:?}") };
    assert_eq!((time_zone.as_str(), *dialect), ("UTC", CronDialect::Unix));
    assert_eq!(cron.jitter, None);
}

#[test]
fn json_that_does_not_fit_is_refused_by_field() {
    for (json, says) in [
        (r#"{}"#, "the schedule lacks its field `type`"),
        (r#"{"type":"cron"}"#, "the schedule lacks its field `expression`"),
        (
            r#"{"type":"corn","expression":""}"#,
            r#"field `type` of the schedule: unknown value "corn", did you mean "cron"? (allowed: "cron", "fixed_rate", "fixed_delay", "once", "api")"#,
        ),
        (
            r#"{"type":"cron","expression":"","dialect":"quarz"}"#,
            r#"field `dialect` of the schedule: unknown value "quarz", did you mean "quartz"?"#,
        ),
        (
            r#"{"type":"cron","expression":"","timezone":"UTC"}"#,
            "unknown field `timezone` of a schedule of type \"cron\", did you mean `time_zone`? (allowed: `type`, `expression`, `time_zone`, `dialect`, `starts_at`, `ends_at`, `jitter`)",
        ),
        (
            r#"{"type":"api","every":"1s"}"#,
            "unknown field `every` of a schedule of type \"api\" (allowed: `type`, `starts_at`, `ends_at`, `jitter`)",
        ),
        (
            r#"{"type":"fixed_rate","every":"10"}"#,
            "field `every` of the schedule: \"10\" is not a duration: 10 needs a unit",
        ),
        (
            r#"{"type":"fixed_rate","every":10}"#,
            "field `every` of the schedule: invalid type: integer `10`, expected a duration",
        ),
        (r#"{"type":"once","at":"now"}"#, "field `at` of the schedule: \"now\" is not a time"),
        (r#"{"type":"api","type":"api"}"#, "field `type` of the schedule is given twice"),
        (r#"[]"#, "expected a schedule object"),
    ] {
        let error = serde_json::from_str::<Schedule>(json).unwrap_err().to_string();
        assert!(error.contains(says), "{json}: {error}");
    }
}
