//! The checker is right about what is right, and catches every kind of wrong: each test seeds one bug into a history that is fine.

use super::*;

const JOB: u32 = 7;

/// Three fires two seconds apart: the first two succeed, the third needs a second attempt after its worker was lost.
fn fine() -> History {
    let fires = vec![2_000, 4_000, 6_000];
    let mut history =
        History { expected: vec![Expected { job: JOB, fires: fires.clone() }], ..History::default() };
    for fire in fires {
        history.runs.push(run(fire));
        history.lines.push(line(fire, 1, Event::Started, 5));
        history.lines.push(line(fire, 1, Event::Succeeded, 15));
    }
    history.lines.pop();
    history.lines.push(line(6_000, 2, Event::Started, 3_000));
    history.lines.push(line(6_000, 2, Event::Succeeded, 3_010));
    let retried = &mut history.runs[2];
    retried.attempt = 2;
    retried.past = vec![Attempt { number: 1, reason: "worker_lost".into() }];
    history
}

fn run(fire: i64) -> RunRecord {
    RunRecord {
        id: format!("run-{fire}"),
        job: JOB,
        trigger: "schedule".into(),
        fire_time_ms: fire,
        state: "succeeded".into(),
        reason: String::new(),
        attempt: 1,
        past: Vec::new(),
        started_ms: Some(fire + 5),
        worker: "one".into(),
    }
}

fn line(fire: i64, attempt: u32, event: Event, after_ms: i64) -> Line {
    Line {
        event,
        phase: Phase::Run,
        run: format!("run-{fire}"),
        job: JOB,
        attempt,
        subtask: None,
        fire_time_ms: fire,
        worker: "one".into(),
        pid: 1,
        trace: String::new(),
        mark: None,
        at_us: (fire + after_ms) * 1_000,
    }
}

/// What is found after a bug was seeded: the faults with whose they are.
fn seeded(bug: impl FnOnce(&mut History)) -> Vec<(Fault, String)> {
    let mut history = fine();
    bug(&mut history);
    history.violations().into_iter().map(|violation| (violation.fault, violation.whose)).collect()
}

fn of_first(fault: Fault) -> Vec<(Fault, String)> {
    vec![(fault, "run-2000".to_owned())]
}

#[test]
fn a_history_without_fault_has_no_violations() {
    assert_eq!(fine().violations(), []);
}

#[test]
fn lateness_counts_first_starts_only() {
    let lateness = fine().lateness();
    assert_eq!(lateness.count(), 3);
    assert!((4.9..5.1).contains(&lateness.max_ms()), "{lateness}");
    assert_eq!(fine().lateness_between(2_000, 4_000).count(), 1);
}

#[test]
fn a_lost_fire_is_caught() {
    let found = seeded(|history| {
        history.runs.remove(0);
        history.lines.retain(|line| line.fire_time_ms != 2_000);
    });
    assert_eq!(found, [(Fault::Lost, "job 7 at 2000".to_owned())]);
}

#[test]
fn a_fire_with_two_rows_is_caught() {
    let found = seeded(|history| {
        let twin = RunRecord { id: "twin".into(), ..run(2_000) };
        history.runs.push(twin);
        let mut lines: Vec<Line> = history.lines[..2].to_vec();
        lines.iter_mut().for_each(|line| line.run = "twin".into());
        history.lines.extend(lines);
    });
    assert_eq!(found, [(Fault::Doubled, "job 7 at 2000".to_owned())]);
}

#[test]
fn a_run_between_fires_is_caught_but_one_on_request_is_fine() {
    let between = |trigger: &str| {
        seeded(|history| {
            history.runs.push(RunRecord { trigger: trigger.into(), ..run(3_000) });
            history.lines.extend([line(3_000, 1, Event::Started, 1), line(3_000, 1, Event::Succeeded, 2)]);
        })
    };
    assert_eq!(between("schedule"), [(Fault::Unexpected, "run-3000".to_owned())]);
    assert_eq!(between("api"), []);
}

#[test]
fn a_start_without_a_row_is_caught() {
    let found = seeded(|history| history.lines.push(line(9_000, 1, Event::Started, 1)));
    assert_eq!(found, [(Fault::UnknownRun, "run-9000".to_owned())]);
}

#[test]
fn an_early_start_is_caught() {
    let found = seeded(|history| history.lines[0].at_us = 1_979_000);
    assert_eq!(found, of_first(Fault::TooEarly));
    assert_eq!(seeded(|history| history.lines[0].at_us = 1_981_000), []);
}

#[test]
fn an_attempt_started_twice_is_caught() {
    let found = seeded(|history| {
        history.lines.push(Line { worker: "two".into(), ..line(2_000, 1, Event::Started, 9) })
    });
    assert_eq!(found, of_first(Fault::StartedTwice));
}

#[test]
fn a_try_of_a_subtask_started_twice_is_caught_but_its_next_try_is_fine() {
    let subtask = |tries: [u32; 2]| {
        seeded(|history| {
            for attempt in tries {
                history.lines.push(Line {
                    phase: Phase::Process,
                    subtask: Some((4, attempt)),
                    ..line(2_000, 1, Event::Started, 9)
                });
            }
        })
    };
    assert_eq!(subtask([1, 2]), []);
    assert_eq!(subtask([1, 1]), of_first(Fault::StartedTwice));
}

#[test]
fn an_attempt_that_the_row_does_not_have_is_caught() {
    let found = seeded(|history| history.lines.push(line(2_000, 2, Event::Started, 9)));
    assert_eq!(found, of_first(Fault::AttemptBeyondRow));
}

#[test]
fn an_attempt_without_a_cause_is_caught() {
    let missing = vec![(Fault::AttemptWithoutCause, "run-6000".to_owned())];
    assert_eq!(seeded(|history| history.runs[2].past.clear()), missing);
    assert_eq!(seeded(|history| history.runs[2].past[0].reason.clear()), missing);
}

#[test]
fn a_run_that_never_ends_is_caught() {
    for state in ["planned", "running"] {
        let found = seeded(|history| history.runs[0].state = state.into());
        assert_eq!(found, of_first(Fault::NotFinal));
    }
}

#[test]
fn a_success_that_nobody_had_is_caught() {
    let found = seeded(|history| history.lines.retain(|line| line.run != "run-2000"));
    assert_eq!(found, of_first(Fault::Disagrees));
    let found = seeded(|history| history.lines[1].event = Event::Failed);
    assert_eq!(found, of_first(Fault::Disagrees));
}

#[test]
fn a_success_that_was_forgotten_is_caught_unless_its_worker_was_lost() {
    let dead = |reason: &str| {
        seeded(|history| {
            history.runs[0].state = "dead".into();
            history.runs[0].reason = reason.into();
        })
    };
    assert_eq!(dead("handler_failed"), of_first(Fault::Disagrees));
    assert_eq!(dead("worker_lost"), []);
}

#[test]
fn a_start_of_a_run_that_was_not_to_start_is_caught() {
    for (state, reason) in [("skipped", "overlap"), ("missed", "no_worker"), ("cancelled", "edited")] {
        let found = seeded(|history| {
            history.lines.retain(|line| line.run != "run-2000" || line.event == Event::Started);
            let run = &mut history.runs[0];
            (run.state, run.reason, run.started_ms) = (state.into(), reason.into(), None);
        });
        assert_eq!(found, of_first(Fault::Disagrees), "{state}");
    }
}

#[test]
fn a_retry_after_a_success_is_caught() {
    let found = seeded(|history| {
        history.lines.push(line(6_000, 1, Event::Succeeded, 10));
        history.runs[2].past[0].reason = "handler_failed".into();
    });
    assert_eq!(found, [(Fault::Disagrees, "run-6000".to_owned())]);
}

#[test]
fn an_end_without_a_reason_is_caught() {
    for state in ["skipped", "missed", "cancelled", "dead", "failed", "timed_out"] {
        let found = seeded(|history| {
            history.lines.retain(|line| line.run != "run-2000");
            history.runs[0].state = state.into();
        });
        assert_eq!(found, of_first(Fault::NoReason));
    }
}
