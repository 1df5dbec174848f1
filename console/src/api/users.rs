//! People.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carillon_core::job::FieldError;
use carillon_core::time::Timestamp;
use carillon_store::StoreError;
use carillon_store::accounts::User;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::groups::PageParams;
use crate::auth::{Access, password};
use crate::console::Console;
use crate::json::{Body, Params};
use crate::operation::{Need, Operations};
use crate::page::{self, Page};
use crate::precondition::{etag, if_match};
use crate::problem::{Problem, Result};

pub(crate) fn enter(operations: &mut Operations) {
    operations.write::<__path_create_user, _, _>(create_user, Need::Administrator, "user.create");
    operations.read::<__path_list_users, _, _>(list_users, Need::Administrator);
    operations.read::<__path_get_user, _, _>(get_user, Need::Administrator);
    operations.write::<__path_update_user, _, _>(update_user, Need::Administrator, "user.update");
    operations.write::<__path_delete_user, _, _>(delete_user, Need::Administrator, "user.delete");
}

/// A person.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct UserView {
    /// Its number.
    #[schema(example = "1")]
    pub(crate) id: String,
    /// The sign-in name.
    pub(crate) name: String,
    /// For people.
    pub(crate) display_name: String,
    /// May do everything.
    pub(crate) administrator: bool,
    /// Cannot sign in.
    pub(crate) disabled: bool,
    /// Grows with each change: the `ETag`.
    pub(crate) revision: u32,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
}

impl UserView {
    pub(crate) fn of(user: &User) -> Self {
        Self {
            id: user.id.to_string(),
            name: user.name.clone(),
            display_name: user.display_name.clone(),
            administrator: user.administrator,
            disabled: user.disabled,
            revision: user.revision,
            created_at: user.created_at,
        }
    }
}

/// A person to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    /// The sign-in name, unique ignoring case: letters, digits and `.-_@`.
    #[schema(min_length = 1, max_length = 64, example = "ann")]
    name: String,
    /// For people; the name unless given.
    #[schema(max_length = 128)]
    display_name: Option<String>,
    /// At least 8 characters; generated and shown once unless given.
    #[schema(min_length = 8, max_length = 256)]
    password: Option<String>,
    /// May do everything (default false).
    administrator: Option<bool>,
}

/// A new person.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedUser {
    /// The person.
    #[serde(flatten)]
    user: UserView,
    /// The generated password, shown only now.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
}

/// Add a person
#[utoipa::path(post, path = "/api/v1/users", tag = "users", request_body = NewUser, responses(
    (status = 201, description = "Added.", body = CreatedUser),
    (status = 409, description = "The name is taken.", body = Problem, content_type = "application/problem+json"),
))]
async fn create_user(
    State(console): State<Arc<Console>>,
    access: Access,
    Body(new): Body<NewUser>,
) -> Result<Response> {
    let mut errors = Vec::new();
    let plain = |letter: char| letter.is_alphanumeric() || ".-_@".contains(letter);
    // A name of digits only could not be told from a number.
    if !new.name.chars().all(plain) || new.name.chars().all(|letter| letter.is_ascii_digit()) {
        errors.push(FieldError::new("name", "letters, digits and `.-_@`, not only digits"));
    }
    errors.extend(new.password.as_deref().and_then(|given| password::weakness("password", given, &new.name)));
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let generated = new.password.is_none().then(password::generate);
    let secret = new.password.or_else(|| generated.clone()).expect("one of both is there");
    let mut user = User {
        id: 0,
        display_name: new.display_name.unwrap_or_else(|| new.name.clone()),
        name: new.name,
        password_hash: console.passwords.hash(secret).await?,
        administrator: new.administrator.unwrap_or(false),
        disabled: false,
        revision: 1,
        created_at: console.now(),
    };
    user.id = console.store.create_user(&user).await.map_err(|error| match error {
        StoreError::Conflict { .. } => {
            Problem::conflict("name_taken", format!("there is a user {:?} already", user.name))
        }
        other => other.into(),
    })?;
    access.note.target(format!("user/{}", user.name));
    access.note.after(json!(UserView::of(&user)));
    let created = CreatedUser { user: UserView::of(&user), password: generated };
    Ok((StatusCode::CREATED, [(header::ETAG, etag(1))], Json(created)).into_response())
}

/// List people
///
/// In the order of their numbers.
#[utoipa::path(get, path = "/api/v1/users", tag = "users", params(PageParams), responses(
    (status = 200, description = "People.", body = Page<UserView>),
))]
async fn list_users(
    State(console): State<Arc<Console>>,
    Params(params): Params<PageParams>,
) -> Result<Json<Page<UserView>>> {
    let limit = page::limit(params.limit);
    let users = console.store.users(page::position(params.cursor.as_deref())?, limit + 1).await?;
    Ok(Json(Page::of(users, limit, |user| user.id.to_string()).map(|user| UserView::of(&user))))
}

/// A person
#[utoipa::path(get, path = "/api/v1/users/{user}", tag = "users",
    params(("user" = String, Path, description = "Number or sign-in name.")),
    responses((status = 200, description = "The person.", body = UserView, headers(("ETag" = String, description = "Its revision.")))))]
async fn get_user(State(console): State<Arc<Console>>, Path(user): Path<String>) -> Result<Response> {
    let user = find_user(&console, &user).await?;
    Ok(([(header::ETAG, etag(user.revision))], Json(UserView::of(&user))).into_response())
}

/// A person by number or sign-in name.
pub(super) async fn find_user(console: &Console, user: &str) -> Result<User> {
    let found = match user.parse::<u64>() {
        Ok(id) => console.store.user(id).await?,
        Err(_) if user.len() <= 256 => console.store.user_by_name(user).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| Problem::not_found("user", user))
}

/// What may change of a person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserChange {
    /// For people.
    #[schema(max_length = 128)]
    display_name: Option<String>,
    /// May do everything.
    administrator: Option<bool>,
    /// Cannot sign in.
    disabled: Option<bool>,
    /// A new password.
    #[schema(min_length = 8, max_length = 256)]
    password: Option<String>,
}

/// Change a person
///
/// Fields left out stay. A change of the password or the rights ends the person's sessions.
#[utoipa::path(patch, path = "/api/v1/users/{user}", tag = "users", request_body = UserChange,
    params(("user" = String, Path, description = "Number or sign-in name."), ("If-Match" = String, Header, description = "The `ETag` that was read, or `*`.")),
    responses((status = 200, description = "Changed.", body = UserView, headers(("ETag" = String, description = "Its new revision.")))))]
async fn update_user(
    State(console): State<Arc<Console>>,
    access: Access,
    Path(user): Path<String>,
    headers: HeaderMap,
    Body(change): Body<UserChange>,
) -> Result<Response> {
    let seen = if_match(&headers)?;
    let before = find_user(&console, &user).await?;
    if seen.is_some_and(|seen| seen != before.revision) {
        return Err(changed_meanwhile());
    }
    access.note.target(format!("user/{}", before.name));
    let loses_rights = change.administrator == Some(false) || change.disabled == Some(true);
    if loses_rights && before.id == access.person()?.user.id {
        return Err(Problem::conflict(
            "yourself",
            "you cannot take your own rights; another administrator can",
        ));
    }
    let mut user = before.clone();
    if let Some(secret) = change.password {
        if let Some(weakness) = password::weakness("password", &secret, &user.name) {
            return Err(Problem::invalid(vec![weakness]));
        }
        user.password_hash = console.passwords.hash(secret).await?;
    }
    user.display_name = change.display_name.unwrap_or(user.display_name);
    user.administrator = change.administrator.unwrap_or(user.administrator);
    user.disabled = change.disabled.unwrap_or(user.disabled);
    user.revision += 1;
    if !console.store.update_user(&user).await? {
        return Err(changed_meanwhile());
    }
    access.note.before(json!(UserView::of(&before)));
    access.note.after(
        json!({"user": UserView::of(&user), "new_secret": user.password_hash != before.password_hash}),
    );
    Ok(([(header::ETAG, etag(user.revision))], Json(UserView::of(&user))).into_response())
}

fn changed_meanwhile() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "changed_meanwhile",
        "the user was changed meanwhile; read it again",
    )
}

/// Delete a person
///
/// With grants, sessions and tokens. What the person did stays in the audit trail.
#[utoipa::path(delete, path = "/api/v1/users/{user}", tag = "users",
    params(("user" = String, Path, description = "Number or sign-in name.")),
    responses((status = 204, description = "Deleted.")))]
async fn delete_user(
    State(console): State<Arc<Console>>,
    access: Access,
    Path(user): Path<String>,
) -> Result<StatusCode> {
    let user = find_user(&console, &user).await?;
    if user.id == access.person()?.user.id {
        return Err(Problem::conflict("yourself", "you cannot delete yourself; another administrator can"));
    }
    access.note.target(format!("user/{}", user.name));
    access.note.before(json!(UserView::of(&user)));
    console.store.delete_user(user.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
