//! Parallel runs over a real stream.

#![allow(clippy::print_stderr, reason = "says what it measured")]

mod gateway;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use carillon_client::prelude::*;
use carillon_proto::v1::server_message::Message as ToWorker;
use carillon_proto::v1::{self, ReportKind, RunKind};
use gateway::{Gateway, arm, run, worker};
use tokio::sync::Semaphore;

/// Emits the numbers below its params; adds them up.
struct Sum;

impl ParallelJob for Sum {
    type Params = i64;
    type Task = i64;
    type Output = i64;
    async fn split(&self, _: RunContext, below: i64, out: &mut Emit<i64>) -> JobResult {
        for number in 0..below {
            out.push(number).await?;
        }
        Ok(())
    }
    async fn process(&self, ctx: RunContext, number: i64) -> JobResult<i64> {
        match (number, ctx.subtask().map(|subtask| subtask.attempt)) {
            (13, Some(1)) => panic!("unlucky"),
            (14, Some(1)) => Err(fatal("never")),
            _ => Ok(number),
        }
    }
}

impl Reduce for Sum {
    type Result = i64;
    async fn reduce(&self, _: RunContext, _: i64, outputs: &mut Outputs<i64>) -> JobResult<i64> {
        let mut sum = 0;
        while let Some(output) = outputs.next().await? {
            sum += output;
        }
        Ok(sum)
    }
}

fn subtasks(of: &v1::Arm, subtasks: Vec<v1::Subtask>) -> ToWorker {
    ToWorker::Subtasks(v1::Subtasks {
        run: of.run,
        attempt: 1,
        handler: of.handler.clone(),
        keep_outputs: true,
        job_name: "sum".to_owned(),
        subtasks,
        ..v1::Subtasks::default()
    })
}

fn subtask(index: u64) -> v1::Subtask {
    v1::Subtask { index, attempt: 1, key: String::new(), payload: index.to_string().into() }
}

fn results(seen: &gateway::Seen) -> HashMap<u64, v1::SubtaskResult> {
    seen.results
        .iter()
        .flat_map(|message| &message.results)
        .map(|result| (result.index, result.clone()))
        .collect()
}

#[tokio::test]
async fn a_map_is_split_processed_and_reduced() {
    let server = Gateway::start().await;
    let worker = run(worker(&[&server]).parallel_reduce("sum", Sum));
    let greeting = server.until_connected().await;
    assert!(greeting.handlers[0].parallel && greeting.handlers[0].reduce);

    let split = v1::Arm { kind: RunKind::Split.into(), ..arm(&greeting, "sum", "5000") };
    let this = split.run.unwrap();
    server.arm(split.clone());
    let report = server.until_report(this, ReportKind::Succeeded).await;
    assert_eq!(report.run_kind(), RunKind::Split);
    let emitted: Vec<v1::Subtask> = server.look(|seen| {
        assert!(seen.emits.iter().zip(0..).all(|(emit, number)| emit.batch_no == number), "no gaps");
        assert!(seen.emits.last().unwrap().last);
        seen.emits.iter().flat_map(|emit| emit.subtasks.clone()).collect()
    });
    assert_eq!(emitted.len(), 5_000);
    assert!(
        emitted
            .iter()
            .zip(0..)
            .all(|(subtask, index)| subtask.index == index && subtask.key == index.to_string())
    );

    let credit =
        server.until("credit", |seen| seen.credits.get("sum").copied().filter(|free| *free > 0)).await;
    assert_eq!(credit, 32, "twice the places");
    for part in emitted.chunks(1_000) {
        server.send(subtasks(&split, part.to_vec()));
        server.send(subtasks(&split, part[..10].to_vec()));
    }
    server.until("all results", |seen| (results(seen).len() == 5_000).then_some(())).await;
    let all = server.look(results);
    assert!(all[&13].error.contains("unlucky") && !all[&13].fatal && !all[&13].ok);
    assert!(all[&14].fatal && all[&14].error == "never");
    assert!(all.values().filter(|result| result.ok).all(|result| result.output == result.index.to_string()));

    let reduce = v1::Arm { kind: RunKind::Reduce.into(), plan_no: 2, ..split };
    server.arm(reduce);
    for (after, indexes, last) in [(-1, 0..2_000u64, false), (-1, 2_000..5_000, true)] {
        server
            .until("credit to reduce", |seen| {
                seen.reduce_credits.iter().find(|credit| credit.after_index == after).cloned()
            })
            .await;
        let outputs =
            indexes.map(|index| v1::SubtaskOutput { index, output: index.to_string().into() }).collect();
        server.send(ToWorker::ReduceInput(v1::ReduceInput { run: Some(this), attempt: 1, outputs, last }));
    }
    let sum: i64 = (0..5_000).sum();
    server
        .until("the sum", |seen| {
            let reduced = |report: &&v1::Report| {
                report.run_kind() == RunKind::Reduce && report.kind() == ReportKind::Succeeded
            };
            seen.reports.iter().find(reduced).filter(|report| report.result == sum.to_string()).map(drop)
        })
        .await;
    worker.drain().await;
}

#[tokio::test]
async fn unstored_batches_go_to_the_holder_that_comes_back() {
    let server = Gateway::start().await;
    let worker = run(worker(&[&server]).parallel("sum", Sum));
    let greeting = server.until_connected().await;
    server.acknowledge(false);
    let split = v1::Arm { kind: RunKind::Split.into(), ..arm(&greeting, "sum", "3") };
    server.arm(split.clone());
    server.until("the last batch", |seen| seen.emits.iter().any(|emit| emit.last).then_some(())).await;
    assert!(
        server.look(|seen| seen.last(split.run.unwrap(), ReportKind::Succeeded).is_none()),
        "not stored yet"
    );
    server.acknowledge(true);
    server.hang_up();
    server.until_report(split.run.unwrap(), ReportKind::Succeeded).await;
    worker.drain().await;
}

/// Processes when it is let.
struct Gated {
    starts: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl ParallelJob for Gated {
    type Params = ();
    type Task = u64;
    type Output = ();
    async fn split(&self, _: RunContext, (): (), _: &mut Emit<u64>) -> JobResult {
        Ok(())
    }
    async fn process(&self, ctx: RunContext, _: u64) -> JobResult {
        self.starts.fetch_add(1, Ordering::SeqCst);
        tokio::select! {
            permit = self.gate.acquire() => permit?.forget(),
            () = ctx.cancelled() => {}
        }
        ctx.check()
    }
}

#[tokio::test]
async fn subtasks_keep_to_the_units_places_and_a_cancel_ends_them() {
    let server = Gateway::start().await;
    let (starts, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let job = Gated { starts: Arc::clone(&starts), gate };
    let worker = run(worker(&[&server]).parallel("gated", job).with_concurrency(4));
    let greeting = server.until_connected().await;
    let order = arm(&greeting, "gated", "null");
    server.send(subtasks(&order, (0..8).map(subtask).collect()));
    let ask = v1::AskHeld { run: order.run, attempt: 1, shard: 0 };
    server.send(ToWorker::AskHeld(ask));
    let held = server.until("what is held", |seen| seen.held.first().cloned()).await;
    assert_eq!(held.held.len(), 8);
    let four = async {
        while starts.load(Ordering::SeqCst) < 4 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(gateway::DEADLINE, four).await.unwrap();
    server.send(ToWorker::Cancel(v1::Cancel {
        run: order.run,
        attempt: 1,
        grace_ms: 1_000,
        why: String::new(),
    }));
    server.until("four cancelled", |seen| (results(seen).len() == 4).then_some(())).await;
    assert_eq!(starts.load(Ordering::SeqCst), 4, "those that waited never start");
    worker.drain().await;
}

#[tokio::test]
async fn a_subtask_over_its_time_fails_alone() {
    let server = Gateway::start().await;
    let (starts, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(1)));
    let worker = run(worker(&[&server]).parallel("gated", Gated { starts, gate }));
    let greeting = server.until_connected().await;
    let order = arm(&greeting, "gated", "null");
    let ToWorker::Subtasks(mut batch) = subtasks(&order, (0..2).map(subtask).collect()) else {
        unreachable!()
    };
    batch.timeout_ms = 100;
    server.send(ToWorker::Subtasks(batch));
    server.until("both results", |seen| (results(seen).len() == 2).then_some(())).await;
    let all = server.look(results);
    let failed: Vec<_> = all.values().filter(|result| !result.ok).collect();
    assert_eq!(failed.len(), 1);
    assert!(failed[0].error.contains("timeout"), "{}", failed[0].error);
    worker.drain().await;
}

/// No judgement of time, for the machine may be busy: it says how quick the worker is, and fails only if subtasks are lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_empty_subtasks_flow_through_by_credit() {
    struct Empty;
    impl ParallelJob for Empty {
        type Params = ();
        type Task = ();
        type Output = ();
        async fn split(&self, _: RunContext, (): (), _: &mut Emit<()>) -> JobResult {
            Ok(())
        }
        async fn process(&self, _: RunContext, (): ()) -> JobResult {
            Ok(())
        }
    }
    const ALL: u64 = 100_000;
    let server = Gateway::start().await;
    let worker = run(worker(&[&server]).parallel("empty", Empty));
    let greeting = server.until_connected().await;
    let order = arm(&greeting, "empty", "null");
    let begun = Instant::now();
    let mut next = 0;
    while next < ALL {
        // As a server does: hands out what was granted, then waits for the next grant.
        let free = server.until("credit", |seen| seen.credits.remove("empty").filter(|free| *free > 0)).await;
        let up_to = (next + u64::from(free)).min(ALL);
        let batch =
            (next..up_to).map(|index| v1::Subtask { payload: "null".into(), ..subtask(index) }).collect();
        server.send(subtasks(&order, batch));
        next = up_to;
    }
    let count =
        |seen: &gateway::Seen| seen.results.iter().map(|message| message.results.len()).sum::<usize>();
    server.until("all", |seen| (count(seen) as u64 >= ALL).then_some(())).await;
    eprintln!("{:.0} empty subtasks a second", ALL as f64 / begun.elapsed().as_secs_f64());
    worker.drain().await;
}
