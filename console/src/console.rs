//! What every handler has at hand: the store, the coordinator, the servers, and the console's own small state.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderMap;
use carillon_coordination::Coordination;
use carillon_core::time::Timestamp;
use carillon_store::{SharedStore, StoreError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::next_fires::Schedules;
use crate::audit::AuditTrail;
use crate::auth::password::Passwords;
use crate::auth::sign_in::make_code;
use crate::clock::Clock;
use crate::config::ConsoleConfig;
use crate::events::EventHub;
use crate::metrics::Metrics;
use crate::servers::Servers;

/// A console. It keeps nothing that another console could not do without: event numbers, and answers for a moment.
pub struct Console {
    pub(crate) config: ConsoleConfig,
    pub(crate) store: SharedStore,
    pub(crate) coordination: Arc<dyn Coordination>,
    pub(crate) clock: Clock,
    pub(crate) servers: Servers,
    pub(crate) passwords: Passwords,
    pub(crate) audit: AuditTrail,
    pub(crate) metrics: Metrics,
    pub(crate) events: EventHub,
    pub(crate) schedules: Schedules,
    /// The turn of edits that others have outdated.
    pub(crate) contended_edits: Semaphore,
    pub(crate) started_at: Timestamp,
    /// Work that outlives its request; shutdown waits for it.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when shutdown begins: what a browser holds open ends then.
    pub(crate) stopping: CancellationToken,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Console {
    /// Puts a console together. Nothing is contacted yet.
    pub fn new(
        config: ConsoleConfig,
        store: SharedStore,
        coordination: Arc<dyn Coordination>,
        clock: Clock,
    ) -> Arc<Self> {
        let started_at = clock();
        let passwords = Passwords::new(config.password_cost);
        let servers = Servers::new(
            config.cluster,
            config.cluster_secret.as_deref(),
            config.server_tls.clone(),
            Arc::clone(&coordination),
        );
        Arc::new(Self {
            config,
            store,
            coordination,
            clock,
            servers,
            passwords,
            audit: AuditTrail::default(),
            metrics: Metrics::default(),
            events: EventHub::default(),
            schedules: Schedules::default(),
            contended_edits: Semaphore::new(1),
            started_at,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        })
    }

    /// A code with which `/sign-in?code=...` signs a user in once, within ten minutes, at any console: for the link that `carillon dev`
    /// prints.
    ///
    /// # Errors
    /// When the store does not answer, or has no such user.
    pub async fn one_time_code(&self, user: u64) -> Result<String, StoreError> {
        let found = self.store.user(user).await?;
        let user = found.ok_or_else(|| StoreError::NotFound { what: "user", id: user.to_string() })?;
        make_code(self, &user).await
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The address a request came from; behind a trusted proxy, the one that the proxy saw.
    pub(crate) fn source_of(&self, request: &Request) -> String {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let Some(peer) = peer else { return "unknown".to_owned() };
        if !self.is_trusted(peer) {
            return peer.to_canonical().to_string();
        }
        // Each proxy appends whom it saw: the last address that is not a proxy's own is the requester's.
        let seen = request.headers().get_all("x-forwarded-for").iter();
        let seen: Vec<IpAddr> = seen
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|address| address.trim().parse().ok())
            .collect();
        let client = seen.iter().rev().find(|address| !self.is_trusted(**address)).copied();
        client.unwrap_or(peer).to_canonical().to_string()
    }

    /// Whether the browser speaks TLS with us or with a proxy in front of us.
    pub(crate) fn is_secure(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> bool {
        let forwarded = headers
            .get("x-forwarded-proto")
            .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
        self.config.tls || (forwarded && peer.is_some_and(|peer| self.is_trusted(peer)))
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.config.trusted_proxies.iter().any(|network| network.contains(address))
    }
}
