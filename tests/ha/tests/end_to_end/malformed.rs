//! Malformed gRPC: whatever arrives at a server's port is refused with a status that says why, and the server goes on.

use std::time::Duration;

use carillon_ha::site::Site;
use carillon_ha::wait;
use carillon_proto::v1::control_client::ControlClient;
use carillon_proto::v1::worker_gateway_client::WorkerGatewayClient;
use carillon_proto::v1::{Hello, ReportBatch, TriggerRequest, WorkerMessage, worker_message::Message};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Request, Status};

use crate::raw_bytes::RawBytes;
use crate::sites::on_both;

on_both!(
    bytes_that_are_no_grpc_do_no_harm,
    a_wrong_hello_is_refused_by_its_field,
    who_does_not_know_the_clusters_secret_has_no_control,
);

/// Where the servers of a group listen, as the SDK asks.
async fn address_of(site: &Site, group: &str) -> String {
    let answer = site.api().get(&format!("/sdk/endpoints?group={group}")).await.expect_status(200);
    answer.body["servers"][0]["address"]
        .as_str()
        .unwrap_or_else(|| panic!("no server in {:#}", answer.body))
        .to_owned()
}

/// Opens a stream with these first messages and returns how the server ends it.
async fn opened_with(address: &str, messages: Vec<WorkerMessage>) -> Status {
    let mut client = WorkerGatewayClient::connect(format!("http://{address}")).await.unwrap();
    // The sending side stays open: the server must end the stream by itself.
    let messages = tokio_stream::StreamExt::chain(tokio_stream::iter(messages), tokio_stream::pending());
    let ended = async {
        let mut answers = client.open(messages).await?.into_inner();
        while answers.message().await?.is_some() {}
        Ok::<(), Status>(())
    };
    let ended =
        tokio::time::timeout(Duration::from_secs(15), ended).await.expect("the server ends the stream");
    ended.expect_err("the server refuses")
}

async fn bytes_that_are_no_grpc_do_no_harm(site: &'static Site) {
    let group = site.group("no-grpc").await;
    let workers = group.workers(&["worker"]).await;
    let job = group.job("still-works", json!({})).await;
    let address = address_of(site, &group.id).await;

    let mut noise: Vec<u8> =
        (0..64_u32 * 1024).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    noise[0] = b'P'; // not the preface of HTTP/2, but it begins like it
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff",
        &noise,
    ] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        // The server may hang up while it is still spoken to.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the server keeps a connection open that says nothing sensible");
    }
    // Well-formed HTTP/2, and in it a message that is no protobuf.
    let status = RawBytes::connect(&address).await.open(vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f]).await;
    assert!(matches!(status.code(), Code::Internal | Code::InvalidArgument), "{status:?}");
    let status = RawBytes::connect(&address).await.unknown_method().await;
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");

    let run = site.api().finished(&site.api().trigger(job, None).await).await;
    assert_eq!(run.state(), "succeeded", "{:#}", run.body);
    assert_eq!(group.ledgers(&workers).of_run(run.id()).len(), 2);
}

async fn a_wrong_hello_is_refused_by_its_field(site: &'static Site) {
    let (group, other) = (site.group("hello").await, site.group("other").await);
    let address = address_of(site, &group.id).await;
    let right = Hello {
        group: group.id.clone(),
        token: group.token.clone(),
        incarnation: 4_711,
        name: "by hand".to_owned(),
        ..Hello::default()
    };
    let hello = |hello: Hello| vec![WorkerMessage { message: Some(Message::Hello(hello)) }];

    for (wrong, code, named) in [
        (Hello { group: "101-1-2".into(), ..right.clone() }, Code::InvalidArgument, "group"),
        (Hello { token: "cri_wkr_wrong".into(), ..right.clone() }, Code::Unauthenticated, "token"),
        (Hello { token: String::new(), ..right.clone() }, Code::Unauthenticated, "token"),
        (Hello { token: other.token.clone(), ..right.clone() }, Code::PermissionDenied, "token"),
        (Hello { incarnation: 0, ..right.clone() }, Code::InvalidArgument, "incarnation"),
        (Hello { name: "x".repeat(129), ..right.clone() }, Code::InvalidArgument, "name"),
    ] {
        let status = opened_with(&address, hello(wrong.clone())).await;
        assert_eq!(status.code(), code, "{status:?} to {wrong:?}");
        assert!(status.message().contains(named), "{status:?} names {named}");
        let repeated = !wrong.token.is_empty() && status.message().contains(&wrong.token);
        assert!(!repeated, "a token must not be repeated: {status:?}");
    }
    let nothing = opened_with(&address, vec![WorkerMessage { message: None }]).await;
    assert_eq!(nothing.code(), Code::InvalidArgument, "{nothing:?}");
    let reports = Message::Reports(ReportBatch::default());
    let unasked = opened_with(&address, vec![WorkerMessage { message: Some(reports) }]).await;
    assert_eq!(unasked.code(), Code::InvalidArgument, "{unasked:?}");

    let workers = site.api().items(&format!("/workers?group={}", group.id)).await;
    assert!(workers.is_empty(), "none of them became a worker: {workers:#?}");
    wait::until_so("nothing panicked", Duration::ZERO, || !all_logs(site).contains("panicked at")).await;
}

async fn who_does_not_know_the_clusters_secret_has_no_control(site: &'static Site) {
    let group = site.group("control").await;
    let job = group.job("not-for-you", json!({})).await;
    let address = address_of(site, &group.id).await;
    let mut control = ControlClient::connect(format!("http://{address}")).await.unwrap();
    let trigger = TriggerRequest {
        job,
        shard: format!("{}.0", group.id),
        idempotency_key: "mine".to_owned(),
        ..TriggerRequest::default()
    };

    for given in [None, Some("wrong"), Some("")] {
        let mut request = Request::new(trigger.clone());
        if let Some(given) = given {
            request.metadata_mut().insert("carillon-cluster-secret", given.parse().unwrap());
        }
        let refused = control.trigger(request).await.expect_err("the server refuses");
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?} to {given:?}");
    }
    assert_eq!(site.api().runs_of(job).await.len(), 0);
}

fn all_logs(site: &Site) -> String {
    let entries = std::fs::read_dir(site.folder().path()).unwrap().flatten();
    let logs = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.ends_with(".log") && ["server-", "console-", "dev"].iter().any(|word| name.starts_with(word))
    });
    logs.map(|entry| std::fs::read_to_string(entry.path()).unwrap_or_default()).collect()
}
