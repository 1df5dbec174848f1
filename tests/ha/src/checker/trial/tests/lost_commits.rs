//! A failover that loses the last commits explains what it can explain, and nothing else. Here it loses those from 31 s to 33 s.

use super::*;
use crate::checker::record::LostCommits;

const LOST: LostCommits = LostCommits { cut_ms: 31_000, killed_ms: 33_000, back_ms: 33_300 };

fn seeded_with_loss(bug: impl FnOnce(&mut Record)) -> Vec<(Fault, String)> {
    seeded(|record| {
        record.lost_commits.push(LOST);
        bug(record);
    })
}

/// The edited job gets other times at an instant, acknowledged 10 ms later, and loses them by the failover.
fn edit_that_is_lost(record: &mut Record, at: i64) {
    let versions = &mut record.jobs[1].versions;
    let lost = Version {
        mark: 7,
        schedule: Some(Periodic { period_ms: 2_000, offset_ms: 900 }),
        effective_ms: (at, LOST.back_ms),
        sent_ms: at - 5,
        acknowledged_ms: Some(at + 10),
        lost_ms: Some(LOST.killed_ms),
        ..Version::default()
    };
    let again = Version {
        effective_ms: (LOST.killed_ms, LOST.back_ms),
        sent_ms: LOST.killed_ms,
        acknowledged_ms: None,
        ..versions[0].clone()
    };
    versions.splice(1..1, [lost, again]);
}

#[test]
fn a_trigger_of_the_lost_moments_may_be_gone_and_no_other() {
    let gone = |sent_ms, at_ms| {
        seeded_with_loss(|record| record.triggers.push(Trigger { run: "gone".into(), sent_ms, at_ms }))
    };
    assert_eq!(gone(31_990, 32_000), []);
    assert_eq!(gone(30_980, 30_990), [(Fault::LostTrigger, "gone".into())]);
    assert_eq!(gone(33_010, 33_400), [(Fault::LostTrigger, "gone".into())]);
}

#[test]
fn a_run_that_was_triggered_in_the_lost_moments_may_be_unknown_and_no_other() {
    let unknown =
        |fire| seeded_with_loss(|record| record.lines.push(line("unknown", 9, fire, Event::Started)));
    assert_eq!(unknown(32_000), []);
    assert_eq!(unknown(40_000), [(Fault::UnknownRun, "unknown".into())]);
}

#[test]
fn a_shard_goes_back_once_and_not_behind_what_the_replica_knew() {
    // Samples come each second: the thirty-first is of the moment of the cut, the thirty-fourth the first after the failover.
    let back_to = |first: i64, second: i64| {
        seeded_with_loss(|record| {
            record.samples[33].planned_until_ms = first;
            record.samples[34].planned_until_ms = second;
        })
    };
    let whose = "101-1-3-1.0".to_owned();
    assert_eq!(back_to(59_500, 63_000), []);
    assert_eq!(back_to(58_500, 63_000), [(Fault::WentBack, whose.clone())]);
    assert_eq!(back_to(59_500, 59_200), [(Fault::WentBack, whose)]);
}

#[test]
fn what_was_armed_of_a_lost_edit_may_start_soon_after_and_not_later() {
    let armed = |fire| {
        seeded_with_loss(|record| {
            edit_that_is_lost(record, 32_600);
            record.lines.push(Line { mark: Some(7), ..line("unknown", EDITED, fire, Event::Started) });
        })
    };
    assert_eq!(armed(32_900), []);
    assert_eq!(armed(34_900), []);
    assert_eq!(armed(38_900), [(Fault::UnknownRun, "unknown".into())]);
}

#[test]
fn an_edit_is_in_force_until_the_database_loses_it() {
    let found = seeded_with_loss(|record| edit_that_is_lost(record, 32_300));
    assert_eq!(found, [(Fault::StartedAfterEdit, id(EDITED, 32_500))]);
}

#[test]
fn fires_of_the_old_version_are_owed_again_after_the_failover() {
    let found = seeded_with_loss(|record| {
        edit_that_is_lost(record, 32_600);
        record.runs.retain(|run| run.id != id(EDITED, 52_500));
        record.lines.retain(|line| line.run != id(EDITED, 52_500));
        let versions = &mut record.jobs[1].versions;
        versions.truncate(3);
    });
    assert!(found.contains(&(Fault::Lost, "job 2 at 52500".into())), "{found:?}");
}

/// The edited job is paused until a lost edit resumes it; its fire at 32.5 s was cancelled by the pause.
fn resumed_by_a_lost_edit(record: &mut Record, fire: i64) {
    edit_that_is_lost(record, 31_200);
    let versions = &mut record.jobs[1].versions;
    versions.truncate(3);
    let schedule = versions[0].schedule;
    (versions[0].schedule, versions[1].schedule, versions[2].schedule) = (None, schedule, None);
    record.runs.retain(|run| run.job != EDITED || run.fire_time_ms == fire);
    record.lines.retain(|line| line.job != EDITED || line.fire_time_ms == fire);
    record
        .lines
        .iter_mut()
        .filter(|line| line.job == EDITED)
        .for_each(|line| line.mark = line.mark.map(|_| 7));
    let row = row_of(record, &id(EDITED, fire));
    (row.state, row.reason, row.started_ms) = ("cancelled".into(), "paused".into(), None);
}

#[test]
fn the_end_of_a_run_of_a_lost_edit_may_be_lost_with_it_and_no_later_end() {
    assert_eq!(seeded_with_loss(|record| resumed_by_a_lost_edit(record, 32_500)), []);
    let later = seeded_with_loss(|record| resumed_by_a_lost_edit(record, 34_500));
    assert!(later.contains(&(Fault::Disagrees, id(EDITED, 34_500))), "{later:?}");
}
