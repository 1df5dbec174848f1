//! The one process of `carillon dev` is killed and started again on its data.

use std::time::Duration;

use carillon_ha::checker::History;
use carillon_ha::dev::Dev;
use carillon_ha::fires::{Watched, every};
use carillon_ha::ledger::Event;
use carillon_ha::story::{alone, figure};
use carillon_ha::wait::PATIENCE;
use serde_json::json;

#[test]
fn a_killed_dev_loses_nothing_and_starts_nothing_twice() {
    alone(async || {
        let dev = Dev::start("dev-killed").await;
        let group = dev.group("killed").await;
        let workers = group.workers(&["worker", "worker"]).await;
        let schedule = json!({"type": "cron", "expression": "0/1 * * * * ?"});
        // What falls into the outage is made up for, however much it is.
        let misfire = json!({"policy": "fire_all", "limit": 100});
        let fields = json!({"schedule": schedule, "misfire": misfire, "overlap": {"policy": "parallel"}});
        let watched = Watched::create(&group, "each-second", fields, every(1_000)).await;
        assert_eq!(watched.job, 1, "the first job of a new installation is job 1");
        let long = group.job("long", json!({"params": {"sleep_ms": 4_000}})).await;
        let running = dev.api().trigger(long, None).await;
        dev.api().is_in_state(&running, "running").await;
        dev.api().has_run(watched.job, 3, PATIENCE).await;

        let planned = dev.api().planned_until(&group.id).await;
        dev.kill();
        tokio::time::sleep(Duration::from_secs(3)).await; // the outage itself
        let took = dev.start_again(&["--no-samples"]).await;
        figure("carillon dev killed, until it answers again", format!("{} ms", took.as_millis()));

        for worker in &workers {
            worker.is_seen(&group).await;
        }
        dev.api().plans_beyond(&group.id, planned + 2_000).await;
        dev.api().runs_on(watched.job, 5).await;
        let expected = watched.pause(dev.api()).await;
        let lines = group.ledgers(&workers).lines();
        let history = History::read(dev.api(), vec![expected], lines).await;
        history.assert_kept();
        figure("lateness over a killed dev", history.lateness());

        // The worker lived on, so the run that was in progress ends as if nothing had happened.
        let run = dev.api().finished(&running).await;
        assert_eq!((run.state(), run.attempt()), ("succeeded", 1), "{:#}", run.body);
        let events: Vec<Event> =
            group.ledgers(&workers).of_run(&running).iter().map(|line| line.event).collect();
        assert_eq!(events, [Event::Started, Event::Succeeded]);
    });
}
