//! A worker as a user would write it, whose handlers write down when they start and end. Tests tell it by params what to do.
//!
//! Handlers: `record` (simple), `blocking` (simple, on a thread), `fan` (parallel), `sum` (parallel with a reduce).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use carillon_client::prelude::*;
use carillon_ha::ledger::{self, Armed, Event, Ledger, Line, Phase};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// What a test can ask of a simple run: the fields of its params, if those are an object. Any other params are taken as they are.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wish {
    /// How long the handler takes.
    sleep_ms: u64,
    /// This many attempts fail before one succeeds.
    fail_first: u32,
    /// The first attempt panics.
    panic: bool,
}

impl Wish {
    fn of(params: &Value) -> Self {
        serde_json::from_value(params.clone()).unwrap_or_default()
    }
}

/// What a test can ask of a parallel run.
#[derive(Debug, Clone, Deserialize)]
struct Fan {
    /// How many subtasks are emitted: the texts `item-0`, `item-1` ...
    subtasks: u64,
    /// How long level 1 waits after each subtask.
    #[serde(default)]
    pause_ms: u64,
    /// How long level 2 takes for each.
    #[serde(default)]
    sleep_ms: u64,
    /// A subtask that fails ...
    #[serde(default)]
    failing: Option<u64>,
    /// ... this many times.
    #[serde(default)]
    times: u32,
}

/// A subtask is a text that says all that level 2 has to know: `item-<index> <sleep_ms> <times to fail>`.
fn text_of(fan: &Fan, index: u64) -> String {
    let times = if fan.failing == Some(index) { fan.times } else { 0 };
    format!("item-{index} {} {times}", fan.sleep_ms)
}

/// Writes down when this worker is told of its runs, into a file beside its ledger.
struct Arms(Ledger);

impl<S: Subscriber> Layer<S> for Arms {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut armed = Armed {
            run: String::new(),
            attempt: 0,
            plan_no: 0,
            due_us: 0,
            at_us: ledger::now_us(),
            worker: String::new(),
        };
        event.record(&mut Fields(&mut armed));
        self.0.write(&armed);
    }
}

struct Fields<'a>(&'a mut Armed);

impl Visit for Fields<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "attempt" => self.0.attempt = value,
            "plan_no" => self.0.plan_no = value,
            _ => {}
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "due_us" {
            self.0.due_us = value;
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "run" {
            self.0.run = format!("{value:?}");
        }
    }
}

/// Logs as a worker does, and the arms.
fn log(arms: Ledger) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let printed = fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_filter(filter);
    let arms = Arms(arms).with_filter(Targets::new().with_target("carillon::arm", Level::TRACE));
    tracing_subscriber::registry().with(printed).with(carillon_client::log_layer()).with(arms).init();
}

/// Where this worker writes, and as whom.
#[derive(Clone)]
struct Witness {
    ledger: Arc<Ledger>,
    worker: String,
}

impl Witness {
    fn write(&self, event: Event, phase: Phase, ctx: &RunContext, mark: Option<u64>) {
        self.ledger.write(&Line {
            event,
            phase,
            run: ctx.run_id().to_owned(),
            job: ctx.job_id(),
            attempt: ctx.attempt(),
            subtask: ctx.subtask().map(|subtask| (subtask.index, subtask.attempt)),
            fire_time_ms: ctx.fire_time_ms(),
            worker: self.worker.clone(),
            pid: std::process::id(),
            trace: ctx.trace_id(),
            mark,
            at_us: ledger::now_us(),
        });
    }

    /// Writes down how a handler ended and passes that on.
    fn end<T>(&self, phase: Phase, ctx: &RunContext, result: JobResult<T>) -> JobResult<T> {
        self.write(if result.is_ok() { Event::Succeeded } else { Event::Failed }, phase, ctx, None);
        result
    }
}

/// The reference job: logs its id, description and the current time, and gives back what it was given.
struct Record(Witness);

impl Job for Record {
    type Params = Value;
    type Output = Value;

    async fn run(&self, ctx: RunContext, params: Value) -> JobResult<Value> {
        self.0.write(Event::Started, Phase::Run, &ctx, params["mark"].as_u64());
        let wish = Wish::of(&params);
        tracing::info!("job {} ({}) at {}", ctx.job_id(), ctx.description(), ledger::now_us() / 1_000);
        if wish.panic && ctx.attempt() == 1 {
            panic!("as the test wished");
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(wish.sleep_ms)) => {}
            () = ctx.cancelled() => {}
        }
        let result = match ctx.check() {
            Ok(()) if ctx.attempt() <= wish.fail_first => {
                Err(failed(format!("attempt {} was to fail", ctx.attempt())))
            }
            Ok(()) => Ok(json!({ "params": params })),
            Err(cancelled) => Err(cancelled),
        };
        self.0.end(Phase::Run, &ctx, result)
    }
}

/// A handler that blocks its thread.
struct Blocking(Witness);

impl BlockingJob for Blocking {
    type Params = Value;
    type Output = String;

    fn run(&self, ctx: RunContext, params: Value) -> JobResult<String> {
        self.0.write(Event::Started, Phase::Run, &ctx, None);
        std::thread::sleep(Duration::from_millis(Wish::of(&params).sleep_ms));
        self.0.end(Phase::Run, &ctx, Ok(std::thread::current().name().unwrap_or_default().to_owned()))
    }
}

/// A job of two levels; with its reduce the sum of all indexes.
struct Fanned(Witness);

impl ParallelJob for Fanned {
    type Params = Fan;
    type Task = String;
    type Output = u64;

    async fn split(&self, ctx: RunContext, fan: Fan, out: &mut Emit<String>) -> JobResult {
        self.0.write(Event::Started, Phase::Split, &ctx, None);
        for index in 0..fan.subtasks {
            out.push_keyed(format!("item-{index}"), text_of(&fan, index)).await?;
            if fan.pause_ms > 0 {
                tokio::time::sleep(Duration::from_millis(fan.pause_ms)).await;
            }
        }
        self.0.end(Phase::Split, &ctx, Ok(()))
    }

    async fn process(&self, ctx: RunContext, text: String) -> JobResult<u64> {
        self.0.write(Event::Started, Phase::Process, &ctx, None);
        tracing::info!("processing {text}");
        let mut words =
            text.trim_start_matches("item-").split(' ').map(|word| word.parse::<u64>().map_err(fatal));
        let (Some(index), Some(sleep_ms), Some(times)) = (words.next(), words.next(), words.next()) else {
            return Err(fatal(format!("{text:?} is no subtask of mine")));
        };
        let (index, times) = (index?, times?);
        tokio::time::sleep(Duration::from_millis(sleep_ms?)).await;
        let attempt = ctx.subtask().map_or(0, |subtask| subtask.attempt);
        let result = if u64::from(attempt) <= times {
            Err(failed(format!("try {attempt} was to fail")))
        } else {
            Ok(index)
        };
        self.0.end(Phase::Process, &ctx, result)
    }
}

impl Reduce for Fanned {
    type Result = u64;

    async fn reduce(&self, ctx: RunContext, _: Fan, outputs: &mut Outputs<u64>) -> JobResult<u64> {
        self.0.write(Event::Started, Phase::Reduce, &ctx, None);
        let mut sum = 0;
        while let Some(output) = outputs.next().await? {
            sum += output;
        }
        self.0.end(Phase::Reduce, &ctx, Ok(sum))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = PathBuf::from(std::env::var_os(ledger::VARIABLE).ok_or("CARILLON_LEDGER names no file")?);
    log(Ledger::open(&path.with_extension("arms"))?);
    let worker = std::env::var("CARILLON_WORKER_NAME")?;
    let witness = Witness { ledger: Arc::new(Ledger::open(&path)?), worker };
    Worker::from_env()?
        .job("record", Record(witness.clone()))
        .blocking("blocking", Blocking(witness.clone()))
        .parallel("fan", Fanned(witness.clone()))
        .parallel_reduce("sum", Fanned(witness))
        .serve()
        .await?;
    Ok(())
}
