//! Simple runs between a worker and servers over real streams.

mod gateway;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use carillon_client::prelude::*;
use carillon_proto::v1::server_message::Message as ToWorker;
use carillon_proto::v1::{self, ReportKind, ReportReason};
use gateway::{DEADLINE, Gateway, arm, now_ms, run, worker};
use tokio::sync::Semaphore;

async fn hello(ctx: RunContext, name: String) -> JobResult<String> {
    Ok(format!("hello {name}, {} of {}", ctx.attempt(), ctx.max_attempts()))
}

/// A job that waits for a permit, or for its cancellation.
fn gated(starts: &Arc<AtomicUsize>, gate: &Arc<Semaphore>) -> impl Job<Params = (), Output = ()> {
    let (starts, gate) = (Arc::clone(starts), Arc::clone(gate));
    job_fn(move |ctx: RunContext, (): ()| {
        let (starts, gate) = (Arc::clone(&starts), Arc::clone(&gate));
        async move {
            starts.fetch_add(1, Ordering::SeqCst);
            tokio::select! {
                permit = gate.acquire() => permit?.forget(),
                () = ctx.cancelled() => {}
            }
            ctx.check()
        }
    })
}

#[tokio::test]
async fn an_armed_run_starts_at_its_time_and_reports_its_result() {
    let server = Gateway::start().await;
    let worker = run(worker(&[&server]).job("hello", job_fn(hello)));
    let greeting = server.until_connected().await;
    assert_eq!((greeting.handlers[0].name.as_str(), greeting.handlers[0].concurrency), ("hello", 16));

    let due_ms = now_ms() + 300;
    let order = v1::Arm { due_ms, ..arm(&greeting, "hello", "\"Ada\"") };
    let this = order.run.unwrap();
    server.arm(order);
    let ended = server.until_report(this, ReportKind::Succeeded).await;
    assert_eq!(&ended.result[..], b"\"hello Ada, 1 of 3\"");
    assert!(ended.started_ms >= due_ms, "started {} ms early", due_ms - ended.started_ms);
    assert!(ended.started_ms < due_ms + 1_000, "started {} ms late", ended.started_ms - due_ms);
    let kinds = server.look(|seen| seen.kinds(this));
    assert_eq!(kinds, [ReportKind::Armed, ReportKind::Started, ReportKind::Succeeded]);
    worker.drain().await;
    assert_eq!(server.look(|seen| seen.leaves.len()), 1);
}

#[tokio::test]
async fn copies_of_an_arm_from_two_servers_start_once() {
    let (first, second) = (Gateway::start().await, Gateway::start().await);
    let (starts, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let worker = run(worker(&[&first, &second]).job("gated", gated(&starts, &gate)));
    let greeting = first.until_connected().await;
    second.until_connected().await;
    let order = arm(&greeting, "gated", "null");
    let this = order.run.unwrap();
    for server in [&first, &second, &first] {
        server.arm(order.clone());
    }
    first.until("three answers", |seen| (seen.kinds(this).len() == 3).then_some(())).await;
    gate.add_permits(1);
    first.until_report(this, ReportKind::Succeeded).await;
    second.until_report(this, ReportKind::Succeeded).await;
    assert_eq!(starts.load(Ordering::SeqCst), 1);
    worker.drain().await;
}

#[tokio::test]
async fn unacknowledged_reports_are_sent_again_after_a_reconnect_and_acknowledged_ones_are_not() {
    let server = Gateway::start().await;
    let worker = run(worker(&[&server]).job("hello", job_fn(hello)));
    let greeting = server.until_connected().await;
    let order = arm(&greeting, "hello", "\"a\"");
    let this = order.run.unwrap();
    server.acknowledge(false);
    server.arm(order);
    let first = server.until_report(this, ReportKind::Succeeded).await;
    server.acknowledge(true);
    server.hang_up();
    let copies = |seen: &gateway::Seen| seen.reports.iter().filter(|report| **report == first).count();
    server.until("the report again", |seen| (copies(seen) == 2).then_some(())).await;
    let second = server.look(|seen| seen.hellos[1].clone());
    assert_eq!(second.incarnation, greeting.incarnation, "the same process is the same incarnation");
    server.hang_up();
    server.until("a third stream", |seen| (seen.hellos.len() == 3).then_some(())).await;
    worker.drain().await;
    assert_eq!(server.look(copies), 2, "acknowledged: sent no more");
}

#[tokio::test]
async fn a_reconnect_tells_what_is_running() {
    let server = Gateway::start().await;
    let (starts, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let worker = run(worker(&[&server]).job("gated", gated(&starts, &gate)));
    let greeting = server.until_connected().await;
    let order = arm(&greeting, "gated", "null");
    let this = order.run.unwrap();
    server.arm(order);
    server.until_report(this, ReportKind::Started).await;
    server.hang_up();
    let held =
        server.until("a second hello", |seen| seen.hellos.get(1).map(|hello| hello.held.clone())).await;
    assert_eq!(held, [v1::HeldRun { run: Some(this), attempt: 1, plan_no: 1, started: true }]);
    gate.add_permits(1);
    server.until_report(this, ReportKind::Succeeded).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_disarmed_run_does_not_start() {
    let server = Gateway::start().await;
    let (starts, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(1)));
    let worker = run(worker(&[&server]).job("gated", gated(&starts, &gate)));
    let greeting = server.until_connected().await;
    let due_ms = now_ms() + 400;
    let order = v1::Arm { due_ms, ..arm(&greeting, "gated", "null") };
    let this = order.run.unwrap();
    server.arm(order.clone());
    server.until_report(this, ReportKind::Armed).await;
    let disarm = v1::Disarm { run: Some(this), attempt: 1, plan_no: 1, shard: 0, job_version: 0, epoch: 0 };
    server.send(ToWorker::Disarms(v1::DisarmBatch { disarms: vec![disarm] }));
    server.until_report(this, ReportKind::Disarmed).await;
    // A run of another job that is due later is the proof that the time has passed.
    let mut witness = v1::Arm { due_ms: due_ms + 50, ..arm(&greeting, "gated", "null") };
    witness.run = Some(v1::RunRef { job: 2, ..this });
    server.arm(witness.clone());
    server.until_report(witness.run.unwrap(), ReportKind::Succeeded).await;
    assert_eq!(starts.load(Ordering::SeqCst), 1);
    worker.drain().await;
}

#[tokio::test]
async fn failures_panics_and_bad_params_are_told_apart() {
    async fn odd(_: RunContext, what: String) -> JobResult {
        match what.as_str() {
            "panic" => panic!("it was {what}"),
            "fatal" => Err(fatal("no such shop")),
            "later" => Err(retry_after("busy", Duration::from_secs(7))),
            "skip" => Err(skip("holiday")),
            other => {
                other.parse::<u32>()?;
                Ok(())
            }
        }
    }
    let server = Gateway::start().await;
    let worker = run(worker(&[&server]).job("odd", job_fn(odd)));
    let greeting = server.until_connected().await;
    let cases = [
        ("\"panic\"", ReportKind::Failed, ReportReason::Panicked, "handler panicked: it was panic"),
        ("\"fatal\"", ReportKind::Failed, ReportReason::Fatal, "no such shop"),
        ("\"later\"", ReportKind::Failed, ReportReason::Failed, "busy"),
        ("\"x\"", ReportKind::Failed, ReportReason::Failed, "invalid digit found in string"),
        ("\"skip\"", ReportKind::Skipped, ReportReason::HandlerSkipped, "holiday"),
        ("{}", ReportKind::Failed, ReportReason::BadParams, "params: invalid type: map, expected a string"),
    ];
    for (job, (params, kind, reason, error)) in (10..).zip(cases) {
        let mut order = arm(&greeting, "odd", params);
        order.run = Some(v1::RunRef { job, ..order.run.unwrap() });
        server.arm(order.clone());
        let report = server.until_report(order.run.unwrap(), kind).await;
        assert_eq!(report.reason(), reason, "{params}");
        assert!(report.error.starts_with(error), "{params}: {}", report.error);
        assert_eq!(report.retry_after_ms, if params == "\"later\"" { 7_000 } else { 0 });
    }
    worker.drain().await;
}

#[tokio::test]
async fn a_timeout_is_told_to_the_handler_and_reported() {
    let server = Gateway::start().await;
    let (starts, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let worker = run(worker(&[&server]).job("gated", gated(&starts, &gate)));
    let greeting = server.until_connected().await;
    let order = v1::Arm { timeout_ms: 100, ..arm(&greeting, "gated", "null") };
    let this = order.run.unwrap();
    server.arm(order);
    let report = server.until_report(this, ReportKind::TimedOut).await;
    let took = report.at_ms - report.started_ms;
    assert!((100..4_000).contains(&took), "the handler listened to its cancellation: {took} ms");
    worker.drain().await;
}

#[tokio::test]
async fn a_deaf_handler_is_abandoned_after_the_grace() {
    async fn deaf(_: RunContext, (): ()) -> JobResult {
        std::future::pending().await
    }
    let server = Gateway::start().await;
    let worker = run(worker(&[&server]).job("deaf", job_fn(deaf)));
    let greeting = server.until_connected().await;
    let order = arm(&greeting, "deaf", "null");
    let this = order.run;
    server.arm(order);
    server.until_report(this.unwrap(), ReportKind::Started).await;
    let why = "by hand".to_owned();
    server.send(ToWorker::Cancel(v1::Cancel { run: this, attempt: 1, grace_ms: 50, why }));
    let report = server.until_report(this.unwrap(), ReportKind::Cancelled).await;
    assert_eq!(report.error, "by hand; abandoned after the grace");
    worker.drain().await;
}

#[tokio::test]
async fn blocking_handlers_run_side_by_side_on_their_own_threads() {
    let met = Arc::new(std::sync::Barrier::new(3));
    let handler = {
        let met = Arc::clone(&met);
        blocking_fn(move |_: RunContext, (): ()| {
            met.wait();
            Ok(std::thread::current().name().unwrap_or_default().to_owned())
        })
    };
    let server = Gateway::start().await;
    let worker = run(worker(&[&server]).blocking("meet", handler).with_concurrency(3));
    let greeting = server.until_connected().await;
    for job in 1..=3 {
        let mut order = arm(&greeting, "meet", "null");
        order.run = Some(v1::RunRef { job, ..order.run.unwrap() });
        server.arm(order);
    }
    let named = |seen: &gateway::Seen| {
        let done = seen.reports.iter().filter(|report| report.kind() == ReportKind::Succeeded);
        done.filter(|report| &report.result[..] == b"\"carillon-meet\"").count()
    };
    server.until("three meet", |seen| (named(seen) == 3).then_some(())).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_drain_finishes_what_runs_and_tells_what_is_held() {
    let server = Gateway::start().await;
    let (starts, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let worker = run(worker(&[&server]).job("gated", gated(&starts, &gate)));
    let greeting = server.until_connected().await;
    let running = arm(&greeting, "gated", "null");
    let mut later = v1::Arm { due_ms: now_ms() + 60_000, ..running.clone() };
    later.run = Some(v1::RunRef { job: 2, ..later.run.unwrap() });
    server.arm(running.clone());
    server.arm(later.clone());
    server.until_report(running.run.unwrap(), ReportKind::Started).await;
    server.until_report(later.run.unwrap(), ReportKind::Armed).await;

    worker.stop.cancel();
    let back = server.until_report(later.run.unwrap(), ReportKind::Refused).await;
    assert_eq!(back.reason(), ReportReason::Draining);
    let leave = server.until("a leave", |seen| seen.leaves.first().cloned()).await;
    assert_eq!(leave.held.iter().map(|held| held.run).collect::<Vec<_>>(), [running.run]);
    assert!(!worker.served.is_finished(), "it waits for the running one");
    gate.add_permits(1);
    server.until_report(running.run.unwrap(), ReportKind::Succeeded).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_drain_that_takes_too_long_cancels() {
    let server = Gateway::start().await;
    let (starts, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let worker =
        worker(&[&server]).job("gated", gated(&starts, &gate)).drain_deadline(Duration::from_millis(100));
    let worker = run(worker);
    let greeting = server.until_connected().await;
    let order = arm(&greeting, "gated", "null");
    server.arm(order.clone());
    server.until_report(order.run.unwrap(), ReportKind::Started).await;
    worker.drain().await;
    server.until_report(order.run.unwrap(), ReportKind::Cancelled).await;
}

#[tokio::test]
async fn an_idle_worker_drains_at_once() {
    let server = Gateway::start().await;
    let worker = run(worker(&[&server]).job("hello", job_fn(hello)));
    server.until_connected().await;
    let begun = Instant::now();
    worker.drain().await;
    assert!(begun.elapsed() < DEADLINE / 4, "took {:?}", begun.elapsed());
}

#[tokio::test]
async fn progress_reaches_the_server() {
    async fn half(ctx: RunContext, (): ()) -> JobResult {
        ctx.progress(0.5, "half way");
        ctx.cancelled().await;
        Ok(())
    }
    let server = Gateway::start().await;
    let worker = run(worker(&[&server]).job("half", job_fn(half)).drain_deadline(Duration::ZERO));
    let greeting = server.until_connected().await;
    server.arm(arm(&greeting, "half", "null"));
    let progress = server.until("progress", |seen| seen.progress.first().cloned()).await;
    assert_eq!((progress.permille, progress.message.as_str()), (500, "half way"));
    worker.drain().await;
}

#[tokio::test]
async fn what_a_handler_sees_is_what_was_armed() {
    async fn look(ctx: RunContext, (): ()) -> JobResult<(String, String, String, u64, u32, String)> {
        let texts = (ctx.job_name().to_owned(), ctx.description().to_owned(), ctx.trace_id());
        Ok((texts.0, texts.1, texts.2, ctx.fence(), ctx.job_id(), ctx.idempotency_key().to_owned()))
    }
    let server = Gateway::start().await;
    let worker = run(worker(&[&server]).job("look", job_fn(look)));
    let greeting = server.until_connected().await;
    let mut order = arm(&greeting, "look", "");
    order.run = Some(v1::RunRef { fire_time_ms: 1_763_630_400_000, job: 1, ordinal: 0 });
    server.arm(order.clone());
    let report = server.until_report(order.run.unwrap(), ReportKind::Succeeded).await;
    let expected = format!(r#"["job one","simple task test","{}",3,1,"1kag90gg00000001"]"#, "07".repeat(16));
    assert_eq!(String::from_utf8_lossy(&report.result), expected);
    worker.drain().await;
}

#[tokio::test]
async fn a_leave_tells_of_runs_that_ended_and_that_no_server_has_as_durable() {
    let server = Gateway::start().await;
    let worker = run(worker(&[&server]).job("hello", job_fn(hello)));
    let greeting = server.until_connected().await;
    let durable = arm(&greeting, "hello", "\"a\"");
    server.arm(durable.clone());
    server.until_report(durable.run.unwrap(), ReportKind::Succeeded).await;
    server.acknowledge(false);
    let mut ended = arm(&greeting, "hello", "\"b\"");
    ended.run = Some(v1::RunRef { job: 2, ..ended.run.unwrap() });
    server.arm(ended.clone());
    server.until_report(ended.run.unwrap(), ReportKind::Succeeded).await;

    worker.stop.cancel();
    let leave = server.until("a leave", |seen| seen.leaves.first().cloned()).await;
    assert!(leave.held.iter().any(|held| held.run == ended.run && held.started), "{leave:?}");
    assert!(leave.held.iter().all(|held| held.run != durable.run), "{leave:?}");
    server.acknowledge(true);
    worker.drain().await;
}

#[tokio::test]
async fn what_nobody_acknowledges_every_server_is_told_again_each_second() {
    let (one, two) = (Gateway::start().await, Gateway::start().await);
    one.acknowledge(false);
    two.acknowledge(false);
    let worker = run(worker(&[&one, &two]).job("hello", job_fn(hello)));
    let greeting = one.until_connected().await;
    two.until_connected().await;
    let order = arm(&greeting, "hello", "\"a\"");
    one.arm(order.clone());
    let run = order.run.unwrap();
    for server in [&one, &two] {
        server.until_report(run, ReportKind::Started).await;
        server.until_report(run, ReportKind::Succeeded).await;
    }
    let told = Instant::now();
    let ends = |seen: &gateway::Seen| {
        let ends = seen.reports.iter().filter(|report| report.kind() == ReportKind::Succeeded);
        ends.count()
    };
    for server in [&one, &two] {
        server.until("it is told again", |seen| (ends(seen) >= 3).then_some(())).await;
    }
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    // One word is enough for all.
    let said = one.look(ends);
    two.acknowledge(true);
    worker.drain().await;
    assert!(one.look(ends) <= said + 2, "it stops when one has it");
}
