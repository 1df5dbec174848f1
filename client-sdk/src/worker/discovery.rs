//! Which servers hold the group: asked from any console, or given.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Shared, link};

/// A console that takes longer is skipped for the next one.
const ASK_DEADLINE: Duration = Duration::from_secs(3);

/// How soon to ask again after no console answered, and the least time between two questions.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The longest trust in an answer, whatever the console says.
const MAX_TTL: Duration = Duration::from_secs(60);

/// Where the servers of the group come from.
pub(crate) enum Source {
    /// gRPC addresses, taken as they are.
    Servers(Vec<String>),
    /// Consoles, asked in turn.
    Consoles { consoles: Vec<String>, group: String, token: String },
}

#[derive(Deserialize)]
struct Endpoints {
    servers: Vec<Endpoint>,
    #[serde(default = "default_ttl")]
    ttl_seconds: u64,
}

#[derive(Deserialize)]
struct Endpoint {
    address: String,
}

fn default_ttl() -> u64 {
    10
}

/// Keeps one stream to every server of the group until told to stop, then waits for their ends.
pub(super) async fn keep_links(shared: Arc<Shared>, source: Source, stop: CancellationToken) {
    let mut links: HashMap<String, (CancellationToken, JoinHandle<()>)> = HashMap::new();
    let http = reqwest::Client::builder().timeout(ASK_DEADLINE).build().unwrap_or_default();
    let mut first_console = 0;
    let mut known = None;
    // After a change more may follow, and a console hears of it a moment later than the servers.
    let mut trust = ASK_AGAIN;
    loop {
        let (answer, ttl) = match &source {
            Source::Servers(servers) => (Some(servers.clone()), MAX_TTL),
            Source::Consoles { consoles, group, token } => {
                match ask(&http, consoles, &mut first_console, group, token).await {
                    Some(endpoints) => {
                        let ttl = Duration::from_secs(endpoints.ttl_seconds).clamp(ASK_AGAIN, MAX_TTL);
                        (Some(endpoints.servers.into_iter().map(|server| server.address).collect()), ttl)
                    }
                    None => (None, ASK_AGAIN),
                }
            }
        };
        if let Some(mut servers) = answer {
            servers.sort_unstable();
            adjust(&shared, &mut links, &servers, &stop);
            trust = if known.as_ref() == Some(&servers) { trust.saturating_mul(2) } else { ASK_AGAIN };
            known = Some(servers);
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(trust.min(ttl)) => {}
            () = shared.look_again.notified() => {
                trust = ASK_AGAIN;
                // A storm of disconnects is one question.
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(ASK_AGAIN.min(Duration::from_millis(200))) => {}
                }
            }
        }
    }
    for (_, (_, task)) in links {
        let _ = task.await;
    }
}

fn adjust(
    shared: &Arc<Shared>,
    links: &mut HashMap<String, (CancellationToken, JoinHandle<()>)>,
    servers: &[String],
    stop: &CancellationToken,
) {
    links.retain(|address, (stop, _)| {
        let stays = servers.contains(address);
        if !stays {
            tracing::info!(target: "carillon", address, "server holds the group no more");
            stop.cancel();
        }
        stays
    });
    for address in servers {
        links.entry(address.clone()).or_insert_with(|| {
            let stop = stop.child_token();
            let task = tokio::spawn(link::keep(Arc::clone(shared), address.clone(), stop.clone()));
            (stop, task)
        });
    }
}

/// Asks the consoles in turn, beginning with the one that answered last.
async fn ask(
    http: &reqwest::Client,
    consoles: &[String],
    first: &mut usize,
    group: &str,
    token: &str,
) -> Option<Endpoints> {
    for turn in 0..consoles.len() {
        let place = (*first + turn) % consoles.len();
        let url = format!("{}/api/v1/sdk/endpoints?group={group}", consoles[place]);
        let asked = async {
            let answer = http.get(&url).bearer_auth(token).send().await?.error_for_status()?;
            answer.json::<Endpoints>().await
        };
        match asked.await {
            Ok(endpoints) => {
                *first = place;
                return Some(endpoints);
            }
            Err(error) => {
                tracing::warn!(target: "carillon", console = consoles[place], error = %error, "console did not say which servers hold the group");
            }
        }
    }
    None
}
