//! Plain functions as jobs.

use std::future::Future;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{BlockingJob, Job, JobResult};
use crate::context::RunContext;

/// An `async fn` as a job; made by [`job_fn`].
pub struct JobFn<F, P, O> {
    function: F,
    types: PhantomData<fn(P) -> O>,
}

/// Makes a job of an `async fn(RunContext, P) -> JobResult<O>`.
///
/// ```
/// use carillon_client::prelude::*;
///
/// async fn hello(_: RunContext, name: String) -> JobResult<String> {
///     Ok(format!("hello {name}"))
/// }
/// let job = job_fn(hello);
/// # let _ = job;
/// ```
pub fn job_fn<F, P, O, R>(function: F) -> JobFn<F, P, O>
where
    F: Fn(RunContext, P) -> R + Send + Sync + 'static,
    R: Future<Output = JobResult<O>> + Send + 'static,
    P: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
{
    JobFn { function, types: PhantomData }
}

impl<F, P, O, R> Job for JobFn<F, P, O>
where
    F: Fn(RunContext, P) -> R + Send + Sync + 'static,
    R: Future<Output = JobResult<O>> + Send + 'static,
    P: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
{
    type Params = P;
    type Output = O;

    fn run(&self, ctx: RunContext, params: P) -> impl Future<Output = JobResult<O>> + Send {
        (self.function)(ctx, params)
    }
}

/// A blocking function as a job; made by [`blocking_fn`].
pub struct BlockingFn<F, P, O> {
    function: F,
    types: PhantomData<fn(P) -> O>,
}

/// Makes a blocking job of a `fn(RunContext, P) -> JobResult<O>`.
pub fn blocking_fn<F, P, O>(function: F) -> BlockingFn<F, P, O>
where
    F: Fn(RunContext, P) -> JobResult<O> + Send + Sync + 'static,
    P: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
{
    BlockingFn { function, types: PhantomData }
}

impl<F, P, O> BlockingJob for BlockingFn<F, P, O>
where
    F: Fn(RunContext, P) -> JobResult<O> + Send + Sync + 'static,
    P: DeserializeOwned + Send + 'static,
    O: Serialize + Send + 'static,
{
    type Params = P;
    type Output = O;

    fn run(&self, ctx: RunContext, params: P) -> JobResult<O> {
        (self.function)(ctx, params)
    }
}
