//! What consoles (and peers) ask of a server. Every call is safe to repeat.

use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use carillon_core::engine::TriggerRequest;
use carillon_core::ids::{GroupId, JobId, JobsVersion, RunKey, ServerId, ShardId};
use carillon_core::job::MAX_PARAMS_BYTES;
use carillon_core::run::Run;
use carillon_core::time::Timestamp;
use carillon_proto::v1::control_server::Control;
use carillon_proto::v1::{
    self, ArmsAnswer, ArmsRequest, CancelRunAnswer, CancelRunRequest, DrainAnswer, DrainRequest,
    JobChangedAnswer, JobChangedRequest, MapProgressAnswer, MapProgressRequest, RetryRunAnswer,
    RetryRunRequest, ShardStatus, StatusAnswer, StatusRequest, TriggerAnswer, WatchEvent, WatchRequest,
    WorkerStatus,
};
use carillon_store::SharedStore;
use futures::StreamExt as _;
use tokio::sync::{broadcast, oneshot};
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::convert::{self, BadField, run_ref};
use crate::arms::Arms;
use crate::clock::Clock;
use crate::events::Events;
use crate::map::MapHub;
use crate::ownership::Ownership;
use crate::shard_loop::{Refused, Request as ShardRequest, ShardHandle};
use crate::switchboard::Switchboard;

/// How long a trigger or a retry waits for the store before the caller is told to ask again; its run may then exist all the same.
const STORE_PATIENCE: Duration = Duration::from_secs(10);

/// How long a request waits for a shard that this server has claimed and still reads.
const LOAD_PATIENCE: Duration = Duration::from_secs(1);

/// How long an edit waits for workers' answers.
const EDIT_PATIENCE: Duration = Duration::from_millis(1_500);

/// How long a cancel waits to be able to say the final state.
const CANCEL_PATIENCE: Duration = Duration::from_millis(500);

/// Longest names of requesters, and longest idempotency key, in characters.
const MAX_NAME: usize = 128;

/// Most rows an edit may name; a job fires at most ten times a second for a horizon of 30 s.
const MAX_TOUCHED: usize = 10_000;

/// The gRPC service.
#[derive(Clone)]
pub(crate) struct ControlService {
    pub(crate) server: ServerId,
    pub(crate) version: String,
    pub(crate) room: String,
    pub(crate) clock: Clock,
    pub(crate) store: SharedStore,
    pub(crate) switchboard: Arc<Switchboard>,
    pub(crate) maps: Arc<MapHub>,
    pub(crate) arms: Arc<Arms>,
    pub(crate) events: Arc<Events>,
    pub(crate) ownership: Ownership,
    /// Cancelled when the server has ended, so that watchers do not keep it.
    pub(crate) ended: CancellationToken,
}

impl ControlService {
    /// The shard's loop where this server owns it. One that has just claimed the shard and still reads it is waited for.
    async fn owned(&self, shard: ShardId) -> Result<ShardHandle, Status> {
        let Some(handle) = self.switchboard.shard(shard) else { return Err(self.not_owner(shard).await) };
        let give_up = tokio::time::Instant::now() + LOAD_PATIENCE;
        while handle.view().epoch.is_none() {
            let claimed = self.store.shard(shard).await.ok().flatten().and_then(|row| row.owner);
            if claimed.as_ref() != Some(&self.server) || tokio::time::Instant::now() >= give_up {
                return Err(self.not_owner(shard).await);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(handle)
    }

    async fn not_owner(&self, shard: ShardId) -> Status {
        match self.store.shard(shard).await {
            Ok(None) => Status::not_found(format!("shard: there is no shard {shard}")),
            Ok(Some(row)) => {
                let owner = row.owner.map_or_else(|| "nobody yet".to_owned(), |owner| owner.to_string());
                let mut status = Status::failed_precondition(format!(
                    "shard {shard} is owned by {owner}, not by {}",
                    self.server
                ));
                if let Ok(owner) = owner.parse() {
                    status.metadata_mut().insert("carillon-owner", owner);
                }
                status
            }
            Err(error) => Status::unavailable(format!(
                "shard {shard} is not owned by {}, and who owns it could not be read: {error}",
                self.server
            )),
        }
    }

    async fn refusal(&self, refused: Refused, shard: ShardId, job: JobId) -> Status {
        match refused {
            Refused::NotOwner => self.not_owner(shard).await,
            Refused::UnknownJob => Status::not_found(format!("job: shard {shard} has no job {job}")),
            Refused::NotRetryable => {
                Status::failed_precondition("run: only a dead letter of a job in force can be retried")
            }
            Refused::NotStored => Status::internal("the store does not take the run"),
        }
    }

    async fn stored(&self, key: RunKey, shard: ShardId) -> Result<Run, Status> {
        let run = self.store.run(key).await.map_err(|error| Status::unavailable(error.to_string()))?;
        run.filter(|run| run.shard == shard)
            .ok_or_else(|| Status::not_found(format!("run: shard {shard} has no run {key}")))
    }
}

/// Waits for a shard's answer.
async fn answered<T>(reply: oneshot::Receiver<T>, patience: Duration, what: &str) -> Result<T, Status> {
    match tokio::time::timeout(patience, reply).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(Status::unavailable(format!(
            "the shard changed hands while it was asked to {what}; ask again"
        ))),
        Err(_) => Err(Status::unavailable(format!(
            "the store did not answer in time to {what}; ask again, with the same idempotency key"
        ))),
    }
}

fn short(field: &str, text: &str) -> Result<(), BadField> {
    if text.chars().count() > MAX_NAME {
        return Err(BadField::new(
            field,
            format!("{} characters; at most {MAX_NAME} are taken", text.chars().count()),
        ));
    }
    Ok(())
}

#[tonic::async_trait]
impl Control for ControlService {
    async fn trigger(&self, request: Request<v1::TriggerRequest>) -> Result<Response<TriggerAnswer>, Status> {
        let request = request.into_inner();
        let shard = convert::shard_id("shard", &request.shard)?;
        if request.job == 0 {
            return Err(BadField::new("job", "0 is no job; job ids begin at 1").into());
        }
        let job = JobId::new(request.job);
        if request.idempotency_key.is_empty() {
            return Err(
                BadField::new("idempotency_key", "empty; draw one where the requester gave none").into()
            );
        }
        short("idempotency_key", &request.idempotency_key)?;
        short("requested_by", &request.requested_by)?;
        let params = match &request.params {
            Some(params) if params.is_empty() => {
                return Err(BadField::new("params", "empty; leave it out, or give JSON").into());
            }
            Some(params) => convert::json("params", params, MAX_PARAMS_BYTES)?,
            None => None,
        };
        let trace = convert::trace_id("trace_id", &request.trace_id)?;
        let handle = self.owned(shard).await?;
        let (reply, answer) = oneshot::channel();
        let trigger = TriggerRequest { job, idempotency_key: request.idempotency_key, params, trace };
        handle.request(ShardRequest::Trigger { request: trigger, reply }).await;
        let (key, created) = match answered(answer, STORE_PATIENCE, "trigger a run").await? {
            Ok(made) => made,
            Err(refused) => return Err(self.refusal(refused, shard, job).await),
        };
        let trace_id = trace.unwrap_or_else(|| key.trace_id());
        tracing::info!(run = %key, %job, %shard, %trace_id, by = %request.requested_by, created, "a run was triggered by request");
        let warning = if self.switchboard.workers().iter().any(|link| link.group == shard.group()) {
            String::new()
        } else {
            format!(
                "no worker of task group {} is connected to {}; the run waits for one",
                shard.group(),
                self.server
            )
        };
        Ok(Response::new(TriggerAnswer { run: Some(run_ref(key)), created, warning }))
    }

    async fn job_changed(
        &self,
        request: Request<JobChangedRequest>,
    ) -> Result<Response<JobChangedAnswer>, Status> {
        let request = request.into_inner();
        let shard = convert::shard_id("shard", &request.shard)?;
        if request.touched.len() > MAX_TOUCHED {
            let problem = format!("{} runs; at most {MAX_TOUCHED} are taken", request.touched.len());
            return Err(BadField::new("touched", problem).into());
        }
        let touched: Vec<RunKey> = request
            .touched
            .iter()
            .map(|run| convert::run_key("touched", Some(*run)))
            .collect::<Result<_, _>>()?;
        let jobs_version = JobsVersion::new(request.jobs_version);
        let job = JobId::new(request.job);
        let changed =
            |reply| ShardRequest::JobsChanged { jobs_version, job, touched: touched.clone(), reply };
        // A standby cannot answer for the workers, but it is to know: the owner may not live to tell it.
        if let Some(standby) = self.switchboard.shard(shard).filter(|handle| handle.view().epoch.is_none()) {
            standby.request(changed(oneshot::channel().0)).await;
        }
        let handle = self.owned(shard).await?;
        let (reply, answer) = oneshot::channel();
        handle.request(changed(reply)).await;
        // What could not be asked in time may still start: saying so is the safe side.
        let may_start = match tokio::time::timeout(EDIT_PATIENCE, answer).await {
            Ok(Ok(may_start)) => may_start,
            Ok(Err(_)) | Err(_) => touched,
        };
        tracing::info!(%shard, job = request.job, %jobs_version, may_start = may_start.len(), "an edit of a job is in force");
        Ok(Response::new(JobChangedAnswer { may_start: may_start.into_iter().map(run_ref).collect() }))
    }

    async fn cancel_run(
        &self,
        request: Request<CancelRunRequest>,
    ) -> Result<Response<CancelRunAnswer>, Status> {
        let request = request.into_inner();
        let key = convert::run_key("run", request.run)?;
        let shard = convert::shard_id("shard", &request.shard)?;
        short("by", &request.by)?;
        let handle = self.owned(shard).await?;
        let stored = self.stored(key, shard).await?;
        if stored.state.is_final() {
            return Ok(Response::new(CancelRunAnswer { state: stored.state.to_string() }));
        }
        let (reply, answer) = oneshot::channel();
        handle.request(ShardRequest::Cancel { key, by: request.by.clone(), reply }).await;
        tracing::info!(run = %key, job = %key.job, %shard, trace_id = %stored.trace_id(), by = %request.by, "a run is asked to stop");
        let state = match tokio::time::timeout(CANCEL_PATIENCE, answer).await {
            Ok(Ok(Some(state))) => state.to_string(),
            Ok(Ok(None)) => self.stored(key, shard).await?.state.to_string(),
            Ok(Err(_)) => return Err(self.not_owner(shard).await),
            // It stops at its worker, within its grace.
            Err(_) => "cancelling".into(),
        };
        Ok(Response::new(CancelRunAnswer { state }))
    }

    async fn retry_run(&self, request: Request<RetryRunRequest>) -> Result<Response<RetryRunAnswer>, Status> {
        let request = request.into_inner();
        let key = convert::run_key("run", request.run)?;
        let shard = convert::shard_id("shard", &request.shard)?;
        short("by", &request.by)?;
        let handle = self.owned(shard).await?;
        let stored = self.stored(key, shard).await?;
        if !stored.state.is_dead_letter() {
            return Err(Status::failed_precondition(format!(
                "run: {key} is {}, and only a dead letter can be retried",
                stored.state
            )));
        }
        let trace_id = stored.trace_id();
        if request.failed_subtasks_only {
            self.maps.retry_failed_only(key, stored.attempt).await?;
        }
        let (reply, answer) = oneshot::channel();
        handle.request(ShardRequest::Retry { run: Box::new(stored), by: request.by.clone(), reply }).await;
        match answered(answer, STORE_PATIENCE, "retry a run").await? {
            Ok(attempt) => {
                tracing::info!(run = %key, job = %key.job, %shard, %attempt, %trace_id, by = %request.by, "a dead letter is tried again");
                Ok(Response::new(RetryRunAnswer { attempt: attempt.get() }))
            }
            Err(refused) => Err(self.refusal(refused, shard, key.job).await),
        }
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusAnswer>, Status> {
        let shards = self.switchboard.shards().into_iter().map(|handle| {
            let view = handle.view();
            ShardStatus {
                shard: handle.id().to_string(),
                owner: view.epoch.is_some(),
                epoch: view.epoch.map_or(0, |epoch| epoch.get()),
                planned_until_ms: view.planned_until.as_millis(),
                armed_until_ms: view.armed_until.as_millis(),
                open_runs: view.open_runs as u64,
                jobs: view.jobs as u64,
                rank: view.standby.and_then(|standby| standby.rank).map_or(0, u32::from),
                told_runs: view.standby.map_or(0, |standby| standby.runs as u64),
                told_epoch: view.standby.and_then(|standby| standby.copy_of).map_or(0, |epoch| epoch.get()),
            }
        });
        let workers = self.switchboard.workers().into_iter().map(|link| {
            let progress = link.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let (running, draining) = (progress.running() as u32, progress.draining);
            drop(progress);
            WorkerStatus {
                incarnation: link.info.incarnation.get(),
                group: link.group.to_string(),
                name: link.info.name.clone(),
                room: link.info.room.clone(),
                labels: link.info.labels.clone().into_iter().collect(),
                handlers: link.handlers.to_vec(),
                sdk_version: link.sdk_version.clone(),
                connected_ms: link.connected_at.as_millis(),
                running,
                draining,
                address: link.address.clone(),
                via: link.via.as_ref().map(ToString::to_string).unwrap_or_default(),
            }
        });
        Ok(Response::new(StatusAnswer {
            server: self.server.to_string(),
            version: self.version.clone(),
            room: self.room.clone(),
            now_ms: self.clock.now().as_millis(),
            draining: self.ownership.is_draining(),
            shards: shards.collect(),
            workers: workers.collect(),
        }))
    }

    async fn map_progress(
        &self,
        request: Request<MapProgressRequest>,
    ) -> Result<Response<MapProgressAnswer>, Status> {
        let key = convert::run_key("run", request.into_inner().run)?;
        Ok(Response::new(self.maps.progress(key).unwrap_or_default()))
    }

    async fn arms(&self, request: Request<ArmsRequest>) -> Result<Response<ArmsAnswer>, Status> {
        let key = convert::run_key("run", request.into_inner().run)?;
        let arms = self.arms.of(key).into_iter().map(|armed| v1::Armed {
            attempt: armed.attempt.get(),
            incarnation: armed.worker.get(),
            at_ms: armed.at.as_millis(),
            taken_ms: armed.taken_at.map_or(0, Timestamp::as_millis),
        });
        Ok(Response::new(ArmsAnswer { arms: arms.collect() }))
    }

    async fn drain(&self, _: Request<DrainRequest>) -> Result<Response<DrainAnswer>, Status> {
        let shards = self.switchboard.shards().iter().filter(|handle| handle.view().epoch.is_some()).count();
        self.ownership.drain();
        Ok(Response::new(DrainAnswer { shards: shards as u32 }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchEvent, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let groups: Vec<GroupId> = request
            .into_inner()
            .groups
            .iter()
            .map(|group| GroupId::from_str(group).map_err(|error| BadField::new("groups", error.to_string())))
            .collect::<Result<_, _>>()?;
        let events = self.events.subscribe();
        let stream = futures::stream::unfold((events, groups), |(mut events, groups)| async move {
            loop {
                match events.recv().await {
                    Ok(seen) => {
                        let wanted =
                            seen.group.is_none_or(|group| groups.is_empty() || groups.contains(&group));
                        if wanted {
                            return Some((Ok(seen.event), (events, groups)));
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        // What was missed is anything: the watcher reads again.
                        let changed = v1::Changed { what: "everything".into(), id: String::new() };
                        let event = WatchEvent { event: Some(v1::watch_event::Event::Changed(changed)) };
                        return Some((Ok(event), (events, groups)));
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        });
        let stream = stream.take_until(self.ended.clone().cancelled_owned());
        Ok(Response::new(Box::pin(stream)))
    }
}
