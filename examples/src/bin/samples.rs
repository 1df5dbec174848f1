//! A worker with the sample handlers, as a user would start it.

use carillon_client::prelude::*;

#[tokio::main]
async fn main() -> Result<(), carillon_client::Error> {
    carillon_client::init_logs();
    carillon_examples::samples::worker(Worker::from_env()?).serve().await
}
