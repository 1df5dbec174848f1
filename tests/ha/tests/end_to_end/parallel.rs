//! Reference test 3: a parallel job of a hundred subtasks on three workers.

use std::collections::{BTreeMap, BTreeSet};

use carillon_ha::api::Run;
use carillon_ha::ledger::{Event, Ledgers, Phase};
use carillon_ha::site::Site;
use carillon_ha::wait::{self, PATIENCE};
use serde_json::{Value, json};

use crate::sites::on_both;

on_both!(
    a_hundred_subtasks_are_shared_and_each_processed_once,
    a_reduce_sums_them_up,
    a_subtask_that_fails_twice_is_retried_alone,
    progress_moves_while_it_runs,
);

async fn run_of(site: &Site, job: u32, params: Value) -> Run {
    let id = site.api().trigger(job, Some(params)).await;
    site.api().finished(&id).await
}

/// How often each subtask was started, by its index.
fn starts(ledgers: &Ledgers, run: &str) -> BTreeMap<u64, Vec<u32>> {
    let mut starts: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for line in ledgers.of_run(run) {
        if let (Event::Started, Some((index, attempt))) = (line.event, line.subtask) {
            starts.entry(index).or_default().push(attempt);
        }
    }
    starts
}

async fn a_hundred_subtasks_are_shared_and_each_processed_once(site: &'static Site) {
    let group = site.group("fan").await;
    let workers = group.workers(&["worker", "worker", "worker"]).await;
    let job = group.job("fan", json!({"kind": "parallel", "handler": "fan"})).await;

    let run = run_of(site, job, json!({"subtasks": 100, "sleep_ms": 50})).await;

    assert_eq!((run.state(), run.attempt()), ("succeeded", 1), "{:#}", run.body);
    let ledgers = group.ledgers(&workers);
    let once: BTreeMap<u64, Vec<u32>> = (0..100).map(|index| (index, vec![1])).collect();
    assert_eq!(starts(&ledgers, run.id()), once);
    let mut done: BTreeMap<String, u64> = BTreeMap::new();
    for line in ledgers.of_run(run.id()) {
        if line.phase == Phase::Process && line.event == Event::Succeeded {
            *done.entry(line.worker).or_default() += 1;
        }
    }
    let names: BTreeSet<&str> = workers.iter().map(|worker| worker.name()).collect();
    assert_eq!(
        done.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        names,
        "all three have a share: {done:?}"
    );

    let answer = site.api().get(&format!("/runs/{}/subtasks?limit=500", run.id())).await.expect_status(200);
    let progress = &answer.body["progress"];
    assert_eq!(
        (&progress["phase"], &progress["total"], &progress["done"]),
        (&json!("ended"), &json!(100), &json!(100))
    );
    let shares = progress["workers"].as_array().unwrap().iter();
    let shares: BTreeMap<String, u64> = shares
        .map(|share| (share["name"].as_str().unwrap().to_owned(), share["done"].as_u64().unwrap()))
        .collect();
    assert_eq!(shares, done, "the API's shares are what the workers wrote");
    let subtasks = answer.body["items"].as_array().unwrap();
    assert_eq!(subtasks.len(), 100);
    assert!(subtasks.iter().all(|subtask| subtask["state"] == "done"), "{:#}", answer.body);
    assert_eq!(subtasks[41]["key"], "item-41");
    let log = site.api().log_has(run.id(), "processing item-99 ").await;
    assert!(log.contains("processing item-0 "), "{log}");
    let found = site.api().get(&format!("/runs/{}/subtasks?key=item-41", run.id())).await.expect_status(200);
    assert_eq!(found.body["items"].as_array().unwrap().len(), 1, "{:#}", found.body);
}

async fn a_reduce_sums_them_up(site: &'static Site) {
    let group = site.group("sum").await;
    let workers = group.workers(&["worker", "worker", "worker"]).await;
    let job = group.job("sum", json!({"kind": "parallel", "handler": "sum"})).await;

    let run = run_of(site, job, json!({"subtasks": 100})).await;

    assert_eq!((run.state(), &run.body["result"]), ("succeeded", &json!(4_950)), "{:#}", run.body);
    let reduces = group.ledgers(&workers).of_run(run.id());
    let reduces =
        reduces.iter().filter(|line| line.phase == Phase::Reduce && line.event == Event::Started).count();
    assert_eq!(reduces, 1);
}

async fn a_subtask_that_fails_twice_is_retried_alone(site: &'static Site) {
    let group = site.group("flaky").await;
    let workers = group.workers(&["worker", "worker", "worker"]).await;
    let policy = json!({"max_attempts": 3, "retry_delay": "200ms"});
    let job = group.job("flaky", json!({"kind": "parallel", "handler": "sum", "parallel": policy})).await;

    let run = run_of(site, job, json!({"subtasks": 100, "failing": 7, "times": 2})).await;

    assert_eq!(
        (run.state(), run.attempt(), &run.body["result"]),
        ("succeeded", 1, &json!(4_950)),
        "{:#}",
        run.body
    );
    let mut expected: BTreeMap<u64, Vec<u32>> = (0..100).map(|index| (index, vec![1])).collect();
    expected.insert(7, vec![1, 2, 3]);
    assert_eq!(starts(&group.ledgers(&workers), run.id()), expected);
    let answer = site.api().get(&format!("/runs/{}/subtasks?key=item-7", run.id())).await.expect_status(200);
    let seven =
        answer.body["items"].as_array().unwrap().iter().find(|subtask| subtask["index"] == "7").unwrap();
    assert_eq!(
        (&seven["state"], &seven["attempt"]),
        (&json!("done"), &json!(2)),
        "its two failed tries are told: {seven:#}"
    );

    let hopeless = run_of(site, job, json!({"subtasks": 20, "failing": 7, "times": 99})).await;
    assert_eq!((hopeless.state(), hopeless.reason()), ("dead", "subtasks_failed"), "{:#}", hopeless.body);
    let failed =
        site.api().get(&format!("/runs/{}/subtasks?state=failed", hopeless.id())).await.expect_status(200);
    let indexes: Vec<&Value> =
        failed.body["items"].as_array().unwrap().iter().map(|subtask| &subtask["index"]).collect();
    assert_eq!(indexes, [&json!("7")], "{:#}", failed.body);
}

async fn progress_moves_while_it_runs(site: &'static Site) {
    let group = site.group("progress").await;
    let _workers = group.workers(&["worker", "worker", "worker"]).await;
    let job = group.job("progress", json!({"kind": "parallel", "handler": "fan"})).await;

    let run = site.api().trigger(job, Some(json!({"subtasks": 100, "sleep_ms": 500}))).await;

    // Forty-eight places for a hundred subtasks of half a second: there are moments with some done and some not.
    wait::until("the progress shows some done and some not", PATIENCE, async || {
        let answer = site.api().get(&format!("/runs/{run}/subtasks")).await;
        let progress = &answer.body["progress"];
        let count = |name: &str| progress[name].as_u64().unwrap_or(0);
        let under_way =
            count("total") == 100 && count("done") > 0 && count("done") < 100 && count("running") > 0;
        if under_way { Ok(()) } else { Err(answer.body) }
    })
    .await;
    assert_eq!(site.api().finished(&run).await.state(), "succeeded");
}
