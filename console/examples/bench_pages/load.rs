//! The fires that go on meanwhile: jobs that fire each second, and the worker that runs them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use carillon_client::prelude::*;
use carillon_client::{CancellationToken, Error as WorkerError};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::Outcome;
use crate::api::Api;

/// How long the load may take to be there: the group's placement, and the catching up of a start.
const PATIENCE: Duration = Duration::from_secs(180);

/// Requests at a time while jobs are made.
const AT_ONCE: usize = 16;

/// How late handlers started since counting began, in milliseconds.
#[derive(Default)]
struct Starts {
    lateness: Vec<f64>,
    since: Option<Instant>,
}

struct Nothing(Arc<Mutex<Starts>>);

impl Job for Nothing {
    type Params = Value;
    type Output = ();

    async fn run(&self, ctx: RunContext, _: Value) -> JobResult {
        let late = SystemTime::now().duration_since(ctx.fire_time()).unwrap_or_default();
        let mut starts = self.0.lock().expect("nothing panics while it holds this lock");
        starts.lateness.push(late.as_secs_f64() * 1e3);
        Ok(())
    }
}

pub(crate) struct Load {
    rate: usize,
    group: String,
    starts: Arc<Mutex<Starts>>,
    stop: CancellationToken,
    worker: Option<JoinHandle<Result<(), WorkerError>>>,
}

/// What fired while the questions were asked.
pub(crate) struct Fired {
    pub(crate) a_second: f64,
    pub(crate) lateness_p50: f64,
    pub(crate) lateness_p99: f64,
}

impl Load {
    /// Makes a task group with `rate` jobs that fire each second, all on the same second, and a worker for them.
    pub(crate) async fn start(api: &Api, console: &str, rate: usize) -> Outcome<Self> {
        let (starts, stop) = (Arc::<Mutex<Starts>>::default(), CancellationToken::new());
        let mut load = Self { rate, group: String::new(), starts, stop, worker: None };
        if rate == 0 {
            return Ok(load);
        }
        let stamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
        let name = format!("load {stamp}");
        let group = json!({"name": name, "server_group": 1, "backups": 1, "shards": 4});
        let group = api.post("/groups", &group).await?;
        load.group = group["id"].as_str().ok_or("a task group has an id")?.to_owned();
        let token = api.post("/tokens", &json!({"name": name, "worker_of": load.group})).await?;
        let token = token["token"].as_str().ok_or("a new token is shown")?.to_owned();
        let worker = Worker::builder()
            .consoles([console])
            .group(&load.group)
            .token(token)
            .name("bench-pages")
            .job("nothing", Nothing(Arc::clone(&load.starts)))
            .with_concurrency(rate)
            .with_queue(rate * 10);
        load.worker = Some(tokio::spawn(worker.serve_until(load.stop.clone())));
        stream::iter(0..rate)
            .map(|number| {
                let job = json!({
                    "group": load.group, "name": format!("each second {number:04}"), "handler": "nothing",
                    "schedule": {"type": "fixed_rate", "every": "1s"}, "overlap": {"policy": "parallel"},
                });
                async move { api.post("/jobs", &job).await.map(drop) }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(load)
    }

    fn count_anew(&self) -> Starts {
        let mut starts = self.starts.lock().expect("nothing panics while it holds this lock");
        let room = starts.lateness.capacity();
        std::mem::replace(
            &mut *starts,
            Starts { lateness: Vec::with_capacity(room), since: Some(Instant::now()) },
        )
    }

    /// Waits until what fires in five seconds is what should.
    pub(crate) async fn until_steady(&self) -> Outcome {
        let began = Instant::now();
        let mut good = 0;
        while self.rate > 0 && good < 5 {
            if began.elapsed() > PATIENCE {
                return Err(format!("the jobs do not fire {} times a second", self.rate).into());
            }
            self.begin_to_count();
            tokio::time::sleep(Duration::from_secs(1)).await;
            let fires = self.count_anew().lateness.len();
            // A second may begin in the midst of what is due at once.
            good = if fires * 10 >= self.rate * 9 { good + 1 } else { 0 };
        }
        Ok(())
    }

    pub(crate) fn begin_to_count(&self) {
        self.count_anew();
    }

    /// What fired since counting began.
    pub(crate) fn counted(&self) -> Fired {
        let mut starts = self.count_anew();
        let seconds = starts.since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        starts.lateness.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = starts.lateness.len().saturating_sub(1);
            starts.lateness.get((last as f64 * share).round() as usize).copied().unwrap_or(0.0)
        };
        Fired {
            a_second: starts.lateness.len() as f64 / seconds,
            lateness_p50: at(0.5),
            lateness_p99: at(0.99),
        }
    }

    /// Pauses the jobs, so that they do not fire into the void, and lets the worker leave.
    pub(crate) async fn stop(self, api: &Api) -> Outcome {
        let Some(worker) = self.worker else { return Ok(()) };
        let mut after = String::new();
        loop {
            let page = api.json(&format!("/jobs?group={}&limit=200{after}", self.group)).await?;
            let ids: Vec<&Value> =
                page["items"].as_array().into_iter().flatten().map(|job| &job["id"]).collect();
            api.post("/jobs/pause", &json!({ "ids": ids })).await?;
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            after = format!("&cursor={cursor}");
        }
        self.stop.cancel();
        Ok(worker.await??)
    }
}
