//! Looks at the shards through the consoles' API all the time, as an operator's page does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::now_ms;
use crate::api::{Api, millis};
use crate::checker::record::Sample;
use crate::lab::{CONSOLES, Lab, SERVERS};

/// How often: often enough to see a takeover's second, seldom enough to be no load.
const EVERY: Duration = Duration::from_millis(300);

/// How long one look may take; then another console is asked.
const DEADLINE: Duration = Duration::from_secs(2);

/// Planned this far ahead is normal; a little more than what the checker allows.
const NORMAL_PLAN_MS: i64 = 22_000;

#[derive(Debug, Default)]
struct Seen {
    samples: Vec<Sample>,
    /// Of each group: its holders, owner first, and whether all of them live.
    groups: Vec<(String, Vec<String>, bool)>,
    live_servers: usize,
    at_ms: i64,
}

/// The looking task and what it saw.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Looks at these groups until it is dropped.
    pub fn start(lab: &Lab<'_>, groups: Vec<String>) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let consoles: Vec<Api> = (0..CONSOLES).map(|place| lab.console_api(place)).collect();
        let task = tokio::spawn(look(consoles, groups, Arc::clone(&seen)));
        Self { seen, task }
    }

    /// The holders of a group's shard, its owner first; none while nobody has said.
    pub fn holders(&self, group: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.groups
            .iter()
            .find(|(name, ..)| name == group)
            .map(|(_, holders, _)| holders.clone())
            .unwrap_or_default()
    }

    /// Whether the newest look, which is no older than a second, found all planned as usual and all servers and holders alive.
    pub fn is_normal(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = now_ms() - seen.at_ms < 1_000;
        let newest = seen.samples.iter().rev().take(seen.groups.len());
        let planned = newest.map(|sample| sample.planned_until_ms - sample.at_ms).min().unwrap_or(0);
        fresh
            && planned > NORMAL_PLAN_MS
            && seen.live_servers == SERVERS
            && !seen.groups.is_empty()
            && seen.groups.iter().all(|(_, _, live)| *live)
    }

    /// What was seen between two instants.
    pub fn samples(&self, from_ms: i64, to_ms: i64) -> Vec<Sample> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.samples.iter().filter(|sample| (from_ms..=to_ms).contains(&sample.at_ms)).cloned().collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(consoles: Vec<Api>, groups: Vec<String>, seen: Arc<Mutex<Seen>>) {
    let mut first = 0;
    let mut pause = tokio::time::interval(EVERY);
    loop {
        pause.tick().await;
        match tokio::time::timeout(DEADLINE, look_once(&consoles[first], &groups)).await {
            Ok(Some(new)) => {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.samples.extend(new.samples);
                (seen.groups, seen.live_servers, seen.at_ms) = (new.groups, new.live_servers, now_ms());
            }
            _ => first = (first + 1) % consoles.len(),
        }
    }
}

async fn look_once(api: &Api, groups: &[String]) -> Option<Seen> {
    let mut seen = Seen::default();
    for group in groups {
        let answer = read(api, &format!("/groups/{group}/placement")).await?;
        for shard in answer["shards"].as_array()? {
            let text = |field: &str| shard[field].as_str().unwrap_or_default().to_owned();
            let list = |field: &str| -> Vec<String> {
                let items = shard[field].as_array().map(Vec::as_slice).unwrap_or_default();
                items.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
            };
            seen.samples.push(Sample {
                at_ms: now_ms(),
                shard: text("id"),
                epoch: text("epoch").parse().ok()?,
                owner: text("owner"),
                planned_until_ms: millis(shard["planned_until"].as_str()?),
            });
            let live = shard["owner_live"] == true && list("holders_gone").is_empty();
            let holders = [text("owner")].into_iter().chain(list("standbys")).filter(|name| !name.is_empty());
            seen.groups.push((group.clone(), holders.collect(), live));
        }
    }
    let servers = read(api, "/servers").await?;
    seen.live_servers =
        servers["items"].as_array()?.iter().filter(|server| server["answers"] == true).count();
    Some(seen)
}

async fn read(api: &Api, path: &str) -> Option<Value> {
    let answer = api.try_send(Method::GET, path, None, &[]).await.ok()?;
    (answer.status == 200).then_some(answer.body)
}
