//! What users implement: simple, blocking and parallel jobs, and what their handlers give back.

mod erased;
mod function;
mod outcome;
mod parallel;

use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use erased::{
    AnyJob, ErasedJob, ErasedParallel, erase_blocking, erase_job, erase_parallel, erase_reduce,
};
pub use function::{BlockingFn, JobFn, blocking_fn, job_fn};
pub use outcome::{JobError, JobResult, failed, fatal, retry_after, skip};
pub(crate) use outcome::{Outcome, Verdict};
pub use parallel::{Emit, MAX_PAYLOAD_BYTES, Outputs, ParallelJob, Reduce};
pub(crate) use parallel::{EmitPort, OutputsPort};

use crate::context::RunContext;

/// The largest result or subtask output that the wire carries, as JSON text.
pub const MAX_RESULT_BYTES: usize = 16 * 1024;

/// A simple job with an asynchronous handler. For plain functions there is [`job_fn`].
///
/// ```
/// use carillon_client::prelude::*;
///
/// struct Greeter { greeting: String }
///
/// impl Job for Greeter {
///     type Params = String;
///     type Output = String;
///     async fn run(&self, _: RunContext, name: String) -> JobResult<String> {
///         Ok(format!("{} {name}", self.greeting))
///     }
/// }
/// ```
pub trait Job: Send + Sync + 'static {
    /// What the job's params are read as, by serde from JSON.
    type Params: DeserializeOwned + Send + 'static;
    /// What is kept as the run's result, at most [`MAX_RESULT_BYTES`] as JSON; a larger one is left out with a line in the run's log.
    type Output: Serialize + Send + 'static;

    /// Runs once for each attempt. It should notice [`RunContext::cancelled`]; after the grace it is dropped.
    fn run(
        &self,
        ctx: RunContext,
        params: Self::Params,
    ) -> impl Future<Output = JobResult<Self::Output>> + Send;
}

/// A simple job whose handler blocks its thread; it runs on its unit's own thread pool. For plain functions there is [`blocking_fn`].
///
/// A blocking handler cannot be stopped from outside: call [`RunContext::check`] now and then. One that does not is reported as timed out or
/// cancelled after the grace, and keeps its thread until it returns.
pub trait BlockingJob: Send + Sync + 'static {
    /// What the job's params are read as, by serde from JSON.
    type Params: DeserializeOwned + Send + 'static;
    /// What is kept as the run's result, as in [`Job::Output`].
    type Output: Serialize + Send + 'static;

    /// Runs once for each attempt.
    fn run(&self, ctx: RunContext, params: Self::Params) -> JobResult<Self::Output>;
}
