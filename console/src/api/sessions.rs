//! Signing in and out, and who one is.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carillon_core::time::{Span, Timestamp};
use carillon_store::accounts::Session;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::grants::GrantView;
use super::schemas;
use super::users::UserView;
use crate::auth::session::{COOKIE, cookie};
use crate::auth::{Access, Person, Principal, Via, password, sign_in, token};
use crate::console::Console;
use crate::json::Body;
use crate::operation::{Need, Operations};
use crate::problem::{Problem, Result};

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_list_sessions, _, _>(list_sessions, Need::Person);
    operations.write::<__path_end_own_session, _, _>(end_own_session, Need::Person, "session.end");
    operations.write::<__path_create_session, _, _>(create_session, Need::Nothing, "session.create");
    operations.read::<__path_current_session, _, _>(current_session, Need::Person);
    operations.write::<__path_end_session, _, _>(end_session, Need::Person, "session.end");
    operations.read::<__path_me, _, _>(me, Need::AnyToken);
    operations.write::<__path_change_password, _, _>(change_password, Need::Person, "password.change");
}

/// Name and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    /// The sign-in name.
    #[schema(max_length = 64, example = "admin")]
    name: String,
    /// The password.
    #[schema(max_length = 256)]
    password: String,
}

/// A signed-in browser.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// Who is signed in.
    user: UserView,
    /// What writes must carry as `X-CSRF-Token`.
    csrf_token: String,
    /// When the session ends.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Sign in
///
/// Sets the cookie `carillon_session`. After too many failures for a name or from an address further ones are refused for a while (429).
#[utoipa::path(post, path = "/api/v1/sessions", tag = "sessions", request_body = Credentials, responses(
    (status = 201, description = "Signed in.", body = SessionView),
    (status = 401, description = "Name or password is wrong.", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "Too many failures; wait for `Retry-After`.", body = Problem, content_type = "application/problem+json"),
))]
async fn create_session(
    State(console): State<Arc<Console>>,
    access: Access,
    peer: Option<axum::Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    Body(credentials): Body<Credentials>,
) -> Result<Response> {
    access.note.actor(credentials.name.clone());
    access.note.target(format!("user/{}", credentials.name));
    let signed_in =
        sign_in::sign_in(&console, &credentials.name, credentials.password, &access.source).await?;
    let secure = console.is_secure(peer.map(|peer| peer.0.0.ip()), &headers);
    let cookie = session_cookie(&signed_in.secret, Some(console.config.session_lifetime), secure);
    let view = SessionView {
        user: UserView::of(&signed_in.user),
        csrf_token: signed_in.session.csrf,
        expires_at: signed_in.session.expires_at,
    };
    Ok((StatusCode::CREATED, [(header::SET_COOKIE, cookie)], Json(view)).into_response())
}

/// The session of this browser
#[utoipa::path(get, path = "/api/v1/sessions/current", tag = "sessions", responses(
    (status = 200, description = "The session.", body = SessionView),
))]
async fn current_session(access: Access) -> Result<Json<SessionView>> {
    let person = access.person()?;
    let Via::Session(session) = &person.via else {
        return Err(Problem::not_found("session of", "a token"));
    };
    Ok(Json(SessionView {
        user: UserView::of(&person.user),
        csrf_token: session.csrf.clone(),
        expires_at: session.expires_at,
    }))
}

/// Sign out
#[utoipa::path(delete, path = "/api/v1/sessions/current", tag = "sessions", responses(
    (status = 204, description = "Signed out; the cookie is gone."),
))]
async fn end_session(
    State(console): State<Arc<Console>>,
    access: Access,
    headers: HeaderMap,
) -> Result<Response> {
    if let Some(secret) = cookie(&headers) {
        console.store.delete_session(&token::hash(secret)).await?;
    }
    access.note.target(format!("user/{}", access.person()?.user.name));
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, session_cookie("", Some(Span::ZERO), false))])
        .into_response())
}

/// A sign-in that lasts.
#[derive(Serialize, ToSchema)]
pub(crate) struct OwnSession {
    /// To end it by; not what its browser shows.
    id: String,
    /// Whether it is the one that asks.
    current: bool,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it ends by itself.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// One's sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct OwnSessions {
    /// Newest first.
    items: Vec<OwnSession>,
}

/// A session's id: the beginning of what is kept of it, from which nobody can make its cookie.
fn session_id(session: &Session) -> String {
    session.hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The sessions of the person who asks; one-time codes are none.
async fn own_sessions(console: &Console, person: &Person) -> Result<Vec<Session>> {
    let mut sessions = console.store.sessions_of(person.user.id, console.now()).await?;
    sessions.retain(|session| !session.csrf.is_empty() && session.user_revision == person.user.revision);
    Ok(sessions)
}

fn is_current(person: &Person, session: &Session) -> bool {
    matches!(&person.via, Via::Session(current) if current.hash == session.hash)
}

/// One's sessions
///
/// Every browser in which one is signed in.
#[utoipa::path(get, path = "/api/v1/me/sessions", tag = "sessions", responses(
    (status = 200, description = "The sessions.", body = OwnSessions),
))]
async fn list_sessions(State(console): State<Arc<Console>>, access: Access) -> Result<Json<OwnSessions>> {
    let person = access.person()?;
    let sessions = own_sessions(&console, person).await?;
    let view = |session: &Session| OwnSession {
        id: session_id(session),
        current: is_current(person, session),
        created_at: session.created_at,
        expires_at: session.expires_at,
    };
    Ok(Json(OwnSessions { items: sessions.iter().map(view).collect() }))
}

/// End one of one's sessions
///
/// `others` ends all but the one that asks.
#[utoipa::path(delete, path = "/api/v1/me/sessions/{session}", tag = "sessions",
    params(("session" = String, Path, description = "Its id, or `others`.")),
    responses((status = 204, description = "Ended.")))]
async fn end_own_session(
    State(console): State<Arc<Console>>,
    access: Access,
    Path(id): Path<String>,
) -> Result<StatusCode> {
    let person = access.person()?;
    let mut ended = 0;
    for session in own_sessions(&console, person).await? {
        let wanted = if id == "others" { !is_current(person, &session) } else { session_id(&session) == id };
        if wanted {
            console.store.delete_session(&session.hash).await?;
            ended += 1;
        }
    }
    access.note.target(format!("user/{}", person.user.name));
    if ended == 0 && id != "others" {
        return Err(Problem::not_found("session", id));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Who one is and what one may.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// `person` or `worker`.
    kind: &'static str,
    /// The person; absent for a worker token.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserView>,
    /// Whether everything is allowed.
    administrator: bool,
    /// The token's bound, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::Role>)]
    at_most: Option<&'static str>,
    /// The roles on task groups; an administrator has all.
    grants: Vec<GrantView>,
}

/// Who am I
#[utoipa::path(get, path = "/api/v1/me", tag = "sessions", responses((status = 200, description = "You.", body = Me)))]
async fn me(access: Access) -> Json<Me> {
    Json(match &access.principal {
        Principal::Worker { group, .. } => Me {
            kind: "worker",
            user: None,
            administrator: false,
            at_most: None,
            grants: vec![GrantView::plain(None, *group, carillon_store::accounts::Role::Viewer)],
        },
        Principal::Person(person) => Me {
            kind: "person",
            user: Some(UserView::of(&person.user)),
            administrator: access.principal.is_administrator(),
            at_most: person.at_most.map(|role| role.as_str()),
            grants: grants_of(person),
        },
    })
}

fn grants_of(person: &Person) -> Vec<GrantView> {
    let name = &person.user.name;
    person.grants.iter().map(|(group, role)| GrantView::plain(Some(name.clone()), *group, *role)).collect()
}

/// A change of one's own password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordChange {
    /// The password so far.
    #[schema(max_length = 256)]
    current: String,
    /// The new one, at least 8 characters.
    #[schema(min_length = 8, max_length = 256)]
    new: String,
}

/// Change my password
///
/// Ends all sessions of the person, this one included.
#[utoipa::path(post, path = "/api/v1/me/password", tag = "sessions", request_body = PasswordChange, responses(
    (status = 204, description = "Changed; sign in again."),
))]
async fn change_password(
    State(console): State<Arc<Console>>,
    access: Access,
    Body(change): Body<PasswordChange>,
) -> Result<StatusCode> {
    let person = access.person()?;
    if matches!(person.via, Via::Token(_)) {
        return Err(Problem::forbidden("a token may not change its person's password"));
    }
    let mut user = person.user.clone();
    access.note.target(format!("user/{}", user.name));
    access.note.after(json!({"password": "changed"}));
    if !console.passwords.verify(change.current, Some(user.password_hash.clone())).await? {
        return Err(Problem::field("current", "is not your password"));
    }
    if let Some(weakness) = password::weakness("new", &change.new, &user.name) {
        return Err(Problem::invalid(vec![weakness]));
    }
    user.password_hash = console.passwords.hash(change.new).await?;
    user.revision += 1;
    if !console.store.update_user(&user).await? {
        return Err(Problem::conflict("changed_meanwhile", "the user was changed meanwhile; try again"));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The cookie that carries a session's secret; an empty one with no lifetime takes it back.
pub(crate) fn session_cookie(secret: &str, lifetime: Option<Span>, secure: bool) -> String {
    let mut cookie = format!("{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Lax");
    if let Some(lifetime) = lifetime {
        cookie.push_str(&format!("; Max-Age={}", lifetime.as_millis() / 1000));
    }
    if secure {
        cookie.push_str("; Secure");
    }
    cookie
}
