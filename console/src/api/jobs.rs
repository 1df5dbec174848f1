//! Jobs as they are: lists, versions, and the ledger of their fires.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use carillon_core::ids::{GroupId, JobId, RunKey};
use carillon_core::job::{Job, JobKind};
use carillon_core::run::{Run, RunState};
use carillon_core::time::{Span, Timestamp};
use carillon_store::accounts::Role;
use carillon_store::catalog::JobFilter;
use carillon_store::runs::RunFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::groups::PageParams;
use super::run_views::ReasonView;
use super::schemas;
use super::views::{JobView, OutcomeView};
use crate::auth::Access;
use crate::console::Console;
use crate::json::Params;
use crate::operation::{Need, Operations};
use crate::page::{self, Page, TOTAL_CAP};
use crate::precondition::etag;
use crate::problem::{Problem, Result};

/// Upcoming fires an answer tells unless the request says.
const UPCOMING: usize = 10;

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_list_jobs, _, _>(list_jobs, Need::AnyToken);
    operations.read::<__path_get_job, _, _>(get_job, Need::RoleOrWorker(Role::Viewer));
    operations.read::<__path_job_versions, _, _>(job_versions, Need::Role(Role::Viewer));
    operations.read::<__path_job_fires, _, _>(job_fires, Need::Role(Role::Viewer));
}

/// Which jobs to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct JobParams {
    /// Only this task group's.
    #[param(value_type = Option<String>, format = "group-id")]
    group: Option<GroupId>,
    /// Only the job with exactly this name; needs `group`.
    name: Option<String>,
    /// Only jobs whose name or handler contains this, ignoring case.
    #[param(max_length = 128)]
    text: Option<String>,
    /// Only enabled or only paused ones.
    enabled: Option<bool>,
    /// Only this kind.
    #[param(value_type = Option<schemas::JobKind>)]
    kind: Option<JobKind>,
    /// Only jobs with this label, as `key=value`.
    label: Option<String>,
    /// `outcomes` for each job's last 20 runs, too.
    #[param(inline)]
    include: Option<Include>,
    /// Items on the page (default 50).
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What else to tell of each job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Include {
    /// Its last runs.
    Outcomes,
}

/// Runs told of each job by `include=outcomes`.
const OUTCOMES: usize = 20;

/// Adds each job's last runs, with one question for all.
async fn with_outcomes(
    console: &Console,
    mut page: Page<JobView>,
    include: Option<Include>,
) -> Result<Page<JobView>> {
    if include != Some(Include::Outcomes) {
        return Ok(page);
    }
    let ids: Vec<JobId> = page.items.iter().map(|job| job.id).collect();
    let until = console.now() + Span::MILLISECOND;
    let mut of_jobs: BTreeMap<JobId, Vec<OutcomeView>> = BTreeMap::new();
    for outcome in console.store.outcomes(&ids, None, until, OUTCOMES).await? {
        of_jobs.entry(outcome.key.job).or_default().push(OutcomeView::of(&outcome));
    }
    for job in &mut page.items {
        let mut outcomes = of_jobs.remove(&job.id).unwrap_or_default();
        outcomes.reverse();
        job.outcomes = Some(outcomes);
    }
    Ok(page)
}

/// List jobs
///
/// In the order of their numbers.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(JobParams), responses(
    (status = 200, description = "Those that you may see.", body = Page<JobView>),
))]
async fn list_jobs(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<JobParams>,
) -> Result<Json<Page<JobView>>> {
    let groups = access.groups(params.group)?;
    let now = console.now();
    let limit = page::limit(params.limit);
    if let Some(name) = &params.name {
        let group = params
            .group
            .ok_or_else(|| Problem::field("group", "is missing: a name is unique in its group"))?;
        let found = console.store.job_by_name(group, name).await?;
        let items: Vec<Job> = found.into_iter().collect();
        let page = Page::of(items, limit, |job| job.id.to_string()).map(|job| JobView::of(job, now));
        return with_outcomes(&console, page, params.include).await.map(Json);
    }
    let label = match params.label.as_deref() {
        None => None,
        Some(label) => {
            let (key, value) =
                label.split_once('=').ok_or_else(|| Problem::field("label", "write it as key=value"))?;
            Some((key.to_owned(), value.to_owned()))
        }
    };
    if groups.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Json(Page::of(Vec::new(), limit, |_: &JobView| String::new())));
    }
    let after: Option<u32> = page::position(params.cursor.as_deref())?;
    let filter = JobFilter { groups, text: params.text, enabled: params.enabled, kind: params.kind, label };
    let jobs = console.store.jobs(&filter, after.map(JobId::new), limit + 1).await?;
    let total = match after {
        None => Some(console.store.count_jobs(&filter, TOTAL_CAP + 1).await?),
        Some(_) => None,
    };
    let page = Page::of(jobs, limit, |job| job.id.to_string()).with_total(total);
    with_outcomes(&console, page.map(|job| JobView::of(job, now)), params.include).await.map(Json)
}

/// A job
#[utoipa::path(get, path = "/api/v1/jobs/{job}", tag = "jobs", params(("job" = u32, Path, description = "Its number.")),
    responses((status = 200, description = "The job.", body = JobView, headers(("ETag" = String, description = "Its revision.")))))]
async fn get_job(State(console): State<Arc<Console>>, access: Access) -> Response {
    let job = access.job().clone();
    ([(header::ETAG, etag(job.version.get()))], Json(JobView::of(job, console.now()))).into_response()
}

/// The versions of a job
///
/// Newest first.
#[utoipa::path(get, path = "/api/v1/jobs/{job}/versions", tag = "jobs",
    params(("job" = u32, Path, description = "Its number."), PageParams),
    responses((status = 200, description = "Its versions.", body = Page<JobView>)))]
async fn job_versions(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<PageParams>,
) -> Result<Json<Page<JobView>>> {
    let limit = page::limit(params.limit);
    let before: Option<u32> = page::position(params.cursor.as_deref())?;
    // Versions are numbered without gaps: what lies before the cursor is skipped by count.
    let skipped = before.map_or(0, |before| (access.job().version.get() + 1).saturating_sub(before) as usize);
    let versions = console.store.job_versions(access.job().id, skipped + limit + 1).await?;
    let versions =
        versions.into_iter().filter(|job| before.is_none_or(|before| job.version.get() < before)).collect();
    let now = console.now();
    Ok(Json(Page::of(versions, limit, |job: &Job| job.version.to_string()).map(|job| JobView::of(job, now))))
}

/// Which fires to tell.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FireParams {
    /// Only past fires in one of these states, separated by commas; no upcoming ones then.
    #[param(value_type = Option<Vec<schemas::RunState>>, explode = false)]
    state: Option<Vec<RunState>>,
    /// Past fires on the page (default 50).
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Upcoming fires (default 10).
    #[param(minimum = 0, maximum = 100)]
    upcoming: Option<usize>,
}

/// One nominal fire time of a job and what became of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct FireView {
    /// The nominal instant.
    #[schema(value_type = String, format = DateTime)]
    fire_time: Timestamp,
    /// With jitter.
    #[schema(value_type = String, format = DateTime)]
    due_at: Timestamp,
    /// The run, once it is planned.
    #[schema(value_type = Option<String>)]
    run: Option<RunKey>,
    /// The run's state; `upcoming` before it is planned.
    state: &'static str,
    /// What made it.
    trigger: Option<&'static str>,
    /// The version of the job.
    job_version: Option<u32>,
    /// Why it did or did not run.
    reason: Option<ReasonView>,
    /// How late the handler started.
    #[schema(value_type = Option<String>)]
    lateness: Option<Span>,
    /// When the handler started.
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    /// When the run became final.
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
}

impl FireView {
    fn of(run: &Run) -> Self {
        Self {
            fire_time: run.key.fire_time,
            due_at: run.due_at,
            run: Some(run.key),
            state: run.state.as_str(),
            trigger: Some(run.trigger.as_str()),
            job_version: Some(run.job_version.get()),
            reason: run.reason.as_ref().map(ReasonView::of),
            lateness: run.lateness(),
            started_at: run.started_at,
            finished_at: run.finished_at,
        }
    }

    fn upcoming(fire_time: Timestamp, due_at: Timestamp) -> Self {
        Self {
            fire_time,
            due_at,
            run: None,
            state: "upcoming",
            trigger: None,
            job_version: None,
            reason: None,
            lateness: None,
            started_at: None,
            finished_at: None,
        }
    }
}

/// The ledger of a job's fires.
#[derive(Serialize, ToSchema)]
pub(crate) struct Ledger {
    /// Past fires, newest first, each with its one outcome.
    #[serde(flatten)]
    past: Page<FireView>,
    /// Fires to come, soonest first; on the first page only.
    upcoming: Vec<FireView>,
}

/// The ledger of a job's fires
///
/// Every nominal fire time with its outcome and reason, newest first, and the ones to come.
#[utoipa::path(get, path = "/api/v1/jobs/{job}/fires", tag = "jobs",
    params(("job" = u32, Path, description = "Its number."), FireParams),
    responses((status = 200, description = "Past and upcoming fires.", body = Ledger)))]
async fn job_fires(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<FireParams>,
) -> Result<Json<Ledger>> {
    let job = access.job();
    let now = console.now();
    let limit = page::limit(params.limit);
    let before: Option<RunKey> = page::position(params.cursor.as_deref())?;
    let of_job = RunFilter { job: Some(job.id), scheduled_only: true, ..RunFilter::default() };
    let states = params.state.unwrap_or_default();
    let all_states = states.is_empty();
    let past = RunFilter { to: Some(now + Span::MILLISECOND), states, ..of_job.clone() };
    let runs = console.store.list_runs(&past, before, limit + 1).await?;
    let past = Page::of(runs, limit, |run: &Run| run.key.to_string()).map(|run| FireView::of(&run));
    let upcoming = match before {
        None if all_states => {
            upcoming(&console, job, now, params.upcoming.unwrap_or(UPCOMING), of_job).await?
        }
        _ => Vec::new(),
    };
    Ok(Json(Ledger { past, upcoming }))
}

/// The fires to come: those planned already, and those the schedule gives.
async fn upcoming(
    console: &Console,
    job: &Job,
    now: Timestamp,
    count: usize,
    of_job: RunFilter,
) -> Result<Vec<FireView>> {
    let planned =
        RunFilter { from: Some(now + Span::MILLISECOND), states: vec![RunState::Planned], ..of_job };
    // More are never planned at a time: the horizon is short.
    let planned = console.store.list_runs(&planned, None, 1_000).await?;
    let mut fires: BTreeMap<Timestamp, FireView> =
        planned.iter().map(|run| (run.key.fire_time, FireView::of(run))).collect();
    if job.spec.enabled
        && let Ok(schedule) = job.compile()
    {
        for fire in schedule.fires_after(now.max(job.effective_from)).take(count) {
            let due = schedule.due(u64::from(job.id.get()), fire);
            fires.entry(fire).or_insert_with(|| FireView::upcoming(fire, due));
        }
    }
    Ok(fires.into_values().take(count).collect())
}
