//! Many runs due on the same millisecond. No judgement of time beyond "never early", for the machine may be busy; it prints what it measured.

#![allow(clippy::print_stderr, reason = "says what it measured")]

mod gateway;

use carillon_client::prelude::*;
use carillon_proto::v1::server_message::Message as ToWorker;
use carillon_proto::v1::{self, ReportKind};
use gateway::{Gateway, arm, now_ms, run, worker};

async fn nothing(_: RunContext, (): ()) -> JobResult {
    Ok(())
}

async fn on_the_same_millisecond(count: u32) {
    let server = Gateway::start().await;
    let worker = run(worker(&[&server]).job("nothing", job_fn(nothing)).with_concurrency(count as usize));
    let greeting = server.until_connected().await;
    let due_ms = now_ms() + 1_500;
    let pattern = v1::Arm { due_ms, ..arm(&greeting, "nothing", "null") };
    let of_job = |job| v1::RunRef { fire_time_ms: due_ms, job, ordinal: 0 };
    let arms: Vec<_> = (1..=count).map(|job| v1::Arm { run: Some(of_job(job)), ..pattern.clone() }).collect();
    for part in arms.chunks(1_000) {
        server.send(ToWorker::Arms(v1::ArmBatch { arms: part.to_vec() }));
    }
    let done = |seen: &gateway::Seen| {
        let done = seen.reports.iter().filter(|report| report.kind() == ReportKind::Succeeded);
        done.map(|report| report.started_ms - due_ms).collect::<Vec<_>>()
    };
    let mut late =
        server.until("all", |seen| Some(done(seen)).filter(|late| late.len() == count as usize)).await;
    late.sort_unstable();
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    eprintln!(
        "{count} runs due at once: lateness p50 {} ms, p99 {} ms, max {} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    assert!(late[0] >= 0, "{} ms early", -late[0]);
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_and_ten_thousand_runs_start_at_their_time() {
    on_the_same_millisecond(1_000).await;
    on_the_same_millisecond(10_000).await;
}
