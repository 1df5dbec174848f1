//! A server from its start to its end: joins, starts the loops, serves gRPC, and at last hands over and closes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use carillon_coordination::{
    Coordination, CoordinationError, Load, Member, MemberId, MemberKind, join_with_patience,
};
use carillon_proto::v1::control_server::ControlServer;
use carillon_proto::v1::peer_server::PeerServer;
use carillon_proto::v1::worker_gateway_server::WorkerGatewayServer;
use carillon_proto::v1::{GoAway, ServerMessage, server_message::Message};
use carillon_store::SharedStore;
use carillon_store::logs::LONGEST_LOG_BYTES;
use prometheus_client::registry::Registry;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server as GrpcServer, ServerTlsConfig};
use tonic::{Request, Status};

use crate::arms::Arms;
use crate::clock::Clock;
use crate::committer::{Committer, CommitterParts};
use crate::config::ServerConfig;
use crate::error::ServerError;
use crate::events::{self, Events};
use crate::figures::{self, Figures};
use crate::http;
use crate::logs::{LogWriter, Logs};
use crate::map::MapHub;
use crate::metrics::Metrics;
use crate::ownership::{Ownership, Reconciler};
use crate::peers::{Dialer, MAX_PEER_BYTES, PeerLoop, Peers};
use crate::placer::Placer;
use crate::rpc::{ControlService, Gateway, GatewayService, MAX_MESSAGE_BYTES, PeerService, WorkerTokens};
use crate::shard_loop::Shell;
use crate::stall::{self, Stalls};
use crate::store_breaks::StoreBreaks;
use crate::switchboard::Switchboard;

/// A worker whose connection is dead is noticed after this and [`KEEPALIVE_PATIENCE`].
const KEEPALIVE: Duration = Duration::from_secs(2);

/// How long a worker's connection may leave a ping unanswered.
const KEEPALIVE_PATIENCE: Duration = Duration::from_secs(3);

/// Lanes of the committer where the store takes transactions side by side; SQLite has one writer.
const LANES: usize = 4;

/// Everything a server is made of.
pub struct Server {
    /// What it was told.
    pub config: ServerConfig,
    /// Where runs and jobs are kept.
    pub store: SharedStore,
    /// Who else is there.
    pub coordination: Arc<dyn Coordination>,
    /// Where it serves gRPC.
    pub listener: TcpListener,
    /// Its time.
    pub clock: Clock,
    /// Its metrics, registered by the caller where they are shown elsewhere.
    pub metrics: Metrics,
    /// Where it serves `/metrics`, `/livez` and `/readyz` with this registry; none where the process shows them elsewhere.
    pub http: Option<(TcpListener, Arc<Registry>)>,
}

/// Serves until `shutdown` is cancelled, then hands over and closes.
///
/// # Errors
/// See [`ServerError`]. Once it serves, trouble with the store or the coordinator does not end it.
pub async fn serve(
    config: ServerConfig,
    store: SharedStore,
    coordination: Arc<dyn Coordination>,
    listener: TcpListener,
    clock: Clock,
    shutdown: CancellationToken,
) -> Result<(), ServerError> {
    let metrics = Metrics::default();
    Server { config, store, coordination, listener, clock, metrics, http: None }.serve(shutdown).await
}

impl Server {
    /// As [`serve`].
    ///
    /// # Errors
    /// As [`serve`].
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), ServerError> {
        let Self { mut config, store, coordination, listener, clock, metrics, http } = self;
        let local = listener.local_addr().map_err(|error| ServerError::Listen(error.into()))?;
        if config.advertise.is_empty() {
            config.advertise = local.to_string();
        }
        wait_for_store(&store, config.join_patience).await?;
        let member = member(&config, &clock)?;
        join(&*coordination, member.clone(), config.join_patience).await?;

        // Whatever ends this function ends all of it, a panic or a dropped future included.
        let ended = CancellationToken::new();
        let _guard = ended.clone().drop_guard();
        let closing = CancellationToken::new();
        let stop_observers = ended.child_token();
        let mut loops: JoinSet<&'static str> = JoinSet::new();
        let mut lanes: JoinSet<&'static str> = JoinSet::new();

        let switchboard = Arc::new(Switchboard::new(metrics.clone()));
        let events = Arc::new(Events::new());
        let figures = Arc::new(Figures::new());
        let arms = Arc::new(Arms::default());
        let (stalls, breaks) = (Stalls::new(), StoreBreaks::new());
        let maps = MapHub::new(store.clone(), clock.clone(), switchboard.clone(), ended.child_token());
        let parts = CommitterParts {
            me: config.id.clone(),
            store: store.clone(),
            switchboard: switchboard.clone(),
            metrics: metrics.clone(),
            breaks: breaks.clone(),
            gather: config.commit_gather,
        };
        let count = config.commit_lanes.unwrap_or(if store.backend() == "sqlite" { 1 } else { LANES });
        let committer = Committer::start(&parts, count, &mut lanes, &ended);
        let ownership = Ownership::default();
        let peers = Peers::new(config.id.clone(), switchboard.clone(), ownership.clone(), metrics.clone());
        let shell = Shell {
            me: config.id.clone(),
            engine: config.engine,
            store: store.clone(),
            clock: clock.clone(),
            switchboard: switchboard.clone(),
            peers: peers.clone(),
            ownership: ownership.clone(),
            maps: maps.clone(),
            events: events.clone(),
            figures: figures.clone(),
            arms: arms.clone(),
            metrics: metrics.clone(),
            stalls: stalls.clone(),
            breaks: breaks.clone(),
        };
        let (logs, log_receiver) = Logs::new();

        let run = events::run(
            events.clone(),
            switchboard.clone(),
            metrics.clone(),
            clock.clone(),
            stop_observers.clone(),
        );
        spawn(&mut loops, "events", run);
        let run = figures::run(figures, store.clone(), clock.clone(), stop_observers.clone());
        spawn(&mut loops, "figures", run);
        spawn(&mut loops, "store breaks", breaks.watch(store.clone(), stop_observers.clone()));
        stall::start(stalls.clone(), metrics.clone(), stop_observers.clone())
            .map_err(|error| ServerError::BadConfig(format!("cannot start a thread: {error}")))?;
        let log_limit = config.log_limit.min(LONGEST_LOG_BYTES);
        let log_writer = LogWriter {
            store: store.clone(),
            switchboard: switchboard.clone(),
            metrics: metrics.clone(),
            receiver: log_receiver,
            limit: log_limit,
            groups: HashMap::new(),
            refused: HashSet::new(),
            shared: HashMap::new(),
        };
        spawn(&mut loops, "logs", log_writer.run(stop_observers.clone()));
        let placer = Placer {
            store: store.clone(),
            coordination: coordination.clone(),
            clock: clock.clone(),
            ownership: ownership.clone(),
            peers: peers.clone(),
            cluster: config.cluster,
            server_group: config.server_group,
            away_grace: config.away_grace,
            seen: BTreeMap::new(),
            short: BTreeSet::new(),
        };
        spawn(&mut loops, "placer", placer.run(closing.child_token()));
        if let Some((listener, registry)) = http {
            let observed =
                http::Observed { registry, store: store.clone(), coordination: coordination.clone() };
            spawn(&mut loops, "http", http::run(observed, listener, stop_observers.clone()));
        }
        let reconciler = Reconciler::new(shell, coordination.clone(), committer, ownership.clone(), member);
        let mut ownership_loop: JoinSet<&'static str> = JoinSet::new();
        spawn(&mut ownership_loop, "ownership", reconciler.run(closing.child_token()));

        let gateway = Arc::new(Gateway {
            server: config.id.to_string(),
            report_interval: config.report_interval,
            log_limit,
            rooms: config.rooms.clone(),
            clock: clock.clone(),
            tokens: WorkerTokens::new(store.clone(), clock.clone()),
            switchboard: switchboard.clone(),
            peers: peers.clone(),
            maps: maps.clone(),
            logs,
            events: events.clone(),
            closing: closing.clone(),
            ended: ended.clone(),
        });
        let peer_loop = PeerLoop {
            peers: peers.clone(),
            gateway: gateway.clone(),
            stalls,
            coordination: coordination.clone(),
            dialer: Dialer {
                cluster: config.cluster,
                server_group: config.server_group,
                secret: config.cluster_secret.clone(),
                tls: config.tls.clone(),
            },
        };
        spawn(&mut loops, "peers", peer_loop.run(ended.child_token()));
        let control = ControlService {
            server: config.id.clone(),
            version: config.version.clone(),
            room: config.room.clone(),
            clock,
            store,
            switchboard: switchboard.clone(),
            maps: maps.clone(),
            arms,
            events,
            ownership,
            ended: ended.child_token(),
        };
        let stop_grpc = ended.child_token();
        let peer_service = PeerService { peers, ended: ended.child_token() };
        let grpc = grpc(&config, listener, gateway, control, peer_service, stop_grpc.clone())?;
        spawn(&mut loops, "gRPC", grpc);
        tracing::info!(server = %config.id, room = %config.room, address = %config.advertise, "the server serves");

        // The loops only end when they are told to; one that ends by itself has failed.
        let failed = tokio::select! {
            () = shutdown.cancelled() => None,
            Some(ended) = loops.join_next() => Some(ended),
            Some(ended) = ownership_loop.join_next() => Some(ended),
        };
        if let Some(ended) = &failed {
            tracing::error!(?ended, "a loop of the server ended by itself, so the server stops");
        }

        let give_up = Instant::now() + config.shutdown_patience;
        tracing::info!(server = %config.id, "the server stops: it hands its shards over");
        closing.cancel();
        for worker in switchboard.workers() {
            let go_away = GoAway { why: "the server stops".into() };
            switchboard
                .send(worker.info.incarnation, ServerMessage { message: Some(Message::GoAway(go_away)) });
        }
        let wound_up = tokio::time::timeout_at(give_up, async {
            // The shards' loops hold the lanes; when they end, the lanes write what is left and end too.
            while ownership_loop.join_next().await.is_some() {}
            while lanes.join_next().await.is_some() {}
            for worker in switchboard.workers() {
                worker.close.cancel();
            }
            ended.cancel();
            maps.close().await;
            while loops.join_next().await.is_some() {}
        });
        if wound_up.await.is_err() {
            tracing::warn!(server = %config.id, "the server could not wind up in time; what was under way is found by the next owner");
            ended.cancel();
        }
        if let Err(error) = coordination.leave().await {
            tracing::debug!(error = %crate::chain(&error), "could not leave the cluster cleanly; the session's end does it");
        }
        match failed {
            Some(ended) => Err(ServerError::Loop(format!("{ended:?}"))),
            None => Ok(()),
        }
    }
}

fn spawn(
    loops: &mut JoinSet<&'static str>,
    name: &'static str,
    run: impl Future<Output = ()> + Send + 'static,
) {
    loops.spawn(async move {
        run.await;
        name
    });
}

async fn wait_for_store(store: &SharedStore, patience: Duration) -> Result<(), ServerError> {
    let give_up = Instant::now() + patience;
    loop {
        match store.ready().await {
            Ok(()) => return Ok(()),
            Err(error) if error.is_retryable() && Instant::now() < give_up => {
                tracing::warn!(error = %crate::chain(&error), "the store is not there yet");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(ServerError::Store(error)),
        }
    }
}

fn member(config: &ServerConfig, clock: &Clock) -> Result<Member, ServerError> {
    Ok(Member {
        id: MemberId::new(config.id.as_str()).map_err(|error| ServerError::BadConfig(error.to_string()))?,
        kind: MemberKind::Server,
        room: config.room.clone(),
        address: config.advertise.clone(),
        server_group: config.server_group,
        cluster: config.cluster,
        version: config.version.clone(),
        incarnation: rand::random::<u64>() >> 1,
        load: Load::default(),
        draining: false,
        joined_at_ms: clock.now().as_millis(),
    })
}

async fn join(
    coordination: &dyn Coordination,
    member: Member,
    patience: Duration,
) -> Result<(), ServerError> {
    join_with_patience(coordination, member, patience).await.map_err(|error| match error {
        CoordinationError::IdTaken { holder } => {
            ServerError::IdTaken { id: holder.id.to_string(), address: holder.address.clone() }
        }
        other => ServerError::Join(other),
    })
}

/// The gRPC listener, ready to run.
fn grpc(
    config: &ServerConfig,
    listener: TcpListener,
    gateway: Arc<Gateway>,
    control: ControlService,
    peer: PeerService,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + 'static, ServerError> {
    let mut server = GrpcServer::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_PATIENCE));
    if let Some(tls) = &config.tls {
        let mut settings = ServerTlsConfig::new().identity(Identity::from_pem(&tls.certificate, &tls.key));
        if let Some(authority) = &tls.client_authority {
            settings = settings.client_ca_root(Certificate::from_pem(authority));
        }
        server =
            server.tls_config(settings).map_err(|error| ServerError::BadConfig(format!("tls: {error}")))?;
    }
    let gateway = WorkerGatewayServer::new(GatewayService(gateway))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let secret = config.cluster_secret.as_ref().map(|secret| Sha256::digest(secret.as_bytes()));
    let admit = move |request: Request<()>| {
        let Some(secret) = &secret else { return Ok(request) };
        let given = request.metadata().get("carillon-cluster-secret");
        // Digests are compared, so that the time it takes says nothing about the secret.
        match given.map(|given| Sha256::digest(given.as_bytes())) {
            Some(given) if given == *secret => Ok(request),
            Some(_) => Err(Status::unauthenticated("carillon-cluster-secret: not the cluster's secret")),
            None => Err(Status::unauthenticated(
                "carillon-cluster-secret: missing; the cluster's servers and consoles share one",
            )),
        }
    };
    let control = ControlServer::with_interceptor(control, admit);
    let peer = PeerServer::new(peer)
        .max_decoding_message_size(MAX_PEER_BYTES)
        .max_encoding_message_size(MAX_PEER_BYTES);
    let peer = InterceptedService::new(peer, admit);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let router = server.add_service(gateway).add_service(control).add_service(peer);
    Ok(async move {
        if let Err(error) = router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await {
            tracing::error!(error = %crate::chain(&error), "the gRPC listener failed");
        }
    })
}
