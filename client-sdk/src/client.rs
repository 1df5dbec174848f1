//! Triggering jobs and following their runs from a program, through any console.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;

/// A console that takes longer to answer is passed over for the next one.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often each console is asked before the client gives up: once more than a restart behind a proxy takes.
const ROUNDS: usize = 2;

/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(200);

/// First and longest pause between two looks at a run.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A client of the consoles' API. Cheap to clone; keep one for the program.
///
/// ```no_run
/// use std::time::Duration;
/// use carillon_client::{Client, TriggerOptions};
///
/// # async fn run() -> Result<(), carillon_client::Error> {
/// let client = Client::new(["http://console-1:8080", "http://console-2:8080"], "cri_pat_...")?;
/// let run = client.trigger(1, &"TestParam", TriggerOptions::default()).await?;
/// let status = client.wait(&run.run_id, Duration::from_secs(30)).await?;
/// assert!(status.state.is_success());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    inner: std::sync::Arc<Inner>,
}

struct Inner {
    consoles: Vec<String>,
    token: String,
    http: reqwest::Client,
    /// The console that answered last.
    first: AtomicUsize,
}

/// What may be said besides job and params.
#[derive(Debug, Clone, Default)]
pub struct TriggerOptions {
    /// Requests with the same key for the same job are one run, however often they are sent. The client draws one where none is given, so its own
    /// repetitions are one run too.
    pub idempotency_key: Option<String>,
    /// A W3C `traceparent` to go on with, in place of a new trace.
    pub traceparent: Option<String>,
}

/// A run that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunHandle {
    /// The run's id.
    pub run_id: String,
    /// Whether this request made the run; `false` where one with the same idempotency key did.
    #[serde(default)]
    pub created: bool,
}

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunState {
    /// Decided, not started; also while it waits for a retry.
    Planned,
    /// Its handler is running.
    Running,
    /// Its handler succeeded.
    Succeeded,
    /// Its handler failed for good.
    Failed,
    /// Its attempts are used up.
    Dead,
    /// Its last attempt took too long.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// It was skipped by policy or by its handler.
    Skipped,
    /// It could not start in time.
    Missed,
    /// A state that this version of the SDK does not know; not final, as far as it can tell.
    #[serde(other)]
    Unknown,
}

impl RunState {
    /// Whether nothing further happens to the run by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Planned | Self::Running | Self::Unknown)
    }

    /// Whether the run succeeded.
    pub fn is_success(self) -> bool {
        self == Self::Succeeded
    }
}

/// A run as the console shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct RunStatus {
    /// The run's id.
    pub id: String,
    /// Where it is in its life.
    pub state: RunState,
    /// What its handler gave back.
    #[serde(default)]
    pub result: Value,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
    /// Everything else that the console says about it.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl RunStatus {
    /// The result as the type that the handler gives back.
    pub fn result_as<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.result)
    }
}

#[derive(Serialize)]
struct TriggerRequest<'a, P> {
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a P>,
}

impl Client {
    /// A client of these consoles, tried in turn, that signs in with an API token (`cri_pat_...`).
    pub fn new<I, S>(consoles: I, token: impl Into<String>) -> Result<Self, Error>
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let plain = |url: S| url.into().trim_end_matches('/').to_owned();
        let consoles: Vec<String> = consoles.into_iter().map(plain).collect();
        let expected = "at least one url that begins with http://";
        if consoles.is_empty() {
            return Err(Error::MissingSetting { name: "consoles", expected });
        }
        if let Some(given) = consoles.iter().find(|url| !url.starts_with("http://")) {
            return Err(Error::BadSetting { name: "consoles", given: given.clone(), expected });
        }
        let http = reqwest::Client::builder().timeout(DEADLINE).build().unwrap_or_default();
        let inner = Inner { consoles, token: token.into(), http, first: AtomicUsize::new(0) };
        Ok(Self { inner: std::sync::Arc::new(inner) })
    }

    /// Triggers a job now. Params of `()` stand for the job's own.
    ///
    /// The request is repeated, with the same idempotency key, only where no console could be reached or answer; it makes one run at most.
    pub async fn trigger<P: Serialize>(
        &self,
        job_id: impl Display,
        params: &P,
        options: TriggerOptions,
    ) -> Result<RunHandle, Error> {
        let json = serde_json::to_value(params).map_err(Error::Params)?;
        let body = TriggerRequest { params: Some(&json).filter(|json| !json.is_null()) };
        let body = serde_json::to_vec(&body).map_err(Error::Params)?;
        let key = options.idempotency_key.unwrap_or_else(|| format!("{:032x}", rand::rng().random::<u128>()));
        let path = format!("/api/v1/jobs/{job_id}/runs");
        self.ask("POST", &path, |http, url| {
            let request = http
                .post(url)
                .header("idempotency-key", &key)
                .header("content-type", "application/json")
                .body(body.clone());
            match &options.traceparent {
                Some(trace) => request.header("traceparent", trace),
                None => request,
            }
        })
        .await
    }

    /// How a run stands.
    pub async fn run(&self, run_id: &str) -> Result<RunStatus, Error> {
        self.ask("GET", &format!("/api/v1/runs/{run_id}"), |http, url| http.get(url)).await
    }

    /// Waits until a run is final, for at most `timeout`.
    pub async fn wait(&self, run_id: &str, timeout: Duration) -> Result<RunStatus, Error> {
        let begun = Instant::now();
        let mut pause = LOOK.0;
        loop {
            let status = self.run(run_id).await?;
            if status.state.is_final() {
                return Ok(status);
            }
            let left = timeout.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(Error::WaitedTooLong { run: run_id.to_owned(), waited: timeout });
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LOOK.1);
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: &'static str,
        path: &str,
        request: impl Fn(&reqwest::Client, String) -> reqwest::RequestBuilder,
    ) -> Result<T, Error> {
        let Inner { consoles, token, http, first } = &*self.inner;
        let start = first.load(Ordering::Relaxed);
        let turns = ROUNDS * consoles.len();
        let mut turn = 0;
        loop {
            let place = (start + turn) % consoles.len();
            let asked = request(http, format!("{}{path}", consoles[place])).bearer_auth(token);
            let answered = match asked.send().await {
                Ok(answer) => {
                    let status = answer.status();
                    answer.bytes().await.map(|body| (status, body))
                }
                Err(error) => Err(error),
            };
            turn += 1;
            match answered {
                Ok((status, body)) => {
                    first.store(place, Ordering::Relaxed);
                    return if status.is_success() {
                        serde_json::from_slice(&body)
                            .map_err(|source| Error::Answer { path: path.to_owned(), source })
                    } else {
                        Err(refusal(status.as_u16(), path, &body))
                    };
                }
                Err(source) if turn >= turns => {
                    let asked = consoles.join(", ");
                    return Err(Error::Unreachable { method, path: path.to_owned(), asked, source });
                }
                Err(_) if turn % consoles.len() == 0 => tokio::time::sleep(PAUSE).await,
                Err(_) => {}
            }
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("consoles", &self.inner.consoles).finish_non_exhaustive()
    }
}

/// What a console's refusal says: the problem's detail, or the start of whatever it sent.
fn refusal(status: u16, path: &str, body: &[u8]) -> Error {
    let problem: Option<Value> = serde_json::from_slice(body).ok();
    let word = |field| problem.as_ref().and_then(|problem| problem.get(field)?.as_str().map(str::to_owned));
    let detail = word("detail")
        .or_else(|| word("title"))
        .unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned());
    Error::Refused { status, path: path.to_owned(), detail }
}
