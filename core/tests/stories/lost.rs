//! Workers that are lost or have left: what becomes of the runs that their rows still name them for.

use carillon_core::engine::{Effect, Input, JobSnapshot, Refusal, ReportKind};
use carillon_core::ids::{JobVersion, JobsVersion, RunKey};
use carillon_core::job::Job;
use carillon_core::run::Run;
use serde_json::json;

use crate::scene::{ANN, EPOCH, JOB, Scene, job, run};

/// The job and the run as an edit leaves them.
fn edited(job: &Job, run: &Run) -> (Job, Run) {
    let version = JobVersion::new(2);
    let replanned = Run { plan_no: run.plan_no.next(), job_version: version, ..run.clone() };
    (Job { version, ..job.clone() }, replanned)
}

fn changed(run: &Run) -> Input {
    Input::JobsChanged { jobs_version: JobsVersion::new(2), job: JOB, touched: vec![run.key] }
}

fn read((job, run): (Job, Run)) -> Input {
    Input::JobRead(Box::new(JobSnapshot {
        job: job.id,
        epoch: EPOCH,
        jobs_version: JobsVersion::new(2),
        version: job.version,
        in_force: Some(job),
        open_runs: vec![run],
        last_final: None,
    }))
}

fn next_attempts<'a>(effects: impl IntoIterator<Item = &'a Effect>) -> Vec<RunKey> {
    let attempt = |effect: &Effect| match effect {
        Effect::NextAttempt { advance, .. } => Some(advance.key),
        _ => None,
    };
    effects.into_iter().filter_map(attempt).collect()
}

/// The edit keeps the run at the worker that its row named; nothing will be heard of that one any longer, and the fire is near.
#[test]
fn what_an_edit_gives_back_to_a_lost_worker_goes_on_at_once() {
    let retried = job(json!({"worker_lost": "retry"}));
    let far = run(20.0, ANN);
    let mut owner = Scene::owner(&retried, Vec::new());
    owner.feed(Input::WorkerDisconnected(ANN));
    owner.pass_until(6.0);
    owner.feed(changed(&far));
    let effects = owner.feed(read(edited(&retried, &far)));
    assert_eq!(next_attempts(&effects), [far.key]);
}

/// What the attempt before it does nobody knows, and a standby that has not heard of anything may arm it.
#[test]
fn an_edit_lists_a_run_whose_next_attempt_is_being_committed() {
    let retried = job(json!({"worker_lost": "retry"}));
    let far = run(20.0, ANN);
    let mut owner = Scene::owner(&retried, vec![far.clone()]);
    owner.feed(Input::WorkerDisconnected(ANN));
    let passed = owner.pass_until(6.0);
    assert_eq!(next_attempts(passed.iter().map(|(_, effect)| effect)), [far.key]);
    owner.feed(changed(&far));
    let effects = owner.feed(read((edited(&retried, &far).0, far.clone())));
    let listed = effects.iter().find_map(|effect| match effect {
        Effect::EditSettled { may_start, .. } => Some(may_start.clone()),
        _ => None,
    });
    assert_eq!(listed, Some(vec![far.key]));
}

/// That a worker does not hold a run says that it never starts it only as long as the store knows of all that it has started.
#[test]
fn a_worker_that_leaves_after_a_failover_gives_no_word_on_what_was_due_before() {
    let simple = job(json!({"worker_lost": "skip"}));
    for (fails_over, moved) in [(false, true), (true, false)] {
        let over = run(1.0, ANN);
        let mut owner = Scene::owner(&simple, Vec::new());
        owner.pass_until(3.0);
        if fails_over {
            owner.feed(Input::StoreReplaced);
        }
        owner.feed(Input::WorkerLeft { incarnation: ANN, held: Vec::new() });
        let mut effects = owner.own(EPOCH, &simple, vec![over.clone()]);
        effects.extend(owner.pass_until(3.5).into_iter().map(|(_, effect)| effect));
        let moves: Vec<RunKey> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Move(moves) => Some(moves.iter().map(|made| made.key)),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(moves.contains(&over.key), moved, "fails over: {fails_over}; {moves:?}");
    }
}

/// A move was decided, and its answer did not come; a standby may have read the row and armed the run where it is now.
#[test]
fn an_edit_lists_a_run_whose_move_is_being_committed() {
    let simple = job(json!({}));
    let soon = run(2.0, ANN);
    let mut owner = Scene::owner(&simple, vec![soon.clone()]);
    owner.pass_until(0.6);
    let effects = owner.hear(ANN, &soon, ReportKind::Refused(Refusal::Busy, "full".into()));
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Move(_))), "{effects:?}");
    owner.feed(changed(&soon));
    let (edited, _) = edited(&simple, &soon);
    let gone = JobSnapshot {
        job: JOB,
        epoch: EPOCH,
        jobs_version: JobsVersion::new(2),
        version: edited.version,
        in_force: Some(edited),
        open_runs: Vec::new(),
        last_final: None,
    };
    let mut effects = owner.feed(Input::JobRead(Box::new(gone)));
    effects.extend(owner.pass_until(3.0).into_iter().map(|(_, effect)| effect));
    let listed = effects.iter().find_map(|effect| match effect {
        Effect::EditSettled { may_start, .. } => Some(may_start.contains(&soon.key)),
        _ => None,
    });
    assert_eq!(listed, Some(true), "{effects:?}");
}
