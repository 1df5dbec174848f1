//! What goes on all the time: jobs of many periods, a set that is due on one second, one edit a second, one trigger a second.
//!
//! Scaled to a machine of two cores that also runs everything that is tested. Everything it does is remembered with its times, so that the
//! checker can tell what had to fire.

pub mod edits;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use carillon_client::{Client, TriggerOptions};
use futures::stream::{self, StreamExt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::now_ms;
use crate::api::{Api, millis};
use crate::checker::record::{JobHistory, Periodic, Trigger, Version};
use crate::lab::Lab;
use crate::lab::members::Member;

use edits::Edited;

/// Jobs of the first group that nobody touches, their periods, and those of the second group.
const STEADY: usize = 36;
const STEADY_SECOND: usize = 12;
const PERIODS_MS: [i64; 6] = [1_000, 2_000, 3_000, 5_000, 10_000, 2_000];

/// Jobs that are due on the same second, and how often.
const BURST: usize = 20;
const BURST_EVERY_MS: i64 = 5_000;

/// Jobs that are edited in turn, each after so many seconds: one edit a second.
const EDITED: usize = 6;

/// Jobs that are created at a time.
const AT_ONCE: usize = 6;

/// A task group of the load.
#[derive(Debug)]
pub struct LoadGroup {
    /// Its id.
    pub id: String,
    /// Of its workers.
    pub token: String,
}

impl LoadGroup {
    /// Creates both groups, the first of them with so many shards.
    pub async fn create_both(lab: &Lab<'_>, shards: u32) -> Vec<Self> {
        let mut groups = Vec::new();
        for (word, backups, shards) in [("on-three", 3, shards), ("on-two", 2, 1)] {
            let id = create_group(lab, word, backups, shards).await;
            let token = lab.api().worker_token(&id).await;
            groups.push(Self { id, token });
        }
        groups
    }

    /// Creates a group on three servers that has no jobs; returns its id.
    pub async fn create_idle(lab: &Lab<'_>, word: &str, shards: u32) -> String {
        create_group(lab, word, 3, shards).await
    }
}

async fn create_group(lab: &Lab<'_>, word: &str, backups: u32, shards: u32) -> String {
    let body = json!({"cluster": 101, "server_group": 1, "backups": backups, "name": word, "shards": shards});
    lab.api().post("/groups", &body).await.expect_status(201).text("id")
}

/// The load. Dropping it ends it; its workers die with it.
#[derive(Debug)]
pub struct Load {
    /// The first is on three servers, the second on two.
    pub groups: Vec<LoadGroup>,
    /// Three of the first group, two of the second.
    pub workers: Vec<Member>,
    /// The jobs that change.
    pub edited: Vec<Edited>,
    /// A parallel job of the first group, for cases that want one.
    pub parallel: u32,
    /// The job that is triggered once a second.
    pub on_request: u32,
    steady: Vec<JobHistory>,
    /// Jobs that a case added.
    added: Mutex<Vec<JobHistory>>,
    requests: Arc<Mutex<Vec<Request>>>,
    tasks: Vec<JoinHandle<()>>,
}

/// A trigger that was asked for through nginx by the SDK's client.
#[derive(Debug, Clone)]
pub struct Request {
    /// When it was sent.
    pub sent_ms: i64,
    /// When the answer came.
    pub answered_ms: i64,
    /// The run's id, or why there is none.
    pub run: Result<String, String>,
}

impl Load {
    /// Creates groups and jobs and starts workers.
    pub async fn start(lab: &Lab<'_>, seed: u64) -> Result<Self, String> {
        let groups = LoadGroup::create_both(lab, 1).await;
        Self::start_in(lab, groups, seed).await
    }

    /// As [`Self::start`], in groups that are there.
    pub async fn start_in(lab: &Lab<'_>, groups: Vec<LoadGroup>, seed: u64) -> Result<Self, String> {
        let mut random = StdRng::seed_from_u64(seed);
        let api = lab.api();
        let workers = (1..=5usize).map(|number| {
            let group = &groups[usize::from(number > 3)];
            lab.worker(&format!("worker-{number}"), &group.id, &group.token)
        });
        let workers: Vec<Member> = workers.collect();

        let mut wanted = Vec::new();
        for number in 0..STEADY + STEADY_SECOND {
            let group = &groups[usize::from(number >= STEADY)].id;
            let period_ms = PERIODS_MS[number % PERIODS_MS.len()];
            let offset_ms = random.random_range(0..period_ms);
            let overlap = if number % 2 == 0 {
                json!({"policy": "queue", "limit": 10})
            } else {
                json!({"policy": "parallel", "max": 10})
            };
            wanted.push(Wanted::new(
                group,
                format!("steady-{number}"),
                Periodic { period_ms, offset_ms },
                overlap,
            ));
        }
        for number in 0..BURST {
            let schedule = Periodic { period_ms: BURST_EVERY_MS, offset_ms: 0 };
            wanted.push(Wanted::new(
                &groups[0].id,
                format!("burst-{number}"),
                schedule,
                json!({"policy": "queue", "limit": 10}),
            ));
        }
        for number in 0..EDITED {
            let schedule = Periodic { period_ms: 2_000, offset_ms: random.random_range(0..2_000) };
            wanted.push(Wanted::new(
                &groups[0].id,
                format!("edited-{number}"),
                schedule,
                json!({"policy": "parallel", "max": 10}),
            ));
        }
        let api_of = &api;
        let created = stream::iter(wanted)
            .map(|wanted| wanted.create(api_of))
            .buffered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let mut created = created.into_iter().collect::<Result<Vec<_>, String>>()?;
        let changing = created.split_off(created.len() - EDITED);
        let edited = changing.into_iter().map(|(job, etag)| Edited::new(api.clone(), job, etag)).collect();

        let simple = json!({"group": groups[0].id, "name": "on-request", "handler": "record", "schedule": {"type": "api"}});
        let on_request = api.post("/jobs", &simple).await.expect_status(201).number("id");
        let fan = json!({
            "group": groups[0].id, "name": "fan", "kind": "parallel", "handler": "sum", "schedule": {"type": "api"},
            // A worker that is killed while it splits takes the split with it.
            "retry": {"max_attempts": 3},
        });
        let parallel = api.post("/jobs", &fan).await.expect_status(201).number("id");

        let requests = Arc::new(Mutex::new(Vec::new()));
        let client = Client::new([lab.url()], &groups[0].token).map_err(|error| error.to_string())?;
        let steady = created.into_iter().map(|(job, _)| job).collect();
        let mut load = Self {
            groups,
            workers,
            edited,
            parallel,
            on_request,
            steady,
            added: Mutex::default(),
            requests,
            tasks: Vec::new(),
        };
        load.tasks.push(tokio::spawn(request(client, on_request, Arc::clone(&load.requests))));
        for (place, edited) in load.edited.iter().enumerate() {
            let seed = random.random();
            load.tasks.push(tokio::spawn(edited.clone().goes_on(seed, place as u64, EDITED as u64)));
        }
        Ok(load)
    }

    /// The workers of the first group.
    pub fn workers_of_first(&self) -> &[Member] {
        &self.workers[..3]
    }

    /// Every job whose fires the checker must know.
    pub fn jobs(&self) -> Vec<JobHistory> {
        let added = self.added.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.steady
            .iter()
            .cloned()
            .chain(added)
            .chain(self.edited.iter().flat_map(Edited::histories))
            .collect()
    }

    /// Creates so many jobs of the first group that are all due at one instant, and then not again for an hour.
    pub async fn create_once_due(&self, api: &Api, count: usize, at_ms: i64) -> Result<(), String> {
        let schedule = Periodic { period_ms: 3_600_000, offset_ms: at_ms % 3_600_000 };
        let parallel = json!({"policy": "parallel", "max": 10});
        let wanted = (0..count).map(|number| {
            Wanted::new(&self.groups[0].id, format!("due-{at_ms}-{number}"), schedule, parallel.clone())
        });
        let created = stream::iter(wanted.collect::<Vec<_>>())
            .map(|wanted| wanted.create(api))
            .buffered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let created =
            created.into_iter().map(|created| created.map(|(job, _)| job)).collect::<Result<Vec<_>, _>>()?;
        self.added.lock().unwrap_or_else(PoisonError::into_inner).extend(created);
        Ok(())
    }

    /// Creates a job of the first group by a cron expression in a time zone, which has to fire so.
    pub async fn create_by_cron(
        &self,
        api: &Api,
        name: &str,
        expression: &str,
        zone: &str,
        fires: Option<Periodic>,
    ) -> Result<(), String> {
        let schedule = Periodic { period_ms: 1_000, offset_ms: 0 };
        let wanted = Wanted::new(
            &self.groups[0].id,
            name.to_owned(),
            schedule,
            json!({"policy": "parallel", "max": 10}),
        );
        let by = json!({"type": "cron", "expression": expression, "time_zone": zone});
        let (mut job, _) = wanted.create_by(api, by).await?;
        job.versions[0].schedule = fires;
        self.added.lock().unwrap_or_else(PoisonError::into_inner).push(job);
        Ok(())
    }

    /// The triggers that were sent and answered between two instants.
    pub fn triggers(&self, from: i64, to: i64) -> Vec<Trigger> {
        let within = self.requests(from, to);
        let answered = within.into_iter().filter_map(|request| {
            let (sent_ms, at_ms) = (request.sent_ms, request.answered_ms);
            request.run.ok().map(|run| Trigger { run, sent_ms, at_ms })
        });
        answered.collect()
    }

    /// The requests that were sent and answered between two instants, refused ones too.
    pub fn requests(&self, from: i64, to: i64) -> Vec<Request> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests
            .iter()
            .filter(|request| request.sent_ms > from && request.answered_ms <= to)
            .cloned()
            .collect()
    }

    /// Whether every worker that runs is connected to every holder of its group, by the console.
    pub async fn workers_are_seen(&self, api: &Api, holders: impl Fn(&str) -> Vec<String>) -> bool {
        let mut seen = Vec::new();
        for group in &self.groups {
            let Ok(items) = api.try_items(&format!("/workers?group={}", group.id), 200).await else {
                return false;
            };
            let wanted = holders(&group.id);
            let by_all = |worker: &&Value| {
                let servers = worker["servers"].as_array().map(Vec::as_slice).unwrap_or_default();
                wanted.iter().all(|holder| servers.iter().any(|server| server == holder.as_str()))
            };
            let names = items.iter().filter(by_all).filter_map(|worker| worker["name"].as_str());
            seen.extend(names.map(str::to_owned));
        }
        self.workers.iter().all(|worker| seen.contains(&worker.name))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A job to be created.
struct Wanted {
    group: String,
    name: String,
    schedule: Periodic,
    overlap: Value,
}

impl Wanted {
    fn new(group: &str, name: String, schedule: Periodic, overlap: Value) -> Self {
        Self { group: group.to_owned(), name, schedule, overlap }
    }

    /// Creates it; returns its history and its ETag.
    async fn create(self, api: &Api) -> Result<(JobHistory, String), String> {
        let schedule = schedule_of(self.schedule);
        self.create_by(api, schedule).await
    }

    async fn create_by(self, api: &Api, schedule: Value) -> Result<(JobHistory, String), String> {
        let body = json!({
            "group": self.group,
            "name": self.name,
            "handler": "record",
            "params": {"mark": 0},
            "schedule": schedule,
            "overlap": self.overlap,
            "misfire": {"policy": "fire_all", "limit": 100},
        });
        let sent_ms = now_ms();
        let answer =
            api.try_send(Method::POST, "/jobs", Some(&body), &[]).await.map_err(|error| error.to_string())?;
        if answer.status != 201 {
            return Err(format!("a job was not created: {} {:#}", answer.status, answer.body));
        }
        let effective = millis(&answer.text("effective_from"));
        let version = Version {
            schedule: Some(self.schedule),
            effective_ms: (effective, effective),
            sent_ms,
            acknowledged_ms: Some(now_ms()),
            ..Version::default()
        };
        let job = JobHistory { job: answer.number("id"), group: self.group, versions: vec![version] };
        Ok((job, answer.etag.unwrap_or_default()))
    }
}

/// A schedule as the API reads it.
fn schedule_of(periodic: Periodic) -> Value {
    let anchor = jiff::Timestamp::from_millisecond(periodic.offset_ms).expect("an offset is small");
    json!({"type": "fixed_rate", "every": format!("{}ms", periodic.period_ms), "anchor": anchor.to_string()})
}

/// Triggers a job each second, as a user's program does.
async fn request(client: Client, job: u32, requests: Arc<Mutex<Vec<Request>>>) {
    let mut pause = tokio::time::interval(Duration::from_secs(1));
    pause.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pause.tick().await;
        let sent_ms = now_ms();
        let run = client.trigger(job, &json!({}), TriggerOptions::default()).await;
        let run = run.map(|run| run.run_id).map_err(|error| error.to_string());
        let request = Request { sent_ms, answered_ms: now_ms(), run };
        requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }
}
