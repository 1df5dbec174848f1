//! Task groups and jobs, for every backend.

use std::sync::Arc;

use async_trait::async_trait;
use carillon_core::ids::{GroupId, JobId, JobVersion, ShardId};
use carillon_core::job::Job;
use carillon_core::time::Timestamp;

use crate::StoreError;
use crate::catalog::{CatalogStore, EditOutcome, Group, JobEdit, JobFilter, Plan};
use crate::database::Backend;
use crate::sql::{edits, groups, jobs, load};

#[async_trait]
impl<B: Backend> CatalogStore for B {
    async fn next_group_number(&self, cluster: u32) -> Result<u32, StoreError> {
        self.write("allocate a group number", move |db| Box::pin(groups::next_group_number(db, cluster)))
            .await
    }

    async fn create_group(&self, group: &Group, planned_from: Timestamp) -> Result<(), StoreError> {
        let group = Arc::new(group.clone());
        self.write("create the task group", move |db| {
            Box::pin(groups::create_group(db, group.clone(), planned_from))
        })
        .await
    }

    async fn update_group(&self, group: &Group) -> Result<bool, StoreError> {
        let group = Arc::new(group.clone());
        self.write("change the task group", move |db| Box::pin(groups::update_group(db, group.clone()))).await
    }

    async fn delete_group(&self, group: GroupId) -> Result<(), StoreError> {
        self.write("delete the task group", move |db| Box::pin(groups::delete_group(db, group))).await
    }

    async fn group(&self, group: GroupId) -> Result<Option<Group>, StoreError> {
        self.read("read the task group", move |db| Box::pin(groups::group(db, group))).await
    }

    async fn groups(&self, after: Option<GroupId>, limit: usize) -> Result<Vec<Group>, StoreError> {
        self.read("list the task groups", move |db| Box::pin(groups::groups(db, after, limit))).await
    }

    async fn next_job_id(&self) -> Result<JobId, StoreError> {
        self.write("allocate a job id", move |db| Box::pin(jobs::next_job_id(db))).await
    }

    async fn edit_job(&self, edit: &JobEdit) -> Result<EditOutcome, StoreError> {
        let edit = Arc::new(edit.clone());
        self.write("edit the job", move |db| Box::pin(edits::edit_job(db, edit.clone()))).await
    }

    async fn next_job_version(&self, job: JobId) -> Result<Option<JobVersion>, StoreError> {
        self.read("read the next version of the job", move |db| Box::pin(jobs::next_version(db, job))).await
    }

    async fn job(&self, job: JobId) -> Result<Option<Job>, StoreError> {
        self.read("read the job", move |db| Box::pin(jobs::job(db, job))).await
    }

    async fn job_names(&self, jobs: &[JobId]) -> Result<Vec<(JobId, String)>, StoreError> {
        let ids: Arc<[JobId]> = jobs.into();
        self.read("read the jobs' names", move |db| Box::pin(jobs::job_names(db, ids.clone()))).await
    }

    async fn job_by_name(&self, group: GroupId, name: &str) -> Result<Option<Job>, StoreError> {
        let name: Arc<str> = name.into();
        self.read("read the job", move |db| Box::pin(jobs::job_by_name(db, group, name.clone()))).await
    }

    async fn jobs(
        &self,
        filter: &JobFilter,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Vec<Job>, StoreError> {
        let filter = Arc::new(filter.clone());
        self.read("list the jobs", move |db| Box::pin(jobs::jobs(db, filter.clone(), after, limit))).await
    }

    async fn count_jobs(&self, filter: &JobFilter, cap: usize) -> Result<usize, StoreError> {
        let filter = Arc::new(filter.clone());
        self.read("count the jobs", move |db| Box::pin(jobs::count_jobs(db, filter.clone(), cap))).await
    }

    async fn load_plan(
        &self,
        shard: ShardId,
        only: Option<JobId>,
        limit: usize,
    ) -> Result<Option<Plan>, StoreError> {
        self.snapshot("load the plan", move |db| Box::pin(load::plan(db, shard, only, limit))).await
    }

    async fn job_versions(&self, job: JobId, limit: usize) -> Result<Vec<Job>, StoreError> {
        self.read("read the job's versions", move |db| Box::pin(jobs::job_versions(db, job, limit))).await
    }
}
