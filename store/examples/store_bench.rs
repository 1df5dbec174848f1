//! How quick the store's hot path is: plan rows in batches, then make them final in batches.
//!
//! `cargo run --release -p carillon-store --example store_bench -- sqlite|mysql ROWS [BATCH] [WRITERS]`; mysql takes its server from
//! `CARILLON_TEST_MYSQL`. Prints one line for each step; the rows are those of `WRITERS` shards, a thousand jobs each.
#![allow(clippy::print_stdout, reason = "a command that prints its figures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use carillon_core::ids::{
    AttemptNo, Epoch, GroupId, Incarnation, JobId, JobVersion, JobsVersion, PlanNo, RunKey, ShardId,
};
use carillon_core::run::{Run, RunState};
use carillon_core::time::{Span, Timestamp};
use carillon_store::SharedStore;
use carillon_store::catalog::Group;
use carillon_store::mysql::{MysqlConfig, MysqlStore};
use carillon_store::runs::{Advance, Insertion, RunFilter, Slice, SliceOutcome, Step, TriggeredRun};
use carillon_store::shards::{ClaimCause, ClaimNote};
use carillon_store::sqlite::{Durability, SqliteConfig, SqliteStore};

const JOBS: u32 = 1_000;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let backend =
        arguments.next().context("usage: store_bench sqlite|sqlite-full|mysql ROWS [BATCH] [WRITERS]")?;
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (rows, batch, writers) = (number(200_000)?, number(1_000)?, number(4)?);
    let folder = tempfile::tempdir()?;
    let file = |durability| SqliteConfig { durability, ..SqliteConfig::file(folder.path().join("bench.db")) };
    let store: SharedStore = match backend.as_str() {
        "sqlite" => Arc::new(SqliteStore::open(file(Durability::Process)).await?),
        "sqlite-full" => Arc::new(SqliteStore::open(file(Durability::Power)).await?),
        "mysql" => {
            let url = std::env::var("CARILLON_TEST_MYSQL").context("CARILLON_TEST_MYSQL names the server")?;
            let config = MysqlConfig { timeout: Duration::from_secs(60), ..MysqlConfig::new(url) };
            Arc::new(MysqlStore::connect(config)?)
        }
        other => anyhow::bail!("unknown backend {other:?}"),
    };
    store.migrate().await?;
    let mut shards = Vec::new();
    for _ in 0..writers {
        shards.push(new_shard(&store).await?);
    }
    let per_writer = rows / writers;
    println!("{backend}: {rows} rows, {batch} a batch, {writers} writers");

    measure("plan (insert)", rows, &shards, |shard| plan(store.clone(), shard, per_writer, batch)).await?;
    measure("started", rows / 4, &shards, |shard| {
        advance(store.clone(), shard, per_writer / 4, batch, |key| Step::Started {
            at: key.fire_time,
            worker: Incarnation::new(1),
        })
    })
    .await?;
    measure("final (update)", rows, &shards, |shard| {
        advance(store.clone(), shard, per_writer, batch, |key| Step::Final {
            state: RunState::Succeeded,
            started_at: Some(key.fire_time),
            at: key.fire_time + Span::from_millis(5),
            reason: None,
            result: None,
            seen: None,
        })
    })
    .await?;
    let triggers = (rows / 20).max(writers);
    measure("trigger (one a request, 64 at once)", triggers, &shards, |shard| {
        trigger(store.clone(), shard, triggers / writers)
    })
    .await?;

    let shard = shards[0];
    let group = RunFilter { groups: Some(vec![shard.group()]), ..RunFilter::default() };
    let job = RunFilter { job: Some(JobId::new(1)), ..RunFilter::default() };
    let dead = RunFilter { states: vec![RunState::Dead], ..RunFilter::default() };
    for (name, filter) in
        [("all", RunFilter::default()), ("of a group", group), ("of a job", job), ("dead letters", dead)]
    {
        let begun = Instant::now();
        let found = store.list_runs(&filter, None, 50).await?.len();
        println!("  list {name:<14} {found:>3} rows in {:>8.2} ms", begun.elapsed().as_secs_f64() * 1e3);
    }
    let begun = Instant::now();
    let open = store.open_runs(shard, 10_000).await?.len();
    println!("  open runs of a shard {open:>6} in {:>8.2} ms", begun.elapsed().as_secs_f64() * 1e3);
    store.close().await;
    Ok(())
}

async fn new_shard(store: &SharedStore) -> Result<ShardId> {
    let number = store.next_group_number(201).await?;
    let id = GroupId::new(201, 1, 2, number)?;
    let at = Timestamp::EPOCH;
    let name = format!("bench {number}");
    let group = Group {
        id,
        name,
        description: String::new(),
        shards: 1,
        revision: 1,
        created_at: at,
        updated_at: at,
    };
    store.create_group(&group, start()).await?;
    let shard = ShardId::new(id, 0);
    let note = ClaimNote { at, room: String::new(), cause: ClaimCause::First };
    store.claim(shard, Epoch::new(0), &"bench".parse()?, &note).await?;
    Ok(shard)
}

fn start() -> Timestamp {
    Timestamp::from_millis(1_795_000_000_000)
}

/// The `index`-th fire of a shard: its jobs all fire once a second.
fn fire(shard: ShardId, index: usize) -> RunKey {
    let job = JobId::new(shard.group().number() * JOBS + index as u32 % JOBS);
    RunKey::scheduled(job, start() + Span::from_secs(1 + index as u64 / u64::from(JOBS)))
}

fn run(shard: ShardId, key: RunKey) -> Run {
    Run {
        worker: Some(Incarnation::new(0x1234_5678_9abc_def0)),
        plan_no: PlanNo::new(1),
        due_at: key.fire_time,
        start_by: key.fire_time + Span::from_secs(30),
        ..Run::planned(key, shard, Epoch::new(1), JobVersion::new(1))
    }
}

async fn measure<F>(name: &str, rows: usize, shards: &[ShardId], step: impl Fn(ShardId) -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let begun = Instant::now();
    let running: Vec<_> = shards.iter().map(|shard| tokio::spawn(step(*shard))).collect();
    for one in running {
        one.await??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "  {name:<36} {:>9.0} rows/s  {:>6.2} us/row",
        rows as f64 / seconds,
        seconds * 1e6 / rows as f64
    );
    Ok(())
}

async fn plan(store: SharedStore, shard: ShardId, rows: usize, batch: usize) -> Result<()> {
    let mut from = start();
    for first in (0..rows).step_by(batch) {
        let runs = (first..(first + batch).min(rows)).map(|index| run(shard, fire(shard, index))).collect();
        let to = from + Span::from_millis(1);
        let slice = Slice { shard, epoch: Epoch::new(1), jobs_version: JobsVersion::new(0), from, to, runs };
        let outcome = store.commit_slices(&[slice]).await?;
        ensure!(outcome == [SliceOutcome::Committed], "fenced");
        from = to;
    }
    Ok(())
}

async fn advance(
    store: SharedStore,
    shard: ShardId,
    rows: usize,
    batch: usize,
    step: impl Fn(RunKey) -> Step + Send,
) -> Result<()> {
    for first in (0..rows).step_by(batch) {
        let steps: Vec<Advance> = (first..(first + batch).min(rows))
            .map(|index| fire(shard, index))
            .map(|key| Advance { key, attempt: AttemptNo::FIRST, step: step(key), fence: None })
            .collect();
        ensure!(store.advance(&steps).await?.into_iter().all(|changed| changed), "not every row changed");
    }
    Ok(())
}

async fn trigger(store: SharedStore, shard: ShardId, requests: usize) -> Result<()> {
    let mut waiting = tokio::task::JoinSet::new();
    for index in 0..requests {
        while waiting.len() >= 16 {
            waiting.join_next().await.context("some are waiting")???;
        }
        let store = store.clone();
        waiting.spawn(async move {
            let idempotency_key = format!("request-{index}");
            let key = fire(shard, index);
            let key = RunKey::triggered(key.job, key.fire_time, &idempotency_key);
            let made =
                store.insert_triggered(&[TriggeredRun { run: run(shard, key), idempotency_key }]).await?;
            ensure!(made == [Insertion::New], "the key was known");
            Ok(())
        });
    }
    while let Some(done) = waiting.join_next().await {
        done??;
    }
    Ok(())
}
