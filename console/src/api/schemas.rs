//! Schemas of the core's types, which serialise themselves and must not know of this API. A test holds them against what the core really
//! reads and writes.
#![allow(dead_code, reason = "only their derived schemas are used")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Collects the schemas of this file with everything they refer to.
pub(crate) fn collect(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    fn add<T: ToSchema + PartialSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
    add::<JobSpec>(schemas);
    add::<RunState>(schemas);
    add::<ReasonCode>(schemas);
    add::<Role>(schemas);
}

/// What a user writes: everything about a job but its id and history.
#[derive(ToSchema)]
#[schema(example = json!({
    "group": "101-1-2-6601", "name": "simple", "kind": "simple", "handler": "simple",
    "schedule": {"type": "cron", "expression": "0 0/1 * * * ?", "time_zone": "Asia/Shanghai"},
    "params": "TestParam", "overlap": {"policy": "queue"}, "misfire": {"policy": "fire_once"},
    "retry": {"max_attempts": 3, "backoff": "exponential", "initial": "1s", "max": "5m"}, "timeout": "30s", "enabled": true
}))]
pub(crate) struct JobSpec {
    /// The task group that owns the job; it never changes.
    #[schema(format = "group-id", example = "101-1-2-6601")]
    group: String,
    /// Unique in the group.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    /// Free text.
    #[schema(default = "", max_length = 4096)]
    description: Option<String>,
    /// How the job is run (default `simple`).
    kind: Option<JobKind>,
    /// The name of the user's code, as registered by a worker.
    #[schema(min_length = 1, max_length = 128)]
    handler: String,
    /// What the handler is given: any JSON, at most 64 KiB as text.
    params: Option<Value>,
    /// When the job fires.
    schedule: Schedule,
    /// What becomes of fires that could not start in time.
    #[schema(inline = false)]
    misfire: Option<Misfire>,
    /// What becomes of a fire that meets a run of the job still running.
    overlap: Option<Overlap>,
    /// Which worker is chosen.
    routing: Option<Routing>,
    /// Which workers are eligible.
    selector: Option<WorkerSelector>,
    /// Further attempts after a failure.
    retry: Option<RetryPolicy>,
    /// What becomes of a run whose worker is lost.
    worker_lost: Option<WorkerLost>,
    /// The longest an attempt may take; null for no bound.
    #[schema(format = "duration-text", example = "30s")]
    timeout: Option<String>,
    /// How late a run may still start; null for the smaller of 60 s and half the period.
    #[schema(format = "duration-text")]
    start_window: Option<String>,
    /// Subtask policies of a parallel job.
    parallel: Option<ParallelPolicy>,
    /// Whether the job fires by its schedule (default true). A paused job can still be triggered.
    enabled: Option<bool>,
    /// Who answers for the job.
    #[schema(max_length = 128)]
    owner: Option<String>,
    /// Free labels for finding jobs, at most 32.
    labels: Option<BTreeMap<String, String>>,
}

/// How a job is run.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum JobKind {
    /// One handler call at one worker.
    Simple,
    /// A two-level map: `split` at one worker, `process` on all, optional `reduce`.
    Parallel,
}

/// When a job fires.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Schedule {
    /// At the local times that match a cron expression.
    Cron {
        /// Quartz: six or seven fields, seconds first. Unix: five fields.
        #[schema(max_length = 256, example = "0 0/1 * * * ?")]
        expression: String,
        /// IANA name (default `UTC`).
        #[schema(example = "Asia/Shanghai")]
        time_zone: Option<String>,
        /// How to read the expression (default `quartz`).
        dialect: Option<CronDialect>,
        /// No fire before this instant.
        #[schema(format = "date-time")]
        starts_at: Option<String>,
        /// No fire after this instant.
        #[schema(format = "date-time")]
        ends_at: Option<String>,
        /// Each fire is due up to this much later, the same for a job and a fire.
        #[schema(format = "duration-text")]
        jitter: Option<String>,
    },
    /// At `anchor` and every whole multiple of `every` after it.
    FixedRate {
        /// The period, at least 1 s.
        #[schema(format = "duration-text", example = "10s")]
        every: String,
        /// The first fire (default: counted from the Unix epoch).
        #[schema(format = "date-time")]
        anchor: Option<String>,
        /// No fire before this instant.
        #[schema(format = "date-time")]
        starts_at: Option<String>,
        /// No fire after this instant.
        #[schema(format = "date-time")]
        ends_at: Option<String>,
        /// Each fire is due up to this much later, the same for a job and a fire.
        #[schema(format = "duration-text")]
        jitter: Option<String>,
    },
    /// A while after the previous run is final.
    FixedDelay {
        /// From the end of one run to the next.
        #[schema(format = "duration-text", example = "1m")]
        delay: String,
        /// No fire before this instant.
        #[schema(format = "date-time")]
        starts_at: Option<String>,
        /// No fire after this instant.
        #[schema(format = "date-time")]
        ends_at: Option<String>,
        /// Each fire is due up to this much later, the same for a job and a fire.
        #[schema(format = "duration-text")]
        jitter: Option<String>,
    },
    /// Once; in the past: as the misfire policy says.
    Once {
        /// The only fire time.
        #[schema(format = "date-time")]
        at: String,
        /// No fire before this instant.
        #[schema(format = "date-time")]
        starts_at: Option<String>,
        /// No fire after this instant.
        #[schema(format = "date-time")]
        ends_at: Option<String>,
        /// Each fire is due up to this much later, the same for a job and a fire.
        #[schema(format = "duration-text")]
        jitter: Option<String>,
    },
    /// Only when triggered by request.
    Api {
        /// No effect: a request is always followed.
        #[schema(format = "date-time")]
        starts_at: Option<String>,
        /// No effect: a request is always followed.
        #[schema(format = "date-time")]
        ends_at: Option<String>,
        /// No effect: a request is followed at once.
        #[schema(format = "duration-text")]
        jitter: Option<String>,
    },
}

/// How a cron expression is to be read.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum CronDialect {
    /// Seconds first, Sunday = 1, with `?`, `L`, `W`, `#` and years.
    Quartz,
    /// The five fields of crontab, Sunday = 0 or 7.
    Unix,
}

/// What becomes of fires that could not start by their latest start.
#[derive(ToSchema)]
pub(crate) struct Misfire {
    /// Which of the missed fires still run (default `fire_once`).
    policy: Option<MisfirePolicy>,
    /// For `fire_all`: at most this many of the newest fires run (default 10).
    #[schema(minimum = 1, maximum = 100)]
    limit: Option<u32>,
    /// Fires older than this are skipped whatever the policy (default `1h`).
    #[schema(format = "duration-text", example = "1h")]
    window: Option<String>,
}

/// Which missed fires still run.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum MisfirePolicy {
    /// None; each is recorded as skipped.
    Skip,
    /// The newest one, once.
    FireOnce,
    /// The newest ones up to the limit.
    FireAll,
}

/// What becomes of a fire that meets a run of the same job still running, anywhere. The default is `queue`.
#[derive(ToSchema)]
#[serde(tag = "policy", rename_all = "snake_case")]
pub(crate) enum Overlap {
    /// Runs side by side; further ones wait.
    Parallel {
        /// At most this many at a time (default 16).
        #[schema(minimum = 1, maximum = 10_000)]
        max: Option<u32>,
    },
    /// The new fire is skipped, with that reason.
    Skip,
    /// The new fire waits for the old run's end.
    Queue {
        /// At most this many wait (default 1,000); further ones are skipped.
        #[schema(minimum = 1, maximum = 10_000)]
        limit: Option<u32>,
    },
    /// The old run is cancelled; the new one starts when the old one is final.
    Replace,
}

/// How a worker is chosen among the eligible ones. The default is `any`.
#[derive(ToSchema)]
#[serde(tag = "policy", rename_all = "snake_case")]
pub(crate) enum Routing {
    /// Rendezvous order of the run and the workers: even and deterministic.
    Any,
    /// Rendezvous order of the job: the same worker as long as it lives.
    Sticky,
    /// In turn.
    RoundRobin,
    /// A worker at random, seeded by the run.
    Random,
    /// The worker with the fewest runs in progress. Load-based: after a database failover that loses a commit, a run may start twice.
    LeastLoaded,
    /// The first by name.
    First,
    /// The last by name.
    Last,
    /// Rendezvous order of the value of a field of the params.
    Hash {
        /// The top-level field of the params.
        #[schema(min_length = 1, max_length = 128)]
        field: String,
    },
    /// The first by name that lives; the next by name when it refuses.
    Failover,
}

/// Which workers may run a job.
#[derive(ToSchema)]
pub(crate) struct WorkerSelector {
    /// Labels a worker must have, at most 16.
    labels: Option<BTreeMap<String, String>>,
    /// The machine room to prefer.
    prefer_room: Option<String>,
}

/// Further attempts after a failed one.
#[derive(ToSchema)]
pub(crate) struct RetryPolicy {
    /// All attempts, the first included (default 1: no retry).
    #[schema(minimum = 1, maximum = 100)]
    max_attempts: Option<u32>,
    /// How the wait grows (default `exponential`).
    backoff: Option<Backoff>,
    /// The wait before the second attempt (default `1s`).
    #[schema(format = "duration-text", example = "1s")]
    initial: Option<String>,
    /// The longest wait (default `5m`).
    #[schema(format = "duration-text", example = "5m")]
    max: Option<String>,
    /// The share of the wait drawn at random (default 0.1).
    #[schema(minimum = 0, maximum = 1)]
    jitter: Option<f64>,
    /// What is retried.
    on: Option<RetryOn>,
}

/// How the wait between attempts grows.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Backoff {
    /// The same each time.
    Fixed,
    /// Doubles each time.
    Exponential,
}

/// Which ends of an attempt lead to another one.
#[derive(ToSchema)]
pub(crate) struct RetryOn {
    /// The handler returned a failure (default true).
    failure: Option<bool>,
    /// The attempt took longer than its timeout (default true).
    timeout: Option<bool>,
}

/// What becomes of a run whose worker is lost.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum WorkerLost {
    /// No new attempt; the run is missed, and corrected if the worker comes back.
    Skip,
    /// A new attempt at once, which may overlap with the lost one (default).
    Retry,
    /// A new attempt once the lost one can no longer start.
    RetryStrict,
}

/// Policies of a parallel job's subtasks.
#[derive(ToSchema)]
pub(crate) struct ParallelPolicy {
    /// How many subtasks may fail for good while the run still succeeds (default 0).
    max_failed: Option<u64>,
    /// Attempts of each subtask, the first included (default 3).
    #[schema(minimum = 1, maximum = 100)]
    max_attempts: Option<u32>,
    /// The wait before a failed subtask is tried again (default `1s`).
    #[schema(format = "duration-text")]
    retry_delay: Option<String>,
    /// The longest a subtask may take; null for no bound.
    #[schema(format = "duration-text")]
    timeout: Option<String>,
    /// Subtasks of this run in progress at one worker at most; 0 for the worker's own bound.
    per_worker: Option<u32>,
    /// Whether subtasks that take far longer than the others are handed to a second worker near the end of the run (default true).
    reissue_stragglers: Option<bool>,
}

/// Where a run is in its life.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum RunState {
    /// Decided and recorded; not seen to start. A run that waits for a retry is planned again.
    Planned,
    /// A worker has reported the start of the current attempt.
    Running,
    /// The handler returned success.
    Succeeded,
    /// The handler failed and said that trying again is useless.
    Failed,
    /// The attempts are used up.
    Dead,
    /// The last attempt took longer than its timeout.
    TimedOut,
    /// Cancelled by a person, an edit, or its replacement by a newer run.
    Cancelled,
    /// Not started by policy.
    Skipped,
    /// Could not start by its latest start.
    Missed,
}

/// Why a run was skipped, missed, retried, cancelled or refused.
pub(crate) struct ReasonCode;

impl PartialSchema for ReasonCode {
    fn schema() -> RefOr<Schema> {
        let words = carillon_core::run::ReasonCode::ALL.iter().map(|code| code.as_str());
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some(
                "Why a run was skipped, missed, retried, cancelled or refused: a stable word for programs.",
            ))
            .enum_values(Some(words))
            .into()
    }
}

impl ToSchema for ReasonCode {}

/// A role on a task group; each includes those before it.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Sees.
    Viewer,
    /// Triggers, pauses, cancels, retries.
    Operator,
    /// Edits jobs.
    Developer,
    /// Grants.
    Owner,
}

#[cfg(test)]
mod tests {
    use carillon_core::job::JobSpec as CoreSpec;
    use serde_json::json;

    use super::*;
    use crate::json::check::check;
    use crate::openapi::components;

    fn full() -> Value {
        json!({
            "group": "101-1-2-6601", "name": "a", "description": "b", "kind": "parallel", "handler": "h", "params": [1],
            "schedule": {"type": "cron", "expression": "0 0 9 * * ?", "time_zone": "UTC", "dialect": "quartz",
                "starts_at": "2026-11-20T09:00:00.000Z", "ends_at": "2030-11-20T09:00:00.000Z", "jitter": "1s"},
            "misfire": {"policy": "fire_all", "limit": 5, "window": "2h"}, "overlap": {"policy": "parallel", "max": 3},
            "routing": {"policy": "hash", "field": "f"}, "selector": {"labels": {"a": "b"}, "prefer_room": "r"},
            "retry": {"max_attempts": 2, "backoff": "fixed", "initial": "1s", "max": "2s", "jitter": 0.5,
                "on": {"failure": true, "timeout": false}},
            "worker_lost": "retry_strict", "timeout": "1s", "start_window": "2s",
            "parallel": {"max_failed": 1, "max_attempts": 2, "retry_delay": "1s", "timeout": "3s", "per_worker": 4, "reissue_stragglers": false},
            "enabled": false, "owner": "o", "labels": {"k": "v"}
        })
    }

    /// Every property of an object schema appears in the value, and the other way round; recursively.
    fn assert_same_fields(schema: &Value, value: &Value, path: &str) {
        let schema = match schema.get("$ref").and_then(Value::as_str) {
            Some(name) => &components()[name.rsplit('/').next().unwrap()],
            None => schema,
        };
        if let Some(choices) = schema["oneOf"].as_array() {
            let fits =
                |choice: &&Value| check(components(), choice, value).is_empty() && choice["type"] != "null";
            let choice = choices.iter().find(fits).unwrap_or_else(|| panic!("{path}: no shape for {value}"));
            return assert_same_fields(choice, value, path);
        }
        let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object()) else {
            return;
        };
        let (known, written): (Vec<_>, Vec<_>) = (properties.keys().collect(), fields.keys().collect());
        assert_eq!(known, written, "{path}");
        for (name, schema) in properties {
            assert_same_fields(schema, &fields[name], &format!("{path}.{name}"));
        }
    }

    #[test]
    fn the_schema_of_a_job_has_the_fields_that_the_core_reads_and_writes() {
        let spec: CoreSpec = serde_json::from_value(full()).unwrap();
        let written = serde_json::to_value(&spec).unwrap();
        assert_eq!(written, full());
        assert_eq!(check(components(), &components()["JobSpec"], &written), []);
        assert_same_fields(&components()["JobSpec"], &written, "job");
    }

    #[test]
    fn every_kind_of_schedule_overlap_and_routing_fits_its_schema() {
        let shapes = [
            ("schedule", json!({"type": "fixed_rate", "every": "10s", "anchor": "2026-11-20T09:00:00.000Z"})),
            ("schedule", json!({"type": "fixed_delay", "delay": "1m"})),
            ("schedule", json!({"type": "once", "at": "2026-11-20T09:00:00.000Z"})),
            ("schedule", json!({"type": "api"})),
            ("overlap", json!({"policy": "queue", "limit": 7})),
            ("overlap", json!({"policy": "skip"})),
            ("overlap", json!({"policy": "replace"})),
            ("routing", json!({"policy": "any"})),
            ("routing", json!({"policy": "sticky"})),
            ("routing", json!({"policy": "round_robin"})),
            ("routing", json!({"policy": "random"})),
            ("routing", json!({"policy": "least_loaded"})),
            ("routing", json!({"policy": "first"})),
            ("routing", json!({"policy": "last"})),
            ("routing", json!({"policy": "failover"})),
        ];
        for (field, shape) in shapes {
            let mut job = full();
            job[field] = shape.clone();
            assert_eq!(check(components(), &components()["JobSpec"], &job), [], "{shape}");
            let spec: CoreSpec =
                serde_json::from_value(job).unwrap_or_else(|error| panic!("{shape}: {error}"));
            let written = serde_json::to_value(&spec).unwrap()[field].clone();
            for (name, value) in shape.as_object().unwrap() {
                assert_eq!(&written[name], value, "{shape}");
            }
        }
    }

    #[test]
    fn every_state_and_role_has_its_word() {
        let words = |name: &str| components()[name]["enum"].as_array().unwrap().clone();
        assert_eq!(words("RunState"), carillon_core::run::RunState::ALL.map(|state| json!(state.as_str())));
        assert_eq!(words("Role"), carillon_store::accounts::Role::ALL.map(|role| json!(role.as_str())));
    }
}
