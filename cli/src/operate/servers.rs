//! `carillon server list|get|drain`, `carillon shard ...` and `carillon worker ...`

use serde_json::Value;

use super::{group_id_if_any, query, segment};
use crate::api::Api;
use crate::args::{ServerAction, ShardAction, WorkerAction};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Column, Format, say, text};

pub(super) const COLUMNS: &[Column] = &[
    Column::new("ID", |server| text(server, "id")),
    Column::new("ROOM", |server| text(server, "room")),
    Column::new(
        "STATE",
        |server| if server["draining"] == true { "draining".to_owned() } else { "up".to_owned() },
    ),
    Column::new("OWNED", |server| text(server, "shards_owned")),
    Column::new("HELD", |server| text(server, "shards_held")),
    Column::new("WORKERS", |server| text(server, "workers")),
    Column::wide("ADDRESS", |server| text(server, "address")),
    Column::wide("VERSION", |server| text(server, "version")),
];

const SHARD_COLUMNS: &[Column] = &[
    Column::new("SHARD", |shard| text(shard, "id")),
    Column::new("OWNER", |shard| text(shard, "owner")),
    Column::new("STANDBYS", |shard| text(shard, "standbys")),
    Column::new("EPOCH", |shard| text(shard, "epoch")),
    Column::new("PLANNED UNTIL", |shard| text(shard, "planned_until")),
    Column::wide("JOBS", |shard| text(shard, "jobs")),
    Column::wide("OPEN RUNS", |shard| text(shard, "open_runs")),
];

const WORKER_COLUMNS: &[Column] = &[
    Column::new("NAME", |worker| text(worker, "name")),
    Column::new("GROUP", |worker| text(worker, "group")),
    Column::new(
        "STATE",
        |worker| if worker["draining"] == true { "draining".to_owned() } else { "up".to_owned() },
    ),
    Column::new("RUNNING", |worker| text(worker, "running")),
    Column::new("HANDLERS", handlers),
    Column::wide("ROOM", |worker| text(worker, "room")),
    Column::wide("ADDRESS", |worker| text(worker, "address")),
    Column::wide("LABELS", |worker| text(worker, "labels")),
    Column::wide("SDK", |worker| text(worker, "sdk_version")),
    Column::wide("INCARNATION", |worker| text(worker, "incarnation")),
    Column::wide("CONNECTED", |worker| text(worker, "connected_at")),
];

/// Servers and their workers are some hundreds at most; they come on few pages.
const ALL: usize = 10_000;

pub(super) async fn run(api: Api, format: Format, action: ServerAction) -> Outcome {
    match action {
        ServerAction::List { .. } => {
            output::show_list(format, COLUMNS, &api.list("/servers", &[], ALL).await?)
        }
        ServerAction::Get { server, .. } => output::show_one(format, COLUMNS, &find(&api, &server).await?),
        ServerAction::Drain { server, .. } => {
            let answer = api.post(&format!("/servers/{}/drain", segment(&server)?), None).await?.body;
            let shards = text(&answer, "shards");
            let count = if shards.is_empty() { String::new() } else { format!(" ({shards} shards)") };
            say(&format!("{server} hands over its shards{count}"));
            Ok(())
        }
    }
}

/// A server by its name.
pub(super) async fn find(api: &Api, server: &str) -> Outcome<Value> {
    let servers = api.list("/servers", &[], ALL).await?;
    servers
        .into_iter()
        .find(|known| text(known, "id") == server)
        .ok_or_else(|| Failure::NotFound(format!("there is no server {server:?} running")))
}

pub(super) async fn shards(api: Api, format: Format, action: ShardAction) -> Outcome {
    let ShardAction::List { group, limit } = action;
    let group = group_id_if_any(&api, group).await?;
    let shards = api.list("/shards", &query(&[("group", &group)]), limit.limit).await?;
    output::show_list(format, SHARD_COLUMNS, &shards)
}

pub(super) async fn workers(api: Api, format: Format, action: WorkerAction) -> Outcome {
    let WorkerAction::List { group, limit } = action;
    let group = group_id_if_any(&api, group).await?;
    let workers = api.list("/workers", &query(&[("group", &group)]), limit.limit).await?;
    output::show_list(format, WORKER_COLUMNS, &workers)
}

fn handlers(worker: &Value) -> String {
    let handlers = worker["handlers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names = handlers.iter().map(|handler| match handler.as_str() {
        Some(name) => name.to_owned(),
        None => text(handler, "name"),
    });
    names.collect::<Vec<_>>().join(", ")
}
