//! What a console is told at its start.

use carillon_coordination::Member;
use carillon_core::network::Network;
use carillon_core::time::Span;
use tonic::transport::ClientTlsConfig;

use crate::pages::Pages;

/// A console's settings. [`ConsoleConfig::new`] gives every default.
#[derive(Debug, Clone)]
pub struct ConsoleConfig {
    /// The cluster whose groups are served; groups of other clusters cannot be created here.
    pub cluster: u32,
    /// How this console presents itself to the cluster; none to stay unknown, as tests do.
    pub member: Option<Member>,
    /// The listener speaks TLS: cookies are then marked `Secure`.
    pub tls: bool,
    /// Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<Network>,
    /// What servers are shown so that they listen to this console; the cluster's servers know the same. None where they ask for none.
    pub cluster_secret: Option<String>,
    /// How to reach servers over TLS; none for plain text.
    pub server_tls: Option<ClientTlsConfig>,
    /// How long a sign-in lasts (default 12 h: a working day).
    pub session_lifetime: Span,
    /// What hashing a password costs.
    pub password_cost: PasswordCost,
    /// How often signing in may fail.
    pub sign_in_limits: SignInLimits,
    /// How far ahead the servers plan; edits report armed runs within it (default 30 s).
    pub horizon: Span,
    /// Where the web pages come from.
    pub pages: Pages,
    /// What starts are to be like, for the overview.
    pub objective: Objective,
    /// How many days final runs are kept, with their logs, unless their task group says otherwise (default 30).
    pub keep_days: u32,
    /// The most log bytes that the servers keep of an attempt, for people.
    pub log_limit: u64,
}

impl ConsoleConfig {
    /// The defaults for a cluster.
    pub fn new(cluster: u32) -> Self {
        Self {
            cluster,
            member: None,
            tls: false,
            trusted_proxies: Vec::new(),
            cluster_secret: None,
            server_tls: None,
            session_lifetime: Span::from_secs(12 * 3600),
            password_cost: PasswordCost::default(),
            sign_in_limits: SignInLimits::default(),
            horizon: Span::from_secs(30),
            pages: Pages::default(),
            objective: Objective::default(),
            keep_days: 30,
            log_limit: carillon_store::logs::MAX_LOG_BYTES,
        }
    }
}

/// The objective for lateness: within a window, a share of all starts is to be no later than a target. Fires that are missed count as late.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Objective {
    /// The largest lateness that is good (default 1 s). Counted by the bounds of [`carillon_store::observed::LATENESS_BOUNDS_MS`].
    pub target: Span,
    /// The share of good starts, between 0 and 1 (default 0.9999).
    pub share: f64,
    /// Over how much time (default 30 days).
    pub window: Span,
}

impl Default for Objective {
    fn default() -> Self {
        Self { target: Span::SECOND, share: 0.9999, window: Span::from_secs(30 * 24 * 3600) }
    }
}

/// The cost of an argon2id hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Default for PasswordCost {
    /// The first choice of the OWASP password storage cheat sheet: 19 MiB, two passes.
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2 }
    }
}

/// How many sign-ins may fail within a window before further ones are refused until its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignInLimits {
    /// The window (default 15 min).
    pub window: Span,
    /// Failures for one name (default 10: more than a forgetful person needs, far too few to guess).
    pub per_name: u32,
    /// Failures from one address (default 50: an office behind one address must still get in).
    pub per_address: u32,
}

impl Default for SignInLimits {
    fn default() -> Self {
        Self { window: Span::from_secs(900), per_name: 10, per_address: 50 }
    }
}
