//! Runs as they are: lists, and one with all there is to know.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use carillon_core::ids::{GroupId, JobId, RunKey};
use carillon_core::job::JobSpec;
use carillon_core::run::{Run, RunState};
use carillon_core::time::Timestamp;
use carillon_store::accounts::Role;
use carillon_store::runs::RunFilter;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::run_views::{AttemptView, Names, RunDetail, RunView, timeline};
use super::schemas;
use crate::auth::Access;
use crate::console::Console;
use crate::json::Params;
use crate::operation::{Need, Operations};
use crate::page::{self, Page, TOTAL_CAP};
use crate::problem::Result;

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_list_runs, _, _>(list_runs, Need::AnyToken);
    operations.read::<__path_get_run, _, _>(get_run, Need::RoleOrWorker(Role::Viewer));
}

/// Which runs to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RunParams {
    /// Only this task group's.
    #[param(value_type = Option<String>, format = "group-id")]
    group: Option<GroupId>,
    /// Only this job's.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 4_294_967_295u32)]
    job: Option<JobId>,
    /// Only runs in one of these states, separated by commas.
    #[param(value_type = Option<Vec<schemas::RunState>>, explode = false)]
    state: Option<Vec<RunState>>,
    /// Only fire times at or later than this.
    #[param(value_type = Option<String>, format = "date-time")]
    from: Option<Timestamp>,
    /// Only fire times earlier than this.
    #[param(value_type = Option<String>, format = "date-time")]
    to: Option<Timestamp>,
    /// Items on the page (default 50).
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List runs
///
/// Newest first.
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(RunParams), responses(
    (status = 200, description = "Those that you may see.", body = Page<RunView>),
))]
async fn list_runs(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<RunParams>,
) -> Result<Json<Page<RunView>>> {
    let filter = RunFilter {
        groups: access.groups(params.group)?,
        job: params.job,
        states: params.state.unwrap_or_default(),
        from: params.from,
        to: params.to,
        scheduled_only: false,
    };
    Ok(Json(page_of_runs(&console, filter, params.limit, params.cursor.as_deref()).await?))
}

/// A page of the runs that match.
pub(super) async fn page_of_runs(
    console: &Console,
    filter: RunFilter,
    limit: Option<usize>,
    cursor: Option<&str>,
) -> Result<Page<RunView>> {
    let limit = page::limit(limit);
    let before: Option<RunKey> = page::position(cursor)?;
    if filter.groups.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Page::of(Vec::new(), limit, |_: &RunView| String::new()));
    }
    let mut runs = console.store.list_runs(&filter, before, limit + 1).await?;
    let total = match before {
        // Counting costs; a list that ends on this page is its own count.
        None if runs.len() <= limit => Some(runs.len()),
        None => Some(console.store.count_runs(&filter, TOTAL_CAP + 1).await?),
        Some(_) => None,
    };
    let more = runs.len() > limit;
    let names = Names::of(console, &runs[..runs.len().min(limit)]).await?;
    if !more {
        runs.truncate(limit);
    }
    Ok(Page::of(runs, limit, |run: &Run| run.key.to_string()).with_total(total).map(|run| names.view(&run)))
}

/// A run
#[utoipa::path(get, path = "/api/v1/runs/{run}", tag = "runs", params(("run" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The run with its attempts and timeline.", body = RunDetail)))]
async fn get_run(State(console): State<Arc<Console>>, access: Access) -> Result<Json<RunDetail>> {
    Ok(Json(detail(&console, access.run()).await?))
}

/// A run with all there is to know.
async fn detail(console: &Console, run: &Run) -> Result<RunDetail> {
    let names = Names::of(console, std::slice::from_ref(run)).await?;
    let ended = console.store.attempts(run.key).await?;
    let mut attempts: Vec<AttemptView> =
        ended.iter().map(|attempt| AttemptView::ended(attempt, names.worker(attempt.worker))).collect();
    attempts.push(AttemptView::current(run, names.worker(run.worker)));
    let spec = spec_of_version(console, run).await?;
    let params = run.params.clone().or_else(|| spec.as_ref().map(|spec| spec.params.clone()));
    Ok(RunDetail {
        shard: run.shard,
        epoch: run.epoch.to_string(),
        plan_no: run.plan_no.get(),
        own_params: run.params.is_some(),
        params: params.unwrap_or(Value::Null),
        max_attempts: spec.map(|spec| spec.retry.max_attempts),
        result: run.result.clone(),
        timeline: timeline(&attempts),
        attempts,
        run: names.view(run),
    })
}

/// How many versions back a run's own is looked for; older ones are rare enough to go without.
const VERSIONS_BACK: usize = 100;

/// What the version of the job was to which the run belongs.
async fn spec_of_version(console: &Console, run: &Run) -> Result<Option<JobSpec>> {
    if let Some(job) = console.store.job(run.key.job).await?
        && job.version == run.job_version
    {
        return Ok(Some(job.spec));
    }
    let versions = console.store.job_versions(run.key.job, VERSIONS_BACK).await?;
    let version = versions.into_iter().find(|job| job.version == run.job_version);
    Ok(version.map(|job| job.spec))
}
