//! Triggering a job now.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carillon_core::ids::{RunKey, TraceId};
use carillon_core::job::MAX_PARAMS_BYTES;
use carillon_store::accounts::Role;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::jobs_change::shard_of;
use crate::auth::{Access, token};
use crate::console::Console;
use crate::json::OptionalBody;
use crate::operation::{Need, Operations};
use crate::problem::{Problem, Result};
use crate::servers::calls::TriggerCall;

pub(crate) fn enter(operations: &mut Operations) {
    operations.write::<__path_trigger_job, _, _>(
        trigger_job,
        Need::RoleOrWorker(Role::Operator),
        "job.trigger",
    );
}

/// What to trigger a job with.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trigger {
    /// Params of this run in place of the job's: any JSON, at most 64 KiB as text.
    #[serde(default, deserialize_with = "given")]
    params: Option<Value>,
}

/// Tells a given null from nothing given.
pub(super) fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// A triggered run.
#[derive(Serialize, ToSchema)]
pub(crate) struct Triggered {
    /// The run's id.
    #[schema(value_type = String)]
    run_id: RunKey,
    /// The same, under the name it has in the run itself.
    #[schema(value_type = String)]
    id: RunKey,
    /// False when the idempotency key was seen before: this is the run it made then.
    created: bool,
    /// What a person should know, such as that no worker is connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

/// Trigger a job now
///
/// Works for paused jobs too. A repeated `Idempotency-Key` (kept for a day) gives the run it made the first time. A W3C `traceparent` gives the run its
/// trace id.
#[utoipa::path(post, path = "/api/v1/jobs/{job}/runs", tag = "jobs", request_body = Option<Trigger>,
    params(
        ("job" = u32, Path, description = "Its number."),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible characters; the same key gives the same run."),
        ("traceparent" = Option<String>, Header, description = "W3C trace context; one that cannot be read is ignored."),
    ),
    responses((status = 202, description = "The run is recorded and on its way.", body = Triggered, headers(("Location" = String, description = "The run.")))))]
async fn trigger_job(
    State(console): State<Arc<Console>>,
    access: Access,
    headers: HeaderMap,
    OptionalBody(trigger): OptionalBody<Trigger>,
) -> Result<Response> {
    let job = access.job();
    if let Some(params) = &trigger.params {
        check_params(params)?;
    }
    let shard = shard_of(job);
    let row = console.store.shard(shard).await?.ok_or_else(|| Problem::not_found("shard", shard))?;
    let call = TriggerCall {
        job: job.id,
        idempotency_key: idempotency_key(&headers)?,
        params: trigger.params.clone(),
        requested_by: access.principal.name(),
        trace: headers.get("traceparent").and_then(|value| trace_of(value.to_str().ok()?)),
    };
    let triggered = console.servers.trigger(&console.metrics, &row, call).await?;
    access.note.after(json!({"run": triggered.run, "created": triggered.created, "params": trigger.params}));
    let location = format!("{}/runs/{}", crate::router::API, triggered.run);
    let warning = Some(triggered.warning).filter(|warning| !warning.is_empty());
    let answer = Triggered { run_id: triggered.run, id: triggered.run, created: triggered.created, warning };
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(answer)).into_response())
}

/// Refuses params that are longer than a job's may be.
pub(super) fn check_params(params: &Value) -> Result<()> {
    let length = params.to_string().len();
    if length <= MAX_PARAMS_BYTES {
        return Ok(());
    }
    Err(Problem::field("params", format!("{length} bytes as JSON, at most {MAX_PARAMS_BYTES} (64 KiB)")))
}

/// The request's key, or one that nobody else has.
fn idempotency_key(headers: &HeaderMap) -> Result<String> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(token::random_text()) };
    let text = value.to_str().unwrap_or_default();
    let fine = (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fine {
        Ok(text.to_owned())
    } else {
        Err(Problem::field("Idempotency-Key", "1 to 128 visible ASCII characters"))
    }
}

/// The trace id of a W3C `traceparent`, version 00 or a later one read as it.
fn trace_of(traceparent: &str) -> Option<TraceId> {
    let mut parts = traceparent.trim().split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let lower_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (version.len() == 2 && version != "ff" && lower_hex(version) && lower_hex(trace))
        .then(|| trace.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_gives_its_trace_id_or_nothing() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace_of(good).unwrap().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for bad in [
            "",
            "00",
            "00-xyz-1-1",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        ] {
            assert_eq!(trace_of(bad), None, "{bad}");
        }
    }
}
