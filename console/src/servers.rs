//! The way to the servers: who lives, over cached channels, every call with a deadline.

pub(crate) mod calls;
pub(crate) mod status;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use carillon_coordination::{Coordination, Member, MemberKind};
use carillon_core::ids::ServerId;
use carillon_proto::v1::control_client::ControlClient;
use carillon_store::shards::ShardRow;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use crate::problem::{Problem, Result, chain};
use carillon_core::time::Span;

/// A server that does not take a connection within this time is as good as dead for a person who waits.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);

/// A server answers in milliseconds, or waits for the store, which gets this long.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(3);

/// How long a server that the coordinator no longer tells of is still told of edits (one minute): by then its shards have other holders.
const REMEMBERED: Duration = Duration::from_secs(60);

/// A coordinator answers within a few milliseconds; one that takes longer is away, and what it said last is better than a person who waits.
const COORDINATOR_PATIENCE: Duration = Duration::from_millis(250);

/// The most channels kept: every server of a large cluster; beyond it they are made anew.
const MOST_CHANNELS: usize = 1_000;

/// A client of one server, whose calls carry the cluster's secret.
pub(crate) type Client = ControlClient<InterceptedService<Channel, Secret>>;

/// What servers ask for from those who tell them what to do.
#[derive(Debug, Clone)]
pub(crate) struct Secret(Option<MetadataValue<Ascii>>);

impl Secret {
    /// A secret that is no text of a header cannot be shown to anybody: calls go without it, and are refused.
    fn new(secret: Option<&str>) -> Self {
        let secret = secret.and_then(|secret| secret.parse().ok());
        Self(secret.map(|mut secret: MetadataValue<Ascii>| {
            secret.set_sensitive(true);
            secret
        }))
    }
}

impl Interceptor for Secret {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(secret) = &self.0 {
            request.metadata_mut().insert("carillon-cluster-secret", secret.clone());
        }
        Ok(request)
    }
}

/// The servers that live, and those that the coordinator has lost lately.
pub(crate) struct Known {
    pub(crate) live: Vec<Member>,
    pub(crate) missing: Vec<Member>,
}

/// The cluster's servers as seen by a console.
pub(crate) struct Servers {
    cluster: u32,
    secret: Secret,
    tls: Option<ClientTlsConfig>,
    coordination: Arc<dyn Coordination>,
    /// The cluster's servers as the coordinator told them last.
    told: Mutex<Option<Vec<Member>>>,
    /// Servers that it told of before, and when they were missing first.
    missing: Mutex<Vec<(Member, Instant)>>,
    channels: Mutex<HashMap<String, Channel>>,
    names: Mutex<status::WorkerNames>,
    recent: status::Recent,
}

impl Servers {
    pub(crate) fn new(
        cluster: u32,
        secret: Option<&str>,
        tls: Option<ClientTlsConfig>,
        coordination: Arc<dyn Coordination>,
    ) -> Self {
        let secret = Secret::new(secret);
        Self {
            cluster,
            secret,
            tls,
            coordination,
            told: Mutex::default(),
            missing: Mutex::default(),
            channels: Mutex::default(),
            names: Mutex::default(),
            recent: status::Recent::default(),
        }
    }

    /// The live servers of the cluster, by id. While the coordinator is away they are those it told of last: the servers go on without it, and
    /// so do requests to them.
    pub(crate) async fn live(&self) -> Result<Vec<Member>> {
        let asked = tokio::time::timeout(COORDINATOR_PATIENCE, self.coordination.members()).await;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = match asked {
            Ok(Ok(mut members)) => {
                members.retain(|member| member.kind == MemberKind::Server && member.cluster == self.cluster);
                self.note_missing(told.as_deref().unwrap_or_default(), &members);
                return Ok(told.insert(members).clone());
            }
            Ok(Err(error)) => chain(&error).to_string(),
            Err(_) => format!("no answer within {COORDINATOR_PATIENCE:?}"),
        };
        match &*told {
            Some(members) => {
                tracing::debug!(
                    error = failed,
                    "the coordinator did not answer; its last word on the servers is used"
                );
                Ok(members.clone())
            }
            None => Err(unavailable(&failed)),
        }
    }

    fn note_missing(&self, before: &[Member], now: &[Member]) {
        let is_there = |member: &Member| now.iter().any(|other| other.id == member.id);
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.retain(|(member, since)| since.elapsed() < REMEMBERED && !is_there(member));
        missing.extend(
            before.iter().filter(|member| !is_there(member)).map(|gone| (gone.clone(), Instant::now())),
        );
    }

    /// The live servers, and those that were until lately: one that the coordinator has lost may hold its shards, and arm, all the same.
    pub(crate) async fn perhaps_live(&self) -> Result<Known> {
        let live = self.live().await?;
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = missing.iter().filter(|(_, since)| since.elapsed() < REMEMBERED);
        Ok(Known { live, missing: lately.map(|(member, _)| member.clone()).collect() })
    }

    /// The live servers in the order in which a request about a shard should try them: its owner, its holders, the others of its
    /// server group.
    pub(crate) async fn for_shard(&self, shard: &ShardRow) -> Result<Vec<Member>> {
        let mut live = self.live().await?;
        live.retain(|member| member.server_group == shard.id.group().server_group());
        live.sort_by_key(|member| {
            let is = |id: &ServerId| id.as_str() == member.id.as_str();
            let place = shard.holders.iter().position(is);
            (!shard.owner.as_ref().is_some_and(is), place.unwrap_or(usize::MAX))
        });
        Ok(live)
    }

    /// A client for the server at `address`, connected when first used.
    pub(crate) fn client(&self, address: &str) -> Result<Client, tonic::Status> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(self.with_secret(channel.clone()));
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let refused = |error: tonic::transport::Error| tonic::Status::unavailable(chain(&error));
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(refused)?
            .connect_timeout(CONNECT_DEADLINE)
            // A server that vanished without a word is noticed on the streams within these times.
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(3))
            .keep_alive_while_idle(true);
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls_config(tls.clone()).map_err(refused)?;
        }
        if channels.len() >= MOST_CHANNELS {
            channels.clear();
        }
        let channel = endpoint.connect_lazy();
        channels.insert(address.to_owned(), channel.clone());
        Ok(self.with_secret(channel))
    }

    fn with_secret(&self, channel: Channel) -> Client {
        ControlClient::with_interceptor(channel, self.secret.clone())
    }
}

fn unavailable(error: &str) -> Problem {
    tracing::warn!(error, "the coordinator did not answer");
    Problem::unavailable(
        "coordination_unavailable",
        "the cluster's coordinator does not answer, so the live servers are not known",
        Span::SECOND,
    )
}
