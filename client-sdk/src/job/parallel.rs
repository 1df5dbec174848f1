//! Parallel jobs: split into subtasks, process them on all workers, reduce their outputs.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{JobError, JobResult, Verdict, fatal};
use crate::context::RunContext;
use crate::worker::{EmitBuffer, ReduceFeed};

/// The largest subtask, as JSON text: subtasks name work, they do not carry it.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;

/// A job of two levels. `split` runs once, at one worker, and emits subtasks; `process` runs for each of them, on every worker that has the
/// handler. Subtasks are stored before any is handed out, so none is lost with a worker or a server.
///
/// ```
/// use carillon_client::prelude::*;
///
/// struct Lengths;
///
/// impl ParallelJob for Lengths {
///     type Params = Vec<String>;
///     type Task = String;
///     type Output = u64;
///     async fn split(&self, _: RunContext, words: Vec<String>, out: &mut Emit<String>) -> JobResult {
///         for word in words {
///             out.push(word).await?;
///         }
///         Ok(())
///     }
///     async fn process(&self, _: RunContext, word: String) -> JobResult<u64> {
///         Ok(word.len() as u64)
///     }
/// }
/// ```
pub trait ParallelJob: Send + Sync + 'static {
    /// What the job's params are read as, by serde from JSON.
    type Params: DeserializeOwned + Send + 'static;
    /// A subtask, at most [`MAX_PAYLOAD_BYTES`] as JSON.
    type Task: Serialize + DeserializeOwned + Send + 'static;
    /// What a subtask gives to [`Reduce`], at most [`MAX_RESULT_BYTES`](super::MAX_RESULT_BYTES) as JSON; `()` where there is nothing to say.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Level 1: emits the subtasks. It must emit the same ones in the same order when tried again.
    fn split(
        &self,
        ctx: RunContext,
        params: Self::Params,
        out: &mut Emit<Self::Task>,
    ) -> impl Future<Output = JobResult> + Send;

    /// Level 2: processes one subtask. It may run again for the same subtask after a failure or a lost worker:
    /// [`RunContext::idempotency_key`] is then the same.
    fn process(
        &self,
        ctx: RunContext,
        task: Self::Task,
    ) -> impl Future<Output = JobResult<Self::Output>> + Send;
}

/// The last step of a parallel job: makes one result of all outputs.
pub trait Reduce: ParallelJob {
    /// What is kept as the run's result.
    type Result: Serialize + Send + 'static;

    /// Runs once, after every subtask is done, at one worker; outputs come in the order of the split.
    fn reduce(
        &self,
        ctx: RunContext,
        params: Self::Params,
        outputs: &mut Outputs<Self::Output>,
    ) -> impl Future<Output = JobResult<Self::Result>> + Send;
}

pub(crate) type EmitPort = Arc<EmitBuffer>;
pub(crate) type OutputsPort = Arc<ReduceFeed>;

/// Takes the subtasks of a split and sends them in batches.
pub struct Emit<T> {
    port: EmitPort,
    types: PhantomData<fn(T)>,
}

impl<T: Serialize> Emit<T> {
    pub(crate) fn new(port: EmitPort) -> Self {
        Self { port, types: PhantomData }
    }

    /// Emits a subtask. Waits while the server is behind with storing; fails when the subtask is too large, the run's limit is reached, or the
    /// run is cancelled. A text or a number is its own key.
    pub async fn push(&mut self, task: T) -> JobResult {
        let payload = payload_of(&task)?;
        self.port.push(key_of(&payload), payload).await
    }

    /// Emits a subtask under a key by which people find it; at most 128 characters are kept.
    pub async fn push_keyed(&mut self, key: impl Into<String>, task: T) -> JobResult {
        let mut key: String = key.into();
        if let Some((end, _)) = key.char_indices().nth(MAX_KEY_CHARS) {
            key.truncate(end);
        }
        self.port.push(key, payload_of(&task)?).await
    }

    /// How many subtasks were emitted.
    pub fn count(&self) -> u64 {
        self.port.count()
    }
}

/// The longest subtask key, in characters: keys are searched and shown in lists.
const MAX_KEY_CHARS: usize = 128;

fn payload_of<T: Serialize>(task: &T) -> JobResult<Bytes> {
    let json = serde_json::to_vec(task).map_err(fatal)?;
    if json.len() > MAX_PAYLOAD_BYTES {
        return Err(fatal(format!(
            "a subtask of {} bytes is too large: at most {MAX_PAYLOAD_BYTES} bytes as json",
            json.len()
        )));
    }
    Ok(json.into())
}

fn key_of(json: &[u8]) -> String {
    let text = std::str::from_utf8(json).unwrap_or_default();
    if text.len() > MAX_KEY_CHARS || text.starts_with(['{', '[']) {
        return String::new();
    }
    serde_json::from_str::<String>(text).unwrap_or_else(|_| text.to_owned())
}

/// The outputs of all subtasks, in the order of the split.
pub struct Outputs<T> {
    port: OutputsPort,
    types: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Outputs<T> {
    pub(crate) fn new(port: OutputsPort) -> Self {
        Self { port, types: PhantomData }
    }

    /// The next output; `None` after the last. Fails where an output cannot be read as `T`.
    ///
    /// ```
    /// # use carillon_client::prelude::*;
    /// async fn sum(outputs: &mut Outputs<i64>) -> JobResult<i64> {
    ///     let mut sum = 0;
    ///     while let Some(output) = outputs.next().await? {
    ///         sum += output;
    ///     }
    ///     Ok(sum)
    /// }
    /// ```
    pub async fn next(&mut self) -> JobResult<Option<T>> {
        let Some(output) = self.port.next().await else { return Ok(None) };
        let json = if output.output.is_empty() { &b"null"[..] } else { &output.output };
        let value = serde_json::from_slice(json).map_err(|error| {
            JobError::new(Verdict::Fatal, format!("output of subtask {}: {error}", output.index))
        })?;
        Ok(Some(value))
    }
}
