//! Workers that are lost or have left: what becomes of the runs that their rows still name them for.

use carillon_core::engine::{Effect, Input, Refusal, ReportKind};
use carillon_core::ids::RunKey;
use carillon_core::job::Job;
use carillon_core::run::Run;
use serde_json::json;

use crate::scene::{ANN, EPOCH, JOB, Scene, changed, edited, job, read, replanned, run};

/// The rows of the job when it has been edited.
fn read_edited(job: &Job, open_runs: Vec<Run>) -> Input {
    read(2, Some(Job { version: edited().version, ..job.clone() }), open_runs)
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
    owner.feed(changed(2, JOB, &[&far]));
    let effects = owner.feed(read_edited(&retried, vec![replanned(&far)]));
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
    owner.feed(changed(2, JOB, &[&far]));
    let effects = owner.feed(read_edited(&retried, vec![far.clone()]));
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
    owner.feed(changed(2, JOB, &[&soon]));
    let mut effects = owner.feed(read_edited(&simple, Vec::new()));
    effects.extend(owner.pass_until(3.0).into_iter().map(|(_, effect)| effect));
    let listed = effects.iter().find_map(|effect| match effect {
        Effect::EditSettled { may_start, .. } => Some(may_start.contains(&soon.key)),
        _ => None,
    });
    assert_eq!(listed, Some(true), "{effects:?}");
}
