//! Fills a database with history, so that pages can be measured on it: 20 task groups with 25 jobs each, whose runs are spread over the last
//! 30 days, nearly all succeeded, the figures of their hours, logs of the runs that failed, and one run with a long log.
//!
//! `cargo run --release -p carillon-store --example seed_runs -- URL [RUNS [MEGABYTES]]`; 10,000,000 runs and a log of 1,000 MB unless said
//! otherwise. Prints how far it is.
#![allow(clippy::print_stdout, reason = "a command that prints its progress")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use carillon_core::ids::{
    AttemptNo, Epoch, GroupId, Incarnation, JobId, JobVersion, PlanNo, RunKey, ServerId, ShardId,
};
use carillon_core::job::Job;
use carillon_core::run::{Reason, ReasonCode, Run, RunState, TriggerKind};
use carillon_core::time::{Span, Timestamp};
use carillon_store::SharedStore;
use carillon_store::catalog::{EditOutcome, Group, JobChange, JobEdit};
use carillon_store::logs::LogChunk;
use carillon_store::mysql::{MysqlConfig, MysqlStore};
use carillon_store::observed::{Figures, Rollup, RollupSpan};
use carillon_store::runs::{Insertion, Slice, SliceOutcome};
use carillon_store::shards::{ClaimCause, ClaimNote};
use carillon_store::sqlite::{SqliteConfig, SqliteStore};

const GROUPS: usize = 20;
const JOBS_A_GROUP: usize = 25;
const DAYS: u64 = 30;
const HOUR: Span = Span::from_secs(3_600);

/// A group's shard and its jobs.
struct Seeded {
    group: GroupId,
    shard: ShardId,
    jobs: Vec<JobId>,
    epoch: Epoch,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("usage: seed_runs mysql://...|sqlite:FILE [RUNS [MEGABYTES]]")?;
    let runs: u64 = arguments.next().map_or(Ok(10_000_000), |text| text.parse())?;
    let megabytes: u64 = arguments.next().map_or(Ok(1_000), |text| text.parse())?;
    let store: SharedStore = match url.strip_prefix("sqlite:") {
        Some(file) => Arc::new(SqliteStore::open(SqliteConfig::file(file)).await?),
        // A slice of an hour of all groups takes longer than an operation of a server may.
        None => {
            let timeout = Duration::from_secs(300);
            Arc::new(MysqlStore::connect(MysqlConfig { timeout, ..MysqlConfig::new(url) })?)
        }
    };
    store.migrate().await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let end = Timestamp::from_millis(i64::try_from(now)?).floor(HOUR);
    let start = end.saturating_sub(Span::from_secs(DAYS * 24 * 3_600));
    let mut groups = Vec::new();
    for number in 0..GROUPS {
        groups.push(new_group(&store, number, start).await?);
    }
    let an_hour = runs / (DAYS * 24);
    let (began, mut seeded, mut hour) = (Instant::now(), 0, start);
    while hour < end {
        seeded += seed_hour(&store, &groups, hour, an_hour).await?;
        hour = hour + HOUR;
        if hour.as_millis() % (24 * 3_600_000) == 0 {
            let rate = seeded as f64 / began.elapsed().as_secs_f64();
            println!("{seeded:>10} runs, {rate:.0} a second");
        }
    }
    println!("{seeded} runs in {:.0} s", began.elapsed().as_secs_f64());
    if megabytes > 0 {
        write_long_log(&store, &groups[0], end, megabytes * 1_000_000).await?;
        println!("and a log of {megabytes} MB");
    }
    store.close().await;
    Ok(())
}

async fn new_group(store: &SharedStore, number: usize, start: Timestamp) -> Result<Seeded> {
    let id = GroupId::new(101, 1, 2, store.next_group_number(101).await?)?;
    let name = format!("seeded {number:02} ({id})");
    let description = "filled by seed_runs".to_owned();
    let (created_at, updated_at) = (start, start);
    store
        .create_group(&Group { id, name, description, shards: 1, revision: 1, created_at, updated_at }, start)
        .await?;
    let shard = ShardId::new(id, 0);
    let mut jobs = Vec::new();
    for job in 0..JOBS_A_GROUP {
        jobs.push(new_job(store, id, &format!("job {job:02} of {number:02}"), start).await?);
    }
    let owner: ServerId = "seeder".parse()?;
    let note = ClaimNote { at: start, room: "nowhere".to_owned(), cause: ClaimCause::First };
    let epoch = store.claim(shard, Epoch::new(0), &owner, &note).await?.context("nobody else claims")?;
    Ok(Seeded { group: id, shard, jobs, epoch })
}

async fn new_job(store: &SharedStore, group: GroupId, name: &str, start: Timestamp) -> Result<JobId> {
    let spec = serde_json::json!({
        "group": group, "name": name, "handler": "seeded", "enabled": false,
        "schedule": {"type": "cron", "expression": "0 0/5 * * * ?", "time_zone": "UTC"},
    });
    let job = Job {
        id: store.next_job_id().await?,
        version: JobVersion::new(1),
        shard_index: 0,
        spec: serde_json::from_value(spec)?,
        effective_from: start,
        created_at: start,
        updated_at: start,
        updated_by: "seed_runs".to_owned(),
    };
    let (id, shard) = (job.id, ShardId::new(group, 0));
    let row = store.shard(shard).await?.context("the shard is there")?;
    let edit = JobEdit {
        shard,
        seen_jobs_version: row.jobs_version,
        seen_planned_until: row.planned_until,
        change: JobChange::Create(job),
        at: start,
        cancel_reason: Reason::new(ReasonCode::Paused, ""),
        runs: Vec::new(),
    };
    ensure!(matches!(store.edit_job(&edit).await?, EditOutcome::Edited { .. }), "nobody else edits");
    Ok(id)
}

/// The runs of all groups in one hour, and its figures.
async fn seed_hour(store: &SharedStore, groups: &[Seeded], hour: Timestamp, runs: u64) -> Result<u64> {
    let (mut slices, mut rollups, mut logs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut all, mut seeded) = (Figures::default(), 0);
    for (place, of) in (0_u64..).zip(groups) {
        let row = store.shard(of.shard).await?.context("the shard is there")?;
        let (mut rows, mut figures) = (Vec::new(), Figures::default());
        let count = runs / GROUPS as u64;
        for number in 0..count {
            // Spread over the hour, each job in turn, no two at the same instant.
            let at = 1 + (number * GROUPS as u64 + place) * HOUR.as_millis() / (runs + 1);
            let job = of.jobs[usize::try_from(number)? % JOBS_A_GROUP];
            let run = run(of, job, hour + Span::from_millis(at), number);
            match run.state {
                RunState::Succeeded => figures.succeeded += 1,
                RunState::Missed => figures.missed += 1,
                RunState::Skipped => figures.skipped += 1,
                _ => figures.failed += 1,
            }
            if let Some(lateness) = run.lateness() {
                figures.start(run.key, i64::try_from(lateness.as_millis())?);
            }
            if run.state.is_dead_letter() {
                logs.push(log_of(&run));
            }
            rows.push(run);
        }
        seeded += count;
        all.add(&figures);
        let (span, writer) = (RollupSpan::Hour, 0);
        rollups.push(Rollup { span, begins_at: hour, group: Some(of.group), writer, figures });
        slices.push(Slice {
            shard: of.shard,
            epoch: of.epoch,
            jobs_version: row.jobs_version,
            from: row.planned_until,
            to: hour + HOUR,
            runs: rows,
        });
    }
    rollups.push(Rollup { span: RollupSpan::Hour, begins_at: hour, group: None, writer: 0, figures: all });
    let outcomes = store.commit_slices(&slices).await?;
    ensure!(outcomes.iter().all(|outcome| *outcome == SliceOutcome::Committed), "nobody else plans");
    store.write_rollups(&rollups).await?;
    store.append_logs(&logs).await?;
    Ok(seeded)
}

/// Some twenty lines, as a handler writes them that fails in the end.
fn log_of(run: &Run) -> LogChunk {
    let mut text = String::new();
    for line in 1..=20 {
        text.push_str(&format!("{} INFO seeded: step {line} of run {}\n", run.due_at, run.key));
    }
    LogChunk { run: run.key, attempt: run.attempt, chunk_no: 0, offset: 0, text }
}

/// A run of a job "long log" whose log holds so many bytes, in chunks as workers cut them.
async fn write_long_log(store: &SharedStore, of: &Seeded, at: Timestamp, bytes: u64) -> Result<()> {
    const CHUNK_BYTES: usize = 64 * 1024;
    const CHUNKS_AT_ONCE: usize = 64;
    let job = new_job(store, of.group, "long log", at).await?;
    let succeeded = |run: Run| Run { state: RunState::Succeeded, reason: None, ..run };
    let run = succeeded(run(of, job, at, 0));
    ensure!(store.insert_runs(std::slice::from_ref(&run)).await? == [Insertion::New], "nobody else plans");
    let (mut offset, mut line, mut chunk_no) = (0, 0_u64, 0);
    while offset < bytes {
        let mut chunks = Vec::with_capacity(CHUNKS_AT_ONCE);
        while chunks.len() < CHUNKS_AT_ONCE && offset < bytes {
            let mut text = String::with_capacity(CHUNK_BYTES);
            while text.len() < CHUNK_BYTES - 200 {
                line += 1;
                // Something that does not compress to nothing.
                let noise = line.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                text.push_str(&format!(
                    "{at} INFO seeded: line {line} of the long log, account {noise:016x}\n"
                ));
            }
            let length = text.len() as u64;
            chunks.push(LogChunk { run: run.key, attempt: run.attempt, chunk_no, offset, text });
            (offset, chunk_no) = (offset + length, chunk_no + 1);
        }
        store.append_logs(&chunks).await?;
    }
    Ok(())
}

/// A run as it is long after: of 1,000 some 985 succeeded, 10 failed, 3 were missed, 2 skipped.
fn run(of: &Seeded, job: JobId, fire: Timestamp, number: u64) -> Run {
    let dice = (number * 7_919 + u64::from(job.get()) * 104_729 + fire.as_millis().unsigned_abs()) % 1_000;
    let (state, reason) = match dice {
        0..7 => (RunState::Dead, Some((ReasonCode::HandlerFailed, "connection refused by the ledger"))),
        7..9 => (RunState::Failed, Some((ReasonCode::HandlerFailed, "the account does not exist"))),
        9 => (RunState::TimedOut, Some((ReasonCode::Timeout, "took longer than 30s"))),
        10..13 => {
            (RunState::Missed, Some((ReasonCode::NoWorker, "no worker with the handler was connected")))
        }
        13..15 => (RunState::Skipped, Some((ReasonCode::Overlap, "the run before was still running"))),
        _ => (RunState::Succeeded, None),
    };
    let late = Span::from_millis(1 + dice % 4);
    let started = !matches!(state, RunState::Missed | RunState::Skipped);
    let started_at = started.then_some(fire + late);
    Run {
        key: RunKey::scheduled(job, fire),
        shard: of.shard,
        epoch: of.epoch,
        job_version: JobVersion::new(1),
        trigger: TriggerKind::Schedule,
        worker: Some(Incarnation::new(0x5eed)),
        plan_no: PlanNo::default(),
        attempt: AttemptNo::FIRST,
        state,
        due_at: fire,
        start_by: fire + Span::from_secs(60),
        started_at,
        finished_at: Some(fire + late + Span::from_millis(5 + dice)),
        reason: reason.map(|(code, detail)| Reason::new(code, detail)),
        result: None,
        params: None,
        trace: None,
    }
}
