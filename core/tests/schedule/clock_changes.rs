//! Daylight saving: what happens to local times that are skipped or repeated.

use carillon_core::time::Span;

use super::{at, local_fires, quartz, unix};

// Europe/Berlin: 2026-03-29 from 02:00 to 03:00; 2026-10-25 from 03:00 back to 02:00.

#[test]
fn a_skipped_time_fires_at_the_first_instant_after_the_gap() {
    let daily = quartz("0 30 2 * * ?", "Europe/Berlin");
    assert_eq!(
        local_fires(&daily, "2026-03-28T00:00:00Z", 3),
        ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    );
    // Also where the hours are a list, and a range.
    let list = quartz("0 30 2,14 * * ?", "Europe/Berlin");
    assert_eq!(
        local_fires(&list, "2026-03-28T20:00:00Z", 3),
        ["2026-03-29T03:00:00+02:00", "2026-03-29T14:30:00+02:00", "2026-03-30T02:30:00+02:00"]
    );
    let range = quartz("0 30 1-4 * * ?", "Europe/Berlin");
    assert_eq!(
        local_fires(&range, "2026-03-28T20:00:00Z", 4),
        [
            "2026-03-29T01:30:00+01:00",
            "2026-03-29T03:00:00+02:00",
            "2026-03-29T03:30:00+02:00",
            "2026-03-29T04:30:00+02:00"
        ]
    );
}

#[test]
fn all_times_of_one_gap_fire_together_and_with_the_fire_at_its_end() {
    let fires = local_fires(&quartz("0 0,20,40 2,3 * * ?", "Europe/Berlin"), "2026-03-28T20:00:00Z", 4);
    assert_eq!(
        fires,
        [
            "2026-03-29T03:00:00+02:00",
            "2026-03-29T03:20:00+02:00",
            "2026-03-29T03:40:00+02:00",
            "2026-03-30T02:00:00+02:00"
        ]
    );
}

#[test]
fn a_repeated_time_fires_once_the_first_time() {
    for expression in ["0 30 2 * * ?", "0 30 2,23 * * ?"] {
        let fires = local_fires(&quartz(expression, "Europe/Berlin"), "2026-10-24T22:00:00Z", 1);
        assert_eq!(fires, ["2026-10-25T02:30:00+02:00"]);
    }
    let daily = quartz("0 30 2 * * ?", "Europe/Berlin");
    assert_eq!(
        local_fires(&daily, "2026-10-24T22:00:00Z", 2),
        ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    );
    // Asked from within the second pass, the rest of the repeated hour is over.
    let busy = quartz("0 */20 2,3 * * ?", "Europe/Berlin");
    assert_eq!(
        local_fires(&busy, "2026-10-25T01:10:00Z", 2),
        ["2026-10-25T03:00:00+01:00", "2026-10-25T03:20:00+01:00"]
    );
    // And from exactly its first instant, and the one before.
    assert_eq!(local_fires(&busy, "2026-10-25T01:00:00Z", 1), ["2026-10-25T03:00:00+01:00"]);
    assert_eq!(local_fires(&busy, "2026-10-25T00:59:59.999Z", 1), ["2026-10-25T03:00:00+01:00"]);
}

#[test]
fn interval_expressions_fire_in_both_passes_and_not_in_a_gap() {
    let every_20_minutes = quartz("0 */20 * * * ?", "Europe/Berlin");
    assert_eq!(
        local_fires(&every_20_minutes, "2026-10-25T00:20:00Z", 6),
        [
            "2026-10-25T02:40:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T02:20:00+01:00",
            "2026-10-25T02:40:00+01:00",
            "2026-10-25T03:00:00+01:00",
            "2026-10-25T03:20:00+01:00"
        ]
    );
    assert_eq!(
        local_fires(&every_20_minutes, "2026-03-29T00:20:00Z", 3),
        ["2026-03-29T01:40:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:20:00+02:00"]
    );
    let every_2_hours = unix("30 */2 * * *", "Europe/Berlin");
    assert_eq!(
        local_fires(&every_2_hours, "2026-03-28T22:00:00Z", 3),
        ["2026-03-29T00:30:00+01:00", "2026-03-29T04:30:00+02:00", "2026-03-29T06:30:00+02:00"]
    );
    assert_eq!(
        local_fires(&every_2_hours, "2026-10-24T21:00:00Z", 4),
        [
            "2026-10-25T00:30:00+02:00",
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T02:30:00+01:00",
            "2026-10-25T04:30:00+01:00"
        ]
    );
}

#[test]
fn an_interval_of_real_time_has_no_jump_through_a_whole_year() {
    for zone in ["Europe/Berlin", "America/New_York", "Asia/Shanghai", "UTC"] {
        let every_minute = quartz("0 * * * * ?", zone);
        let mut from = at("2026-01-01T00:00:00Z");
        let end = at("2027-01-01T00:00:00Z");
        let mut fires = 0_u64;
        while let Some(next) = every_minute.next_after(from).filter(|next| *next <= end) {
            assert_eq!(next.since(from), Span::MINUTE, "{zone}: after {from}");
            (from, fires) = (next, fires + 1);
        }
        assert_eq!(fires, 365 * 24 * 60, "{zone}");
    }
}

#[test]
fn new_york_changes_at_two_in_the_morning() {
    let daily = quartz("0 15 2 * * ?", "America/New_York");
    assert_eq!(
        local_fires(&daily, "2026-03-07T12:00:00Z", 2),
        ["2026-03-08T03:00:00-04:00", "2026-03-09T02:15:00-04:00"]
    );
    let at_one = quartz("0 15 1 * * ?", "America/New_York");
    assert_eq!(
        local_fires(&at_one, "2026-10-31T12:00:00Z", 2),
        ["2026-11-01T01:15:00-04:00", "2026-11-02T01:15:00-05:00"]
    );
    let hourly = quartz("0 15 * * * ?", "America/New_York");
    assert_eq!(
        local_fires(&hourly, "2026-11-01T04:30:00Z", 3),
        ["2026-11-01T01:15:00-04:00", "2026-11-01T01:15:00-05:00", "2026-11-01T02:15:00-05:00"]
    );
}

#[test]
fn lord_howe_changes_by_half_an_hour() {
    // 2026-10-04 from 02:00 to 02:30; 2026-04-05 from 02:00 back to 01:30.
    let skipped = quartz("0 15 2 * * ?", "Australia/Lord_Howe");
    assert_eq!(
        local_fires(&skipped, "2026-10-03T00:00:00Z", 2),
        ["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"]
    );
    let not_skipped = quartz("0 45 2 * * ?", "Australia/Lord_Howe");
    assert_eq!(local_fires(&not_skipped, "2026-10-03T00:00:00Z", 1), ["2026-10-04T02:45:00+11:00"]);
    let repeated = quartz("0 45 1 * * ?", "Australia/Lord_Howe");
    assert_eq!(
        local_fires(&repeated, "2026-04-04T00:00:00Z", 2),
        ["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"]
    );
    let half_hours = quartz("0 0/30 * * * ?", "Australia/Lord_Howe");
    assert_eq!(
        local_fires(&half_hours, "2026-04-04T14:00:00Z", 4),
        [
            "2026-04-05T01:30:00+11:00",
            "2026-04-05T01:30:00+10:30",
            "2026-04-05T02:00:00+10:30",
            "2026-04-05T02:30:00+10:30"
        ]
    );
}

#[test]
fn shanghai_has_no_changes() {
    let daily = quartz("0 30 2 * * ?", "Asia/Shanghai");
    assert_eq!(
        local_fires(&daily, "2026-03-28T00:00:00Z", 2),
        ["2026-03-29T02:30:00+08:00", "2026-03-30T02:30:00+08:00"]
    );
}

#[test]
fn apia_skipped_a_whole_day() {
    // There was no 2011-12-30.
    let daily = quartz("0 0 9 * * ?", "Pacific/Apia");
    assert_eq!(
        local_fires(&daily, "2011-12-29T12:00:00Z", 4),
        [
            "2011-12-29T09:00:00-10:00",
            "2011-12-31T00:00:00+14:00",
            "2011-12-31T09:00:00+14:00",
            "2012-01-01T09:00:00+14:00"
        ]
    );
    let on_that_day = quartz("0 0 9 30 12 ? 2011", "Pacific/Apia");
    assert_eq!(local_fires(&on_that_day, "2011-01-01T00:00:00Z", 2), ["2011-12-31T00:00:00+14:00"]);
    let hourly = quartz("0 0 * * * ?", "Pacific/Apia");
    assert_eq!(
        local_fires(&hourly, "2011-12-30T08:59:59Z", 3),
        ["2011-12-29T23:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T01:00:00+14:00"]
    );
}

#[test]
fn a_change_at_midnight_moves_the_fire_of_midnight() {
    // Santiago goes forward from Saturday 24:00 to Sunday 01:00.
    let midnight = quartz("0 0 0 * * ?", "America/Santiago");
    assert_eq!(
        local_fires(&midnight, "2026-09-05T12:00:00Z", 2),
        ["2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00"]
    );
}

#[test]
fn a_rare_interval_expression_is_found_beyond_many_changes() {
    let rare = quartz("0 0 * 1 1 ? 2060", "Europe/Berlin");
    assert_eq!(local_fires(&rare, "2026-01-01T00:00:00Z", 1), ["2060-01-01T00:00:00+01:00"]);
    let summer = quartz("0 0 */12 1 7 ?", "Europe/Berlin");
    assert_eq!(
        local_fires(&summer, "2026-07-01T10:00:00Z", 2),
        ["2027-07-01T00:00:00+02:00", "2027-07-01T12:00:00+02:00"]
    );
}

#[test]
fn an_interval_expression_of_skipped_times_only_never_fires() {
    // The hour field has a step, so 02:30 on the last Sunday of March is never shown by that clock.
    let error =
        carillon_core::schedule::Schedule::cron("0 30 2/22 ? 3 1L 2030-2199", "Europe/Berlin").compile();
    assert!(error.unwrap_err().to_string().starts_with("never fires: "));
}

#[test]
fn a_repeated_hour_is_not_passed_over_on_the_way_to_a_far_fire() {
    // The hour field has a step, so this fires in both passes; after them comes the same day of the next year.
    let yearly = quartz("0 30 2/22 25 10 ?", "Europe/Berlin");
    assert_eq!(
        local_fires(&yearly, "2026-10-24T00:00:00Z", 3),
        ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2027-10-25T02:30:00+02:00"]
    );
}
