//! What a person is told about a schedule.

use carillon_core::schedule::{ClockChange, Schedule, ScheduleKind, preview};
use carillon_core::time::Span;

use super::{at, quartz, unix};

#[test]
fn common_shapes_have_their_usual_sentence() {
    for (expression, sentence) in [
        ("0 0/1 * * * ?", "every minute"),
        ("* * * * * ?", "every second"),
        ("0/10 * * * * ?", "every 10 seconds"),
        ("0 */5 * * * ?", "every 5 minutes"),
        ("30 */5 * * * ?", "every 5 minutes at second 30"),
        ("0 */5 9-17 * * ?", "every 5 minutes between 09:00 and 17:59 (Asia/Shanghai)"),
        ("0 */5 9 * * ?", "every 5 minutes between 09:00 and 09:59 (Asia/Shanghai)"),
        ("0 * 9,13 * * ?", "every minute in the hours 09 and 13 (Asia/Shanghai)"),
        ("0 0 * * * ?", "every hour"),
        ("0 30 * * * ?", "every hour at minute 30"),
        ("10 30 */2 * * ?", "every 2 hours at minute 30 and second 10 (Asia/Shanghai)"),
        ("0 0 9-17 ? * MON-FRI", "every hour from 09:00:00 to 17:00:00 on Monday to Friday (Asia/Shanghai)"),
        ("0 15 1/5 * * ?", "every 5 hours from 01:15:00 to 21:15:00 (Asia/Shanghai)"),
        ("0 0 9 ? * MON-FRI", "at 09:00:00 on Monday to Friday (Asia/Shanghai)"),
        ("0 0 9 * * ?", "at 09:00:00 every day (Asia/Shanghai)"),
        ("0 0,30 9,18 * * ?", "at 09:00:00, 09:30:00, 18:00:00 and 18:30:00 every day (Asia/Shanghai)"),
        ("0 0/1 * * * 2", "every minute on Monday (Asia/Shanghai)"),
        ("0 0 9 ? * L", "at 09:00:00 on Saturday (Asia/Shanghai)"),
        ("0 0 9 ? * 6L", "at 09:00:00 on the last Friday of the month (Asia/Shanghai)"),
        (
            "0 0 9 ? * 2#1,6#3",
            "at 09:00:00 on the first Monday of the month and the third Friday of the month (Asia/Shanghai)",
        ),
        ("0 0 9 L * ?", "at 09:00:00 on the last day of the month (Asia/Shanghai)"),
        ("0 0 9 L-3 * ?", "at 09:00:00 on 3 days before the last day of the month (Asia/Shanghai)"),
        ("0 0 9 LW * ?", "at 09:00:00 on the last weekday (Monday to Friday) of the month (Asia/Shanghai)"),
        (
            "0 0 9 15W * ?",
            "at 09:00:00 on the weekday (Monday to Friday) nearest to day 15 of the month (Asia/Shanghai)",
        ),
        ("0 0 9 1,15 * ?", "at 09:00:00 on days 1 and 15 of the month (Asia/Shanghai)"),
        ("0 0 9 1-5 1,7 ?", "at 09:00:00 on days 1 to 5 of the month in January and July (Asia/Shanghai)"),
        ("0 0 9 * 6-8 ?", "at 09:00:00 every day in June to August (Asia/Shanghai)"),
        (
            "0 0 9 1 */3 ? 2027",
            "at 09:00:00 on day 1 of the month in January, April, July and October of 2027 (Asia/Shanghai)",
        ),
        ("0 0 9 * * ? 2027", "at 09:00:00 every day in 2027 (Asia/Shanghai)"),
        // No usual phrase: field by field.
        (
            "5,10 0/7 1-3,9 ? * 2/2",
            "at hours 1 to 3 and 9, minutes 0 to 56 in steps of 7, seconds 5 and 10 on Monday, Wednesday and Friday (Asia/Shanghai)",
        ),
        ("* 30 9 * * ?", "at hour 9, minute 30, every second every day (Asia/Shanghai)"),
    ] {
        assert_eq!(quartz(expression, "Asia/Shanghai").sentence(), sentence, "{expression}");
    }
    assert_eq!(unix("0 9 13 * 5", "utc").sentence(), "at 09:00:00 on day 13 of the month or on Friday (UTC)");
}

#[test]
fn the_other_types_and_the_common_fields_have_words_too() {
    let sentence = |schedule: Schedule| schedule.compile().unwrap().sentence();
    assert_eq!(sentence(Schedule::fixed_rate(Span::from_secs(90))), "every 1m30s");
    let anchored = ScheduleKind::FixedRate { every: Span::HOUR, anchor: Some(at("2026-01-01T00:00:00Z")) };
    assert_eq!(sentence(Schedule::new(anchored)), "every 1h, the first time at 2026-01-01T00:00:00.000Z");
    assert_eq!(sentence(Schedule::fixed_delay(Span::MINUTE)), "1m after the previous run is final");
    assert_eq!(sentence(Schedule::api()), "only when triggered");
    let mut once = Schedule::once(at("2026-01-01T00:00:00Z"));
    once.starts_at = Some(at("2025-01-01T00:00:00Z"));
    once.ends_at = Some(at("2027-01-01T00:00:00Z"));
    once.jitter = Some(Span::SECOND);
    assert_eq!(
        sentence(once),
        "once at 2026-01-01T00:00:00.000Z, from 2025-01-01T00:00:00.000Z on, until 2027-01-01T00:00:00.000Z, each up to 1s later"
    );
}

#[test]
fn a_preview_shows_the_next_fires_on_the_zones_clock() {
    let schedule = Schedule::cron("0 0 9 ? * MON-FRI", "Asia/Shanghai");
    let shown = preview(&schedule, at("2026-11-20T00:30:00Z"), 2).unwrap();
    assert_eq!(
        serde_json::to_value(&shown).unwrap(),
        serde_json::json!({
            "sentence": "at 09:00:00 on Monday to Friday (Asia/Shanghai)",
            "fires": [
                {"at": "2026-11-20T01:00:00.000Z", "local": "2026-11-20T09:00:00+08:00"},
                {"at": "2026-11-23T01:00:00.000Z", "local": "2026-11-23T09:00:00+08:00"},
            ],
            "clock_changes": [],
        })
    );
    assert_eq!(preview(&schedule, at("2026-11-20T00:30:00Z"), usize::MAX).unwrap().fires.len(), 100);
    assert!(preview(&Schedule::api(), at("2026-11-20T00:30:00Z"), 5).unwrap().fires.is_empty());

    let quick =
        ScheduleKind::FixedRate { every: Span::from_millis(1_500), anchor: Some(at("2026-01-01T00:00:00Z")) };
    let shown = preview(&Schedule::new(quick), at("2026-01-01T00:00:00Z"), 2).unwrap();
    let local: Vec<&str> = shown.fires.iter().map(|fire| fire.local.as_str()).collect();
    assert_eq!(local, ["2026-01-01T00:00:01.500+00:00", "2026-01-01T00:00:03+00:00"]);
}

#[test]
fn a_preview_tells_what_changes_of_the_clock_do() {
    let notes = |expression: &str, zone: &str| {
        let shown = quartz(expression, zone).preview(at("2026-01-01T00:00:00Z"), 1);
        shown.clock_changes.into_iter().map(|note| (note.change, note.text)).collect::<Vec<_>>()
    };
    assert_eq!(
        notes("0 30 2 * * ?", "Europe/Berlin"),
        [
            (
                ClockChange::Forward,
                "on 2026-03-29 the clock of Europe/Berlin goes forward from 02:00:00 to 03:00:00: 02:30:00 does not exist and fires at 03:00:00 instead".to_owned()
            ),
            (
                ClockChange::Back,
                "on 2026-10-25 the clock of Europe/Berlin goes back from 03:00:00 to 02:00:00: 02:30:00 happens twice and fires only the first time".to_owned()
            ),
        ]
    );
    let texts = |expression: &str| {
        notes(expression, "Europe/Berlin").into_iter().map(|(_, text)| text).collect::<Vec<_>>()
    };
    let every_ten_minutes = texts("0 */10 * * * ?");
    assert!(
        every_ten_minutes[0]
            .ends_with("02:00:00, 02:10:00, 02:20:00 and 3 more do not exist and do not fire"),
        "{every_ten_minutes:?}"
    );
    assert!(
        every_ten_minutes[1].ends_with("and 3 more happen twice and fire both times"),
        "{every_ten_minutes:?}"
    );
    let list = texts("0 0,30 2 * * ?");
    assert!(
        list[0].ends_with("02:00:00 and 02:30:00 do not exist and fire together at 03:00:00"),
        "{list:?}"
    );
    assert!(list[1].ends_with("02:00:00 and 02:30:00 happen twice and fire only the first time"), "{list:?}");
    let every_second = texts("* * 2 * * ?");
    assert!(every_second[0].contains("02:00:00, 02:00:01, 02:00:02 and many more"), "{every_second:?}");

    // Untouched: at nine, on another day, in a zone without changes.
    assert_eq!(texts("0 0 9 * * ?"), Vec::<String>::new());
    assert_eq!(texts("0 30 2 ? * MON"), Vec::<String>::new());
    assert_eq!(notes("0 30 2 * * ?", "Asia/Shanghai"), []);
}

#[test]
fn a_preview_of_apia_tells_the_lost_day() {
    let shown = quartz("0 0 9 * * ?", "Pacific/Apia").preview(at("2011-12-01T00:00:00Z"), 0);
    assert_eq!(
        shown.clock_changes[0].text,
        "on 2011-12-31 the clock of Pacific/Apia goes forward from 2011-12-30 00:00:00 to 2011-12-31 00:00:00: 2011-12-30 09:00:00 does not exist and fires at 2011-12-31 00:00:00 instead"
    );
}
