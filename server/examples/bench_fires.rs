//! Benchmarks B1, B2 and B4: how many fires a second one server takes, and how late they start: every job fires every second, all on the same second.
//!
//! `cargo run --release -p carillon-server --example bench_fires -- --jobs 10000 --seconds 20 --shards 4`
//!
//! `--store mysql://user:password@host:port/database` takes a database that exists instead of a SQLite file of its own.
//!
//! Before that, `--triggers 200` requests one after the other, from the call to the handler's start.
//!
//! One process on loopback: server, store, embedded coordinator, and one worker whose handlers do nothing. Lateness is measured by
//! the worker, from the fire time to the moment at which a handler would be called.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measuring program: what fails ends it, and it talks on stdout"
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use carillon_coordination::{Coordination, Embedded};
use carillon_core::ids::{GroupId, JobVersion, ShardId};
use carillon_core::job::{Job, JobSpec};
use carillon_core::run::{Reason, ReasonCode, RunState};
use carillon_core::time::Timestamp;
use carillon_proto::v1::control_client::ControlClient;
use carillon_proto::v1::worker_gateway_client::WorkerGatewayClient;
use carillon_proto::v1::{
    Arm, Handler, Hello, Report, ReportBatch, ReportKind, RunRef, TriggerRequest, WorkerMessage,
    server_message::Message as ToWorker, worker_message::Message as FromWorker,
};
use carillon_server::{Clock, ServerConfig};
use carillon_store::SharedStore;
use carillon_store::accounts::{Token, TokenScope};
use carillon_store::catalog::{EditOutcome, Group, JobChange, JobEdit};
use carillon_store::runs::RunFilter;
use futures::StreamExt as _;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

const TOKEN: &str = "cri_wkr_of_the_benchmark";

#[tokio::main]
async fn main() {
    let argument = |name: &str, default: u64| {
        let mut arguments = std::env::args().skip_while(|argument| argument != name);
        arguments.nth(1).map_or(default, |value| value.parse().unwrap())
    };
    let triggers = argument("--triggers", 200);
    let (jobs, seconds, shards) =
        (argument("--jobs", 10_000), argument("--seconds", 20), argument("--shards", 4));
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    }
    let clock = Clock::system();
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", folder.path().join("bench.db").display());
    let url = std::env::args().skip_while(|argument| argument != "--store").nth(1).unwrap_or(file);
    let store: SharedStore = carillon_store::open(&url).await.unwrap();
    store.migrate().await.unwrap();
    let (group, by_request) = prepare(&store, jobs, shards as u16, clock.now()).await;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let coordination: Arc<dyn Coordination> = Arc::new(Embedded::alone());
    let shutdown = CancellationToken::new();
    let config = ServerConfig::new("bench".parse().unwrap(), 101, 1, "a");
    let server = tokio::spawn(carillon_server::serve(
        config,
        store.clone(),
        coordination,
        listener,
        clock.clone(),
        shutdown.clone(),
    ));

    // The first seconds are the catching up of a cold start.
    let from = Timestamp::from_millis((clock.now().as_millis() / 1_000 + 6) * 1_000);
    let to = Timestamp::from_millis(from.as_millis() + seconds as i64 * 1_000);
    let requested = Requested::default();
    let worker = tokio::spawn(work(address, group, clock.clone(), from, to, requested.clone()));
    trigger(address, &by_request, triggers, &clock, &requested).await;
    tokio::time::sleep(clock.until(from)).await;
    let (cpu, since) = (cpu_seconds(), Instant::now());
    let mut measured = worker.await.unwrap();
    let (cpu, took) = (cpu_seconds() - cpu, since.elapsed());
    // Everything that was reported is in the store soon after.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let succeeded = count(&store, from, to, vec![RunState::Succeeded]).await;
    let planned = count(&store, from, to, Vec::new()).await;
    shutdown.cancel();
    server.await.unwrap().unwrap();

    let expected = jobs * seconds;
    measured.lateness.sort_unstable();
    let quantile = |share: f64| {
        let index = ((measured.lateness.len() as f64 * share) as usize)
            .min(measured.lateness.len().saturating_sub(1));
        measured.lateness.get(index).copied().unwrap_or(0) as f64 / 1_000.0
    };
    println!("jobs {jobs}, shards {shards}, {seconds} s, all fires on the same second");
    println!(
        "fires expected {expected}, planned {planned}, started {}, doubled {}, final {succeeded}",
        measured.lateness.len(),
        measured.doubled
    );
    println!("rate {:.0}/s", measured.lateness.len() as f64 / seconds as f64);
    println!(
        "lateness ms: p50 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2}",
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        quantile(1.0)
    );
    println!(
        "cpu of server, store and worker: {:.1} us a fire ({:.0} % of a core)",
        cpu * 1e6 / expected as f64,
        cpu / took.as_secs_f64() * 100.0
    );
}

async fn count(store: &SharedStore, from: Timestamp, to: Timestamp, states: Vec<RunState>) -> usize {
    let filter = RunFilter { from: Some(from), to: Some(to), states, ..RunFilter::default() };
    store.count_runs(&filter, 100_000_000).await.unwrap()
}

/// When triggered runs started, in microseconds: by fire time, job and ordinal.
type Requested = Arc<Mutex<HashMap<(i64, u32, u64), i64>>>;

async fn trigger(address: std::net::SocketAddr, job: &Job, count: u64, clock: &Clock, requested: &Requested) {
    let mut control = loop {
        match ControlClient::connect(format!("http://{address}")).await {
            Ok(control) => break control,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let shard = ShardId::new(job.spec.group, job.shard_index).to_string();
    let request = |index: u64| TriggerRequest {
        job: job.id.get(),
        shard: shard.clone(),
        idempotency_key: format!("request-{index}"),
        requested_by: "bench".into(),
        ..TriggerRequest::default()
    };
    // Until the shard is owned and the worker is there.
    while control.trigger(request(count)).await.is_err() || requested.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut took = Vec::new();
    for index in 0..count {
        let (at, micros) = clock.now_micros();
        let at = at.as_millis() * 1_000 + i64::from(micros);
        let run = control.trigger(request(index)).await.unwrap().into_inner().run.unwrap();
        let key = (run.fire_time_ms, run.job, run.ordinal);
        let started = loop {
            if let Some(started) = requested.lock().unwrap().get(&key) {
                break *started;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        took.push(started - at);
    }
    took.sort_unstable();
    let at = |share: f64| took[((took.len() as f64 * share) as usize).min(took.len() - 1)] as f64 / 1_000.0;
    println!(
        "trigger by request to handler start ms: p50 {:.2}, p99 {:.2}, max {:.2}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

async fn prepare(store: &SharedStore, jobs: u64, shards: u16, at: Timestamp) -> (GroupId, Job) {
    let number = store.next_group_number(101).await.unwrap();
    let id = GroupId::new(101, 1, 1, number).unwrap();
    let group = Group {
        id,
        name: "bench".into(),
        description: String::new(),
        shards,
        revision: 1,
        created_at: at,
        updated_at: at,
    };
    store.create_group(&group, at).await.unwrap();
    let token = Token {
        id: 0,
        name: "bench".into(),
        hash: Sha256::digest(TOKEN.as_bytes()).into(),
        prefix: "cri_wkr".into(),
        scope: TokenScope::Worker { group: id },
        created_at: at,
        created_by: "bench".into(),
        expires_at: None,
        last_used_at: None,
    };
    store.create_token(&token).await.unwrap();
    let by_request: Vec<Job> = futures::stream::iter(0..=jobs)
        .map(|index| async move {
            let schedule = match index {
                0 => serde_json::json!({"type": "api"}),
                _ => serde_json::json!({"type": "fixed_rate", "every": "1s"}),
            };
            let spec: JobSpec = serde_json::from_value(serde_json::json!({
                "group": id.to_string(), "name": format!("job-{index}"), "handler": "nothing",
                "schedule": schedule, "overlap": {"policy": "parallel"},
            }))
            .unwrap();
            let job_id = store.next_job_id().await.unwrap();
            let shard = ShardId::of_job(id, job_id, shards);
            let job = Job {
                id: job_id,
                version: JobVersion::new(1),
                shard_index: shard.index(),
                spec,
                effective_from: at,
                created_at: at,
                updated_at: at,
                updated_by: "bench".into(),
            };
            loop {
                let row = store.shard(shard).await.unwrap().unwrap();
                let edit = JobEdit {
                    shard,
                    seen_jobs_version: row.jobs_version,
                    seen_planned_until: row.planned_until,
                    change: JobChange::Create(job.clone()),
                    at,
                    cancel_reason: Reason::new(ReasonCode::Edited, "edited"),
                    runs: Vec::new(),
                };
                if let EditOutcome::Edited { .. } = store.edit_job(&edit).await.unwrap() {
                    return (index, job);
                }
            }
        })
        .buffer_unordered(64)
        .filter_map(|(index, job)| async move { (index == 0).then_some(job) })
        .collect()
        .await;
    (id, by_request.into_iter().next().unwrap())
}

struct Measured {
    /// Microseconds.
    lateness: Vec<i64>,
    doubled: usize,
}

/// A worker whose handlers do nothing: it starts what is due between `from` and `to`, and everything before.
async fn work(
    address: std::net::SocketAddr,
    group: GroupId,
    clock: Clock,
    from: Timestamp,
    to: Timestamp,
    requested: Requested,
) -> Measured {
    let mut client = loop {
        match WorkerGatewayClient::connect(format!("http://{address}")).await {
            Ok(client) => break client.max_decoding_message_size(16 << 20),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    let (sender, receiver) = mpsc::channel(1_024);
    let hello = Hello {
        group: group.to_string(),
        token: TOKEN.into(),
        incarnation: 7,
        name: "bench".into(),
        handlers: vec![Handler {
            name: "nothing".into(),
            concurrency: 1_000_000,
            queue: 1_000_000,
            ..Handler::default()
        }],
        ..Hello::default()
    };
    sender.send(WorkerMessage { message: Some(FromWorker::Hello(hello)) }).await.unwrap();
    let mut messages = client.open(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let mut due: BTreeMap<i64, Vec<Arm>> = BTreeMap::new();
    let mut known: HashMap<(i64, u32), u32> = HashMap::new();
    let mut reports: Vec<Report> = Vec::new();
    let mut seq = 0;
    let mut measured = Measured { lateness: Vec::new(), doubled: 0 };
    let mut flush = tokio::time::interval(Duration::from_millis(20));
    loop {
        let next = due.keys().next().copied().unwrap_or(i64::MAX);
        tokio::select! {
            biased;
            () = tokio::time::sleep(clock.until(Timestamp::from_millis(next))), if next < i64::MAX => {
                for arm in due.remove(&next).unwrap_or_default() {
                    let (now, micros) = clock.now_micros();
                    let run: RunRef = arm.run.unwrap();
                    if run.fire_time_ms >= from.as_millis() && run.fire_time_ms < to.as_millis() {
                        measured.lateness.push((now.as_millis() - arm.due_ms) * 1_000 + i64::from(micros));
                    }
                    for kind in [ReportKind::Started, ReportKind::Succeeded] {
                        reports.push(report(&mut seq, &arm, kind, now.as_millis()));
                    }
                }
            }
            message = messages.message() => {
                let Some(message) = message.unwrap().and_then(|message| message.message) else { break };
                if let ToWorker::Arms(batch) = message {
                    let now = clock.now().as_millis();
                    for arm in batch.arms {
                        let run = arm.run.unwrap();
                        if run.ordinal > 0 {
                            let (at, micros) = clock.now_micros();
                            let at = at.as_millis() * 1_000 + i64::from(micros);
                            let key = (run.fire_time_ms, run.job, run.ordinal);
                            if requested.lock().unwrap().insert(key, at).is_none() {
                                for kind in [ReportKind::Started, ReportKind::Succeeded] {
                                    reports.push(report(&mut seq, &arm, kind, now));
                                }
                            }
                            continue;
                        }
                        let times = known.entry((run.fire_time_ms, run.job)).or_default();
                        *times += 1;
                        if *times == 1 {
                            reports.push(report(&mut seq, &arm, ReportKind::Armed, now));
                            due.entry(arm.due_ms).or_default().push(arm);
                        } else if arm.attempt > 1 {
                            measured.doubled += 1;
                        }
                    }
                }
            }
            _ = flush.tick() => {
                for batch in std::mem::take(&mut reports).chunks(4_000) {
                    let batch = FromWorker::Reports(ReportBatch { reports: batch.to_vec() });
                    sender.send(WorkerMessage { message: Some(batch) }).await.unwrap();
                }
                if clock.now() >= Timestamp::from_millis(to.as_millis() + 1_000) {
                    break;
                }
            }
        }
    }
    // The stream stays until the server ends it, so that acknowledgements still have a reader.
    tokio::spawn(async move {
        while let Ok(Some(_)) = messages.message().await {}
        drop(sender)
    });
    measured
}

fn report(seq: &mut u64, arm: &Arm, kind: ReportKind, at_ms: i64) -> Report {
    *seq += 1;
    Report {
        seq: *seq,
        run: arm.run,
        attempt: arm.attempt,
        plan_no: arm.plan_no,
        shard: arm.shard,
        kind: kind.into(),
        at_ms,
        started_ms: at_ms,
        ..Report::default()
    }
}

/// Processor time of this process; 0 where there is no `/proc`.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // User and system time are fields 14 and 15, in hundredths of a second.
    (ticks(11) + ticks(12)) / 100.0
}
