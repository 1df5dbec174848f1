//! A server that speaks the real wire and joins the real coordinator, but does what a test scripts.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use carillon_coordination::{Coordination, Embedded, EmbeddedRegistry, Load, Member, MemberId, MemberKind};
use carillon_core::change::TriggeredRun;
use carillon_core::ids::{Incarnation, JobId, RunKey, ServerId, ShardId, TraceId};
use carillon_core::run::{Run, TriggerKind};
use carillon_core::time::{Span, Timestamp};
use carillon_proto::v1;
use carillon_proto::v1::control_server::{Control, ControlServer};
use carillon_store::SharedStore;
use carillon_store::runs::Insertion;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{BroadcastStream, TcpListenerStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status};

/// A running fake.
pub(crate) struct FakeServer {
    id: ServerId,
    pub(crate) script: Script,
    coordination: Embedded,
    member: Member,
    events: broadcast::Sender<v1::WatchEvent>,
    _stop: DropGuard,
}

/// What a server says that does not own the shard, as the real one does.
pub(crate) fn owned_by(owner: &ServerId) -> Status {
    let mut status = Status::failed_precondition(format!("the shard is owned by {owner}"));
    status.metadata_mut().insert("carillon-owner", owner.as_str().parse().unwrap());
    status
}

/// What the fake does, and what it was asked.
#[derive(Clone)]
pub(crate) struct Script(Arc<Mutex<ScriptState>>);

#[derive(Default)]
pub(crate) struct ScriptState {
    pub(crate) workers: Vec<v1::WorkerStatus>,
    pub(crate) shards: Vec<v1::ShardStatus>,
    /// How long edits take to be acknowledged.
    pub(crate) edit_delay: Duration,
    /// The runs that may still start after an edit.
    pub(crate) may_start: Vec<RunKey>,
    /// Answered to every edit instead.
    pub(crate) refuse_edits: Option<Status>,
    pub(crate) edits: Vec<v1::JobChangedRequest>,
    pub(crate) triggers: Vec<v1::TriggerRequest>,
    pub(crate) retries: Vec<v1::RetryRunRequest>,
    pub(crate) cancels: Vec<v1::CancelRunRequest>,
    pub(crate) drained: bool,
    /// Answered to every trigger instead.
    pub(crate) refuse: Option<Status>,
    pub(crate) progress: BTreeMap<RunKey, v1::MapProgressAnswer>,
    pub(crate) arms: BTreeMap<RunKey, Vec<v1::Armed>>,
    /// Answers no status in time.
    pub(crate) mute: bool,
}

impl Script {
    pub(crate) fn lock(&self) -> MutexGuard<'_, ScriptState> {
        self.0.lock().unwrap()
    }
}

impl FakeServer {
    pub(crate) async fn start(registry: &Arc<EmbeddedRegistry>, store: &SharedStore, id: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let script = Script(Arc::default());
        let (events, _) = broadcast::channel(64);
        let service = Service {
            id: id.to_owned(),
            store: Arc::clone(store),
            script: script.clone(),
            events: events.clone(),
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener);
            let served = tonic::transport::Server::builder()
                .add_service(ControlServer::new(service))
                .serve_with_incoming_shutdown(incoming, stopped.cancelled_owned());
            served.await.unwrap();
        });
        let coordination = Embedded::new(registry);
        let member = Member {
            id: MemberId::new(id).unwrap(),
            kind: MemberKind::Server,
            room: format!("room of {id}"),
            address,
            server_group: 1,
            cluster: 101,
            version: "0.1.0".into(),
            incarnation: 1,
            load: Load::default(),
            draining: false,
            joined_at_ms: 0,
        };
        coordination.join(member.clone()).await.unwrap();
        Self { id: id.parse().unwrap(), script, coordination, member, events, _stop: stop.drop_guard() }
    }

    pub(crate) fn id(&self) -> ServerId {
        self.id.clone()
    }

    pub(crate) fn address(&self) -> &str {
        &self.member.address
    }

    /// A worker that is connected to it.
    pub(crate) fn connect_worker(&self, group: &str, name: &str, handlers: &[&str]) -> Incarnation {
        let incarnation = Incarnation::new(rand::random());
        let handlers = handlers.iter().map(|handler| v1::Handler {
            name: (*handler).to_owned(),
            concurrency: 16,
            ..v1::Handler::default()
        });
        self.script.lock().workers.push(v1::WorkerStatus {
            incarnation: incarnation.get(),
            group: group.to_owned(),
            name: name.to_owned(),
            handlers: handlers.collect(),
            ..v1::WorkerStatus::default()
        });
        incarnation
    }

    /// Stays a member of the cluster but can no longer be reached.
    pub(crate) async fn move_to_nowhere(&mut self) {
        // A port that nobody listens on, because it was just given back.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.member.address = listener.local_addr().unwrap().to_string();
        drop(listener);
        self.coordination.update_member(self.member.clone()).await.unwrap();
    }

    /// Sends an event to whoever watches.
    pub(crate) fn tell(&self, event: v1::watch_event::Event) -> usize {
        self.events.send(v1::WatchEvent { event: Some(event) }).unwrap_or(0)
    }
}

struct Service {
    id: String,
    store: SharedStore,
    script: Script,
    events: broadcast::Sender<v1::WatchEvent>,
}

fn key_of(run: &v1::RunRef) -> RunKey {
    RunKey {
        fire_time: Timestamp::from_millis(run.fire_time_ms),
        job: JobId::new(run.job),
        ordinal: run.ordinal,
    }
}

fn ref_of(key: RunKey) -> v1::RunRef {
    v1::RunRef { fire_time_ms: key.fire_time.as_millis(), job: key.job.get(), ordinal: key.ordinal }
}

#[tonic::async_trait]
impl Control for Service {
    /// Inserts the row as a real server does.
    async fn trigger(
        &self,
        request: Request<v1::TriggerRequest>,
    ) -> Result<Response<v1::TriggerAnswer>, Status> {
        let request = request.into_inner();
        let refusal = self.script.lock().refuse.clone();
        self.script.lock().triggers.push(request.clone());
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let job = self
            .store
            .job(JobId::new(request.job))
            .await
            .unwrap()
            .ok_or_else(|| Status::not_found("no such job"))?;
        let now = job.updated_at + Span::from_millis(self.script.lock().triggers.len() as u64);
        let shard: ShardId = request.shard.parse().unwrap();
        let row = self.store.shard(shard).await.unwrap().unwrap();
        let run = Run {
            trigger: TriggerKind::Api,
            due_at: now,
            start_by: now + Span::MINUTE,
            params: request.params.as_ref().map(|params| serde_json::from_slice(params).unwrap()),
            trace: <[u8; 16]>::try_from(request.trace_id.as_ref())
                .ok()
                .and_then(|bytes| TraceId::new(u128::from_be_bytes(bytes))),
            ..Run::planned(
                RunKey::triggered(job.id, now, &request.idempotency_key),
                shard,
                row.epoch,
                job.version,
            )
        };
        let triggered = TriggeredRun { run, idempotency_key: request.idempotency_key };
        let own = triggered.run.key;
        let (key, created) = match self.store.insert_triggered(&[triggered]).await.unwrap()[0] {
            Insertion::New => (own, true),
            Insertion::Existing(key) => (key, false),
            Insertion::Fenced => panic!("the fake server decides under the epoch of the store"),
        };
        Ok(Response::new(v1::TriggerAnswer { run: Some(ref_of(key)), created, warning: String::new() }))
    }

    async fn job_changed(
        &self,
        request: Request<v1::JobChangedRequest>,
    ) -> Result<Response<v1::JobChangedAnswer>, Status> {
        let delay = {
            let mut script = self.script.lock();
            script.edits.push(request.into_inner());
            script.edit_delay
        };
        tokio::time::sleep(delay).await;
        if let Some(refusal) = self.script.lock().refuse_edits.clone() {
            return Err(refusal);
        }
        let may_start = self.script.lock().may_start.iter().copied().map(ref_of).collect();
        Ok(Response::new(v1::JobChangedAnswer { may_start }))
    }

    async fn cancel_run(
        &self,
        request: Request<v1::CancelRunRequest>,
    ) -> Result<Response<v1::CancelRunAnswer>, Status> {
        self.script.lock().cancels.push(request.into_inner());
        Ok(Response::new(v1::CancelRunAnswer { state: "cancelled".into() }))
    }

    async fn retry_run(
        &self,
        request: Request<v1::RetryRunRequest>,
    ) -> Result<Response<v1::RetryRunAnswer>, Status> {
        let request = request.into_inner();
        let run = self.store.run(key_of(request.run.as_ref().unwrap())).await.unwrap().unwrap();
        self.script.lock().retries.push(request);
        Ok(Response::new(v1::RetryRunAnswer { attempt: run.attempt.next().get() }))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusAnswer>, Status> {
        if self.script.lock().mute {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        let script = self.script.lock();
        Ok(Response::new(v1::StatusAnswer {
            server: self.id.clone(),
            version: "0.1.0".into(),
            shards: script.shards.clone(),
            workers: script.workers.clone(),
            draining: script.drained,
            ..v1::StatusAnswer::default()
        }))
    }

    async fn map_progress(
        &self,
        request: Request<v1::MapProgressRequest>,
    ) -> Result<Response<v1::MapProgressAnswer>, Status> {
        let run = key_of(request.into_inner().run.as_ref().unwrap());
        Ok(Response::new(self.script.lock().progress.get(&run).cloned().unwrap_or_default()))
    }

    async fn arms(&self, request: Request<v1::ArmsRequest>) -> Result<Response<v1::ArmsAnswer>, Status> {
        let run = key_of(request.into_inner().run.as_ref().unwrap());
        let arms = self.script.lock().arms.get(&run).cloned().unwrap_or_default();
        Ok(Response::new(v1::ArmsAnswer { arms }))
    }

    async fn drain(&self, _: Request<v1::DrainRequest>) -> Result<Response<v1::DrainAnswer>, Status> {
        let mut script = self.script.lock();
        script.drained = true;
        Ok(Response::new(v1::DrainAnswer { shards: u32::try_from(script.shards.len()).unwrap() }))
    }

    type WatchStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::WatchEvent, Status>> + Send>>;

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let events = BroadcastStream::new(self.events.subscribe()).filter_map(|event| event.ok().map(Ok));
        Ok(Response::new(Box::pin(events)))
    }
}
