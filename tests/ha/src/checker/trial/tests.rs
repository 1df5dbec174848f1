//! Each test seeds one bug into the record of a trial that is fine, and the checker must name it and nothing else.

mod lost_commits;

use super::*;
use crate::api::Attempt;
use crate::checker::record::{Excuse, FaultSpan, Machine, Periodic, Sample, Trigger};
use crate::ledger::Armed;

const STEADY: u32 = 1;
const EDITED: u32 = 2;

/// A minute with a fault from 20 s to 30 s: one job each second, one each two seconds whose params change at 40.3 s, and one trigger.
fn fine() -> Record {
    let second = Periodic { period_ms: 1_000, offset_ms: 0 };
    let created = |mark, schedule| Version {
        mark,
        schedule: Some(schedule),
        acknowledged_ms: Some(-50_000),
        sent_ms: -50_010,
        effective_ms: (-50_005, -50_005),
        ..Version::default()
    };
    let two = Periodic { period_ms: 2_000, offset_ms: 500 };
    let change = Version {
        mark: 1,
        schedule: Some(two),
        effective_ms: (40_300, 40_300),
        sent_ms: 40_290,
        acknowledged_ms: Some(40_320),
        ..Version::default()
    };
    let job = |job, versions| JobHistory { job, group: "101-1-3-1".into(), versions };
    let mut record = Record {
        case: "F0".into(),
        seed: 1,
        from_ms: 0,
        to_ms: 60_000,
        bound_ms: 1_000,
        jobs: vec![job(STEADY, vec![created(0, second)]), job(EDITED, vec![created(0, two), change])],
        faults: vec![FaultSpan { what: "something".into(), from_ms: 20_000, to_ms: 30_000 }],
        machine: Machine::default(),
        ..Record::default()
    };
    for fire in second.between(0, 60_000) {
        fires(&mut record, STEADY, fire, None);
    }
    for fire in two.between(0, 60_000) {
        fires(&mut record, EDITED, fire, Some(u64::from(fire > 40_300)));
    }
    let mut triggered = row("triggered", 9, 10_200);
    triggered.trigger = "api".into();
    record.runs.push(triggered);
    record.lines.extend([
        line("triggered", 9, 10_200, Event::Started),
        line("triggered", 9, 10_200, Event::Succeeded),
    ]);
    record.triggers.push(Trigger { run: "triggered".into(), sent_ms: 10_190, at_ms: 10_205 });
    for second in 1..60 {
        let (at_ms, epoch) = (second * 1_000, if second < 21 { 4 } else { 5 });
        let owner = if epoch == 4 { "server-1" } else { "server-2" }.to_owned();
        record.samples.push(Sample {
            at_ms,
            shard: "101-1-3-1.0".into(),
            epoch,
            owner,
            planned_until_ms: at_ms + 28_000,
        });
    }
    record
}

fn fires(record: &mut Record, job: u32, fire: i64, mark: Option<u64>) {
    let id = id(job, fire);
    record.runs.push(row(&id, job, fire));
    record.lines.push(Line { mark, ..line(&id, job, fire, Event::Started) });
    record.lines.push(line(&id, job, fire, Event::Succeeded));
    record.arms.push(Armed {
        run: id,
        attempt: 1,
        plan_no: 1,
        due_us: fire * 1_000,
        at_us: fire * 1_000 - 1_450_000,
        worker: String::new(),
    });
}

fn id(job: u32, fire: i64) -> String {
    format!("{job}-{fire}")
}

fn row(id: &str, job: u32, fire: i64) -> RunRecord {
    RunRecord {
        id: id.into(),
        job,
        trigger: "schedule".into(),
        fire_time_ms: fire,
        state: "succeeded".into(),
        reason: String::new(),
        attempt: 1,
        past: Vec::new(),
        started_ms: Some(fire + 3),
        worker: "worker-1".into(),
    }
}

fn line(id: &str, job: u32, fire: i64, event: Event) -> Line {
    let after_us = if event == Event::Started { 3_000 } else { 9_000 };
    Line {
        event,
        phase: Phase::Run,
        run: id.into(),
        job,
        attempt: 1,
        subtask: None,
        fire_time_ms: fire,
        worker: "worker-1".into(),
        pid: 1,
        trace: String::new(),
        mark: None,
        at_us: fire * 1_000 + after_us,
    }
}

/// What is found after a bug was seeded.
fn seeded(bug: impl FnOnce(&mut Record)) -> Vec<(Fault, String)> {
    let mut record = fine();
    bug(&mut record);
    judge(&record).violations.into_iter().map(|violation| (violation.fault, violation.whose)).collect()
}

fn start_of<'r>(record: &'r mut Record, run: &str) -> &'r mut Line {
    record.lines.iter_mut().find(|line| line.run == run && line.event == Event::Started).unwrap()
}

fn row_of<'r>(record: &'r mut Record, run: &str) -> &'r mut RunRecord {
    record.runs.iter_mut().find(|row| row.id == run).unwrap()
}

fn never_started(record: &mut Record, run: &str, reason: &str) {
    record.lines.retain(|line| line.run != run);
    let row = row_of(record, run);
    (row.state, row.reason, row.started_ms) = ("missed".into(), reason.into(), None);
}

#[test]
fn a_record_without_fault_is_kept_and_measured() {
    let verdict = judge(&fine());
    assert_eq!(verdict.violations, []);
    let figures = verdict.figures;
    assert_eq!((figures.fires, figures.triggers, figures.edits, figures.takeovers), (90, 1, 1, 1));
    assert_eq!(
        figures.lateness.each_ref().map(|late| late.count),
        [29, 15, 44],
        "two fires lie near the edit"
    );
    assert!((figures.lateness[1].max - 3.0).abs() < 0.1 && figures.lateness[1].within_20ms == 1.0);
    assert_eq!(figures.arming_lead_ms[1], (1_450.0, 1_450.0));
    assert_eq!(figures.to_normal_ms, Some(0));
}

#[test]
fn a_missing_fire_is_caught() {
    let found = seeded(|record| {
        record.runs.retain(|run| run.id != "1-25000");
        record.lines.retain(|line| line.run != "1-25000");
    });
    assert_eq!(found, [(Fault::Lost, "job 1 at 25000".into())]);
}

#[test]
fn a_second_run_of_a_fire_is_caught() {
    let found = seeded(|record| {
        record.runs.push(RunRecord {
            state: "skipped".into(),
            reason: "misfire".into(),
            ..row("again", STEADY, 25_000)
        })
    });
    assert_eq!(found, [(Fault::Doubled, "job 1 at 25000".into())]);
}

#[test]
fn a_run_at_no_fire_is_caught() {
    let found = seeded(|record| fires(record, STEADY, 25_500, None));
    assert_eq!(found, [(Fault::Unexpected, "1-25500".into())]);
}

#[test]
fn a_double_start_is_caught_also_at_another_worker() {
    let found = seeded(|record| {
        let again = Line { worker: "worker-2".into(), ..start_of(record, "1-25000").clone() };
        record.lines.push(again);
    });
    assert_eq!(found, [(Fault::StartedTwice, "1-25000".into())]);
}

#[test]
fn a_late_start_is_caught() {
    assert_eq!(
        seeded(|record| start_of(record, "1-25000").at_us += 1_500_000),
        [(Fault::TooLate, "1-25000".into())]
    );
}

#[test]
fn an_early_start_is_caught() {
    assert_eq!(
        seeded(|record| start_of(record, "1-25000").at_us -= 40_000),
        [(Fault::TooEarly, "1-25000".into())]
    );
}

#[test]
fn a_fire_that_is_missed_although_a_worker_lived_is_caught() {
    assert_eq!(
        seeded(|record| never_started(record, "1-25000", "late")),
        [(Fault::NotStarted, "1-25000".into())]
    );
}

#[test]
fn a_fire_that_is_missed_without_a_reason_breaks_two_promises() {
    let found = seeded(|record| never_started(record, "1-25000", ""));
    assert_eq!(found, [(Fault::NotStarted, "1-25000".into()), (Fault::NoReason, "1-25000".into())]);
}

#[test]
fn an_excuse_covers_its_time_its_group_and_its_worker_only() {
    let excuse = |from_ms, group: Option<&str>, worker: Option<&str>| Excuse {
        from_ms,
        to_ms: 27_000,
        group: group.map(str::to_owned),
        worker: worker.map(str::to_owned),
        why: "no holder lives".into(),
    };
    let with = |excuse: Excuse| {
        seeded(|record| {
            never_started(record, "1-25000", "late");
            record.excused.push(excuse);
        })
        .len()
    };
    assert_eq!(with(excuse(20_000, None, None)), 0);
    assert_eq!(with(excuse(26_000, None, None)), 1);
    assert_eq!(with(excuse(20_000, Some("101-1-3-1"), None)), 0);
    assert_eq!(with(excuse(20_000, Some("101-1-2-2"), None)), 1);
    assert_eq!(with(excuse(20_000, None, Some("worker-1"))), 0);
    assert_eq!(with(excuse(20_000, None, Some("worker-2"))), 1);
    // The worker that had it first, before it moved.
    let armed = seeded(|record| {
        never_started(record, "1-25000", "late");
        record.excused.push(excuse(20_000, None, Some("worker-2")));
        let arm = record.arms.iter_mut().find(|arm| arm.run == "1-25000").unwrap();
        arm.worker = "worker-2".into();
    });
    assert_eq!(armed, []);
    let early = |excused: Excuse| {
        seeded(|record| {
            start_of(record, "1-25000").at_us -= 40_000;
            record.excused.push(excused);
        })
        .len()
    };
    assert_eq!((early(excuse(20_000, None, None)), early(excuse(26_000, None, None))), (0, 1));
}

/// A serial job: the run before it is at a worker that stands still.
#[test]
fn a_fire_that_waits_for_an_excused_run_of_its_job_is_excused() {
    let with = |ended_us: i64| {
        seeded(|record| {
            record.excused.push(Excuse {
                from_ms: 24_000,
                to_ms: 24_000,
                group: None,
                worker: Some("worker-9".into()),
                why: "the worker is no live one".into(),
            });
            row_of(record, "1-24000").worker = "worker-9".into();
            for line in record.lines.iter_mut().filter(|line| line.event == Event::Succeeded) {
                match line.run.as_str() {
                    "1-24000" => line.at_us = ended_us,
                    "1-25000" => line.at_us += 1_500_000,
                    _ => {}
                }
            }
            start_of(record, "1-25000").at_us += 1_500_000;
        })
        .len()
    };
    assert_eq!((with(26_400_000), with(24_400_000)), (0, 1));
}

#[test]
fn an_excused_fire_must_still_have_its_row() {
    let found = seeded(|record| {
        record.runs.retain(|run| run.id != "1-25000");
        record.lines.retain(|line| line.run != "1-25000");
        record.excused.push(Excuse {
            from_ms: 0,
            to_ms: 60_000,
            group: None,
            worker: None,
            why: "everything".into(),
        });
    });
    assert_eq!(found, [(Fault::Lost, "job 1 at 25000".into())]);
}

#[test]
fn a_start_of_an_old_version_after_its_edit_was_acknowledged_is_caught() {
    assert_eq!(
        seeded(|record| start_of(record, "2-40500").mark = Some(0)),
        [(Fault::StartedAfterEdit, "2-40500".into())]
    );
}

#[test]
fn a_start_that_the_acknowledgement_listed_is_none() {
    let found = seeded(|record| {
        start_of(record, "2-40500").mark = Some(0);
        record.jobs[1].versions[1].may_still_start.insert("2-40500".into());
    });
    assert_eq!(found, []);
}

#[test]
fn a_fire_after_a_pause_is_caught() {
    let found = seeded(|record| record.jobs[1].versions[1].schedule = None);
    // Ten fires lie after the pause, and each of them was started with the mark of the paused version.
    assert_eq!(found.iter().filter(|(fault, _)| *fault == Fault::Unexpected).count(), 10);
}

#[test]
fn a_row_that_a_pause_cancelled_is_none_unless_it_was_started() {
    let paused = |record: &mut Record| {
        record.jobs[1].versions[1].schedule = None;
        let after = |run: &&mut RunRecord| run.job == EDITED && run.fire_time_ms > 40_300;
        for run in record.runs.iter_mut().filter(after) {
            (run.state, run.reason, run.started_ms) = ("cancelled".into(), "paused".into(), None);
        }
    };
    let unstarted =
        |record: &mut Record| record.lines.retain(|line| line.job != EDITED || line.fire_time_ms < 40_300);
    assert_eq!(
        seeded(|record| {
            paused(record);
            unstarted(record);
        }),
        []
    );
    assert!(seeded(paused).contains(&(Fault::Unexpected, "2-50500".into())));
}

#[test]
fn a_change_of_unknown_outcome_leaves_its_fires_open() {
    let found = seeded(|record| {
        record.jobs[1].versions[1].effective_ms = (40_290, 44_000);
        record.runs.retain(|run| run.id != "2-42500");
        record.lines.retain(|line| line.run != "2-42500");
    });
    assert_eq!(found, [], "version 0 and 1 fire at the same times, and either may have been cancelled");
}

#[test]
fn a_row_that_disagrees_with_its_handler_is_caught() {
    let found = seeded(|record| {
        (row_of(record, "1-25000").state, row_of(record, "1-25000").reason) = ("missed".into(), "late".into())
    });
    let wrong = (Fault::Disagrees, "1-25000".to_owned());
    assert_eq!(found, [wrong.clone(), wrong], "it was started, and it succeeded");
}

#[test]
fn a_start_of_what_was_cancelled_before_it_is_caught_unless_it_is_of_an_attempt_that_was_given_up() {
    let with = |attempts: u32| {
        seeded(|record| {
            let row = row_of(record, "1-25000");
            (row.state, row.reason, row.started_ms) = ("cancelled".into(), "paused".into(), None);
            row.attempt = attempts;
            row.past = (1..attempts).map(|number| Attempt { number, reason: "worker_lost".into() }).collect();
            record.lines.retain(|line| line.run != "1-25000" || line.event == Event::Started);
            record.excused.push(Excuse {
                from_ms: 25_000,
                to_ms: 25_000,
                group: None,
                worker: None,
                why: "it is cancelled".into(),
            });
        })
    };
    assert!(with(1).contains(&(Fault::Disagrees, "1-25000".into())), "{:?}", with(1));
    assert!(!with(2).contains(&(Fault::Disagrees, "1-25000".into())), "{:?}", with(2));
}

#[test]
fn a_success_nobody_had_is_caught() {
    let found =
        seeded(|record| record.lines.retain(|line| line.run != "1-25000" || line.event == Event::Started));
    assert_eq!(found, [(Fault::Disagrees, "1-25000".into())]);
}

#[test]
fn a_row_that_is_not_final_is_caught() {
    assert_eq!(
        seeded(|record| row_of(record, "1-25000").state = "running".into()),
        [(Fault::NotFinal, "1-25000".into())]
    );
}

#[test]
fn a_start_of_an_unknown_run_is_caught() {
    let found = seeded(|record| record.lines.push(line("unknown", STEADY, 25_000, Event::Started)));
    assert_eq!(found, [(Fault::UnknownRun, "unknown".into())]);
}

#[test]
fn a_second_attempt_without_a_cause_is_caught() {
    let found = seeded(|record| {
        row_of(record, "1-25000").attempt = 2;
        start_of(record, "1-25000").attempt = 2;
        record.lines.iter_mut().filter(|line| line.run == "1-25000").for_each(|line| line.attempt = 2);
    });
    assert_eq!(found, [(Fault::AttemptWithoutCause, "1-25000".into())]);
}

#[test]
fn a_second_attempt_with_a_cause_is_none() {
    let found = seeded(|record| {
        row_of(record, "1-25000").attempt = 2;
        row_of(record, "1-25000").past = vec![Attempt { number: 1, reason: "worker_lost".into() }];
        record.lines.iter_mut().filter(|line| line.run == "1-25000").for_each(|line| line.attempt = 2);
    });
    assert_eq!(found, []);
}

#[test]
fn an_acknowledged_trigger_without_its_run_is_caught() {
    let found =
        seeded(|record| record.triggers.push(Trigger { run: "gone".into(), sent_ms: 29_990, at_ms: 30_000 }));
    assert_eq!(found, [(Fault::LostTrigger, "gone".into())]);
}

#[test]
fn a_run_that_a_shift_overtook_may_start_until_the_shift_is_answered_and_no_later() {
    // The change at 40.3 s shifts the times; the fire of the old ones at 40.5 s was armed.
    let started_when_answered = |answered| {
        seeded(|record| {
            let versions = &mut record.jobs[1].versions;
            versions[1].acknowledged_ms = Some(answered);
            versions[1].schedule = Some(Periodic { period_ms: 1_000_000, offset_ms: 0 });
            let later = |fire: i64| fire > 40_500;
            record.runs.retain(|run| run.job != EDITED || !later(run.fire_time_ms));
            record.lines.retain(|line| line.job != EDITED || !later(line.fire_time_ms));
            record.lines.iter_mut().filter(|line| line.run == id(EDITED, 40_500)).for_each(|line| {
                line.mark = line.mark.map(|_| 0);
            });
        })
    };
    assert_eq!(started_when_answered(40_700), []);
    let found = started_when_answered(40_400);
    let (unexpected, after) = (Fault::Unexpected, Fault::StartedAfterEdit);
    assert_eq!(found, [(unexpected, id(EDITED, 40_500)), (after, id(EDITED, 40_500))]);
}

#[test]
fn a_watermark_or_epoch_that_goes_back_is_caught() {
    let whose = "101-1-3-1.0".to_owned();
    assert_eq!(
        seeded(|record| record.samples[30].planned_until_ms -= 5_000),
        [(Fault::WentBack, whose.clone())]
    );
    assert_eq!(seeded(|record| record.samples[30].epoch = 3), [(Fault::WentBack, whose)]);
}

#[test]
fn planning_that_stays_behind_after_healing_is_caught() {
    let found = seeded(|record| {
        for sample in record.samples.iter_mut().filter(|sample| sample.at_ms > 30_000) {
            sample.planned_until_ms = (sample.at_ms + 3_000).max(58_000);
        }
    });
    assert_eq!(found, [(Fault::NotNormal, "F0".into())]);
}

#[test]
fn arming_that_stays_short_after_healing_is_caught() {
    let found = seeded(|record| {
        for armed in record.arms.iter_mut().filter(|armed| armed.due_us > 30_000_000) {
            armed.at_us = armed.due_us - 200_000;
        }
    });
    assert_eq!(found, [(Fault::NotNormal, "F0".into())]);
}

/// Nobody can arm long before its time what is made shortly before it.
#[test]
fn a_job_that_was_made_just_before_its_first_fire_is_no_sign_of_arming_that_stays_short() {
    let found = |made_ms: i64| {
        seeded(|record| {
            let slow = Periodic { period_ms: 1_000_000, offset_ms: 45_900 };
            let made = Version {
                schedule: Some(slow),
                sent_ms: made_ms - 5,
                effective_ms: (made_ms, made_ms),
                acknowledged_ms: Some(made_ms + 15),
                ..Version::default()
            };
            record.jobs.push(JobHistory { job: 7, group: "101-1-3-1".into(), versions: vec![made] });
            fires(record, 7, 45_900, None);
            record.arms.last_mut().unwrap().at_us = 45_300_000;
        })
    };
    assert_eq!(found(45_200), []);
    assert_eq!(found(30_000), [(Fault::NotNormal, "F0".into())]);
}

#[test]
fn what_the_case_found_counts() {
    assert_eq!(
        seeded(|record| record.broken.push("a page did not answer".into())),
        [(Fault::Promise, "F0".into())]
    );
}

#[test]
fn an_unanswered_change_during_a_fault_excuses_its_job_until_somebody_can_have_taken_over_and_no_other() {
    let with = |answered: bool, changed_at: i64, missed: &str| {
        seeded(|record| {
            let change = &mut record.jobs[1].versions[1];
            let times = (changed_at, changed_at + 20);
            (change.sent_ms, change.effective_ms, change.acknowledged_ms) =
                (times.0, times, answered.then_some(times.1));
            for line in record.lines.iter_mut().filter(|line| line.job == EDITED && line.mark.is_some()) {
                line.mark = Some(u64::from(line.fire_time_ms > changed_at));
            }
            never_started(record, missed, "late");
        })
        .len()
    };
    assert_eq!(with(false, 25_000, "2-30500"), 0);
    assert_eq!(with(true, 25_000, "2-30500"), 1, "it was answered");
    assert_eq!(with(false, 25_000, "1-30000"), 1, "another job");
    assert_eq!(with(false, 25_000, "2-42500"), 1, "too long after it");
    assert_eq!(with(false, 45_000, "2-48500"), 1, "no fault");
}

#[test]
fn a_change_that_was_committed_as_the_database_died_is_excused_while_it_is_away_if_its_answer_tells_of_it() {
    let with = |listed: bool, away: (i64, i64), missed: &str| {
        seeded(|record| {
            record.database_away.push(away);
            if listed {
                record.jobs[1].versions[1].may_still_start.insert("2-42500".into());
            }
            never_started(record, missed, "late");
        })
        .len()
    };
    let away = (40_310, 60_000);
    assert_eq!(with(true, away, "2-50500"), 0);
    assert_eq!(with(false, away, "2-50500"), 1, "everybody knew of it");
    assert_eq!(with(true, away, "1-50000"), 1, "another job");
    assert_eq!(with(true, away, "2-38500"), 1, "the version before");
    assert_eq!(with(true, (55_000, 59_000), "2-50500"), 1, "long before the database died");
    assert_eq!(with(true, (20_000, 30_000), "2-50500"), 1, "after it was back");
}

#[test]
fn a_soak_tolerates_its_share_and_no_more() {
    let with = |share| {
        seeded(|record| {
            start_of(record, "1-25000").at_us += 1_500_000;
            record.tolerated_share = share;
        })
        .len()
    };
    assert_eq!((with(0.02), with(0.01)), (0, 1), "one late fire of 90");
}

#[test]
fn a_record_is_the_same_after_it_was_kept() {
    let record = fine();
    let kept: Record = serde_json::from_slice(&serde_json::to_vec(&record).unwrap()).unwrap();
    assert_eq!(serde_json::to_value(&kept).unwrap(), serde_json::to_value(&record).unwrap());
}

#[test]
fn a_pause_takes_along_what_a_change_that_took_effect_late_had_planned_into_the_past() {
    let found = |answered_ms: i64| {
        seeded(|record| {
            let versions = &mut record.jobs[1].versions;
            versions[1].acknowledged_ms = Some(answered_ms);
            let pause = Version {
                mark: 2,
                schedule: None,
                sent_ms: 43_000,
                effective_ms: (43_005, 43_005),
                acknowledged_ms: Some(43_020),
                ..Version::default()
            };
            versions.push(pause);
            for run in record.runs.iter_mut().filter(|run| run.job == EDITED && run.fire_time_ms > 40_300) {
                (run.state, run.reason, run.started_ms) = ("cancelled".into(), "paused".into(), None);
            }
            record.lines.retain(|line| line.job != EDITED || line.fire_time_ms < 40_300);
            record.arms.retain(|arm| !arm.run.starts_with("2-4") && !arm.run.starts_with("2-5"));
        })
    };
    assert_eq!(
        found(42_900),
        [],
        "the fire at 40.5 s was planned at 42.9 s, and 42.5 s is just before the pause"
    );
    assert_eq!(found(40_320), [(Fault::NotStarted, "2-40500".into())]);
}

/// An edit that finds a fire waiting plans it anew, and so the pause after it finds it waiting, too.
#[test]
fn a_fire_that_waits_from_change_to_change_may_be_paused_at_last_and_no_other() {
    let found = |edited_again_ms: i64| {
        seeded(|record| {
            record.change_bound_ms = Some(3_000);
            let versions = &mut record.jobs[1].versions;
            let schedule = versions[1].schedule;
            for (mark, schedule, sent_ms) in [(2, schedule, edited_again_ms), (3, None, 45_600)] {
                versions.push(Version {
                    mark,
                    schedule,
                    sent_ms,
                    effective_ms: (sent_ms + 5, sent_ms + 5),
                    acknowledged_ms: Some(sent_ms + 20),
                    ..Version::default()
                });
            }
            for run in record.runs.iter_mut().filter(|run| run.job == EDITED && run.fire_time_ms > 40_300) {
                (run.state, run.reason, run.started_ms) = ("cancelled".into(), "paused".into(), None);
            }
            record.lines.retain(|line| line.job != EDITED || line.fire_time_ms < 40_300);
            record.arms.retain(|arm| !arm.run.starts_with("2-4") && !arm.run.starts_with("2-5"));
        })
    };
    assert_eq!(found(42_800), []);
    let lost = |fire: i64| (Fault::NotStarted, id(EDITED, fire));
    assert_eq!(found(44_600), [lost(40_500), lost(42_500)], "they should have started by 43.5 s");
}

#[test]
fn more_time_for_changes_is_none_for_other_fires() {
    let late = |record: &mut Record, id: &str| {
        record.change_bound_ms = Some(3_000);
        start_of(record, id).at_us += 2_500_000;
    };
    assert_eq!(seeded(|record| late(record, "2-40500")), []);
    assert_eq!(seeded(|record| late(record, "1-25000")), [(Fault::TooLate, "1-25000".into())]);
}
