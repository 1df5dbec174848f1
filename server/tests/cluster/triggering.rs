//! Fires by schedule and by request, from the plan to the final row.

use std::time::Duration;

use carillon_core::ids::{JobId, TraceId};
use carillon_core::run::{ReasonCode, RunState, TriggerKind};
use carillon_proto::v1::{
    ArmsRequest, CancelRunRequest, JobChangedRequest, RetryRunRequest, StatusRequest, TriggerRequest,
    WatchRequest, watch_event::Event,
};
use serde_json::json;
use tonic::Code;

use crate::support::{Cluster, TestWorker, eventually, now, run_key, run_ref};

const EVERY_SECOND: &str = "* * * * * ?";

fn trigger(cluster: &Cluster, job: JobId, shard: u16, key: &str) -> TriggerRequest {
    TriggerRequest {
        job: job.get(),
        shard: cluster.shard(shard).to_string(),
        idempotency_key: key.into(),
        params: None,
        requested_by: "test".into(),
        trace_id: Default::default(),
    }
}

#[tokio::test]
async fn a_cron_fire_is_armed_ahead_and_starts_at_its_time() {
    let cluster = Cluster::new(1, 1).await;
    let job = cluster
        .job("tick", json!({"schedule": {"type": "cron", "expression": EVERY_SECOND}, "params": {"n": 1}}))
        .await;
    let server = cluster.server("s1", "a").await;
    let worker = TestWorker::start(cluster.group, 7, &[server.address], Duration::ZERO);
    // The first fires may have found no worker yet; one of the later ones tells.
    let run = eventually("a fire succeeded", || async {
        let runs = cluster.runs().await;
        let done = runs.into_iter().filter(|run| run.state == RunState::Succeeded);
        done.into_iter().find(|run| worker.seen(|seen| seen.starts.len()) >= 3 && run.lateness().is_some())
    })
    .await;
    assert_eq!((run.key.job, run.key.ordinal, run.trigger), (job.id, 0, TriggerKind::Schedule));
    assert_eq!(run.key.fire_time.as_millis() % 1_000, 0);
    assert_eq!(run.result, Some(json!("done")));
    let started = run.started_at.unwrap();
    assert!(started >= run.due_at && started.since(run.due_at).as_millis() < 500, "{run:?}");
    worker.seen(|seen| {
        let (arm, at) = seen.arms.iter().find(|(arm, _)| run_key(arm.run.unwrap()) == run.key).unwrap();
        assert!(at.as_millis() < arm.due_ms, "armed ahead");
        assert_eq!((arm.handler.as_str(), arm.params.as_ref(), arm.epoch), ("h", b"{\"n\":1}".as_slice(), 1));
        assert!(seen.starts.values().all(|starts| *starts == 1));
    });
    // And the server says so to whoever shows the run's timeline.
    let asked = ArmsRequest { run: Some(run_ref(run.key)) };
    let arms = server.control().await.arms(asked).await.unwrap().into_inner().arms;
    assert_eq!(arms.iter().map(|armed| (armed.attempt, armed.incarnation)).collect::<Vec<_>>(), [(1, 7)]);
    assert!(arms[0].at_ms < run.due_at.as_millis() && arms[0].taken_ms > 0, "{arms:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_request_makes_one_run_whatever_it_is_repeated() {
    let cluster = Cluster::new(1, 1).await;
    let job = cluster.job("now", json!({"schedule": {"type": "api"}})).await;
    let server = cluster.server("s1", "a").await;
    let worker = TestWorker::start(cluster.group, 7, &[server.address], Duration::ZERO);
    let mut control = server.control().await;
    let trace = TraceId::new(0xabc).unwrap();
    let request = TriggerRequest {
        params: Some("{\"x\":2}".into()),
        trace_id: trace.get().to_be_bytes().to_vec().into(),
        ..trigger(&cluster, job.id, 0, "once")
    };
    let first = eventually("the owner takes it", || async {
        control.clone().trigger(request.clone()).await.ok().map(|answer| answer.into_inner())
    })
    .await;
    let again = control.trigger(request).await.unwrap().into_inner();
    assert!(first.created && !again.created);
    assert_eq!(first.run, again.run);
    let key = run_key(first.run.unwrap());
    let run = eventually("it succeeded", || async {
        cluster.store.run(key).await.unwrap().filter(|run| run.state == RunState::Succeeded)
    })
    .await;
    assert_eq!((run.trigger, run.params, run.trace), (TriggerKind::Api, Some(json!({"x": 2})), Some(trace)));
    worker.seen(|seen| {
        assert_eq!(seen.starts.get(&(key, 1)), Some(&1));
        assert_eq!(seen.arms[0].0.params.as_ref(), b"{\"x\":2}");
        assert_eq!(seen.arms[0].0.trace_id.as_ref(), trace.get().to_be_bytes());
    });
    let unknown = control.trigger(trigger(&cluster, JobId::new(999), 0, "k")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound, "{unknown}");
    let nowhere = control
        .trigger(TriggerRequest { shard: "101-1-1-9999.0".into(), ..trigger(&cluster, job.id, 0, "k") })
        .await;
    assert_eq!(nowhere.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_job_made_a_moment_ago_is_found_without_a_hint() {
    let cluster = Cluster::new(1, 1).await;
    let server = cluster.server("s1", "a").await;
    let worker = TestWorker::start(cluster.group, 7, &[server.address], Duration::ZERO);
    let mut control = server.control().await;
    eventually("it owns", || async { cluster.owner(0).await }).await;
    eventually("it serves", || async {
        let status = control.clone().status(StatusRequest {}).await.unwrap().into_inner();
        (status.shards.iter().any(|shard| shard.owner) && !status.workers.is_empty()).then_some(())
    })
    .await;
    let job = cluster.job("new", json!({"schedule": {"type": "api"}})).await;
    let made = control.trigger(trigger(&cluster, job.id, 0, "k")).await.unwrap().into_inner();
    assert_eq!((made.created, made.warning.as_str()), (true, ""));
    eventually("it started", || async { worker.seen(|seen| (!seen.starts.is_empty()).then_some(())) }).await;
}

#[tokio::test]
async fn a_run_can_be_cancelled_and_a_dead_letter_tried_again() {
    let cluster = Cluster::new(1, 1).await;
    let job = cluster.job("now", json!({"schedule": {"type": "api"}})).await;
    let server = cluster.server("s1", "a").await;
    let mut control = server.control().await;
    // Without a worker the run waits.
    let made = eventually("the owner takes it", || async {
        control
            .clone()
            .trigger(trigger(&cluster, job.id, 0, "k"))
            .await
            .ok()
            .map(|answer| answer.into_inner())
    })
    .await;
    assert!(made.warning.contains("no worker"), "{}", made.warning);
    let key = run_key(made.run.unwrap());
    let shard = cluster.shard(0).to_string();
    let cancel = CancelRunRequest { run: made.run, shard: shard.clone(), by: "ann".into() };
    let answer = control.cancel_run(cancel.clone()).await.unwrap().into_inner();
    assert_eq!(answer.state, "cancelled");
    let run = eventually("the row says so", || async {
        cluster.store.run(key).await.unwrap().filter(|run| run.state == RunState::Cancelled)
    })
    .await;
    assert_eq!(run.reason.map(|reason| reason.code), Some(ReasonCode::CancelledByUser));
    assert_eq!(
        control.cancel_run(cancel).await.unwrap().into_inner().state,
        "cancelled",
        "again is the same"
    );
    let retry = RetryRunRequest { run: made.run, shard, by: "ann".into(), failed_subtasks_only: false };
    let refused = control.retry_run(retry.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "a cancelled run is no dead letter: {refused}");

    // A handler that nobody has fails at its worker: the scripted worker cannot, so the store is told.
    let lost = eventually("another run", || async {
        control
            .clone()
            .trigger(trigger(&cluster, job.id, 0, "dead"))
            .await
            .ok()
            .map(|answer| answer.into_inner())
    })
    .await;
    let key = run_key(lost.run.unwrap());
    let dead = carillon_core::change::Step::Final {
        state: RunState::Dead,
        started_at: Some(now()),
        at: now(),
        reason: Some(carillon_core::run::Reason::new(ReasonCode::HandlerFailed, "boom")),
        result: None,
        seen: None,
    };
    let cancel = CancelRunRequest { run: lost.run, shard: retry.shard.clone(), by: "ann".into() };
    let advance = carillon_core::change::Advance {
        key,
        attempt: carillon_core::ids::AttemptNo::FIRST,
        step: dead,
        fence: None,
    };
    assert_eq!(cluster.store.advance(&[advance]).await.unwrap(), [true]);
    // The engine still has it open; a cancel ends that without touching the final row.
    let _ = control.cancel_run(cancel).await.unwrap();
    let server_restarted = {
        server.stop().await;
        cluster.server("s1", "a").await
    };
    let worker = TestWorker::start(cluster.group, 7, &[server_restarted.address], Duration::ZERO);
    let control = server_restarted.control().await;
    let retry = RetryRunRequest { run: Some(run_ref(key)), ..retry };
    let attempt = eventually("it is tried again", || async {
        control.clone().retry_run(retry.clone()).await.ok().map(|answer| answer.into_inner().attempt)
    })
    .await;
    assert_eq!(attempt, 2);
    eventually("the second attempt succeeded", || async {
        cluster
            .store
            .run(key)
            .await
            .unwrap()
            .filter(|run| run.state == RunState::Succeeded && run.attempt.get() == 2)
    })
    .await;
    assert_eq!(worker.seen(|seen| seen.starts.get(&(key, 2)).copied()), Some(1));
}

#[tokio::test]
async fn an_edit_is_answered_when_its_runs_are_withdrawn_or_named() {
    let cluster = Cluster::new(1, 1).await;
    let server = cluster.server("s1", "a").await;
    let mut control = server.control().await;
    eventually("it owns", || async {
        let status = control.clone().status(StatusRequest {}).await.unwrap().into_inner();
        status.shards.iter().any(|shard| shard.owner).then_some(())
    })
    .await;
    let job = cluster.job("tick", json!({"schedule": {"type": "cron", "expression": EVERY_SECOND}})).await;
    let jobs_version = cluster.store.shard(cluster.shard(0)).await.unwrap().unwrap().jobs_version.get();
    let changed = JobChangedRequest {
        shard: cluster.shard(0).to_string(),
        jobs_version,
        touched: vec![],
        job: job.id.get(),
    };
    let asked = tokio::time::Instant::now();
    let answer = control.job_changed(changed).await.unwrap().into_inner();
    assert!(answer.may_start.is_empty());
    assert!(asked.elapsed() < Duration::from_millis(1_000), "nobody had to be waited for");
    let status = control.status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.shards[0].jobs, 1, "the job is in force when the edit is answered");
}

#[tokio::test]
async fn watchers_see_runs_and_the_figures_of_each_second() {
    let cluster = Cluster::new(1, 1).await;
    cluster.job("tick", json!({"schedule": {"type": "cron", "expression": EVERY_SECOND}})).await;
    let server = cluster.server("s1", "a").await;
    let _worker = TestWorker::start(cluster.group, 7, &[server.address], Duration::ZERO);
    let watch = WatchRequest { groups: vec![cluster.group.to_string()] };
    let mut events = server.control().await.watch(watch).await.unwrap().into_inner();
    let (mut succeeded, mut fires) = (false, false);
    let watched = async {
        while !(succeeded && fires) {
            match events.message().await.unwrap().unwrap().event.unwrap() {
                Event::Run(run) => {
                    succeeded |= run.state == "succeeded" && run.group == cluster.group.to_string()
                }
                Event::Stats(stats) => fires |= stats.fires > 0 && stats.lateness_max_us < 1_000_000,
                Event::Changed(_) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(15), watched).await.expect("both within a few seconds");
    server.stop().await;
}
