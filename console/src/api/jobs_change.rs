//! Changes of jobs.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use carillon_core::ids::{JobId, JobVersion, ShardId};
use carillon_core::job::{Job, JobSpec};
use carillon_core::time::Timestamp;
use carillon_store::accounts::Role;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::job_body::{merge, read_spec, validate, without_read_only};
use super::schemas;
use super::views::{JobView, MayStart};
use crate::auth::Access;
use crate::console::Console;
use crate::edit::{Edited, Wish, edit};
use crate::json::RawBody;
use crate::operation::{Need, Operations};
use crate::precondition::{etag, if_match};
use crate::problem::{Problem, Result};

pub(crate) fn enter(operations: &mut Operations) {
    operations.write::<__path_create_job, _, _>(
        create_job,
        Need::RoleInRequest(Role::Developer),
        "job.create",
    );
    operations.write::<__path_replace_job, _, _>(replace_job, Need::Role(Role::Developer), "job.update");
    operations.write::<__path_patch_job, _, _>(patch_job, Need::Role(Role::Developer), "job.update");
    operations.write::<__path_delete_job, _, _>(delete_job, Need::Role(Role::Developer), "job.delete");
    operations.write::<__path_pause_job, _, _>(pause_job, Need::Role(Role::Operator), "job.pause");
    operations.write::<__path_resume_job, _, _>(resume_job, Need::Role(Role::Operator), "job.resume");
}

/// A job after a change.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangedJob {
    /// The job as it is in force.
    #[serde(flatten)]
    job: JobView,
    /// Runs of the version before that could not be withdrawn in time and may start all the same; any other one will not.
    may_still_start: Vec<MayStart>,
    /// What a person should know, such as a handler that no connected worker has.
    warnings: Vec<String>,
}

/// Create a job
#[utoipa::path(post, path = "/api/v1/jobs", tag = "jobs", request_body = schemas::JobSpec, responses(
    (status = 201, description = "Created.", body = ChangedJob, headers(("ETag" = String, description = "Its revision."), ("Location" = String, description = "Where it is."))),
    (status = 409, description = "The name is taken in the group.", body = Problem, content_type = "application/problem+json"),
))]
async fn create_job(
    State(console): State<Arc<Console>>,
    access: Access,
    RawBody(body): RawBody,
) -> Result<Response> {
    let spec = read_spec(body)?;
    access.require(Role::Developer, spec.group)?;
    validate(&spec, console.now())?;
    let group =
        console.store.group(spec.group).await?.ok_or_else(|| Problem::not_found("task group", spec.group))?;
    if console.store.job_by_name(spec.group, &spec.name).await?.is_some() {
        return Err(name_taken(&spec));
    }
    let id = console.store.next_job_id().await?;
    let shard = ShardId::of_job(group.id, id, group.shards);
    access.note.target(format!("job/{id}"));
    let now = console.now();
    let job = Job {
        id,
        version: JobVersion::new(1),
        shard_index: shard.index(),
        spec,
        effective_from: now,
        created_at: now,
        updated_at: now,
        updated_by: access.principal.name(),
    };
    let changed = apply(&console, &access, shard, Wish::Create(Box::new(job))).await?;
    let location = format!("{}/jobs/{id}", crate::router::API);
    let headers = [(header::ETAG, etag(changed.job.revision)), (header::LOCATION, location)];
    Ok((StatusCode::CREATED, headers, Json(changed)).into_response())
}

/// Replace a job
///
/// Fields left out get their defaults. What only answers have (`id`, `revision`, `next_fires` ...) is ignored, so that a job that was read can be
/// sent back with changes.
#[utoipa::path(put, path = "/api/v1/jobs/{job}", tag = "jobs", request_body = schemas::JobSpec,
    params(("job" = u32, Path, description = "Its number."), ("If-Match" = String, Header, description = "The `ETag` that was read, or `*`.")),
    responses(
        (status = 200, description = "Changed.", body = ChangedJob, headers(("ETag" = String, description = "Its new revision."))),
        (status = 409, description = "The name is taken in the group.", body = Problem, content_type = "application/problem+json"),
    ))]
async fn replace_job(
    State(console): State<Arc<Console>>,
    access: Access,
    headers: HeaderMap,
    RawBody(mut body): RawBody,
) -> Result<Response> {
    let seen = if_match(&headers)?.map(JobVersion::new);
    without_read_only(&mut body);
    replace(&console, &access, seen, body).await
}

/// Change fields of a job
///
/// A JSON merge patch (RFC 7396): fields left out stay, `null` takes a field back to its default.
#[utoipa::path(patch, path = "/api/v1/jobs/{job}", tag = "jobs", request_body(content = Object, content_type = "application/merge-patch+json", description = "The fields to change."),
    params(("job" = u32, Path, description = "Its number."), ("If-Match" = String, Header, description = "The `ETag` that was read, or `*`.")),
    responses(
        (status = 200, description = "Changed.", body = ChangedJob, headers(("ETag" = String, description = "Its new revision."))),
        (status = 409, description = "The name is taken in the group.", body = Problem, content_type = "application/problem+json"),
    ))]
async fn patch_job(
    State(console): State<Arc<Console>>,
    access: Access,
    headers: HeaderMap,
    RawBody(mut patch): RawBody,
) -> Result<Response> {
    let seen = if_match(&headers)?.map(JobVersion::new);
    if !patch.is_object() {
        return Err(Problem::field("", "a merge patch of a job is an object with the fields to change"));
    }
    without_read_only(&mut patch);
    let mut merged = json!(access.job().spec);
    merge(&mut merged, patch);
    // With `*` another version may come in between; the patch is then meant for what was merged here.
    let seen = seen.or(Some(access.job().version));
    replace(&console, &access, seen, merged).await
}

async fn replace(
    console: &Console,
    access: &Access,
    seen: Option<JobVersion>,
    body: Value,
) -> Result<Response> {
    let current = access.job();
    let spec = read_spec(body)?;
    if spec.group != current.spec.group {
        return Err(Problem::field(
            "group",
            format!("is {} and never changes; create another job instead", current.spec.group),
        ));
    }
    validate(&spec, console.now())?;
    if spec.name != current.spec.name && console.store.job_by_name(spec.group, &spec.name).await?.is_some() {
        return Err(name_taken(&spec));
    }
    let wish = Wish::Replace { job: current.id, seen, spec: Box::new(spec) };
    answer(apply(console, access, shard_of(current), wish).await?)
}

/// Delete a job
///
/// Its runs stay in history.
#[utoipa::path(delete, path = "/api/v1/jobs/{job}", tag = "jobs",
    params(("job" = u32, Path, description = "Its number."), ("If-Match" = String, Header, description = "The `ETag` that was read, or `*`.")),
    responses((status = 200, description = "Deleted.", body = DeletedJob)))]
async fn delete_job(
    State(console): State<Arc<Console>>,
    access: Access,
    headers: HeaderMap,
) -> Result<Json<DeletedJob>> {
    let seen = if_match(&headers)?.map(JobVersion::new);
    let current = access.job();
    let wish = Wish::Delete { job: current.id, seen };
    let edited = edit(&console, shard_of(current), &wish, &access.principal.name()).await?;
    note(&access, &edited);
    let may_still_start = edited.may_still_start.into_iter().map(MayStart::of).collect();
    Ok(Json(DeletedJob { id: current.id, may_still_start }))
}

/// A deleted job.
#[derive(Serialize, ToSchema)]
pub(crate) struct DeletedJob {
    /// Its number, which is never given again.
    #[schema(value_type = u32)]
    id: JobId,
    /// Runs that could not be withdrawn in time and may start all the same.
    may_still_start: Vec<MayStart>,
}

/// Pause a job
///
/// It does not fire until resumed; it can still be triggered. A paused job stays as it is.
#[utoipa::path(post, path = "/api/v1/jobs/{job}/pause", tag = "jobs", params(("job" = u32, Path, description = "Its number.")),
    responses((status = 200, description = "Paused.", body = ChangedJob)))]
async fn pause_job(State(console): State<Arc<Console>>, access: Access) -> Result<Response> {
    enable(&console, &access, false).await
}

/// Resume a paused job
///
/// Fires that fell into the pause are not made up for.
#[utoipa::path(post, path = "/api/v1/jobs/{job}/resume", tag = "jobs", params(("job" = u32, Path, description = "Its number.")),
    responses((status = 200, description = "Resumed.", body = ChangedJob)))]
async fn resume_job(State(console): State<Arc<Console>>, access: Access) -> Result<Response> {
    enable(&console, &access, true).await
}

async fn enable(console: &Console, access: &Access, enabled: bool) -> Result<Response> {
    let job = access.job();
    if enabled {
        check_resume(job, console.now())?;
    }
    answer(apply(console, access, shard_of(job), Wish::Enable { job: job.id, enabled }).await?)
}

/// Refuses to resume a job whose last fire has passed during its pause: it would wait forever without a word.
pub(super) fn check_resume(job: &Job, now: Timestamp) -> Result<()> {
    if job.spec.enabled { Ok(()) } else { validate(&JobSpec { enabled: true, ..job.spec.clone() }, now) }
}

fn answer(changed: ChangedJob) -> Result<Response> {
    Ok(([(header::ETAG, etag(changed.job.revision))], Json(changed)).into_response())
}

/// The shard that owns a job.
pub(super) fn shard_of(job: &Job) -> ShardId {
    ShardId::new(job.spec.group, job.shard_index)
}

/// Edits and tells what came of it.
async fn apply(console: &Console, access: &Access, shard: ShardId, wish: Wish) -> Result<ChangedJob> {
    let edited =
        edit(console, shard, &wish, &access.principal.name()).await.map_err(|problem| match &wish {
            // Two requests took the same name at the same time.
            Wish::Create(job) if problem.code() == "conflict" => name_taken(&job.spec),
            Wish::Replace { spec, .. } if problem.code() == "conflict" => name_taken(spec),
            _ => problem,
        })?;
    note(access, &edited);
    let job = edited.after.expect("only a deletion leaves no job");
    let warnings = warnings(console, &job).await;
    Ok(ChangedJob {
        job: JobView::of(job, console.now()),
        may_still_start: edited.may_still_start.into_iter().map(MayStart::of).collect(),
        warnings,
    })
}

fn note(access: &Access, edited: &Edited) {
    if let Some(job) = &edited.before {
        access.note.before(json!({"revision": job.version, "job": job.spec}));
    }
    if let Some(job) = &edited.after {
        access.note.after(json!({"revision": job.version, "job": job.spec}));
    }
}

fn name_taken(spec: &JobSpec) -> Problem {
    Problem::conflict(
        "name_taken",
        format!("there is a job {:?} in task group {} already", spec.name, spec.group),
    )
}

/// What a person should know about a job that is right in itself.
async fn warnings(console: &Console, job: &Job) -> Vec<String> {
    let group = job.spec.group;
    match console.servers.live().await {
        Ok(live) if !live.iter().any(|server| server.server_group == group.server_group()) => {
            vec![format!(
                "no server of server group {} is live: nothing fires until one is",
                group.server_group()
            )]
        }
        _ => match console.servers.handlers(group).await {
            Some(handlers) if !handlers.contains(&job.spec.handler) => vec![format!(
                "no connected worker of task group {group} has the handler {:?}: its runs are missed until one has",
                job.spec.handler
            )],
            _ => Vec::new(),
        },
    }
}
