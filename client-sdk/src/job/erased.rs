//! Jobs without their types: bytes in, an outcome out.

use std::sync::Arc;

use bytes::Bytes;
use carillon_proto::v1::ReportReason;
use futures::future::{BoxFuture, FutureExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    BlockingJob, Emit, EmitPort, Job, JobError, JobResult, MAX_RESULT_BYTES, Outcome, Outputs, OutputsPort,
    ParallelJob, Reduce, Verdict, fatal,
};
use crate::context::RunContext;

/// A registered job of any shape.
#[derive(Clone)]
pub(crate) enum AnyJob {
    Simple(Arc<dyn ErasedJob>),
    Blocking(Arc<dyn ErasedBlocking>),
    Parallel(Arc<dyn ErasedParallel>, Option<Arc<dyn ErasedReduce>>),
}

pub(crate) trait ErasedJob: Send + Sync {
    fn run(self: Arc<Self>, ctx: RunContext, params: Bytes) -> BoxFuture<'static, Outcome>;
}

pub(crate) trait ErasedBlocking: Send + Sync {
    fn run(&self, ctx: RunContext, params: &[u8]) -> Outcome;
}

pub(crate) trait ErasedParallel: Send + Sync {
    fn split(self: Arc<Self>, ctx: RunContext, params: Bytes, out: EmitPort) -> BoxFuture<'static, Outcome>;
    fn process(self: Arc<Self>, ctx: RunContext, task: Bytes) -> BoxFuture<'static, JobResult<Bytes>>;
}

pub(crate) trait ErasedReduce: Send + Sync {
    fn reduce(
        self: Arc<Self>,
        ctx: RunContext,
        params: Bytes,
        outputs: OutputsPort,
    ) -> BoxFuture<'static, Outcome>;
}

pub(crate) fn erase_job<J: Job>(job: J) -> Arc<dyn ErasedJob> {
    Arc::new(Typed(job))
}

pub(crate) fn erase_blocking<J: BlockingJob>(job: J) -> Arc<dyn ErasedBlocking> {
    Arc::new(Typed(job))
}

pub(crate) fn erase_parallel<J: ParallelJob>(job: Arc<J>) -> Arc<dyn ErasedParallel> {
    Arc::new(Typed(job))
}

pub(crate) fn erase_reduce<J: Reduce>(job: Arc<J>) -> Arc<dyn ErasedReduce> {
    Arc::new(Typed(job))
}

struct Typed<J>(J);

impl<J: Job> ErasedJob for Typed<J> {
    fn run(self: Arc<Self>, ctx: RunContext, params: Bytes) -> BoxFuture<'static, Outcome> {
        async move {
            match read_params(&params) {
                Ok(params) => outcome(self.0.run(ctx, params).await),
                Err(error) => error.into(),
            }
        }
        .boxed()
    }
}

impl<J: BlockingJob> ErasedBlocking for Typed<J> {
    fn run(&self, ctx: RunContext, params: &[u8]) -> Outcome {
        match read_params(params) {
            Ok(params) => outcome(self.0.run(ctx, params)),
            Err(error) => error.into(),
        }
    }
}

impl<J: ParallelJob> ErasedParallel for Typed<Arc<J>> {
    fn split(self: Arc<Self>, ctx: RunContext, params: Bytes, out: EmitPort) -> BoxFuture<'static, Outcome> {
        async move {
            let params = match read_params(&params) {
                Ok(params) => params,
                Err(error) => return error.into(),
            };
            let mut emit = Emit::new(Arc::clone(&out));
            let split = self.0.split(ctx, params, &mut emit).await;
            // The split is done when its last subtask is stored, not when the last one was emitted.
            let stored = match split {
                Ok(()) => out.finish().await,
                Err(error) => Err(error),
            };
            outcome(stored)
        }
        .boxed()
    }

    fn process(self: Arc<Self>, ctx: RunContext, task: Bytes) -> BoxFuture<'static, JobResult<Bytes>> {
        async move {
            let task = serde_json::from_slice(&task)
                .map_err(|error| JobError::new(Verdict::BadParams, format!("subtask: {error}")))?;
            let output = self.0.process(ctx, task).await?;
            let json = serde_json::to_vec(&output).map_err(fatal)?;
            if json.len() > MAX_RESULT_BYTES {
                return Err(fatal(format!(
                    "an output of {} bytes is too large: at most {MAX_RESULT_BYTES} bytes as json",
                    json.len()
                )));
            }
            Ok(json.into())
        }
        .boxed()
    }
}

impl<J: Reduce> ErasedReduce for Typed<Arc<J>> {
    fn reduce(
        self: Arc<Self>,
        ctx: RunContext,
        params: Bytes,
        outputs: OutputsPort,
    ) -> BoxFuture<'static, Outcome> {
        async move {
            match read_params(&params) {
                Ok(params) => outcome(self.0.reduce(ctx, params, &mut Outputs::new(outputs)).await),
                Err(error) => error.into(),
            }
        }
        .boxed()
    }
}

/// Reads params; none at all are `null`, which `()` and `Option` accept.
pub(crate) fn read_params<P: DeserializeOwned>(json: &[u8]) -> JobResult<P> {
    let json = if json.is_empty() { &b"null"[..] } else { json };
    serde_json::from_slice(json)
        .map_err(|error| JobError::new(Verdict::BadParams, format!("params: {error}")))
}

fn outcome<O: Serialize>(result: JobResult<O>) -> Outcome {
    let value = match result {
        Ok(value) => value,
        Err(error) => return error.into(),
    };
    match serde_json::to_vec(&value) {
        Ok(json) if json.len() <= MAX_RESULT_BYTES => Outcome::Succeeded { result: json.into() },
        Ok(json) => {
            // The work is done: failing now would do it again.
            tracing::warn!(
                bytes = json.len(),
                "result left out: it is larger than {MAX_RESULT_BYTES} bytes as json"
            );
            Outcome::Succeeded { result: Bytes::new() }
        }
        Err(error) => Outcome::Failed {
            reason: ReportReason::Fatal,
            error: format!("result cannot be written as json: {error}"),
            retry_after_ms: 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_that_do_not_fit_say_what_is_wrong() {
        let error = read_params::<u32>(b"\"seven\"").unwrap_err();
        assert!(error.message().contains("invalid type: string \"seven\", expected u32"), "{error}");
        assert!(error.is_fatal());
    }

    #[test]
    fn no_params_are_null() {
        read_params::<()>(b"").unwrap();
        assert_eq!(read_params::<Option<u8>>(b"null").unwrap(), None);
    }

    #[test]
    fn a_result_beyond_the_limit_is_left_out_of_a_success() {
        assert_eq!(outcome(Ok("x".repeat(20_000))), Outcome::Succeeded { result: Bytes::new() });
    }
}
