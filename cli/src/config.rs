//! Configuration: one struct per concern, the same shape in every process.
//!
//! A value comes from the first of these that has it: a flag, the environment (`CARILLON_STORE_URL` for `store.url`), the TOML file,
//! the default. [`Layers`] gathers the texts and remembers where each came from; [`Config::read`] turns them into values and
//! names everything that is wrong at once. Config is passed on from here, never global.

mod concern;
mod layers;
mod setting;

use std::path::PathBuf;

use carillon_core::ids::ServerId;
use carillon_core::network::{Network, room_of};
use carillon_core::time::Span;

pub use concern::{Key, Secrecy};
pub use layers::{Layers, Origin};
pub use setting::{Address, Endpoint, LogFormat, LogLevel, Setting, StoreUrl};

use concern::concern;

concern! {
    /// Which installation this process belongs to.
    pub struct ClusterConfig in "cluster" {
        /// The cluster's number: the first part of its task groups' ids, 1 to 2147483647.
        id: u32 = "101";
        /// What servers and consoles show each other, so that nobody else can tell a server what to do; the same in all of them.
        secret: Option<String> = "", secret Secrecy::Whole;
    }
}

concern! {
    /// A server's place in the cluster.
    pub struct ServerConfig in "server" {
        /// The server's name, unique in the cluster: letters, digits, '.', '-', '_'. Needed by `carillon server`.
        id: Option<String> = "";
        /// The pool of servers it belongs to: the second part of its task groups' ids.
        server_group: u32 = "1";
        /// The machine room it stands in; wins over the room table.
        room: Option<String> = "";
        /// The cluster's room table, network to room: "10.1.0.0/16=room-a,10.2.0.0/16=room-b". Looked up with the advertised address, and with
        /// those of workers that name no room.
        rooms: Vec<(Network, String)> = "";
        /// Where it listens for workers, consoles and peers (gRPC).
        listen: Address = "127.0.0.1:7710";
        /// host:port under which the others reach it; the listen address unless that is a wildcard.
        advertise: Option<Endpoint> = "";
        /// Where it serves /metrics, /livez and /readyz (HTTP); nowhere unless set.
        http: Option<Address> = "";
        /// How long it may take to hand over and close when it is told to stop.
        shutdown_patience: Span = "5s";
    }
}

concern! {
    /// The console's listener.
    pub struct ConsoleConfig in "console" {
        /// Where it serves the pages and the REST API (HTTP).
        listen: Address = "127.0.0.1:7700";
        /// Networks of proxies whose X-Forwarded-For is believed: "10.0.0.0/8,127.0.0.1".
        trusted_proxies: Vec<Network> = "";
        /// A folder with the web pages, in place of those in the binary.
        pages: Option<PathBuf> = "";
        /// The largest lateness of a start that counts as good in the overview's objective.
        slo_target: Span = "1s";
        /// How many starts of a million may be later than that, or missed.
        slo_budget_ppm: u32 = "100";
        /// Over how much time the objective is looked at.
        slo_window: Span = "30d";
        /// How many days final runs are kept with their logs, unless their task group says otherwise.
        keep_days: u32 = "30";
    }
}

concern! {
    /// Where everything that must survive is kept.
    pub struct StoreConfig in "store" {
        /// mysql://user:password@host:port/database for clusters, sqlite:path/to/file.db for one process.
        url: Option<StoreUrl> = "", secret Secrecy::Password;
    }
}

concern! {
    /// The coordinator of servers and consoles.
    pub struct ZookeeperConfig in "zookeeper" {
        /// The ensemble: "zoo1:2181,zoo2:2181,zoo3:2181".
        connect: Vec<Endpoint> = "";
        /// How long a silent process keeps its locks and its membership, 2s to 60s.
        session_timeout: Span = "6s";
        /// The node under which this cluster lives.
        root: String = "/carillon";
    }
}

concern! {
    /// What the process tells on stderr.
    pub struct LogsConfig in "logs" {
        /// error, warn, info, debug or trace, or directives such as "info,carillon_server=debug".
        level: LogLevel = "info";
        /// text for people, json for machines.
        format: LogFormat = "text";
    }
}

concern! {
    /// Certificates of the gRPC ports between servers, consoles and workers. Pages and the REST API get theirs from the proxy in front.
    pub struct TlsConfig in "tls" {
        /// The PEM file with this process's certificate chain; without it the ports speak plain text.
        certificate: Option<PathBuf> = "";
        /// The PEM file with its private key.
        key: Option<PathBuf> = "";
        /// The PEM file with the authority that signed the others' certificates.
        authority: Option<PathBuf> = "";
        /// Whether a server takes only those who show a certificate of that authority.
        mutual: bool = "false";
    }
}

concern! {
    /// How far ahead and how patient servers are. The defaults are the trigger protocol's; all servers of a cluster should agree.
    pub struct LimitsConfig in "limits" {
        /// How far ahead fires are planned: the database may be away for this long less a slice, 10s to 5m.
        horizon: Span = "30s";
        /// A worker without a stream for this long is lost, 1s to 5m.
        worker_lost_after: Span = "5s";
        /// A server that is gone for this long is replaced at its shards, 1s to 5m.
        server_away_after: Span = "10s";
        /// How long a cancelled or timed out handler has before it is given up, 100ms to 5m.
        cancel_grace: Span = "5s";
        /// How much log of an attempt is kept, in MiB, 1 to 4095.
        log_megabytes: u32 = "10";
    }
}

/// Everything a process is told at its start.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Which installation this is.
    pub cluster: ClusterConfig,
    /// The server's place.
    pub server: ServerConfig,
    /// The console's listener.
    pub console: ConsoleConfig,
    /// What survives.
    pub store: StoreConfig,
    /// The coordinator.
    pub zookeeper: ZookeeperConfig,
    /// What is told.
    pub logs: LogsConfig,
    /// Certificates.
    pub tls: TlsConfig,
    /// How patient servers are.
    pub limits: LimitsConfig,
}

/// The processes that read a config, for the checks of what each of them needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// `carillon server`.
    Server,
    /// `carillon console`.
    Console,
    /// `carillon migrate`.
    Migrate,
}

/// One thing wrong with a config.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message} (from {origin})")]
pub struct ConfigError {
    /// The key as the file spells it: `store.url`.
    pub key: String,
    /// What was given and what would be right.
    pub message: String,
    /// Where the value came from.
    pub origin: Origin,
}

impl Config {
    /// Every key there is, in the order of the concerns.
    pub fn keys() -> impl Iterator<Item = &'static Key> {
        [
            ClusterConfig::KEYS,
            ServerConfig::KEYS,
            ConsoleConfig::KEYS,
            StoreConfig::KEYS,
            ZookeeperConfig::KEYS,
            LogsConfig::KEYS,
            TlsConfig::KEYS,
            LimitsConfig::KEYS,
        ]
        .into_iter()
        .flatten()
    }

    /// Reads the gathered texts.
    ///
    /// # Errors
    /// Every value that is not what its key wants.
    pub fn read(layers: &Layers) -> Result<Self, Vec<ConfigError>> {
        let mut errors = layers.errors().to_vec();
        let config = Self {
            cluster: ClusterConfig::read(layers, &mut errors),
            server: ServerConfig::read(layers, &mut errors),
            console: ConsoleConfig::read(layers, &mut errors),
            store: StoreConfig::read(layers, &mut errors),
            zookeeper: ZookeeperConfig::read(layers, &mut errors),
            logs: LogsConfig::read(layers, &mut errors),
            tls: TlsConfig::read(layers, &mut errors),
            limits: LimitsConfig::read(layers, &mut errors),
        };
        config.check_bounds(layers, &mut errors);
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }

    /// Checks that everything a process of this role needs is there.
    ///
    /// # Errors
    /// Every key that is missing.
    pub fn check_role(&self, role: Role, layers: &Layers) -> Result<(), Vec<ConfigError>> {
        let needed: &[(&str, bool)] = match role {
            Role::Server => &[
                ("server.id", self.server.id.is_some()),
                ("server.room", self.server.room.is_some() || self.room_from_table().is_some()),
                ("server.advertise", self.server.advertise.is_some() || !self.server.listen.is_wildcard()),
                ("store.url", self.store.url.is_some()),
                ("zookeeper.connect", !self.zookeeper.connect.is_empty()),
            ],
            Role::Console => &[
                ("store.url", self.store.url.is_some()),
                ("zookeeper.connect", !self.zookeeper.connect.is_empty()),
            ],
            Role::Migrate => &[("store.url", self.store.url.is_some())],
        };
        let missing: Vec<_> = needed
            .iter()
            .filter(|(_, there)| !there)
            .map(|(key, _)| layers.refuse(key, missing_text(key)))
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    /// host:port under which the others reach this server; none when it listens on a wildcard and is not told.
    pub fn advertised(&self) -> Option<String> {
        match &self.server.advertise {
            Some(endpoint) => Some(endpoint.to_string()),
            None if self.server.listen.is_wildcard() => None,
            None => Some(self.server.listen.to_string()),
        }
    }

    /// The server's machine room: its own word, or that of the room table's narrowest network that holds its address.
    pub fn room(&self) -> Option<String> {
        self.server.room.clone().or_else(|| self.room_from_table())
    }

    fn room_from_table(&self) -> Option<String> {
        let advertised = self.advertised()?;
        let host = advertised.rsplit_once(':').map_or(advertised.as_str(), |(host, _)| host);
        let address = host.trim_matches(['[', ']']).parse().ok()?;
        room_of(&self.server.rooms, address).map(str::to_owned)
    }

    fn check_bounds(&self, layers: &Layers, errors: &mut Vec<ConfigError>) {
        let mut check = |fine: bool, key: &str, message: String| {
            if !fine {
                errors.push(layers.refuse(key, message));
            }
        };
        let minutes = |count: u64| Span::from_secs(count * 60);
        for (key, span, least, most) in [
            // Shorter than 2 s, a garbage collection of the ensemble ends sessions; longer than 60 s, nobody would call it standby.
            ("zookeeper.session_timeout", self.zookeeper.session_timeout, Span::from_secs(2), minutes(1)),
            ("server.shutdown_patience", self.server.shutdown_patience, Span::SECOND, minutes(5)),
            // At least two slices, or planning could not keep ahead of what is armed.
            ("limits.horizon", self.limits.horizon, Span::from_secs(10), minutes(5)),
            ("limits.worker_lost_after", self.limits.worker_lost_after, Span::SECOND, minutes(5)),
            ("limits.server_away_after", self.limits.server_away_after, Span::SECOND, minutes(5)),
            ("limits.cancel_grace", self.limits.cancel_grace, Span::from_millis(100), minutes(5)),
        ] {
            check((least..=most).contains(&span), key, format!("{span} is not between {least} and {most}"));
        }
        for (key, number) in
            [("cluster.id", self.cluster.id), ("server.server_group", self.server.server_group)]
        {
            check(
                (1..=i32::MAX as u32).contains(&number),
                key,
                format!("{number} is not between 1 and {}", i32::MAX),
            );
        }
        check(
            (1..=4_095).contains(&self.limits.log_megabytes),
            "limits.log_megabytes",
            format!("{} is not between 1 and 4095", self.limits.log_megabytes),
        );
        let root = &self.zookeeper.root;
        check(
            root.len() >= 2 && root.starts_with('/') && !root.ends_with('/'),
            "zookeeper.root",
            format!("{root:?} is not a node path such as \"/carillon\""),
        );
        if let Some(Err(error)) = self.server.id.as_ref().map(|id| id.parse::<ServerId>()) {
            check(false, "server.id", error.to_string());
        }
        check(
            self.tls.certificate.is_some() == self.tls.key.is_some(),
            "tls.key",
            "a certificate needs its key, and a key its certificate".to_owned(),
        );
        check(
            !self.tls.mutual || self.tls.authority.is_some() && self.tls.certificate.is_some(),
            "tls.mutual",
            "needs tls.authority, to check the others, and tls.certificate, to be checked".to_owned(),
        );
    }
}

fn missing_text(key: &str) -> String {
    let example = match key {
        "server.id" => "a name such as \"server-1\"",
        "server.room" => {
            "a machine room such as \"room-a\", or a room table (server.rooms) with its address in it"
        }
        "server.advertise" => "host:port, because server.listen is a wildcard that nobody can connect to",
        "store.url" => "where to keep everything, such as \"mysql://carillon:secret@db:3306/carillon\"",
        _ => "the ensemble, such as \"zoo1:2181,zoo2:2181,zoo3:2181\"",
    };
    format!("is missing; it needs {example}")
}

#[cfg(test)]
mod tests;
