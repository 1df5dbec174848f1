//! Parallel runs from trigger to result: real servers, and workers of the SDK that die with all their tasks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use carillon_client::prelude::*;
use carillon_core::ids::{AttemptNo, RunKey};
use carillon_core::job::Job;
use carillon_core::run::{Run, RunState};
use carillon_core::time::Span;
use carillon_proto::v1::{MapProgressRequest, RetryRunRequest, TriggerRequest};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::support::{Cluster, TOKEN, TestServer, eventually, run_key, run_ref};

/// What handlers did, whichever worker they ran at.
#[derive(Default)]
struct Seen {
    /// Starts by text and try.
    processed: BTreeMap<(String, u32), u32>,
    /// Workers that split, in order.
    splits: Vec<String>,
    broken: bool,
}

type Book = Arc<Mutex<Seen>>;

/// Emits `subtask 0` to `subtask n - 1`; each counts one; the reduce adds up.
#[derive(Clone)]
struct Texts {
    book: Book,
    worker: String,
    takes: Duration,
    /// The first split emits half of them and hangs.
    hangs: bool,
}

impl ParallelJob for Texts {
    type Params = u64;
    type Task = String;
    type Output = u64;

    async fn split(&self, _: RunContext, count: u64, out: &mut Emit<String>) -> JobResult {
        let first = {
            let mut seen = self.book.lock().unwrap();
            seen.splits.push(self.worker.clone());
            seen.splits.len() == 1
        };
        for number in 0..count {
            if first && self.hangs && number == count / 2 {
                std::future::pending::<()>().await;
            }
            out.push(format!("subtask {number}")).await?;
        }
        Ok(())
    }

    async fn process(&self, ctx: RunContext, text: String) -> JobResult<u64> {
        let attempt = ctx.subtask().map_or(0, |subtask| subtask.attempt);
        let broken = {
            let mut seen = self.book.lock().unwrap();
            *seen.processed.entry((text.clone(), attempt)).or_default() += 1;
            seen.broken
        };
        tokio::time::sleep(self.takes).await;
        if text == "subtask 7" && attempt < 3 || broken && text == "subtask 3" {
            return Err(failed("not yet"));
        }
        Ok(1)
    }
}

impl Reduce for Texts {
    type Result = u64;

    async fn reduce(&self, _: RunContext, _: u64, outputs: &mut Outputs<u64>) -> JobResult<u64> {
        let mut sum = 0;
        while let Some(output) = outputs.next().await? {
            sum += output;
        }
        Ok(sum)
    }
}

/// A worker in a runtime of its own, so that it can die at once.
struct SdkWorker(Option<Runtime>);

impl SdkWorker {
    fn start<J: Reduce>(cluster: &Cluster, servers: &[SocketAddr], name: &str, job: J) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let worker = Worker::builder()
            .servers(servers.iter().map(|address| format!("http://{address}")))
            .group(cluster.group.to_string())
            .token(TOKEN)
            .name(name)
            .parallel_reduce("h", job);
        runtime.spawn(worker.serve_until(carillon_client::CancellationToken::new()));
        Self(Some(runtime))
    }

    fn kill(mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

impl Drop for SdkWorker {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

struct Scene {
    cluster: Cluster,
    job: Job,
    book: Book,
}

impl Scene {
    async fn new(backups: u32) -> Self {
        let cluster = Cluster::new(backups, 1).await;
        let fields = json!({
            "kind": "parallel", "schedule": { "type": "api" }, "retry": { "max_attempts": 2, "initial": "100ms" },
            "parallel": { "retry_delay": "20ms" },
        });
        let job = cluster.job("texts", fields).await;
        Self { cluster, job, book: Book::default() }
    }

    async fn server(&self, id: &str, room: &str) -> TestServer {
        self.cluster.server_with(id, room, |config| config.engine.lost_after = Span::from_secs(1)).await
    }

    fn texts(&self, worker: &str, takes: Duration) -> Texts {
        Texts { book: self.book.clone(), worker: worker.into(), takes, hangs: false }
    }

    fn workers(&self, servers: &[SocketAddr], takes: Duration) -> Vec<SdkWorker> {
        let start = |number| {
            let name = format!("worker-{number}");
            SdkWorker::start(&self.cluster, servers, &name, self.texts(&name, takes))
        };
        (1..=3).map(start).collect()
    }

    async fn trigger(&self, server: &TestServer, subtasks: u64) -> RunKey {
        let control = server.control().await;
        let request = TriggerRequest {
            job: self.job.id.get(),
            shard: self.cluster.shard(0).to_string(),
            idempotency_key: "once".into(),
            params: Some(json!(subtasks).to_string().into_bytes().into()),
            requested_by: "test".into(),
            ..TriggerRequest::default()
        };
        let run = eventually("the trigger is taken", || async {
            let answer = control.clone().trigger(request.clone()).await.ok()?;
            answer.into_inner().run
        })
        .await;
        run_key(run)
    }

    async fn ended(&self, run: RunKey) -> Run {
        // Longer than `eventually` waits: a loaded machine takes its time for thousands of subtasks.
        for _ in 0..6_000 {
            let row = self.cluster.store.run(run).await.unwrap().unwrap();
            if row.state.is_final() {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never ended: {:?}", self.cluster.store.run(run).await);
    }

    fn processed(&self) -> BTreeMap<(String, u32), u32> {
        self.book.lock().unwrap().processed.clone()
    }

    async fn until_processed(&self, count: usize) {
        eventually("subtasks are processed", || async { (self.processed().len() >= count).then_some(()) })
            .await;
    }
}

#[tokio::test]
async fn each_of_a_hundred_texts_runs_once_at_one_of_three_workers_and_one_of_them_three_times() {
    let scene = Scene::new(1).await;
    let server = scene.server("s1", "a").await;
    let _workers = scene.workers(&[server.address], Duration::from_millis(2));
    let run = scene.trigger(&server, 100).await;
    let row = scene.ended(run).await;
    assert_eq!((row.state, row.result), (RunState::Succeeded, Some(json!(100))));
    let mut expected: BTreeMap<_, _> = (0..100).map(|number| ((format!("subtask {number}"), 1), 1)).collect();
    expected.extend([(("subtask 7".to_owned(), 2), 1), (("subtask 7".to_owned(), 3), 1)]);
    assert_eq!(scene.processed(), expected);
    let header = scene.cluster.store.map_header(run, AttemptNo::FIRST).await.unwrap().unwrap();
    assert_eq!((header.done, header.failed), (100, 0));
    assert!(header.done_by_worker.len() > 1, "{header:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_worker_that_dies_in_the_middle_loses_its_subtasks_to_the_others() {
    let scene = Scene::new(1).await;
    let server = scene.server("s1", "a").await;
    let mut workers = scene.workers(&[server.address], Duration::from_millis(20));
    let run = scene.trigger(&server, 1_500).await;
    scene.until_processed(300).await;
    let splitting = scene.book.lock().unwrap().splits[0].clone();
    let stored = || async {
        let mut control = server.control().await;
        let progress = control.map_progress(MapProgressRequest { run: Some(run_ref(run)) });
        (progress.await.unwrap().into_inner().phase == "processing").then_some(())
    };
    eventually("the split is stored", stored).await;
    // Even the one that split: the run no longer hangs on it.
    let dies = splitting.strip_prefix("worker-").unwrap().parse::<usize>().unwrap() - 1;
    workers.remove(dies).kill();
    let row = scene.ended(run).await;
    assert_eq!(
        (row.state, row.attempt, row.result),
        (RunState::Succeeded, AttemptNo::FIRST, Some(json!(1_500)))
    );
    let header = scene.cluster.store.map_header(run, AttemptNo::FIRST).await.unwrap().unwrap();
    assert!(header.taken_from[&splitting] > 0, "{header:?}");
    assert_eq!(header.done_by_worker.values().sum::<u64>(), 1_500, "each counts once");
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_is_followed_by_the_standby() {
    let scene = Scene::new(2).await;
    let first = scene.server("s1", "a").await;
    let second = scene.server("s2", "b").await;
    let _workers = scene.workers(&[first.address, second.address], Duration::from_millis(20));
    let run = scene.trigger(&first, 3_000).await;
    scene.until_processed(500).await;
    let (dies, lives) =
        if scene.cluster.owner(0).await.as_deref() == Some("s1") { (first, second) } else { (second, first) };
    dies.kill().await;
    let row = scene.ended(run).await;
    assert_eq!(
        (row.state, row.attempt, row.result),
        (RunState::Succeeded, AttemptNo::FIRST, Some(json!(3_000)))
    );
    assert_eq!(scene.processed().len(), 3_002, "all of them, and subtask 7 three times");
    let twice = scene.processed().values().filter(|times| **times > 1).count();
    assert!(twice <= 500, "at most one checkpoint's worth runs again, not {twice}");
    lives.stop().await;
}

#[tokio::test]
async fn when_the_splitting_worker_dies_the_next_attempt_splits_again() {
    let scene = Scene::new(1).await;
    let server = scene.server("s1", "a").await;
    let start = |number| {
        let name = format!("worker-{number}");
        let job = Texts { hangs: true, ..scene.texts(&name, Duration::from_millis(1)) };
        SdkWorker::start(&scene.cluster, &[server.address], &name, job)
    };
    let mut workers: Vec<_> = (1..=2).map(start).collect();
    let run = scene.trigger(&server, 40).await;
    scene.until_processed(20).await;
    let splitting = scene.book.lock().unwrap().splits[0].clone();
    workers.remove(usize::from(splitting == "worker-2")).kill();
    let row = scene.ended(run).await;
    assert_eq!(
        (row.state, row.attempt, row.result),
        (RunState::Succeeded, AttemptNo::FIRST.next(), Some(json!(40)))
    );
    server.stop().await;
}

#[tokio::test]
async fn only_the_failed_subtasks_of_a_dead_letter_are_run_again() {
    let scene = Scene::new(1).await;
    let server = scene.server("s1", "a").await;
    let _workers = scene.workers(&[server.address], Duration::ZERO);
    scene.book.lock().unwrap().broken = true;
    let run = scene.trigger(&server, 50).await;
    let row = scene.ended(run).await;
    assert_eq!(row.state, RunState::Dead);
    assert_eq!(row.reason.unwrap().detail, "1 of 50 subtasks failed, and at most 0 may");
    {
        let mut seen = scene.book.lock().unwrap();
        seen.broken = false;
        seen.processed.clear();
    }
    let request = RetryRunRequest {
        run: Some(run_ref(run)),
        shard: scene.cluster.shard(0).to_string(),
        by: "test".into(),
        failed_subtasks_only: true,
    };
    server.control().await.retry_run(request).await.unwrap();
    let row = scene.ended(run).await;
    assert_eq!(
        (row.state, row.attempt, row.result),
        (RunState::Succeeded, AttemptNo::FIRST.next(), Some(json!(50)))
    );
    assert_eq!(scene.processed(), [(("subtask 3".to_owned(), 1), 1)].into());
    server.stop().await;
}
