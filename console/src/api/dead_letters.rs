//! Dead letters: runs that failed for good; listed, retried, discarded, one by one or by filter.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use carillon_core::ids::{GroupId, JobId, RunKey};
use carillon_core::run::{Run, RunState};
use carillon_core::time::Timestamp;
use carillon_store::accounts::Role;
use carillon_store::runs::RunFilter;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::bulk::{discard_each, retry_each};
use super::run_views::RunView;
use super::runs::page_of_runs;
use super::runs_change::{Retry, retry_one};
use super::schemas;
use crate::auth::Access;
use crate::console::Console;
use crate::json::{Body, OptionalBody, Params};
use crate::operation::{Need, Operations};
use crate::page::Page;
use crate::problem::{Problem, Result};

/// Dead letters treated by one request by filter: what a request can do within its time; the answer says when there are more.
const MOST_AT_ONCE: usize = 200;

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_list_dead_letters, _, _>(list_dead_letters, Need::Person);
    operations.write::<__path_retry_dead_letter, _, _>(
        retry_dead_letter,
        Need::Role(Role::Operator),
        "dead_letter.retry",
    );
    operations.write::<__path_discard_dead_letter, _, _>(
        discard_dead_letter,
        Need::Role(Role::Operator),
        "dead_letter.discard",
    );
    operations.write::<__path_retry_dead_letters, _, _>(
        retry_dead_letters,
        Need::RoleInRequest(Role::Operator),
        "dead_letter.retry",
    );
    operations.write::<__path_discard_dead_letters, _, _>(
        discard_dead_letters,
        Need::RoleInRequest(Role::Operator),
        "dead_letter.discard",
    );
}

/// The states in which a run is a dead letter.
fn dead() -> Vec<RunState> {
    RunState::ALL.into_iter().filter(|state| state.is_dead_letter()).collect()
}

/// Which dead letters.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DeadLetterParams {
    /// Only this task group's.
    #[param(value_type = Option<String>, format = "group-id")]
    group: Option<GroupId>,
    /// Only this job's.
    #[param(value_type = Option<u32>, minimum = 0, maximum = 4_294_967_295u32)]
    job: Option<JobId>,
    /// Only those that ended so, separated by commas: `failed`, `dead`, `timed_out`.
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

/// List dead letters
///
/// Runs that failed for good, died or timed out; newest first.
#[utoipa::path(get, path = "/api/v1/dead-letters", tag = "dead letters", params(DeadLetterParams), responses(
    (status = 200, description = "Those that you may see.", body = Page<RunView>),
))]
async fn list_dead_letters(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<DeadLetterParams>,
) -> Result<Json<Page<RunView>>> {
    let states = match params.state {
        None => dead(),
        Some(states) if states.iter().all(|state| state.is_dead_letter()) => states,
        Some(_) => return Err(Problem::field("state", "is not one of failed, dead, timed_out")),
    };
    let filter = RunFilter {
        groups: access.groups(params.group)?,
        job: params.job,
        states,
        from: params.from,
        to: params.to,
        ..RunFilter::default()
    };
    Ok(Json(page_of_runs(&console, filter, params.limit, params.cursor.as_deref()).await?))
}

/// Retry a dead letter
#[utoipa::path(post, path = "/api/v1/dead-letters/{run}/retry", tag = "dead letters", request_body = Option<Retry>,
    params(("run" = String, Path, description = "The run's id.")),
    responses(
        (status = 200, description = "Due again.", body = Treated),
        (status = 409, description = "It is no dead letter.", body = Problem, content_type = "application/problem+json"),
    ))]
async fn retry_dead_letter(
    State(console): State<Arc<Console>>,
    access: Access,
    OptionalBody(retry): OptionalBody<Retry>,
) -> Result<Json<Treated>> {
    let run = access.run();
    let attempt = retry_one(&console, run, &access.principal.name(), &retry).await?;
    access.note.after(json!({"attempt": attempt}));
    Ok(Json(Treated { treated: 1, refused: Vec::new(), more: false }))
}

/// Discard a dead letter
///
/// The run becomes `cancelled` with the reason `discarded`.
#[utoipa::path(post, path = "/api/v1/dead-letters/{run}/discard", tag = "dead letters",
    params(("run" = String, Path, description = "The run's id.")),
    responses(
        (status = 200, description = "Discarded.", body = Treated),
        (status = 409, description = "It is no dead letter.", body = Problem, content_type = "application/problem+json"),
    ))]
async fn discard_dead_letter(State(console): State<Arc<Console>>, access: Access) -> Result<Json<Treated>> {
    discard(&console, access.run(), &access.principal.name()).await?;
    access.note.before(json!({"state": access.run().state}));
    Ok(Json(Treated { treated: 1, refused: Vec::new(), more: false }))
}

pub(super) async fn discard(console: &Console, run: &Run, by: &str) -> Result<()> {
    if console.store.discard_dead_letter(run.key, by, console.now()).await? {
        return Ok(());
    }
    Err(Problem::conflict("no_dead_letter", format!("the run is {}; it is no dead letter", run.state)))
}

/// Which dead letters to treat together.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadLetterFilter {
    /// The task group.
    #[schema(value_type = String, format = "group-id")]
    group: GroupId,
    /// Only this job's.
    #[schema(value_type = Option<u32>)]
    job: Option<JobId>,
    /// Only fire times at or later than this.
    #[schema(value_type = Option<String>, format = "date-time")]
    from: Option<Timestamp>,
    /// Only fire times earlier than this.
    #[schema(value_type = Option<String>, format = "date-time")]
    to: Option<Timestamp>,
}

/// What became of the dead letters that matched.
#[derive(Serialize, ToSchema)]
pub(crate) struct Treated {
    /// How many were retried or discarded.
    treated: usize,
    /// Those that were not, and why.
    refused: Vec<Refused>,
    /// There are more that match: ask again.
    more: bool,
}

/// A dead letter that was not treated.
#[derive(Serialize, ToSchema)]
pub(crate) struct Refused {
    /// The run.
    #[schema(value_type = String)]
    run: RunKey,
    /// The code of the refusal.
    code: &'static str,
    /// Why.
    detail: String,
}

/// Retry dead letters by filter
///
/// At most 200 at a time, newest first.
#[utoipa::path(post, path = "/api/v1/dead-letters/retry", tag = "dead letters", request_body = DeadLetterFilter, responses(
    (status = 200, description = "What became of them.", body = Treated),
))]
async fn retry_dead_letters(
    State(console): State<Arc<Console>>,
    access: Access,
    Body(filter): Body<DeadLetterFilter>,
) -> Result<Json<Treated>> {
    let (runs, more) = matching(&console, &access, &filter).await?;
    summary(&access, retry_each(&console, runs, &access.principal.name()).await, more)
}

/// Discard dead letters by filter
///
/// At most 200 at a time, newest first.
#[utoipa::path(post, path = "/api/v1/dead-letters/discard", tag = "dead letters", request_body = DeadLetterFilter, responses(
    (status = 200, description = "What became of them.", body = Treated),
))]
async fn discard_dead_letters(
    State(console): State<Arc<Console>>,
    access: Access,
    Body(filter): Body<DeadLetterFilter>,
) -> Result<Json<Treated>> {
    let (runs, more) = matching(&console, &access, &filter).await?;
    summary(&access, discard_each(&console, runs, &access.principal.name()).await, more)
}

async fn matching(console: &Console, access: &Access, filter: &DeadLetterFilter) -> Result<(Vec<Run>, bool)> {
    access.require(Role::Operator, filter.group)?;
    let filter = RunFilter {
        groups: Some(vec![filter.group]),
        job: filter.job,
        states: dead(),
        from: filter.from,
        to: filter.to,
        ..RunFilter::default()
    };
    let mut runs = console.store.list_runs(&filter, None, MOST_AT_ONCE + 1).await?;
    let more = runs.len() > MOST_AT_ONCE;
    runs.truncate(MOST_AT_ONCE);
    Ok((runs, more))
}

fn summary(access: &Access, results: Vec<(RunKey, Result<()>)>, more: bool) -> Result<Json<Treated>> {
    let all = results.len();
    let refused: Vec<Refused> = results
        .into_iter()
        .filter_map(|(run, result)| {
            let problem = result.err()?;
            Some(Refused { run, code: problem.code(), detail: problem.detail().to_owned() })
        })
        .collect();
    let treated = all - refused.len();
    access.note.after(json!({"treated": treated, "refused": refused.len(), "more": more}));
    // Nothing could be done at all, and always for the same reason: that is the answer.
    if treated == 0
        && let Some(first) = refused.first()
        && first.code == "no_server"
    {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_server", first.detail.clone())
            .retry_after(carillon_core::time::Span::from_secs(2)));
    }
    Ok(Json(Treated { treated, refused, more }))
}
