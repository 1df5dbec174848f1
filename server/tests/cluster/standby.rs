//! Standbys that act: they arm what a dead owner cannot, take over where planning stops, and reach workers for each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use carillon_core::run::RunState;
use carillon_core::time::{Span, Timestamp};
use carillon_proto::v1::{ShardStatus, StatusRequest};
use serde_json::json;

use crate::faulty::Faulty;
use crate::support::{Cluster, TestServer, TestWorker, eventually, now};

const EVERY_SECOND: &str = "* * * * * ?";

/// A functional bound: what starts later than this was not armed ahead.
const ON_TIME: i64 = 500;

/// A group on three servers, with a job that fires every second.
struct Scene {
    cluster: Cluster,
    servers: BTreeMap<String, TestServer>,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl Fn(&mut carillon_server::ServerConfig) + Copy) -> Self {
        let cluster = Cluster::new(3, 1).await;
        // Before anything is planned: a job made later begins where the plan ends.
        let schedule = json!({"schedule": {"type": "cron", "expression": EVERY_SECOND}});
        cluster.job("tick", schedule).await;
        let mut servers = BTreeMap::new();
        for (id, room) in [("s1", "a"), ("s2", "b"), ("s3", "c")] {
            servers.insert(id.to_owned(), cluster.server_with(id, room, change).await);
        }
        eventually("three hold the shard and one owns it", || async {
            let row = cluster.store.shard(cluster.shard(0)).await.unwrap().unwrap();
            (row.holders.len() == 3 && row.owner.is_some()).then_some(())
        })
        .await;
        let scene = Self { cluster, servers };
        scene.everybody_knows_the_plan().await;
        scene
    }

    async fn owner(&self) -> String {
        self.cluster.owner(0).await.expect("somebody owns the shard")
    }

    async fn status(&self, server: &str) -> ShardStatus {
        let mut control = self.servers[server].control().await;
        let status = control.status(StatusRequest {}).await.unwrap().into_inner();
        status.shards.into_iter().next().unwrap_or_default()
    }

    /// Waits until every standby has been told the owner's plan: by then the first servers to come have settled who owns the shard.
    async fn everybody_knows_the_plan(&self) {
        eventually("standbys have the plan", || async {
            for id in self.servers.keys() {
                let status = self.status(id).await;
                let knows = status.owner || (status.told_runs >= 5 && status.told_epoch > 0);
                if !knows {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.servers.values().map(|server| server.address).collect()
    }
}

/// Every fire of a span of time started once, at its first attempt, on time, by the worker's own word.
fn started_once_and_on_time(worker: &TestWorker, from: Timestamp, to: Timestamp) {
    let first = from.as_millis().div_euclid(1_000) + 1;
    let last = to.as_millis().div_euclid(1_000);
    worker.seen(|seen| {
        for second in first..=last {
            let at = Timestamp::from_millis(second * 1_000);
            let starts: Vec<_> = seen.starts.iter().filter(|((key, _), _)| key.fire_time == at).collect();
            assert_eq!(starts.len(), 1, "fire {at} started once: {starts:?}");
            assert_eq!((starts[0].0.1, *starts[0].1), (1, 1), "fire {at}");
            let late = seen.started_at[starts[0].0].millis_since(at);
            assert!((-20..ON_TIME).contains(&late), "fire {at} started {late} ms late");
        }
    });
}

async fn until_started(worker: &TestWorker, at: Timestamp) {
    eventually("fires start up to an instant", || async {
        worker.seen(|seen| seen.starts.keys().any(|(key, _)| key.fire_time >= at).then_some(()))
    })
    .await;
}

#[tokio::test]
async fn fires_go_on_at_their_time_when_an_owner_is_killed_and_nobody_owns_for_a_while() {
    let mut scene = Scene::new().await;
    let worker = TestWorker::start(scene.cluster.group, 7, &scene.addresses(), Duration::from_millis(20));
    until_started(&worker, Timestamp::EPOCH).await;
    let owner = scene.owner().await;
    let from = now();
    // Its session outlives it, as a real one does: the lock is not free for as long as this test takes.
    let kept = scene.cluster.session(&owner);
    kept.disconnect();
    scene.servers.remove(&owner).unwrap().kill().await;
    let to = from + Span::from_secs(5);
    until_started(&worker, to).await;
    started_once_and_on_time(&worker, from, to);
    assert_eq!(scene.owner().await, owner, "nobody could take the lock: the standbys did it");
    kept.expire_session();
    eventually("another owns the shard", || async { (scene.owner().await != owner).then_some(()) }).await;
    let to = now() + Span::from_secs(2);
    until_started(&worker, to).await;
    started_once_and_on_time(&worker, from, to);
    eventually("every past run is final", || async {
        let runs = scene.cluster.runs().await;
        let past = |run: &&carillon_core::run::Run| run.due_at > from && run.due_at <= to;
        runs.iter().filter(past).all(|run| run.state == RunState::Succeeded).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_owner_without_a_stream_to_the_worker_reaches_it_by_way_of_a_peer() {
    let scene = Scene::new().await;
    let owner = scene.owner().await;
    let others: Vec<_> =
        scene.servers.iter().filter(|(id, _)| **id != owner).map(|(_, server)| server.address).collect();
    let worker = TestWorker::start(scene.cluster.group, 7, &others, Duration::from_millis(20));
    until_started(&worker, Timestamp::EPOCH).await;
    let from = now() + Span::from_secs(1);
    let to = from + Span::from_secs(3);
    until_started(&worker, to).await;
    started_once_and_on_time(&worker, from, to);
    assert_eq!(scene.owner().await, owner);
    eventually("and the runs end as the worker said", || async {
        let runs = scene.cluster.runs().await;
        let past = |run: &&carillon_core::run::Run| run.due_at > from && run.due_at <= to;
        runs.iter().filter(past).all(|run| run.state == RunState::Succeeded).then_some(())
    })
    .await;
    let mut control = scene.servers[&owner].control().await;
    let workers = control.status(StatusRequest {}).await.unwrap().into_inner().workers;
    let via = |worker: &carillon_proto::v1::WorkerStatus| scene.servers.contains_key(&worker.via);
    assert!(workers.iter().any(via), "{workers:?}");
}

#[tokio::test]
async fn a_worker_cut_from_the_owner_alone_misses_nothing() {
    let scene = Scene::new().await;
    let owner = scene.owner().await;
    let worker = TestWorker::start(scene.cluster.group, 7, &scene.addresses(), Duration::from_millis(20));
    until_started(&worker, Timestamp::EPOCH).await;
    let from = now();
    worker.cut(scene.servers[&owner].address);
    let to = from + Span::from_secs(7);
    until_started(&worker, to).await;
    started_once_and_on_time(&worker, from, to);
    assert_eq!(scene.owner().await, owner);
}

#[tokio::test]
async fn without_the_coordinator_a_shard_that_is_not_planned_is_taken_over() {
    let mut scene = Scene::with(|config| {
        config.engine.horizon = Span::from_secs(8);
        config.engine.slice = Span::from_secs(1);
        config.engine.minimum_hold = Span::from_secs(1);
    })
    .await;
    let worker = TestWorker::start(scene.cluster.group, 7, &scene.addresses(), Duration::from_millis(20));
    until_started(&worker, Timestamp::EPOCH).await;
    scene.cluster.registry.disconnect_all();
    let owner = scene.owner().await;
    let _kept = scene.cluster.session(&owner);
    let from = now();
    scene.servers.remove(&owner).unwrap().kill().await;
    eventually("another owns the shard", || async { (scene.owner().await != owner).then_some(()) }).await;
    let to = now() + Span::from_secs(3);
    until_started(&worker, to).await;
    started_once_and_on_time(&worker, from, to);
}

/// What it was told while it still believed to own the shard is of no use to it; as a standby it asks for the plan.
#[tokio::test]
async fn an_owner_that_was_replaced_without_knowing_it_has_its_successors_plan_afterwards() {
    let quick = |config: &mut carillon_server::ServerConfig| {
        config.engine.horizon = Span::from_secs(8);
        config.engine.slice = Span::from_secs(1);
        config.engine.minimum_hold = Span::from_secs(1);
    };
    let mut cluster = Cluster::new(3, 1).await;
    cluster.job("tick", json!({"schedule": {"type": "cron", "expression": EVERY_SECOND}})).await;
    let store = cluster.store.clone();
    let faulty = Arc::new(Faulty::new(store.clone()));
    cluster.store = faulty.clone();
    let first = cluster.server_with("s1", "a", quick).await;
    cluster.store = store;
    eventually("the first one owns the shard", || async { cluster.owner(0).await }).await;
    let mut servers = BTreeMap::from([("s1".to_owned(), first)]);
    for (id, room) in [("s2", "b"), ("s3", "c")] {
        servers.insert(id.to_owned(), cluster.server_with(id, room, quick).await);
    }
    let scene = Scene { cluster, servers };
    scene.everybody_knows_the_plan().await;
    assert_eq!(scene.owner().await, "s1");

    // It alone does not reach the store, so it does not plan, and another one does.
    faulty.set_down(true);
    eventually("another owns the shard", || async { (scene.owner().await != "s1").then_some(()) }).await;
    let epoch = scene.cluster.store.shard(scene.cluster.shard(0)).await.unwrap().unwrap().epoch.get();
    eventually("the third one has the new plan", || async {
        let (second, third) = (scene.status("s2").await, scene.status("s3").await);
        let standby = if second.owner { third } else { second };
        (standby.told_epoch == epoch).then_some(())
    })
    .await;
    faulty.set_down(false);
    eventually("the first one has it, too", || async {
        let status = scene.status("s1").await;
        (!status.owner && status.told_epoch == epoch && status.told_runs >= 5).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_owner_that_loses_the_coordinator_keeps_its_shard_while_it_is_heard() {
    let scene = Scene::new().await;
    let owner = scene.owner().await;
    let epoch = scene.cluster.store.shard(scene.cluster.shard(0)).await.unwrap().unwrap().epoch;
    let session = scene.cluster.session(&owner);
    session.disconnect();
    session.expire_session();
    // Long enough for the others to take a lock that is free.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let row = scene.cluster.store.shard(scene.cluster.shard(0)).await.unwrap().unwrap();
    assert_eq!((row.epoch, row.owner.map(|owner| owner.to_string())), (epoch, Some(owner)));
    session.reconnect();
}

#[tokio::test]
async fn a_dead_server_is_not_waited_for_until_its_session_ends() {
    let hold =
        |config: &mut carillon_server::ServerConfig| config.engine.minimum_hold = Span::from_millis(500);
    let mut scene = Scene::with(hold).await;
    let owner = scene.owner().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let _session = scene.cluster.session(&owner);
    scene.servers.remove(&owner).unwrap().kill().await;
    let killed = tokio::time::Instant::now();
    eventually("another owns the shard", || async { (scene.owner().await != owner).then_some(()) }).await;
    assert!(killed.elapsed() < Duration::from_secs(2), "{:?}", killed.elapsed());
}

#[tokio::test]
async fn owners_are_spread_again_when_a_server_is_back_and_no_fire_is_missed() {
    let cluster = Cluster::new(2, 6).await;
    let job = json!({"schedule": {"type": "cron", "expression": EVERY_SECOND}});
    let hold = |config: &mut carillon_server::ServerConfig| config.engine.minimum_hold = Span::from_secs(1);
    for index in 0..6 {
        cluster.job(&format!("tick-{index}"), job.clone()).await;
    }
    let one = cluster.server_with("s1", "a", hold).await;
    let owned = || async {
        let rows = cluster.store.shards_of(101, 1).await.unwrap();
        let by = |id: &str| {
            rows.iter().filter(|row| row.owner.as_ref().is_some_and(|owner| owner.as_str() == id)).count()
        };
        (by("s1"), by("s2"))
    };
    eventually("the first owns all", || async { (owned().await == (6, 0)).then_some(()) }).await;
    let two = cluster.server_with("s2", "b", hold).await;
    let worker = TestWorker::start(cluster.group, 7, &[one.address, two.address], Duration::ZERO);
    until_started(&worker, Timestamp::EPOCH).await;
    let from = now();
    eventually("each owns half", || async { (owned().await == (3, 3)).then_some(()) }).await;
    let to = now() + Span::from_secs(2);
    until_started(&worker, to + Span::from_secs(1)).await;
    worker.seen(|seen| {
        for second in from.as_millis() / 1_000 + 1..=to.as_millis() / 1_000 {
            let at = Timestamp::from_millis(second * 1_000);
            let starts = seen.starts.iter().filter(|((key, _), _)| key.fire_time == at);
            let starts: Vec<_> = starts.collect();
            assert_eq!(starts.len(), 6, "{at}: {starts:?}");
            for (id, count) in starts {
                let late = seen.started_at[id].millis_since(at);
                assert!(*count == 1 && late < ON_TIME, "{id:?} started {count} times, {late} ms late");
            }
        }
    });
    let epochs: u64 = cluster.store.shards_of(101, 1).await.unwrap().iter().map(|row| row.epoch.get()).sum();
    assert_eq!(epochs, 6 + 3, "no shard moved that did not have to");
    two.stop().await;
    one.stop().await;
}
