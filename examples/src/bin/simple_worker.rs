//! A worker with one simple job. It finds its servers as the environment says: `CARILLON_CONSOLES`, `CARILLON_GROUP`, `CARILLON_TOKEN`.

use carillon_client::prelude::*;

async fn simple(ctx: RunContext, param: String) -> JobResult<String> {
    let now = jiff::Timestamp::now();
    tracing::info!(job = ctx.job_id(), description = ctx.description(), %now, "param is {param}");
    Ok("success".to_owned())
}

#[tokio::main]
async fn main() -> Result<(), carillon_client::Error> {
    carillon_client::init_logs();
    Worker::from_env()?.job("simple", job_fn(simple)).serve().await
}
