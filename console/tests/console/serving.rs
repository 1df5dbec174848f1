//! The process around the router: health, metrics, headers, sockets, proxies, shutdown.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use carillon_coordination::{Coordination, Embedded, Load, Member, MemberId, MemberKind};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::{World, eventually};

#[tokio::test]
async fn health_and_metrics_answer_without_a_sign_in() {
    let world = World::new().await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(world.plain(Method::GET, path).send().await.must(StatusCode::OK).body, b"ok\n");
    }
    world.get("/jobs/77").send().await.must(StatusCode::NOT_FOUND);
    let metrics = world.plain(Method::GET, "/metrics").send().await.must(StatusCode::OK);
    let text = String::from_utf8(metrics.body).unwrap();
    let line = r#"carillon_http_requests_total{route="/api/v1/jobs/{job}",method="GET",status="404"} 1"#;
    assert!(text.contains(line), "{text}");
    assert!(text.contains("carillon_http_request_duration_seconds_bucket"), "{text}");
    world.store.close().await;
    let not_ready = world.plain(Method::GET, "/readyz").send().await.must(StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(not_ready.code(), "not_ready");
    world.plain(Method::GET, "/livez").send().await.must(StatusCode::OK);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let world = World::new().await;
    for path in ["/", "/nowhere", "/api/v1/me", "/livez"] {
        let answer = world.plain(Method::GET, path).send().await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
    }
    assert_eq!(world.get("/me").send().await.header("cache-control"), "no-store");
}

/// A request over a socket, as text; the answer as text.
async fn over_a_socket(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_console_joins_the_cluster_serves_and_leaves() {
    let member = Member {
        id: MemberId::new("console-1").unwrap(),
        kind: MemberKind::Console,
        room: "a".into(),
        address: "127.0.0.1:1".into(),
        server_group: 1,
        cluster: 101,
        version: "0.1.0".into(),
        incarnation: 1,
        load: Load::default(),
        draining: false,
        joined_at_ms: 0,
    };
    let world = World::with(|config| {
        config.member = Some(member);
        config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let served = tokio::spawn(carillon_console::serve(Arc::clone(&world.console), listener, stop.clone()));
    let watcher = Embedded::new(&world.registry);
    let count = async |wanted: usize| {
        let members = watcher.members().await.unwrap();
        (members.iter().filter(|member| member.kind == MemberKind::Console).count() == wanted).then_some(())
    };
    eventually("the console is a member", || count(1)).await;

    let body = json!({"name": "admin", "password": world.password}).to_string();
    let request = format!(
        "POST /api/v1/sessions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\nx-forwarded-for: 203.0.113.9\r\n\
         x-forwarded-proto: https\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = over_a_socket(address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 201 Created") && answer.contains("; Secure"), "{answer}");
    let line = world.get("/audit?action=session.create").send().await.json()["items"][0].clone();
    assert_eq!(line["source"], "203.0.113.9", "the proxy is believed");

    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), served).await.expect("it stops").unwrap().unwrap();
    eventually("the console is gone", || count(0)).await;
}
