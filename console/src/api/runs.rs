//! Runs as they are: lists, and one with all there is to know.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use carillon_core::ids::{GroupId, JobId, RunKey};
use carillon_core::job::JobSpec;
use carillon_core::run::{Run, RunState, TriggerKind};
use carillon_core::time::{Span, Timestamp};
use carillon_store::accounts::Role;
use carillon_store::catalog::JobFilter;
use carillon_store::runs::RunFilter;
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::run_views::{AttemptView, Names, RunDetail, RunView, timeline};
use super::schemas;
use crate::auth::Access;
use crate::console::Console;
use crate::json::Params;
use crate::operation::{Need, Operations};
use crate::page::{self, Page, TOTAL_CAP};
use crate::problem::{Problem, Result};

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
    /// Only runs of jobs whose name or handler contains this, ignoring case; at most 200 jobs may.
    #[param(max_length = 128)]
    text: Option<String>,
    /// Only runs made by this.
    #[param(inline)]
    trigger: Option<TriggerWord>,
    /// Only runs planned at or run by this worker, by its incarnation.
    worker: Option<String>,
    /// Only runs whose handler started at least so late, such as `500ms`.
    #[param(value_type = Option<String>)]
    min_lateness: Option<Span>,
    /// Items on the page (default 50).
    #[param(minimum = 1, maximum = 500)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What makes runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TriggerWord {
    /// The job's schedule.
    Schedule,
    /// A request.
    Api,
    /// A retry by a person.
    Retry,
    /// A fire made up for.
    Misfire,
}

/// Jobs that a text may match: more of them, and the text says nothing.
const MOST_JOBS: usize = 200;

/// Runs looked through by one request for what no index knows; the page is then short, and its cursor goes on behind them.
const MOST_LOOKED_AT: usize = 2_000;

/// What no index knows: checked run by run.
#[derive(Default)]
struct Sieve {
    trigger: Option<TriggerWord>,
    worker: Option<String>,
    min_lateness: Option<Span>,
}

impl Sieve {
    fn lets_all_through(&self) -> bool {
        self.trigger.is_none() && self.worker.is_none() && self.min_lateness.is_none()
    }

    fn lets_through(&self, run: &Run) -> bool {
        let trigger = |wanted| match wanted {
            TriggerWord::Schedule => run.trigger == TriggerKind::Schedule,
            TriggerWord::Api => run.trigger == TriggerKind::Api,
            TriggerWord::Retry => run.trigger == TriggerKind::Retry,
            TriggerWord::Misfire => run.trigger == TriggerKind::Misfire,
        };
        self.trigger.is_none_or(trigger)
            && self.worker.as_ref().is_none_or(|wanted| {
                run.worker.is_some_and(|worker| worker.to_string().eq_ignore_ascii_case(wanted))
            })
            && self.min_lateness.is_none_or(|least| run.lateness().is_some_and(|lateness| lateness >= least))
    }
}

/// List runs
///
/// Newest first. `trigger`, `worker` and `min_lateness` are looked for in at most 2,000 runs a request: a short page with a cursor goes on there.
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(RunParams), responses(
    (status = 200, description = "Those that you may see.", body = Page<RunView>),
))]
async fn list_runs(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<RunParams>,
) -> Result<Json<Page<RunView>>> {
    let groups = access.groups(params.group)?;
    let jobs = match params.text.as_deref().filter(|text| !text.is_empty() && params.job.is_none()) {
        None => Vec::new(),
        Some(text) => {
            let filter =
                JobFilter { groups: groups.clone(), text: Some(text.to_owned()), ..JobFilter::default() };
            let jobs = console.store.jobs(&filter, None, MOST_JOBS + 1).await?;
            if jobs.len() > MOST_JOBS {
                return Err(Problem::field(
                    "text",
                    "is in the names of more than 200 jobs; write more of it",
                ));
            }
            if jobs.is_empty() {
                return Ok(Json(Page::of(Vec::new(), 1, |_: &RunView| String::new())));
            }
            jobs.into_iter().map(|job| job.id).collect()
        }
    };
    let filter = RunFilter {
        groups,
        job: params.job,
        jobs,
        states: params.state.unwrap_or_default(),
        from: params.from,
        to: params.to,
        scheduled_only: false,
    };
    let sieve = Sieve { trigger: params.trigger, worker: params.worker, min_lateness: params.min_lateness };
    if !sieve.lets_all_through() {
        return sifted(&console, filter, &sieve, params.limit, params.cursor.as_deref()).await.map(Json);
    }
    Ok(Json(page_of_runs(&console, filter, params.limit, params.cursor.as_deref()).await?))
}

/// A page of the runs that match and that the sieve lets through, as far as one request looks.
async fn sifted(
    console: &Console,
    filter: RunFilter,
    sieve: &Sieve,
    limit: Option<usize>,
    cursor: Option<&str>,
) -> Result<Page<RunView>> {
    let limit = page::limit(limit);
    let mut before: Option<RunKey> = page::position(cursor)?;
    let (mut found, mut looked_at) = (Vec::new(), 0);
    let more = loop {
        let some = console.store.list_runs(&filter, before, page::MOST_ITEMS).await?;
        let (last_page, room) = (some.len() < page::MOST_ITEMS, limit - found.len());
        looked_at += some.len();
        let all = some.len();
        let mut seen = 0;
        for run in some {
            seen += 1;
            before = Some(run.key);
            if sieve.lets_through(&run) {
                found.push(run);
            }
            if found.len() == limit {
                break;
            }
        }
        debug_assert!(room > 0, "a full page ends the loop");
        if found.len() == limit {
            break seen < all || !last_page;
        }
        if last_page || looked_at >= MOST_LOOKED_AT {
            break !last_page;
        }
    };
    let names = Names::of(console, &found).await?;
    let items = found.iter().map(|run| names.view(run)).collect();
    let next_cursor = before.filter(|_| more).map(|key| page::encode(&key.to_string()));
    Ok(Page { items, next_cursor, total: None, total_capped: false })
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
    let arms = match console.store.shard(run.shard).await? {
        Some(shard) => console.servers.arms(&shard, run.key).await,
        None => Vec::new(),
    };
    let spec = spec_of_version(console, run).await?;
    let params = run.params.clone().or_else(|| spec.as_ref().map(|spec| spec.params.clone()));
    Ok(RunDetail {
        shard: run.shard,
        epoch: run.epoch.to_string(),
        plan_no: run.plan_no.get(),
        own_params: run.params.is_some(),
        params: params.unwrap_or(Value::Null),
        kind: spec.as_ref().map(|spec| spec.kind.as_str()),
        max_attempts: spec.map(|spec| spec.retry.max_attempts),
        result: run.result.clone(),
        timeline: timeline(&attempts, &arms),
        attempts,
        run: names.view(run),
    })
}

/// How many versions back a run's own is looked for; older ones are rare enough to go without.
const VERSIONS_BACK: usize = 100;

/// What the version of the job was to which the run belongs.
pub(super) async fn spec_of_version(console: &Console, run: &Run) -> Result<Option<JobSpec>> {
    if let Some(job) = console.store.job(run.key.job).await?
        && job.version == run.job_version
    {
        return Ok(Some(job.spec));
    }
    let versions = console.store.job_versions(run.key.job, VERSIONS_BACK).await?;
    let version = versions.into_iter().find(|job| job.version == run.job_version);
    Ok(version.map(|job| job.spec))
}
