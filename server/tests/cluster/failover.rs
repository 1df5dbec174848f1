//! Servers that come, go, die and hand over.

use std::collections::BTreeSet;
use std::time::Duration;

use carillon_core::run::RunState;
use carillon_proto::v1::server_message::Message as ToWorker;
use carillon_proto::v1::worker_message::Message as FromWorker;
use carillon_proto::v1::{DrainRequest, StatusRequest, TriggerRequest};
use serde_json::json;
use tokio::time::Instant;
use tonic::Code;

use crate::support::{Cluster, TestWorker, Wire, eventually, hello, now};

const EVERY_SECOND: &str = "* * * * * ?";

/// Every fire from the first that started to the newest final one: none missing, none doubled, all succeeded.
async fn no_fire_is_missing_or_doubled(cluster: &Cluster, worker: &TestWorker) {
    let mut runs = cluster.runs().await;
    runs.sort_by_key(|run| run.key);
    let first = runs.iter().position(|run| run.started_at.is_some()).expect("a run started");
    let past: Vec<_> = runs[first..].iter().filter(|run| run.due_at < now()).collect();
    for pair in past.windows(2) {
        assert_eq!(pair[1].key.fire_time.millis_since(pair[0].key.fire_time), 1_000, "no fire is missing");
    }
    worker.seen(|seen| {
        let doubled: Vec<_> = seen.starts.iter().filter(|(_, starts)| **starts != 1).collect();
        assert!(doubled.is_empty(), "{doubled:?}");
        let attempts: Vec<_> = seen.starts.keys().filter(|(_, attempt)| *attempt != 1).collect();
        assert!(attempts.is_empty(), "nothing was given up: {attempts:?}");
    });
}

async fn succeeded_since(cluster: &Cluster, since: carillon_core::time::Timestamp) -> usize {
    cluster.runs().await.iter().filter(|run| run.state == RunState::Succeeded && run.due_at > since).count()
}

#[tokio::test]
async fn one_server_alone_owns_at_once() {
    let cluster = Cluster::new(2, 4).await;
    let started = Instant::now();
    let server = cluster.server("s1", "a").await;
    let mut control = server.control().await;
    eventually("it owns every shard", || async {
        let status = control.clone().status(StatusRequest {}).await.unwrap().into_inner();
        (status.shards.len() == 4
            && status.shards.iter().all(|shard| shard.owner && shard.planned_until_ms > 0))
        .then_some(())
    })
    .await;
    assert!(started.elapsed() < Duration::from_millis(1_500), "{:?}", started.elapsed());
    let status = control.status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.server.as_str(), status.room.as_str(), status.draining), ("s1", "a", false));
    server.stop().await;
}

#[tokio::test]
async fn reports_survive_the_server_that_did_not_take_them() {
    let cluster = Cluster::new(1, 1).await;
    cluster.job("tick", json!({"schedule": {"type": "cron", "expression": EVERY_SECOND}, "overlap": {"policy": "parallel"}})).await;
    let server = cluster.server("s1", "a").await;
    let address = server.address;
    let worker = TestWorker::start(cluster.group, 7, &[address], Duration::from_millis(300));
    eventually("runs succeed", || async {
        (succeeded_since(&cluster, carillon_core::time::Timestamp::EPOCH).await >= 2).then_some(())
    })
    .await;
    server.kill().await;
    // What was armed starts at its time with no server there; its reports wait in the worker.
    let before = worker.seen(|seen| seen.starts.len());
    eventually("an armed run starts without a server", || async {
        worker.seen(|seen| (seen.starts.len() > before).then_some(()))
    })
    .await;
    let killed_at = now();
    let again = cluster.server("s1", "a").await;
    worker.connect(again.address);
    eventually("runs succeed again", || async {
        (succeeded_since(&cluster, killed_at).await >= 3).then_some(())
    })
    .await;
    eventually("every past run is final", || async {
        let runs = cluster.runs().await;
        let limit = now().as_millis() - 1_500;
        runs.iter().filter(|run| run.due_at.as_millis() < limit).all(|run| run.state.is_final()).then_some(())
    })
    .await;
    no_fire_is_missing_or_doubled(&cluster, &worker).await;
    let epoch = cluster.store.shard(cluster.shard(0)).await.unwrap().unwrap().epoch;
    assert_eq!(epoch.get(), 2, "the restarted server claimed the shard anew");
}

#[tokio::test]
async fn a_standby_takes_over_from_a_server_that_dies_and_nothing_is_late_or_doubled() {
    let cluster = Cluster::new(2, 1).await;
    cluster.job("tick", json!({"schedule": {"type": "cron", "expression": EVERY_SECOND}})).await;
    let one = cluster.server("s1", "a").await;
    let two = cluster.server("s2", "b").await;
    eventually("both hold the shard", || async {
        let row = cluster.store.shard(cluster.shard(0)).await.unwrap().unwrap();
        (row.holders.len() == 2 && row.owner.is_some()).then_some(())
    })
    .await;
    let worker = TestWorker::start(cluster.group, 7, &[one.address, two.address], Duration::from_millis(50));
    eventually("runs succeed", || async {
        (succeeded_since(&cluster, carillon_core::time::Timestamp::EPOCH).await >= 2).then_some(())
    })
    .await;
    let (dies, lives, survivor) =
        if cluster.owner(0).await.as_deref() == Some("s1") { (one, two, "s2") } else { (two, one, "s1") };
    let died_at = Instant::now();
    // The embedded coordinator ends a session when its handle is dropped.
    dies.kill().await;
    eventually("the other owns", || async {
        (cluster.owner(0).await.as_deref() == Some(survivor)).then_some(())
    })
    .await;
    assert!(died_at.elapsed() < Duration::from_secs(2), "{:?}", died_at.elapsed());
    let killed = now();
    eventually("runs succeed under the other", || async {
        (succeeded_since(&cluster, killed).await >= 3).then_some(())
    })
    .await;
    no_fire_is_missing_or_doubled(&cluster, &worker).await;
    let late: Vec<_> = cluster
        .runs()
        .await
        .into_iter()
        .filter(|run| run.lateness().is_some_and(|late| late.as_millis() > 500))
        .collect();
    assert!(late.is_empty(), "{late:?}");
    lives.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_hands_over_without_a_gap() {
    let cluster = Cluster::new(2, 2).await;
    for index in 0..4 {
        cluster
            .job(&format!("tick-{index}"), json!({"schedule": {"type": "cron", "expression": EVERY_SECOND}}))
            .await;
    }
    let one = cluster.server("s1", "a").await;
    let two = cluster.server("s2", "b").await;
    let worker = TestWorker::start(cluster.group, 7, &[one.address, two.address], Duration::ZERO);
    eventually("runs succeed", || async {
        (succeeded_since(&cluster, carillon_core::time::Timestamp::EPOCH).await >= 4).then_some(())
    })
    .await;
    let stopping = Instant::now();
    one.stop().await;
    assert!(stopping.elapsed() < Duration::from_secs(4), "{:?}", stopping.elapsed());
    assert!(worker.seen(|seen| seen.go_away), "workers are told");
    for index in 0..2 {
        assert_eq!(cluster.owner(index).await.as_deref(), Some("s2"), "it was handed over before the end");
    }
    let stopped = now();
    eventually("runs go on", || async { (succeeded_since(&cluster, stopped).await >= 8).then_some(()) })
        .await;
    worker.seen(|seen| assert!(seen.starts.values().all(|starts| *starts == 1)));
    two.stop().await;
}

#[tokio::test]
async fn draining_hands_every_shard_over_while_the_server_lives() {
    let cluster = Cluster::new(2, 6).await;
    let one = cluster.server("s1", "a").await;
    let mut control = one.control().await;
    eventually("it owns all", || async {
        let status = control.clone().status(StatusRequest {}).await.unwrap().into_inner();
        (status.shards.iter().filter(|shard| shard.owner).count() == 6).then_some(())
    })
    .await;
    let two = cluster.server("s2", "b").await;
    let handed = control.drain(DrainRequest {}).await.unwrap().into_inner();
    assert_eq!(handed.shards, 6);
    eventually("the other owns all", || async {
        let rows = cluster.store.shards_of(101, 1).await.unwrap();
        rows.iter().all(|row| row.owner.as_ref().is_some_and(|owner| owner.as_str() == "s2")).then_some(())
    })
    .await;
    eventually("and the first holds none", || async {
        let status = control.clone().status(StatusRequest {}).await.unwrap().into_inner();
        (status.draining && status.shards.is_empty()).then_some(())
    })
    .await;
    two.stop().await;
    one.stop().await;
}

#[tokio::test]
async fn workers_are_told_when_a_shard_goes_to_another_server() {
    let cluster = Cluster::new(1, 1).await;
    let one = cluster.server("s1", "a").await;
    eventually("it owns the shard", || async { cluster.owner(0).await }).await;
    let hello = FromWorker::Hello(hello(cluster.group, 7));
    let mut worker = Wire::open(one.address, hello).await.unwrap();
    let two = cluster.server("s2", "b").await;
    one.control().await.drain(DrainRequest {}).await.unwrap();
    // Whatever else it hears first: it is asked to look for holders again, or hearing fails.
    while !matches!(worker.hear().await.unwrap(), ToWorker::GoAway(_)) {}
    two.stop().await;
    one.stop().await;
}

#[tokio::test]
async fn shards_are_placed_in_different_rooms_and_only_their_owner_takes_triggers() {
    let cluster = Cluster::new(2, 12).await;
    let job = cluster.job("now", json!({"schedule": {"type": "api"}})).await;
    let servers =
        [cluster.server("s1", "a").await, cluster.server("s2", "b").await, cluster.server("s3", "c").await];
    let rows = eventually("every shard has two holders and an owner", || async {
        let rows = cluster.store.shards_of(101, 1).await.unwrap();
        rows.iter().all(|row| row.holders.len() == 2 && row.owner.is_some()).then_some(rows)
    })
    .await;
    for row in &rows {
        let holders: BTreeSet<_> = row.holders.iter().collect();
        assert_eq!(holders.len(), 2, "one server a room here, so rooms are apart: {row:?}");
    }
    let shard = cluster.shard(job.shard_index);
    let request = TriggerRequest {
        job: job.id.get(),
        shard: shard.to_string(),
        idempotency_key: "k".into(),
        params: None,
        requested_by: "test".into(),
        trace_id: Default::default(),
    };
    let mut took = Vec::new();
    let taken = eventually("the owner takes it", || async {
        let mut answers = Vec::new();
        for server in &servers {
            answers.push(server.control().await.trigger(request.clone()).await);
        }
        answers.iter().any(Result::is_ok).then_some(answers)
    })
    .await;
    for answer in taken {
        match answer {
            Ok(_) => took.push(()),
            Err(status) => {
                assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
                let owner = status.metadata().get("carillon-owner").expect("it says who owns");
                assert!(status.message().contains(owner.to_str().unwrap()));
            }
        }
    }
    assert_eq!(took.len(), 1);
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test]
async fn a_worker_that_leaves_gives_its_runs_to_another_and_one_that_dies_is_replaced() {
    let cluster = Cluster::new(1, 1).await;
    cluster.job("tick", json!({"schedule": {"type": "cron", "expression": EVERY_SECOND}, "overlap": {"policy": "parallel"}})).await;
    let server = cluster.server("s1", "a").await;
    let first = TestWorker::start(cluster.group, 7, &[server.address], Duration::ZERO);
    eventually("the first works", || async { first.seen(|seen| (seen.starts.len() >= 2).then_some(())) })
        .await;
    let second = TestWorker::start(cluster.group, 8, &[server.address], Duration::ZERO);
    let mut control = server.control().await;
    eventually("both are there", || async {
        let status = control.clone().status(StatusRequest {}).await.unwrap().into_inner();
        (status.workers.len() == 2).then_some(())
    })
    .await;
    first.leave();
    let left = now();
    eventually("the second has every run", || async {
        let runs = cluster.runs().await;
        let past: Vec<_> = runs
            .iter()
            .filter(|run| run.due_at > left && run.due_at.as_millis() < now().as_millis() - 500)
            .collect();
        (past.len() >= 3 && past.iter().all(|run| run.state == RunState::Succeeded)).then_some(())
    })
    .await;
    first.kill();
    assert!(second.seen(|seen| seen.starts.len()) >= 1);
    let status = control.status(StatusRequest {}).await.unwrap().into_inner();
    assert!(status.workers.iter().any(|worker| worker.name == "worker-8"));
    server.stop().await;
}
