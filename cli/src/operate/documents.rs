//! `carillon apply`, `diff` and `delete`: groups and jobs as files say.

mod read;

use std::collections::BTreeMap;

use carillon_core::job::JobSpec;
use reqwest::Method;
use serde_json::{Value, json};

use self::read::{GroupDocument, JobDocument};
use super::{groups, jobs};
use crate::api::Api;
use crate::args::{ApplyArgs, DeleteArgs, DiffArgs};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format, put, say, text};

/// What a document asks for, compared with what there is.
struct Change {
    kind: &'static str,
    name: String,
    step: Step,
}

enum Step {
    /// It is as the file says.
    Keep,
    /// It does not exist yet.
    Create { path: &'static str, body: Value },
    /// These fields differ.
    Update { method: Method, path: String, etag: Option<String>, body: Value, fields: Vec<FieldChange> },
}

struct FieldChange {
    field: String,
    from: Value,
    to: Value,
}

/// The console as far as the files speak of it: the ids of groups by name, where a group that is still to be created has none.
struct Groups(BTreeMap<String, Option<String>>);

/// `carillon apply`
pub(super) async fn apply(api: Api, args: ApplyArgs) -> Outcome {
    let (wanted_groups, wanted_jobs) = read::files(&args.files.files)?;
    if args.dry_run {
        let changes = compare(&api, &wanted_groups, &wanted_jobs).await?;
        return show(args.remote.output, &changes);
    }
    let done = make_so(&api, &wanted_groups, &wanted_jobs).await?;
    done.iter().for_each(|(_, answer)| jobs::warn(answer));
    show(args.remote.output, &done.into_iter().map(|(change, _)| change).collect::<Vec<_>>())
}

/// Applies documents that this program brings along, without showing anything.
pub(crate) async fn apply_quietly(api: &Api, name: &str, text: &str) -> Outcome {
    let (wanted_groups, wanted_jobs) = read::text(name, text)?;
    for (change, _) in make_so(api, &wanted_groups, &wanted_jobs).await? {
        tracing::debug!(kind = change.kind, name = change.name, "applied");
    }
    Ok(())
}

/// Makes it so, and returns each change with the console's answer to it; null where nothing was to be done.
async fn make_so(api: &Api, groups: &[GroupDocument], jobs: &[JobDocument]) -> Outcome<Vec<(Change, Value)>> {
    let mut done = Vec::new();
    let mut ids = Groups(BTreeMap::new());
    for group in groups {
        let change = compare_group(api, group, &mut ids).await?;
        let answer = take(api, &change).await?;
        if matches!(change.step, Step::Create { .. }) {
            ids.0.insert(group.name.clone(), Some(text(&answer, "id")));
        }
        done.push((change, answer));
    }
    for job in jobs {
        let change = compare_job(api, job, &mut ids).await?;
        let answer = take(api, &change).await?;
        done.push((change, answer));
    }
    Ok(done)
}

/// `carillon diff`
pub(super) async fn diff(api: Api, args: DiffArgs) -> Outcome {
    let (wanted_groups, wanted_jobs) = read::files(&args.files.files)?;
    let mut changes = compare(&api, &wanted_groups, &wanted_jobs).await?;
    changes.retain(|change| !matches!(change.step, Step::Keep));
    show(args.remote.output, &changes)?;
    if args.exit_code && !changes.is_empty() {
        return Err(Failure::Error(anyhow::anyhow!("{} of the documents differ", changes.len())));
    }
    Ok(())
}

/// `carillon delete`
pub(super) async fn delete(api: Api, args: DeleteArgs) -> Outcome {
    let (wanted_groups, wanted_jobs) = read::files(&args.files.files)?;
    let forgive = |result: Outcome| match result {
        Err(Failure::NotFound(_)) if args.ignore_not_found => Ok(()),
        other => other,
    };
    for job in &wanted_jobs {
        forgive(delete_job(&api, job).await)?;
    }
    for group in &wanted_groups {
        forgive(delete_group(&api, group).await)?;
    }
    Ok(())
}

async fn delete_job(api: &Api, job: &JobDocument) -> Outcome {
    let known = jobs::find(api, &format!("{}/{}", job.group, job.name)).await?;
    let path = format!("/jobs/{}", text(&known.body, "id"));
    api.write(Method::DELETE, &path, known.etag.as_deref(), None).await?;
    say(&format!("deleted job {}/{}", job.group, job.name));
    Ok(())
}

async fn delete_group(api: &Api, group: &GroupDocument) -> Outcome {
    let known = groups::find(api, &group.name).await?;
    groups::delete(api, &text(&known, "id")).await?;
    say(&format!("deleted group {}", group.name));
    Ok(())
}

async fn compare(api: &Api, groups: &[GroupDocument], jobs: &[JobDocument]) -> Outcome<Vec<Change>> {
    let mut ids = Groups(BTreeMap::new());
    let mut changes = Vec::new();
    for group in groups {
        changes.push(compare_group(api, group, &mut ids).await?);
    }
    for job in jobs {
        changes.push(compare_job(api, job, &mut ids).await?);
    }
    Ok(changes)
}

async fn compare_group(api: &Api, wanted: &GroupDocument, ids: &mut Groups) -> Outcome<Change> {
    let body = wanted.body();
    let step = match groups::find(api, &wanted.name).await {
        Err(Failure::NotFound(_)) => {
            ids.0.insert(wanted.name.clone(), None);
            Step::Create { path: "/groups", body }
        }
        Err(other) => return Err(other),
        Ok(known) => {
            let id = text(&known, "id");
            ids.0.insert(wanted.name.clone(), Some(id.clone()));
            wanted.must_fit(&id, &known)?;
            let changeable = json!({"description": wanted.description});
            let path = format!("/groups/{id}");
            match changes_of(&known, &changeable) {
                fields if fields.is_empty() => Step::Keep,
                fields => {
                    let etag = api.get(&path, &[]).await?.etag;
                    Step::Update { method: Method::PATCH, path, etag, body: changeable, fields }
                }
            }
        }
    };
    Ok(Change { kind: "group", name: wanted.name.clone(), step })
}

async fn compare_job(api: &Api, wanted: &JobDocument, ids: &mut Groups) -> Outcome<Change> {
    let name = format!("{}/{}", wanted.group, wanted.name);
    let known_id = match ids.0.get(&wanted.group) {
        Some(id) => id.clone(),
        None => {
            let id = super::group_id(api, &wanted.group).await?;
            ids.0.insert(wanted.group.clone(), Some(id.clone()));
            Some(id)
        }
    };
    let Some(group) = known_id else {
        // Its group is still to be created: any id serves to check the rest.
        wanted.spec("1-1-1-1")?;
        let step = Step::Create { path: "/jobs", body: wanted.body("1-1-1-1") };
        return Ok(Change { kind: "job", name, step });
    };
    // Compared with every default filled in, sent as it is written: a console of another version has defaults of its own.
    let full = to_json(&wanted.spec(&group)?)?;
    let body = wanted.body(&group);
    let step = match jobs::named(api, &group, &wanted.name).await? {
        None => Step::Create { path: "/jobs", body },
        Some(listed) => {
            let path = format!("/jobs/{}", text(&listed, "id"));
            let known = api.get(&path, &[]).await?;
            match changes_of(&known.body, &full) {
                fields if fields.is_empty() => Step::Keep,
                fields => Step::Update { method: Method::PUT, path, etag: known.etag, body, fields },
            }
        }
    };
    Ok(Change { kind: "job", name, step })
}

async fn take(api: &Api, change: &Change) -> Outcome<Value> {
    match &change.step {
        Step::Keep => Ok(Value::Null),
        Step::Create { path, body } => Ok(api.post(path, Some(body)).await?.body),
        Step::Update { method, path, etag, body, .. } => {
            Ok(api.write(method.clone(), path, etag.as_deref(), Some(body)).await?.body)
        }
    }
}

fn to_json(spec: &JobSpec) -> Outcome<Value> {
    Ok(serde_json::to_value(spec).map_err(anyhow::Error::from)?)
}

/// The fields of `wanted` that are otherwise in `known`; what only `known` has is none of the file's business.
fn changes_of(known: &Value, wanted: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    gather_changes("", known, wanted, &mut changes);
    changes
}

fn gather_changes(path: &str, known: &Value, wanted: &Value, changes: &mut Vec<FieldChange>) {
    // Params and labels are the user's own JSON: there a key too many is a difference, too.
    let whole = path == "params" || path == "labels" || path == "selector.labels";
    match (known, wanted) {
        (Value::Object(known), Value::Object(wanted)) if !whole => {
            for (name, value) in wanted {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                gather_changes(&path, known.get(name).unwrap_or(&Value::Null), value, changes);
            }
        }
        _ if known == wanted => {}
        _ => changes.push(FieldChange { field: path.to_owned(), from: known.clone(), to: wanted.clone() }),
    }
}

fn show(format: Format, changes: &[Change]) -> Outcome {
    match format {
        Format::Json => output::show_json(&Value::from_iter(changes.iter().map(Change::data))),
        Format::Yaml => output::show_yaml(&Value::from_iter(changes.iter().map(Change::data))),
        Format::Table | Format::Wide | Format::Id => {
            changes.iter().try_for_each(|change| put(&change.text()))
        }
    }
}

impl Change {
    fn data(&self) -> Value {
        let (change, fields) = match &self.step {
            Step::Keep => ("keep", [].as_slice()),
            Step::Create { .. } => ("create", [].as_slice()),
            Step::Update { fields, .. } => ("update", fields.as_slice()),
        };
        let fields: Vec<Value> = fields
            .iter()
            .map(|change| json!({"field": change.field, "from": change.from, "to": change.to}))
            .collect();
        json!({"kind": self.kind, "name": self.name, "change": change, "fields": fields})
    }

    fn text(&self) -> String {
        let (sign, word) = match &self.step {
            Step::Keep => ("=", "unchanged"),
            Step::Create { .. } => ("+", "new"),
            Step::Update { .. } => ("~", "changed"),
        };
        let mut text = format!("{sign} {} {} ({word})", self.kind, self.name);
        if let Step::Update { fields, .. } = &self.step {
            for change in fields {
                text.push_str(&format!("\n    {}: {} -> {}", change.field, change.from, change.to));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_file_says_is_compared() {
        let known =
            json!({"id": "7", "schedule": {"type": "api"}, "timeout": null, "labels": {"a": "1", "b": "2"}});
        let wanted = json!({"schedule": {"type": "api"}, "timeout": "10s", "labels": {"a": "1"}});
        let fields: Vec<String> =
            changes_of(&known, &wanted).into_iter().map(|change| change.field).collect();
        assert_eq!(fields, ["labels", "timeout"]);
    }
}
