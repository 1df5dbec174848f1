//! The jobs of the simulated shard: one of each kind of schedule and overlap.

use std::collections::BTreeMap;

use carillon_core::ids::JobId;
use carillon_core::job::{Job, JobSpec};
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::json;

/// The job that is only triggered.
pub(crate) const API: JobId = JobId::new(1);

/// The job that fires after the end of its previous run.
pub(crate) const DELAYED: JobId = JobId::new(4);

/// The jobs at the start.
pub(crate) fn all(rng: &mut SmallRng) -> Vec<(JobId, JobSpec)> {
    let mut jobs = vec![
        (API, json!({"type": "api"})),
        (JobId::new(2), json!({"type": "fixed_rate", "every": "2s"})),
        (JobId::new(3), json!({"type": "cron", "expression": "0/5 * * * * ?"})),
        (DELAYED, json!({"type": "fixed_delay", "delay": "3s"})),
        (JobId::new(5), json!({"type": "fixed_rate", "every": "7s", "jitter": "900ms"})),
        (JobId::new(6), json!({"type": "cron", "expression": "0 * * * * ?"})),
    ];
    jobs.drain(..).map(|(id, schedule)| (id, spec(rng, id, schedule))).collect()
}

/// A job, and what somebody makes of it: other policies, another schedule, a pause; now and then it is deleted.
pub(crate) fn edited(rng: &mut SmallRng, jobs: &BTreeMap<JobId, Job>) -> (JobId, Option<JobSpec>) {
    // A deleted one stays so: an id is never given twice, and whoever knows a later version of it turns earlier ones down.
    let left: Vec<JobId> = jobs.keys().copied().filter(|id| *id != API).collect();
    let id = left[rng.random_range(0..left.len())];
    let schedule = match rng.random_range(0..4) {
        0 => json!({"type": "fixed_rate", "every": "3s"}),
        1 => json!({"type": "cron", "expression": "0/4 * * * * ?"}),
        2 => json!({"type": "fixed_delay", "delay": "2s"}),
        _ => json!({"type": "fixed_rate", "every": "2s", "jitter": "300ms"}),
    };
    let keep = Some(&jobs[&id]).filter(|_| rng.random_bool(0.5)).map(|job| job.spec.schedule.clone());
    let mut spec = spec(rng, id, schedule);
    if let Some(schedule) = keep {
        spec.schedule = schedule;
    }
    spec.enabled = rng.random_bool(0.85);
    let delete = left.len() > 1 && rng.random_bool(0.05);
    (id, (!delete).then_some(spec))
}

fn spec(rng: &mut SmallRng, id: JobId, schedule: serde_json::Value) -> JobSpec {
    let overlap = match rng.random_range(0..5) {
        0 => json!({"policy": "parallel", "max": 2}),
        1 => json!({"policy": "skip"}),
        2 => json!({"policy": "replace"}),
        _ => json!({"policy": "queue", "limit": 50}),
    };
    let misfire = ["skip", "fire_once", "fire_all"][rng.random_range(0..3)];
    let worker_lost = ["skip", "retry", "retry_strict"][rng.random_range(0..3)];
    let start_window = ["3s", "6s", "10s"][rng.random_range(0..3)];
    let spec = json!({
        "group": "101-1-2-6601", "name": format!("job-{id}"), "handler": "h", "schedule": schedule,
        "overlap": overlap, "misfire": {"policy": misfire}, "worker_lost": worker_lost,
        "retry": {"max_attempts": rng.random_range(1..4), "initial": "500ms", "max": "2s"},
        // Short, so that what waits for its latest start is judged within a seed's time.
        "start_window": start_window,
        "timeout": if rng.random_bool(0.5) { json!("10s") } else { json!(null) },
    });
    serde_json::from_value(spec).expect("a valid job")
}
