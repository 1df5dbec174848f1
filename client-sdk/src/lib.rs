//! The Rust SDK of Carillon: what users link to run jobs and to trigger them.
//!
//! A worker's whole program:
//!
//! ```no_run
//! use carillon_client::prelude::*;
//! # use serde::Deserialize;
//! # #[derive(Clone)] struct Db;
//! # impl Db {
//! #     async fn shops(&self, _: &str) -> Result<Vec<u32>, std::io::Error> { Ok(vec![]) }
//! #     async fn settle(&self, _: u32, _: &str, _: u64) -> Result<i64, std::io::Error> { Ok(0) }
//! # }
//!
//! #[derive(Deserialize)]
//! struct Hello { name: String }
//!
//! async fn hello(ctx: RunContext, p: Hello) -> JobResult<String> {       // a simple job
//!     tracing::info!(attempt = ctx.attempt(), "greeting {}", p.name);     // lands in this run's log
//!     Ok(format!("hello {}", p.name))
//! }
//!
//! struct Settle { db: Db }                                                // a parallel job: two levels
//! impl ParallelJob for Settle {
//!     type Params = String;
//!     type Task = u32;
//!     type Output = i64;
//!     async fn split(&self, _: RunContext, day: String, out: &mut Emit<u32>) -> JobResult {
//!         for shop in self.db.shops(&day).await? {
//!             out.push(shop).await?;
//!         }
//!         Ok(())
//!     }
//!     async fn process(&self, ctx: RunContext, shop: u32) -> JobResult<i64> {
//!         Ok(self.db.settle(shop, ctx.idempotency_key(), ctx.fence()).await?)
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), carillon_client::Error> {
//! #   let db = Db;
//!     carillon_client::init_logs();
//!     Worker::from_env()?
//!         .job("hello", job_fn(hello))
//!         .parallel("settle", Settle { db })
//!         .serve()                                                        // drains on SIGTERM
//!         .await
//! }
//! ```
//!
//! What a handler may rely on: an attempt of a run is started at most once, at its fire time or at most `start_by` later; a run may be tried again
//! after a failure, a timeout or a lost worker, and after a lost worker the old attempt may still be running. [`RunContext::idempotency_key`] and
//! [`RunContext::fence`] are there to make side effects safe against that.
//!
//! The crate knows the wire (carillon-proto) and nothing of the servers' insides. Begin reading at [`Worker`], then `worker/ledger.rs`, which holds
//! the worker's part of the trigger protocol as a pure state machine.

mod client;
mod context;
mod error;
mod job;
mod logs;
mod progress;
mod run_id;
pub mod testing;
mod worker;

pub use client::{Client, RunHandle, RunState, RunStatus, TriggerOptions};
pub use context::{RunContext, SubtaskInfo};
pub use error::Error;
pub use job::{
    BlockingFn, BlockingJob, Emit, Job, JobError, JobFn, JobResult, MAX_PAYLOAD_BYTES, MAX_RESULT_BYTES,
    Outputs, ParallelJob, Reduce, blocking_fn, failed, fatal, job_fn, retry_after, skip,
};
pub use logs::{RunLogLayer, init_logs, log_layer};
pub use tokio_util::sync::CancellationToken;
pub use worker::Worker;

/// What most programs want: `use carillon_client::prelude::*;`
pub mod prelude {
    pub use crate::{
        BlockingJob, Emit, Job, JobError, JobResult, Outputs, ParallelJob, Reduce, RunContext, Worker,
        blocking_fn, failed, fatal, job_fn, retry_after, skip,
    };
}

/// The user guide's page "your first worker": what it shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/first-worker.md")]
struct FirstWorker;
