//! A console's REST API as a test asks it: plain requests, answers with their status, and the few values that tests read.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::wait::{self, PATIENCE};

mod answer;
mod run;
mod session;

pub use answer::Answer;
pub use run::{Attempt, Run, is_final, millis};
pub use session::Session;

/// The most that one request may take: an edit waits for acknowledgements, and consoles behind a dead server try another.
const REQUEST_DEADLINE: Duration = Duration::from_secs(15);

/// A console, asked as somebody.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    console: String,
    token: String,
}

impl Api {
    /// The console at this address, asked with this token.
    pub fn new(console: impl Into<String>, token: impl Into<String>) -> Self {
        let http = reqwest::Client::builder().timeout(REQUEST_DEADLINE).no_proxy().build();
        let console: String = console.into();
        Self {
            http: http.expect("a client can be made"),
            console: console.trim_end_matches('/').to_owned(),
            token: token.into(),
        }
    }

    /// The same console, asked with another token.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: token.into(), ..self.clone() }
    }

    /// Another console, asked with the same token.
    #[must_use]
    pub fn at(&self, console: impl Into<String>) -> Self {
        Self::new(console, self.token.clone())
    }

    /// The console's address.
    pub fn console(&self) -> &str {
        &self.console
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Sends a request with these headers; `None` when no answer came.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Answer, reqwest::Error> {
        let root =
            if path.starts_with("/livez") || path.starts_with("/readyz") || path.starts_with("/metrics") {
                ""
            } else {
                "/api/v1"
            };
        let mut request = self.http.request(method.clone(), format!("{}{root}{path}", self.console));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::read(format!("{method} {path}"), request.send().await?).await
    }

    /// Sends a request that must be answered, with whatever status.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let sent = self.try_send(method.clone(), path, body, headers).await;
        sent.unwrap_or_else(|error| panic!("{method} {path} at {}: {error:?}", self.console))
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, &[]).await
    }

    /// Asks for something to be done.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(body), &[]).await
    }

    /// All items of a list, page by page.
    pub async fn items(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = match &cursor {
                Some(cursor) => format!("{path}{joint}limit=200&cursor={cursor}"),
                None => format!("{path}{joint}limit=200"),
            };
            let mut answer = self.get(&page).await.expect_status(200);
            match answer.body["items"].take() {
                Value::Array(page) => items.extend(page),
                other => panic!("{path} gave no list but {other}"),
            }
            cursor = answer.body["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return items;
            }
        }
    }

    /// All items of a list, with so many on a page, where the consoles answer.
    pub async fn try_items(&self, path: &str, limit: usize) -> Result<Vec<Value>, String> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let place = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let mut page = self.try_get(&format!("{path}{joint}limit={limit}{place}")).await?;
            match page["items"].take() {
                Value::Array(page) => items.extend(page),
                other => return Err(format!("{path} gave no list but {other}")),
            }
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return Ok(items);
            }
        }
    }

    /// A run as it is now, where the consoles answer.
    pub async fn try_run(&self, id: &str) -> Result<Run, String> {
        self.try_get(&format!("/runs/{id}")).await.map(Run::new)
    }

    /// Reads, where the consoles answer.
    pub async fn try_get(&self, path: &str) -> Result<Value, String> {
        let answer = self
            .try_send(Method::GET, path, None, &[])
            .await
            .map_err(|error| format!("{path}: {error:?}"))?;
        if answer.status == 200 {
            Ok(answer.body)
        } else {
            Err(format!("{path}: {} {:#}", answer.status, answer.body))
        }
    }

    /// Triggers a job and returns the run's id.
    pub async fn trigger(&self, job: u32, params: Option<Value>) -> String {
        let body = params.map_or(json!({}), |params| json!({ "params": params }));
        self.post(&format!("/jobs/{job}/runs"), &body).await.expect_status(202).text("id")
    }

    /// A run as it is now.
    pub async fn run(&self, id: &str) -> Run {
        self.get(&format!("/runs/{id}")).await.expect_status(200).as_run()
    }

    /// All runs of a job, newest first.
    pub async fn runs_of(&self, job: u32) -> Vec<Run> {
        self.items(&format!("/runs?job={job}")).await.into_iter().map(Run::new).collect()
    }

    /// Waits until a run is final.
    pub async fn finished(&self, id: &str) -> Run {
        self.finished_within(id, PATIENCE).await
    }

    /// Waits until a run is final, for so long.
    pub async fn finished_within(&self, id: &str, patience: Duration) -> Run {
        wait::until(&format!("the run {id} is final"), patience, async || {
            let run = self.run(id).await;
            if is_final(run.state()) { Ok(run) } else { Err(run.body) }
        })
        .await
    }

    /// Waits until a run is in a state.
    pub async fn is_in_state(&self, id: &str, state: &str) -> Run {
        wait::until(&format!("the run {id} is {state}"), PATIENCE, async || {
            let run = self.run(id).await;
            if run.state() == state { Ok(run) } else { Err(run.body) }
        })
        .await
    }

    /// Waits until a job has at least so many final runs, and returns all its runs, oldest first.
    pub async fn has_run(&self, job: u32, times: usize, patience: Duration) -> Vec<Run> {
        wait::until(&format!("the job {job} has run {times} times"), patience, async || {
            let mut runs = self.runs_of(job).await;
            runs.reverse();
            let count = runs.iter().filter(|run| is_final(run.state())).count();
            if count >= times { Ok(runs) } else { Err(count) }
        })
        .await
    }

    /// Waits until so many more runs of a job are final than now.
    pub async fn runs_on(&self, job: u32, more: usize) -> Vec<Run> {
        let done = self.runs_of(job).await.iter().filter(|run| is_final(run.state())).count();
        self.has_run(job, done + more, PATIENCE).await
    }

    /// Waits until every run of a job is final.
    pub async fn is_quiet(&self, job: u32) {
        wait::until(&format!("all runs of job {job} are final"), PATIENCE * 2, async || {
            let runs = self.runs_of(job).await;
            let open: Vec<Value> =
                runs.into_iter().filter(|run| !is_final(run.state())).map(|run| run.body).collect();
            if open.is_empty() { Ok(()) } else { Err(open) }
        })
        .await;
    }

    /// Up to where every fire of a group's first shard has its row, in milliseconds since 1970.
    pub async fn planned_until(&self, group: &str) -> i64 {
        let answer = self.get(&format!("/groups/{group}/placement")).await.expect_status(200);
        let until = answer.body["shards"][0]["planned_until"].as_str().map(millis);
        until.unwrap_or_else(|| panic!("no shard in {:#}", answer.body))
    }

    /// Waits until fires are planned beyond `until`, which nobody can have done who was gone before.
    pub async fn plans_beyond(&self, group: &str, until: i64) {
        wait::until("fires are planned that were not before", PATIENCE, async || {
            let planned = self.planned_until(group).await;
            if planned > until { Ok(()) } else { Err(planned - until) }
        })
        .await;
    }

    /// The text of a run's log.
    pub async fn log(&self, run: &str) -> String {
        let (mut text, mut from) = (String::new(), 0);
        loop {
            let page = self.get(&format!("/runs/{run}/log?format=json&from={from}")).await.expect_status(200);
            text.push_str(&page.text("text"));
            let next = page.body["next_offset"].as_u64().unwrap_or(from);
            if next <= from {
                return text;
            }
            from = next;
        }
    }

    /// Waits until a run's log contains a text: lines arrive a moment after they were written.
    pub async fn log_has(&self, run: &str, part: &str) -> String {
        wait::until(&format!("the log of {run} has {part:?}"), PATIENCE, async || {
            let log = self.log(run).await;
            if log.contains(part) { Ok(log) } else { Err(log) }
        })
        .await
    }

    /// A new token for the workers of a group.
    pub async fn worker_token(&self, group: &str) -> String {
        let body = json!({"name": format!("workers of {group}"), "worker_of": group});
        self.post("/tokens", &body).await.expect_status(201).text("token")
    }
}
