//! Edits: what was acknowledged is in force.

use carillon_ha::checker::{Expected, History};
use carillon_ha::ledger::{Event, now_us};
use carillon_ha::site::Site;
use carillon_ha::wait::PATIENCE;
use reqwest::Method;
use serde_json::{Value, json};

use crate::sites::on_both;

on_both!(a_paused_job_stops_at_once_and_goes_on_when_resumed, an_edited_job_starts_by_its_new_version_only);

/// So many fires of a job that fires each second are longer than runs are armed ahead: what was armed before an edit and not withdrawn has
/// started by then.
const PAST_ARMED: usize = 3;

/// The runs that an answer says may still start.
fn may_still_start(answer: &Value) -> Vec<String> {
    let runs = answer["may_still_start"].as_array().unwrap_or_else(|| panic!("no list in {answer:#}"));
    runs.iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect()
}

async fn a_paused_job_stops_at_once_and_goes_on_when_resumed(site: &'static Site) {
    let group = site.group("paused").await;
    let workers = group.workers(&["worker", "worker"]).await;
    let each_second = json!({"schedule": {"type": "cron", "expression": "0/1 * * * * ?"}});
    let job = group.job("each-second", each_second.clone()).await;
    let witness = group.job("goes-on", each_second).await;
    site.api().has_run(job, 3, PATIENCE).await;

    let paused = site.api().post(&format!("/jobs/{job}/pause"), &json!({})).await.expect_status(200);
    let acknowledged = now_us();
    let listed = may_still_start(&paused.body);
    site.api().runs_on(witness, PAST_ARMED).await;

    assert!(listed.len() <= 2, "only what was about to start may still start: {listed:?}");
    let lines_of_job =
        || group.ledgers(&workers).lines().into_iter().filter(|line| line.job == job).collect::<Vec<_>>();
    let lines = lines_of_job();
    let late = lines.iter().filter(|line| line.event == Event::Started && line.at_us > acknowledged);
    let late: Vec<&str> =
        late.map(|line| line.run.as_str()).filter(|run| !listed.iter().any(|id| id == run)).collect();
    assert!(late.is_empty(), "started after the pause was acknowledged: {late:?}");

    site.api().post(&format!("/jobs/{job}/resume"), &json!({})).await.expect_status(200);
    site.api().runs_on(job, 3).await;
    site.api().post(&format!("/jobs/{job}/pause"), &json!({})).await.expect_status(200);
    site.api().is_quiet(job).await;
    History::read(site.api(), vec![Expected { job, fires: Vec::new() }], lines_of_job()).await.assert_kept();
}

async fn an_edited_job_starts_by_its_new_version_only(site: &'static Site) {
    let group = site.group("edited").await;
    let workers = group.workers(&["worker", "worker"]).await;
    let schedule = json!({"type": "cron", "expression": "0/1 * * * * ?"});
    let job = group.job("each-second", json!({"schedule": schedule, "params": {"version": 1}})).await;
    site.api().has_run(job, 3, PATIENCE).await;

    let patch = json!({"params": {"version": 2}});
    let headers = [("if-match", "*")];
    let edited = site
        .api()
        .send(Method::PATCH, &format!("/jobs/{job}"), Some(&patch), &headers)
        .await
        .expect_status(200);
    let acknowledged = now_us();
    let listed = may_still_start(&edited.body);
    site.api().runs_on(job, 4).await;
    site.api().post(&format!("/jobs/{job}/pause"), &json!({})).await.expect_status(200);
    site.api().is_quiet(job).await;

    assert!(listed.len() <= 2, "only what was about to start may still start: {listed:?}");
    let mut new = 0;
    for line in group.ledgers(&workers).lines() {
        if line.event != Event::Started || line.at_us <= acknowledged || listed.contains(&line.run) {
            continue;
        }
        let run = site.api().run(&line.run).await;
        assert_eq!(
            run.body["result"]["params"],
            json!({"version": 2}),
            "an old version started: {:#}",
            run.body
        );
        new += 1;
    }
    assert!(new >= 2, "the new version fires");
    let lines = group.ledgers(&workers).lines();
    History::read(site.api(), vec![Expected { job, fires: Vec::new() }], lines).await.assert_kept();
}
