//! From a request to its principal: bearer tokens and session cookies.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use carillon_core::time::Span;
use carillon_store::accounts::{Session, TokenScope, User};
use subtle::ConstantTimeEq;

use super::{Person, Principal, Via, token};
use crate::console::Console;
use crate::problem::{Problem, Result};

/// The cookie of a signed-in browser.
pub(crate) const COOKIE: &str = "carillon_session";

/// The header that writes by cookie must carry: a foreign page can make a browser send the cookie, but not this.
pub(crate) const CSRF_HEADER: &str = "x-csrf-token";

/// Tokens note when they were used, no more often than this.
const TOUCH_EVERY: Span = Span::MINUTE;

/// Who asks; none when nobody is signed in.
pub(crate) async fn authenticate(console: &Console, parts: &Parts) -> Result<Option<Principal>> {
    if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
        let bearer = value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        let Some(text) = bearer.filter(|text| token::is_token(text)) else {
            return Err(Problem::unauthenticated(
                "the Authorization header is not `Bearer cri_pat_...` or `Bearer cri_wkr_...`",
            ));
        };
        return by_token(console, text).await.map(Some);
    }
    let Some(secret) = cookie(&parts.headers) else { return Ok(None) };
    let Some((session, user)) = live_session(console, secret).await? else { return Ok(None) };
    if !is_safe(&parts.method) {
        let given = parts.headers.get(CSRF_HEADER).map(|value| value.as_bytes()).unwrap_or_default();
        if !bool::from(given.ct_eq(session.csrf.as_bytes())) {
            return Err(Problem::new(
                axum::http::StatusCode::FORBIDDEN,
                "csrf",
                "writes with a session cookie must carry the header X-CSRF-Token; GET /api/v1/sessions/current tells its value",
            ));
        }
    }
    let person = person(console, user, None, Via::Session(session)).await?;
    Ok(Some(Principal::Person(Box::new(person))))
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The session's secret from the request's cookies.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == COOKIE && !value.is_empty())
        .map(|(_, value)| value)
}

/// The session of a cookie, where it still holds and its user may still sign in.
pub(crate) async fn live_session(console: &Console, secret: &str) -> Result<Option<(Session, User)>> {
    let Some(session) = console.store.session(&token::hash(secret)).await? else { return Ok(None) };
    // One without a CSRF value is a one-time code.
    if session.expires_at <= console.now() || session.csrf.is_empty() {
        return Ok(None);
    }
    let user = console.store.user(session.user).await?;
    let user = user.filter(|user| !user.disabled && user.revision == session.user_revision);
    Ok(user.map(|user| (session, user)))
}

async fn by_token(console: &Console, text: &str) -> Result<Principal> {
    let unknown = || Problem::unauthenticated("the token is unknown, has expired or was deleted");
    let now = console.now();
    let found = console.store.token(&token::hash(text)).await?;
    let token = found.filter(|token| token.expires_at.is_none_or(|end| end > now)).ok_or_else(unknown)?;
    if token.last_used_at.is_none_or(|last| now.since(last) > TOUCH_EVERY) {
        console.store.touch_tokens(&[token.id], now).await?;
    }
    match token.scope {
        TokenScope::Worker { group } => Ok(Principal::Worker { group, name: token.name }),
        TokenScope::User { user, at_most } => {
            let user = console.store.user(user).await?.filter(|user| !user.disabled).ok_or_else(unknown)?;
            let person = person(console, user, at_most, Via::Token(token.name)).await?;
            Ok(Principal::Person(Box::new(person)))
        }
    }
}

async fn person(
    console: &Console,
    user: User,
    at_most: Option<carillon_store::accounts::Role>,
    via: Via,
) -> Result<Person> {
    // An administrator's grants say nothing more.
    let grants = if user.administrator { Vec::new() } else { console.store.grants_of_user(user.id).await? };
    let grants = grants.into_iter().map(|grant| (grant.group, grant.role)).collect();
    Ok(Person { user, grants, at_most, via })
}
