//! What becomes of fires and reports when the database does not answer, or answers into the void.

use std::sync::Arc;
use std::time::Duration;

use carillon_core::ids::{JobId, RunKey};
use carillon_core::run::RunState;
use carillon_proto::v1::{JobChangedRequest, StatusRequest, TriggerRequest};
use serde_json::json;

use crate::faulty::{Faulty, Lost};
use crate::support::{Cluster, TestServer, TestWorker, eventually, now, run_key};

/// A cluster whose store fails as it is told.
async fn faulty_cluster() -> (Cluster, Arc<Faulty>) {
    let mut cluster = Cluster::new(1, 1).await;
    let faulty = Arc::new(Faulty::new(cluster.store.clone()));
    cluster.store = faulty.clone();
    (cluster, faulty)
}

async fn succeeded_since(cluster: &Cluster, since: i64) -> usize {
    let runs = cluster.runs().await;
    runs.iter().filter(|run| run.state == RunState::Succeeded && run.due_at.as_millis() > since).count()
}

fn once_each(worker: &TestWorker) {
    worker.seen(|seen| {
        let doubled: Vec<_> = seen.starts.iter().filter(|(id, starts)| **starts != 1 || id.1 != 1).collect();
        assert!(doubled.is_empty(), "{doubled:?}");
    });
}

/// Has the job run now, as soon as the server owns its shard.
async fn triggered(cluster: &Cluster, server: &TestServer, job: JobId) -> RunKey {
    let control = server.control().await;
    let request = TriggerRequest {
        job: job.get(),
        shard: cluster.shard(0).to_string(),
        idempotency_key: "k".into(),
        params: None,
        requested_by: "test".into(),
        trace_id: Default::default(),
    };
    let made = eventually("the owner takes it", || async {
        control.clone().trigger(request.clone()).await.ok().map(|answer| answer.into_inner())
    });
    run_key(made.await.run.unwrap())
}

#[tokio::test]
async fn unknown_outcomes_of_every_write_are_cleared_up() {
    let (cluster, faulty) = faulty_cluster().await;
    let job =
        cluster.job("now", json!({"schedule": {"type": "api"}, "overlap": {"policy": "parallel"}})).await;
    cluster.job("tick", json!({"schedule": {"type": "cron", "expression": "* * * * * ?"}, "overlap": {"policy": "parallel"}})).await;
    // A claim whose answer is lost is seen to have succeeded, and not made again.
    faulty.lose("claim", &[Lost::Request, Lost::Answer]);
    for method in ["commit_slices", "insert_triggered", "advance", "move_runs"] {
        faulty.lose(method, &[Lost::Answer, Lost::Request, Lost::Answer]);
    }
    let server = cluster.server("s1", "a").await;
    // Without a worker: the run is placed by a move later.
    let key = triggered(&cluster, &server, job.id).await;
    let worker = TestWorker::start(cluster.group, 7, &[server.address], Duration::ZERO);
    eventually("the triggered run succeeded", || async {
        cluster.store.run(key).await.unwrap().filter(|run| run.state == RunState::Succeeded)
    })
    .await;
    let since = now().as_millis();
    eventually("fires go on", || async { (succeeded_since(&cluster, since).await >= 3).then_some(()) }).await;
    for method in ["claim", "commit_slices", "insert_triggered", "advance", "move_runs"] {
        assert_eq!(faulty.still_to_lose(method), 0, "{method} was never put to the test");
    }
    once_each(&worker);
    assert_eq!(worker.seen(|seen| seen.starts.get(&(key, 1)).copied()), Some(1));
    server.stop().await;
}

#[tokio::test]
async fn runs_start_on_time_while_the_database_is_away_and_are_recorded_when_it_is_back() {
    let (cluster, faulty) = faulty_cluster().await;
    cluster.job("tick", json!({"schedule": {"type": "cron", "expression": "* * * * * ?"}})).await;
    let server = cluster.server("s1", "a").await;
    let worker = TestWorker::start(cluster.group, 7, &[server.address], Duration::ZERO);
    eventually("runs succeed", || async { (succeeded_since(&cluster, 0).await >= 2).then_some(()) }).await;
    faulty.set_down(true);
    let down_at = now().as_millis();
    let before = worker.seen(|seen| seen.starts.len());
    eventually("runs start without the database", || async {
        worker.seen(|seen| (seen.starts.len() >= before + 4).then_some(()))
    })
    .await;
    let status = server.control().await.status(StatusRequest {}).await.unwrap().into_inner();
    assert!(status.shards[0].owner, "an owner stays one while nobody else is");
    faulty.set_down(false);
    let back_at = now().as_millis();
    eventually("every run of the outage is recorded", || async {
        let runs = cluster.runs().await;
        let during: Vec<_> =
            runs.iter().filter(|run| (down_at..back_at).contains(&run.due_at.as_millis())).collect();
        let recorded = during.iter().all(|run| {
            run.state == RunState::Succeeded && run.lateness().is_some_and(|late| late.as_millis() < 500)
        });
        (during.len() >= 3 && recorded).then_some(())
    })
    .await;
    once_each(&worker);
    server.stop().await;
}

#[tokio::test]
async fn a_failed_attempt_is_followed_by_one_next_attempt_even_when_its_record_is_in_doubt() {
    let (cluster, faulty) = faulty_cluster().await;
    let retry = json!({"max_attempts": 3, "initial": "100ms"});
    let job = cluster.job("now", json!({"schedule": {"type": "api"}, "retry": retry})).await;
    let server = cluster.server("s1", "a").await;
    let worker = TestWorker::start(cluster.group, 7, &[server.address], Duration::ZERO);
    worker.fail_up_to(2);
    let control = server.control().await;
    eventually("the worker is there", || async {
        let status = control.clone().status(StatusRequest {}).await.unwrap().into_inner();
        (status.shards.iter().any(|shard| shard.owner) && !status.workers.is_empty()).then_some(())
    })
    .await;
    faulty.lose("advance", &[Lost::Answer, Lost::Answer, Lost::Request, Lost::Answer, Lost::Answer]);
    let key = triggered(&cluster, &server, job.id).await;
    let run = eventually("the third attempt succeeded", || async {
        cluster.store.run(key).await.unwrap().filter(|run| run.state == RunState::Succeeded)
    })
    .await;
    assert_eq!(run.attempt.get(), 3);
    let attempts = cluster.store.attempts(key).await.unwrap();
    let causes: Vec<_> =
        attempts.iter().map(|ended| (ended.attempt.get(), ended.reason.detail.as_str())).collect();
    assert_eq!(causes, [(1, "boom"), (2, "boom")]);
    let starts: Vec<_> =
        worker.seen(|seen| seen.starts.iter().map(|((_, attempt), starts)| (*attempt, *starts)).collect());
    assert_eq!(starts, [(1, 1), (2, 1), (3, 1)]);
    assert_eq!(faulty.still_to_lose("advance"), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_run_that_finds_its_worker_while_the_store_is_looked_at_starts() {
    let (cluster, faulty) = faulty_cluster().await;
    let job = cluster.job("now", json!({"schedule": {"type": "api"}})).await;
    let server = cluster.server("s1", "a").await;
    let control = server.control().await;
    let key = triggered(&cluster, &server, job.id).await;

    // An edit of another job has the store looked at, which takes its time. Meanwhile the run's worker comes.
    faulty.hold("load_plan");
    let edit =
        JobChangedRequest { shard: cluster.shard(0).to_string(), jobs_version: 1, touched: vec![], job: 99 };
    let edited = tokio::spawn({
        let mut control = control.clone();
        async move { control.job_changed(edit).await }
    });
    eventually("the job is being read", || async { (faulty.waiting("load_plan") == 1).then_some(()) }).await;
    let worker = TestWorker::start(cluster.group, 7, &[server.address], Duration::ZERO);
    eventually("the worker is there", || async {
        let status = control.clone().status(StatusRequest {}).await.unwrap().into_inner();
        (!status.workers.is_empty()).then_some(())
    })
    .await;
    faulty.release("load_plan");

    eventually("the run succeeded", || async {
        cluster.store.run(key).await.unwrap().filter(|run| run.state == RunState::Succeeded)
    })
    .await;
    edited.await.unwrap().unwrap();
    once_each(&worker);
    server.stop().await;
}

#[tokio::test]
async fn a_run_whose_end_a_database_failover_lost_is_ended_once_more_where_a_write_was_in_doubt() {
    an_end_that_was_lost_is_recorded_again(|faulty| faulty.lose("commit_slices", &[Lost::Request])).await;
}

#[tokio::test]
async fn a_run_whose_end_a_database_failover_lost_is_ended_once_more_where_no_write_noticed_it() {
    an_end_that_was_lost_is_recorded_again(|faulty| faulty.answer_as("the replica")).await;
}

async fn an_end_that_was_lost_is_recorded_again(fail_over: impl Fn(&Faulty)) {
    let (cluster, faulty) = faulty_cluster().await;
    let job = cluster.job("now", json!({"schedule": {"type": "api"}})).await;
    let server = cluster.server("s1", "a").await;
    let worker = TestWorker::start(cluster.group, 7, &[server.address], Duration::from_millis(500));
    let key = triggered(&cluster, &server, job.id).await;
    let state = |wanted| {
        let store = cluster.store.clone();
        move || {
            let store = store.clone();
            async move { store.run(key).await.unwrap().filter(|run| run.state == wanted) }
        }
    };
    eventually("the run is under way", state(RunState::Running)).await;
    // The commit of its end is acknowledged and lost, and then another database answers.
    faulty.forget("advance", vec![true]);
    eventually("the end is acknowledged", || async { (!faulty.is_to_forget("advance")).then_some(()) }).await;
    assert_eq!(cluster.store.run(key).await.unwrap().unwrap().state, RunState::Running);
    fail_over(&faulty);
    eventually("the end is recorded again", state(RunState::Succeeded)).await;
    once_each(&worker);
    server.stop().await;
}
