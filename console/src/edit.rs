//! The console's part of an edit (trigger-protocol: "Edits"): read the shard, let `core` compute the plan, commit both in one transaction,
//! tell the servers, and learn what may still start.

use std::collections::BTreeSet;
use std::time::Duration;

use carillon_coordination::{Member, Topic};
use carillon_core::edit::{SeenShard, edit_plan};
use carillon_core::ids::{JobId, JobVersion, JobsVersion, RunKey, ShardId};
use carillon_core::job::{Job, JobSpec};
use carillon_core::run::{Run, RunState};
use carillon_core::schedule::ScheduleKind;
use carillon_core::time::{Span, Timestamp};
use carillon_store::catalog::{EditOutcome, JobChange, JobEdit, TouchedRun};
use carillon_store::runs::RunFilter;
use carillon_store::shards::ShardRow;
use futures::future::join_all;
use tonic::Status;

use crate::console::Console;
use crate::problem::{Problem, Result, chain};
use crate::servers::calls::owner_named_by;

/// A shard is planned every few seconds and edited by people: an edit that loses this often meets a fault, not a rival.
const MOST_TRIES: usize = 10;

/// How long an edit waits for the hint's way to the coordinator beside its own way to the servers.
const HINT_PATIENCE: Duration = Duration::from_millis(250);

/// What a fixed delay has waiting at most: one row, and a few more after faults.
const MOST_WAITING: usize = 100;

/// Pause before an edit whose answer was lost is read back: a commit that is still under way ends meanwhile, and a database that comes back
/// needs a moment.
const AFTER_DOUBT: Duration = Duration::from_millis(100);

/// Runs of a job looked through for those that an edit touched: more are not planned at a time.
const MOST_TOUCHED: usize = 1_000;

/// What is to become of a job.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// It is new.
    Create(Box<Job>),
    /// It gets another spec. `seen` is the version its editor read; none to change whichever is in force.
    Replace { job: JobId, seen: Option<JobVersion>, spec: Box<JobSpec> },
    /// It is paused or resumed, whichever version is in force.
    Enable { job: JobId, enabled: bool },
    /// It goes.
    Delete { job: JobId, seen: Option<JobVersion> },
}

/// A committed edit.
#[derive(Debug)]
pub(crate) struct Edited {
    /// The job before; none for a new one.
    pub(crate) before: Option<Job>,
    /// The job after; none for a deleted one.
    pub(crate) after: Option<Job>,
    /// Runs of the old version that may start all the same.
    pub(crate) may_still_start: Vec<RunKey>,
}

/// An edit that may have been committed.
struct Doubtful {
    job: JobId,
    before: Option<Job>,
    after: Option<Job>,
    at: Timestamp,
}

impl Doubtful {
    /// Whether the job is as this edit wanted it. A deletion that somebody else was quicker with is one all the same.
    async fn is_in_force(&self, console: &Console) -> Result<bool> {
        Ok(console.store.job(self.job).await? == self.after)
    }
}

/// The runs that a committed edit may have touched, where its answer was lost: those that it cancelled or planned anew, and perhaps some that
/// were cancelled at the same time for another reason, whose servers then answer that they do not start.
async fn touched_by(console: &Console, edit: &Doubtful) -> Result<Vec<TouchedRun>> {
    let filter = RunFilter {
        job: Some(edit.job),
        states: vec![RunState::Planned, RunState::Cancelled],
        from: Some(edit.at.saturating_sub(console.config.horizon)),
        ..RunFilter::default()
    };
    let runs = console.store.list_runs(&filter, None, MOST_TOUCHED).await?;
    let touched = |run: Run| {
        let replanned = run.state == RunState::Planned;
        TouchedRun { key: run.key, worker: run.worker, due_at: run.due_at, replanned }
    };
    // What belongs to no earlier version, nobody can have armed under one.
    let before = edit.before.as_ref().map(|job| job.version);
    let armed = |run: &Run| before.is_some() && (run.worker.is_some() || run.state == RunState::Planned);
    Ok(runs.into_iter().filter(armed).map(touched).collect())
}

/// Edits a job of `shard`.
///
/// An edit whose commit was not answered is read back: it is in force, or it is tried again.
pub(crate) async fn edit(console: &Console, shard: ShardId, wish: &Wish, by: &str) -> Result<Edited> {
    let mut in_doubt = false;
    let edited = try_edit(console, shard, wish, by, &mut in_doubt).await;
    // That a later try did nothing says nothing of the one whose answer never came: its commit may still wait in the database.
    edited.map_err(|problem| if in_doubt { problem.of_one_in_doubt() } else { problem })
}

async fn try_edit(
    console: &Console,
    shard: ShardId,
    wish: &Wish,
    by: &str,
    in_doubt: &mut bool,
) -> Result<Edited> {
    let mut doubtful: Option<Doubtful> = None;
    let mut turn = None;
    for _ in 0..MOST_TRIES {
        let at = console.now();
        let row = console.store.shard(shard).await?.ok_or_else(|| Problem::not_found("shard", shard))?;
        if let Some(tried) = doubtful.take()
            && tried.is_in_force(console).await?
        {
            drop(turn.take());
            let touched = touched_by(console, &tried).await?;
            let may_still_start = tell(console, &row, row.jobs_version, tried.job, touched, at).await;
            return Ok(Edited { before: tried.before, after: tried.after, may_still_start });
        }
        let (change, before, after) = change(console, wish, by, at).await?;
        let Some(change) = change else {
            // Nothing to do: it is as wished.
            return Ok(Edited { before, after, may_still_start: Vec::new() });
        };
        let seen = SeenShard { id: shard, epoch: row.epoch, planned_until: row.planned_until };
        let planned = waiting_runs(console, before.as_ref(), after.as_ref(), at).await?;
        let plan = edit_plan(before.as_ref(), after.as_ref(), seen, &planned, at)
            .map_err(|error| Problem::field(format!("schedule.{}", error.field()), error.to_string()))?;
        let edit = JobEdit {
            shard,
            seen_jobs_version: row.jobs_version,
            seen_planned_until: row.planned_until,
            change,
            at,
            cancel_reason: plan.cancel_reason,
            runs: plan.runs,
        };
        let job = before.as_ref().or(after.as_ref()).map(|job| job.id).unwrap_or_default();
        let outcome = match console.store.edit_job(&edit).await {
            Err(error) if error.is_unknown() => {
                tracing::warn!(%job, error = %chain(&error), "whether an edit was committed is not known; it is read back");
                *in_doubt = true;
                drop(turn.take());
                doubtful = Some(Doubtful { job, before, after, at });
                tokio::time::sleep(AFTER_DOUBT).await;
                continue;
            }
            outcome => outcome?,
        };
        match outcome {
            EditOutcome::Edited { jobs_version, touched } => {
                drop(turn.take());
                let may_still_start = tell(console, &row, jobs_version, job, touched, at).await;
                return Ok(Edited { before, after, may_still_start });
            }
            // Planned or edited in between, or another version came: read again; what `change` then finds decides.
            EditOutcome::ShardChanged | EditOutcome::VersionChanged(_) => {
                // Many at once would go on to outdate each other: those that met another take turns from here on.
                if turn.is_none() {
                    turn = console.contended_edits.acquire().await.ok();
                }
            }
        }
    }
    Err(Problem::unavailable(
        "shard_busy",
        "the shard changed all the time while it was edited; try again",
        Span::SECOND,
    ))
}

/// The change to store, with the job before and after; none when it is as wished already.
async fn change(
    console: &Console,
    wish: &Wish,
    by: &str,
    at: Timestamp,
) -> Result<(Option<JobChange>, Option<Job>, Option<Job>)> {
    let (id, seen) = match wish {
        Wish::Create(job) => {
            let job = Job {
                effective_from: at,
                created_at: at,
                updated_at: at,
                updated_by: by.to_owned(),
                ..(**job).clone()
            };
            return Ok((Some(JobChange::Create(job.clone())), None, Some(job)));
        }
        Wish::Replace { job, seen, .. } | Wish::Delete { job, seen } => (*job, *seen),
        Wish::Enable { job, .. } => (*job, None),
    };
    let current = console.store.job(id).await?.ok_or_else(|| Problem::not_found("job", id))?;
    if seen.is_some_and(|seen| seen != current.version) {
        return Err(changed_meanwhile(&current));
    }
    let spec = match wish {
        Wish::Delete { .. } => {
            let change = JobChange::Delete { job: id, seen: current.version, by: by.to_owned() };
            return Ok((Some(change), Some(current), None));
        }
        Wish::Enable { enabled, .. } => JobSpec { enabled: *enabled, ..current.spec.clone() },
        Wish::Replace { spec, .. } => (**spec).clone(),
        Wish::Create(_) => unreachable!("returned above"),
    };
    if spec == current.spec {
        return Ok((None, Some(current.clone()), Some(current)));
    }
    let Some(version) = console.store.next_job_version(id).await? else {
        return Err(Problem::not_found("job", id));
    };
    let job = Job {
        version,
        spec,
        effective_from: at,
        updated_at: at,
        updated_by: by.to_owned(),
        ..current.clone()
    };
    let change = JobChange::Replace { seen: current.version, job: job.clone() };
    Ok((Some(change), Some(current), Some(job)))
}

/// 412: the version in force is not the one that was read.
fn changed_meanwhile(current: &Job) -> Problem {
    Problem::new(
        axum::http::StatusCode::PRECONDITION_FAILED,
        "changed_meanwhile",
        format!(
            "{} changed the job at {}; it is at revision {} now: read it again",
            current.updated_by, current.updated_at, current.version
        ),
    )
    .with("revision", current.version.get())
    .with("changed_by", current.updated_by.clone())
    .with("changed_at", current.updated_at.to_string())
    .header(axum::http::header::ETAG, &format!("\"{}\"", current.version))
}

/// The planned rows of a fixed delay that an edit keeps; every other schedule gives its fires itself.
async fn waiting_runs(
    console: &Console,
    before: Option<&Job>,
    after: Option<&Job>,
    at: Timestamp,
) -> Result<Vec<Run>> {
    let (Some(before), Some(after)) = (before, after) else { return Ok(Vec::new()) };
    let kept = before.spec.schedule == after.spec.schedule
        && matches!(after.spec.schedule.kind, ScheduleKind::FixedDelay { .. });
    if !kept {
        return Ok(Vec::new());
    }
    let filter = RunFilter {
        job: Some(before.id),
        states: vec![RunState::Planned],
        from: Some(at),
        scheduled_only: true,
        ..RunFilter::default()
    };
    Ok(console.store.list_runs(&filter, None, MOST_WAITING).await?)
}

/// Tells the shard's servers of the edit; returns which of the touched runs may start all the same.
///
/// The owner's word counts: it has the workers' proofs. A holder that could not be told may still arm from the plan it keeps, so that without
/// every holder's answer all touched runs within the horizon may start.
async fn tell(
    console: &Console,
    shard: &ShardRow,
    jobs_version: JobsVersion,
    job: JobId,
    touched: Vec<TouchedRun>,
    at: Timestamp,
) -> Vec<RunKey> {
    console.schedules.forget();
    // A hint is worth no waiting: while the coordinator hangs the owner is told all the same, before a run of the old version is due.
    let asked = ask_holders(console, shard, jobs_version, job, touched, at);
    let hinted = tokio::time::timeout(HINT_PATIENCE, hint(console, shard.id));
    tokio::join!(asked, hinted).0
}

/// Asks the shard's holders to withdraw what an edit touched.
async fn ask_holders(
    console: &Console,
    shard: &ShardRow,
    jobs_version: JobsVersion,
    job: JobId,
    touched: Vec<TouchedRun>,
    at: Timestamp,
) -> Vec<RunKey> {
    let keys: Vec<RunKey> = touched.iter().map(|run| run.key).collect();
    let within_horizon = || {
        let end = at + console.config.horizon;
        touched.iter().filter(|run| run.due_at <= end).map(|run| run.key).collect::<Vec<_>>()
    };
    let Ok(known) = console.servers.perhaps_live().await else { return within_horizon() };
    let is_holder = |member: &&Member| {
        let named = |id: &carillon_core::ids::ServerId| id.as_str() == member.id.as_str();
        shard.holders.iter().any(named) || shard.owner.as_ref().is_some_and(named)
    };
    let holders: Vec<&Member> = known.live.iter().chain(&known.missing).filter(is_holder).collect();
    let calls = holders.iter().map(|server| async {
        let answer = console.servers.job_changed(&console.metrics, server, shard.id, jobs_version, job, &keys).await;
        if let Err(status) = &answer
            && owner_named_by(status).is_none()
        {
            tracing::warn!(server = %server.id, shard = %shard.id, error = %chain(status), "could not tell a server of an edit");
        }
        (server.id.as_str(), answer)
    });
    let answers = join_all(calls).await;
    let named: BTreeSet<&str> =
        shard.holders.iter().chain(shard.owner.as_ref()).map(carillon_core::ids::ServerId::as_str).collect();
    let owner = shard.owner.as_ref().map(carillon_core::ids::ServerId::as_str);
    // A standby keeps no edit open: what it may have armed the owner withdraws at the workers, whoever armed it.
    let knows = |answer: &Result<Vec<RunKey>, Status>| match answer {
        Ok(_) => true,
        Err(status) => owner.is_some() && owner_named_by(status) == owner,
    };
    let everyone_knows = answers.len() == named.len() && answers.iter().all(|(_, answer)| knows(answer));
    match answers.into_iter().find(|(id, _)| Some(*id) == owner) {
        Some((_, Ok(may_start))) if everyone_knows => may_start,
        // Nobody owned the shard, so nobody armed anything.
        None if owner.is_none() && everyone_knows => Vec::new(),
        _ => within_horizon(),
    }
}

/// Wakes whoever follows the shard; a hint, so that its failure changes nothing.
async fn hint(console: &Console, shard: ShardId) {
    if let Ok(topic) = Topic::new(format!("shard:{shard}"))
        && let Err(error) = console.coordination.notify(&topic).await
    {
        tracing::debug!(%shard, error = %chain(&error), "could not send a hint");
    }
}
