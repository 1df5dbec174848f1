//! Task groups and jobs.

use async_trait::async_trait;
use carillon_core::ids::{GroupId, Incarnation, JobId, JobVersion, JobsVersion, RunKey, ShardId};
use carillon_core::job::{Job, JobKind};
use carillon_core::run::{Reason, Run};
use carillon_core::time::Timestamp;

use crate::StoreError;
use crate::shards::ShardRow;

/// A task group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its id; the number was allocated by [`CatalogStore::next_group_number`].
    pub id: GroupId,
    /// A name for people, unique in the cluster, 1 to 128 characters.
    pub name: String,
    /// Free text.
    pub description: String,
    /// How many shards its jobs are spread over, 1 to 256; fixed at creation.
    pub shards: u16,
    /// Grows with each edit.
    pub revision: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was edited last.
    pub updated_at: Timestamp,
}

/// A shard's plan: its row, its jobs and their open runs, all read as of one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The row.
    pub shard: ShardRow,
    /// The jobs, in id order.
    pub jobs: Vec<Job>,
    /// Where only one job was asked for: its version, also where it is of another shard; where it is deleted, one beyond its last.
    pub version: JobVersion,
    /// Their runs that are planned or running, in key order.
    pub open_runs: Vec<Run>,
    /// For jobs with a fixed delay and no open scheduled run: when their newest run became final.
    pub last_finals: Vec<(JobId, Timestamp)>,
}

/// Which jobs to list. Empty fields do not restrict.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobFilter {
    /// Only jobs of these groups.
    pub groups: Option<Vec<GroupId>>,
    /// Only jobs whose name or handler contains this, ignoring case.
    pub text: Option<String>,
    /// Only enabled or only paused ones.
    pub enabled: Option<bool>,
    /// Only this kind.
    pub kind: Option<JobKind>,
    /// Only jobs with this label (key, value).
    pub label: Option<(String, String)>,
}

/// A change of a shard's job set (trigger-protocol: "Edits"), computed by the caller from the shard as it read it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobEdit {
    /// The shard of the job.
    pub shard: ShardId,
    /// The job set version that was read.
    pub seen_jobs_version: JobsVersion,
    /// The watermark that was read: `runs` reach up to it.
    pub seen_planned_until: Timestamp,
    /// What happens to the job.
    pub change: JobChange,
    /// Planned scheduled rows of the job that fire later than this are cancelled or re-planned; planned rows that fired before, or on
    /// request, are re-planned: whoever armed them armed the old version.
    pub at: Timestamp,
    /// The reason of the rows that are cancelled.
    pub cancel_reason: Reason,
    /// The job's fires in `(at, seen_planned_until]` under the new version. Where a planned row with the key exists it keeps its worker
    /// and attempt and takes the new job version with `plan_no + 1`; so does a row that an earlier edit or pause cancelled before it
    /// started, and is planned again. A row that has started or is final for another reason is left alone.
    pub runs: Vec<Run>,
}

/// What happens to a job.
#[derive(Debug, Clone, PartialEq)]
pub enum JobChange {
    /// A new job; its id was allocated by [`CatalogStore::next_job_id`].
    Create(Job),
    /// A new version in place of `seen`; `job.version` is what [`CatalogStore::next_job_version`] says.
    Replace {
        /// The version that was read (`If-Match`).
        seen: JobVersion,
        /// The job to be.
        job: Job,
    },
    /// The job goes; its runs stay in history.
    Delete {
        /// The job.
        job: JobId,
        /// The version that was read (`If-Match`).
        seen: JobVersion,
        /// Who deletes it.
        by: String,
    },
}

/// What became of an edit.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, never in bulk")]
pub enum EditOutcome {
    /// It is committed.
    Edited {
        /// The job set version to be.
        jobs_version: JobsVersion,
        /// The planned rows that were cancelled or re-planned: what a worker may still have armed.
        touched: Vec<TouchedRun>,
    },
    /// Somebody edited or planned the shard in between: read again, compute again.
    ShardChanged,
    /// The job has another version now (its current state), or is to have another one than the edit says, or is gone (none).
    VersionChanged(Option<Job>),
}

/// A planned row that an edit cancelled or re-planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TouchedRun {
    /// The run.
    pub key: RunKey,
    /// Where it was planned.
    pub worker: Option<Incarnation>,
    /// When it was to start.
    pub due_at: Timestamp,
    /// True when the row lives on under the new version.
    pub replanned: bool,
}

/// Task groups and jobs.
#[async_trait]
pub trait CatalogStore {
    /// Allocates a group number of a cluster: 6601, 6602, ... Never given twice.
    async fn next_group_number(&self, cluster: u32) -> Result<u32, StoreError>;

    /// Creates a group and its shard rows (epoch 0, watermark `planned_from`). Conflict when id or name exist.
    async fn create_group(&self, group: &Group, planned_from: Timestamp) -> Result<(), StoreError>;

    /// Replaces name and description where the revision is `group.revision - 1`. False when it is another one.
    async fn update_group(&self, group: &Group) -> Result<bool, StoreError>;

    /// Deletes a group that has no jobs, with its shards, grants and worker tokens. Conflict when it has jobs.
    async fn delete_group(&self, group: GroupId) -> Result<(), StoreError>;

    /// One group.
    async fn group(&self, group: GroupId) -> Result<Option<Group>, StoreError>;

    /// Groups in id order, strictly after `after`, at most `limit`.
    async fn groups(&self, after: Option<GroupId>, limit: usize) -> Result<Vec<Group>, StoreError>;

    /// Allocates a job id: 1, 2, ... Never given twice.
    async fn next_job_id(&self) -> Result<JobId, StoreError>;

    /// Applies an edit in one transaction that takes the shard's row lock: bumps `jobs_version`, changes the job, cancels or re-plans its
    /// planned scheduled rows later than `at`, inserts the new fires. Conflict when the name is taken in the group.
    async fn edit_job(&self, edit: &JobEdit) -> Result<EditOutcome, StoreError>;

    /// The version that the next edit of a job has; none where there is no such job. It is the next number, or where another database
    /// answers than took the job's last edit, [one that no lost edit had](JobVersion::beyond_lost).
    async fn next_job_version(&self, job: JobId) -> Result<Option<JobVersion>, StoreError>;

    /// One job.
    async fn job(&self, job: JobId) -> Result<Option<Job>, StoreError>;

    /// The names of jobs, also of deleted ones; those that never were are left out.
    async fn job_names(&self, jobs: &[JobId]) -> Result<Vec<(JobId, String)>, StoreError>;

    /// A job by its name in a group.
    async fn job_by_name(&self, group: GroupId, name: &str) -> Result<Option<Job>, StoreError>;

    /// Jobs in id order, strictly after `after`, at most `limit`.
    async fn jobs(
        &self,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<Job>, StoreError>;

    /// How many jobs match, counted no further than `cap`.
    async fn count_jobs(&self, filter: &JobFilter, cap: usize) -> Result<usize, StoreError>;

    /// What the shard's holders go by, as of one snapshot; at most `limit` open runs. With `only` one job's part of it. None where there is
    /// no such shard.
    async fn load_plan(
        &self,
        shard: ShardId,
        only: Option<JobId>,
        limit: usize,
    ) -> Result<Option<Plan>, StoreError>;

    /// The versions of a job, newest first, at most `limit`.
    async fn job_versions(&self, job: JobId, limit: usize) -> Result<Vec<Job>, StoreError>;
}
