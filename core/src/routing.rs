//! Which worker: a deterministic order of the eligible ones.
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1998) scores each pair of key and worker and takes the highest: even, without state, and a
//! worker that leaves moves only its own share. Scores go by the worker's name, so that a restarted worker gets the same jobs again;
//! workers that share a name are told apart by their incarnation.

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::engine::WorkerInfo;
use crate::ids::{Incarnation, RunKey};
use crate::job::{JobSpec, Routing};

/// What the choice for one run goes by, besides the workers.
#[derive(Debug, Clone, Copy)]
pub struct Choice<'a> {
    /// The job.
    pub job: &'a JobSpec,
    /// The run.
    pub key: RunKey,
    /// The run's params.
    pub params: &'a Value,
    /// How many runs of the job were planned before this one, for `round_robin`.
    pub turn: u64,
}

impl<'a> Choice<'a> {
    /// For a run that is planned already: its turn follows from its fire time, so that whoever chooses chooses alike.
    pub fn of_run(job: &'a JobSpec, key: RunKey, params: &'a Value) -> Self {
        Self { job, key, params, turn: key.fire_time.as_millis().unsigned_abs() }
    }
}

/// Whether `worker` may run `job` at all: it has the handler (for a parallel job: both levels) and carries the labels.
pub fn is_eligible(job: &JobSpec, worker: &WorkerInfo) -> bool {
    let parallel = job.kind == crate::job::JobKind::Parallel;
    worker.handlers.iter().any(|handler| handler.name == job.handler && handler.parallel == parallel)
        && job.selector.labels.iter().all(|(label, value)| worker.labels.get(label) == Some(value))
}

/// The first of `workers` in the order of the job's routing; `load` tells how many open runs a worker has.
pub fn choose<'a>(
    choice: Choice<'_>,
    workers: impl Iterator<Item = &'a WorkerInfo>,
    load: impl Fn(Incarnation) -> usize,
) -> Option<Incarnation> {
    let workers: Vec<&WorkerInfo> = preferred_room(choice.job, workers.collect());
    if workers.is_empty() {
        return None;
    }
    let job_seed = u64::from(choice.key.job.get());
    let by_name = |worker: &&&WorkerInfo| (worker.name.clone(), worker.incarnation);
    // Successive runs of a serial job have to meet in one worker, which then enforces the overlap policy exactly.
    let serial = choice.job.overlap.is_serial();
    let chosen = match &choice.job.routing {
        Routing::Any if serial => highest(&workers, job_seed),
        Routing::Any | Routing::Random => highest(&workers, run_seed(choice.key)),
        Routing::Sticky => highest(&workers, job_seed),
        Routing::Hash { field } => {
            let value = choice.params.get(field).map(Value::to_string).unwrap_or_default();
            highest(&workers, xxh3_64_with_seed(value.as_bytes(), job_seed))
        }
        Routing::First | Routing::Failover => workers.iter().min_by_key(by_name).copied(),
        Routing::Last => workers.iter().max_by_key(by_name).copied(),
        Routing::LeastLoaded => workers
            .iter()
            .min_by_key(|worker| (load(worker.incarnation), u64::MAX - score(worker, run_seed(choice.key))))
            .copied(),
        Routing::RoundRobin => {
            let mut sorted = workers;
            sorted.sort_unstable_by(|a, b| (&a.name, a.incarnation).cmp(&(&b.name, b.incarnation)));
            let place = (choice.turn % sorted.len() as u64) as usize;
            Some(sorted[place])
        }
    };
    chosen.map(|worker| worker.incarnation)
}

fn preferred_room<'a>(job: &JobSpec, workers: Vec<&'a WorkerInfo>) -> Vec<&'a WorkerInfo> {
    let Some(room) = &job.selector.prefer_room else { return workers };
    let near: Vec<&WorkerInfo> = workers.iter().filter(|worker| worker.room == *room).copied().collect();
    if near.is_empty() { workers } else { near }
}

fn highest<'a>(workers: &[&'a WorkerInfo], seed: u64) -> Option<&'a WorkerInfo> {
    workers.iter().max_by_key(|worker| (score(worker, seed), worker.incarnation)).copied()
}

fn score(worker: &WorkerInfo, seed: u64) -> u64 {
    xxh3_64_with_seed(worker.name.as_bytes(), seed)
}

fn run_seed(key: RunKey) -> u64 {
    let trace = key.trace_id().get();
    (trace >> 64) as u64 ^ trace as u64
}
