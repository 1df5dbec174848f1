//! Policies of a job. Each has a default that suits a job nobody thought about for long.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Span;

/// What becomes of fires that could not start by their latest start (nobody lived, no worker, paused servers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Misfire {
    /// Which of the missed fires still run.
    #[serde(default)]
    pub policy: MisfirePolicy,
    /// For `fire_all`: at most this many of the newest fires run, 1 to 100 (default 10).
    #[serde(default = "Misfire::default_limit")]
    pub limit: u32,
    /// Fires older than this are skipped whatever the policy (default 1 h).
    #[serde(default = "Misfire::default_window")]
    pub window: Span,
}

impl Misfire {
    /// The most fires that `fire_all` runs: a bound on the burst after a long outage.
    pub const MAX_LIMIT: u32 = 100;

    /// How many of a job's missed fires still run: the newest ones.
    pub fn runs(&self) -> u32 {
        match self.policy {
            MisfirePolicy::Skip => 0,
            MisfirePolicy::FireOnce => 1,
            MisfirePolicy::FireAll => self.limit,
        }
    }

    fn default_limit() -> u32 {
        10
    }

    fn default_window() -> Span {
        Span::from_secs(3600)
    }
}

impl Default for Misfire {
    fn default() -> Self {
        Self {
            policy: MisfirePolicy::default(),
            limit: Self::default_limit(),
            window: Self::default_window(),
        }
    }
}

/// Which missed fires still run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MisfirePolicy {
    /// None; each is recorded as skipped.
    Skip,
    /// The newest one, once (default).
    #[default]
    FireOnce,
    /// The newest ones up to the limit.
    FireAll,
}

/// What becomes of a fire that meets a run of the same job still running, anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case", deny_unknown_fields)]
pub enum Overlap {
    /// Runs side by side, at most `max` at a time (default 16); further ones wait.
    Parallel {
        /// 1 to 10,000.
        #[serde(default = "Overlap::default_max")]
        max: u32,
    },
    /// The new fire is skipped, with that reason.
    Skip,
    /// The new fire waits for the old run's end; at most `limit` wait (default 1,000), further ones are skipped. The default policy.
    Queue {
        /// 1 to 10,000.
        #[serde(default = "Overlap::default_limit")]
        limit: u32,
    },
    /// The old run is cancelled; the new one starts when the old one is final.
    Replace,
}

impl Overlap {
    fn default_max() -> u32 {
        16
    }

    fn default_limit() -> u32 {
        1_000
    }

    /// Whether successive runs have to meet in one worker, which then enforces the policy exactly.
    pub fn is_serial(self) -> bool {
        !matches!(self, Self::Parallel { .. })
    }
}

impl Default for Overlap {
    fn default() -> Self {
        Self::Queue { limit: Self::default_limit() }
    }
}

/// How a worker is chosen among the eligible ones. Load-based choices give up the guarantee that a database failover which loses an
/// acknowledged commit still starts once; `any`, `sticky`, `first`, `last`, `hash` and `failover` keep it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case", deny_unknown_fields)]
pub enum Routing {
    /// Rendezvous order of the run and the workers (default): even and deterministic.
    #[default]
    Any,
    /// Rendezvous order of the job: the same worker as long as it lives.
    Sticky,
    /// In turn by fire time.
    RoundRobin,
    /// A worker at random (seeded by the run, so repeatable).
    Random,
    /// The worker with the fewest runs in progress. Load-based.
    LeastLoaded,
    /// The first by name.
    First,
    /// The last by name.
    Last,
    /// Rendezvous order of the value of a field of the params.
    Hash {
        /// The top-level field of the params to hash.
        field: String,
    },
    /// The first by name that lives; the next by name when it refuses.
    Failover,
}

/// Which workers may run a job: those that carry all these labels.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSelector {
    /// Labels a worker must have, with these values; at most 16.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The machine room to prefer; workers elsewhere are taken only when it has none.
    #[serde(default)]
    pub prefer_room: Option<String>,
}

/// Further attempts after a failed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// All attempts, the first included: 1 to 100 (default 1, no retry).
    pub max_attempts: u32,
    /// How the wait grows.
    pub backoff: Backoff,
    /// The wait before the second attempt (default 1 s).
    pub initial: Span,
    /// The longest wait (default 5 min).
    pub max: Span,
    /// The share of the wait drawn at random, 0 to 1 (default 0.1), so that failures do not come back together.
    pub jitter: Share,
    /// What is retried.
    pub on: RetryOn,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 1,
            backoff: Backoff::default(),
            initial: Span::from_secs(1),
            max: Span::from_secs(300),
            jitter: Share::new(0.1),
            on: RetryOn::default(),
        }
    }
}

/// How the wait between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// The same each time.
    Fixed,
    /// Doubles each time (default).
    #[default]
    Exponential,
}

/// Which ends of an attempt lead to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryOn {
    /// The handler returned a failure.
    pub failure: bool,
    /// The attempt took longer than its timeout.
    pub timeout: bool,
}

impl Default for RetryOn {
    fn default() -> Self {
        Self { failure: true, timeout: true }
    }
}

/// What becomes of a run whose worker is lost: no server has had a stream to it for a while, and whether it started is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerLost {
    /// No new attempt; the run is missed when its latest start has passed, and corrected if the worker comes back.
    Skip,
    /// A new attempt at once, which may overlap with the lost one (default).
    #[default]
    Retry,
    /// A new attempt once the lost one can no longer start: after its latest start plus the clock margin.
    RetryStrict,
}

/// Policies of a parallel job's subtasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ParallelPolicy {
    /// How many subtasks may fail for good while the run still succeeds (default 0).
    pub max_failed: u64,
    /// Attempts of each subtask, the first included: 1 to 100 (default 3).
    pub max_attempts: u32,
    /// The wait before a failed subtask is tried again (default 1 s, doubling up to `retry.max`).
    pub retry_delay: Span,
    /// The longest a subtask may take; none for no bound.
    pub timeout: Option<Span>,
    /// Subtasks of this run in progress at one worker at most; 0 (default) for the worker's own bound.
    pub per_worker: u32,
    /// Whether a subtask that takes far longer than the others is given to a second worker at the end (default true). The first result
    /// counts; the subtask may then have run twice.
    pub reissue_stragglers: bool,
}

impl Default for ParallelPolicy {
    fn default() -> Self {
        Self {
            max_failed: 0,
            max_attempts: 3,
            retry_delay: Span::from_secs(1),
            timeout: None,
            per_worker: 0,
            reissue_stragglers: true,
        }
    }
}

/// A share between 0 and 1, kept in thousandths so that policies compare exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u16);

impl Share {
    /// The nearest thousandth of `share`, clamped to 0 to 1.
    pub fn new(share: f64) -> Self {
        Self((share.clamp(0.0, 1.0) * 1000.0).round() as u16)
    }

    /// In thousandths, 0 to 1,000.
    pub fn thousandths(self) -> u64 {
        u64::from(self.0)
    }
}

impl Serialize for Share {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 1000.0)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let share = f64::deserialize(deserializer)?;
        if (0.0..=1.0).contains(&share) {
            Ok(Self::new(share))
        } else {
            Err(serde::de::Error::custom(format!("{share} is not a share between 0 and 1")))
        }
    }
}
