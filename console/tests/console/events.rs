//! Live events: from a server's watch stream to a browser, filtered by what it may see.

use std::sync::Arc;
use std::time::Duration;

use axum::body::BodyDataStream;
use axum::http::{Method, StatusCode};
use carillon_core::ids::{GroupId, JobId, RunKey};
use carillon_proto::v1;
use carillon_proto::v1::watch_event::Event;
use carillon_store::accounts::Role;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::support::{FakeServer, World, eventually};

/// A browser that listens.
struct Browser {
    stream: BodyDataStream,
    text: String,
}

#[derive(Debug)]
struct Frame {
    kind: String,
    id: Option<String>,
    data: Value,
}

impl Browser {
    async fn listen(world: &World, token: &str, last: Option<&str>) -> Self {
        let mut ask = world.get("/events").by(token);
        if let Some(last) = last {
            ask = ask.header("last-event-id", last);
        }
        let response = world.router.clone().oneshot(ask.request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { stream: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event of one of these kinds.
    async fn next(&mut self, kinds: &[&str]) -> Frame {
        loop {
            let frame = tokio::time::timeout(Duration::from_secs(10), self.frame())
                .await
                .expect("an event within ten seconds");
            if let Some(frame) = frame.filter(|frame| kinds.contains(&frame.kind.as_str())) {
                return frame;
            }
        }
    }

    async fn frame(&mut self) -> Option<Frame> {
        while !self.text.contains("\n\n") {
            let bytes = self.stream.next().await.expect("the stream goes on").unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        let (frame, rest) =
            self.text.split_once("\n\n").map(|(frame, rest)| (frame.to_owned(), rest.to_owned())).unwrap();
        self.text = rest;
        let field = |name: &str| {
            frame.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned))
        };
        Some(Frame {
            kind: field("event")?,
            id: field("id"),
            data: serde_json::from_str(&field("data")?).unwrap(),
        })
    }
}

/// A console that serves, so that its loops run.
async fn serving(world: &World) -> CancellationToken {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(carillon_console::serve(Arc::clone(&world.console), listener, stop.clone()));
    stop
}

/// A change of a run, sent until somebody watches the server.
async fn tell(server: &FakeServer, group: GroupId, second: i64) -> RunKey {
    let key = RunKey::scheduled(JobId::new(1), carillon_core::time::Timestamp::from_millis(second * 1_000));
    let run = v1::RunRef { fire_time_ms: key.fire_time.as_millis(), job: 1, ordinal: 0 };
    let change =
        v1::RunChanged { run: Some(run), group: group.to_string(), state: "running".into(), attempt: 1 };
    eventually("the console watches the server", async || {
        (server.tell(Event::Run(change.clone())) > 0).then_some(())
    })
    .await;
    key
}

#[tokio::test]
async fn a_browser_hears_of_the_runs_of_its_groups_and_of_no_others() {
    let world = World::new().await;
    let server = world.server("server-1").await;
    let (group, other) = (world.group(&[&server]).await, world.group(&[&server]).await);
    let viewer = world.person("vera", &[(group, Role::Viewer)]).await;
    let stop = serving(&world).await;
    let mut browser = Browser::listen(&world, &viewer, None).await;
    tell(&server, other, 1).await;
    let key = tell(&server, group, 2).await;
    let frame = browser.next(&["run"]).await;
    assert_eq!(
        (&frame.data["run_id"], &frame.data["group"], &frame.data["state"]),
        (&json!(key), &json!(group), &json!("running"))
    );

    server.tell(Event::Stats(v1::Stats { fires: 7, lateness_p99_us: 900, ..Default::default() }));
    let stats = loop {
        let frame = browser.next(&["stats"]).await;
        if frame.data["servers"] == 1 {
            break frame;
        }
    };
    assert_eq!(
        (&stats.data["fires_per_second"], &stats.data["lateness_p99_us"], stats.id),
        (&json!(7), &json!(900), None)
    );

    // An edit reaches the browsers of every console by way of the coordinator.
    world.job(group, "a", json!({})).await;
    let changed = loop {
        let frame = browser.next(&["changed"]).await;
        if frame.data["what"] == "jobs" {
            break frame;
        }
    };
    assert_eq!(changed.data["group"], json!(group));
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(10), async {
        while browser.stream.next().await.is_some() {}
    })
    .await;
    assert!(ended.is_ok(), "shutdown ends the stream");
}

#[tokio::test]
async fn a_browser_that_comes_back_gets_what_it_missed_or_is_told_to_read_anew() {
    let world = World::new().await;
    let server = world.server("server-1").await;
    let group = world.group(&[&server]).await;
    let _stop = serving(&world).await;
    let mut browser = Browser::listen(&world, &world.admin, None).await;
    tell(&server, group, 1).await;
    let last = browser.next(&["run"]).await.id.expect("an event has an id");
    drop(browser);
    let key = tell(&server, group, 2).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut browser = Browser::listen(&world, &world.admin, Some(&last)).await;
    let missed = browser.next(&["run", "reset"]).await;
    assert_eq!((missed.kind.as_str(), &missed.data["run_id"]), ("run", &json!(key)));
    let mut stranger = Browser::listen(&world, &world.admin, Some("12345-6")).await;
    assert_eq!(stranger.next(&["reset", "run"]).await.kind, "reset");
}

#[tokio::test]
async fn events_need_a_sign_in() {
    let world = World::new().await;
    world.plain(Method::GET, "/api/v1/events").send().await.must(StatusCode::UNAUTHORIZED);
}
