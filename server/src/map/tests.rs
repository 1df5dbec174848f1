//! Maps on SQLite with workers behind the [`Wire`](super::Wire): no sockets, everything else as in a server.

mod scene;

use std::time::Duration;

use carillon_core::engine::{Input, MapOutcome};
use carillon_core::ids::AttemptNo;
use carillon_core::parallel::{MAX_SUBTASK_BYTES, MapPhase};
use carillon_core::run::ReasonCode;
use scene::{Scene, Verdict};
use serde_json::json;

const SECOND: AttemptNo = AttemptNo::FIRST.next();

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("\"subtask {number}\"")).collect()
}

fn succeeded(outcome: &MapOutcome) -> serde_json::Value {
    match outcome {
        MapOutcome::Succeeded { result: Some(result) } => result.clone(),
        other => panic!("expected a success with a result: {other:?}"),
    }
}

#[tokio::test]
async fn a_hundred_texts_over_three_workers_run_exactly_once_each() {
    let scene = Scene::new().await;
    for number in 1..=3 {
        scene.worker(number, false, |_, _| Verdict::Done("null".into()));
    }
    scene.open(AttemptNo::FIRST);
    scene.split(1, AttemptNo::FIRST, &texts(100), 7).await.unwrap();
    assert_eq!(succeeded(&scene.ended(AttemptNo::FIRST).await), json!({ "done": 100, "failed": 0 }));
    assert_eq!(scene.executions(), (0..100).map(|index| ((index, 1), 1)).collect());
    let header = scene.store.map_header(scene.run, AttemptNo::FIRST).await.unwrap().unwrap();
    assert_eq!(header.phase, MapPhase::Ended);
    assert_eq!(header.done_by_worker.len(), 3, "all three took part: {header:?}");
    assert_eq!(scene.payloads(), texts(100), "each subtask carries what was emitted");
}

#[tokio::test]
async fn outputs_are_summed_up_by_the_reduce_wherever_it_runs() {
    let scene = Scene::new().await;
    for number in 1..=3 {
        scene.worker(number, true, |index, _| Verdict::Done(index.to_string()));
    }
    scene.open(AttemptNo::FIRST);
    let numbers: Vec<String> = (0..5_000).map(|number| number.to_string()).collect();
    scene.split(1, AttemptNo::FIRST, &numbers, 500).await.unwrap();
    assert_eq!(succeeded(&scene.ended(AttemptNo::FIRST).await), json!(4_999 * 5_000 / 2));
}

#[tokio::test]
async fn a_subtask_that_fails_twice_is_tried_again_alone() {
    let scene = Scene::new().await;
    for number in 1..=3 {
        let fails = |index, attempt| index == 42 && attempt < 3;
        scene.worker(number, false, move |index, attempt| {
            if fails(index, attempt) {
                Verdict::Failed("not yet".into())
            } else {
                Verdict::Done("null".into())
            }
        });
    }
    scene.open(AttemptNo::FIRST);
    scene.split(1, AttemptNo::FIRST, &texts(100), 100).await.unwrap();
    assert_eq!(succeeded(&scene.ended(AttemptNo::FIRST).await), json!({ "done": 100, "failed": 0 }));
    let mut expected: std::collections::BTreeMap<_, _> = (0..100).map(|index| ((index, 1), 1)).collect();
    expected.extend([((42, 2), 1), ((42, 3), 1)]);
    assert_eq!(scene.executions(), expected);
    let failures = scene.store.failures(scene.run, AttemptNo::FIRST, false, None, 100).await.unwrap();
    let failures: Vec<_> =
        failures.iter().map(|row| (row.index, row.attempt, row.error.as_str(), row.last)).collect();
    assert_eq!(failures, [(42, 1, "not yet", false), (42, 2, "not yet", false)]);
}

#[tokio::test]
async fn too_many_failures_fail_the_run_and_a_re_run_does_only_those() {
    let scene = Scene::new().await;
    let broken = scene.switch(true);
    let answer = {
        let broken = broken.clone();
        move |index: u64, _| {
            let fails = broken.load(std::sync::atomic::Ordering::Relaxed) && index.is_multiple_of(10);
            if fails { Verdict::Fatal("broken".into()) } else { Verdict::Done("null".into()) }
        }
    };
    scene.worker(1, false, answer);
    scene.open(AttemptNo::FIRST);
    scene.split(1, AttemptNo::FIRST, &texts(50), 20).await.unwrap();
    match scene.ended(AttemptNo::FIRST).await {
        MapOutcome::Failed(reason) => assert_eq!(
            (reason.code, reason.detail.as_str()),
            (ReasonCode::SubtasksFailed, "5 of 50 subtasks failed, and at most 0 may")
        ),
        other => panic!("{other:?}"),
    }
    broken.store(false, std::sync::atomic::Ordering::Relaxed);
    scene.forget_executions();
    scene.hub.retry_failed_only(scene.run, AttemptNo::FIRST).await.unwrap();
    scene.open(SECOND);
    assert_eq!(succeeded(&scene.ended(SECOND).await), json!({ "done": 50, "failed": 0 }));
    assert_eq!(scene.executions(), (0..5).map(|index| ((index * 10, 1), 1)).collect());
    let refused = scene.hub.retry_failed_only(scene.run, AttemptNo::FIRST).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused}");
}

#[tokio::test]
async fn what_a_dead_worker_had_goes_to_the_others() {
    let scene = Scene::new().await;
    scene.worker(1, false, |_, _| Verdict::Done("null".into()));
    scene.worker(2, false, |_, _| Verdict::Silence);
    scene.open(AttemptNo::FIRST);
    scene.split(1, AttemptNo::FIRST, &texts(200), 50).await.unwrap();
    scene.until(|scene| scene.executions().len() >= 200).await;
    let processing = |scene: &Scene| scene.hub.progress(scene.run).unwrap().phase == "processing";
    scene.until(processing).await;
    scene.kill(2);
    scene.clock.shift(6_000);
    assert_eq!(succeeded(&scene.ended(AttemptNo::FIRST).await), json!({ "done": 200, "failed": 0 }));
    let header = scene.store.map_header(scene.run, AttemptNo::FIRST).await.unwrap().unwrap();
    assert_eq!(header.done_by_worker.get("worker-1"), Some(&200));
    assert!(header.taken_from["worker-2"] > 0, "the cause is recorded");
}

#[tokio::test]
async fn a_server_killed_in_the_middle_is_followed_by_one_that_goes_on() {
    let mut scene = Scene::new().await;
    for number in 1..=3 {
        scene.worker(number, true, |index, _| Verdict::Slow(index.to_string(), Duration::from_millis(1)));
    }
    scene.open(AttemptNo::FIRST);
    let numbers: Vec<String> = (0..3_000).map(|number| number.to_string()).collect();
    let split = scene.split_in_background(1, AttemptNo::FIRST, &numbers, 100);
    for at_least in [200, 1_200, 2_000] {
        scene.until(|scene| scene.executions().len() >= at_least).await;
        scene.replace_server();
        scene.open(AttemptNo::FIRST);
    }
    split.await.unwrap().unwrap();
    assert_eq!(succeeded(&scene.ended(AttemptNo::FIRST).await), json!(2_999 * 3_000 / 2), "each counts once");
    let twice = scene.executions().values().filter(|times| **times > 1).count();
    assert_eq!(twice, 0, "workers kept their streams and said what they held, so nothing ran twice");
}

#[tokio::test]
async fn a_server_that_was_taken_for_dead_lets_go_at_its_first_write() {
    let scene = Scene::new().await;
    scene.worker(1, false, |_, _| Verdict::Done("null".into()));
    scene.open(AttemptNo::FIRST);
    scene.split_part(1, AttemptNo::FIRST, &texts(10), 0).await;
    scene.until(|scene| scene.executions().len() == 10).await;
    let epoch = scene.epoch().next();
    scene.store.claim_map(scene.run, AttemptNo::FIRST, epoch).await.unwrap();
    scene.split_part(1, AttemptNo::FIRST, &texts(10), 1).await;
    scene.until(|scene| scene.hub.progress(scene.run).is_none()).await;
    assert!(scene.told().is_empty(), "it tells nobody that anything ended");
}

#[tokio::test]
async fn an_aborted_attempt_stops_its_workers_and_the_next_one_begins_anew() {
    let scene = Scene::new().await;
    let silent = scene.switch(true);
    let answer = {
        let silent = silent.clone();
        move |_, _| match silent.load(std::sync::atomic::Ordering::Relaxed) {
            true => Verdict::Silence,
            false => Verdict::Done("null".into()),
        }
    };
    scene.worker(1, false, answer);
    scene.open(AttemptNo::FIRST);
    scene.split_part(1, AttemptNo::FIRST, &texts(10), 0).await;
    scene.until(|scene| scene.executions().len() == 10).await;
    // The splitting worker is lost for the trigger engine.
    scene.hub.abort(scene.shard, scene.run, AttemptNo::FIRST);
    scene.until(|scene| scene.cancels() == 1).await;
    let error = scene.split(1, AttemptNo::FIRST, &texts(10), 10).await.unwrap_err();
    assert_eq!(error, "the run's attempt has ended");
    silent.store(false, std::sync::atomic::Ordering::Relaxed);
    scene.open(SECOND);
    scene.split(1, SECOND, &texts(20), 10).await.unwrap();
    assert_eq!(succeeded(&scene.ended(SECOND).await), json!({ "done": 20, "failed": 0 }));
    let header = scene.store.map_header(scene.run, AttemptNo::FIRST).await.unwrap().unwrap();
    assert_eq!((header.phase, header.outcome), (MapPhase::Ended, None));
}

#[tokio::test]
async fn batches_that_come_before_the_map_is_open_wait_for_it() {
    let scene = Scene::new().await;
    scene.worker(1, false, |_, _| Verdict::Done("null".into()));
    let split = scene.split_in_background(1, AttemptNo::FIRST, &texts(30), 10);
    scene.until(|scene| scene.emitted() >= 3).await;
    scene.open(AttemptNo::FIRST);
    split.await.unwrap().unwrap();
    assert_eq!(succeeded(&scene.ended(AttemptNo::FIRST).await), json!({ "done": 30, "failed": 0 }));
}

#[tokio::test]
async fn a_split_that_emits_nothing_succeeds() {
    let scene = Scene::new().await;
    scene.worker(1, true, |_, _| Verdict::Done("1".into()));
    scene.open(AttemptNo::FIRST);
    scene.split(1, AttemptNo::FIRST, &[], 10).await.unwrap();
    assert_eq!(succeeded(&scene.ended(AttemptNo::FIRST).await), json!({ "done": 0, "failed": 0 }));
    let split_done = |input: &Input| matches!(input, Input::MapSplit { .. });
    assert!(scene.told().iter().any(split_done), "the run no longer hung on its splitting worker");
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_the_limit() {
    let scene = Scene::new().await;
    scene.worker(1, true, |_, _| Verdict::Done("x".repeat(20_000)));
    scene.open(AttemptNo::FIRST);
    let large = vec!["x".repeat(MAX_SUBTASK_BYTES + 1)];
    let error = scene.split(1, AttemptNo::FIRST, &large, 10).await.unwrap_err();
    assert_eq!(error, "subtask 0 has 65537 bytes; at most 65536 are taken");
    scene.split(1, AttemptNo::FIRST, &texts(1), 10).await.unwrap();
    assert!(matches!(scene.ended(AttemptNo::FIRST).await, MapOutcome::Failed(_)));
    let failures = scene.store.failures(scene.run, AttemptNo::FIRST, true, None, 10).await.unwrap();
    assert_eq!(failures[0].error, "the output has 20000 bytes; at most 16384 are taken");
    assert_eq!(failures[0].attempt, 1, "trying again would not make it smaller");
}

#[tokio::test]
async fn large_payloads_are_read_again_from_the_store_when_the_split_is_far_ahead() {
    let scene = Scene::new().await;
    // 60 MB of payloads, while the window keeps 16; the only worker comes when all are stored.
    let payloads: Vec<String> = (0..1_000).map(|number| format!("\"{number:060000}\"")).collect();
    scene.worker(1, false, |_, _| Verdict::Done("null".into()));
    scene.set_credit(1, 0);
    scene.open(AttemptNo::FIRST);
    scene.split(1, AttemptNo::FIRST, &payloads, 8).await.unwrap();
    assert!(scene.executions().is_empty());
    scene.set_credit(1, 1_000);
    assert_eq!(succeeded(&scene.ended(AttemptNo::FIRST).await), json!({ "done": 1_000, "failed": 0 }));
    assert_eq!(scene.payloads(), payloads);
}

/// Not a test of speed: it shows where the time goes. `cargo test --release -p carillon-server --lib -- --ignored --nocapture a_million`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a benchmark"]
#[expect(clippy::print_stderr, reason = "it is run for its output")]
async fn a_million_empty_subtasks() {
    let scene = Scene::on_disk().await;
    for number in 1..=3 {
        scene.worker(number, false, |_, _| Verdict::Done("null".into()));
        scene.set_credit(number, 10_000);
    }
    scene.without_executions();
    scene.open(AttemptNo::FIRST);
    let payloads = vec!["null".to_owned(); 1_000_000];
    let began = std::time::Instant::now();
    scene.split(1, AttemptNo::FIRST, &payloads, 2_000).await.unwrap();
    let split = began.elapsed();
    assert_eq!(succeeded(&scene.ended(AttemptNo::FIRST).await), json!({ "done": 1_000_000, "failed": 0 }));
    eprintln!("split stored after {split:?}, all done after {:?}", began.elapsed());
}
