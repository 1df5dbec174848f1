//! What answers show of task groups and jobs: the core's values as JSON.

use std::collections::BTreeSet;

use carillon_core::ids::{GroupId, JobId, RunKey, ShardId};
use carillon_core::job::{Job, JobSpec};
use carillon_core::time::{Span, Timestamp};
use carillon_store::catalog::Group;
use carillon_store::runs::Outcome;
use serde::Serialize;
use utoipa::ToSchema;

use super::schemas;

/// How many next fire times an answer about a job tells.
const NEXT_FIRES: usize = 5;

/// A task group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupView {
    /// `cluster-servergroup-backups-number`.
    #[schema(value_type = String, example = "101-1-2-6601")]
    pub(crate) id: GroupId,
    /// The cluster.
    pub(crate) cluster: u32,
    /// The pool of servers that holds the group.
    pub(crate) server_group: u32,
    /// How many servers hold each shard.
    pub(crate) backups: u32,
    /// The name for people.
    pub(crate) name: String,
    /// Free text.
    pub(crate) description: String,
    /// How many shards its jobs are spread over.
    pub(crate) shards: u16,
    /// Grows with each edit: the `ETag`.
    pub(crate) revision: u32,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
    /// When it was edited last.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) updated_at: Timestamp,
    /// How many days its final runs are kept; absent where it goes by the consoles' setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_days: Option<u32>,
    /// What lives in it now, where a list was asked for with `include=counts`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) counts: Option<GroupCounts>,
    /// What a person should know, such as too few live servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

/// What lives in a task group, as the servers say.
#[derive(Debug, Default, Clone, Serialize, ToSchema)]
pub(crate) struct GroupCounts {
    /// Its jobs; less than all while a shard has no live owner.
    pub(crate) jobs: u64,
    /// Planned and running runs.
    pub(crate) open_runs: u64,
    /// Connected workers, each counted once.
    pub(crate) workers: u64,
    /// Shards that have a live owner.
    pub(crate) shards_owned: u64,
    /// The machine rooms of the owners.
    pub(crate) owner_rooms: BTreeSet<String>,
}

impl GroupView {
    pub(crate) fn of(group: Group) -> Self {
        Self {
            keep_days: None,
            counts: None,
            id: group.id,
            cluster: group.id.cluster(),
            server_group: group.id.server_group(),
            backups: group.id.backups(),
            name: group.name,
            description: group.description,
            shards: group.shards,
            revision: group.revision,
            created_at: group.created_at,
            updated_at: group.updated_at,
            warnings: Vec::new(),
        }
    }
}

/// A job as it is in force.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobView {
    /// The job's number.
    #[schema(value_type = u32)]
    pub(crate) id: JobId,
    /// Grows with each edit: the `ETag`.
    pub(crate) revision: u32,
    /// The shard that owns it.
    #[schema(value_type = String, example = "101-1-2-6601.0")]
    pub(crate) shard: ShardId,
    /// What the user wrote, with every default filled in.
    #[serde(flatten)]
    #[schema(value_type = schemas::JobSpec)]
    pub(crate) spec: JobSpec,
    /// What the schedule means, in English.
    pub(crate) schedule_sentence: String,
    /// The next fire times; empty while paused and for schedules that no clock drives.
    #[schema(value_type = Vec<String>)]
    pub(crate) next_fires: Vec<Timestamp>,
    /// Only later fires belong to this version.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) effective_from: Timestamp,
    /// When the job was created.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) created_at: Timestamp,
    /// When it was edited last.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) updated_at: Timestamp,
    /// Who edited it last.
    pub(crate) updated_by: String,
    /// Its last runs, newest last, where a list was asked for with `include=outcomes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcomes: Option<Vec<OutcomeView>>,
}

/// How one of a job's last runs stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OutcomeView {
    /// The run.
    #[schema(value_type = String)]
    pub(crate) run: RunKey,
    /// Its state.
    #[schema(value_type = schemas::RunState)]
    pub(crate) state: &'static str,
    /// When it was due.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) fire_time: Timestamp,
    /// How late its handler started.
    #[schema(value_type = Option<String>)]
    pub(crate) lateness: Option<Span>,
}

impl OutcomeView {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        Self {
            run: outcome.key,
            state: outcome.state.as_str(),
            fire_time: outcome.key.fire_time,
            lateness: outcome.lateness(),
        }
    }
}

/// The fields of an answer about a job that nobody writes: ignored where a whole job is sent back.
pub(crate) const READ_ONLY: [&str; 12] = [
    "outcomes",
    "id",
    "revision",
    "shard",
    "schedule_sentence",
    "next_fires",
    "effective_from",
    "created_at",
    "updated_at",
    "updated_by",
    "may_still_start",
    "warnings",
];

impl JobView {
    pub(crate) fn of(job: Job, now: Timestamp) -> Self {
        // A stored schedule compiles unless its time zone left the data; then there is nothing to tell about it.
        let compiled = job.compile().ok();
        let sentence = compiled.as_ref().map(|schedule| schedule.sentence()).unwrap_or_default();
        let fires = compiled
            .filter(|_| job.spec.enabled)
            .map(|schedule| schedule.fires_after(now.max(job.effective_from)).take(NEXT_FIRES).collect());
        Self {
            id: job.id,
            revision: job.version.get(),
            shard: ShardId::new(job.spec.group, job.shard_index),
            schedule_sentence: sentence,
            next_fires: fires.unwrap_or_default(),
            effective_from: job.effective_from,
            created_at: job.created_at,
            updated_at: job.updated_at,
            updated_by: job.updated_by,
            spec: job.spec,
            outcomes: None,
        }
    }
}

/// A planned run that an edit withdrew but that may start all the same.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MayStart {
    /// The run.
    #[schema(value_type = String)]
    pub(crate) run_id: RunKey,
    /// When it was due.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) fire_time: Timestamp,
}

impl MayStart {
    pub(crate) fn of(key: RunKey) -> Self {
        Self { run_id: key, fire_time: key.fire_time }
    }
}
