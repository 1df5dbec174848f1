//! How a worker is told what it is and what it does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use carillon_proto::v1;
use rand::RngExt;
use tokio_util::sync::CancellationToken;

use super::{Plan, Source, UnitSpec};
use crate::error::Error;
use crate::job::{
    AnyJob, BlockingJob, Job, ParallelJob, Reduce, erase_blocking, erase_job, erase_parallel, erase_reduce,
};

/// Handlers that a unit runs at a time until told otherwise: more than any one machine's cores, few enough not to drown what they call.
const DEFAULT_CONCURRENCY: usize = 16;

/// Due runs that wait in a unit until told otherwise.
const DEFAULT_QUEUE: usize = 1_000;

/// How long running handlers may take to end in a drain, until told otherwise: what orchestrators give a process by default.
const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// A worker in the making: what it is, where its servers are found, which jobs it runs.
///
/// ```no_run
/// use carillon_client::prelude::*;
///
/// # async fn hello(_: RunContext, name: String) -> JobResult<String> { Ok(name) }
/// # async fn run() -> Result<(), carillon_client::Error> {
/// Worker::builder()
///     .consoles(["http://console-1:8080", "http://console-2:8080"])
///     .group("101-1-2-6601")
///     .token("cri_wkr_...")
///     .job("hello", job_fn(hello))
///     .with_concurrency(64)
///     .serve()
///     .await
/// # }
/// ```
#[derive(Default)]
pub struct Worker {
    consoles: Vec<String>,
    servers: Vec<String>,
    group: String,
    token: String,
    name: String,
    room: String,
    labels: HashMap<String, String>,
    units: Vec<(UnitSpec, AnyJob)>,
    drain_deadline: Option<Duration>,
}

impl Worker {
    /// A worker of which nothing is known yet.
    pub fn builder() -> Self {
        Self::default()
    }

    /// A worker as the environment describes it:
    ///
    /// | variable | |
    /// |---|---|
    /// | `CARILLON_CONSOLES` | URLs of consoles, comma separated: `http://console:8080` |
    /// | `CARILLON_SERVERS` | gRPC addresses of servers, comma separated, in place of consoles |
    /// | `CARILLON_GROUP` | the task group: `101-1-2-6601` |
    /// | `CARILLON_TOKEN` | the worker token: `cri_wkr_...` |
    /// | `CARILLON_WORKER_NAME` | a name for people; the host's by default |
    /// | `CARILLON_ROOM` | the machine room; by default the server knows it by the address |
    /// | `CARILLON_LABELS` | labels for routing: `zone=a,gpu=yes` |
    ///
    /// Fails where group or token is missing, neither consoles nor servers are given, or one of them cannot be read.
    pub fn from_env() -> Result<Self, Error> {
        let worker = Self::from_variables(|name| std::env::var(name).ok())?;
        worker.check()?;
        Ok(worker)
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let text = |name| variable(name).unwrap_or_default().trim().to_owned();
        let list = |name| {
            let parts: Vec<String> = text(name).split(',').map(|part| part.trim().to_owned()).collect();
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>()
        };
        let mut labels = HashMap::new();
        for label in list("CARILLON_LABELS") {
            let Some((key, value)) = label.split_once('=').filter(|(key, _)| !key.is_empty()) else {
                let expected = "key=value pairs, comma separated";
                return Err(Error::BadSetting { name: "CARILLON_LABELS", given: label, expected });
            };
            labels.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        Ok(Self {
            servers: list("CARILLON_SERVERS"),
            group: text("CARILLON_GROUP"),
            token: text("CARILLON_TOKEN"),
            name: text("CARILLON_WORKER_NAME"),
            room: text("CARILLON_ROOM"),
            labels,
            ..Self::default()
        }
        .consoles(list("CARILLON_CONSOLES")))
    }

    /// The consoles that know the group's servers.
    #[must_use]
    pub fn consoles<I: IntoIterator<Item = S>, S: Into<String>>(mut self, consoles: I) -> Self {
        let plain = |url: S| url.into().trim_end_matches('/').to_owned();
        self.consoles = consoles.into_iter().map(plain).collect();
        self
    }

    /// The servers themselves, by gRPC address (`127.0.0.1:7001`), in place of consoles.
    #[must_use]
    pub fn servers<I: IntoIterator<Item = S>, S: Into<String>>(mut self, servers: I) -> Self {
        self.servers = servers.into_iter().map(Into::into).collect();
        self
    }

    /// The task group, `101-1-2-6601`.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// The worker token of the group.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = token.into();
        self
    }

    /// A name for people, 1 to 128 characters; the host's by default.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The machine room; by default the server knows it by the address.
    #[must_use]
    pub fn room(mut self, room: impl Into<String>) -> Self {
        self.room = room.into();
        self
    }

    /// A label for routing.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// How long running handlers may take to end in a drain (30 s by default); then they are cancelled.
    #[must_use]
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain_deadline = Some(deadline);
        self
    }

    /// Offers a simple job under a handler name.
    #[must_use]
    pub fn job<J: Job>(self, handler: impl Into<String>, job: J) -> Self {
        self.unit(handler, AnyJob::Simple(erase_job(job)))
    }

    /// Offers a job that blocks its thread; the unit has its own threads, one for each place.
    #[must_use]
    pub fn blocking<J: BlockingJob>(self, handler: impl Into<String>, job: J) -> Self {
        self.unit(handler, AnyJob::Blocking(erase_blocking(job)))
    }

    /// Offers a parallel job: split and process.
    #[must_use]
    pub fn parallel<J: ParallelJob>(self, handler: impl Into<String>, job: J) -> Self {
        self.unit(handler, AnyJob::Parallel(erase_parallel(Arc::new(job)), None))
    }

    /// Offers a parallel job that ends with a reduce.
    #[must_use]
    pub fn parallel_reduce<J: Reduce>(self, handler: impl Into<String>, job: J) -> Self {
        let job = Arc::new(job);
        self.unit(handler, AnyJob::Parallel(erase_parallel(Arc::clone(&job)), Some(erase_reduce(job))))
    }

    fn unit(mut self, handler: impl Into<String>, job: AnyJob) -> Self {
        let spec = UnitSpec {
            handler: handler.into(),
            parallel: matches!(job, AnyJob::Parallel(..)),
            reduce: matches!(job, AnyJob::Parallel(_, Some(_))),
            blocking: matches!(job, AnyJob::Blocking(_)),
            concurrency: DEFAULT_CONCURRENCY,
            queue: DEFAULT_QUEUE,
        };
        self.units.push((spec, job));
        self
    }

    /// How many runs (and subtasks) of the job registered last this worker processes at a time; 16 by default, at least 1.
    #[must_use]
    pub fn with_concurrency(mut self, concurrency: usize) -> Self {
        if let Some((spec, _)) = self.units.last_mut() {
            spec.concurrency = concurrency.max(1);
        }
        self
    }

    /// How many due runs of the job registered last may wait for a place; 1,000 by default. Beyond it they go to other workers.
    #[must_use]
    pub fn with_queue(mut self, queue: usize) -> Self {
        if let Some((spec, _)) = self.units.last_mut() {
            spec.queue = queue;
        }
        self
    }

    /// Serves until SIGTERM or SIGINT, then drains: takes nothing new, ends what runs, reports, leaves. A second signal ends the process as if
    /// nobody listened.
    ///
    /// Fails where a setting is wrong; a server that is away is waited for.
    pub async fn serve(self) -> Result<(), Error> {
        let stop = CancellationToken::new();
        let listening = listen_for_signals(stop.clone())?;
        let served = self.serve_until(stop).await;
        listening.abort();
        served
    }

    /// Serves until the token is cancelled, then drains as [`serve`](Self::serve) does.
    pub async fn serve_until(self, stop: CancellationToken) -> Result<(), Error> {
        self.check()?;
        super::serve(self.plan(), stop).await
    }

    fn check(&self) -> Result<(), Error> {
        if self.group.is_empty() {
            let expected = "a task group id such as 101-1-2-6601";
            return Err(Error::MissingSetting { name: "CARILLON_GROUP", expected });
        }
        let parts: Vec<&str> = self.group.split('-').collect();
        if parts.len() != 4 || parts.iter().any(|part| part.parse::<u32>().is_err()) {
            let expected = "four positive integers such as 101-1-2-6601";
            return Err(Error::BadSetting { name: "CARILLON_GROUP", given: self.group.clone(), expected });
        }
        if self.token.is_empty() {
            let expected = "the group's worker token, cri_wkr_...";
            return Err(Error::MissingSetting { name: "CARILLON_TOKEN", expected });
        }
        if self.consoles.is_empty() && self.servers.is_empty() {
            let expected = "at least one console such as http://127.0.0.1:8080";
            return Err(Error::MissingSetting { name: "CARILLON_CONSOLES", expected });
        }
        if let Some(given) = self.consoles.iter().find(|url| !url.starts_with("http://")) {
            let expected = "urls that begin with http://";
            return Err(Error::BadSetting { name: "CARILLON_CONSOLES", given: given.clone(), expected });
        }
        if self.name.chars().count() > 128 {
            let expected = "at most 128 characters";
            return Err(Error::BadSetting {
                name: "CARILLON_WORKER_NAME",
                given: self.name.clone(),
                expected,
            });
        }
        for (place, (spec, _)) in self.units.iter().enumerate() {
            if self.units[..place].iter().any(|(other, _)| other.handler == spec.handler) {
                return Err(Error::DuplicateHandler(spec.handler.clone()));
            }
        }
        Ok(())
    }

    fn plan(self) -> Plan {
        let handlers = self.units.iter().map(|(spec, _)| v1::Handler {
            name: spec.handler.clone(),
            parallel: spec.parallel,
            reduce: spec.reduce,
            concurrency: u32::try_from(spec.concurrency).unwrap_or(u32::MAX),
            queue: u32::try_from(spec.queue).unwrap_or(u32::MAX),
        });
        let hello = v1::Hello {
            group: self.group.clone(),
            token: self.token.clone(),
            // 63 bits, so that it fits a signed column.
            incarnation: rand::rng().random::<u64>() >> 1,
            name: if self.name.is_empty() { host_name() } else { self.name },
            handlers: handlers.collect(),
            labels: self.labels,
            room: self.room,
            sdk_version: concat!("rust/", env!("CARGO_PKG_VERSION")).to_owned(),
            held: Vec::new(),
        };
        let source = if self.servers.is_empty() {
            Source::Consoles { consoles: self.consoles, group: self.group, token: self.token }
        } else {
            Source::Servers(self.servers)
        };
        Plan {
            hello,
            source,
            units: self.units,
            drain_deadline: self.drain_deadline.unwrap_or(DEFAULT_DRAIN),
        }
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"));
    let name = name.ok().or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let name: String = name.trim().chars().take(128).collect();
    if name.is_empty() { "worker".to_owned() } else { name }
}

#[cfg(unix)]
fn listen_for_signals(stop: CancellationToken) -> Result<tokio::task::JoinHandle<()>, Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |source| Error::System { doing: "listen for signals", source };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(130);
    }))
}

#[cfg(not(unix))]
fn listen_for_signals(stop: CancellationToken) -> Result<tokio::task::JoinHandle<()>, Error> {
    Ok(tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Worker, Error> {
        let worker = Worker::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })?;
        worker.check()?;
        Ok(worker)
    }

    const WELL: [(&str, &str); 3] = [
        ("CARILLON_GROUP", "101-1-2-6601"),
        ("CARILLON_TOKEN", "cri_wkr_x"),
        ("CARILLON_CONSOLES", " http://a:1/, http://b:2 ,"),
    ];

    #[test]
    fn the_environment_describes_a_worker() {
        let mut variables = WELL.to_vec();
        variables.push(("CARILLON_LABELS", "zone=a, gpu=yes"));
        let worker = from(&variables).unwrap();
        assert_eq!(worker.consoles, ["http://a:1", "http://b:2"]);
        assert_eq!(worker.labels["gpu"], "yes");
        let hello = worker.plan().hello;
        assert!(!hello.name.is_empty() && hello.incarnation < 1 << 63);
    }

    #[test]
    fn a_missing_or_wrong_setting_is_named_with_what_would_be_right() {
        for (name, value, named) in [
            ("CARILLON_GROUP", "", "101-1-2-6601"),
            ("CARILLON_GROUP", "a-b", "101-1-2-6601"),
            ("CARILLON_TOKEN", "", "cri_wkr_"),
            ("CARILLON_CONSOLES", "", "http://"),
            ("CARILLON_CONSOLES", "console:80", "http://"),
            ("CARILLON_LABELS", "zone", "key=value"),
        ] {
            let mut variables = WELL.to_vec();
            variables.retain(|(key, _)| *key != name);
            variables.push((name, value));
            let error = from(&variables).err().unwrap().to_string();
            assert!(error.contains(name) && error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_handler_name_is_used_once() {
        async fn nothing(_: crate::RunContext, (): ()) -> crate::JobResult {
            Ok(())
        }
        let worker = from(&WELL).unwrap();
        let worker = worker.job("a", crate::job_fn(nothing)).job("a", crate::job_fn(nothing));
        assert!(matches!(worker.check(), Err(Error::DuplicateHandler(name)) if name == "a"));
    }
}
