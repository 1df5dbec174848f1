//! `/metrics`, `/livez` and `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use carillon_coordination::Coordination;
use carillon_store::SharedStore;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What the pages of a process without a console show.
#[derive(Clone)]
pub(crate) struct Observed {
    pub(crate) registry: Arc<Registry>,
    pub(crate) store: SharedStore,
    pub(crate) coordination: Arc<dyn Coordination>,
}

/// The loop "http".
pub(crate) async fn run(observed: Observed, listener: TcpListener, stop: CancellationToken) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(observed);
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
    if let Err(error) = served.await {
        tracing::error!(%error, "the metrics listener failed");
    }
}

async fn metrics(State(observed): State<Observed>) -> impl IntoResponse {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &observed.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn readyz(State(observed): State<Observed>) -> impl IntoResponse {
    let session = observed.coordination.session().state();
    if !session.is_connected() {
        return (StatusCode::SERVICE_UNAVAILABLE, "not connected to the coordinator\n".to_owned());
    }
    match observed.store.ready().await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
    }
}
