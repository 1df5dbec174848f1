//! The sample group of `carillon dev`: its jobs, its token, and the worker in this process.

use std::time::{Duration, Instant};

use carillon_client::Worker;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::folder::{Folder, write_secret};
use crate::api::Api;
use crate::failure::{Failure, Outcome};
use crate::operate;

/// The task group, as `samples.yaml` names it.
const GROUP: &str = "samples";

/// The job that rings at the first start, so that there is a successful run with a log before anyone acts.
const FIRST_TO_RING: &str = "samples/on-demand";

/// How long running samples may take to end when the process stops: nobody waits for a sample.
const DRAIN: Duration = Duration::from_secs(1);

/// How long the server may take to hold the new group before triggering it is given up.
const RING_PATIENCE: Duration = Duration::from_secs(10);

/// Makes the group and its jobs, exactly as `carillon apply` would.
pub(super) async fn create(api: &Api) -> Outcome {
    operate::apply_quietly(api, "the sample jobs", carillon_examples::samples::DOCUMENTS).await
}

/// The id of the sample group; none when it was deleted.
pub(super) async fn group(api: &Api) -> Outcome<Option<String>> {
    match operate::group_id(api, GROUP).await {
        Ok(id) => Ok(Some(id)),
        Err(Failure::NotFound(_)) => Ok(None),
        Err(other) => Err(other),
    }
}

/// The worker token of the last start while it works, else a new one; left in the folder for workers outside of this process.
pub(super) async fn worker_token(api: &Api, group: &str, url: &str, folder: &Folder) -> Outcome<String> {
    let path = folder.worker_token();
    let known = std::fs::read_to_string(&path).ok().map(|token| token.trim().to_owned());
    let token = match known {
        Some(token) if works(url, group, &token).await => token,
        _ => {
            let body = json!({"name": "carillon dev", "worker_of": group});
            let made = api.post("/tokens", Some(&body)).await?.body;
            made["token"].as_str().unwrap_or_default().to_owned()
        }
    };
    write_secret(&path, &token)?;
    let environment = format!("CARILLON_CONSOLES={url}\nCARILLON_GROUP={group}\nCARILLON_TOKEN={token}");
    write_secret(&folder.worker_environment(), &environment)?;
    Ok(token)
}

async fn works(url: &str, group: &str, token: &str) -> bool {
    let Ok(as_worker) = Api::at(url, Some(token.to_owned())) else { return false };
    as_worker.get("/sdk/endpoints", &[("group", group)]).await.is_ok()
}

/// Works for the group until `stop`.
pub(super) async fn work(group: String, token: String, url: String, stop: CancellationToken) -> Outcome {
    let worker =
        Worker::builder().consoles([url]).group(group).token(token).name("dev").drain_deadline(DRAIN);
    let served = carillon_examples::samples::worker(worker).serve_until(stop).await;
    Ok(served.map_err(anyhow::Error::from)?)
}

/// Triggers one sample. The idempotency key makes it one run, however often the first start has to be repeated.
pub(super) async fn ring_once(api: &Api) -> Outcome {
    let give_up = Instant::now() + RING_PATIENCE;
    let id = operate::job_id(api, FIRST_TO_RING).await?;
    let path = format!("/jobs/{id}/runs");
    let key = [("idempotency-key", "carillon-dev-first-start".to_owned())];
    loop {
        let body = json!({"params": {"name": "you, who just started Carillon"}});
        match api.send(reqwest::Method::POST, &path, &[], Some(&body), &key).await {
            // The server has not taken the new group yet.
            Err(Failure::Unreachable(_)) if Instant::now() < give_up => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => return other.map(|_| ()),
        }
    }
}
