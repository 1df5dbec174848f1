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

/// Sums up what became of those that were tried, and those that were refused before.
fn done<Id: ToString>(
    access: &Access,
    results: Vec<(Id, Result<()>)>,
    refused: Vec<(Id, Problem)>,
) -> Json<BulkDone> {
    let tried = results.len();
    let failed = results.into_iter().filter_map(|(id, result)| Some((id, result.err()?)));
    let failed: Vec<(Id, Problem)> = failed.collect();
    let treated = tried - failed.len();
    let refused: Vec<BulkRefused> = refused
        .into_iter()
        .chain(failed)
        .map(|(id, problem)| BulkRefused {
            id: id.to_string(),
            code: problem.code(),
            detail: problem.detail().to_owned(),
        })
        .collect();
    access.note.after(json!({"treated": treated, "refused": refused.len()}));
    Json(BulkDone { treated, refused })
}

/// Does the same to each run, a few at a time.
async fn each<Act: Future<Output = Result<()>>>(
    runs: Vec<Run>,
    act: impl Fn(Run) -> Act,
) -> Vec<(RunKey, Result<()>)> {
    let acting = stream::iter(runs).map(|run| {
        let (key, acting) = (run.key, act(run));
        async move { (key, acting.await) }
    });
    acting.buffer_unordered(AT_ONCE).collect().await
}

/// Retries each as if it were asked for alone, with its own params.
pub(super) async fn retry_each(console: &Console, runs: Vec<Run>, by: &str) -> Vec<(RunKey, Result<()>)> {
    let retry = &Retry::default();
    each(runs, |run| async move { retry_one(console, &run, by, retry).await.map(drop) }).await
}

/// Discards each as if it were asked for alone.
pub(super) async fn discard_each(console: &Console, runs: Vec<Run>, by: &str) -> Vec<(RunKey, Result<()>)> {
    each(runs, |run| async move { discard(console, &run, by).await }).await
}

/// The runs that one may operate, and why not the others.
async fn runs(
    console: &Console,
    access: &Access,
    ids: &[RunKey],
) -> Result<(Vec<Run>, Vec<(RunKey, Problem)>)> {
    check_count(ids.len())?;
    access.note.before(json!({ "ids": ids }));
    let found = console.store.runs_by_key(ids).await?;
    let (mut allowed, mut refused) = (Vec::new(), Vec::new());
    for id in ids.iter().copied() {
        let Some(run) = found.iter().find(|run| run.key == id) else {
            refused.push((id, Problem::not_found("run", id)));
            continue;
        };
        match access.require(Role::Operator, run.shard.group()) {
            Ok(()) => allowed.push(run.clone()),
            // A group that one does not see is as if the run did not exist.
            Err(problem) if problem.code() == "not_found" => {
                refused.push((id, Problem::not_found("run", id)));
            }
            Err(problem) => refused.push((id, problem)),
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
    let (runs, refused) = runs(&console, &access, &body.ids).await?;
    let (console, by) = (&console, &access.principal.name());
    let cancelled = each(runs, |run| async move { cancel_one(console, &run, by).await.map(drop) }).await;
    Ok(done(&access, cancelled, refused))
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
    let (runs, refused) = runs(&console, &access, &body.ids).await?;
    let retried = retry_each(&console, runs, &access.principal.name()).await;
    Ok(done(&access, retried, refused))
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
    let (runs, refused) = runs(&console, &access, &body.ids).await?;
    let discarded = discard_each(&console, runs, &access.principal.name()).await;
    Ok(done(&access, discarded, refused))
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
        results.push((id, enable_one(console, access, id, enabled).await));
    }
    Ok(done(access, results, Vec::new()))
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
