//! Cancelling and retrying runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use carillon_core::ids::RunKey;
use carillon_core::run::Run;
use carillon_store::accounts::Role;
use carillon_store::shards::ShardRow;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::run_views::{Names, RunView};
use super::trigger::{check_params, given};
use crate::auth::{Access, token};
use crate::console::Console;
use crate::json::OptionalBody;
use crate::operation::{Need, Operations};
use crate::problem::{Problem, Result};
use crate::servers::calls::TriggerCall;

pub(crate) fn enter(operations: &mut Operations) {
    operations.write::<__path_cancel_run, _, _>(cancel_run, Need::Role(Role::Operator), "run.cancel");
    operations.write::<__path_retry_run, _, _>(retry_run, Need::Role(Role::Operator), "run.retry");
}

/// Cancel a run
///
/// A planned run is cancelled at once; a running handler is asked to stop and abandoned after a grace. A final run stays as it is.
#[utoipa::path(post, path = "/api/v1/runs/{run}/cancel", tag = "runs", params(("run" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The run as it is now.", body = RunView)))]
async fn cancel_run(State(console): State<Arc<Console>>, access: Access) -> Result<Json<RunView>> {
    let run = access.run();
    let state = cancel_one(&console, run, &access.principal.name()).await?;
    access.note.before(json!({"state": run.state}));
    access.note.after(json!({"state": state}));
    Ok(Json(reread(&console, run).await?))
}

/// Has a run cancelled; returns its state afterwards.
pub(super) async fn cancel_one(console: &Console, run: &Run, by: &str) -> Result<String> {
    if run.state.is_final() {
        return Err(Problem::conflict("run_is_final", format!("the run is {} already", run.state)));
    }
    let shard = shard_row(console, run).await?;
    console.servers.cancel(&console.metrics, &shard, run.key, by).await
}

/// How to retry a run.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    /// Of a parallel run: only the subtasks that failed, with the results of the others kept.
    #[serde(default)]
    pub(super) failed_subtasks_only: Option<bool>,
    /// Other params: a retry keeps its run's own, so this triggers the job anew with them, and the dead letter stays as it is.
    #[serde(default, deserialize_with = "given")]
    pub(super) params: Option<Value>,
}

/// A run that was made due again.
#[derive(Serialize, ToSchema)]
pub(crate) struct Retried {
    /// The run as it is now.
    #[serde(flatten)]
    run: RunView,
    /// The number of its next attempt.
    next_attempt: u32,
    /// The run that was triggered in its place, where other params were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    new_run: Option<RunKey>,
}

/// Retry a dead letter
///
/// Makes a run that failed, died or timed out due now, as a new attempt.
#[utoipa::path(post, path = "/api/v1/runs/{run}/retry", tag = "runs", request_body = Option<Retry>,
    params(("run" = String, Path, description = "Its id.")),
    responses(
        (status = 200, description = "The run as it is now.", body = Retried),
        (status = 409, description = "It is no dead letter.", body = Problem, content_type = "application/problem+json"),
    ))]
async fn retry_run(
    State(console): State<Arc<Console>>,
    access: Access,
    OptionalBody(retry): OptionalBody<Retry>,
) -> Result<Json<Retried>> {
    let run = access.run();
    if let Some(params) = &retry.params {
        let new_run = trigger_anew(&console, &access, run, params).await?;
        access.note.after(json!({"new_run": new_run, "params": params}));
        let (run, next_attempt) = (reread(&console, run).await?, 1);
        return Ok(Json(Retried { run, next_attempt, new_run: Some(new_run) }));
    }
    let next_attempt = retry_one(&console, run, &access.principal.name(), &retry).await?;
    access.note.before(json!({"state": run.state, "attempt": run.attempt}));
    access.note.after(json!({"attempt": next_attempt, "failed_subtasks_only": retry.failed_subtasks_only}));
    Ok(Json(Retried { run: reread(&console, run).await?, next_attempt, new_run: None }))
}

/// Triggers the job of a final run with other params.
async fn trigger_anew(console: &Console, access: &Access, run: &Run, params: &Value) -> Result<RunKey> {
    if !run.state.is_final() {
        return Err(Problem::conflict("run_is_open", format!("the run is {}; cancel it first", run.state)));
    }
    check_params(params)?;
    let shard = shard_row(console, run).await?;
    let call = TriggerCall {
        job: run.key.job,
        idempotency_key: token::random_text(),
        params: Some(params.clone()),
        requested_by: access.principal.name(),
        trace: None,
    };
    Ok(console.servers.trigger(&console.metrics, &shard, call).await?.run)
}

/// Has a dead letter retried; returns the number of its next attempt.
pub(super) async fn retry_one(console: &Console, run: &Run, by: &str, retry: &Retry) -> Result<u32> {
    if !run.state.is_dead_letter() {
        return Err(Problem::conflict(
            "no_dead_letter",
            format!("the run is {}; only one that failed, died or timed out can be retried", run.state),
        ));
    }
    let shard = shard_row(console, run).await?;
    let failed_only = retry.failed_subtasks_only.unwrap_or_default();
    console.servers.retry(&console.metrics, &shard, run.key, by, failed_only).await
}

async fn shard_row(console: &Console, run: &Run) -> Result<ShardRow> {
    console.store.shard(run.shard).await?.ok_or_else(|| Problem::not_found("shard", run.shard))
}

/// The run after a server changed it.
async fn reread(console: &Console, run: &Run) -> Result<RunView> {
    let run = console.store.run(run.key).await?.unwrap_or_else(|| run.clone());
    Ok(Names::of(console, std::slice::from_ref(&run)).await?.view(&run))
}
