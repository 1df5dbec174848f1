//! One trace id leads from the request that triggered a run to the lines of its handler.

use carillon_ha::ledger::Event;
use carillon_ha::site::Site;
use carillon_ha::wait::{self, PATIENCE};
use reqwest::Method;
use serde_json::json;

use crate::sites::on_both;

on_both!(one_trace_id_leads_from_the_trigger_to_the_handler);

async fn one_trace_id_leads_from_the_trigger_to_the_handler(site: &'static Site) {
    let group = site.group("traced").await;
    let workers = group.workers(&["worker"]).await;
    let job = group.job("traced", json!({})).await;
    let trace = format!("4bf92f3577b34da6a3ce929d{:08x}", std::process::id());
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");

    let headers = [("traceparent", traceparent.as_str())];
    let path = format!("/jobs/{job}/runs");
    let answer = site.api().send(Method::POST, &path, Some(&json!({})), &headers).await.expect_status(202);
    let run = site.api().finished(&answer.text("id")).await;

    assert_eq!(run.trace(), trace, "on the run's page");
    let lines = group.ledgers(&workers).of_run(run.id());
    assert!(
        lines.iter().any(|line| line.event == Event::Started && line.trace == trace),
        "in the handler: {lines:?}"
    );
    let in_worker = || {
        workers[0]
            .process
            .log()
            .lines()
            .any(|line| line.contains(&trace) && line.contains(&format!("job {job} ")))
    };
    wait::until_so("the handler's line in the worker's log has the trace id", PATIENCE, in_worker).await;
    let in_server = || server_logs(site).lines().any(|line| line.contains(&trace));
    wait::until_so("a server's log has the trace id", PATIENCE, in_server).await;

    let without = site.api().finished(&site.api().trigger(job, None).await).await;
    assert_eq!(without.trace().len(), 32, "a run has a trace id even if nobody gave one");
    assert_ne!(without.trace(), trace);
}

/// What the servers of an installation said.
fn server_logs(site: &Site) -> String {
    let entries = std::fs::read_dir(site.folder().path()).unwrap().flatten();
    let is_server =
        |name: &str| name.ends_with(".log") && (name.starts_with("server-") || name.starts_with("dev"));
    let logs = entries.filter(|entry| is_server(&entry.file_name().to_string_lossy()));
    logs.map(|entry| std::fs::read_to_string(entry.path()).unwrap_or_default()).collect()
}
