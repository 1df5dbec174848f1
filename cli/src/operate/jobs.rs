//! `carillon job ...`

use std::time::Duration;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::groups::set;
use super::{group_id, group_id_if_any, query, runs};
use crate::api::{Answer, Api};
use crate::args::{JobAction, JobFields};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Column, Format, say, text};

pub(super) const COLUMNS: &[Column] = &[
    Column::new("ID", |job| text(job, "id")),
    Column::new("GROUP", |job| text(job, "group")),
    Column::new("NAME", |job| text(job, "name")),
    Column::new("KIND", |job| text(job, "kind")),
    Column::new("SCHEDULE", schedule),
    Column::new(
        "STATE",
        |job| if job["enabled"] == false { "paused".to_owned() } else { "enabled".to_owned() },
    ),
    Column::new("NEXT FIRE", |job| output::plain(&job["next_fires"][0])),
    Column::wide("HANDLER", |job| text(job, "handler")),
    Column::wide("REVISION", |job| text(job, "revision")),
    Column::wide("OWNER", |job| text(job, "owner")),
    Column::wide("LABELS", |job| text(job, "labels")),
];

const FIRE_COLUMNS: &[Column] = &[
    Column::new("FIRE TIME", |fire| text(fire, "fire_time")),
    Column::new("STATE", |fire| text(fire, "state")),
    Column::new("REASON", |fire| text(fire, "reason.detail")),
    Column::new("RUN", |fire| text(fire, "run")),
    Column::wide("TRIGGER", |fire| text(fire, "trigger")),
    Column::wide("LATENESS", |fire| text(fire, "lateness")),
];

const VERSION_COLUMNS: &[Column] = &[
    Column::new("VERSION", |version| text(version, "revision")),
    Column::new("AT", |version| text(version, "updated_at")),
    Column::new("BY", |version| text(version, "updated_by")),
    Column::new("SCHEDULE", schedule),
    Column::wide("HANDLER", |version| text(version, "handler")),
];

pub(super) async fn run(api: Api, format: Format, action: JobAction) -> Outcome {
    match action {
        JobAction::List { group, text, limit } => {
            let group = group_id_if_any(&api, group).await?;
            let query = query(&[("group", &group), ("text", &text)]);
            output::show_list(format, COLUMNS, &api.list("/jobs", &query, limit.limit).await?)
        }
        JobAction::Get { job } => output::show_one(format, COLUMNS, &find(&api, &job).await?.body),
        JobAction::Create { group, name, fields } => {
            let mut body = fields.body()?;
            set(&mut body, "group", Some(group_id(&api, &group).await?.into()));
            set(&mut body, "name", Some(name.clone().into()));
            if body.get("handler").is_none() {
                set(&mut body, "handler", Some(name.into()));
            }
            if body.get("schedule").is_none() {
                return Err(Failure::Usage(
                    "a job needs a schedule: --cron, --every, --delay, --at or --api".to_owned(),
                ));
            }
            let job = api.post("/jobs", Some(&body)).await?.body;
            warn(&job);
            output::show_one(format, COLUMNS, &job)
        }
        JobAction::Update { job, revision, name, fields } => {
            let mut body = fields.body()?;
            set(&mut body, "name", name.map(Value::from));
            if body == json!({}) {
                return Err(Failure::Usage("nothing to change: give at least one field".to_owned()));
            }
            let changed = change(&api, &job, revision, &body).await?;
            output::show_one(format, COLUMNS, &changed)
        }
        JobAction::Delete { job } => {
            let known = find(&api, &job).await?;
            let id = text(&known.body, "id");
            let answer =
                api.write(Method::DELETE, &format!("/jobs/{id}"), known.etag.as_deref(), None).await?;
            warn(&answer.body);
            say(&format!("deleted job {id} ({})", text(&known.body, "name")));
            Ok(())
        }
        JobAction::Trigger { job, params, idempotency_key, wait, timeout } => {
            let id = job_id(&api, &job).await?;
            let mut body = json!({});
            set(&mut body, "params", params.as_deref().map(json_or_text));
            let headers: Vec<_> = idempotency_key.into_iter().map(|key| ("idempotency-key", key)).collect();
            let path = format!("/jobs/{id}/runs");
            let answer = api.send(Method::POST, &path, &[], Some(&body), &headers).await?;
            warn(&answer.body);
            if wait {
                return runs::wait(&api, format, &text(&answer.body, "id"), Duration::from(timeout)).await;
            }
            output::show_one(format, runs::COLUMNS, &answer.body)
        }
        JobAction::Pause { job } => switch(&api, format, &job, "pause").await,
        JobAction::Resume { job } => switch(&api, format, &job, "resume").await,
        JobAction::Fires { job, limit } => {
            let id = job_id(&api, &job).await?;
            let fires = api.list(&format!("/jobs/{id}/fires"), &[], limit.limit).await?;
            output::show_list(format, FIRE_COLUMNS, &fires)
        }
        JobAction::Versions { job, limit } => {
            let id = job_id(&api, &job).await?;
            let versions = api.list(&format!("/jobs/{id}/versions"), &[], limit.limit).await?;
            output::show_list(format, VERSION_COLUMNS, &versions)
        }
    }
}

/// A job by its number or by group/name, with its revision.
pub(super) async fn find(api: &Api, job: &str) -> Outcome<Answer> {
    let id = job_id(api, job).await?;
    api.get(&format!("/jobs/{id}"), &[]).await
}

/// The number of a job that was given by number or by group/name.
pub(crate) async fn job_id(api: &Api, job: &str) -> Outcome<String> {
    if job.parse::<u32>().is_ok() {
        return Ok(job.to_owned());
    }
    let Some((group, name)) = job.split_once('/') else {
        return Err(Failure::Usage(format!("{job:?} names no job: write its number, or group/name")));
    };
    let group = group_id(api, group).await?;
    match named(api, &group, name).await? {
        Some(job) => Ok(text(&job, "id")),
        None => Err(Failure::NotFound(format!("there is no job {name:?} in the group {group}"))),
    }
}

/// The job of that name in a group, if there is one.
pub(super) async fn named(api: &Api, group: &str, name: &str) -> Outcome<Option<Value>> {
    let jobs = api.list("/jobs", &[("group", group), ("name", name)], 1).await?;
    Ok(jobs.into_iter().next())
}

/// Warnings are talk, not data.
pub(super) fn warn(answer: &Value) {
    let warnings = answer.get("warnings").and_then(Value::as_array).into_iter().flatten();
    for warning in warnings.chain(answer.get("warning").filter(|warning| warning.is_string())) {
        say(&format!("warning: {}", output::plain(warning)));
    }
}

async fn change(api: &Api, job: &str, revision: Option<u32>, body: &Value) -> Outcome<Value> {
    let known = find(api, job).await?;
    let etag = match revision {
        Some(revision) => Some(format!("\"{revision}\"")),
        None => known.etag,
    };
    let path = format!("/jobs/{}", text(&known.body, "id"));
    let changed = api.write(Method::PATCH, &path, etag.as_deref(), Some(body)).await?.body;
    warn(&changed);
    Ok(changed)
}

async fn switch(api: &Api, format: Format, job: &str, verb: &str) -> Outcome {
    let id = job_id(api, job).await?;
    let changed = api.post(&format!("/jobs/{id}/{verb}"), None).await?.body;
    warn(&changed);
    output::show_one(format, COLUMNS, &changed)
}

impl JobFields {
    /// What was given, as the API spells it.
    fn body(&self) -> Outcome<Value> {
        let mut body = Value::Object(Map::new());
        for (field, given) in [
            ("handler", &self.handler),
            ("kind", &self.kind),
            ("description", &self.description),
            ("owner", &self.owner),
        ] {
            set(&mut body, field, given.clone().map(Value::from));
        }
        set(&mut body, "params", self.params.as_deref().map(json_or_text));
        set(&mut body, "schedule", self.schedule());
        set(&mut body, "timeout", self.timeout.map(|span| span.to_string().into()));
        set(&mut body, "retry", self.max_attempts.map(|count| json!({ "max_attempts": count })));
        set(&mut body, "overlap", self.overlap.as_ref().map(|policy| json!({ "policy": policy })));
        set(&mut body, "misfire", self.misfire.as_ref().map(|policy| json!({ "policy": policy })));
        if !self.label.is_empty() {
            let mut labels = Map::new();
            for label in &self.label {
                let (key, value) = label
                    .split_once('=')
                    .ok_or_else(|| Failure::Usage(format!("--label {label:?} is not key=value")))?;
                labels.insert(key.to_owned(), value.into());
            }
            set(&mut body, "labels", Some(labels.into()));
        }
        Ok(body)
    }

    fn schedule(&self) -> Option<Value> {
        if let Some(expression) = &self.cron {
            let zone = self.tz.as_deref().unwrap_or("UTC");
            return Some(json!({"type": "cron", "expression": expression, "time_zone": zone}));
        }
        if let Some(every) = self.every {
            return Some(json!({"type": "fixed_rate", "every": every}));
        }
        if let Some(delay) = self.delay {
            return Some(json!({"type": "fixed_delay", "delay": delay}));
        }
        if let Some(at) = self.at {
            return Some(json!({"type": "once", "at": at}));
        }
        self.api.then(|| json!({"type": "api"}))
    }
}

/// Params on a command line: JSON where it is JSON, else a plain text.
fn json_or_text(given: &str) -> Value {
    serde_json::from_str(given).unwrap_or_else(|_| given.into())
}

fn schedule(job: &Value) -> String {
    let schedule = &job["schedule"];
    match schedule["type"].as_str().unwrap_or_default() {
        "cron" => format!("{} ({})", text(schedule, "expression"), text(schedule, "time_zone")),
        "fixed_rate" => format!("every {}", text(schedule, "every")),
        "fixed_delay" => format!("{} after the last", text(schedule, "delay")),
        "once" => format!("once at {}", text(schedule, "at")),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_are_json_or_a_plain_text() {
        assert_eq!(json_or_text("{\"a\":1}"), json!({"a": 1}));
        assert_eq!(json_or_text("TestParam"), json!("TestParam"));
        assert_eq!(json_or_text("\"12\""), json!("12"));
    }

    #[test]
    fn a_schedule_fits_in_a_cell() {
        let cell = |value: Value| schedule(&json!({ "schedule": value }));
        assert_eq!(
            cell(json!({"type": "cron", "expression": "0 0 9 * * ?", "time_zone": "UTC"})),
            "0 0 9 * * ? (UTC)"
        );
        assert_eq!(cell(json!({"type": "fixed_rate", "every": "10s"})), "every 10s");
        assert_eq!(cell(json!({"type": "api"})), "api");
    }
}
