//! The one-time sign-in by link.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::api::sessions::session_cookie;
use crate::auth::sign_in::{begin_session, redeem};
use crate::console::Console;
use crate::pages;
use crate::problem::{Problem, Result};

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/sign-in", get(sign_in))
}

#[derive(Deserialize)]
struct SignIn {
    code: Option<String>,
}

/// Signs in by a one-time code and goes on to the front page. Without a code it is a page like any other.
async fn sign_in(
    State(console): State<Arc<Console>>,
    peer: Option<axum::Extension<ConnectInfo<SocketAddr>>>,
    Query(query): Query<SignIn>,
    headers: HeaderMap,
) -> Result<Response> {
    let pages = console.config.pages.are_there();
    let user = match query.code {
        Some(code) => redeem(&console, &code).await?,
        None if pages => return Ok(pages::index(&console, "/sign-in", &headers)),
        None => None,
    };
    let Some(user) = user else {
        if pages {
            // Relative, so that it works under a sub-path too; the page says what it means.
            return Ok(
                (StatusCode::SEE_OTHER, [(header::LOCATION, "./sign-in?error=code_used_up")]).into_response()
            );
        }
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "code_used_up",
            "this sign-in link was used already or is too old",
        ));
    };
    let signed_in = begin_session(&console, user).await?;
    let secure = console.is_secure(peer.map(|peer| peer.0.0.ip()), &headers);
    let cookie = session_cookie(&signed_in.secret, Some(console.config.session_lifetime), secure);
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, "./".to_owned()), (header::SET_COOKIE, cookie)])
        .into_response())
}
