//! What the SDK asks of consoles: where the servers are, to trigger, how a run stands.

mod gateway;
mod http;

use std::time::Duration;

use carillon_client::prelude::*;
use carillon_client::{Client, Error, RunState, TriggerOptions};
use gateway::{Gateway, run};
use http::Console;

/// What a console answers, to be trusted for so long.
fn endpoints(gateways: &[&Gateway], ttl_seconds: u32) -> (u16, String) {
    let servers = gateways.iter().enumerate().map(|(number, gateway)| {
        format!(r#"{{"id":"server-{number}","address":"{}","room":"a","shards":[0]}}"#, gateway.address)
    });
    let servers = servers.collect::<Vec<_>>().join(",");
    (200, format!(r#"{{"group":"101-1-2-6601","servers":[{servers}],"ttl_seconds":{ttl_seconds}}}"#))
}

/// An address where nobody listens.
async fn nowhere() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}", listener.local_addr().expect("its address"))
}

async fn nothing(_: RunContext, (): ()) -> JobResult {
    Ok(())
}

#[tokio::test]
async fn a_worker_finds_every_server_of_its_group_and_follows_the_list() {
    let (first, second) = (Gateway::start().await, Gateway::start().await);
    let lists: [&[&Gateway]; 3] = [&[&first], &[&first, &second], &[&second]];
    let answers = lists.map(|list| endpoints(list, 1)).to_vec();
    let console = Console::start(answers).await;
    let worker = Worker::builder()
        .consoles([nowhere().await, console.url.clone()])
        .group("101-1-2-6601")
        .token("cri_wkr_abc")
        .job("nothing", job_fn(nothing));
    let worker = run(worker);
    let one = first.until_connected().await;
    let two = second.until_connected().await;
    assert_eq!(one.incarnation, two.incarnation);
    first.until("the end of its stream", |seen| (seen.ended_streams == 1).then_some(())).await;
    assert_eq!(second.look(|seen| seen.ended_streams), 0);
    let asked = &console.asked()[0];
    assert!(asked.line.starts_with("GET /api/v1/sdk/endpoints?group=101-1-2-6601 "), "{}", asked.line);
    assert_eq!(asked.header("authorization"), Some("Bearer cri_wkr_abc"));
    worker.drain().await;
}

/// Servers that were all away come back one by one, and a console hears of each a moment later.
#[tokio::test]
async fn a_worker_asks_again_soon_after_a_change_however_long_the_answer_may_be_trusted() {
    let (first, second) = (Gateway::start().await, Gateway::start().await);
    let lists: [&[&Gateway]; 3] = [&[&first], &[&first], &[&first, &second]];
    let console = Console::start(lists.map(|list| endpoints(list, 60)).to_vec()).await;
    let worker = Worker::builder()
        .consoles([console.url.clone()])
        .group("101-1-2-6601")
        .token("cri_wkr_abc")
        .job("nothing", job_fn(nothing));
    let worker = run(worker);
    second.until_connected().await;
    worker.drain().await;
}

#[tokio::test]
async fn a_trigger_goes_to_the_next_console_with_the_same_key_when_one_breaks_off() {
    let broken = Console::start(vec![(0, String::new())]).await;
    let well = Console::start(vec![(202, r#"{"run_id":"r1","created":true}"#.to_owned())]).await;
    let client = Client::new([broken.url.clone(), well.url.clone()], "cri_pat_x").unwrap();
    let run = client.trigger(7, &"TestParam", TriggerOptions::default()).await.unwrap();
    assert_eq!((run.run_id.as_str(), run.created), ("r1", true));
    let (first, second) = (&broken.asked()[0], &well.asked()[0]);
    assert!(second.line.starts_with("POST /api/v1/jobs/7/runs "), "{}", second.line);
    assert_eq!(second.body, r#"{"params":"TestParam"}"#);
    assert_eq!(first.header("idempotency-key").unwrap().len(), 32);
    assert_eq!(first.header("idempotency-key"), second.header("idempotency-key"));

    let options = TriggerOptions { idempotency_key: Some("mine".to_owned()), ..TriggerOptions::default() };
    client.trigger(7, &(), options).await.unwrap();
    let third = &well.asked()[1];
    assert_eq!((third.header("idempotency-key"), third.body.as_str()), (Some("mine"), "{}"));
    assert_eq!(broken.asked().len(), 1, "the console that answered is asked first");
}

#[tokio::test]
async fn a_refusal_is_final_and_says_why() {
    let problem = r#"{"code":"forbidden","detail":"no right to trigger in 101-1-2-6601"}"#;
    let console = Console::start(vec![(403, problem.to_owned())]).await;
    let client = Client::new([console.url.clone()], "cri_pat_x").unwrap();
    let error = client.trigger(7, &(), TriggerOptions::default()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused { status: 403, detail, .. } if detail.contains("no right")),
        "{error}"
    );
    assert_eq!(console.asked().len(), 1);
}

#[tokio::test]
async fn consoles_that_cannot_be_reached_are_named() {
    let nobody = nowhere().await;
    let client = Client::new([nobody.clone()], "cri_pat_x").unwrap();
    let error = client.run("r1").await.unwrap_err().to_string();
    assert!(error.contains(&nobody) && error.contains("/api/v1/runs/r1"), "{error}");
}

#[tokio::test]
async fn waiting_ends_with_the_final_state_or_the_timeout() {
    let state = |state: &str| (200, format!(r#"{{"id":"r1","state":"{state}","result":42,"attempt":2}}"#));
    let console = Console::start(vec![state("planned"), state("running"), state("succeeded")]).await;
    let client = Client::new([console.url.clone()], "cri_pat_x").unwrap();
    let status = client.wait("r1", Duration::from_secs(10)).await.unwrap();
    assert_eq!((status.state, status.result_as::<i32>().unwrap()), (RunState::Succeeded, 42));
    assert_eq!(status.more["attempt"], 2);

    let console = Console::start(vec![state("a new state of a later version")]).await;
    let client = Client::new([console.url.clone()], "cri_pat_x").unwrap();
    let error = client.wait("r1", Duration::from_millis(120)).await.unwrap_err();
    assert!(matches!(error, Error::WaitedTooLong { .. }), "{error}");
}
