//! Workers are killed in mid-run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use carillon_ha::checker::{Expected, History};
use carillon_ha::dev::Dev;
use carillon_ha::ledger::{Event, Line, Phase};
use carillon_ha::story::{Shared, alone};
use carillon_ha::wait::{self, PATIENCE};
use carillon_ha::worker::LedgerWorker;
use serde_json::json;

static DEV: Shared<Dev> = Shared::new();

async fn dev() -> Option<Dev> {
    Some(Dev::start("workers-killed").await)
}

/// A worker is given up after it was away for about ten seconds; its run then goes on elsewhere.
const UNTIL_LOST: Duration = Duration::from_secs(60);

/// The worker that has started a run, by its own word.
async fn starter(workers: &[LedgerWorker], run: &str, phase: Phase) -> usize {
    wait::until(&format!("a worker has started {run}"), PATIENCE, async || {
        let began = |worker: &LedgerWorker| {
            let lines: Vec<Line> = carillon_ha::ledger::read(worker.ledger());
            lines.iter().any(|line| line.run == run && line.phase == phase && line.event == Event::Started)
        };
        workers.iter().position(began).ok_or("nobody")
    })
    .await
}

#[test]
fn a_run_of_a_killed_worker_is_tried_again_elsewhere_with_its_cause() {
    DEV.on(dev, async |dev| {
        let group = dev.group("mid-run").await;
        let mut workers = group.workers(&["worker", "worker"]).await;
        let retry = json!({"max_attempts": 3, "initial": "200ms"});
        let job = group
            .job("long", json!({"params": {"sleep_ms": 5_000}, "retry": retry, "worker_lost": "retry"}))
            .await;
        let id = dev.api().trigger(job, None).await;
        dev.api().is_in_state(&id, "running").await;
        let victim = starter(&workers, &id, Phase::Run).await;

        workers[victim].process.kill();
        let run = dev.api().finished_within(&id, UNTIL_LOST).await;

        assert_eq!((run.state(), run.attempt()), ("succeeded", 2), "{:#}", run.body);
        let causes: Vec<String> = run.past_attempts().into_iter().map(|attempt| attempt.reason).collect();
        assert_eq!(causes, ["worker_lost"], "{:#}", run.body);
        let lines = group.ledgers(&workers).lines();
        let (first, second) = (workers[victim].name(), workers[1 - victim].name());
        let seen: Vec<_> =
            lines.iter().map(|line| (line.worker.as_str(), line.attempt, line.event)).collect();
        assert_eq!(
            seen,
            [(first, 1, Event::Started), (second, 2, Event::Started), (second, 2, Event::Succeeded)]
        );
        History::read(dev.api(), vec![Expected { job, fires: Vec::new() }], lines).await.assert_kept();
    });
}

#[test]
fn a_run_of_a_killed_worker_is_not_tried_again_where_the_policy_says_skip() {
    DEV.on(dev, async |dev| {
        let group = dev.group("skip").await;
        let mut workers = group.workers(&["worker", "worker"]).await;
        let fields = json!({
            "params": {"sleep_ms": 60_000}, "retry": {"max_attempts": 3}, "worker_lost": "skip", "start_window": "2s",
        });
        let job = group.job("long", fields).await;
        let id = dev.api().trigger(job, None).await;
        dev.api().is_in_state(&id, "running").await;
        let victim = starter(&workers, &id, Phase::Run).await;

        workers[victim].process.kill();
        let run = dev.api().finished_within(&id, UNTIL_LOST).await;

        assert_eq!((run.attempt(), run.reason()), (1, "worker_lost"), "{:#}", run.body);
        assert!(matches!(run.state(), "missed" | "dead"), "{:#}", run.body);
        assert_eq!(group.ledgers(&workers).lines().len(), 1, "it was started once, and nowhere else");
    });
}

#[test]
fn subtasks_of_a_killed_worker_go_to_the_others() {
    DEV.on(dev, async |dev| {
        let group = dev.group("map").await;
        let mut workers = group.workers(&["worker", "worker", "worker"]).await;
        let job = group.job("map", json!({"kind": "parallel", "handler": "sum"})).await;
        let id = dev.api().trigger(job, Some(json!({"subtasks": 120, "sleep_ms": 1_000}))).await;
        // A worker that is processing but did not split: the death of the one that splits is another story.
        let splitter = starter(&workers, &id, Phase::Split).await;
        let victim = (splitter + 1) % 3;
        let name = workers[victim].name().to_owned();
        let began = || {
            let lines = group.ledgers(&workers).of_run(&id);
            lines.iter().filter(|line| line.worker == name && line.phase == Phase::Process).count() >= 8
        };
        wait::until_so("the victim has its hands full", PATIENCE, began).await;

        workers[victim].process.kill();
        let run = dev.api().finished_within(&id, UNTIL_LOST).await;

        assert_eq!(
            (run.state(), run.attempt(), &run.body["result"]),
            ("succeeded", 1, &json!(7_140)),
            "{:#}",
            run.body
        );
        let lines = group.ledgers(&workers).of_run(&id);
        let mut by: BTreeMap<u64, Vec<(&str, Event)>> = BTreeMap::new();
        for line in lines.iter().filter(|line| line.phase == Phase::Process) {
            by.entry(line.subtask.unwrap().0).or_default().push((&line.worker, line.event));
        }
        assert_eq!(by.len(), 120, "no subtask is lost");
        let of =
            |seen: &[(&str, Event)], event: Event| seen.iter().filter(|(_, seen)| *seen == event).count();
        for (index, seen) in &by {
            let by_victim = seen.iter().any(|(worker, _)| *worker == name);
            assert!(of(seen, Event::Succeeded) >= 1, "subtask {index} was never done: {seen:?}");
            // Only what the victim held may run again.
            assert!(by_victim || of(seen, Event::Started) == 1, "subtask {index} ran twice: {seen:?}");
        }
        let survivors: BTreeSet<&str> =
            lines.iter().map(|line| line.worker.as_str()).filter(|worker| *worker != name).collect();
        assert_eq!(survivors.len(), 2);
    });
}

#[test]
fn a_split_of_a_killed_worker_is_tried_again_and_no_subtask_is_lost() {
    DEV.on(dev, async |dev| {
        let group = dev.group("split").await;
        let mut workers = group.workers(&["worker", "worker", "worker"]).await;
        let retry = json!({"max_attempts": 3, "initial": "200ms"});
        let job = group.job("split", json!({"kind": "parallel", "handler": "sum", "retry": retry})).await;
        let id = dev.api().trigger(job, Some(json!({"subtasks": 60, "pause_ms": 50}))).await;
        let victim = starter(&workers, &id, Phase::Split).await;
        tokio::time::sleep(Duration::from_millis(500)).await; // in the middle of its three seconds

        workers[victim].process.kill();
        let run = dev.api().finished_within(&id, UNTIL_LOST).await;

        assert_eq!(
            (run.state(), run.attempt(), &run.body["result"]),
            ("succeeded", 2, &json!(1_770)),
            "{:#}",
            run.body
        );
        assert_eq!(run.past_attempts()[0].reason, "worker_lost", "{:#}", run.body);
        let lines = group.ledgers(&workers).of_run(&id);
        let splits: Vec<_> = lines
            .iter()
            .filter(|line| line.phase == Phase::Split)
            .map(|line| (line.attempt, line.event))
            .collect();
        assert_eq!(splits, [(1, Event::Started), (2, Event::Started), (2, Event::Succeeded)]);
        let done: BTreeSet<u64> = lines
            .iter()
            .filter(|line| {
                line.phase == Phase::Process && line.attempt == 2 && line.event == Event::Succeeded
            })
            .map(|line| line.subtask.unwrap().0)
            .collect();
        assert_eq!(done, (0..60).collect());
        History::read(dev.api(), vec![Expected { job, fires: Vec::new() }], lines).await.assert_kept();
    });
}

#[test]
fn a_worker_that_drains_gives_back_what_it_has_not_started() {
    alone(async || {
        let dev = Dev::start("worker-drains").await;
        let group = dev.group("drains").await;
        let mut workers = group.workers(&["worker", "worker"]).await;
        let job = group
            .job("each-second", json!({"schedule": {"type": "cron", "expression": "0/1 * * * * ?"}}))
            .await;
        let long = group.job("long", json!({"params": {"sleep_ms": 2_000}})).await;
        dev.api().has_run(job, 2, PATIENCE).await;
        let id = dev.api().trigger(long, None).await;
        let victim = starter(&workers, &id, Phase::Run).await;

        let status = workers[victim].process.terminate(PATIENCE).await;

        assert!(status.success(), "{status}");
        let run = dev.api().finished(&id).await;
        assert_eq!((run.state(), run.attempt()), ("succeeded", 1), "what ran is ended first: {:#}", run.body);
        let runs = dev.api().runs_on(job, 5).await;
        let lost =
            runs.iter().filter(|run| carillon_ha::api::is_final(run.state()) && run.state() != "succeeded");
        assert_eq!(lost.map(|run| run.body.clone()).collect::<Vec<_>>(), Vec::<serde_json::Value>::new());
    });
}
