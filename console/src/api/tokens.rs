//! Access for programs: personal tokens act as a person, worker tokens belong to a task group.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use carillon_core::ids::GroupId;
use carillon_core::time::{Span, Timestamp};
use carillon_store::accounts::{Role, Token, TokenScope};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::schemas;
use crate::auth::token::mint_token;
use crate::auth::{Access, Person};
use crate::console::Console;
use crate::json::{Body, Params};
use crate::operation::{Need, Operations};
use crate::page::{self, Page};
use crate::problem::{Problem, Result};

/// The longest life of a token that ends: ten years.
const LONGEST_LIFE: Span = Span::from_secs(10 * 366 * 86_400);

pub(crate) fn enter(operations: &mut Operations) {
    operations.write::<__path_create_token, _, _>(
        create_token,
        Need::RoleInRequest(Role::Owner),
        "token.create",
    );
    operations.read::<__path_list_tokens, _, _>(list_tokens, Need::Person);
    operations.write::<__path_delete_token, _, _>(
        delete_token,
        Need::RoleInRequest(Role::Owner),
        "token.delete",
    );
}

/// A token, without its secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenView {
    /// Its number.
    id: String,
    /// What people call it.
    name: String,
    /// Its first characters, to recognise it by.
    prefix: String,
    /// `user` or `worker`.
    scope: &'static str,
    /// Of a personal token: as whom it acts, by number.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Of a personal token: no more than this role on any task group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::Role>)]
    at_most: Option<&'static str>,
    /// Of a worker token: its task group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    worker_of: Option<GroupId>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// By whom.
    created_by: String,
    /// When it ends; null for never.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// When it was used last, to the minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
}

impl TokenView {
    fn of(token: &Token) -> Self {
        let (scope, user, at_most, worker_of) = match token.scope {
            TokenScope::User { user, at_most } => ("user", Some(user.to_string()), at_most, None),
            TokenScope::Worker { group } => ("worker", None, None, Some(group)),
        };
        Self {
            id: token.id.to_string(),
            name: token.name.clone(),
            prefix: token.prefix.clone(),
            scope,
            user,
            at_most: at_most.map(Role::as_str),
            worker_of,
            created_at: token.created_at,
            created_by: token.created_by.clone(),
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
        }
    }
}

/// A token to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "deploy", "at_most": "operator", "expires_in": "90d"}))]
pub(crate) struct NewToken {
    /// What people call it.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    /// Makes a worker token of this task group; without it a personal token of yours.
    #[schema(value_type = Option<String>, format = "group-id")]
    worker_of: Option<GroupId>,
    /// Of a personal token: no more than this role on any task group, and no administrator's rights.
    #[schema(value_type = Option<schemas::Role>)]
    at_most: Option<String>,
    /// How long it lives; without end unless given.
    #[schema(value_type = Option<String>, format = "duration-text", example = "90d")]
    expires_in: Option<Span>,
}

/// A new token.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedToken {
    /// What is kept of it.
    #[serde(flatten)]
    view: TokenView,
    /// The token, shown only now.
    token: String,
}

/// Make a token
///
/// A personal token needs a sign-in or an unbounded personal token; a worker token the role `owner` on its task group.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = NewToken, responses(
    (status = 201, description = "Made; it is shown only now.", body = CreatedToken),
))]
async fn create_token(
    State(console): State<Arc<Console>>,
    access: Access,
    Body(new): Body<NewToken>,
) -> Result<Response> {
    let person = access.person()?;
    let scope = scope(&access, person, &new)?;
    if let Some(life) = new.expires_in.filter(|life| *life > LONGEST_LIFE || life.is_zero()) {
        return Err(Problem::field("expires_in", format!("{life} is not between 1ms and {LONGEST_LIFE}")));
    }
    if let TokenScope::Worker { group } = scope
        && console.store.group(group).await?.is_none()
    {
        return Err(Problem::not_found("task group", group));
    }
    let now = console.now();
    let expires_at = new.expires_in.map(|life| now + life);
    let (text, token) =
        mint_token(&console.store, &new.name, scope, &access.principal.name(), now, expires_at).await?;
    access.note.target(format!("token/{}", token.id));
    access
        .note
        .after(json!({"id": token.id.to_string(), "name": token.name, "scope": TokenView::of(&token).scope}));
    Ok((StatusCode::CREATED, Json(CreatedToken { view: TokenView::of(&token), token: text })).into_response())
}

/// What the token may be for; never more than its maker may.
fn scope(access: &Access, person: &Person, new: &NewToken) -> Result<TokenScope> {
    if let Some(group) = new.worker_of {
        if new.at_most.is_some() {
            return Err(Problem::field("at_most", "is only for personal tokens"));
        }
        access.require(Role::Owner, group)?;
        return Ok(TokenScope::Worker { group });
    }
    let asked = new
        .at_most
        .as_deref()
        .map(|role| role.parse().map_err(|error: String| Problem::field("at_most", error)));
    let asked: Option<Role> = asked.transpose()?;
    let at_most = match (asked, person.at_most) {
        (Some(asked), Some(own)) if asked > own => {
            return Err(Problem::forbidden(format!(
                "your token is bounded to {own}; it cannot make a stronger one"
            )));
        }
        (None, Some(own)) => Some(own),
        (asked, _) => asked,
    };
    Ok(TokenScope::User { user: person.user.id, at_most })
}

/// Which tokens to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TokenParams {
    /// The worker tokens of this task group, for its owners.
    #[param(value_type = Option<String>, format = "group-id")]
    group: Option<GroupId>,
    /// All tokens of everybody, for administrators.
    all: Option<bool>,
    /// Items on the page (default 50).
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List tokens
///
/// Your own, or those of a task group, or all. Never their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens", params(TokenParams), responses(
    (status = 200, description = "Tokens.", body = Page<TokenView>),
))]
async fn list_tokens(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<TokenParams>,
) -> Result<Json<Page<TokenView>>> {
    let limit = page::limit(params.limit);
    let after: Option<u64> = page::position(params.cursor.as_deref())?;
    if let Some(group) = params.group {
        access.require(Role::Owner, group)?;
    }
    let all = params.all.unwrap_or(false);
    if all && !access.principal.is_administrator() {
        return Err(Problem::forbidden("only an administrator may list everybody's tokens"));
    }
    let user = if all || params.group.is_some() { None } else { Some(access.person()?.user.id) };
    let tokens = console.store.tokens(user, params.group, after, limit + 1).await?;
    Ok(Json(Page::of(tokens, limit, |token| token.id.to_string()).map(|token| TokenView::of(&token))))
}

/// Delete a token
///
/// Your own, a worker token of a task group that you own, or, for administrators, any.
#[utoipa::path(delete, path = "/api/v1/tokens/{token}", tag = "tokens",
    params(("token" = String, Path, description = "Its number.")),
    responses((status = 204, description = "Deleted; it does not hold any longer.")))]
async fn delete_token(
    State(console): State<Arc<Console>>,
    access: Access,
    Path(token): Path<String>,
) -> Result<StatusCode> {
    let unknown = || Problem::not_found("token", &token);
    let id: u64 = token.parse().map_err(|_| unknown())?;
    let found = console.store.token_by_id(id).await?.ok_or_else(unknown)?;
    let person = access.person()?;
    let may = match found.scope {
        TokenScope::User { user, .. } => user == person.user.id || access.principal.is_administrator(),
        TokenScope::Worker { group } => {
            access.note.group(group);
            access.principal.role_on(group) >= Some(Role::Owner)
        }
    };
    if !may {
        return Err(unknown());
    }
    access.note.before(json!({"id": token, "name": found.name}));
    console.store.delete_token(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
