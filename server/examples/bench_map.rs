//! Benchmark B5: a parallel run of empty subtasks, from the trigger to its final row, through a real server and workers of the SDK, all in this
//! process. `cargo run --release -p carillon-server --example bench_map -- [subtasks] [mysql://user:password@host:port/database]`; without a
//! database it runs on SQLite in a temporary folder.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool that is run for its output and stops at the first error"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use carillon_client::prelude::*;
use carillon_coordination::{Embedded, EmbeddedRegistry};
use carillon_core::ids::{AttemptNo, GroupId, JobVersion, RunKey, ShardId};
use carillon_core::job::{Job, JobSpec};
use carillon_core::run::{Reason, ReasonCode, RunState};
use carillon_core::time::Timestamp;
use carillon_proto::v1::TriggerRequest;
use carillon_proto::v1::control_client::ControlClient;
use carillon_server::{Clock, ServerConfig};
use carillon_store::SharedStore;
use carillon_store::accounts::{Token, TokenScope};
use carillon_store::catalog::{EditOutcome, Group, JobChange, JobEdit};
use carillon_store::mysql::{MysqlConfig, MysqlStore};
use carillon_store::sqlite::{SqliteConfig, SqliteStore};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const WORKERS: usize = 3;

struct Empty;

impl ParallelJob for Empty {
    type Params = u64;
    type Task = ();
    type Output = ();

    async fn split(&self, _: RunContext, count: u64, out: &mut Emit<()>) -> JobResult {
        for _ in 0..count {
            out.push(()).await?;
        }
        Ok(())
    }

    async fn process(&self, _: RunContext, (): ()) -> JobResult<()> {
        Ok(())
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let subtasks: u64 = arguments.next().map_or(1_000_000, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let store: SharedStore = match arguments.next() {
        Some(url) => Arc::new(MysqlStore::connect(MysqlConfig::new(url)).unwrap()),
        None => {
            Arc::new(SqliteStore::open(SqliteConfig::file(folder.path().join("bench.db"))).await.unwrap())
        }
    };
    store.migrate().await.unwrap();
    let clock = Clock::system();
    let (group, job) = prepare(&store, clock.now()).await;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let registry = EmbeddedRegistry::new();
    let stop = CancellationToken::new();
    let config = ServerConfig::new("bench".parse().unwrap(), 101, group.server_group(), "room");
    let coordination = Arc::new(Embedded::new(&registry));
    let server = tokio::spawn(carillon_server::serve(
        config,
        store.clone(),
        coordination,
        listener,
        clock,
        stop.clone(),
    ));
    for number in 0..WORKERS {
        let worker = Worker::builder()
            .servers([address.clone()])
            .group(group.to_string())
            .token(token_of(group))
            .name(format!("worker-{number}"))
            .parallel("empty", Empty);
        tokio::spawn(worker.serve_until(stop.clone()));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;

    let before = peak_memory();
    let began = Instant::now();
    let run = trigger(&address, group, &job, subtasks).await;
    let mut stored = None;
    let row = loop {
        let header = store.map_header(run, AttemptNo::FIRST).await.unwrap();
        if header.is_some_and(|header| header.split_complete) {
            stored.get_or_insert_with(|| began.elapsed());
        }
        let row = store.run(run).await.unwrap().unwrap();
        if row.state.is_final() {
            break row;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let took = began.elapsed();
    assert_eq!(row.state, RunState::Succeeded, "{row:?}");
    println!(
        "{} subtasks on {} over {WORKERS} workers: {took:.2?}, {:.0} a second; all stored after {stored:.2?}; {:?}; peak memory {} MB, {} MB before",
        subtasks,
        store.backend(),
        subtasks as f64 / took.as_secs_f64(),
        row.result,
        peak_memory() / 1_024,
        before / 1_024
    );
    stop.cancel();
    server.await.unwrap().unwrap();
}

/// A database may have seen this before: each run of it has a group and a token of its own.
fn token_of(group: GroupId) -> String {
    format!("cri_wkr_of_{group}")
}

async fn prepare(store: &SharedStore, at: Timestamp) -> (GroupId, Job) {
    let number = store.next_group_number(101).await.unwrap();
    let group = GroupId::new(101, 1 + number % 10_000, 1, number).unwrap();
    let row = Group {
        id: group,
        name: format!("bench {number}"),
        description: String::new(),
        shards: 1,
        revision: 1,
        created_at: at,
        updated_at: at,
    };
    store.create_group(&row, at).await.unwrap();
    let token = Token {
        id: 0,
        name: "bench".into(),
        hash: Sha256::digest(token_of(group).as_bytes()).into(),
        prefix: "cri_wkr".into(),
        scope: TokenScope::Worker { group },
        created_at: at,
        created_by: "bench".into(),
        expires_at: None,
        last_used_at: None,
    };
    store.create_token(&token).await.unwrap();
    let spec = json!({ "group": group.to_string(), "name": "empty", "handler": "empty", "kind": "parallel", "schedule": { "type": "api" } });
    let spec: JobSpec = serde_json::from_value(spec).unwrap();
    let id = store.next_job_id().await.unwrap();
    let job = Job {
        id,
        version: JobVersion::new(1),
        shard_index: 0,
        spec,
        effective_from: at,
        created_at: at,
        updated_at: at,
        updated_by: "bench".into(),
    };
    let shard = ShardId::new(group, 0);
    let row = store.shard(shard).await.unwrap().unwrap();
    let edit = JobEdit {
        shard,
        seen_jobs_version: row.jobs_version,
        seen_planned_until: row.planned_until,
        change: JobChange::Create(job.clone()),
        at: row.planned_until.max(at),
        cancel_reason: Reason::new(ReasonCode::Edited, "edited"),
        runs: Vec::new(),
    };
    assert!(matches!(store.edit_job(&edit).await.unwrap(), EditOutcome::Edited { .. }));
    (group, job)
}

async fn trigger(address: &str, group: GroupId, job: &Job, subtasks: u64) -> RunKey {
    let mut control = ControlClient::connect(address.to_owned()).await.unwrap();
    let request = TriggerRequest {
        job: job.id.get(),
        shard: ShardId::new(group, 0).to_string(),
        idempotency_key: "bench".into(),
        params: Some(subtasks.to_string().into_bytes().into()),
        requested_by: "bench".into(),
        ..TriggerRequest::default()
    };
    let run = control.trigger(request).await.unwrap().into_inner().run.unwrap();
    RunKey { fire_time: Timestamp::from_millis(run.fire_time_ms), job: job.id, ordinal: run.ordinal }
}

/// The most memory this process had, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}
