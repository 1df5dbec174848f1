//! Reading what a shard's holders go by: all of its plan, or one job's part of it. The caller gives a snapshot.

use std::collections::BTreeSet;

use carillon_core::ids::{JobId, JobVersion, ShardId};
use carillon_core::schedule::ScheduleKind;
use carillon_core::time::Span;

use crate::StoreError;
use crate::catalog::Plan;
use crate::database::{Database, number_of};
use crate::sql::{history, jobs, shards};

/// Fires this long before the watermark are old: twice the horizon, so that few runs of older fires are still open.
const OLD: Span = Span::from_secs(60);

pub(crate) async fn plan<D: Database>(
    db: &mut D,
    shard: ShardId,
    only: Option<JobId>,
    limit: usize,
) -> Result<Option<Plan>, StoreError> {
    let Some(row) = shards::shard(db, shard).await? else { return Ok(None) };
    let Some(number) = number_of(db, shard).await? else { return Ok(None) };
    let (jobs, open_runs) = match only {
        None => (jobs::jobs_of_shard(db, number).await?, history::open_runs(db, shard, limit).await?),
        Some(job) => {
            let recent = row.planned_until.saturating_sub(OLD);
            let open_runs = history::open_runs_of_job(db, number, job, recent, limit).await?;
            (jobs::job_of_shard(db, number, job).await?.into_iter().collect(), open_runs)
        }
    };
    let followed: BTreeSet<JobId> =
        open_runs.iter().filter(|run| run.key.ordinal == 0).map(|run| run.key.job).collect();
    let mut last_finals = Vec::new();
    for job in &jobs {
        let fixed_delay = matches!(job.spec.schedule.kind, ScheduleKind::FixedDelay { .. });
        if fixed_delay
            && !followed.contains(&job.id)
            && let Some(at) = history::last_final(db, job.id).await?
        {
            last_finals.push((job.id, at));
        }
    }
    let version = match (only, jobs.first()) {
        (Some(_), Some(job)) => job.version,
        (Some(job), None) => jobs::version_after(db, job).await?,
        (None, _) => JobVersion::default(),
    };
    Ok(Some(Plan { shard: row, jobs, version, open_runs, last_finals }))
}
