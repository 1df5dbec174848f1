//! Roles of people on task groups.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use carillon_core::ids::GroupId;
use carillon_core::time::Timestamp;
use carillon_store::accounts::{Grant, Role, User};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::schemas;
use super::users::find_user;
use crate::auth::Access;
use crate::console::Console;
use crate::json::{Body, Params};
use crate::operation::{Need, Operations};
use crate::page::Page;
use crate::problem::{Problem, Result};

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_list_grants, _, _>(list_grants, Need::RoleInRequest(Role::Viewer));
    operations.write::<__path_put_grant, _, _>(put_grant, Need::RoleInRequest(Role::Owner), "grant.put");
    operations.write::<__path_delete_grant, _, _>(
        delete_grant,
        Need::RoleInRequest(Role::Owner),
        "grant.delete",
    );
}

/// A role of a person on a task group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GrantView {
    /// The person's sign-in name.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// The person's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    /// The task group.
    #[schema(value_type = String)]
    group: GroupId,
    /// The role.
    #[schema(value_type = schemas::Role)]
    role: &'static str,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    granted_at: Option<Timestamp>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    granted_by: Option<String>,
}

impl GrantView {
    pub(super) fn plain(user: Option<String>, group: GroupId, role: Role) -> Self {
        Self { user, user_id: None, group, role: role.as_str(), granted_at: None, granted_by: None }
    }

    fn of(grant: &Grant, user: Option<&User>) -> Self {
        Self {
            user: user.map(|user| user.name.clone()),
            user_id: Some(grant.user.to_string()),
            group: grant.group,
            role: grant.role.as_str(),
            granted_at: Some(grant.granted_at),
            granted_by: Some(grant.granted_by.clone()),
        }
    }
}

/// Whose grants.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct GrantParams {
    /// Those on this task group, for whoever may see it.
    #[param(value_type = Option<String>, format = "group-id")]
    group: Option<GroupId>,
    /// Those of this person, by number or name; of others only for administrators.
    user: Option<String>,
    /// Has no effect: there are never so many.
    #[param(minimum = 1, maximum = 500)]
    #[allow(dead_code, reason = "accepted from clients that page every list")]
    limit: Option<usize>,
}

/// List grants
///
/// On a task group, of a person, or both; your own without either.
#[utoipa::path(get, path = "/api/v1/grants", tag = "grants", params(GrantParams), responses(
    (status = 200, description = "The grants.", body = Page<GrantView>),
))]
async fn list_grants(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<GrantParams>,
) -> Result<Json<Page<GrantView>>> {
    let me = &access.person()?.user;
    let user = match &params.user {
        None => None,
        Some(user) if *user == me.name || *user == me.id.to_string() => Some(me.clone()),
        Some(user) if access.principal.is_administrator() => Some(find_user(&console, user).await?),
        Some(_) if params.group.is_none() => {
            return Err(Problem::forbidden("only an administrator may list the grants of others"));
        }
        Some(user) => Some(find_user(&console, user).await?),
    };
    let grants = match (params.group, &user) {
        (Some(group), _) => {
            access.require(Role::Viewer, group)?;
            console.store.grants_of_group(group).await?
        }
        (None, Some(user)) => console.store.grants_of_user(user.id).await?,
        (None, None) => console.store.grants_of_user(me.id).await?,
    };
    let mut items = Vec::new();
    for grant in grants.iter().filter(|grant| user.as_ref().is_none_or(|user| user.id == grant.user)) {
        let user = console.store.user(grant.user).await?;
        items.push(GrantView::of(grant, user.as_ref()));
    }
    let count = items.len();
    Ok(Json(Page::of(items, count, |_| String::new()).with_total(Some(count))))
}

/// A role to be granted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"user": "ann", "group": "101-1-2-6601", "role": "operator"}))]
pub(crate) struct NewGrant {
    /// The person, by number or sign-in name.
    #[schema(max_length = 64)]
    user: String,
    /// The task group.
    #[schema(value_type = String, format = "group-id")]
    group: GroupId,
    /// The role, in place of an earlier one.
    #[schema(value_type = schemas::Role)]
    role: String,
}

/// Grant a role
#[utoipa::path(put, path = "/api/v1/grants", tag = "grants", request_body = NewGrant, responses(
    (status = 200, description = "Granted.", body = GrantView),
))]
async fn put_grant(
    State(console): State<Arc<Console>>,
    access: Access,
    Body(new): Body<NewGrant>,
) -> Result<Json<GrantView>> {
    access.require(Role::Owner, new.group)?;
    let role: Role = new.role.parse().map_err(|error: String| Problem::field("role", error))?;
    if console.store.group(new.group).await?.is_none() {
        return Err(Problem::not_found("task group", new.group));
    }
    let user = find_user(&console, &new.user).await?;
    let before = console.store.grants_of_user(user.id).await?;
    if let Some(before) = before.iter().find(|grant| grant.group == new.group) {
        access.note.before(json!({"role": before.role.as_str()}));
    }
    let grant = Grant {
        user: user.id,
        group: new.group,
        role,
        granted_at: console.now(),
        granted_by: access.principal.name(),
    };
    access.note.target(format!("grant/{}/{}", new.group, user.name));
    console.store.grant(&grant).await?;
    access.note.after(json!({"role": role.as_str()}));
    Ok(Json(GrantView::of(&grant, Some(&user))))
}

/// Which grant to withdraw.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct OneGrant {
    /// The person, by number or sign-in name.
    user: String,
    /// The task group.
    #[param(value_type = String, format = "group-id")]
    group: GroupId,
}

/// Withdraw a role
#[utoipa::path(delete, path = "/api/v1/grants", tag = "grants", params(OneGrant), responses(
    (status = 204, description = "Withdrawn."),
    (status = 404, description = "There was none.", body = Problem, content_type = "application/problem+json"),
))]
async fn delete_grant(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<OneGrant>,
) -> Result<StatusCode> {
    access.require(Role::Owner, params.group)?;
    let user = find_user(&console, &params.user).await?;
    access.note.target(format!("grant/{}/{}", params.group, user.name));
    if !console.store.revoke(user.id, params.group).await? {
        return Err(Problem::not_found("grant of", format!("{} on {}", user.name, params.group)));
    }
    Ok(StatusCode::NO_CONTENT)
}
