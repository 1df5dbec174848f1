//! What Prometheus is told. Names are part of the interface: dashboards and alerts go by them.

use std::time::Duration;

use carillon_core::run::RunState;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// A run's end or a fire's fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct StateLabel {
    state: &'static str,
}

/// A fire's fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabel {
    outcome: &'static str,
}

/// Why a shard was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CauseLabel {
    cause: &'static str,
}

/// What the store was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OpLabel {
    op: &'static str,
}

/// The server's metrics; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) lateness: Histogram,
    fires: Family<OutcomeLabel, Counter>,
    runs: Family<StateLabel, Counter>,
    pub(crate) shards_held: Gauge,
    pub(crate) shards_owned: Gauge,
    pub(crate) handovers: Counter,
    takeovers: Family<CauseLabel, Counter>,
    pub(crate) standby_arms: Counter,
    pub(crate) peer_links: Gauge,
    pub(crate) planning_lead: Gauge<f64, std::sync::atomic::AtomicU64>,
    pub(crate) open_runs: Gauge,
    pub(crate) workers: Gauge,
    pub(crate) stalls: Counter,
    pub(crate) uncommitted_steps: Gauge,
    store_queries: Family<OpLabel, Histogram, fn() -> Histogram>,
    store_rows: Family<OpLabel, Counter>,
    pub(crate) store_failures: Counter,
}

fn query_seconds() -> Histogram {
    // 0.25 ms to 4 s: from a row in memory to a database in trouble.
    Histogram::new(exponential_buckets(0.000_25, 2.0, 15))
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            // 0.5 ms to 8 s.
            lateness: Histogram::new(exponential_buckets(0.000_5, 2.0, 15)),
            fires: Family::default(),
            runs: Family::default(),
            shards_held: Gauge::default(),
            shards_owned: Gauge::default(),
            handovers: Counter::default(),
            takeovers: Family::default(),
            standby_arms: Counter::default(),
            peer_links: Gauge::default(),
            planning_lead: Gauge::default(),
            open_runs: Gauge::default(),
            workers: Gauge::default(),
            stalls: Counter::default(),
            uncommitted_steps: Gauge::default(),
            store_queries: Family::new_with_constructor(query_seconds),
            store_rows: Family::default(),
            store_failures: Counter::default(),
        }
    }
}

impl Metrics {
    /// Adds every metric to the process's registry.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("carillon");
        let lateness = "Handler start minus due time of runs that started";
        registry.register_with_unit("trigger_lateness", lateness, Unit::Seconds, self.lateness.clone());
        registry.register(
            "fires",
            "Fires by their first fate: started, skipped, missed, cancelled",
            self.fires.clone(),
        );
        registry.register("runs", "Runs that became final, by state", self.runs.clone());
        registry.register("shards_held", "Shards held as owner or standby", self.shards_held.clone());
        registry.register("shards_owned", "Shards owned", self.shards_owned.clone());
        registry.register(
            "shard_handovers",
            "Shards that this server became the owner of",
            self.handovers.clone(),
        );
        registry.register(
            "takeovers",
            "Shards that this server took from another one, by cause: planned, lock_free, dead, not_planning",
            self.takeovers.clone(),
        );
        registry.register(
            "standby_arms",
            "Runs armed by this server as a standby",
            self.standby_arms.clone(),
        );
        registry.register(
            "peer_links",
            "Links to other servers of the server group",
            self.peer_links.clone(),
        );
        let lead = "How far the least planned shard is planned ahead";
        registry.register_with_unit("planning_lead", lead, Unit::Seconds, self.planning_lead.clone());
        registry.register("open_runs", "Runs planned or running in owned shards", self.open_runs.clone());
        registry.register("workers_connected", "Workers with a stream to this server", self.workers.clone());
        registry.register(
            "stalls",
            "Times this process was held up for more than 200 ms",
            self.stalls.clone(),
        );
        registry.register(
            "uncommitted_steps",
            "Steps of runs waiting for the store",
            self.uncommitted_steps.clone(),
        );
        let queries = "Time of the store's answers";
        registry.register_with_unit(
            "store_query_duration",
            queries,
            Unit::Seconds,
            self.store_queries.clone(),
        );
        registry.register("store_rows", "Rows written", self.store_rows.clone());
        registry.register(
            "store_failures",
            "Answers of the store that were failures",
            self.store_failures.clone(),
        );
    }

    pub(crate) fn query(&self, op: &'static str, took: Duration, rows: usize) {
        self.store_queries.get_or_create(&OpLabel { op }).observe(took.as_secs_f64());
        self.store_rows.get_or_create(&OpLabel { op }).inc_by(rows as u64);
    }

    pub(crate) fn takeover(&self, cause: &'static str) {
        self.takeovers.get_or_create(&CauseLabel { cause }).inc();
    }

    pub(crate) fn fires(&self, outcome: &'static str, count: u64) {
        self.fires.get_or_create(&OutcomeLabel { outcome }).inc_by(count);
    }

    pub(crate) fn run_ended(&self, state: RunState) {
        self.runs.get_or_create(&StateLabel { state: state.as_str() }).inc();
    }
}
