//! Expressions and zones that are refused: each with the place and what would be right.

use carillon_core::schedule::{CronDialect, Schedule, ScheduleError, ScheduleKind};

use super::at;

fn refuse(expression: &str, dialect: CronDialect) -> ScheduleError {
    let kind = ScheduleKind::Cron { expression: expression.to_owned(), time_zone: "UTC".to_owned(), dialect };
    Schedule::new(kind).compile().map(|_| ()).expect_err(expression)
}

#[test]
fn the_message_names_field_column_value_and_what_is_right() {
    let error = refuse("0 0/1 * * 13 ?", CronDialect::Quartz);
    assert_eq!(
        error.to_string(),
        r#"cron expression "0 0/1 * * 13 ?": month field at column 11: "13" is not a month, use 1-12 or JAN-DEC"#
    );
    assert_eq!(error.position(), Some((11, 2)));
    assert_eq!(error.field(), "expression");
}

#[test]
fn quartz_mistakes_are_pointed_at() {
    for (expression, position, says) in [
        (
            "",
            (1, 1),
            "it has 0 fields, quartz needs 6 or 7: second minute hour day-of-month month day-of-week [year]",
        ),
        (
            "0 9 * * *",
            (1, 9),
            "it has 5 fields, quartz needs 6 or 7: second minute hour day-of-month month day-of-week [year]; put \"0\" for the second in front, or choose the dialect \"unix\"",
        ),
        ("0 0 9 * * ? * *", (15, 1), "it has 8 fields"),
        ("60 * * * * ?", (1, 2), "second field at column 1: \"60\" is not a second, use 0-59"),
        ("0 60 * * * ?", (3, 2), "minute field at column 3: \"60\" is not a minute"),
        ("0 0 24 * * ?", (5, 2), "hour field at column 5: \"24\" is not an hour, use 0-23"),
        ("0 0 0 0 * ?", (7, 1), "\"0\" is not a day of the month, use 1-31"),
        ("0 0 0 32 * ?", (7, 2), "\"32\" is not a day of the month"),
        ("0 0 0 1 FOO ?", (9, 3), "\"FOO\" is not a month, use 1-12 or JAN-DEC"),
        ("0 0 0 ? * 0", (11, 1), "\"0\" is not a day of the week, use 1-7 (1 is Sunday) or SUN-SAT"),
        ("0 0 0 ? * 8", (11, 1), "\"8\" is not a day of the week"),
        ("0 0 0 ? * MONDAY", (11, 6), "\"MONDAY\" is not a day of the week"),
        ("0 0 0 ? * MON-FOO", (15, 3), "\"FOO\" is not a day of the week"),
        ("0 0 0 ? * FRI#6", (11, 5), "asks for week \"6\" of a month, use 1-5"),
        ("0 0 0 ? * #3", (11, 1), "\"\" is not a day of the week"),
        ("0 0 0 ? * 8L", (11, 1), "\"8\" is not a day of the week"),
        ("0 0 0 ? * 15W", (11, 3), "\"15W\" is not a day of the week"),
        ("0 0 0 L-31 * ?", (7, 4), "use \"L-1\" to \"L-30\""),
        ("0 0 0 L3 * ?", (7, 2), "\"L3\" is not a day of the month, use a day 1-31, \"L\""),
        ("0 0 0 32W * ?", (7, 3), "\"32W\" is not a day of the month"),
        ("0 0 0 +5W * ?", (7, 3), "\"+5W\" is not a day of the month"),
        ("0 0 0 1-5W * ?", (7, 4), "\"1-5W\" is not a day of the month"),
        ("0 0 L * * ?", (5, 1), "\"L\" is not an hour"),
        ("0 0 ? * * ?", (5, 1), "\"?\" is only for day-of-month and day-of-week, use \"*\""),
        ("0 0 0 ?,1 * ?", (7, 3), "\"?\" must be the whole field"),
        ("0 0 0 ? * ?", (11, 1), "\"?\" may stand for day-of-month or day-of-week, not for both"),
        (
            "0 0 0 15 * MON",
            (12, 3),
            "\"MON\" and the day-of-month \"15\" cannot both apply; write \"?\" in one of the two",
        ),
        ("0 */90 * * * ?", (5, 2), "\"90\" is not a step of the minute field, use 1-59"),
        ("0 */0 * * * ?", (5, 1), "\"0\" is not a step"),
        ("0 */ * * * ?", (3, 1), "\"\" is not a step"),
        ("0 1,,2 * * * ?", (3, 4), "\"1,,2\" has nothing between two commas"),
        ("0 5- * * * ?", (3, 2), "\"5-\" is not a range"),
        ("0 1-2-3 * * * ?", (5, 3), "\"2-3\" is not a minute"),
        ("0 1/2/3 * * * ?", (5, 3), "\"2/3\" is not a step"),
        ("0 -1 * * * ?", (3, 2), "\"-1\" is not a range"),
        ("0 0 0 1 1 ? 1969", (13, 4), "\"1969\" is not a year, use 1970-2199"),
        ("0 0 0 1 1 ? 2030-2020", (13, 9), "years do not start over"),
        ("0 0 0 １ * ?", (7, 1), "\"１\" has no place in a cron expression"),
        ("0 0 0 1\n* ?", (8, 1), "\"\\n\" has no place"),
        ("@daily", (1, 6), "belong to the dialect \"unix\""),
        ("*5 * * * * ?", (1, 2), "\"*5\" is not a second"),
    ] {
        let error = refuse(expression, CronDialect::Quartz);
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.position(), Some(position), "{error}");
    }
}

#[test]
fn unix_mistakes_are_pointed_at() {
    for (expression, position, says) in [
        (
            "0 0 9 * * *",
            (11, 1),
            "it has 6 fields, unix needs 5: minute hour day-of-month month day-of-week; leave the second out",
        ),
        ("0 9 ? * 1", (5, 1), "\"?\" belongs to the dialect \"quartz\", use \"*\""),
        (
            "0 9 L * *",
            (5, 1),
            "\"L\" is not a day of the month, use 1-31 (\"L\", \"W\" and \"#\" belong to the dialect \"quartz\")",
        ),
        ("0 9 * * 5#3", (9, 3), "belong to the dialect \"quartz\""),
        ("0 9 * * 8", (9, 1), "\"8\" is not a day of the week, use 0-7"),
        ("@fortnightly", (1, 12), "is not a known name, use one of @yearly"),
    ] {
        let error = refuse(expression, CronDialect::Unix);
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.position(), Some(position), "{error}");
    }
}

#[test]
fn what_never_fires_is_refused_with_the_reason() {
    for (expression, reason) in [
        ("0 0 0 31 2 ?", "no date is on day 31 of the month in February"),
        ("0 0 0 30,31 FEB ?", "no date is on days 30 and 31 of the month in February"),
        ("0 0 0 29 2 ? 2027", "no date is on day 29 of the month in February of 2027"),
        ("0 0 0 31 4,6,9,11 ?", "no date is on day 31 of the month in April, June, September and November"),
        (
            "0 0 0 ? 2 6#5 2026-2028",
            "no date is on the fifth Friday of the month in February of 2026 to 2028",
        ),
        ("0 0 0 L-29 2 ?", "no date is on 29 days before the last day of the month in February"),
    ] {
        let error = refuse(expression, CronDialect::Quartz);
        assert_eq!(error.to_string(), format!("never fires: {reason}"));
        assert_eq!(error.field(), "expression");
        assert_eq!(error.position(), None);
    }
}

#[test]
fn a_window_without_a_fire_is_refused() {
    let mut spec = Schedule::cron("0 0 0 1 1 ?", "UTC");
    spec.starts_at = Some(at("2026-01-02T00:00:00Z"));
    spec.ends_at = Some(at("2026-12-31T00:00:00Z"));
    assert_eq!(
        spec.compile().unwrap_err().to_string(),
        "never fires: no fire time lies between 2026-01-02T00:00:00.000Z and 2026-12-31T00:00:00.000Z"
    );
    spec.ends_at = Some(at("2026-01-01T00:00:00Z"));
    let error = spec.compile().unwrap_err();
    assert_eq!(
        error.to_string(),
        "ends_at 2026-01-01T00:00:00.000Z lies before starts_at 2026-01-02T00:00:00.000Z"
    );
    let mut once = Schedule::once(at("2026-01-01T00:00:00Z"));
    once.starts_at = Some(at("2026-01-02T00:00:00Z"));
    assert_eq!(once.compile().unwrap_err().field(), "at");
}

#[test]
fn a_huge_expression_is_refused_without_being_repeated() {
    let error = refuse(&"1,".repeat(1_000_000), CronDialect::Quartz);
    assert!(error.to_string().contains("it has 2000000 bytes, at most 256 are allowed"));
    assert!(error.to_string().len() < 500);
}

#[test]
fn an_unknown_zone_is_refused_with_the_nearest() {
    for (name, says) in [
        ("Asia/Shanhai", "unknown time zone \"Asia/Shanhai\": did you mean \"Asia/Shanghai\"?"),
        ("Shanghai", "did you mean \"Asia/Shanghai\"?"),
        ("Asia/Beijing", "did you mean \"Asia/Shanghai\"?"),
        ("new york", "did you mean \"America/New_York\"?"),
        ("Europe/Berln", "did you mean \"Europe/Berlin\"?"),
        ("UTC+8", "did you mean \"Etc/GMT-8\"?"),
        ("GMT-05:00", "did you mean \"Etc/GMT+5\"?"),
        ("Mars/Olympus_Mons", "use an IANA name such as \"Asia/Shanghai\" or \"UTC\""),
        ("", "use an IANA name"),
        ("../../etc/passwd", "use an IANA name"),
    ] {
        let error = Schedule::cron("0 0 0 * * ?", name).compile().unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(error.field(), "time_zone");
    }
    let error = Schedule::cron("0 0 0 * * ?", "x".repeat(1_000_000)).compile().unwrap_err();
    assert!(error.to_string().len() < 200);
    assert!(Schedule::cron("0 0 0 * * ?", "asia/shanghai").compile().is_ok());
}
