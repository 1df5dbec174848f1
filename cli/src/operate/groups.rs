//! `carillon group ...`

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::segment;
use crate::api::Api;
use crate::args::GroupAction;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Column, Format, say, text};

pub(super) const COLUMNS: &[Column] = &[
    Column::new("ID", |group| text(group, "id")),
    Column::new("NAME", |group| text(group, "name")),
    Column::new("SHARDS", |group| text(group, "shards")),
    Column::wide("DESCRIPTION", |group| text(group, "description")),
    Column::wide("REVISION", |group| text(group, "revision")),
    Column::wide("UPDATED", |group| text(group, "updated_at")),
];

pub(super) async fn run(api: Api, format: Format, action: GroupAction) -> Outcome {
    match action {
        GroupAction::List { limit } => {
            output::show_list(format, COLUMNS, &api.list("/groups", &[], limit.limit).await?)
        }
        GroupAction::Get { group } => output::show_one(format, COLUMNS, &find(&api, &group).await?),
        GroupAction::Create { name, cluster, server_group, backups, shards, description } => {
            let mut body = json!({
                "name": name, "server_group": server_group, "backups": backups, "shards": shards,
            });
            set(&mut body, "cluster", cluster.map(Value::from));
            set(&mut body, "description", description.map(Value::from));
            let group = api.post("/groups", Some(&body)).await?.body;
            output::show_one(format, COLUMNS, &group)
        }
        GroupAction::Update { group, name, description } => {
            let known = find(&api, &group).await?;
            let mut body = Value::Object(Map::new());
            set(&mut body, "name", name.map(Value::from));
            set(&mut body, "description", description.map(Value::from));
            if body == json!({}) {
                return Err(Failure::Usage("nothing to change: give --name or --description".to_owned()));
            }
            let path = format!("/groups/{}", text(&known, "id"));
            let etag = api.get(&path, &[]).await?.etag;
            let changed = api.write(Method::PATCH, &path, etag.as_deref(), Some(&body)).await?.body;
            output::show_one(format, COLUMNS, &changed)
        }
        GroupAction::Delete { group } => {
            let known = find(&api, &group).await?;
            delete(&api, &text(&known, "id")).await?;
            say(&format!("deleted group {} ({})", text(&known, "id"), text(&known, "name")));
            Ok(())
        }
    }
}

/// A group by its id or its name.
pub(super) async fn find(api: &Api, group: &str) -> Outcome<Value> {
    if group.parse::<carillon_core::ids::GroupId>().is_ok() {
        return Ok(api.get(&format!("/groups/{}", segment(group)?), &[]).await?.body);
    }
    // Groups are few (the API bounds them), so the list is the index.
    const ALL: usize = 10_000;
    let groups = api.list("/groups", &[], ALL).await?;
    let found = groups.iter().find(|known| text(known, "name") == group).cloned();
    found.ok_or_else(|| {
        let names: Vec<String> = groups.iter().map(|known| text(known, "name")).collect();
        let near = crate::suggest::nearest(group, names.iter().map(String::as_str));
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        Failure::NotFound(format!("there is no group with the id or name {group:?}{hint}"))
    })
}

/// Deletes a group by its id.
pub(super) async fn delete(api: &Api, id: &str) -> Outcome {
    let path = format!("/groups/{id}");
    let etag = api.get(&path, &[]).await?.etag;
    api.write(Method::DELETE, &path, etag.as_deref(), None).await?;
    Ok(())
}

/// Sets a field that was given.
pub(super) fn set(body: &mut Value, field: &str, value: Option<Value>) {
    if let (Some(value), Value::Object(fields)) = (value, body) {
        fields.insert(field.to_owned(), value);
    }
}
