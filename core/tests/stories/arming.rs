//! When a standby arms.

use carillon_core::engine::{Input, PlanNews, Refusal, ReportKind};
use carillon_core::ids::Epoch;
use carillon_core::run::TriggerKind;
use serde_json::json;

use crate::scene::{ANN, BOB, EPOCH, Scene, at, change, job, plan, run, seconds, span, succeeded, worker};

#[test]
fn the_second_holder_arms_nine_hundred_milliseconds_ahead_what_nobody_answered_for() {
    let mut standby = Scene::standby(1, plan(&job(json!({})), vec![run(10.0, ANN)]));
    let armed = standby.armed_until(9.5);
    assert_eq!(seconds(&armed), [9.1]);
    let arm = &armed[0].1;
    assert_eq!((arm.to, arm.epoch, arm.due_at), (ANN, EPOCH, at(10.0)));
}

#[test]
fn the_third_holder_leaves_the_second_time_to_do_it() {
    let mut standby = Scene::standby(2, plan(&job(json!({})), vec![run(10.0, ANN)]));
    assert_eq!(seconds(&standby.armed_until(9.5)), [9.4]);
}

#[test]
fn a_holder_that_does_not_know_its_place_only_listens() {
    let mut standby = Scene::new();
    standby.feed(Input::News(Box::new(plan(&job(json!({})), vec![run(10.0, ANN)]))));
    assert!(standby.armed_until(20.0).is_empty());
}

#[test]
fn what_the_worker_has_answered_for_is_not_armed_again() {
    let of_owner = run(10.0, ANN);
    for kind in [ReportKind::Armed, ReportKind::Refused(Refusal::Busy, String::new()), ReportKind::Started] {
        let mut standby = Scene::standby(1, plan(&job(json!({})), vec![of_owner.clone()]));
        standby.hear(ANN, &of_owner, kind);
        assert!(standby.armed_until(20.0).is_empty());
    }
}

#[test]
fn another_workers_word_is_no_answer() {
    let of_owner = run(10.0, ANN);
    let mut standby = Scene::standby(1, plan(&job(json!({})), vec![of_owner.clone()]));
    standby.hear(BOB, &of_owner, ReportKind::Disarmed);
    assert_eq!(seconds(&standby.armed_until(9.5)), [9.1]);
}

#[test]
fn it_arms_again_each_second_until_the_latest_start() {
    let mut late = run(10.0, ANN);
    late.start_by = at(12.5);
    let mut standby = Scene::standby(1, plan(&job(json!({})), vec![late]));
    assert_eq!(seconds(&standby.armed_until(20.0)), [9.1, 10.1, 11.1, 12.1]);
}

#[test]
fn a_run_that_is_due_at_once_is_the_owners_for_a_while_as_long_as_it_speaks() {
    for (speaks_until, armed_at) in [(5.0, 5.3), (5.2, 5.5), (6.0, 5.6)] {
        let mut standby = Scene::standby(1, plan(&job(json!({})), Vec::new()));
        standby.pass_until(5.0);
        standby.feed(Input::News(Box::new(change(vec![run(5.0, ANN)], Vec::new()))));
        let mut armed = Vec::new();
        for round in 1..=10 {
            let second = 5.0 + f64::from(round) / 10.0;
            armed.extend(standby.armed_until(second));
            if second <= speaks_until {
                standby.watermark(30.0);
            }
        }
        assert_eq!(seconds(&armed), [armed_at], "it speaks until {speaks_until}");
    }
}

#[test]
fn what_the_owner_closed_is_nobodys_to_arm() {
    let of_owner = run(10.0, ANN);
    let mut standby = Scene::standby(1, plan(&job(json!({})), vec![of_owner.clone()]));
    standby.feed(Input::News(Box::new(change(Vec::new(), vec![of_owner.key]))));
    assert!(standby.armed_until(20.0).is_empty());
}

#[test]
fn a_run_that_moved_is_armed_where_it_is_now_though_it_was_answered_before() {
    let mut moved = run(10.0, ANN);
    let mut standby = Scene::standby(1, plan(&job(json!({})), vec![moved.clone()]));
    standby.hear(ANN, &moved, ReportKind::Refused(Refusal::Busy, String::new()));
    (moved.worker, moved.plan_no) = (Some(BOB), moved.plan_no.next());
    standby.feed(Input::News(Box::new(change(vec![moved], Vec::new()))));
    let armed = standby.armed_until(9.5);
    assert_eq!((seconds(&armed), armed[0].1.to), (vec![9.1], BOB));
}

#[test]
fn an_earlier_owners_word_is_nothing_to_go_by() {
    let mut standby = Scene::standby(1, plan(&job(json!({})), Vec::new()));
    let stale = PlanNews { epoch: Epoch::new(2), ..plan(&job(json!({})), vec![run(10.0, ANN)]) };
    standby.feed(Input::News(Box::new(stale)));
    assert!(standby.armed_until(20.0).is_empty());
}

#[test]
fn a_change_of_a_plan_that_it_does_not_have_waits_for_the_whole() {
    let mut standby = Scene::standby(1, plan(&job(json!({})), Vec::new()));
    let of_next = PlanNews { epoch: Epoch::new(4), ..change(vec![run(10.0, ANN)], Vec::new()) };
    standby.feed(Input::News(Box::new(of_next)));
    assert!(standby.armed_until(9.5).is_empty());
    let whole = PlanNews { epoch: Epoch::new(4), ..plan(&job(json!({})), vec![run(11.0, ANN)]) };
    standby.feed(Input::News(Box::new(whole)));
    assert_eq!(seconds(&standby.armed_until(10.5)), [10.1]);
}

#[test]
fn a_serial_run_waits_for_an_earlier_one_at_another_worker() {
    let serial = job(json!({"overlap": {"policy": "queue", "limit": 5}}));
    let (earlier, later) = (run(8.0, BOB), run(10.0, ANN));
    let mut standby = Scene::standby(1, plan(&serial, vec![earlier.clone(), later.clone()]));
    standby.pass_until(8.5);
    standby.hear(BOB, &earlier, ReportKind::Started);
    assert!(standby.armed_until(11.0).is_empty());
    standby.hear(BOB, &earlier, succeeded(8.0));
    let armed = standby.armed_until(11.5);
    assert_eq!((armed.len(), armed[0].1.key), (1, later.key));
}

#[test]
fn serial_runs_that_meet_in_one_worker_are_armed_and_its_pool_keeps_their_order() {
    let serial = job(json!({"overlap": {"policy": "skip"}}));
    let mut standby = Scene::standby(1, plan(&serial, vec![run(8.0, ANN), run(10.0, ANN)]));
    let armed = standby.armed_until(9.2);
    let due: Vec<_> = armed.iter().map(|(_, arm)| arm.due_at).collect();
    assert!(due.contains(&at(8.0)) && due.contains(&at(10.0)), "{due:?}");
}

#[test]
fn a_failure_with_attempts_left_still_holds_the_next_run_back() {
    let retried = job(json!({
        "overlap": {"policy": "queue", "limit": 5},
        "retry": {"max_attempts": 2, "initial": "1s", "max": "1s"},
    }));
    let once = job(json!({"overlap": {"policy": "queue", "limit": 5}, "retry": {"max_attempts": 1}}));
    for (job, wanted) in [(retried, 0), (once, 1)] {
        let (earlier, later) = (run(8.0, BOB), run(10.0, ANN));
        let mut standby = Scene::standby(1, plan(&job, vec![earlier.clone(), later]));
        let failed = ReportKind::Failed {
            started_at: at(8.0),
            code: carillon_core::run::ReasonCode::HandlerFailed,
            error: "no".into(),
            fatal: false,
            retry_after: None,
        };
        standby.hear(BOB, &earlier, failed);
        assert_eq!(standby.armed_until(9.5).len(), wanted);
    }
}

#[test]
fn no_more_runs_of_a_job_are_armed_than_it_allows_at_once() {
    let two = job(json!({"overlap": {"policy": "parallel", "max": 2}}));
    let runs = vec![run(8.0, ANN), run(9.0, ANN), run(10.0, ANN)];
    let mut standby = Scene::standby(1, plan(&two, runs.clone()));
    standby.hear(ANN, &runs[0], ReportKind::Started);
    standby.hear(ANN, &runs[1], ReportKind::Armed);
    assert!(standby.armed_until(9.5).is_empty());
    standby.hear(ANN, &runs[0], succeeded(8.0));
    assert_eq!(standby.armed_until(10.0).len(), 1);
}

#[test]
fn a_paused_job_is_armed_only_for_who_asked_for_it() {
    let paused = job(json!({"enabled": false}));
    let mut asked = run(10.0, ANN);
    asked.trigger = TriggerKind::Api;
    asked.key.ordinal = 5;
    let mut standby = Scene::standby(1, plan(&paused, vec![run(10.0, ANN), asked.clone()]));
    let armed = standby.armed_until(9.5);
    assert_eq!((armed.len(), armed[0].1.key), (1, asked.key));
}

#[test]
fn a_worker_that_only_a_peer_reaches_is_armed_through_it() {
    let mut standby = Scene::standby(1, plan(&job(json!({})), vec![run(10.0, ANN)]));
    standby.feed(Input::WorkerDisconnected(ANN));
    assert!(standby.armed_until(9.5).is_empty());
    standby.feed(Input::WorkerElsewhere(worker(ANN)));
    assert_eq!(standby.armed_until(10.0).len(), 1);
    standby.feed(Input::WorkerGoneElsewhere(ANN));
    assert!(standby.armed_until(12.0).is_empty());
}

#[test]
fn after_a_stall_it_hears_the_owner_first() {
    let of_owner = run(10.0, ANN);
    let mut standby = Scene::standby(1, plan(&job(json!({})), vec![of_owner.clone()]));
    let pass = |standby: &mut Scene| {
        standby.pass_until(9.0);
        standby.feed(Input::Stalled { patience: span(5_000) })
    };
    pass(&mut standby);
    assert!(standby.armed_until(9.25).is_empty());
    // Nobody speaks: it does not wait for long.
    assert_eq!(standby.armed_until(9.5).len(), 1);
    let mut standby = Scene::standby(1, plan(&job(json!({})), vec![of_owner.clone()]));
    pass(&mut standby);
    standby.feed(Input::News(Box::new(change(Vec::new(), vec![of_owner.key]))));
    assert!(standby.armed_until(20.0).is_empty());
}
