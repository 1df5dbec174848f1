//! A server with a virtual clock.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::context::{RunContext, RunInfo};
use crate::job::{Job, JobError, Outcome, erase_job};
use crate::logs::{LogHub, RunLog, log_layer, run_span};
use crate::progress::ProgressBoard;
use crate::run_id::{AttemptKey, RunKey};
use crate::worker::{Arm, ClusterTime, Input, Kind, Ledger, Output, Overlap, Payload, UnitSpec, panicked};

/// Runs simple jobs by a clock that stands still until told to go on: a day of schedules in a moment.
///
/// It arms the same state machine that a worker runs, and handlers take no virtual time.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use carillon_client::prelude::*;
/// use carillon_client::testing::TestServer;
///
/// async fn hello(_: RunContext, name: String) -> JobResult<String> {
///     Ok(format!("hello {name}"))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut server = TestServer::new(SystemTime::UNIX_EPOCH).job("hello", job_fn(hello));
/// server.every("hello", Duration::from_secs(3_600), &"Ada");
/// let fired = server.advance("1 day").await;
/// assert_eq!(fired.len(), 24);
/// assert_eq!(fired[0].result.as_ref().unwrap(), "hello Ada");
/// # }
/// ```
pub struct TestServer {
    now: ClusterTime,
    units: Vec<(UnitSpec, Arc<dyn crate::job::ErasedJob>)>,
    ledger: Option<Ledger>,
    schedules: Vec<Schedule>,
    due: Vec<Arm>,
    ordinal: u64,
    numbers: HashMap<String, u32>,
}

struct Schedule {
    handler: String,
    every_ms: u64,
    next: ClusterTime,
    params: Bytes,
}

/// A run that the test server fired.
#[derive(Debug)]
pub struct Fired {
    /// The handler's name.
    pub handler: String,
    /// When it was due, by the virtual clock.
    pub fire_time: SystemTime,
    /// What its handler gave back, as JSON; or why it did not run or failed.
    pub result: Result<serde_json::Value, String>,
    /// The lines of its log.
    pub log: Vec<String>,
}

const ME: u64 = 1;

impl TestServer {
    /// A server whose clock shows `now`.
    pub fn new(now: SystemTime) -> Self {
        Self {
            now: at(now),
            units: Vec::new(),
            ledger: None,
            schedules: Vec::new(),
            due: Vec::new(),
            ordinal: 0,
            numbers: HashMap::new(),
        }
    }

    /// Offers a job under a handler name, as [`Worker::job`](crate::Worker::job) does. Jobs are offered before the first
    /// [`advance`](Self::advance); later ones are unknown.
    #[must_use]
    pub fn job<J: Job>(mut self, handler: impl Into<String>, job: J) -> Self {
        let spec = UnitSpec {
            handler: handler.into(),
            parallel: false,
            reduce: false,
            blocking: false,
            concurrency: 16,
            queue: 1_000,
        };
        self.units.push((spec, erase_job(job)));
        self
    }

    /// Fires a handler at a fixed rate, first after one period; periods are at least a millisecond.
    pub fn every(&mut self, handler: impl Into<String>, period: Duration, params: &impl Serialize) {
        let every_ms = u64::try_from(period.as_millis()).unwrap_or(u64::MAX).max(1);
        let next = self.now.plus_millis(every_ms);
        self.schedules.push(Schedule { handler: handler.into(), every_ms, next, params: json(params) });
    }

    /// Fires a handler once, at an instant; in the past, at the next [`advance`](Self::advance).
    pub fn fire(&mut self, handler: &str, when: SystemTime, params: &impl Serialize) {
        self.ordinal += 1;
        let (ordinal, params) = (self.ordinal, json(params));
        let arm = self.arm(handler, at(when), ordinal, params);
        self.due.push(arm);
    }

    /// What the clock shows.
    pub fn now(&self) -> SystemTime {
        when(self.now)
    }

    /// Lets time pass, given in words (`"90 s"`, `"15 minutes"`, `"1 day"`), and gives what fired, in order.
    ///
    /// # Panics
    /// Where the words are not a number and a unit.
    pub async fn advance(&mut self, span: &str) -> Vec<Fired> {
        let span =
            read_span(span).unwrap_or_else(|| panic!("{span:?} is not a span such as \"90 s\" or \"1 day\""));
        let until = self.now.plus_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        let mut fired = Vec::new();
        loop {
            let scheduled = self.schedules.iter().map(|schedule| schedule.next);
            let once = self.due.iter().map(|arm| arm.due);
            let Some(next) = scheduled.chain(once).min().filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            let arms = self.take_due();
            self.run(arms, &mut fired).await;
        }
        self.now = until;
        fired
    }

    fn take_due(&mut self) -> Vec<Arm> {
        let now = self.now;
        let (mut arms, later) =
            std::mem::take(&mut self.due).into_iter().partition::<Vec<_>, _>(|arm| arm.due <= now);
        self.due = later;
        for place in 0..self.schedules.len() {
            let schedule = &mut self.schedules[place];
            if schedule.next <= now {
                let (handler, due, params) =
                    (schedule.handler.clone(), schedule.next, schedule.params.clone());
                schedule.next = due.plus_millis(schedule.every_ms);
                arms.push(self.arm(&handler, due, 0, params));
            }
        }
        arms.sort_by_key(|arm| arm.key);
        arms
    }

    fn arm(&mut self, handler: &str, due: ClusterTime, ordinal: u64, params: Bytes) -> Arm {
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX).saturating_add(1);
        let job = *self.numbers.entry(handler.to_owned()).or_insert(next);
        let run = RunKey { fire_time_ms: due.as_millis(), job, ordinal };
        Arm {
            key: AttemptKey { run, attempt: 1, reduce: false },
            plan_no: 1,
            job_version: 1,
            incarnation: ME,
            due,
            start_by: ClusterTime::from_micros(i64::MAX / 2),
            shard: 0,
            overlap: Overlap::Queue(1_000),
            timeout_ms: 0,
            kind: Kind::Simple,
            handler: handler.to_owned(),
            payload: Payload {
                params,
                max_attempts: 1,
                job_name: handler.to_owned(),
                epoch: 1,
                ..Payload::default()
            },
        }
    }

    async fn run(&mut self, arms: Vec<Arm>, fired: &mut Vec<Fired>) {
        let specs = || self.units.iter().map(|(spec, _)| spec.clone()).collect();
        let ledger = self.ledger.get_or_insert_with(|| Ledger::new(ME, specs()));
        let handlers: HashMap<AttemptKey, String> =
            arms.iter().map(|arm| (arm.key, arm.handler.clone())).collect();
        let mut inputs = vec![Input::Arms(arms)];
        let mut logs: HashMap<AttemptKey, Vec<String>> = HashMap::new();
        loop {
            let more = ledger.next_wake().is_some_and(|next| next <= self.now);
            let Some(input) = inputs.pop().or(more.then_some(Input::Tick)) else { break };
            let mut outputs = Vec::new();
            ledger.step(self.now, input, &mut outputs);
            for output in outputs {
                match output {
                    Output::Start { unit, arm } => {
                        let key = arm.key;
                        let (outcome, log) = enter(Arc::clone(&self.units[unit].1), *arm).await;
                        logs.insert(key, log);
                        inputs.push(Input::Finished { key, started: self.now, outcome });
                    }
                    Output::Report(report) if is_over(report.kind) => {
                        let result = if report.kind == carillon_proto::v1::ReportKind::Succeeded {
                            let json = if report.result.is_empty() { &b"null"[..] } else { &report.result };
                            serde_json::from_slice(json).map_err(|error| error.to_string())
                        } else if report.error.is_empty() {
                            Err(format!("{:?}: {:?}", report.kind, report.reason).to_lowercase())
                        } else {
                            Err(report.error)
                        };
                        fired.push(Fired {
                            handler: handlers.get(&report.key).cloned().unwrap_or_default(),
                            fire_time: when(ClusterTime::from_millis(report.key.run.fire_time_ms)),
                            result,
                            log: logs.remove(&report.key).unwrap_or_default(),
                        });
                    }
                    Output::Report(_) | Output::Cancel { .. } | Output::Abandon { .. } => {}
                }
            }
        }
    }
}

async fn enter(job: Arc<dyn crate::job::ErasedJob>, arm: Arm) -> (Outcome, Vec<String>) {
    use futures::FutureExt;
    use tracing::Instrument;
    use tracing::instrument::WithSubscriber;
    use tracing_subscriber::layer::SubscriberExt;

    let log = RunLog::new(&Arc::new(LogHub::default()), arm.key, 0, false);
    let info = Arc::new(RunInfo {
        key: arm.key,
        max_attempts: arm.payload.max_attempts,
        job_name: arm.payload.job_name,
        description: arm.payload.description,
        trace_id: vec![1; 16],
        epoch: arm.payload.epoch,
        log: Some(log.clone()),
        progress: Arc::new(ProgressBoard::default()),
        text: OnceLock::new(),
    });
    let subscriber = tracing_subscriber::registry().with(log_layer().with_level(tracing::Level::TRACE));
    let entered = async {
        let span = run_span(&info, None);
        let ctx = RunContext::new(Arc::clone(&info), None, CancellationToken::new());
        let run = job.run(ctx, arm.payload.params);
        std::panic::AssertUnwindSafe(run.instrument(span)).catch_unwind().await
    };
    let outcome = entered.with_subscriber(subscriber).await;
    let outcome = outcome.unwrap_or_else(|panic| panicked(&*panic).into());
    (outcome, log.take_text().lines().map(str::to_owned).collect())
}

fn is_over(kind: carillon_proto::v1::ReportKind) -> bool {
    use carillon_proto::v1::ReportKind::{Armed, Queued, Started};
    !matches!(kind, Armed | Queued | Started)
}

fn at(when: SystemTime) -> ClusterTime {
    let micros = when.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros();
    ClusterTime::from_micros(i64::try_from(micros).unwrap_or(i64::MAX / 2))
}

fn when(at: ClusterTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(at.as_micros().max(0).unsigned_abs())
}

fn json(params: &impl Serialize) -> Bytes {
    // A value that is no JSON shows as bad params of the run, as it would from a server.
    serde_json::to_vec(params)
        .unwrap_or_else(|error| JobError::from(error).message().as_bytes().to_vec())
        .into()
}

fn read_span(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let millis = match text[digits..].trim().trim_end_matches('s') {
        "m" if text.ends_with("ms") => 1,
        "" | "sec" | "second" if text.ends_with('s') || text.ends_with('d') || text.ends_with('c') => 1_000,
        "m" | "min" | "minute" => 60_000,
        "h" | "hour" => 3_600_000,
        "d" | "day" => 86_400_000,
        "w" | "week" => 7 * 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{JobResult, job_fn};

    #[test]
    fn spans_are_read_in_words() {
        for (text, millis) in [
            ("90 s", 90_000),
            ("250ms", 250),
            ("1 second", 1_000),
            ("15 minutes", 900_000),
            ("2h", 7_200_000),
            ("1 day", 86_400_000),
            ("3 weeks", 1_814_400_000),
        ] {
            assert_eq!(read_span(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "day", "5", "1 fortnight", "-1 s"] {
            assert_eq!(read_span(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn fires_happen_in_the_order_of_their_times_and_see_them() {
        async fn fire_time(ctx: RunContext, (): ()) -> JobResult<i64> {
            tracing::info!("ringing");
            Ok(ctx.fire_time_ms())
        }
        let epoch = SystemTime::UNIX_EPOCH;
        let mut server = TestServer::new(epoch).job("a", job_fn(fire_time)).job("b", job_fn(fire_time));
        server.every("a", Duration::from_secs(2), &());
        server.fire("b", epoch + Duration::from_secs(3), &());
        let fired = server.advance("5 s").await;
        let seen: Vec<_> =
            fired.iter().map(|fired| (fired.handler.as_str(), fired.result.clone().unwrap())).collect();
        assert_eq!(seen, [("a", 2_000.into()), ("b", 3_000.into()), ("a", 4_000.into())]);
        assert!(fired[0].log[0].ends_with("INFO ringing"));
        assert_eq!(server.now(), epoch + Duration::from_secs(5));
        assert!(server.advance("500 ms").await.is_empty());
    }

    #[tokio::test]
    async fn what_does_not_run_says_why() {
        let mut server = TestServer::new(SystemTime::UNIX_EPOCH);
        server.fire("nobody", SystemTime::UNIX_EPOCH, &());
        let fired = server.advance("1 s").await;
        assert_eq!(fired[0].result, Err("refused: unknownhandler".to_owned()));
    }
}
