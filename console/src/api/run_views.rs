//! What answers show of runs, with the names that people know: of their jobs and workers.

use std::collections::{BTreeSet, HashMap};

use carillon_core::ids::{GroupId, Incarnation, JobId, RunKey, ShardId};
use carillon_core::run::{Attempt, Run};
use carillon_core::time::{Span, Timestamp};
use carillon_proto::v1;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::schemas;
use crate::console::Console;
use crate::problem::Result;

/// The names a page of runs needs.
pub(crate) struct Names {
    jobs: HashMap<JobId, String>,
    workers: HashMap<u64, String>,
}

impl Names {
    /// Looks up the names of the jobs and workers of `runs`, and of further workers.
    pub(crate) async fn of(console: &Console, runs: &[Run]) -> Result<Self> {
        let ids: BTreeSet<JobId> = runs.iter().map(|run| run.key.job).collect();
        let ids: Vec<JobId> = ids.into_iter().collect();
        let jobs = console.store.job_names(&ids).await?.into_iter().collect();
        let workers = if runs.iter().any(|run| run.worker.is_some()) {
            console.servers.worker_names().await
        } else {
            HashMap::new()
        };
        Ok(Self { jobs, workers })
    }

    /// A worker with its name, where that is known.
    pub(crate) fn worker(&self, incarnation: Option<Incarnation>) -> Option<WorkerRef> {
        let incarnation = incarnation?;
        let name = self.workers.get(&incarnation.get()).cloned();
        Some(WorkerRef { incarnation: incarnation.to_string(), name })
    }

    /// A run as lists show it.
    pub(crate) fn view(&self, run: &Run) -> RunView {
        let duration = run.started_at.zip(run.finished_at).map(|(started, finished)| finished.since(started));
        RunView {
            id: run.key,
            job: run.key.job,
            job_name: self.jobs.get(&run.key.job).cloned(),
            job_version: run.job_version.get(),
            group: run.shard.group(),
            trigger: run.trigger.as_str(),
            state: run.state.as_str(),
            attempt: run.attempt.get(),
            fire_time: run.key.fire_time,
            due_at: run.due_at,
            start_by: run.start_by,
            started_at: run.started_at,
            finished_at: run.finished_at,
            lateness: run.lateness(),
            duration,
            worker: self.worker(run.worker),
            reason: run.reason.as_ref().map(ReasonView::of),
            trace_id: run.trace_id().to_string(),
        }
    }
}

/// Why a run is where it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReasonView {
    /// A stable word.
    #[schema(value_type = schemas::ReasonCode)]
    pub(crate) code: &'static str,
    /// A sentence.
    pub(crate) detail: String,
}

impl ReasonView {
    pub(crate) fn of(reason: &carillon_core::run::Reason) -> Self {
        Self { code: reason.code.as_str(), detail: reason.detail.clone() }
    }
}

/// A run as lists show it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunView {
    /// Short, sortable, URL-safe.
    #[schema(value_type = String, example = "01jd4xk3r0000007")]
    pub(crate) id: RunKey,
    /// The job that fired.
    #[schema(value_type = u32)]
    pub(crate) job: JobId,
    /// The job's name, or the one it had when it was deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job_name: Option<String>,
    /// The version of the job it belongs to.
    pub(crate) job_version: u32,
    /// The task group.
    #[schema(value_type = String)]
    pub(crate) group: GroupId,
    /// What made it: `schedule`, `api`, `retry` or `misfire`.
    pub(crate) trigger: &'static str,
    /// Where it is in its life.
    #[schema(value_type = schemas::RunState)]
    pub(crate) state: &'static str,
    /// The current attempt, from 1.
    pub(crate) attempt: u32,
    /// The nominal instant it was due.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) fire_time: Timestamp,
    /// When the current attempt is to start: the fire time with jitter, or the end of a backoff.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) due_at: Timestamp,
    /// The current attempt never starts later.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) start_by: Timestamp,
    /// When its handler started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) started_at: Option<Timestamp>,
    /// When it became final, or the current attempt ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) finished_at: Option<Timestamp>,
    /// How late the handler started.
    #[schema(value_type = Option<String>, example = "3ms")]
    pub(crate) lateness: Option<Span>,
    /// How long it ran.
    #[schema(value_type = Option<String>, example = "1s250ms")]
    pub(crate) duration: Option<Span>,
    /// The worker it is planned at or ran at: one start of its process.
    pub(crate) worker: Option<WorkerRef>,
    /// Why it is where it is.
    pub(crate) reason: Option<ReasonView>,
    /// From the trigger to the handler's log lines.
    pub(crate) trace_id: String,
}

/// A worker of a run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct WorkerRef {
    /// One start of the worker's process.
    pub(crate) incarnation: String,
    /// Its name, while it is connected or was lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

/// A run with all there is to know.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunDetail {
    /// What lists show.
    #[serde(flatten)]
    pub(crate) run: RunView,
    /// The shard whose owner planned it.
    #[schema(value_type = String)]
    pub(crate) shard: ShardId,
    /// The epoch it was planned under last.
    #[schema(value_type = String)]
    pub(crate) epoch: String,
    /// Grows with every change of the worker.
    pub(crate) plan_no: u32,
    /// What the handler was given.
    pub(crate) params: Value,
    /// Whether the params are this run's own, not the job's.
    pub(crate) own_params: bool,
    /// `simple` or `parallel`; absent where the job's version is not known any longer.
    pub(crate) kind: Option<&'static str>,
    /// How many attempts the job's version allows; absent where that version is not known any longer.
    pub(crate) max_attempts: Option<u32>,
    /// What the handler returned.
    pub(crate) result: Option<Value>,
    /// Every attempt, the current one last.
    pub(crate) attempts: Vec<AttemptView>,
    /// What happened, in order.
    pub(crate) timeline: Vec<TimelineEntry>,
}

/// One try of a run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct AttemptView {
    /// From 1.
    pub(crate) attempt: u32,
    /// Whether it is the current one, whose outcome is the run's state.
    pub(crate) current: bool,
    /// Where.
    pub(crate) worker: Option<WorkerRef>,
    /// When it was to start.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) due_at: Timestamp,
    /// When it started, if that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) finished_at: Option<Timestamp>,
    /// Why it ended so.
    #[schema(value_type = Option<schemas::ReasonCode>)]
    pub(crate) reason: Option<String>,
    /// The same as a sentence.
    pub(crate) detail: Option<String>,
}

impl AttemptView {
    pub(crate) fn ended(attempt: &Attempt, worker: Option<WorkerRef>) -> Self {
        Self {
            attempt: attempt.attempt.get(),
            current: false,
            worker,
            due_at: attempt.due_at,
            started_at: attempt.started_at,
            finished_at: Some(attempt.finished_at),
            reason: Some(attempt.reason.code.as_str().to_owned()),
            detail: Some(attempt.reason.detail.clone()),
        }
    }

    pub(crate) fn current(run: &Run, worker: Option<WorkerRef>) -> Self {
        Self {
            attempt: run.attempt.get(),
            current: true,
            worker,
            due_at: run.due_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            reason: run.reason.as_ref().map(|reason| reason.code.as_str().to_owned()),
            detail: run.reason.as_ref().map(|reason| reason.detail.clone()),
        }
    }
}

/// One event of a run's life.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimelineEntry {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) at: Timestamp,
    /// `armed`, `due`, `started` or `ended`. When an attempt was armed is known as long as the server that did it remembers.
    pub(crate) event: &'static str,
    /// Of which attempt.
    pub(crate) attempt: u32,
    /// What a person wants to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

/// What happened in the attempts, in order; and which servers armed them.
pub(crate) fn timeline(attempts: &[AttemptView], arms: &[(String, v1::Armed)]) -> Vec<TimelineEntry> {
    let mut entries = Vec::new();
    for tried in attempts {
        let attempt = tried.attempt;
        let mut push = |at: Option<Timestamp>, event, detail: Option<String>| {
            entries.extend(at.map(|at| TimelineEntry { at, event, attempt, detail }));
        };
        for (server, armed) in arms.iter().filter(|(_, armed)| armed.attempt == attempt) {
            push(Some(Timestamp::from_millis(armed.at_ms)), "armed", Some(server.clone()));
        }
        push(Some(tried.due_at), "due", None);
        push(
            tried.started_at,
            "started",
            tried
                .worker
                .as_ref()
                .map(|worker| worker.name.clone().unwrap_or_else(|| worker.incarnation.clone())),
        );
        push(tried.finished_at, "ended", tried.detail.clone());
    }
    entries.sort_by_key(|entry| (entry.attempt, entry.at));
    entries
}
