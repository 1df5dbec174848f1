//! Live updates as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::auth::{Access, Principal};
use crate::console::Console;
use crate::events::{Event, Subscription};
use crate::operation::{Need, Operations};

/// A stream ends after this and the browser comes again by itself: permissions and sessions are then looked at anew.
const LONGEST_STREAM: Duration = Duration::from_secs(600);

/// Proxies drop connections that are silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_events, _, _>(events, Need::Person);
}

/// Live updates
///
/// Server-sent events: `run` and `runs` (runs changed), `changed` (`what` is `servers`, `workers`, `shards`, `groups` or `jobs`), `stats` once a second,
/// `reset` (events were missed: read everything again). They are hints to read again, no records. With `Last-Event-ID` those missed since are sent first.
/// The stream ends after ten minutes; browsers reconnect by themselves.
#[utoipa::path(get, path = "/api/v1/events", tag = "events",
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event seen.")),
    responses((status = 200, description = "The stream.", body = String, content_type = "text/event-stream")))]
async fn events(State(console): State<Arc<Console>>, access: Access, headers: HeaderMap) -> Response {
    let seen = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let subscription = console.events.subscribe(seen);
    let frames = frames(Arc::clone(&console), access.principal, subscription, seen.is_some());
    // `no` keeps a proxy from holding events back.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    (unbuffered, Sse::new(frames).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))).into_response()
}

/// A browser that listens.
struct Listener {
    console: Arc<Console>,
    principal: Principal,
    live: broadcast::Receiver<Arc<Event>>,
    boot: u64,
    end: Instant,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.console.metrics.event_streams.dec();
    }
}

fn frames(
    console: Arc<Console>,
    principal: Principal,
    subscription: Subscription,
    reconnects: bool,
) -> impl Stream<Item = Result<Frame, Infallible>> + Send {
    let Subscription { missed, live, boot } = subscription;
    let reset = (missed.is_none() && reconnects).then(reset);
    let missed = missed.into_iter().flatten().filter_map(|event| frame(&principal, boot, &event));
    let first: Vec<Frame> = reset.into_iter().chain(missed).collect();
    console.metrics.event_streams.inc();
    let listener = Listener { console, principal, live, boot, end: Instant::now() + LONGEST_STREAM };
    let rest = stream::unfold(listener, |mut listener| async move {
        let frame = listener.next().await?;
        Some((frame, listener))
    });
    stream::iter(first).chain(rest).map(Ok)
}

impl Listener {
    /// The next frame this browser may see; none at the stream's end.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let received = tokio::select! {
                received = self.live.recv() => received,
                () = self.console.stopping.cancelled() => return None,
                () = tokio::time::sleep_until(self.end) => return None,
            };
            match received {
                Ok(event) => {
                    if let Some(frame) = frame(&self.principal, self.boot, &event) {
                        return Some(frame);
                    }
                }
                Err(RecvError::Lagged(_)) => return Some(reset()),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// An event as this principal may see it.
fn frame(principal: &Principal, boot: u64, event: &Event) -> Option<Frame> {
    if event.group.is_some_and(|group| principal.role_on(group).is_none()) {
        return None;
    }
    let frame = Frame::default().event(event.kind).data(event.data.to_string());
    Some(if event.number == 0 { frame } else { frame.id(format!("{boot:x}-{}", event.number)) })
}

fn reset() -> Frame {
    Frame::default().event("reset").data("{}")
}
