//! Logs of runs over a real stream. One test, for the subscriber is the process's.

mod gateway;

use carillon_client::prelude::*;
use carillon_proto::v1::{self, ReportKind};
use gateway::{Gateway, arm, run, worker};
use tracing_subscriber::prelude::*;

async fn chatty(ctx: RunContext, lines: u32) -> JobResult {
    tracing::info!(password = "hunter2", api_key = 7, shop = 12, "begin {}", ctx.job_name());
    for line in 0..lines {
        tracing::info!("line {line}");
        tokio::task::yield_now().await;
    }
    tracing::debug!("too verbose");
    tracing::info_span!("inner").in_scope(|| tracing::warn!("end, token=abc"));
    Ok(())
}

#[tokio::test]
async fn each_runs_lines_reach_its_own_log_in_order_though_streams_break() {
    tracing_subscriber::registry().with(carillon_client::log_layer()).init();
    tracing::info!("of no run");
    let server = Gateway::start().await;
    let worker = run(worker(&[&server]).job("chatty", job_fn(chatty)));
    let greeting = server.until_connected().await;
    server.acknowledge(false);
    let mut orders = Vec::new();
    for job in 1..=3 {
        let mut order = arm(&greeting, "chatty", &(1_000 * job).to_string());
        order.run = Some(v1::RunRef { job, ..order.run.unwrap() });
        server.arm(order.clone());
        orders.push(order.run.unwrap());
    }
    for this in &orders {
        server.until_report(*this, ReportKind::Succeeded).await;
    }
    server.acknowledge(true);
    server.hang_up();
    for (job, this) in (1..).zip(orders) {
        let log = server
            .until("the last line", |seen| Some(seen.log_of(this)).filter(|log| log.contains("WARN")))
            .await;
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 1_000 * job + 2);
        assert!(lines[0].ends_with("INFO begin job one password=*** api_key=*** shop=12"), "{}", lines[0]);
        for (number, line) in lines[1..lines.len() - 1].iter().enumerate() {
            assert!(line.ends_with(&format!("INFO line {number}")), "{line}");
        }
        assert!(lines[lines.len() - 1].ends_with("WARN end, token=***"), "{}", lines[lines.len() - 1]);
        assert!(
            lines.iter().all(|line| line.starts_with("20") && line.contains('Z')),
            "each begins with its time"
        );
    }
    worker.drain().await;
}
