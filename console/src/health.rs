//! For load balancers and monitoring: `/livez` touches no dependency, `/readyz` does, `/metrics` is for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use carillon_core::time::Span;

use crate::console::Console;
use crate::problem::{Problem, Result, chain};

/// A dependency that needs longer is not ready; load balancers ask every few seconds.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

async fn ready(State(console): State<Arc<Console>>) -> Result<&'static str> {
    let not_ready = |what: &str, why: String| {
        Problem::unavailable("not_ready", format!("{what} is not ready: {why}"), Span::SECOND)
    };
    match tokio::time::timeout(PATIENCE, console.store.ready()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(not_ready("the database", chain(&error))),
        Err(_) => return Err(not_ready("the database", "no answer".into())),
    }
    match tokio::time::timeout(PATIENCE, console.coordination.members()).await {
        Ok(Ok(_)) => Ok("ok\n"),
        Ok(Err(error)) => Err(not_ready("the coordinator", chain(&error))),
        Err(_) => Err(not_ready("the coordinator", "no answer".into())),
    }
}

async fn metrics(State(console): State<Arc<Console>>) -> impl IntoResponse {
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, media_type)], console.metrics.text())
}
