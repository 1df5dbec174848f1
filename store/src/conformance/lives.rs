//! Steps in the lives of runs: invariants I3, I5 and I6.

use carillon_core::ids::{AttemptNo, RunKey};
use carillon_core::job::Job;
use carillon_core::run::{MAX_RESULT_BYTES, Reason, ReasonCode, Run, RunState};
use carillon_core::time::Span;
use serde_json::json;

use super::fixture::{
    Fixture, ended, ended_because, expect_edited, note, patiently, record, retry, server, started, worker,
};
use crate::catalog::JobChange;
use crate::runs::{Advance, Insertion, Move, Step};
use crate::shards::ClaimCause;
use crate::{SharedStore, StoreError};

/// Every pair of states, with and without a lost worker, against the table in the core.
pub async fn every_transition_is_legal_or_refused(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let mut second = 0;
    for before in RunState::ALL {
        for reason in [
            None,
            Some(ReasonCode::WorkerLost),
            Some(ReasonCode::NoWorker),
            Some(ReasonCode::Paused),
            Some(ReasonCode::Misfire),
        ] {
            for after in RunState::ALL.into_iter().filter(|state| *state != RunState::Planned) {
                second += 1;
                let mut run = fixture.run(job.id, second);
                run.state = before;
                run.reason = reason.map(|code| Reason::new(code, "before"));
                fixture.insert(run.clone()).await;
                let step = if after == RunState::Running {
                    started(fixture.at(second))
                } else {
                    ended(after, fixture.at(second))
                };
                let legal = before.can_become(after) || before.can_be_corrected_to(after, reason);
                let changed = fixture.advance(run.key, 1, step).await;
                assert_eq!(changed, legal, "{before} with {reason:?} to {after}");
                let expected = if legal { after } else { before };
                assert_eq!(fixture.read(run.key).await.state, expected);
            }
        }
    }
}

/// Reports come twice, late and out of order; a row only goes forward.
pub async fn repeated_and_late_steps_change_nothing(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let run = fixture.insert(fixture.run(job.id, 1)).await;
    assert!(fixture.advance(run.key, 1, started(fixture.at(1))).await);
    assert!(!fixture.advance(run.key, 1, started(fixture.at(2))).await, "started twice");
    assert_eq!(fixture.read(run.key).await.started_at, Some(fixture.at(1)));
    assert!(fixture.advance(run.key, 1, ended(RunState::Succeeded, fixture.at(3))).await);
    let done = fixture.read(run.key).await;
    assert_eq!((done.started_at, done.finished_at), (Some(fixture.at(1)), Some(fixture.at(3))));
    for late in [
        started(fixture.at(4)),
        ended(RunState::Succeeded, fixture.at(4)),
        ended(RunState::Failed, fixture.at(4)),
        ended(RunState::Running, fixture.at(4)),
        retry(&done, fixture.at(4)),
    ] {
        assert!(!fixture.advance(run.key, 1, late).await);
    }
    assert!(
        !fixture.advance(run.key, 2, ended(RunState::Failed, fixture.at(4))).await,
        "no such attempt yet"
    );
    assert_eq!(fixture.read(run.key).await, done);
}

/// Start and end may come in one batch, and the end without the start.
pub async fn the_steps_of_one_run_apply_in_order(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let run = fixture.insert(fixture.run(job.id, 1)).await;
    let other = fixture.insert(fixture.run(job.id, 2)).await;
    let step = |key: RunKey, step: Step| Advance { key, attempt: AttemptNo::FIRST, step, fence: None };
    let result = Step::Final {
        state: RunState::Succeeded,
        started_at: Some(fixture.at(3)),
        at: fixture.at(4),
        reason: None,
        result: Some(json!({"rows": 17})),
        seen: None,
    };
    let steps = [
        step(run.key, started(fixture.at(1))),
        step(run.key, ended(RunState::Failed, fixture.at(2))),
        step(run.key, ended(RunState::Succeeded, fixture.at(2))),
        step(other.key, result),
        step(other.key, started(fixture.at(3))),
    ];
    assert_eq!(fixture.store.advance(&steps).await.unwrap(), [true, true, false, true, false]);
    assert_eq!(fixture.read(run.key).await.state, RunState::Failed);
    let other = fixture.read(other.key).await;
    assert_eq!((other.started_at, other.result), (Some(fixture.at(3)), Some(json!({"rows": 17}))));
}

/// The attempt is recorded with its cause; the run is planned again under a larger plan number.
pub async fn a_retry_records_the_attempt_and_plans_the_next(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let planned = fixture.insert(fixture.run(job.id, 1)).await;
    assert!(fixture.advance(planned.key, 1, started(fixture.at(1))).await);
    let running = fixture.read(planned.key).await;
    let step = retry(&running, fixture.at(2));

    let mut stale = running.clone();
    stale.plan_no = carillon_core::ids::PlanNo::new(0);
    assert!(!fixture.advance(running.key, 1, retry(&stale, fixture.at(2))).await, "a plan number went back");
    assert!(fixture.advance(running.key, 1, step.clone()).await);
    assert!(!fixture.advance(running.key, 1, step).await, "the same retry again");

    let again = fixture.read(running.key).await;
    assert_eq!((again.state, again.attempt.get(), again.plan_no.get()), (RunState::Planned, 2, 2));
    assert_eq!((again.worker, again.due_at), (Some(worker(2)), fixture.at(12)));
    assert_eq!((again.started_at, again.finished_at, &again.reason), (None, None, &None));
    let attempts = fixture.store.attempts(running.key).await.unwrap();
    assert_eq!(attempts, [record(&running, fixture.at(2), ReasonCode::HandlerFailed)]);

    // A worker that was lost before it started: from planned to the next attempt.
    assert!(fixture.advance(again.key, 2, retry(&again, fixture.at(20))).await);
    let numbers: Vec<u32> =
        fixture.store.attempts(again.key).await.unwrap().iter().map(|one| one.attempt.get()).collect();
    assert_eq!(numbers, [1, 2]);
}

/// The end of attempt 1 says nothing about attempt 2.
pub async fn a_late_end_of_a_retried_attempt_is_ignored(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let run = fixture.insert(fixture.run(job.id, 1)).await;
    assert!(fixture.advance(run.key, 1, retry(&run, fixture.at(2))).await);
    let again = fixture.read(run.key).await;
    assert!(!fixture.advance(run.key, 1, started(fixture.at(3))).await);
    assert!(!fixture.advance(run.key, 1, ended(RunState::Succeeded, fixture.at(3))).await);
    assert_eq!(fixture.read(run.key).await, again);
}

/// What a lost worker tells later completes the record of its attempt, once.
pub async fn late_news_completes_the_record_once(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let run = fixture.insert(fixture.run(job.id, 1)).await;
    let news = || Step::LateNews {
        started_at: Some(fixture.at(1)),
        detail: "it succeeded at 09:00:05 all the same".to_owned(),
    };
    assert!(!fixture.advance(run.key, 1, news()).await, "the attempt is still the current one");
    assert!(fixture.advance(run.key, 1, retry(&run, fixture.at(2))).await);
    assert!(fixture.advance(run.key, 1, news()).await);
    assert!(!fixture.advance(run.key, 1, news()).await, "the same news again");
    let record = fixture.store.attempts(run.key).await.unwrap().remove(0);
    assert_eq!(record.started_at, Some(fixture.at(1)));
    let detail = record.reason.detail;
    assert!(detail.starts_with("the attempt ended") && detail.ends_with("all the same"), "{detail}");
    assert_eq!(detail.matches("all the same").count(), 1);
    let again = fixture.read(run.key).await;
    assert_eq!((again.state, again.attempt.get()), (RunState::Planned, 2));
}

/// A run that was ended for want of news becomes what its worker says it is.
pub async fn a_presumption_is_corrected_by_the_truth(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let run = fixture.insert(fixture.run(job.id, 1)).await;
    let lost = ended_because(RunState::Missed, fixture.at(30), ReasonCode::WorkerLost);
    assert!(fixture.advance(run.key, 1, lost).await);
    assert!(!fixture.advance(run.key, 1, started(fixture.at(1))).await, "its end may never come");
    let Step::Final { state, at, reason, result, .. } = ended(RunState::Succeeded, fixture.at(40)) else {
        panic!("an end");
    };
    let truth = Step::Final { state, started_at: Some(fixture.at(1)), at, reason, result, seen: None };
    assert!(fixture.advance(run.key, 1, truth).await);
    let done = fixture.read(run.key).await;
    assert_eq!((done.state, done.started_at, done.reason), (RunState::Succeeded, Some(fixture.at(1)), None));
    assert!(!fixture.advance(run.key, 1, ended(RunState::Failed, fixture.at(41))).await);
}

/// A run that an edit cancelled in the moment in which it started becomes what its worker says it is.
pub async fn an_edit_that_came_too_late_is_corrected_by_the_truth(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    for reason in [ReasonCode::Edited, ReasonCode::Paused, ReasonCode::Deleted] {
        let run = fixture.insert(fixture.run(job.id, u64::from(reason.code()))).await;
        assert!(
            fixture.advance(run.key, 1, ended_because(RunState::Cancelled, fixture.at(30), reason)).await
        );
        assert!(!fixture.advance(run.key, 1, started(fixture.at(30))).await, "its end may never come");
        assert!(fixture.advance(run.key, 1, ended(RunState::Succeeded, fixture.at(40))).await, "{reason:?}");
        let done = fixture.read(run.key).await;
        assert_eq!((done.state, done.reason), (RunState::Succeeded, None));
    }
}

/// People take care of dead letters: retry or discard, once.
pub async fn a_dead_letter_is_reopened_or_discarded(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let run = fixture.insert(fixture.run(job.id, 1)).await;
    let reopen = |run: &carillon_core::run::Run| Step::Reopen {
        ended: record(run, fixture.at(5), ReasonCode::HandlerFailed),
        due_at: fixture.at(60),
        start_by: fixture.at(90),
        worker: None,
        plan_no: run.plan_no.next(),
    };
    assert!(!fixture.advance(run.key, 1, reopen(&run)).await, "a planned run is no dead letter");
    assert!(!fixture.store.discard_dead_letter(run.key, "ada", fixture.at(5)).await.unwrap());
    let dead = ended_because(RunState::Dead, fixture.at(5), ReasonCode::HandlerFailed);
    assert!(fixture.advance(run.key, 1, dead.clone()).await);
    let dead_run = fixture.read(run.key).await;
    assert!(fixture.advance(run.key, 1, reopen(&dead_run)).await);
    assert!(!fixture.advance(run.key, 1, reopen(&dead_run)).await, "reopened twice");
    let open = fixture.read(run.key).await;
    assert_eq!((open.state, open.attempt.get(), open.worker), (RunState::Planned, 2, None));

    assert!(fixture.advance(run.key, 2, dead).await);
    assert!(fixture.store.discard_dead_letter(run.key, "ada", fixture.at(99)).await.unwrap());
    assert!(!fixture.store.discard_dead_letter(run.key, "ada", fixture.at(99)).await.unwrap());
    let gone = fixture.read(run.key).await;
    assert_eq!((gone.state, gone.finished_at), (RunState::Cancelled, Some(fixture.at(5))));
    let reason = gone.reason.unwrap();
    assert_eq!(reason.code, ReasonCode::Discarded);
    assert!(reason.detail.contains("ada"), "{reason}");
}

/// A step or a move of a run that nobody planned makes no row.
pub async fn unknown_runs_are_not_invented(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let run = fixture.run(job.id, 1);
    assert!(!fixture.advance(run.key, 1, started(fixture.at(1))).await);
    assert!(!fixture.advance(run.key, 1, ended(RunState::Succeeded, fixture.at(1))).await);
    assert!(!fixture.advance(run.key, 1, retry(&run, fixture.at(1))).await);
    let step =
        Move { key: run.key, attempt: run.attempt, seen: run.plan_no, to: worker(2), fence: run.fence() };
    assert_eq!(fixture.store.move_runs(&[step]).await.unwrap(), [false]);
    assert_eq!(fixture.store.run(run.key).await.unwrap(), None);
    assert_eq!(fixture.store.attempts(run.key).await.unwrap(), []);
    assert_eq!(fixture.store.advance(&[]).await.unwrap(), [false; 0]);
}

/// Servers that store reports of the same runs at the same time, in opposite orders: one end each.
pub async fn racing_ends_leave_one(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let runs = fixture.plan(job.id, 1..=50).await;
    let finish = |state: RunState, backwards: bool| {
        let mut steps: Vec<Advance> = runs
            .iter()
            .map(|run| Advance {
                key: run.key,
                attempt: AttemptNo::FIRST,
                step: ended(state, run.due_at + Span::from_secs(1)),
                fence: None,
            })
            .collect();
        if backwards {
            steps.reverse();
        }
        let store = fixture.store.clone();
        tokio::spawn(async move { patiently(|| store.advance(&steps)).await })
    };
    let one = finish(RunState::Succeeded, false);
    let two = finish(RunState::Failed, true);
    let one = one.await.unwrap();
    let mut two = two.await.unwrap();
    two.reverse();
    for ((run, one), two) in runs.iter().zip(one).zip(two) {
        assert!(one ^ two, "one of the two ended it");
        let expected = if one { RunState::Succeeded } else { RunState::Failed };
        assert_eq!(fixture.read(run.key).await.state, expected);
    }
}

/// A run leaves a worker only from the plan that was read, once, and only while it is planned.
pub async fn a_move_needs_the_plan_number_that_was_read(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let mut run = fixture.run(job.id, 1);
    run.reason = Some(Reason::new(ReasonCode::Misfire, "late"));
    run.params = Some(json!([1]));
    let run = fixture.insert(run).await;
    let to = |number: u64, seen: u32, attempt: u32| Move {
        key: run.key,
        attempt: AttemptNo::new(attempt),
        seen: carillon_core::ids::PlanNo::new(seen),
        to: worker(number),
        fence: run.fence(),
    };
    let moves = [to(7, 0, 1), to(7, 2, 1), to(7, 1, 2), to(8, 1, 1), to(9, 1, 1), to(9, 2, 1)];
    let moved = fixture.store.move_runs(&moves).await.unwrap();
    assert_eq!(moved, [false, false, false, true, false, true]);
    let mut expected = run.clone();
    expected.worker = Some(worker(9));
    expected.plan_no = carillon_core::ids::PlanNo::new(3);
    assert_eq!(fixture.read(run.key).await, expected, "nothing else changed");
    assert!(fixture.advance(run.key, 1, started(fixture.at(1))).await);
    assert_eq!(fixture.store.move_runs(&[to(4, 3, 1)]).await.unwrap(), [false], "it runs");

    // Two owners move it at once: one wins.
    let run = fixture.insert(fixture.run(job.id, 2)).await;
    let race = |number: u64| {
        let store = fixture.store.clone();
        let step = Move {
            key: run.key,
            attempt: run.attempt,
            seen: run.plan_no,
            to: worker(number),
            fence: run.fence(),
        };
        tokio::spawn(async move { patiently(|| store.move_runs(std::slice::from_ref(&step))).await[0] })
    };
    let (one, two) = (race(11), race(12));
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    assert!(one ^ two);
    assert_eq!(fixture.read(run.key).await.worker, Some(worker(if one { 11 } else { 12 })));
}

/// What an owner decides is worth nothing under an epoch that is over; what a worker reported is true whoever brings it.
pub async fn a_replaced_owner_decides_nothing(store: SharedStore) {
    let fixture = Fixture::new(store.clone()).await;
    let job = fixture.job("job").await;
    let (run, other) = (fixture.run(job.id, 1), fixture.run(job.id, 2));
    let (run, other) = (fixture.insert(run).await, fixture.insert(other).await);
    let gone = note(fixture.at(1), ClaimCause::OwnerGone);
    let epoch = store.claim(fixture.shard, run.epoch, &server("server-2"), &gone).await.unwrap().unwrap();

    let decided = |run: &Run, fence| Advance {
        key: run.key,
        attempt: AttemptNo::FIRST,
        step: ended(RunState::Skipped, fixture.at(2)),
        fence,
    };
    let fact = |run: &Run| Advance { step: started(fixture.at(2)), ..decided(run, None) };
    let steps = [decided(&run, Some(run.fence())), fact(&other)];
    assert_eq!(store.advance(&steps).await.unwrap(), [false, true]);
    assert_eq!(fixture.read(run.key).await, run);
    let stale =
        Move { key: run.key, attempt: run.attempt, seen: run.plan_no, to: worker(5), fence: run.fence() };
    let fresh = Move { fence: carillon_core::change::Fence { epoch, ..run.fence() }, ..stale };
    assert_eq!(store.move_runs(&[stale, fresh]).await.unwrap(), [false, true]);

    let late = fixture.run(job.id, 3);
    assert_eq!(store.insert_runs(std::slice::from_ref(&late)).await.unwrap(), [Insertion::Fenced]);
    assert_eq!(store.run(late.key).await.unwrap(), None);
    let current = Run { epoch, ..late.clone() };
    assert_eq!(
        store.insert_runs(&[run.clone(), current]).await.unwrap(),
        [Insertion::Existing(run.key), Insertion::New]
    );
    let asked = crate::runs::TriggeredRun {
        run: Run { key: RunKey::triggered(job.id, fixture.at(4), "k"), ..late },
        idempotency_key: "k".into(),
    };
    assert_eq!(store.insert_triggered(&[asked]).await.unwrap(), [Insertion::Fenced]);
    let decided = decided(&run, Some(carillon_core::change::Fence { epoch, ..run.fence() }));
    assert_eq!(store.advance(&[decided]).await.unwrap(), [true]);
}

/// A row that is due now and was decided without knowing of an edit is not inserted: it would run the old version of the job, and the edit's
/// answer does not speak of it.
pub async fn a_row_that_is_due_now_holds_only_for_the_version_of_its_job(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let store = &fixture.store;
    let job = fixture.job("job").await;
    let (run, late) = (fixture.run(job.id, 1), fixture.run(job.id, 2));
    let asked = |run: &Run, key: &str| crate::runs::TriggeredRun {
        run: Run { key: RunKey::triggered(job.id, fixture.at(4), key), ..run.clone() },
        idempotency_key: key.into(),
    };
    let run = fixture.insert(run).await;
    assert_eq!(store.insert_triggered(&[asked(&run, "before")]).await.unwrap(), [Insertion::New]);

    let edited = Job { version: job.version.next(), ..job.clone() };
    let change = JobChange::Replace { seen: job.version, job: edited };
    let edit = fixture
        .edit(change, fixture.at(3), vec![Run { job_version: job.version.next(), ..run.clone() }])
        .await;
    expect_edited(store.edit_job(&edit).await);
    assert_eq!(
        store.insert_runs(&[run.clone(), late.clone()]).await.unwrap(),
        [Insertion::Existing(run.key), Insertion::Fenced]
    );
    assert_eq!(store.run(late.key).await.unwrap(), None);
    let again = store.insert_triggered(&[asked(&run, "before"), asked(&run, "after")]).await.unwrap();
    assert_eq!(again, [Insertion::Existing(asked(&run, "before").run.key), Insertion::Fenced]);
    let edited = Run { job_version: job.version.next(), ..late };
    assert_eq!(store.insert_runs(std::slice::from_ref(&edited)).await.unwrap(), [Insertion::New]);
    assert_eq!(store.insert_triggered(&[asked(&edited, "after")]).await.unwrap(), [Insertion::New]);
}

/// A next attempt that was planned without knowing of an edit is not applied: it would run the old version of the job.
pub async fn a_next_attempt_holds_only_for_the_job_set_it_was_planned_with(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let run = fixture.insert(fixture.run(job.id, 1)).await;
    assert!(fixture.advance(run.key, 1, started(fixture.at(1))).await);
    let jobs_version = fixture.store.shard(fixture.shard).await.unwrap().unwrap().jobs_version;
    let next = |jobs_version| Advance {
        key: run.key,
        attempt: AttemptNo::FIRST,
        step: retry(&run, fixture.at(2)),
        fence: Some(carillon_core::change::Fence { jobs_version: Some(jobs_version), ..run.fence() }),
    };
    fixture.job("another").await;
    assert_eq!(fixture.store.advance(&[next(jobs_version)]).await.unwrap(), [false]);
    assert_eq!(fixture.read(run.key).await.attempt, AttemptNo::FIRST);
    assert_eq!(fixture.store.advance(&[next(jobs_version.next())]).await.unwrap(), [true]);
}

/// An owner's end of a run holds for the plan that it decided about: one whose move took effect unseen may start at another worker. What a
/// worker says holds for any.
pub async fn an_end_that_was_decided_holds_only_for_the_plan_that_was_seen(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let run = fixture.insert(fixture.run(job.id, 1)).await;
    let moved = Move {
        key: run.key,
        attempt: AttemptNo::FIRST,
        seen: run.plan_no,
        to: worker(2),
        fence: run.fence(),
    };
    assert_eq!(fixture.store.move_runs(&[moved]).await.unwrap(), [true]);
    let missed = |seen| Step::Final {
        state: RunState::Missed,
        started_at: None,
        at: fixture.at(30),
        reason: Some(Reason::new(ReasonCode::TooLate, "of a promise")),
        result: None,
        seen: Some(seen),
    };
    assert!(!fixture.advance(run.key, 1, missed(run.plan_no)).await);
    assert_eq!(fixture.read(run.key).await.state, RunState::Planned);
    assert!(fixture.advance(run.key, 1, missed(run.plan_no.next())).await);
    let other = fixture.insert(fixture.run(job.id, 2)).await;
    let moved = Move { key: other.key, ..moved };
    assert_eq!(fixture.store.move_runs(&[moved]).await.unwrap(), [true]);
    assert!(fixture.advance(other.key, 1, ended(RunState::Succeeded, fixture.at(4))).await);
}

/// A batch with a result that is too large is refused as a whole.
pub async fn a_result_beyond_the_limit_is_refused(store: SharedStore) {
    let fixture = Fixture::new(store).await;
    let job = fixture.job("job").await;
    let run = fixture.insert(fixture.run(job.id, 1)).await;
    let with_result = |bytes: usize| Step::Final {
        state: RunState::Succeeded,
        started_at: None,
        at: fixture.at(2),
        reason: None,
        result: Some(json!("x".repeat(bytes - 2))),
        seen: None,
    };
    let step = |step| Advance { key: run.key, attempt: AttemptNo::FIRST, step, fence: None };
    let steps = [step(started(fixture.at(1))), step(with_result(MAX_RESULT_BYTES + 1))];
    let refused = fixture.store.advance(&steps).await.unwrap_err();
    assert!(matches!(refused, StoreError::LimitExceeded { .. }), "{refused}");
    assert_eq!(fixture.read(run.key).await, run, "the start in the same batch is undone");
    assert!(fixture.advance(run.key, 1, with_result(MAX_RESULT_BYTES)).await);
    assert_eq!(fixture.read(run.key).await.result, Some(json!("x".repeat(MAX_RESULT_BYTES - 2))));
}
