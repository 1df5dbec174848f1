//! Reference test 1: a simple job that runs by its schedule.

use std::time::Duration;

use carillon_ha::checker::History;
use carillon_ha::fires::{Watched, every};
use carillon_ha::site::Site;
use carillon_ha::story::figure;
use carillon_ha::wait::{self, PATIENCE};
use serde_json::json;

use crate::sites::on_both;

on_both!(runs_each_minute_at_the_second_and_shows_log_and_result, fires_every_two_seconds, previews_mondays);

/// The figure of I2: a fire with a live worker starts within a second.
const LATEST_MS: f64 = 1_000.0;

async fn runs_each_minute_at_the_second_and_shows_log_and_result(site: &'static Site) {
    let group = site.group("minutely").await;
    let worker = group.worker("worker").await;
    let job = group
        .job(
            "simple",
            json!({
                "kind": "simple",
                "description": "simple task test",
                "schedule": {"type": "cron", "expression": "0 0/1 * * * ?", "time_zone": "Asia/Shanghai"},
                "params": "TestParam",
            }),
        )
        .await;

    let runs = site.api().has_run(job, 1, Duration::from_secs(90)).await;
    let run = site.api().run(runs[0].id()).await;

    assert_eq!((run.state(), run.attempt(), run.trigger()), ("succeeded", 1, "schedule"), "{:#}", run.body);
    assert_eq!(run.fire_time_ms() % 60_000, 0, "a full minute");
    let lateness = run.started_ms().unwrap() - run.fire_time_ms();
    assert!((-20..1_000).contains(&lateness), "started {lateness} ms after its time");
    assert_eq!(run.body["params"], "TestParam");
    assert_eq!(run.body["result"], json!({"params": "TestParam"}));
    assert_eq!(run.body["worker"]["name"], worker.name());
    site.api().log_has(run.id(), &format!("job {job} (simple task test) at ")).await;
    site.api().post(&format!("/jobs/{job}/pause"), &json!({})).await.expect_status(200);
}

async fn fires_every_two_seconds(site: &'static Site) {
    let group = site.group("every-two").await;
    let workers = group.workers(&["worker", "worker"]).await;
    let schedule = json!({"type": "cron", "expression": "0/2 * * * * ?"});
    let watched = Watched::create(&group, "every-two", json!({"schedule": schedule}), every(2_000)).await;

    site.api().has_run(watched.job, 5, PATIENCE).await;
    let expected = watched.pause(site.api()).await;

    let history = History::read(site.api(), vec![expected], group.ledgers(&workers).lines()).await;
    history.assert_kept();
    let lateness = history.lateness();
    figure("lateness of fires every two seconds", &lateness);
    assert!(lateness.count() >= 5 && lateness.max_ms() < LATEST_MS, "{lateness}");
    let fires = site.api().get(&format!("/jobs/{}/fires?limit=500", watched.job)).await.expect_status(200);
    let succeeded =
        fires.body["items"].as_array().unwrap().iter().filter(|fire| fire["state"] == "succeeded").count();
    assert_eq!(succeeded as u64, lateness.count(), "the ledger of fires shows each: {:#}", fires.body);
}

async fn previews_mondays(site: &'static Site) {
    let path = "/schedules/preview?expression=0%200%2F1%20*%20*%20*%202&time_zone=UTC&count=3&after=2026-11-20T12:00:00Z";
    let preview = site.api().get(path).await.expect_status(200);

    let at = |place: usize| preview.body["fires"][place]["at"].as_str().unwrap().to_owned();
    assert_eq!(
        [at(0), at(1), at(2)],
        ["2026-11-23T00:00:00.000Z", "2026-11-23T00:01:00.000Z", "2026-11-23T00:02:00.000Z"]
    );
    assert!(preview.text("sentence").contains("Monday"), "{:#}", preview.body);

    // The same from the command line, which needs no console for it.
    let said = wait::blocking(|| {
        site.carillon(&[
            "cron",
            "explain",
            "0 0/1 * * * 2",
            "--after",
            "2026-11-20T12:00:00Z",
            "--count",
            "1",
        ])
    });
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success() && text.contains("2026-11-23"), "{text}");
}
