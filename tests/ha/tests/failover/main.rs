//! Servers and consoles of a cluster end, gently and not: fires go on, requests are served, nothing is lost or doubled.

use std::time::Duration;

use carillon_client::{Client, TriggerOptions};
use carillon_ha::api::Run;
use carillon_ha::checker::{Expected, History};
use carillon_ha::cluster::{Cluster, Size};
use carillon_ha::fires::{Watched, every};
use carillon_ha::ledger::now_us;
use carillon_ha::process::Signal;
use carillon_ha::story::{Shared, figure};
use carillon_ha::wait::{self, PATIENCE};
use serde_json::{Value, json};

static CLUSTER: Shared<Cluster> = Shared::new();

async fn cluster() -> Option<Cluster> {
    Cluster::start("failover", Size { servers: 3, consoles: 2 }).await
}

/// A job each of whose fires starts, late where nobody could start it in time.
fn each_second() -> Value {
    json!({
        "schedule": {"type": "cron", "expression": "0/1 * * * * ?"},
        "overlap": {"policy": "parallel"},
        "misfire": {"policy": "fire_all", "limit": 100},
    })
}

/// How a server goes.
#[derive(Debug, Clone, Copy)]
enum Exit {
    Gently,
    Killed,
}

#[test]
fn fires_go_on_when_the_owner_is_asked_to_end() {
    CLUSTER.on(cluster, async |cluster| fires_go_on(cluster, Exit::Gently).await);
}

#[test]
fn fires_go_on_when_the_owner_is_killed() {
    CLUSTER.on(cluster, async |cluster| fires_go_on(cluster, Exit::Killed).await);
}

async fn fires_go_on(cluster: &Cluster, exit: Exit) {
    let group = cluster.group("failover").await;
    let workers = group.workers(&["worker", "worker"]).await;
    let watched = Watched::create(&group, "each-second", each_second(), every(1_000)).await;
    cluster.api().has_run(watched.job, 3, PATIENCE).await;
    let owner = cluster.owner(&group, None).await;

    let planned = cluster.api().planned_until(&group.id).await;
    let at = now_us() / 1_000;
    match exit {
        Exit::Gently => cluster.servers()[owner].terminate(PATIENCE).await,
        Exit::Killed => cluster.servers()[owner].kill(),
    }
    let heir = cluster.owner(&group, Some(owner)).await;
    let taken = now_us() / 1_000;
    cluster.api().plans_beyond(&group.id, planned + 2_000).await;
    if matches!(exit, Exit::Killed) {
        // Long enough for fires that only the heir can have planned.
        let newest =
            async || cluster.api().runs_of(watched.job).await.iter().filter_map(Run::finished_ms).max();
        wait::until("a fire beyond the old plan is done", Duration::from_secs(60), async || {
            newest().await.filter(|newest| *newest > planned + 2_000).ok_or("not yet")
        })
        .await;
    }
    cluster.api().runs_on(watched.job, 5).await;
    let expected = watched.pause(cluster.api()).await;

    assert_ne!(heir, owner);
    let history = History::read(cluster.api(), vec![expected], group.ledgers(&workers).lines()).await;
    history.assert_kept();
    let during = history.lateness_between(at - 1_000, taken + 5_000);
    figure(&format!("owner ended {exit:?}: takeover seen after"), format!("{} ms", taken - at));
    figure(&format!("owner ended {exit:?}: lateness around it"), &during);
    figure(&format!("owner ended {exit:?}: lateness in all"), history.lateness());
    let succeeded = history.runs.iter().filter(|run| run.state == "succeeded").count();
    assert_eq!(history.lateness().count(), succeeded as u64, "each fire was started");
    if matches!(exit, Exit::Gently) {
        assert!(during.max_ms() < 1_000.0, "a hand-over that was asked for costs nothing: {during}");
    }

    cluster.revive_server(owner);
    cluster.has_servers(3).await;
}

#[test]
fn requests_are_served_when_a_console_is_killed() {
    CLUSTER.on(cluster, async |cluster| {
        let group = cluster.group("consoles").await;
        let workers = group.workers(&["worker"]).await;
        let job = group.job("on-request", json!({})).await;
        let client = Client::new([cluster.api().console()], &group.token).unwrap();
        let discover = format!("/sdk/endpoints?group={}", group.id);

        cluster.consoles()[0].kill();
        for number in 0..20 {
            let run = client.trigger(job, &(), TriggerOptions::default()).await.unwrap();
            let status = client.wait(&run.run_id, PATIENCE).await.unwrap();
            assert!(status.state.is_success(), "request {number}: {status:?}");
            let servers = cluster.api().get(&discover).await.expect_status(200);
            assert!(!servers.body["servers"].as_array().unwrap().is_empty(), "{:#}", servers.body);
        }

        // A worker that starts now finds its servers, too.
        let late = group.worker("late").await;
        assert_eq!(cluster.api().runs_of(job).await.len(), 20, "each request made one run");
        let starts = group.ledgers(&workers).of_job(job).len() + group.ledgers(&[late]).of_job(job).len();
        assert_eq!(starts, 40, "each was started and ended once");
        cluster.revive_console(0);
    });
}

#[test]
fn a_stopped_owner_is_replaced_and_does_no_harm_when_it_wakes() {
    CLUSTER.on(cluster, async |cluster| {
        let group = cluster.group("stopped").await;
        let workers = group.workers(&["worker", "worker"]).await;
        let watched = Watched::create(&group, "each-second", each_second(), every(1_000)).await;
        cluster.api().has_run(watched.job, 3, PATIENCE).await;
        let owner = cluster.owner(&group, None).await;

        cluster.servers()[owner].signal(Signal::Stop);
        let stopped = now_us() / 1_000;
        cluster.owner(&group, Some(owner)).await;
        cluster.servers()[owner].signal(Signal::Cont);
        cluster.has_servers(3).await;
        cluster.api().runs_on(watched.job, 5).await;
        let expected = watched.pause(cluster.api()).await;

        let history = History::read(cluster.api(), vec![expected], group.ledgers(&workers).lines()).await;
        history.assert_kept();
        figure("owner stopped and woken: lateness", history.lateness_between(stopped - 1_000, i64::MAX));
    });
}

#[test]
fn requests_go_on_while_the_owner_hands_over() {
    CLUSTER.on(cluster, async |cluster| {
        let group = cluster.group("handed-over").await;
        let workers = group.workers(&["worker", "worker"]).await;
        let job = group.job("on-request", json!({})).await;
        let client = Client::new([cluster.api().console()], &group.token).unwrap();
        let mut asked = 0;
        for _ in 0..3 {
            let owner = cluster.owner(&group, None).await;
            let ask = async {
                let mut runs = Vec::new();
                for _ in 0..40 {
                    runs.push(client.trigger(job, &(), TriggerOptions::default()).await.unwrap().run_id);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                runs
            };
            let end = async {
                tokio::time::sleep(Duration::from_millis(150)).await;
                cluster.servers()[owner].terminate(PATIENCE).await;
            };
            let (runs, ()) = tokio::join!(ask, end);
            asked += runs.len();
            for id in &runs {
                let run = cluster.api().finished(id).await;
                assert_eq!((run.state(), run.attempt()), ("succeeded", 1), "{:#}", run.body);
            }
            cluster.revive_server(owner);
            cluster.has_servers(3).await;
        }

        let lines = group.ledgers(&workers).lines();
        assert_eq!(lines.len(), 2 * asked, "each request was started and ended once");
        let expected = vec![Expected { job, fires: Vec::new() }];
        History::read(cluster.api(), expected, lines).await.assert_kept();
    });
}
