//! What workers and SDK clients ask: where are the servers of my group?

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use carillon_coordination::Member;
use carillon_core::ids::GroupId;
use carillon_store::accounts::Role;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Access, require};
use crate::console::Console;
use crate::json::Params;
use crate::operation::{Need, Operations};
use crate::problem::{Problem, Result};

/// Workers ask again after this: soon enough after a change of placement, and little load for ten thousand workers.
const TTL_SECONDS: u64 = 10;

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_endpoints, _, _>(endpoints, Need::AnyToken);
}

/// Of which group.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EndpointParams {
    /// The task group.
    #[param(value_type = String, format = "group-id")]
    group: GroupId,
}

/// The servers of a task group.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({"group": "101-1-2-6601", "servers": [{"id": "server-1", "address": "10.0.0.1:7070", "room": "a", "shards": [0]}], "ttl_seconds": 10}))]
pub(crate) struct Endpoints {
    /// The task group.
    #[schema(value_type = String)]
    group: GroupId,
    /// The live servers to connect to, by id.
    servers: Vec<Endpoint>,
    /// Ask again after this.
    ttl_seconds: u64,
}

/// A server to connect to.
#[derive(Serialize, ToSchema)]
pub(crate) struct Endpoint {
    /// Its id.
    id: String,
    /// `host:port` of its gRPC listener.
    address: String,
    /// Its machine room.
    room: String,
    /// The group's shards it holds.
    shards: Vec<u16>,
}

/// The servers of a task group
///
/// Workers connect to all of them. While the group is not placed yet, or none of its holders lives, they are all live servers of its server group: one
/// of those is about to take it.
#[utoipa::path(get, path = "/api/v1/sdk/endpoints", tag = "sdk", params(EndpointParams), responses(
    (status = 200, description = "Where to connect.", body = Endpoints),
))]
async fn endpoints(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<EndpointParams>,
) -> Result<Json<Endpoints>> {
    let group = params.group;
    require(&access.principal, Role::Viewer, group, true)?;
    let shards = console.store.shards_of_group(group).await?;
    if shards.is_empty() {
        return Err(Problem::not_found("task group", group));
    }
    let mut held: BTreeMap<&str, Vec<u16>> = BTreeMap::new();
    for shard in &shards {
        for holder in shard.holders.iter().chain(&shard.owner) {
            let indexes = held.entry(holder.as_str()).or_default();
            if indexes.last() != Some(&shard.id.index()) {
                indexes.push(shard.id.index());
            }
        }
    }
    let in_group = |server: &Member| server.server_group == group.server_group();
    let known = console.servers.perhaps_live().await?;
    let live: Vec<&Member> = known.live.iter().filter(|server| in_group(server)).collect();
    let is_held_alive = |index: u16| {
        live.iter().any(|server| held.get(server.id.as_str()).is_some_and(|shards| shards.contains(&index)))
    };
    let all_held = shards.iter().all(|shard| is_held_alive(shard.id.index()));
    let missing =
        known.missing.iter().filter(|server| in_group(server) && held.contains_key(server.id.as_str()));
    let servers = live
        .iter()
        .copied()
        .chain(missing)
        .map(|server| Endpoint {
            id: server.id.to_string(),
            address: server.address.clone(),
            room: server.room.clone(),
            shards: held.get(server.id.as_str()).cloned().unwrap_or_default(),
        })
        .filter(|server| !all_held || !server.shards.is_empty())
        .collect();
    Ok(Json(Endpoints { group, servers, ttl_seconds: TTL_SECONDS }))
}
