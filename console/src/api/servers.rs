//! The cluster as it is now: servers, shards, workers; and draining a server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use carillon_core::ids::{GroupId, Incarnation, ShardId};
use carillon_core::time::Timestamp;
use carillon_proto::v1;
use carillon_store::shards::ShardRow;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::groups::PageParams;
use crate::auth::Access;
use crate::console::Console;
use crate::json::Params;
use crate::operation::{Need, Operations};
use crate::page::{self, Page};
use crate::problem::{Problem, Result};
use crate::servers::status::ServerReport;

/// Groups looked through for their server groups: more than an installation has.
const MOST_GROUPS: usize = 10_000;

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_list_servers, _, _>(list_servers, Need::Person);
    operations.write::<__path_drain_server, _, _>(drain_server, Need::Administrator, "server.drain");
    operations.read::<__path_list_shards, _, _>(list_shards, Need::Person);
    operations.read::<__path_list_workers, _, _>(list_workers, Need::Person);
}

/// A live server.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerView {
    /// Its configured name.
    id: String,
    /// Its machine room.
    room: String,
    /// Its pool.
    server_group: u32,
    /// Where peers, workers and consoles reach it.
    address: String,
    /// The version of its binary.
    version: String,
    /// When it joined the cluster.
    #[schema(value_type = String, format = DateTime)]
    joined_at: Timestamp,
    /// Whether it answered just now. One that did not is live for the coordinator but not reachable from here.
    answers: bool,
    /// Whether it is on its way out.
    draining: bool,
    /// Shards it owns.
    shards_owned: u32,
    /// Shards it holds as owner or standby.
    shards_held: u32,
    /// Workers connected to it.
    workers: u32,
    /// Its clock minus this console's, in milliseconds, roughly.
    clock_offset_ms: Option<i64>,
}

impl ServerView {
    fn of(report: &ServerReport, now: Timestamp) -> Self {
        let member = &report.member;
        let status = report.status.as_ref();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let owned = status.map(|status| count(status.shards.iter().filter(|shard| shard.owner).count()));
        Self {
            id: member.id.to_string(),
            room: member.room.clone(),
            server_group: member.server_group,
            address: member.address.clone(),
            version: member.version.clone(),
            joined_at: Timestamp::from_millis(member.joined_at_ms),
            answers: status.is_some(),
            draining: member.draining || status.is_some_and(|status| status.draining),
            shards_owned: owned.unwrap_or(member.load.shards_owned),
            shards_held: status.map_or(member.load.shards_held, |status| count(status.shards.len())),
            workers: status.map_or(member.load.workers, |status| count(status.workers.len())),
            clock_offset_ms: status.map(|status| status.now_ms - now.as_millis()),
        }
    }
}

/// List the live servers
///
/// By id. Each is asked for its status; one that does not answer in time is shown as such.
#[utoipa::path(get, path = "/api/v1/servers", tag = "cluster", params(PageParams), responses(
    (status = 200, description = "The live servers.", body = Page<ServerView>),
))]
async fn list_servers(
    State(console): State<Arc<Console>>,
    Params(params): Params<PageParams>,
) -> Result<Json<Page<ServerView>>> {
    let now = console.now();
    let reports = console.servers.statuses().await?;
    let views = reports.iter().map(|report| ServerView::of(report, now)).collect();
    Ok(Json(cut(views, &params, |server: &ServerView| server.id.clone())?))
}

/// A page of a list that is in memory, ordered by its key.
fn cut<T>(mut items: Vec<T>, params: &PageParams, key: impl Fn(&T) -> String) -> Result<Page<T>> {
    let after: Option<String> = page::position(params.cursor.as_deref())?;
    items.sort_by_key(&key);
    let total = items.len();
    if let Some(after) = &after {
        items.retain(|item| key(item) > *after);
    }
    let page = Page::of(items, page::limit(params.limit), key);
    Ok(page.with_total(after.is_none().then_some(total)))
}

/// What a drained server does.
#[derive(Serialize, ToSchema)]
pub(crate) struct Drained {
    /// Shards it hands over.
    shards: u32,
}

/// Drain a server
///
/// It hands over every shard and takes no new ones, so that it can be stopped without a gap.
#[utoipa::path(post, path = "/api/v1/servers/{server}/drain", tag = "cluster",
    params(("server" = String, Path, description = "Its id.")),
    responses((status = 200, description = "It hands over.", body = Drained)))]
async fn drain_server(
    State(console): State<Arc<Console>>,
    access: Access,
    Path(server): Path<String>,
) -> Result<Json<Drained>> {
    access.note.target(format!("server/{}", server.chars().take(64).collect::<String>()));
    let live = console.servers.live().await?;
    let member = live.iter().find(|member| member.id.as_str() == server);
    let member = member.ok_or_else(|| Problem::not_found("live server", &server))?;
    let shards = console.servers.drain(&console.metrics, member).await?;
    access.note.after(json!({"shards": shards}));
    Ok(Json(Drained { shards }))
}

/// A shard: who owns it, who stands by.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShardView {
    /// Group and index.
    #[schema(value_type = String, example = "101-1-2-6601.0")]
    id: ShardId,
    /// The task group.
    #[schema(value_type = String)]
    group: GroupId,
    /// Its place in the group, from 0.
    index: u16,
    /// The server that made the epoch its own last.
    owner: Option<String>,
    /// Whether the owner is live.
    owner_live: bool,
    /// The other holders, next in line first.
    standbys: Vec<String>,
    /// Those of all holders that are not live.
    holders_gone: Vec<String>,
    /// Grows with every change of owner.
    epoch: String,
    /// Every fire up to here has its row.
    #[schema(value_type = String, format = DateTime)]
    planned_until: Timestamp,
    /// Every fire up to here is with its worker; as the owner says.
    #[schema(value_type = Option<String>, format = DateTime)]
    armed_until: Option<Timestamp>,
    /// Jobs of the shard, as the owner says.
    jobs: Option<u64>,
    /// Planned and running runs, as the owner says.
    open_runs: Option<u64>,
}

/// Rows with what the servers say about them.
pub(super) fn shard_views(rows: Vec<ShardRow>, reports: &[ServerReport]) -> Vec<ShardView> {
    let live: BTreeSet<&str> = reports.iter().map(|report| report.member.id.as_str()).collect();
    let mut said: BTreeMap<&str, &v1::ShardStatus> = BTreeMap::new();
    for status in reports.iter().filter_map(|report| report.status.as_ref()) {
        for shard in &status.shards {
            let known = said.entry(&shard.shard).or_insert(shard);
            if (shard.owner, shard.epoch) > (known.owner, known.epoch) {
                *known = shard;
            }
        }
    }
    let view = |row: ShardRow| {
        let status = said.get(row.id.to_string().as_str()).filter(|status| status.owner).copied();
        let owner = row.owner.as_ref().map(|owner| owner.to_string());
        let gone = row.holders.iter().filter(|holder| !live.contains(holder.as_str()));
        ShardView {
            id: row.id,
            group: row.id.group(),
            index: row.id.index(),
            owner_live: owner.as_deref().is_some_and(|owner| live.contains(owner)),
            standbys: row
                .holders
                .iter()
                .filter(|holder| row.owner.as_ref() != Some(holder))
                .map(ToString::to_string)
                .collect(),
            holders_gone: gone.map(ToString::to_string).collect(),
            owner,
            epoch: row.epoch.to_string(),
            planned_until: row.planned_until,
            armed_until: status.map(|status| Timestamp::from_millis(status.armed_until_ms)),
            jobs: status.map(|status| status.jobs),
            open_runs: status.map(|status| status.open_runs),
        }
    };
    rows.into_iter().map(view).collect()
}

/// Which shards or workers to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct GroupParams {
    /// Only this task group's.
    #[param(value_type = Option<String>, format = "group-id")]
    group: Option<GroupId>,
    /// Items on the page (default 50).
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List shards
///
/// Those of the task groups that you may see, by id, with owner and standbys.
#[utoipa::path(get, path = "/api/v1/shards", tag = "cluster", params(GroupParams), responses(
    (status = 200, description = "The shards.", body = Page<ShardView>),
))]
async fn list_shards(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<GroupParams>,
) -> Result<Json<Page<ShardView>>> {
    let mut rows = Vec::new();
    match access.groups(params.group)? {
        Some(groups) => {
            for group in groups {
                rows.extend(console.store.shards_of_group(group).await?);
            }
        }
        None => {
            let groups = console.store.groups(None, MOST_GROUPS).await?;
            let pools: BTreeSet<(u32, u32)> =
                groups.iter().map(|group| (group.id.cluster(), group.id.server_group())).collect();
            for (cluster, server_group) in pools {
                rows.extend(console.store.shards_of(cluster, server_group).await?);
            }
        }
    }
    let reports = console.servers.statuses().await?;
    let page = PageParams { limit: params.limit, cursor: params.cursor };
    // The index is padded so that shard 10 comes after shard 9.
    Ok(Json(cut(shard_views(rows, &reports), &page, |shard| format!("{}.{:05}", shard.group, shard.index))?))
}

/// A connected worker.
#[derive(Serialize, ToSchema)]
pub(crate) struct WorkerView {
    /// One start of its process.
    incarnation: String,
    /// Its name.
    name: String,
    /// The task group.
    group: String,
    /// Its machine room.
    room: String,
    /// Where it connects from.
    address: String,
    /// Its labels.
    labels: BTreeMap<String, String>,
    /// What it can run.
    handlers: Vec<HandlerView>,
    /// The version of its SDK.
    sdk_version: String,
    /// When it connected first to one of its servers.
    #[schema(value_type = String, format = DateTime)]
    connected_at: Timestamp,
    /// Runs in progress.
    running: u32,
    /// Whether it takes no new runs.
    draining: bool,
    /// The servers it has a stream to.
    servers: Vec<String>,
}

/// A handler of a worker.
#[derive(Serialize, ToSchema)]
pub(crate) struct HandlerView {
    /// Its name, as jobs call it.
    name: String,
    /// Whether it runs parallel jobs.
    parallel: bool,
    /// Runs at a time.
    concurrency: u32,
    /// Runs that may wait.
    queue: u32,
}

/// List connected workers
///
/// Those of the task groups that you may see, by group and name.
#[utoipa::path(get, path = "/api/v1/workers", tag = "cluster", params(GroupParams), responses(
    (status = 200, description = "The workers.", body = Page<WorkerView>),
))]
async fn list_workers(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<GroupParams>,
) -> Result<Json<Page<WorkerView>>> {
    let groups = access.groups(params.group)?;
    let groups: Option<BTreeSet<String>> =
        groups.map(|groups| groups.iter().map(ToString::to_string).collect());
    let mut workers: BTreeMap<u64, WorkerView> = BTreeMap::new();
    for report in console.servers.statuses().await? {
        let Some(status) = report.status else { continue };
        for worker in status.workers {
            if groups.as_ref().is_some_and(|groups| !groups.contains(&worker.group)) {
                continue;
            }
            let server = report.member.id.to_string();
            let view = workers.entry(worker.incarnation).or_insert_with(|| worker_view(&worker));
            // A worker has a stream to each of its servers; the runs it tells each of are all of its runs.
            view.running = view.running.max(worker.running);
            view.draining |= worker.draining;
            view.connected_at = view.connected_at.min(Timestamp::from_millis(worker.connected_ms));
            if worker.via.is_empty() {
                view.address = worker.address;
                view.servers.push(server);
            }
        }
    }
    let page = PageParams { limit: params.limit, cursor: params.cursor };
    let key = |worker: &WorkerView| format!("{}/{}/{}", worker.group, worker.name, worker.incarnation);
    Ok(Json(cut(workers.into_values().collect(), &page, key)?))
}

fn worker_view(worker: &v1::WorkerStatus) -> WorkerView {
    let handlers = worker.handlers.iter().map(|handler| HandlerView {
        name: handler.name.clone(),
        parallel: handler.parallel,
        concurrency: handler.concurrency,
        queue: handler.queue,
    });
    WorkerView {
        incarnation: Incarnation::new(worker.incarnation).to_string(),
        name: worker.name.clone(),
        group: worker.group.clone(),
        room: worker.room.clone(),
        address: worker.address.clone(),
        labels: worker.labels.clone().into_iter().collect(),
        handlers: handlers.collect(),
        sdk_version: worker.sdk_version.clone(),
        connected_at: Timestamp::from_millis(worker.connected_ms),
        running: worker.running,
        draining: worker.draining,
        servers: Vec::new(),
    }
}
