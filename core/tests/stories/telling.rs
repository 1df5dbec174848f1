//! What an owner tells, and what becomes of an owner that is none any longer.

use carillon_core::change::Slice;
use carillon_core::engine::{Effect, Input, PlanNews, Refusal, ReportKind};
use carillon_core::ids::{AttemptNo, Epoch};
use serde_json::json;

use crate::scene::{
    ANN, BOB, EPOCH, JOB, Scene, at, change, changed, edited, job, plan, read, replanned, run, seconds,
};

fn told(effects: impl IntoIterator<Item = Effect>) -> Vec<PlanNews> {
    let news = |effect| match effect {
        Effect::Tell(news) => Some(*news),
        _ => None,
    };
    effects.into_iter().filter_map(news).collect()
}

#[test]
fn a_new_owner_tells_all_of_its_plan_and_then_what_changes() {
    let mut owner = Scene::new();
    let first = told(owner.own(EPOCH, &job(json!({})), vec![run(10.0, ANN)]));
    assert_eq!(first.len(), 1);
    assert!(first[0].full && first[0].opened.len() == 1 && first[0].jobs.len() == 1, "{first:?}");
    let again = told(owner.own(EPOCH, &job(json!({})), vec![run(10.0, ANN)]));
    assert!(again.is_empty(), "nothing has changed: {again:?}");
}

#[test]
fn a_slice_is_told_once_it_is_committed() {
    let every = job(json!({"schedule": {"type": "fixed_rate", "every": "1s"}}));
    let mut owner = Scene::owner(&every, Vec::new());
    let planned = owner.pass_until(5.0);
    let slice = planned.iter().find_map(|(_, effect)| match effect {
        Effect::CommitSlice(slice) => Some(slice.clone()),
        _ => None,
    });
    let Slice { epoch, to, runs, .. } = slice.expect("a slice is due");
    assert!(told(planned.into_iter().map(|(_, effect)| effect)).is_empty());
    let news = told(owner.feed(Input::SliceCommitted { epoch, to }));
    assert_eq!(news[0].opened, runs);
}

#[test]
fn a_run_that_moves_is_taken_back_until_its_move_is_committed() {
    let of_ann = run(1.0, ANN);
    let mut owner = Scene::owner(&job(json!({})), vec![of_ann.clone()]);
    let refused = owner.hear(ANN, &of_ann, ReportKind::Refused(Refusal::Busy, String::new()));
    let moves = refused.iter().find_map(|effect| match effect {
        Effect::Move(moves) => Some(moves.clone()),
        _ => None,
    });
    assert_eq!(told(refused)[0].closed, [of_ann.key]);
    let made = moves.expect("it goes to the other worker")[0];
    let news = told(owner.feed(Input::Moved(vec![(made, true)])));
    assert_eq!((news[0].opened[0].worker, news[0].opened[0].plan_no), (Some(BOB), of_ann.plan_no.next()));
}

#[test]
fn a_next_attempt_is_told_once_it_is_committed_and_an_end_at_once() {
    let retried = job(json!({"retry": {"max_attempts": 2, "initial": "1s", "max": "1s"}}));
    let first = run(1.0, ANN);
    let mut owner = Scene::owner(&retried, vec![first.clone()]);
    let failed = ReportKind::Failed {
        started_at: at(1.0),
        code: carillon_core::run::ReasonCode::HandlerFailed,
        error: "no".into(),
        fatal: false,
        retry_after: None,
    };
    let news = told(owner.hear(ANN, &first, failed));
    assert_eq!((news[0].closed.clone(), news[0].opened.len()), (vec![first.key], 0));
    let attempt = AttemptNo::FIRST.next();
    let news = told(owner.feed(Input::NextAttempt { key: first.key, attempt, applied: true }));
    let second = news[0].opened[0].clone();
    assert_eq!(second.attempt, attempt);
    let ended = crate::scene::succeeded(2.0);
    let news = told(owner.hear(second.worker.expect("placed"), &second, ended));
    assert_eq!(news[0].closed, [first.key]);
}

#[test]
fn what_was_told_bit_by_bit_is_what_is_told_at_once() {
    let of_ann = run(1.0, ANN);
    let mut owner = Scene::new();
    let mut all = told(owner.own(EPOCH, &job(json!({})), vec![of_ann.clone(), run(20.0, BOB)]));
    all.extend(told(owner.hear(ANN, &of_ann, crate::scene::succeeded(1.0))));
    all.extend(told(owner.feed(Input::Inserted(vec![run(25.0, ANN)]))));
    let mut keys = Vec::new();
    for news in all {
        keys.retain(|key| !news.closed.contains(key));
        keys.extend(news.opened.iter().map(|run| run.key));
    }
    let whole = owner.engine().plan_so_far().expect("an owner has a plan");
    assert_eq!(keys, whole.opened.iter().map(|run| run.key).collect::<Vec<_>>());
}

#[test]
fn the_runs_of_a_job_that_is_being_edited_are_taken_back() {
    let planned = run(20.0, ANN);
    let mut owner = Scene::owner(&job(json!({})), vec![planned.clone()]);
    let news = told(owner.feed(changed(2, JOB, &[])));
    assert_eq!(news[0].taken_back, [JOB]);
    assert!(
        owner.engine().plan_so_far().is_some_and(|plan| plan.taken_back == [JOB] && plan.opened.is_empty())
    );
    let news = told(owner.feed(read(2, Some(edited()), vec![replanned(&planned)])));
    assert_eq!((news[0].jobs.len(), news[0].opened.clone()), (1, vec![replanned(&planned)]));
}

/// An edit that left its rows alone, or one that was found by a look at all: who hears of the job anew forgets what it knew of its runs.
#[test]
fn a_job_in_a_new_version_is_told_with_all_its_runs() {
    let planned = run(20.0, ANN);
    let mut owner = Scene::owner(&job(json!({})), vec![planned.clone()]);
    let news = told(owner.own(EPOCH, &edited(), vec![planned.clone()]));
    assert_eq!((news[0].full, news[0].jobs.len(), news[0].opened.clone()), (false, 1, vec![planned]));
}

#[test]
fn an_owner_that_was_replaced_goes_on_with_what_it_knows() {
    let mut owner = Scene::owner(&job(json!({})), vec![run(10.0, ANN)]);
    owner.feed(Input::Rank(1));
    owner.feed(Input::Disown);
    assert_eq!(seconds(&owner.armed_until(9.5)), [9.1]);
}

#[test]
fn an_owner_that_hears_of_a_later_one_looks_at_the_store() {
    let looks = |effects: Vec<Effect>| effects.iter().any(|effect| matches!(effect, Effect::Reload));
    let mut owner = Scene::owner(&job(json!({})), Vec::new());
    assert!(!looks(owner.feed(Input::News(Box::new(plan(&job(json!({})), Vec::new()))))));
    let later = PlanNews { epoch: Epoch::new(4), ..change(Vec::new(), Vec::new()) };
    assert!(looks(owner.feed(Input::News(Box::new(later)))));
}

#[test]
fn a_worker_that_a_peer_reaches_is_not_lost() {
    let lost = job(json!({"worker_lost": "retry"}));
    let mut owner = Scene::owner(&lost, vec![run(2.0, ANN)]);
    owner.feed(Input::WorkerElsewhere(crate::scene::worker(ANN)));
    owner.feed(Input::WorkerDisconnected(ANN));
    let gave_up =
        |done: &[(f64, Effect)]| done.iter().any(|(_, effect)| matches!(effect, Effect::NextAttempt { .. }));
    assert!(!gave_up(&owner.pass_until(8.0)));
    owner.feed(Input::WorkerGoneElsewhere(ANN));
    assert!(gave_up(&owner.pass_until(14.0)));
}

#[test]
fn a_worker_that_comes_back_after_it_was_given_up_gets_its_run_at_once() {
    let patient = job(json!({"worker_lost": "skip"}));
    let mut owner = Scene::new();
    owner.feed(Input::WorkerDisconnected(ANN));
    let mut late = run(2.0, ANN);
    late.start_by = at(60.0);
    owner.own(EPOCH, &patient, vec![late]);
    assert!(owner.armed_until(10.0).is_empty());
    let back = owner.feed(Input::WorkerJoined(crate::scene::worker(ANN)));
    assert!(back.iter().any(|effect| matches!(effect, Effect::Arm(_))), "{back:?}");
}

#[test]
fn a_move_whose_answer_is_lost_is_looked_up() {
    let of_ann = run(1.0, ANN);
    let mut owner = Scene::owner(&job(json!({})), vec![of_ann.clone()]);
    owner.hear(ANN, &of_ann, ReportKind::Refused(Refusal::Busy, String::new()));
    let looked = owner.pass_until(7.0);
    assert!(looked.iter().any(|(_, effect)| matches!(effect, Effect::Reload)), "{looked:?}");
    let mut moved = of_ann;
    (moved.worker, moved.plan_no) = (Some(BOB), moved.plan_no.next());
    let seen = owner.own(EPOCH, &job(json!({})), vec![moved]);
    assert!(seen.iter().any(|effect| matches!(effect, Effect::Arm(arm) if arm.to == BOB)), "{seen:?}");
}

#[test]
fn a_run_that_runs_is_asked_about_by_whoever_takes_it_over() {
    let mut running = run(1.0, ANN);
    (running.state, running.started_at) = (carillon_core::run::RunState::Running, Some(at(1.0)));
    let mut owner = Scene::new();
    let asked = owner.own(EPOCH, &job(json!({})), vec![running.clone()]);
    assert!(asked.iter().any(|effect| matches!(effect, Effect::Arm(arm) if arm.to == ANN)), "{asked:?}");
    // It has forgotten: nobody will ever hear of the end.
    let forgotten = owner.hear(ANN, &running, ReportKind::Refused(Refusal::TooLate, String::new()));
    assert!(forgotten.iter().any(|effect| matches!(effect, Effect::Advance { .. })), "{forgotten:?}");
}
