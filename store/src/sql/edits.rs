//! Changes of a shard's job set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use carillon_core::ids::{AttemptNo, JobId, JobsVersion, RunKey};
use carillon_core::job::Job;
use carillon_core::run::{ReasonCode, Run, RunState};
use carillon_core::time::Timestamp;

use crate::StoreError;
use crate::catalog::{EditOutcome, JobChange, JobEdit, TouchedRun};
use crate::database::{Database, Existing, Insert, existing_number_of};
use crate::sql::jobs::{instance, job, next_version};
use crate::sql::run_rows::{
    ADVANCED, LIFE, Life, REPLANNED, REVIVED, insert_runs, push_life, push_run, read_life,
};
use crate::value::{Value, json, values};

/// The shard's row lock (primary key) keeps planners and other edits out from the first line on.
pub(crate) async fn edit_job<D: Database>(db: &mut D, edit: Arc<JobEdit>) -> Result<EditOutcome, StoreError> {
    let number = existing_number_of(db, edit.shard).await?;
    let lock = format!("SELECT jobs_version, planned_until FROM shard WHERE shard = ? {}", D::FOR_UPDATE);
    let found = db.query_one(&lock, values![number]).await?;
    let mut row = found.ok_or_else(|| StoreError::NotFound { what: "shard", id: edit.shard.to_string() })?;
    let jobs_version: JobsVersion = row.take()?;
    let planned_until: Timestamp = row.take()?;

    if let Some((id, seen)) = version_seen(&edit.change) {
        let current = job(db, id).await?;
        if current.as_ref().map(|job| job.version) != Some(seen) {
            return Ok(EditOutcome::VersionChanged(current));
        }
        if let JobChange::Replace { job, .. } = &edit.change
            && next_version(db, id).await? != Some(job.version)
        {
            return Ok(EditOutcome::VersionChanged(current));
        }
    }
    if jobs_version != edit.seen_jobs_version || planned_until != edit.seen_planned_until {
        return Ok(EditOutcome::ShardChanged);
    }

    let id = match &edit.change {
        JobChange::Create(job) => {
            create(db, job, number, &edit).await?;
            job.id
        }
        JobChange::Replace { job, .. } => {
            replace(db, job, &edit).await?;
            job.id
        }
        JobChange::Delete { job, by, .. } => {
            delete(db, *job, by, edit.at).await?;
            *job
        }
    };
    let jobs_version = jobs_version.next();
    db.execute("UPDATE shard SET jobs_version = ? WHERE shard = ?", values![jobs_version, number]).await?;
    let touched = change_plan(db, id, number, &edit).await?;
    Ok(EditOutcome::Edited { jobs_version, touched })
}

fn version_seen(change: &JobChange) -> Option<(JobId, carillon_core::ids::JobVersion)> {
    match change {
        JobChange::Create(_) => None,
        JobChange::Replace { seen, job } => Some((job.id, *seen)),
        JobChange::Delete { job, seen, .. } => Some((*job, *seen)),
    }
}

const NEW_JOB: Insert = Insert {
    table: "job",
    columns: &[
        "job",
        "version",
        "shard",
        "group_id",
        "shard_index",
        "name",
        "kind",
        "enabled",
        "search_text",
        "spec",
        "effective_from",
        "created_at",
        "updated_at",
        "updated_by",
        "instance",
    ],
    existing: Existing::Refuse,
};

async fn create<D: Database>(db: &mut D, job: &Job, number: i64, edit: &JobEdit) -> Result<(), StoreError> {
    refuse_taken_name(db, job, edit).await?;
    let row = values![
        job.id,
        job.version,
        number,
        edit.shard.group(),
        edit.shard.index(),
        &job.spec.name,
        job.spec.kind.as_str(),
        job.spec.enabled,
        search_text(job),
        json(&job.spec),
        job.effective_from,
        job.created_at,
        job.updated_at,
        &job.updated_by,
        instance(db).await?,
    ];
    db.insert(&NEW_JOB, row).await.map_err(|error| taken(error, job))?;
    remember_version(db, job).await
}

async fn replace<D: Database>(db: &mut D, job: &Job, edit: &JobEdit) -> Result<(), StoreError> {
    refuse_taken_name(db, job, edit).await?;
    let instance = instance(db).await?;
    db.execute(
        "UPDATE job SET version = ?, name = ?, kind = ?, enabled = ?, search_text = ?, spec = ?,
                effective_from = ?, updated_at = ?, updated_by = ?, instance = ?
         WHERE job = ?",
        values![
            job.version,
            &job.spec.name,
            job.spec.kind.as_str(),
            job.spec.enabled,
            search_text(job),
            json(&job.spec),
            job.effective_from,
            job.updated_at,
            &job.updated_by,
            instance,
            job.id,
        ],
    )
    .await
    .map_err(|error| taken(error, job))?;
    db.execute("DELETE FROM job_label WHERE job = ?", values![job.id]).await?;
    remember_version(db, job).await
}

/// Uses `job_name`.
async fn refuse_taken_name<D: Database>(db: &mut D, job: &Job, edit: &JobEdit) -> Result<(), StoreError> {
    let found = db
        .query_one(
            "SELECT job FROM job WHERE group_id = ? AND name = ? AND job <> ?",
            values![edit.shard.group(), &job.spec.name, job.id],
        )
        .await?;
    let Some(mut row) = found else { return Ok(()) };
    let other: JobId = row.take()?;
    Err(StoreError::Conflict {
        what: "job",
        id: job.spec.name.clone(),
        conflict: format!("has the name of job {other} of the same group"),
    })
}

/// Words a unique index's refusal, for the one of two racing edits that came second.
fn taken(error: StoreError, job: &Job) -> StoreError {
    match error {
        StoreError::Conflict { .. } => StoreError::Conflict {
            what: "job",
            id: format!("{} ({})", job.id, job.spec.name),
            conflict: "has an id or a name that was taken just now".to_owned(),
        },
        other => other,
    }
}

fn search_text(job: &Job) -> String {
    format!("{}\n{}", job.spec.name, job.spec.handler).to_lowercase()
}

const NEW_LABELS: Insert =
    Insert { table: "job_label", columns: &["job", "label_key", "label_value"], existing: Existing::Refuse };

const NEW_VERSION: Insert = Insert {
    table: "job_version",
    columns: &[
        "job",
        "version",
        "shard_index",
        "spec",
        "effective_from",
        "created_at",
        "updated_at",
        "updated_by",
    ],
    existing: Existing::Refuse,
};

async fn remember_version<D: Database>(db: &mut D, job: &Job) -> Result<(), StoreError> {
    let labels = job.spec.labels.iter().flat_map(|(key, value)| values![job.id, key, value]).collect();
    db.insert(&NEW_LABELS, labels).await?;
    let row = values![
        job.id,
        job.version,
        job.shard_index,
        json(&job.spec),
        job.effective_from,
        job.created_at,
        job.updated_at,
        &job.updated_by,
    ];
    db.insert(&NEW_VERSION, row).await.map_err(|error| taken(error, job))?;
    Ok(())
}

/// By primary key in each table.
async fn delete<D: Database>(db: &mut D, job: JobId, by: &str, at: Timestamp) -> Result<(), StoreError> {
    db.execute(
        "INSERT INTO deleted_job (job, group_id, name, deleted_at, deleted_by)
         SELECT job, group_id, name, ?, ? FROM job WHERE job = ?",
        values![at, by, job],
    )
    .await?;
    db.execute("DELETE FROM job WHERE job = ?", values![job]).await?;
    db.execute("DELETE FROM job_label WHERE job = ?", values![job]).await?;
    Ok(())
}

/// Cancels or re-plans the planned scheduled rows that fire later than the edit, re-plans what fired before, or on request, and has not started, and inserts
/// the new fires. A new plan withdraws the old one from whoever still holds it.
async fn change_plan<D: Database>(
    db: &mut D,
    job: JobId,
    number: i64,
    edit: &JobEdit,
) -> Result<Vec<TouchedRun>, StoreError> {
    let fires: BTreeMap<RunKey, &Run> = edit.runs.iter().map(|run| (run.key, run)).collect();
    let mut touched = Vec::new();
    let (mut replanned, mut cancelled) = (Vec::new(), Vec::new());
    let mut kept: BTreeSet<RunKey> = BTreeSet::new();
    let version = match &edit.change {
        JobChange::Create(job) | JobChange::Replace { job, .. } => Some(job.version),
        JobChange::Delete { .. } => None,
    };
    for mut life in planned_rows(db, job, number, edit.at).await? {
        let fire = fires.get(&life.key);
        // Somebody asked for it, and by a clock that is ahead that was later than the edit.
        let by_request = life.key.ordinal != 0;
        let fired_before = life.key.fire_time <= edit.at || by_request;
        touched.push(TouchedRun {
            key: life.key,
            worker: life.worker,
            due_at: life.due_at,
            replanned: fire.is_some() || fired_before,
        });
        match fire {
            Some(fire) => {
                kept.insert(life.key);
                plan_again(&mut life, fire);
                push_life(&mut replanned, life);
            }
            None if fired_before => {
                life.job_version = version.unwrap_or(life.job_version);
                life.plan_no = life.plan_no.next();
                push_life(&mut replanned, life);
            }
            None => {
                life.state = RunState::Cancelled;
                life.finished_at = Some(edit.at);
                life.reason_code = Some(edit.cancel_reason.code);
                life.reason_detail = Some(edit.cancel_reason.detail.clone());
                push_life(&mut cancelled, life);
            }
        }
    }
    db.insert(&REPLANNED, replanned).await?;
    db.insert(&ADVANCED, cancelled).await?;

    let mut revived = Vec::new();
    for mut life in rows_cancelled_by_edits(db, job, edit).await? {
        let Some(fire) = fires.get(&life.key) else { continue };
        kept.insert(life.key);
        touched.push(TouchedRun { key: life.key, worker: life.worker, due_at: life.due_at, replanned: true });
        plan_again(&mut life, fire);
        life.state = RunState::Planned;
        (life.finished_at, life.reason_code, life.reason_detail) = (None, None, None);
        push_life(&mut revived, life);
    }
    db.insert(&REVIVED, revived).await?;

    let mut rows: Vec<Value> = Vec::new();
    for run in edit.runs.iter().filter(|run| !kept.contains(&run.key)) {
        push_run(&mut rows, run, number);
    }
    insert_runs(db, rows).await?;
    Ok(touched)
}

/// The row goes on at its worker, under the new version and a plan number that its old Arms do not reach.
fn plan_again(life: &mut Life, fire: &Run) {
    life.job_version = fire.job_version;
    life.plan_no = life.plan_no.next();
    // A retry keeps the end of its backoff.
    if life.attempt == AttemptNo::FIRST {
        life.due_at = fire.due_at;
        life.start_by = fire.start_by;
    }
}

/// The rows that earlier edits cancelled before they started, for fires that the job may have again: it was resumed, or got its old schedule
/// back. Their workers stay, because only those can prove that the old plans never start. Along `run_of_job`.
async fn rows_cancelled_by_edits<D: Database>(
    db: &mut D,
    job: JobId,
    edit: &JobEdit,
) -> Result<Vec<Life>, StoreError> {
    if edit.runs.is_empty() {
        return Ok(Vec::new());
    }
    let table = D::indexed("run", "run_of_job");
    let cancelled = format!(
        "{} WHERE job = ? AND fire_time > ? AND ordinal = 0 AND state = ? AND started_at IS NULL AND reason_code IN (?, ?) {}",
        LIFE.replace("FROM run", &format!("FROM {table}")),
        D::FOR_UPDATE
    );
    let reasons = [ReasonCode::Edited, ReasonCode::Paused];
    let rows =
        db.query(&cancelled, values![job, edit.at, RunState::Cancelled, reasons[0], reasons[1]]).await?;
    let mut lives: Vec<Life> = rows.into_iter().map(read_life).collect::<Result<_, _>>()?;
    lives.sort_by_key(|life| life.key);
    Ok(lives)
}

/// The planned rows of the job, locked, in key order. Two reads, because a row may be due after its fire
/// time (jitter, a retry's backoff): those that fire later along `run_of_job`, those that fired before among the few rows of the shard
/// that are planned and past, along `run_in_state`.
async fn planned_rows<D: Database>(
    db: &mut D,
    job: JobId,
    number: i64,
    at: Timestamp,
) -> Result<Vec<Life>, StoreError> {
    let table = D::indexed("run", "run_of_job");
    let later = format!(
        "{} WHERE job = ? AND fire_time > ? AND state = ? {}",
        LIFE.replace("FROM run", &format!("FROM {table}")),
        D::FOR_UPDATE
    );
    let table = D::indexed("run", "run_in_state");
    let earlier = format!(
        "{} WHERE state = ? AND shard = ? AND fire_time <= ? AND job = ? {}",
        LIFE.replace("FROM run", &format!("FROM {table}")),
        D::FOR_UPDATE
    );
    let mut rows = db.query(&later, values![job, at, RunState::Planned]).await?;
    rows.extend(db.query(&earlier, values![RunState::Planned, number, at, job]).await?);
    let mut lives: Vec<Life> = rows.into_iter().map(read_life).collect::<Result<_, _>>()?;
    lives.sort_by_key(|life| life.key);
    Ok(lives)
}
