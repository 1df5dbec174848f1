//! All routes together, inside the layers that every request passes: panics, metrics, security headers, bounds.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use crate::console::Console;
use crate::operation::{Operations, panicked};
use crate::problem::Problem;
use crate::{api, docs, health, pages, sign_in_link};

/// The root of the API.
pub(crate) const API: &str = "/api/v1";

/// The longest body: sixteen times the largest params of a job.
pub(crate) const LARGEST_BODY: usize = 1 << 20;

/// The whole console as one service, without sockets: `serve` puts it behind a listener, tests call it directly.
pub fn router(console: &Arc<Console>) -> Router {
    let mut operations = Operations::default();
    api::enter(&mut operations);
    operations
        .router(console)
        .merge(docs::routes())
        .merge(health::routes())
        .merge(sign_in_link::routes())
        .method_not_allowed_fallback(wrong_method)
        .fallback(pages::serve)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(console), around))
        .with_state(Arc::clone(console))
}

async fn wrong_method(request: Request) -> Problem {
    let method = request.method();
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong_method",
        format!("{method} is not possible here; the header Allow says what is"),
    )
}

/// What surrounds every request.
async fn around(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = method_label(request.method().as_str());
    let is_api = request.uri().path().starts_with(API);
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answer.unwrap_or_else(|panic| panicked(&*panic).into_response());
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, pages::POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if is_api && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    console.metrics.request(&route, method, response.status().as_u16(), began.elapsed());
    response
}

/// Made-up methods must not make made-up metrics.
fn method_label(method: &str) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("other")
}
