//! Opens links: the server with the smaller id calls the other, and calls again until the other leaves the cluster. Links outlive the
//! coordinator: what it said last is gone by while it is away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use carillon_coordination::{Coordination, Hint, Hints, MemberKind};
use carillon_core::ids::ServerId;
use carillon_proto::v1::peer_client::PeerClient;
use rand::RngExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::link::{self, LinkError, MAX_PEER_BYTES};
use super::{OUTGOING, Peers, heartbeat};
use crate::config::TlsConfig;
use crate::rpc::Gateway;
use crate::stall::Stalls;

/// How often the members are looked at without a hint.
const PERIOD: Duration = Duration::from_secs(1);

/// The waits between tries to reach a peer: short at first, since a restart is quick.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(2);

/// A peer in the same network answers in milliseconds; one that does not within this is away.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// How peers are reached.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) cluster: u32,
    pub(crate) server_group: u32,
    pub(crate) secret: Option<String>,
    pub(crate) tls: Option<TlsConfig>,
}

/// The loop "peers".
pub(crate) struct PeerLoop {
    pub(crate) peers: Arc<Peers>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) stalls: Arc<Stalls>,
    pub(crate) coordination: Arc<dyn Coordination>,
    pub(crate) dialer: Dialer,
}

/// A peer that is called.
struct Called {
    address: String,
    /// Cancelled when it is not to be called again.
    retired: CancellationToken,
}

impl PeerLoop {
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        tasks.spawn(heartbeat::run(
            self.peers.clone(),
            self.gateway.clone(),
            self.stalls.clone(),
            stop.clone(),
        ));
        let mut hints = self.coordination.hints();
        let mut called: BTreeMap<ServerId, Called> = BTreeMap::new();
        loop {
            self.look(&mut called, &mut tasks, &stop).await;
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(PERIOD) => {}
                () = wake(&mut hints) => {}
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Calls whom it is this server's part to call.
    async fn look(
        &self,
        called: &mut BTreeMap<ServerId, Called>,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) {
        while tasks.try_join_next().is_some() {}
        let Ok(members) = self.coordination.members().await else { return };
        let mut there: BTreeMap<ServerId, String> = BTreeMap::new();
        for member in members {
            let ours = member.kind == MemberKind::Server
                && member.cluster == self.dialer.cluster
                && member.server_group == self.dialer.server_group;
            if let Ok(id) = member.id.as_str().parse::<ServerId>()
                && ours
                && id > self.peers.me
            {
                there.insert(id, member.address);
            }
        }
        called.retain(|id, called| {
            let stays = there.get(id) == Some(&called.address);
            if !stays {
                called.retired.cancel();
            }
            stays
        });
        for (id, address) in there {
            called.entry(id.clone()).or_insert_with(|| {
                let retired = stop.child_token();
                let (peers, dialer) = (self.peers.clone(), self.dialer.clone());
                tasks.spawn(call(peers, dialer, id, address.clone(), retired.clone(), stop.clone()));
                Called { address, retired }
            });
        }
    }
}

/// Keeps a link to one peer until it is retired and the link has ended.
async fn call(
    peers: Arc<Peers>,
    dialer: Dialer,
    peer: ServerId,
    address: String,
    retired: CancellationToken,
    stop: CancellationToken,
) {
    let mut backoff = FIRST_BACKOFF;
    let mut said = String::new();
    while !retired.is_cancelled() {
        let began = tokio::time::Instant::now();
        let ended = tokio::select! {
            ended = dialer.link(&peers, &peer, &address, stop.child_token()) => ended,
            () = stop.cancelled() => return,
        };
        if let Err(error) = ended {
            // Once for each trouble: a peer may be away for long.
            let why = crate::chain(&error);
            if why != said {
                tracing::info!(%peer, address, error = %why, "no link to a peer, trying again");
                said = why;
            }
        }
        if began.elapsed() > LAST_BACKOFF {
            (backoff, said) = (FIRST_BACKOFF, String::new());
        }
        let jitter = rand::rng().random_range(0.5..1.5);
        tokio::select! {
            () = tokio::time::sleep(backoff.mul_f64(jitter)) => {}
            () = retired.cancelled() => return,
        }
        backoff = (backoff * 2).min(LAST_BACKOFF);
    }
}

impl Dialer {
    async fn link(
        &self,
        peers: &Arc<Peers>,
        peer: &ServerId,
        address: &str,
        close: CancellationToken,
    ) -> Result<(), LinkError> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(LinkError::Connect)?
            .connect_timeout(CONNECT_DEADLINE)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(1))
            .keep_alive_timeout(Duration::from_secs(2));
        if let Some(tls) = &self.tls {
            // Servers show each other the certificates that they show to workers.
            let authority = tls.client_authority.as_ref().unwrap_or(&tls.certificate);
            let settings = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(authority))
                .identity(Identity::from_pem(&tls.certificate, &tls.key));
            endpoint = endpoint.tls_config(settings).map_err(LinkError::Connect)?;
        }
        let channel = endpoint.connect().await.map_err(LinkError::Connect)?;
        let mut client = PeerClient::new(channel)
            .max_decoding_message_size(MAX_PEER_BYTES)
            .max_encoding_message_size(MAX_PEER_BYTES);
        let (outgoing, told) = mpsc::channel(OUTGOING);
        let mut request = Request::new(ReceiverStream::new(told));
        if let Some(secret) = &self.secret {
            let secret = secret.parse().map_err(|_| LinkError::Secret)?;
            request.metadata_mut().insert("carillon-cluster-secret", secret);
        }
        let opened = tokio::time::timeout(CONNECT_DEADLINE, client.link(request)).await;
        let mut messages = opened.map_err(|_| LinkError::Silent)??.into_inner();
        link::keep(peers, Some(peer), outgoing, &mut messages, close).await
    }
}

/// Waits for a hint that may concern who is there.
async fn wake(hints: &mut Hints) {
    loop {
        match hints.next().await {
            Some(Hint::MembersChanged | Hint::Rescan | Hint::Session(_)) => return,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}
