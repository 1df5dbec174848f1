//! The plain page at `/` until the console's pages are built in, and the one-time sign-in.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::api::sessions::session_cookie;
use crate::auth::sign_in::begin_session;
use crate::console::Console;
use crate::problem::{Problem, Result};

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/", get(async || Html(include_str!("docs/landing.html"))))
        .route("/sign-in", get(sign_in))
}

#[derive(Deserialize)]
struct SignIn {
    code: Option<String>,
}

/// Signs in by a one-time code and goes on to the front page.
async fn sign_in(
    State(console): State<Arc<Console>>,
    peer: Option<axum::Extension<ConnectInfo<SocketAddr>>>,
    Query(query): Query<SignIn>,
    headers: HeaderMap,
) -> Result<Response> {
    let used_up = || {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "code_used_up",
            "this sign-in link was used already or is too old",
        )
    };
    let user = query.code.and_then(|code| console.codes.redeem(&code, console.now())).ok_or_else(used_up)?;
    let user = console.store.user(user).await?.filter(|user| !user.disabled).ok_or_else(used_up)?;
    let signed_in = begin_session(&console, user).await?;
    let secure = console.is_secure(peer.map(|peer| peer.0.0.ip()), &headers);
    let cookie = session_cookie(&signed_in.secret, Some(console.config.session_lifetime), secure);
    // Relative, so that it works under a sub-path too.
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, "./".to_owned()), (header::SET_COOKIE, cookie)])
        .into_response())
}
