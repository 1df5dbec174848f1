//! The next fires over all jobs.
//!
//! Every enabled job's schedule is asked for its next fire. Compiled schedules are kept for a moment, so that a page that stays open costs a
//! comparison a job; an edit anywhere in a group forgets them at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use carillon_core::ids::{GroupId, JobId};
use carillon_core::schedule::CompiledSchedule;
use carillon_core::time::Timestamp;
use carillon_store::catalog::JobFilter;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use crate::auth::Access;
use crate::console::Console;
use crate::json::Params;
use crate::operation::{Need, Operations};
use crate::problem::Result;

/// Jobs looked at: some ten megabytes of schedules; an answer for more says that it is not complete.
const MOST_JOBS: usize = 10_000;

/// How long schedules are kept: an edit whose hint is lost shows after this.
const KEPT: Duration = Duration::from_secs(10);

/// Selections of groups kept at a time: one for each kind of permissions that looks at the page at the same moment.
const MOST_SELECTIONS: usize = 20;

/// Fires unless the request says.
const FIRES: usize = 20;

pub(crate) fn enter(operations: &mut Operations) {
    operations.read::<__path_next_fires, _, _>(next_fires, Need::Person);
}

/// Schedules kept for a moment, by the groups they were asked for.
#[derive(Default)]
pub(crate) struct Schedules(Mutex<HashMap<Option<Vec<GroupId>>, Arc<Selection>>>);

struct Selection {
    read_at: Instant,
    complete: bool,
    jobs: Mutex<Vec<Scheduled>>,
}

struct Scheduled {
    job: JobId,
    name: String,
    group: GroupId,
    sentence: String,
    effective_from: Timestamp,
    schedule: CompiledSchedule,
    /// As far as it was looked for; none when there is none.
    next: Option<Timestamp>,
}

impl Schedules {
    /// Forgets everything: some job was edited.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn known(&self, groups: &Option<Vec<GroupId>>) -> Option<Arc<Selection>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(groups).filter(|selection| selection.read_at.elapsed() < KEPT).cloned()
    }

    fn keep(&self, groups: Option<Vec<GroupId>>, selection: &Arc<Selection>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_SELECTIONS {
            kept.clear();
        }
        kept.insert(groups, Arc::clone(selection));
    }
}

/// Which fires.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct NextFiresParams {
    /// Only this task group's.
    #[param(value_type = Option<String>, format = "group-id")]
    group: Option<GroupId>,
    /// How many (default 20).
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
}

/// The next fires.
#[derive(Serialize, ToSchema)]
pub(crate) struct NextFires {
    /// Each enabled job's next fire, soonest first.
    items: Vec<NextFire>,
    /// Whether every job was looked at; false where there are more than 10,000.
    complete: bool,
}

/// A job's next fire.
#[derive(Serialize, ToSchema)]
pub(crate) struct NextFire {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    fire_time: Timestamp,
    /// The job.
    #[schema(value_type = u32)]
    job: JobId,
    /// Its name.
    job_name: String,
    /// Its task group.
    #[schema(value_type = String)]
    group: GroupId,
    /// What its schedule means, in English.
    schedule_sentence: String,
}

/// The next fires of all jobs
///
/// Of the task groups that you may see: each enabled job's next fire, soonest first.
#[utoipa::path(get, path = "/api/v1/fires/next", tag = "jobs", params(NextFiresParams), responses(
    (status = 200, description = "The next fires.", body = NextFires),
))]
async fn next_fires(
    State(console): State<Arc<Console>>,
    access: Access,
    Params(params): Params<NextFiresParams>,
) -> Result<Json<NextFires>> {
    let groups = access.groups(params.group)?;
    let selection = match console.schedules.known(&groups) {
        Some(selection) => selection,
        None => {
            let selection = Arc::new(read(&console, groups.clone()).await?);
            console.schedules.keep(groups, &selection);
            selection
        }
    };
    let now = console.now();
    let mut jobs = selection.jobs.lock().unwrap_or_else(PoisonError::into_inner);
    for job in jobs.iter_mut() {
        if job.next.is_some_and(|next| next <= now) {
            job.next = job.schedule.fires_after(now.max(job.effective_from)).next();
        }
    }
    let mut soonest: Vec<(Timestamp, &Scheduled)> =
        jobs.iter().filter_map(|job| Some((job.next?, job))).collect();
    soonest.sort_by_key(|(next, job)| (*next, job.job));
    let items = soonest.into_iter().take(params.limit.unwrap_or(FIRES)).map(|(next, job)| NextFire {
        fire_time: next,
        job: job.job,
        job_name: job.name.clone(),
        group: job.group,
        schedule_sentence: job.sentence.clone(),
    });
    Ok(Json(NextFires { items: items.collect(), complete: selection.complete }))
}

async fn read(console: &Console, groups: Option<Vec<GroupId>>) -> Result<Selection> {
    let read_at = Instant::now();
    let now = console.now();
    let filter = JobFilter { groups, enabled: Some(true), ..JobFilter::default() };
    let (mut jobs, mut after, mut seen) = (Vec::new(), None, 0);
    let complete = loop {
        let page = console.store.jobs(&filter, after, 1_000).await?;
        seen += page.len();
        let last = page.last().map(|job| job.id);
        let more = page.len() == 1_000;
        for job in page {
            let Ok(schedule) = job.compile() else { continue };
            let Some(next) = schedule.fires_after(now.max(job.effective_from)).next() else { continue };
            jobs.push(Scheduled {
                job: job.id,
                group: job.spec.group,
                sentence: schedule.sentence(),
                effective_from: job.effective_from,
                schedule,
                next: Some(next),
                name: job.spec.name,
            });
        }
        if !more {
            break true;
        }
        if seen >= MOST_JOBS {
            break false;
        }
        after = last;
    };
    Ok(Selection { read_at, complete, jobs: Mutex::new(jobs) })
}
