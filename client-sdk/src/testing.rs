//! Running jobs in tests, in process: no server, no network, no waiting for the time.
//!
//! ```
//! use carillon_client::prelude::*;
//! use carillon_client::testing;
//!
//! async fn hello(ctx: RunContext, name: String) -> JobResult<String> {
//!     tracing::info!("greeting {name}");
//!     Ok(format!("hello {name}"))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let run = testing::run(&job_fn(hello), "Ada".to_owned()).await;
//! assert_eq!(run.result.unwrap(), "hello Ada");
//! assert!(run.log[0].ends_with("INFO greeting Ada"));
//! # }
//! ```

mod server;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use carillon_proto::v1;
use futures::FutureExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use tracing::instrument::WithSubscriber;
use tracing_subscriber::layer::SubscriberExt;

use crate::context::{RunContext, RunInfo, SubtaskInfo};
use crate::job::{BlockingJob, Emit, Job, JobError, JobResult, Outputs, ParallelJob, Reduce};
use crate::logs::{LogHub, RunLog, log_layer, run_span};
use crate::progress::ProgressBoard;
use crate::run_id::{AttemptKey, RunKey};
use crate::worker::{EmitBuffer, ReduceFeed, panicked};

pub use server::{Fired, TestServer};

/// What a job did.
#[derive(Debug)]
pub struct TestRun<T> {
    /// What its handler gave back; a panic is a failure.
    pub result: JobResult<T>,
    /// The lines of its log, at level `trace` and above.
    pub log: Vec<String>,
}

/// What a parallel job did.
#[derive(Debug)]
pub struct ParallelTestRun<T> {
    /// How the split ended.
    pub split: JobResult,
    /// Each subtask's key and what its one try gave, in the order of the split.
    pub outputs: Vec<(String, JobResult<T>)>,
    /// The lines of the run's log.
    pub log: Vec<String>,
}

/// Runs a job once, as attempt 1 of job 1.
pub async fn run<J: Job>(job: &J, params: J::Params) -> TestRun<J::Output> {
    let bench = Bench::new();
    let result = bench.enter(None, |ctx| job.run(ctx, params)).await;
    TestRun { result, log: bench.log() }
}

/// Runs a blocking job once, on the calling thread.
pub fn run_blocking<J: BlockingJob>(job: &J, params: J::Params) -> TestRun<J::Output> {
    let bench = Bench::new();
    let entered = bench.enter(None, |ctx| std::future::ready(()).map(move |()| job.run(ctx, params)));
    // The future has no await that could wait.
    let result = entered.now_or_never().unwrap_or_else(|| Err(crate::job::failed("the handler did not end")));
    TestRun { result, log: bench.log() }
}

/// Runs both levels of a parallel job: the split, then each subtask once, one after the other.
pub async fn run_parallel<J: ParallelJob>(job: &J, params: J::Params) -> ParallelTestRun<J::Output> {
    let bench = Bench::new();
    let (split, subtasks) = bench.split(job, params).await;
    let mut outputs = Vec::with_capacity(subtasks.len());
    for subtask in subtasks {
        let output = bench.process(job, &subtask).await;
        outputs.push((subtask.key, output));
    }
    ParallelTestRun { split, outputs, log: bench.log() }
}

/// Runs a parallel job with its reduce. Fails with the first failure of any level.
pub async fn run_reduce<J>(job: &J, params: J::Params) -> TestRun<J::Result>
where
    J: Reduce,
    J::Params: Clone,
{
    let bench = Bench::new();
    let result = bench.reduce(job, params).await;
    TestRun { result, log: bench.log() }
}

/// The surroundings of one run.
struct Bench {
    info: Arc<RunInfo>,
    log: RunLog,
}

impl Bench {
    fn new() -> Self {
        let run = RunKey { fire_time_ms: 1_763_630_400_000, job: 1, ordinal: 0 };
        let key = AttemptKey { run, attempt: 1, reduce: false };
        let log = RunLog::new(&Arc::new(LogHub::default()), key, 0, false);
        let info = RunInfo {
            key,
            max_attempts: 1,
            job_name: "test".to_owned(),
            description: String::new(),
            trace_id: vec![1; 16],
            epoch: 1,
            log: Some(log.clone()),
            progress: Arc::new(ProgressBoard::default()),
            text: OnceLock::new(),
        };
        Self { info: Arc::new(info), log }
    }

    /// Runs a handler with a context, its log captured and its panics caught.
    async fn enter<T, R: Future<Output = JobResult<T>>>(
        &self,
        subtask: Option<SubtaskInfo>,
        handler: impl FnOnce(RunContext) -> R,
    ) -> JobResult<T> {
        let subscriber = tracing_subscriber::registry().with(log_layer().with_level(tracing::Level::TRACE));
        let entered = async {
            let span = run_span(&self.info, subtask.as_ref().map(|subtask| (&*subtask.key, subtask.index)));
            let ctx = RunContext::new(Arc::clone(&self.info), subtask, CancellationToken::new());
            let run = async move { handler(ctx).await };
            AssertUnwindSafe(run.instrument(span)).catch_unwind().await
        };
        entered.with_subscriber(subscriber).await.unwrap_or_else(|panic| Err(panicked(&*panic)))
    }

    async fn split<J: ParallelJob>(&self, job: &J, params: J::Params) -> (JobResult, Vec<v1::Subtask>) {
        let wake = Arc::new(Notify::new());
        let buffer = Arc::new(EmitBuffer::new(self.info.key, 0, Arc::clone(&wake)));
        let stored: Mutex<Vec<v1::Subtask>> = Mutex::default();
        let store = async {
            loop {
                wake.notified().await;
                let mut newest = None;
                buffer.send(Instant::now(), |batch, _| {
                    newest = Some(batch.batch_no);
                    stored.lock().unwrap_or_else(PoisonError::into_inner).extend(batch.subtasks);
                    true
                });
                newest.inspect(|batch_no| buffer.acknowledged(*batch_no, ""));
            }
        };
        let split = self.enter(None, |ctx| async {
            let mut emit = Emit::new(Arc::clone(&buffer));
            job.split(ctx, params, &mut emit).await?;
            buffer.finish().await
        });
        let split = tokio::select! {
            split = split => split,
            () = store => Ok(()),
        };
        (split, stored.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn process<J: ParallelJob>(&self, job: &J, subtask: &v1::Subtask) -> JobResult<J::Output> {
        let info = SubtaskInfo { index: subtask.index, attempt: 1, key: subtask.key.clone() };
        self.enter(Some(info), |ctx| async move {
            let task = serde_json::from_slice(&subtask.payload)?;
            job.process(ctx, task).await
        })
        .await
    }

    async fn reduce<J: Reduce>(&self, job: &J, params: J::Params) -> JobResult<J::Result>
    where
        J::Params: Clone,
    {
        let (split, subtasks) = self.split(job, params.clone()).await;
        split?;
        let feed = Arc::new(ReduceFeed::new(self.info.key, 0, Arc::new(Notify::new())));
        let mut outputs = Vec::with_capacity(subtasks.len());
        for subtask in &subtasks {
            let output = serde_json::to_vec(&self.process(job, subtask).await?)?;
            outputs.push(v1::SubtaskOutput { index: subtask.index, output: output.into() });
        }
        feed.arrived(v1::ReduceInput { run: None, attempt: 1, outputs, last: true });
        self.enter(None, |ctx| async { job.reduce(ctx, params, &mut Outputs::new(feed)).await }).await
    }

    fn log(&self) -> Vec<String> {
        self.log.take_text().lines().map(str::to_owned).collect()
    }
}

impl<T> TestRun<T> {
    /// The error, where there is one.
    pub fn error(&self) -> Option<&JobError> {
        self.result.as_ref().err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{blocking_fn, fatal, job_fn};

    struct Squares;

    impl ParallelJob for Squares {
        type Params = u32;
        type Task = u32;
        type Output = u32;
        async fn split(&self, _: RunContext, below: u32, out: &mut Emit<u32>) -> JobResult {
            for number in 0..below {
                out.push(number).await?;
            }
            Ok(())
        }
        async fn process(&self, _: RunContext, number: u32) -> JobResult<u32> {
            tracing::info!("squaring");
            if number == 3 { Err(fatal("three is unlucky")) } else { Ok(number * number) }
        }
    }

    impl Reduce for Squares {
        type Result = u32;
        async fn reduce(&self, _: RunContext, _: u32, outputs: &mut Outputs<u32>) -> JobResult<u32> {
            let mut sum = 0;
            while let Some(output) = outputs.next().await? {
                sum += output;
            }
            Ok(sum)
        }
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_with_its_text() {
        async fn broken(_: RunContext, (): ()) -> JobResult {
            panic!("no luck")
        }
        let run = run(&job_fn(broken), ()).await;
        assert_eq!(run.error().unwrap().message(), "handler panicked: no luck");
    }

    #[test]
    fn a_blocking_job_runs_on_the_calling_thread() {
        let here = std::thread::current().id();
        let job = blocking_fn(move |_: RunContext, (): ()| Ok(std::thread::current().id() == here));
        assert!(run_blocking(&job, ()).result.unwrap());
    }

    #[tokio::test]
    async fn both_levels_run_and_subtasks_fail_alone() {
        let run = run_parallel(&Squares, 5_000).await;
        run.split.unwrap();
        assert_eq!(run.outputs.len(), 5_000);
        assert_eq!((run.outputs[2].0.as_str(), run.outputs[2].1.as_ref().unwrap()), ("2", &4));
        assert!(run.outputs[3].1.as_ref().unwrap_err().is_fatal());
        assert!(run.log[4].ends_with("INFO [4] squaring"), "{}", run.log[4]);
    }

    #[tokio::test]
    async fn a_reduce_gets_every_output() {
        assert_eq!(run_reduce(&Squares, 3).await.result.unwrap(), 5);
    }
}
