//! Several jobs or runs at once: each is treated as if it were asked for alone, and the answer tells of each that was not.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use carillon_core::ids::{JobId, RunKey};
use carillon_core::run::Run;
use carillon_store::accounts::Role;
use futures::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::dead_letters::discard;
use super::jobs_change::{check_resume, shard_of};
use super::runs_change::{Retry, cancel_one, retry_one};
use crate::auth::Access;
use crate::console::Console;
use crate::edit::{Wish, edit};
use crate::json::Body;
use crate::operation::{Need, Operations};
use crate::problem::{Problem, Result};

/// In progress at once for one request.
const AT_ONCE: usize = 8;

pub(crate) fn enter(operations: &mut Operations) {
    let operator = Need::RoleInRequest(Role::Operator);
    operations.write::<__path_cancel_runs, _, _>(cancel_runs, operator, "run.cancel");
    operations.write::<__path_retry_runs, _, _>(retry_runs, operator, "run.retry");
    operations.write::<__path_discard_runs, _, _>(discard_runs, operator, "dead_letter.discard");
    operations.write::<__path_pause_jobs, _, _>(pause_jobs, operator, "job.pause");
    operations.write::<__path_resume_jobs, _, _>(resume_jobs, operator, "job.resume");
}

/// Which runs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunIds {
    /// Their ids: 1 to 200, what a request can do within its time.
    #[schema(value_type = Vec<String>, min_items = 1, max_items = 200)]
    ids: Vec<RunKey>,
}

/// Which jobs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobIds {
    /// Their numbers: 1 to 200.
    #[schema(value_type = Vec<u32>, min_items = 1, max_items = 200)]
    ids: Vec<JobId>,
}

/// What became of them.
#[derive(Serialize, ToSchema)]
pub(crate) struct BulkDone {
    /// How many were treated.
    treated: usize,
    /// Those that were not, and why.
    refused: Vec<BulkRefused>,
}

/// One that was not treated.
#[derive(Serialize, ToSchema)]
pub(crate) struct BulkRefused {
    /// Its id.
    id: String,
    /// The code of the refusal.
    code: &'static str,
    /// Why.
    detail: String,
}

/// What a request can do within its time.
const MOST: usize = 200;

fn check_count(ids: usize) -> Result<()> {
    if (1..=MOST).contains(&ids) {
        return Ok(());
    }
    Err(Problem::field("ids", format!("{ids} of them; 1 to {MOST} at a time")))
}

fn done(access: &Access, results: Vec<(String, Result<()>)>) -> Json<BulkDone> {
    let all = results.len();
    let refused: Vec<BulkRefused> = results
        .into_iter()
        .filter_map(|(id, result)| {
            let problem = result.err()?;
            Some(BulkRefused { id, code: problem.code(), detail: problem.detail().to_owned() })
        })
        .collect();
    access.note.after(json!({"treated": all - refused.len(), "refused": refused.len()}));
    Json(BulkDone { treated: all - refused.len(), refused })
}

/// The runs that one may operate; the others are answered as refused.
async fn runs(
    console: &Console,
    access: &Access,
    ids: &[RunKey],
) -> Result<(Vec<Run>, Vec<(String, Result<()>)>)> {
    check_count(ids.len())?;
    access.note.before(json!({ "ids": ids }));
    let found = console.store.runs_by_key(ids).await?;
    let (mut allowed, mut refused) = (Vec::new(), Vec::new());
    for id in ids.iter().copied() {
        let Some(run) = found.iter().find(|run| run.key == id) else {
            refused.push((id.to_string(), Err(Problem::not_found("run", id))));
            continue;
        };
        match access.require(Role::Operator, run.shard.group()) {
            Ok(()) => allowed.push(run.clone()),
            // A group that one does not see is as if the run did not exist.
            Err(problem) if problem.code() == "not_found" => {
                refused.push((id.to_string(), Err(Problem::not_found("run", id))));
            }
            Err(problem) => refused.push((id.to_string(), Err(problem))),
        }
    }
    Ok((allowed, refused))
}

/// Cancel runs
///
/// Each as by itself.
#[utoipa::path(post, path = "/api/v1/runs/cancel", tag = "runs", request_body = RunIds, responses(
    (status = 200, description = "What became of them.", body = BulkDone),
))]
async fn cancel_runs(
    State(console): State<Arc<Console>>,
    access: Access,
    Body(body): Body<RunIds>,
) -> Result<Json<BulkDone>> {
    let (runs, mut results) = runs(&console, &access, &body.ids).await?;
    let by = access.principal.name();
    let cancelled = stream::iter(runs)
        .map(|run| {
            let (console, by) = (&console, &by);
            async move { (run.key.to_string(), cancel_one(console, &run, by).await.map(drop)) }
        })
        .buffer_unordered(AT_ONCE);
    results.extend(cancelled.collect::<Vec<_>>().await);
    Ok(done(&access, results))
}

/// Retry dead letters by their ids
///
/// Each as by itself.
#[utoipa::path(post, path = "/api/v1/runs/retry", tag = "runs", request_body = RunIds, responses(
    (status = 200, description = "What became of them.", body = BulkDone),
))]
async fn retry_runs(
    State(console): State<Arc<Console>>,
    access: Access,
    Body(body): Body<RunIds>,
) -> Result<Json<BulkDone>> {
    let (runs, mut results) = runs(&console, &access, &body.ids).await?;
    let (by, retry) = (access.principal.name(), Retry::default());
    let retried = stream::iter(runs)
        .map(|run| {
            let (console, by, retry) = (&console, &by, &retry);
            async move { (run.key.to_string(), retry_one(console, &run, by, retry).await.map(drop)) }
        })
        .buffer_unordered(AT_ONCE);
    results.extend(retried.collect::<Vec<_>>().await);
    Ok(done(&access, results))
}

/// Discard dead letters by their ids
///
/// Each as by itself.
#[utoipa::path(post, path = "/api/v1/runs/discard", tag = "dead letters", request_body = RunIds, responses(
    (status = 200, description = "What became of them.", body = BulkDone),
))]
async fn discard_runs(
    State(console): State<Arc<Console>>,
    access: Access,
    Body(body): Body<RunIds>,
) -> Result<Json<BulkDone>> {
    let (runs, mut results) = runs(&console, &access, &body.ids).await?;
    let by = access.principal.name();
    for run in runs {
        results.push((run.key.to_string(), discard(&console, &run, &by).await));
    }
    Ok(done(&access, results))
}

/// Pause jobs
///
/// Each as by itself.
#[utoipa::path(post, path = "/api/v1/jobs/pause", tag = "jobs", request_body = JobIds, responses(
    (status = 200, description = "What became of them.", body = BulkDone),
))]
async fn pause_jobs(
    State(console): State<Arc<Console>>,
    access: Access,
    Body(body): Body<JobIds>,
) -> Result<Json<BulkDone>> {
    enable(&console, &access, &body.ids, false).await
}

/// Resume jobs
///
/// Each as by itself.
#[utoipa::path(post, path = "/api/v1/jobs/resume", tag = "jobs", request_body = JobIds, responses(
    (status = 200, description = "What became of them.", body = BulkDone),
))]
async fn resume_jobs(
    State(console): State<Arc<Console>>,
    access: Access,
    Body(body): Body<JobIds>,
) -> Result<Json<BulkDone>> {
    enable(&console, &access, &body.ids, true).await
}

async fn enable(console: &Console, access: &Access, ids: &[JobId], enabled: bool) -> Result<Json<BulkDone>> {
    check_count(ids.len())?;
    access.note.before(json!({ "ids": ids }));
    // One after the other: edits of one shard would only get in each other's way.
    let mut results = Vec::new();
    for id in ids.iter().copied() {
        results.push((id.to_string(), enable_one(console, access, id, enabled).await));
    }
    Ok(done(access, results))
}

async fn enable_one(console: &Console, access: &Access, id: JobId, enabled: bool) -> Result<()> {
    let job = console.store.job(id).await?;
    let job = job.filter(|job| access.principal.role_on(job.spec.group).is_some());
    let job = job.ok_or_else(|| Problem::not_found("job", id))?;
    access.require(Role::Operator, job.spec.group)?;
    if enabled {
        check_resume(&job, console.now())?;
    }
    let wish = Wish::Enable { job: id, enabled };
    edit(console, shard_of(&job), &wish, &access.principal.name()).await.map(drop)
}
