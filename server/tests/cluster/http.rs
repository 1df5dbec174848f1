//! What the process shows of itself: metrics and health.

use std::sync::Arc;
use std::time::Duration;

use carillon_coordination::{Coordination, Embedded};
use carillon_server::{Clock, Metrics, Server, ServerConfig};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::faulty::Faulty;
use crate::support::{Cluster, TestWorker, eventually};

async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn metrics_count_what_happened_and_readiness_follows_the_store() {
    let mut cluster = Cluster::new(1, 2).await;
    cluster.job("tick", json!({"schedule": {"type": "cron", "expression": "* * * * * ?"}})).await;
    let faulty = Arc::new(Faulty::new(cluster.store.clone()));
    cluster.store = faulty.clone();
    let metrics = Metrics::default();
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let pages = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (http, grpc) = (pages.local_addr().unwrap(), listener.local_addr().unwrap());
    let coordination: Arc<dyn Coordination> = Arc::new(Embedded::new(&cluster.registry));
    let shutdown = CancellationToken::new();
    let server = Server {
        config: ServerConfig::new("s1".parse().unwrap(), 101, 1, "a"),
        store: cluster.store.clone(),
        coordination,
        listener,
        clock: Clock::system(),
        metrics,
        http: Some((pages, Arc::new(registry))),
    };
    let serving = tokio::spawn(server.serve(shutdown.clone()));
    let worker = TestWorker::start(cluster.group, 7, &[grpc], Duration::ZERO);
    let text = eventually("fires are counted", || async {
        let text = get(http, "/metrics").await.1;
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.rsplit(' ').next()?.parse::<f64>().ok()
        };
        let fires = value("carillon_fires_total{outcome=\"started\"}")?;
        let succeeded = value("carillon_runs_total{state=\"succeeded\"}")?;
        let seen = value("carillon_trigger_lateness_seconds_count")?;
        let lead = value("carillon_planning_lead_seconds")?;
        (fires >= 1.0 && succeeded >= 1.0 && seen >= 1.0 && lead > 20.0).then(|| text.clone())
    })
    .await;
    for line in [
        "carillon_shards_held 2",
        "carillon_shards_owned 2",
        "carillon_shard_handovers_total 2",
        "carillon_workers_connected 1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is missing in\n{text}");
    }
    assert!(text.contains("carillon_store_query_duration_seconds_count{op=\"commit_slices\"}"), "{text}");
    assert_eq!(get(http, "/livez").await.0, 200);
    assert_eq!(get(http, "/readyz").await.0, 200);
    faulty.set_down(true);
    assert_eq!(get(http, "/readyz").await.0, 503);
    assert_eq!(get(http, "/livez").await.0, 200, "a server without its database lives on");
    faulty.set_down(false);
    worker.kill();
    shutdown.cancel();
    serving.await.unwrap().unwrap();
}
