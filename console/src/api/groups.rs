//! Task groups: create, list, change, delete, and where their shards are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carillon_coordination::Topic;
use carillon_core::ids::{GroupId, MAX_BACKUPS, MAX_SHARDS, ShardId};
use carillon_core::job::FieldError;
use carillon_store::StoreError;
use carillon_store::accounts::Role;
use carillon_store::catalog::Group;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::servers::{ShardView, shard_views};
use super::views::{GroupCounts, GroupView};
use crate::auth::Access;
use crate::console::Console;
use crate::json::{Body, Params};
use crate::operation::{Need, Operations};
use crate::page::{self, Page};
use crate::precondition::{etag, if_match};
use crate::problem::{Problem, Result, chain};

pub(crate) fn enter(operations: &mut Operations) {
    operations.write::<__path_create_group, _, _>(create_group, Need::Administrator, "group.create");
    operations.read::<__path_list_groups, _, _>(list_groups, Need::AnyToken);
    operations.read::<__path_get_group, _, _>(get_group, Need::RoleOrWorker(Role::Viewer));
    operations.write::<__path_update_group, _, _>(update_group, Need::Role(Role::Owner), "group.update");
    operations.write::<__path_delete_group, _, _>(delete_group, Need::Administrator, "group.delete");
    operations.read::<__path_group_placement, _, _>(group_placement, Need::Role(Role::Viewer));
}

/// A task group to be created; the console allocates its number.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"cluster": 101, "server_group": 1, "backups": 2, "name": "billing", "shards": 1}))]
pub(crate) struct NewGroup {
    /// The cluster; this console's own unless given.
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    cluster: Option<u32>,
    /// The pool of servers that is to hold it.
    #[schema(minimum = 1, maximum = 2_147_483_647)]
    server_group: u32,
    /// How many servers hold each shard: 2 is one owner and one hot standby.
    #[schema(minimum = 1, maximum = 9)]
    backups: u32,
    /// The name for people, unique in the cluster.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    /// Free text.
    #[schema(max_length = 4096)]
    #[serde(default)]
    description: Option<String>,
    /// How many shards its jobs are spread over (default 1); it never changes.
    #[schema(minimum = 1, maximum = 256)]
    #[serde(default)]
    shards: Option<u16>,
}

/// Create a task group
///
/// The servers place its shards within seconds; until then nothing of it fires.
#[utoipa::path(post, path = "/api/v1/groups", tag = "groups", request_body = NewGroup, responses(
    (status = 201, description = "Created.", body = GroupView, headers(("ETag" = String, description = "Its revision."), ("Location" = String, description = "Where it is."))),
    (status = 409, description = "The name is taken.", body = Problem, content_type = "application/problem+json"),
))]
async fn create_group(
    State(console): State<Arc<Console>>,
    access: Access,
    Body(new): Body<NewGroup>,
) -> Result<Response> {
    let cluster = new.cluster.unwrap_or(console.config.cluster);
    let mut errors = Vec::new();
    if cluster != console.config.cluster {
        errors.push(FieldError::new(
            "cluster",
            format!("this console serves cluster {}", console.config.cluster),
        ));
    }
    errors.extend(wrong_name("name", &new.name));
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    debug_assert!(
        new.backups <= MAX_BACKUPS && new.shards.unwrap_or(1) <= MAX_SHARDS,
        "the schema bounds both"
    );
    let number = console.store.next_group_number(cluster).await?;
    let id = GroupId::new(cluster, new.server_group, new.backups, number)
        .map_err(|error| Problem::field("", error.to_string()))?;
    let now = console.now();
    let group = Group {
        id,
        name: new.name,
        description: new.description.unwrap_or_default(),
        shards: new.shards.unwrap_or(1),
        revision: 1,
        created_at: now,
        updated_at: now,
    };
    access.note.target(format!("group/{id}"));
    access.note.group(id);
    console.store.create_group(&group, now).await.map_err(|error| name_taken(error, &group.name))?;
    let mut view = GroupView::of(group);
    access.note.after(json!(view));
    hint(&console).await;
    view.warnings = warnings(&console, id).await;
    let location = format!("{}/groups/{id}", crate::router::API);
    Ok((StatusCode::CREATED, [(header::ETAG, etag(view.revision)), (header::LOCATION, location)], Json(view))
        .into_response())
}

fn wrong_name(field: &str, name: &str) -> Option<FieldError> {
    let fine = name.trim() == name && !name.is_empty() && !name.chars().any(char::is_control);
    (!fine).then(|| {
        FieldError::new(field, "no control characters, no blanks at the ends, at least one character")
    })
}

fn name_taken(error: StoreError, name: &str) -> Problem {
    match error {
        StoreError::Conflict { .. } => {
            Problem::conflict("name_taken", format!("there is a task group {name:?} already"))
        }
        other => other.into(),
    }
}

/// What a person should know about where a group can be held.
async fn warnings(console: &Console, group: GroupId) -> Vec<String> {
    let Ok(mut live) = console.servers.live().await else { return Vec::new() };
    live.retain(|server| server.server_group == group.server_group());
    let rooms: BTreeSet<&str> = live.iter().map(|server| server.room.as_str()).collect();
    let (wanted, place) = (group.backups() as usize, group.server_group());
    match (live.len(), rooms.len()) {
        (0, _) => vec![format!("no server of server group {place} is live: nothing fires until one is")],
        (count, _) if count < wanted => {
            vec![format!(
                "server group {place} has {count} live servers, fewer than the {wanted} holders of each shard"
            )]
        }
        (_, rooms) if rooms < wanted => {
            vec![format!(
                "the servers of server group {place} stand in {rooms} machine rooms, fewer than {wanted} holders"
            )]
        }
        _ => Vec::new(),
    }
}

/// Wakes servers and consoles that follow the groups; a hint, so that its failure changes nothing.
async fn hint(console: &Console) {
    let topic = Topic::new("groups").expect("a plain word is a topic");
    if let Err(error) = console.coordination.notify(&topic).await {
        tracing::debug!(error = %chain(&error), "could not send a hint");
    }
}

/// Which task groups to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct GroupListParams {
    /// `counts` for what lives in each, too.
    #[param(inline)]
    include: Option<Include>,
    /// Items on the page (default 50).
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What else to tell of each group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Include {
    /// What lives in it.
    Counts,
}

/// Where to go on in a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParams {
    /// Items on the page (default 50).
    #[param(minimum = 1, maximum = 500)]
    pub(crate) limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

/// List task groups
///
/// In the order of their ids.
#[utoipa::path(get, path = "/api/v1/groups", tag = "groups", params(GroupListParams), responses(
    (status = 200, description = "Those that you may see.", body = Page<GroupView>),
))]
async fn list_groups(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<GroupListParams>,
) -> Result<Json<Page<GroupView>>> {
    let limit = page::limit(params.limit);
    let after: Option<GroupId> = page::position(params.cursor.as_deref())?;
    let groups = match access.principal.visible_groups() {
        None => console.store.groups(after, limit + 1).await?,
        Some(mut ids) => {
            ids.sort_unstable();
            let mut groups = Vec::new();
            for id in ids.into_iter().filter(|id| after.is_none_or(|after| *id > after)).take(limit + 1) {
                groups.extend(console.store.group(id).await?);
            }
            groups
        }
    };
    let mut page = Page::of(groups, limit, |group| group.id.to_string()).map(GroupView::of);
    let kept: BTreeMap<GroupId, u32> = console.store.retentions().await?.into_iter().collect();
    let counts = match params.include {
        Some(Include::Counts) => counts(&console).await,
        None => None,
    };
    for group in &mut page.items {
        group.keep_days = kept.get(&group.id).copied();
        group.counts = counts.as_ref().map(|counts| counts.get(&group.id).cloned().unwrap_or_default());
    }
    Ok(Json(page))
}

/// What lives in each group, as the servers say; none when they are not known.
async fn counts(console: &Console) -> Option<BTreeMap<GroupId, GroupCounts>> {
    let reports = console.servers.recent_statuses().await.ok()?;
    let mut counts = BTreeMap::<GroupId, GroupCounts>::new();
    let mut workers = BTreeSet::new();
    for report in reports.iter() {
        let Some(status) = &report.status else { continue };
        for shard in status.shards.iter().filter(|shard| shard.owner) {
            let Ok(id) = shard.shard.parse::<ShardId>() else { continue };
            let group = counts.entry(id.group()).or_default();
            group.jobs += shard.jobs;
            group.open_runs += shard.open_runs;
            group.shards_owned += 1;
            group.owner_rooms.insert(report.member.room.clone());
        }
        for worker in &status.workers {
            if let Ok(group) = worker.group.parse::<GroupId>()
                && workers.insert((group, worker.incarnation))
            {
                counts.entry(group).or_default().workers += 1;
            }
        }
    }
    Some(counts)
}

/// A group with how long it keeps its runs.
async fn view(console: &Console, group: Group) -> Result<GroupView> {
    let keep_days = console.store.retention(group.id).await?;
    Ok(GroupView { keep_days, ..GroupView::of(group) })
}

/// A task group
#[utoipa::path(get, path = "/api/v1/groups/{group}", tag = "groups",
    params(("group" = String, Path, description = "Its id.", example = "101-1-2-6601")),
    responses((status = 200, description = "The task group.", body = GroupView, headers(("ETag" = String, description = "Its revision.")))))]
async fn get_group(State(console): State<Arc<Console>>, access: Access) -> Result<Response> {
    let group = read(&console, access.group()).await?;
    let view = view(&console, group).await?;
    Ok(([(header::ETAG, etag(view.revision))], Json(view)).into_response())
}

async fn read(console: &Console, id: GroupId) -> Result<Group> {
    console.store.group(id).await?.ok_or_else(|| Problem::not_found("task group", id))
}

/// What may change of a task group.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GroupChange {
    /// The name for people.
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    /// Free text.
    #[schema(max_length = 4096)]
    description: Option<String>,
    /// How many days final runs are kept, with their logs; 0 to go by the consoles' setting again.
    #[schema(minimum = 0, maximum = 3_650)]
    keep_days: Option<u32>,
}

/// Change a task group
///
/// Fields left out stay. Id and shards never change.
#[utoipa::path(patch, path = "/api/v1/groups/{group}", tag = "groups", request_body = GroupChange,
    params(("group" = String, Path, description = "Its id."), ("If-Match" = String, Header, description = "The `ETag` that was read, or `*`.")),
    responses(
        (status = 200, description = "Changed.", body = GroupView, headers(("ETag" = String, description = "Its new revision."))),
        (status = 409, description = "The name is taken.", body = Problem, content_type = "application/problem+json"),
    ))]
async fn update_group(
    State(console): State<Arc<Console>>,
    access: Access,
    headers: HeaderMap,
    Body(change): Body<GroupChange>,
) -> Result<Response> {
    let seen = if_match(&headers)?;
    if let Some(error) = change.name.as_deref().and_then(|name| wrong_name("name", name)) {
        return Err(Problem::invalid(vec![error]));
    }
    let before = read(&console, access.group()).await?;
    if seen.is_some_and(|seen| seen != before.revision) {
        return Err(changed_meanwhile(&before));
    }
    let group = Group {
        name: change.name.unwrap_or_else(|| before.name.clone()),
        description: change.description.unwrap_or_else(|| before.description.clone()),
        revision: before.revision + 1,
        updated_at: console.now(),
        ..before.clone()
    };
    access.note.before(json!(view(&console, before).await?));
    if !console.store.update_group(&group).await.map_err(|error| name_taken(error, &group.name))? {
        return Err(changed_meanwhile(&read(&console, group.id).await?));
    }
    if let Some(days) = change.keep_days {
        console.store.set_retention(group.id, (days > 0).then_some(days)).await?;
    }
    hint(&console).await;
    let view = view(&console, group).await?;
    access.note.after(json!(view));
    Ok(([(header::ETAG, etag(view.revision))], Json(view)).into_response())
}

fn changed_meanwhile(current: &Group) -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "changed_meanwhile",
        format!(
            "the task group was changed at {}; it is at revision {} now: read it again",
            current.updated_at, current.revision
        ),
    )
    .with("revision", current.revision)
    .with("changed_at", current.updated_at.to_string())
}

/// Delete a task group
///
/// Only one without jobs. Its grants and worker tokens go with it.
#[utoipa::path(delete, path = "/api/v1/groups/{group}", tag = "groups",
    params(("group" = String, Path, description = "Its id.")),
    responses(
        (status = 204, description = "Deleted."),
        (status = 409, description = "It has jobs.", body = Problem, content_type = "application/problem+json"),
    ))]
async fn delete_group(State(console): State<Arc<Console>>, access: Access) -> Result<StatusCode> {
    let before = read(&console, access.group()).await?;
    access.note.before(json!(GroupView::of(before)));
    console.store.delete_group(access.group()).await.map_err(|error| match error {
        StoreError::Conflict { .. } => {
            Problem::conflict("group_has_jobs", "the task group has jobs; delete them first")
        }
        other => other.into(),
    })?;
    hint(&console).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Where a group's shards are.
#[derive(Serialize, ToSchema)]
pub(crate) struct Placement {
    /// Its shards in order.
    shards: Vec<ShardView>,
}

/// Where the shards of a task group are
#[utoipa::path(get, path = "/api/v1/groups/{group}/placement", tag = "groups",
    params(("group" = String, Path, description = "Its id.")),
    responses((status = 200, description = "Owner and holders of each shard.", body = Placement)))]
async fn group_placement(State(console): State<Arc<Console>>, access: Access) -> Result<Json<Placement>> {
    read(&console, access.group()).await?;
    let rows = console.store.shards_of_group(access.group()).await?;
    let reports = console.servers.statuses().await?;
    Ok(Json(Placement { shards: shard_views(rows, &reports) }))
}
