//! The only server of a cluster is killed and started again.

use std::time::Duration;

use carillon_ha::checker::History;
use carillon_ha::cluster::{Cluster, Size};
use carillon_ha::fires::{Watched, every};
use carillon_ha::story::{alone, figure};
use carillon_ha::wait::PATIENCE;
use serde_json::json;

#[test]
fn a_killed_lone_server_loses_nothing_and_starts_nothing_twice() {
    alone(async || {
        let Some(cluster) = Cluster::start("lone", Size { servers: 1, consoles: 1 }).await else { return };
        let group = cluster.group("lone").await;
        let workers = group.workers(&["worker", "worker"]).await;
        let schedule = json!({"type": "cron", "expression": "0/1 * * * * ?"});
        let misfire = json!({"policy": "fire_all", "limit": 100});
        let fields = json!({"schedule": schedule, "misfire": misfire, "overlap": {"policy": "parallel"}});
        let watched = Watched::create(&group, "each-second", fields, every(1_000)).await;
        let fan = group.job("fan", json!({"kind": "parallel", "handler": "sum"})).await;
        cluster.api().has_run(watched.job, 2, PATIENCE).await;
        let map = cluster.api().trigger(fan, Some(json!({"subtasks": 200, "sleep_ms": 400}))).await;
        cluster.api().is_in_state(&map, "running").await;

        let planned = cluster.api().planned_until(&group.id).await;
        cluster.servers()[0].kill();
        tokio::time::sleep(Duration::from_secs(2)).await; // the outage itself
        cluster.revive_server(0);
        cluster.has_servers(1).await;

        for worker in &workers {
            worker.is_seen(&group).await;
        }
        cluster.api().plans_beyond(&group.id, planned + 2_000).await;
        cluster.api().runs_on(watched.job, 5).await;
        let expected = watched.pause(cluster.api()).await;
        let history = History::read(cluster.api(), vec![expected], group.ledgers(&workers).lines()).await;
        history.assert_kept();
        figure("lateness over a killed lone server", history.lateness());

        // The parallel run goes on from what was stored: its sum is whole, and it is still the first attempt.
        let run = cluster.api().finished_within(&map, PATIENCE * 2).await;
        assert_eq!(
            (run.state(), run.attempt(), &run.body["result"]),
            ("succeeded", 1, &json!(19_900)),
            "{:#}",
            run.body
        );
    });
}
