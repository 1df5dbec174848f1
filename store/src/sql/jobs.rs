//! Reading jobs.

use std::collections::BTreeMap;
use std::sync::Arc;

use carillon_core::ids::{GroupId, JobId, JobVersion};
use carillon_core::job::Job;

use crate::StoreError;
use crate::catalog::JobFilter;
use crate::database::{Database, placeholders};
use crate::sql::sequences;
use crate::value::{Json, Row, Value, values};

const JOB: &str =
    "SELECT job, version, shard_index, spec, effective_from, created_at, updated_at, updated_by FROM job";

fn read_job(mut row: Row) -> Result<Job, StoreError> {
    Ok(Job {
        id: row.take()?,
        version: row.take()?,
        shard_index: row.take()?,
        spec: row.take::<Json<_>>()?.0,
        effective_from: row.take()?,
        created_at: row.take()?,
        updated_at: row.take()?,
        updated_by: row.take()?,
    })
}

pub(crate) async fn next_job_id<D: Database>(db: &mut D) -> Result<JobId, StoreError> {
    let number = sequences::next(db, "job", 1).await?;
    // Executors of other systems carry the id in a signed 32-bit integer.
    i32::try_from(number)
        .ok()
        .and_then(|number| u32::try_from(number).ok())
        .map(JobId::new)
        .ok_or(StoreError::LimitExceeded { what: "the number of jobs", limit: i32::MAX as u64 })
}

/// By primary key.
pub(crate) async fn job<D: Database>(db: &mut D, job: JobId) -> Result<Option<Job>, StoreError> {
    let found = db.query_one(&format!("{JOB} WHERE job = ?"), values![job]).await?;
    found.map(read_job).transpose()
}

/// Names of one query: more than a page shows.
const NAMES_A_QUERY: usize = 500;

/// By primary key of `job`, then of `deleted_job`.
pub(crate) async fn job_names<D: Database>(
    db: &mut D,
    jobs: Arc<[JobId]>,
) -> Result<Vec<(JobId, String)>, StoreError> {
    let mut names = Vec::with_capacity(jobs.len());
    let mut left: Vec<JobId> = jobs.to_vec();
    for table in ["job", "deleted_job"] {
        for some in left.clone().chunks(NAMES_A_QUERY) {
            let sql = format!("SELECT job, name FROM {table} WHERE job IN ({})", placeholders(some.len()));
            for mut row in db.query(&sql, some.iter().copied().map(Value::from).collect()).await? {
                names.push((row.take()?, row.take()?));
            }
        }
        left.retain(|job| !names.iter().any(|(named, _)| named == job));
        if left.is_empty() {
            break;
        }
    }
    Ok(names)
}

/// By `job_name`.
pub(crate) async fn job_by_name<D: Database>(
    db: &mut D,
    group: GroupId,
    name: Arc<str>,
) -> Result<Option<Job>, StoreError> {
    let sql = format!("{JOB} WHERE group_id = ? AND name = ?");
    let found = db.query_one(&sql, values![group, &*name]).await?;
    found.map(read_job).transpose()
}

/// Along the primary key, or `job_of_group` for one group.
pub(crate) async fn jobs<D: Database>(
    db: &mut D,
    filter: Arc<JobFilter>,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<Job>, StoreError> {
    let (conditions, mut values) = conditions_of(&filter);
    values.extend(values![after.map_or(0, JobId::get), limit]);
    let sql = format!("{JOB} WHERE {conditions} AND job > ? ORDER BY job LIMIT ?");
    let rows = db.query(&sql, values).await?;
    rows.into_iter().map(read_job).collect()
}

/// As [`jobs`], reading no further than the cap.
pub(crate) async fn count_jobs<D: Database>(
    db: &mut D,
    filter: Arc<JobFilter>,
    cap: usize,
) -> Result<usize, StoreError> {
    let (conditions, mut values) = conditions_of(&filter);
    values.push(Value::from(cap));
    let sql =
        format!("SELECT COUNT(*) FROM (SELECT 1 AS one FROM job WHERE {conditions} LIMIT ?) AS matching");
    match db.query_one(&sql, values).await? {
        Some(mut row) => row.take(),
        None => Ok(0),
    }
}

fn conditions_of(filter: &JobFilter) -> (String, Vec<Value>) {
    let mut conditions = vec!["1 = 1".to_owned()];
    let mut values = Vec::new();
    if let Some(groups) = &filter.groups {
        if groups.is_empty() {
            conditions.push("1 = 0".to_owned());
        } else {
            conditions.push(format!("group_id IN ({})", placeholders(groups.len())));
            values.extend(groups.iter().copied().map(Value::from));
        }
    }
    if let Some(text) = filter.text.as_ref().filter(|text| !text.is_empty()) {
        conditions.push("INSTR(search_text, ?) > 0".to_owned());
        values.push(Value::from(text.to_lowercase()));
    }
    if let Some(enabled) = filter.enabled {
        conditions.push("enabled = ?".to_owned());
        values.push(Value::from(enabled));
    }
    if let Some(kind) = filter.kind {
        conditions.push("kind = ?".to_owned());
        values.push(Value::from(kind.as_str()));
    }
    if let Some((key, value)) = &filter.label {
        conditions.push(
            "EXISTS (SELECT 1 FROM job_label l WHERE l.job = job.job AND l.label_key = ? AND l.label_value = ?)"
                .to_owned(),
        );
        values.extend(values![key, value]);
    }
    (conditions.join(" AND "), values)
}

/// How many jobs one query of [`jobs_of_shard`] brings: a few megabytes of specs, so that a million jobs load in bounded memory.
const JOBS_A_QUERY: usize = 2_000;

/// In pages along `job_of_shard`; the caller gives it a snapshot.
pub(crate) async fn jobs_of_shard<D: Database>(db: &mut D, number: i64) -> Result<Vec<Job>, StoreError> {
    let sql = format!("{JOB} WHERE shard = ? AND job > ? ORDER BY job LIMIT ?");
    let mut jobs: Vec<Job> = Vec::new();
    loop {
        let after = jobs.last().map_or(0, |job| job.id.get());
        let rows = db.query(&sql, values![number, after, JOBS_A_QUERY]).await?;
        let last_page = rows.len() < JOBS_A_QUERY;
        for row in rows {
            jobs.push(read_job(row)?);
        }
        if last_page {
            return Ok(jobs);
        }
    }
}

/// By primary key, if the job is one of the shard's.
pub(crate) async fn job_of_shard<D: Database>(
    db: &mut D,
    number: i64,
    job: JobId,
) -> Result<Option<Job>, StoreError> {
    let found = db.query_one(&format!("{JOB} WHERE job = ? AND shard = ?"), values![job, number]).await?;
    found.map(read_job).transpose()
}

/// See [`crate::Store::instance`].
pub(crate) async fn instance<D: Database>(db: &mut D) -> Result<String, StoreError> {
    match db.query_one(&format!("SELECT {}", D::INSTANCE), Vec::new()).await? {
        Some(mut row) => row.take(),
        None => Ok(String::new()),
    }
}

/// By primary key.
pub(crate) async fn next_version<D: Database>(
    db: &mut D,
    job: JobId,
) -> Result<Option<JobVersion>, StoreError> {
    let found = db.query_one("SELECT version, instance FROM job WHERE job = ?", values![job]).await?;
    let Some(mut row) = found else { return Ok(None) };
    let (version, edited_on): (JobVersion, String) = (row.take()?, row.take()?);
    let same = edited_on.is_empty() || edited_on == instance(db).await?;
    Ok(Some(if same { version.next() } else { version.beyond_lost() }))
}

/// The version of a job, whatever its shard; where it is deleted, one beyond its last. By primary key in each table.
pub(crate) async fn version_after<D: Database>(db: &mut D, job: JobId) -> Result<JobVersion, StoreError> {
    if let Some(version) = versions_in_force(db, &[job]).await?.get(&job) {
        return Ok(*version);
    }
    let last = job_versions(db, job, 1).await?.first().map(|job| job.version);
    Ok(last.unwrap_or_default().beyond_lost())
}

/// The versions of those of the jobs that are not deleted, by primary key.
pub(crate) async fn versions_in_force<D: Database>(
    db: &mut D,
    jobs: &[JobId],
) -> Result<BTreeMap<JobId, JobVersion>, StoreError> {
    let mut versions = BTreeMap::new();
    // 500 ids keep a statement under 5 kB.
    for some in jobs.chunks(500) {
        let sql = format!("SELECT job, version FROM job WHERE job IN ({})", placeholders(some.len()));
        for mut row in db.query(&sql, some.iter().copied().map(Value::from).collect()).await? {
            versions.insert(row.take()?, row.take()?);
        }
    }
    Ok(versions)
}

/// Along the primary key of `job_version`, backwards.
pub(crate) async fn job_versions<D: Database>(
    db: &mut D,
    job: JobId,
    limit: usize,
) -> Result<Vec<Job>, StoreError> {
    let rows = db
        .query(
            "SELECT job, version, shard_index, spec, effective_from, created_at, updated_at, updated_by
             FROM job_version WHERE job = ? ORDER BY version DESC LIMIT ?",
            values![job, limit],
        )
        .await?;
    rows.into_iter().map(read_job).collect()
}
