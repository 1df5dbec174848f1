//! Simple runs between a worker and a server over a real stream.

mod gateway;

use carillon_client::prelude::*;
use carillon_proto::v1::ReportKind;
use gateway::{Gateway, arm, now_ms, run, worker};

async fn hello(ctx: RunContext, name: String) -> JobResult<String> {
    Ok(format!("hello {name}, {} of {}", ctx.attempt(), ctx.max_attempts()))
}

#[tokio::test]
async fn an_armed_run_starts_at_its_time_and_reports_its_result() {
    let server = Gateway::start().await;
    let worker = run(worker(&[&server]).job("hello", job_fn(hello)));
    let greeting = server.until_connected().await;
    assert_eq!((greeting.handlers[0].name.as_str(), greeting.handlers[0].concurrency), ("hello", 16));

    let due_ms = now_ms() + 300;
    let order = carillon_proto::v1::Arm { due_ms, ..arm(&greeting, "hello", "\"Ada\"") };
    let this = order.run.unwrap();
    server.arm(order);
    let ended = server.until_report(this, ReportKind::Succeeded).await;
    assert_eq!(&ended.result[..], b"\"hello Ada, 1 of 3\"");
    assert!(ended.started_ms >= due_ms, "started {} ms early", due_ms - ended.started_ms);
    assert!(ended.started_ms < due_ms + 200, "started {} ms late", ended.started_ms - due_ms);
    let kinds = server.look(|seen| seen.kinds(this));
    assert_eq!(kinds, [ReportKind::Armed, ReportKind::Started, ReportKind::Succeeded]);
    worker.drain().await;
    assert_eq!(server.look(|seen| seen.leaves.len()), 1);
}
