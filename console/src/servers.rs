//! The way to the servers: who lives, over cached channels, every call with a deadline.

pub(crate) mod calls;
pub(crate) mod status;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use carillon_coordination::{Coordination, CoordinationError, Member, MemberKind};
use carillon_core::ids::ServerId;
use carillon_proto::v1::control_client::ControlClient;
use carillon_store::shards::ShardRow;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use crate::problem::{Problem, Result, chain};
use carillon_core::time::Span;

/// A server that does not take a connection within this time is as good as dead for a person who waits.
const CONNECT_DEADLINE: Duration = Duration::from_secs(1);

/// A server answers in milliseconds, or waits for the store, which gets this long.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(3);

/// The most channels kept: every server of a large cluster; beyond it they are made anew.
const MOST_CHANNELS: usize = 1_000;

/// The cluster's servers as seen by a console.
pub(crate) struct Servers {
    cluster: u32,
    tls: Option<ClientTlsConfig>,
    coordination: Arc<dyn Coordination>,
    channels: Mutex<HashMap<String, Channel>>,
    names: Mutex<status::WorkerNames>,
}

impl Servers {
    pub(crate) fn new(
        cluster: u32,
        tls: Option<ClientTlsConfig>,
        coordination: Arc<dyn Coordination>,
    ) -> Self {
        Self { cluster, tls, coordination, channels: Mutex::default(), names: Mutex::default() }
    }

    /// The live servers of the cluster, by id.
    pub(crate) async fn live(&self) -> Result<Vec<Member>> {
        let members = self.coordination.members().await.map_err(unavailable)?;
        let of_cluster =
            |member: &Member| member.kind == MemberKind::Server && member.cluster == self.cluster;
        Ok(members.into_iter().filter(of_cluster).collect())
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
    pub(crate) fn client(&self, address: &str) -> Result<ControlClient<Channel>, tonic::Status> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(ControlClient::new(channel.clone()));
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
        Ok(ControlClient::new(channel))
    }
}

fn unavailable(error: CoordinationError) -> Problem {
    tracing::warn!(error = %chain(&error), "the coordinator did not answer");
    Problem::unavailable(
        "coordination_unavailable",
        "the cluster's coordinator does not answer, so the live servers are not known",
        Span::SECOND,
    )
}
