//! A store that fails as it is told: before it does what it was asked, or after.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use carillon_core::ids::{AttemptNo, Epoch, GroupId, JobId, JobVersion, RunKey, ServerId, ShardId};
use carillon_core::job::Job;
use carillon_core::parallel::{MapChunk, MapHeader, MapPhase};
use carillon_core::run::{Attempt, Run, RunState};
use carillon_core::time::{Span, Timestamp};
use carillon_store::accounts::{AuditEntry, AuditFilter, Grant, Session, Token, User};
use carillon_store::catalog::{EditOutcome, Group, JobEdit, JobFilter, Plan};
use carillon_store::logs::LogChunk;
use carillon_store::observed::{Rollup, RollupSpan};
use carillon_store::runs::{Advance, Insertion, Move, Outcome, RunFilter, Slice, SliceOutcome, TriggeredRun};
use carillon_store::shards::{ClaimNote, HandOver, ShardRow};
use carillon_store::subtasks::{MapCheckpoint, SubtaskBatch, SubtaskFailure};
use carillon_store::{
    AccountStore, CatalogStore, LogStore, MigrationReport, ObservedStore, RunStore, ShardStore, SharedStore,
    Store, StoreError, SubtaskStore,
};

/// How one call goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lost {
    /// The request never arrives.
    Request,
    /// It is carried out, and the answer never arrives.
    Answer,
    /// It is refused, since another one holds what it needs.
    #[allow(dead_code, reason = "the console's tests use it")]
    Lock,
}

/// Another store behind faults.
pub(crate) struct Faulty {
    inner: SharedStore,
    down: AtomicBool,
    lost: Mutex<HashMap<&'static str, VecDeque<Lost>>>,
    forgotten: Mutex<HashMap<&'static str, Box<dyn Any + Send>>>,
    held: Mutex<HashMap<&'static str, Arc<Gate>>>,
    /// Which database it says that it is.
    instance: Mutex<String>,
}

/// Where calls wait.
struct Gate {
    open: tokio::sync::Semaphore,
    waiting: AtomicUsize,
}

impl Faulty {
    pub(crate) fn new(inner: SharedStore) -> Self {
        Self {
            inner,
            down: AtomicBool::new(false),
            lost: Mutex::default(),
            forgotten: Mutex::default(),
            held: Mutex::default(),
            instance: Mutex::default(),
        }
    }

    /// Nothing arrives until it is up again.
    /// Another database answers from now on.
    pub(crate) fn answer_as(&self, instance: &str) {
        instance.clone_into(&mut self.instance.lock().unwrap());
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// The next calls of `method` go wrong so, one after the other.
    pub(crate) fn lose(&self, method: &'static str, lost: &[Lost]) {
        self.lost.lock().unwrap().entry(method).or_default().extend(lost);
    }

    /// The next call of `method` gets `answer`, as if it was carried out: what a failover to a replica makes of a commit that it missed.
    #[allow(dead_code, reason = "the console's tests do not use it")]
    pub(crate) fn forget<T: Send + 'static>(&self, method: &'static str, answer: T) {
        self.forgotten.lock().unwrap().insert(method, Box::new(answer));
    }

    /// Whether such a call is still to come.
    #[allow(dead_code, reason = "the console's tests do not use it")]
    pub(crate) fn is_to_forget(&self, method: &str) -> bool {
        self.forgotten.lock().unwrap().contains_key(method)
    }

    fn forgotten<T: 'static>(&self, method: &str) -> Option<T> {
        let answer = self.forgotten.lock().unwrap().remove(method)?;
        Some(*answer.downcast().expect("the answer of that method"))
    }

    /// Calls of `method` that are still to go wrong.
    pub(crate) fn still_to_lose(&self, method: &str) -> usize {
        self.lost.lock().unwrap().get(method).map_or(0, VecDeque::len)
    }

    /// Calls of `method` are not carried out before [`release`](Self::release).
    pub(crate) fn hold(&self, method: &'static str) {
        let gate = Gate { open: tokio::sync::Semaphore::new(0), waiting: AtomicUsize::new(0) };
        self.held.lock().unwrap().insert(method, Arc::new(gate));
    }

    /// How many calls of a held `method` wait.
    pub(crate) fn waiting(&self, method: &str) -> usize {
        self.held.lock().unwrap().get(method).map_or(0, |gate| gate.waiting.load(Ordering::SeqCst))
    }

    /// Lets those go that wait, and those that come.
    pub(crate) fn release(&self, method: &str) {
        if let Some(gate) = self.held.lock().unwrap().remove(method) {
            gate.open.close();
        }
    }

    async fn pass(&self, method: &str) {
        let gate = self.held.lock().unwrap().get(method).cloned();
        if let Some(gate) = gate {
            gate.waiting.fetch_add(1, Ordering::SeqCst);
            // Nobody gets a permit: the gate opens by being closed for good.
            let _ = gate.open.acquire().await;
        }
    }

    /// Everything goes well again.
    #[allow(dead_code, reason = "the console's tests use it")]
    pub(crate) fn clear(&self) {
        self.lost.lock().unwrap().clear();
    }

    fn next(&self, method: &str) -> Option<Lost> {
        if self.down.load(Ordering::SeqCst) {
            return Some(Lost::Request);
        }
        self.lost.lock().unwrap().get_mut(method).and_then(VecDeque::pop_front)
    }
}

fn unavailable(action: &'static str) -> StoreError {
    StoreError::Unavailable { action, source: "as the test wants it".into() }
}

/// Passes the methods of a trait on, through the faults.
macro_rules! behind_faults {
    ($store:ident { $(fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+ }) => {
        #[async_trait]
        impl $store for Faulty {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$answer, StoreError> {
                self.pass(stringify!($name)).await;
                if let Some(answer) = self.forgotten::<$answer>(stringify!($name)) {
                    return Ok(answer);
                }
                match self.next(stringify!($name)) {
                    None => self.inner.$name($($argument),*).await,
                    Some(Lost::Request) => Err(unavailable(stringify!($name))),
                    Some(Lost::Lock) => {
                        Err(StoreError::Busy { action: stringify!($name), source: "as the test wants it".into() })
                    }
                    Some(Lost::Answer) => {
                        self.inner.$name($($argument),*).await?;
                        Err(unavailable(stringify!($name)))
                    }
                }
            })+
        }
    };
}

behind_faults! {
    CatalogStore {
        fn next_group_number(cluster: u32) -> u32;
        fn create_group(group: &Group, planned_from: Timestamp) -> ();
        fn update_group(group: &Group) -> bool;
        fn delete_group(group: GroupId) -> ();
        fn group(group: GroupId) -> Option<Group>;
        fn groups(after: Option<GroupId>, limit: usize) -> Vec<Group>;
        fn next_job_id() -> JobId;
        fn edit_job(edit: &JobEdit) -> EditOutcome;
        fn next_job_version(job: JobId) -> Option<JobVersion>;
        fn job(job: JobId) -> Option<Job>;
        fn job_names(jobs: &[JobId]) -> Vec<(JobId, String)>;
        fn job_by_name(group: GroupId, name: &str) -> Option<Job>;
        fn jobs(filter: &JobFilter, after: Option<JobId>, limit: usize) -> Vec<Job>;
        fn count_jobs(filter: &JobFilter, cap: usize) -> usize;
        fn load_plan(shard: ShardId, only: Option<JobId>, limit: usize) -> Option<Plan>;
        fn job_versions(job: JobId, limit: usize) -> Vec<Job>;
    }
}

behind_faults! {
    ShardStore {
        fn shards_of(cluster: u32, server_group: u32) -> Vec<ShardRow>;
        fn shard(shard: ShardId) -> Option<ShardRow>;
        fn shards_of_group(group: GroupId) -> Vec<ShardRow>;
        fn claim(shard: ShardId, seen: Epoch, owner: &ServerId, note: &ClaimNote) -> Option<Epoch>;
        fn hand_overs(groups: Option<&[GroupId]>, from: Timestamp, to: Timestamp, limit: usize) -> Vec<HandOver>;
        fn drop_hand_overs_before(before: Timestamp, limit: usize) -> usize;
        fn place(placements: &[(ShardId, Vec<ServerId>)]) -> ();
    }
}

behind_faults! {
    RunStore {
        fn commit_slices(slices: &[Slice]) -> Vec<SliceOutcome>;
        fn insert_runs(runs: &[Run]) -> Vec<Insertion>;
        fn insert_triggered(runs: &[TriggeredRun]) -> Vec<Insertion>;
        fn advance(steps: &[Advance]) -> Vec<bool>;
        fn move_runs(moves: &[Move]) -> Vec<bool>;
        fn open_runs(shard: ShardId, limit: usize) -> Vec<Run>;
        fn run(key: RunKey) -> Option<Run>;
        fn runs_by_key(keys: &[RunKey]) -> Vec<Run>;
        fn attempts(key: RunKey) -> Vec<Attempt>;
        fn list_runs(filter: &RunFilter, before: Option<RunKey>, limit: usize) -> Vec<Run>;
        fn count_runs(filter: &RunFilter, cap: usize) -> usize;
        fn outcomes(jobs: &[JobId], from: Option<Timestamp>, to: Timestamp, limit: usize) -> Vec<Outcome>;
        fn histogram(job: JobId, from: Timestamp, to: Timestamp, step: Span, limit: usize) -> Vec<(Timestamp, RunState, usize)>;
        fn last_final(job: JobId) -> Option<Timestamp>;
        fn discard_dead_letter(key: RunKey, by: &str, at: Timestamp) -> bool;
        fn drop_runs_before(before: Timestamp, limit: usize) -> usize;
        fn drop_runs_of(group: GroupId, before: Timestamp, limit: usize) -> usize;
    }
}

behind_faults! {
    SubtaskStore {
        fn store_batches(run: RunKey, attempt: AttemptNo, batches: &[SubtaskBatch]) -> ();
        fn batches(run: RunKey, attempt: AttemptNo, first: u64, count: u64) -> Vec<SubtaskBatch>;
        fn split_progress(run: RunKey, attempt: AttemptNo) -> (u32, u64);
        fn claim_map(run: RunKey, attempt: AttemptNo, epoch: Epoch) -> Option<MapHeader>;
        fn checkpoint(checkpoint: &MapCheckpoint) -> ();
        fn map_header(run: RunKey, attempt: AttemptNo) -> Option<MapHeader>;
        fn map_chunks(run: RunKey, attempt: AttemptNo) -> Vec<MapChunk>;
        fn outputs(run: RunKey, attempt: AttemptNo, after: Option<u64>, limit: usize) -> Vec<(u64, Vec<u8>)>;
        fn failures(run: RunKey, attempt: AttemptNo, only_last: bool, after: Option<u64>, limit: usize) -> Vec<SubtaskFailure>;
        fn failures_of(run: RunKey, attempt: AttemptNo, indexes: &[u64]) -> Vec<SubtaskFailure>;
        fn find_by_key(run: RunKey, attempt: AttemptNo, prefix: &str, after: Option<u64>, limit: usize) -> Vec<u64>;
        fn map_runs_in(phase: MapPhase, limit: usize) -> Vec<(RunKey, AttemptNo)>;
    }
}

behind_faults! {
    LogStore {
        fn append_logs(chunks: &[LogChunk]) -> ();
        fn read_log(run: RunKey, attempt: AttemptNo, from: u64, limit: u64) -> (Vec<u8>, u64);
    }
}

behind_faults! {
    AccountStore {
        fn create_user(user: &User) -> u64;
        fn create_first_user(user: &User) -> Option<u64>;
        fn update_user(user: &User) -> bool;
        fn delete_user(user: u64) -> bool;
        fn user(user: u64) -> Option<User>;
        fn user_by_name(name: &str) -> Option<User>;
        fn users(after: Option<u64>, limit: usize) -> Vec<User>;
        fn grant(grant: &Grant) -> ();
        fn revoke(user: u64, group: GroupId) -> bool;
        fn grants_of_user(user: u64) -> Vec<Grant>;
        fn grants_of_group(group: GroupId) -> Vec<Grant>;
        fn create_session(session: &Session) -> ();
        fn session(hash: &[u8; 32]) -> Option<Session>;
        fn delete_session(hash: &[u8; 32]) -> bool;
        fn sessions_of(user: u64, now: Timestamp) -> Vec<Session>;
        fn expire_accounts(now: Timestamp) -> usize;
        fn create_token(token: &Token) -> u64;
        fn token(hash: &[u8; 32]) -> Option<Token>;
        fn tokens(user: Option<u64>, group: Option<GroupId>, after: Option<u64>, limit: usize) -> Vec<Token>;
        fn token_by_id(id: u64) -> Option<Token>;
        fn delete_token(id: u64) -> bool;
        fn touch_tokens(ids: &[u64], at: Timestamp) -> ();
        fn count_sign_in_failure(key: &str, window: Timestamp) -> u32;
        fn sign_in_failures(key: &str, window: Timestamp) -> u32;
        fn append_audit(entries: &[AuditEntry]) -> ();
        fn audit(filter: &AuditFilter, before: Option<u64>, limit: usize) -> Vec<AuditEntry>;
    }
}

behind_faults! {
    ObservedStore {
        fn write_rollups(rollups: &[Rollup]) -> ();
        fn rollups(span: RollupSpan, groups: Option<&[GroupId]>, from: Timestamp, to: Timestamp) -> Vec<Rollup>;
        fn sum_hour(hour: Timestamp) -> ();
        fn first_hour_to_sum(before: Timestamp) -> Option<Timestamp>;
        fn drop_rollups_before(span: RollupSpan, before: Timestamp, limit: usize) -> usize;
        fn retentions() -> Vec<(GroupId, u32)>;
        fn retention(group: GroupId) -> Option<u32>;
        fn set_retention(group: GroupId, days: Option<u32>) -> ();
    }
}

#[async_trait]
impl Store for Faulty {
    async fn migrate(&self) -> Result<MigrationReport, StoreError> {
        self.inner.migrate().await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        match self.next("ready") {
            None => self.inner.ready().await,
            Some(_) => Err(unavailable("ready")),
        }
    }

    async fn instance(&self) -> Result<String, StoreError> {
        Ok(self.instance.lock().unwrap().clone())
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    fn backend(&self) -> &'static str {
        self.inner.backend()
    }
}
