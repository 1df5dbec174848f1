//! What a server needs to be told. Parsed and documented for users by the binary; passed, never global.

use std::time::Duration;

use carillon_core::engine::EngineConfig;
use carillon_core::ids::ServerId;
use carillon_core::network::Network;

/// A server's configuration.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Its name, unique in the cluster and the same after a restart.
    pub id: ServerId,
    /// The cluster it belongs to: the first number of its task groups' ids.
    pub cluster: u32,
    /// Its server group: the second number of its task groups' ids.
    pub server_group: u32,
    /// The machine room it stands in.
    pub room: String,
    /// The cluster's room table, for workers that do not name theirs.
    pub rooms: Vec<(Network, String)>,
    /// `host:port` at which workers, consoles and peers reach its gRPC listener.
    pub advertise: String,
    /// The version of the binary, for pages.
    pub version: String,
    /// What consoles and peers must carry in the metadata `carillon-cluster-secret` of their calls; none for no check.
    pub cluster_secret: Option<String>,
    /// Certificates for the gRPC listener; none for plain text.
    pub tls: Option<TlsConfig>,
    /// The trigger engine's horizon and patience.
    pub engine: EngineConfig,
    /// How long a join waits for its predecessor's session to end (default 15 s: more than twice a session of 6 s).
    pub join_patience: Duration,
    /// The most log bytes kept of an attempt (default [`carillon_store::logs::MAX_LOG_BYTES`], at most
    /// [`carillon_store::logs::LONGEST_LOG_BYTES`]).
    pub log_limit: u64,
    /// How long workers gather reports (default 20 ms): the price of a batch against the time to an acknowledgement.
    pub report_interval: Duration,
    /// How long the committer gathers what may share a transaction (default 2 ms): below what anyone notices.
    pub commit_gather: Duration,
    /// How many transactions run side by side; none for one on SQLite and four elsewhere.
    pub commit_lanes: Option<usize>,
    /// How long a member may be gone before its shards get other holders (default 10 s: a restart is quicker).
    pub away_grace: Duration,
    /// How long shutting down may take (default 5 s).
    pub shutdown_patience: Duration,
}

impl ServerConfig {
    /// A configuration with every default.
    pub fn new(id: ServerId, cluster: u32, server_group: u32, room: impl Into<String>) -> Self {
        Self {
            id,
            cluster,
            server_group,
            room: room.into(),
            rooms: Vec::new(),
            advertise: String::new(),
            version: env!("CARGO_PKG_VERSION").into(),
            cluster_secret: None,
            tls: None,
            engine: EngineConfig::default(),
            join_patience: Duration::from_secs(15),
            log_limit: carillon_store::logs::MAX_LOG_BYTES,
            report_interval: Duration::from_millis(20),
            commit_gather: Duration::from_millis(2),
            commit_lanes: None,
            away_grace: Duration::from_secs(10),
            shutdown_patience: Duration::from_secs(5),
        }
    }
}

/// Certificates in PEM form.
#[derive(Clone)]
pub struct TlsConfig {
    /// The server's certificate chain.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
    /// Who signs the certificates that clients must show; none to accept clients without one.
    pub client_authority: Option<Vec<u8>>,
}

impl std::fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsConfig").field("mutual", &self.client_authority.is_some()).finish_non_exhaustive()
    }
}
