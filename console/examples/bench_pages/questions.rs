//! What pages ask, of what chance has chosen.

use carillon_core::time::Timestamp;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use serde_json::Value;

use crate::Outcome;
use crate::api::Api;

/// What there is to ask about: the task groups and jobs of `seed_runs`, and the time their runs cover.
pub(crate) struct Questions {
    groups: Vec<Seeded>,
    oldest: i64,
    newest: i64,
    /// The run with the long log, and how many bytes that has.
    long: (String, u64),
}

struct Seeded {
    id: String,
    jobs: Vec<u64>,
}

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// A question's page, and what is asked.
pub(crate) type Title = (&'static str, &'static str);

pub(crate) const TITLES: [Title; 43] = [
    ("Runs", "first page, no filter"),
    ("Runs", "a page deep in, by its cursor"),
    ("Runs", "of a day"),
    ("Runs", "of a task group"),
    ("Runs", "of a task group, deep in"),
    ("Runs", "of a job"),
    ("Runs", "of a job, deep in"),
    ("Runs", "planned or running"),
    ("Runs", "failed, dead or timed out"),
    ("Runs", "failed, of a task group"),
    ("Runs", "failed, of a job"),
    ("Runs", "failed, of a day"),
    ("Runs", "succeeded"),
    ("Runs", "succeeded, of a task group"),
    ("Runs", "succeeded, of a job"),
    ("Runs", "running, of a job"),
    ("Runs", "by the text of 20 jobs"),
    ("Runs", "by text, deep in"),
    ("Runs", "by text, failed"),
    ("Runs", "by text, failed, deep in"),
    ("Runs", "by text, succeeded, of a day"),
    ("Runs", "started late, of a job (looks through 2,000)"),
    ("Runs", "histogram of a day"),
    ("Runs", "histogram of 30 days"),
    ("Runs", "histogram of a job's 30 days"),
    ("Run", "the run with its attempts and timeline"),
    ("Run", "a dead run"),
    ("Run", "the head of its log"),
    ("Run", "the end of its log, by bytes"),
    ("Log of 1 GB", "its first page"),
    ("Log of 1 GB", "256 KiB somewhere in it"),
    ("Log of 1 GB", "its last page, by bytes"),
    ("Log of 1 GB", "search: the first 200 lines from somewhere on"),
    ("Log of 1 GB", "search: looks through 64 MiB in vain"),
    ("Overview", "of an hour"),
    ("Overview", "of 30 days"),
    ("Overview", "of a task group"),
    ("Jobs", "the list with the last outcomes"),
    ("Job", "ledger of its fires"),
    ("Job", "ledger, deep in"),
    ("Dead letters", "first page"),
    ("Dead letters", "of a task group, deep in"),
    ("Cluster", "hand-overs"),
];

impl Questions {
    /// Looks up the task groups of `seed_runs` and their jobs.
    pub(crate) async fn prepare(api: &Api) -> Outcome<Self> {
        let mut groups = Vec::new();
        for group in items(&api.json("/groups?limit=200").await?) {
            if group["description"] != "filled by seed_runs" {
                continue;
            }
            let id = text(&group["id"])?.to_owned();
            let jobs = api.json(&format!("/jobs?group={id}&limit=100")).await?;
            let jobs = items(&jobs)
                .iter()
                .filter(|job| job["name"] != "long log")
                .filter_map(|job| job["id"].as_u64())
                .collect();
            groups.push(Seeded { id, jobs });
        }
        let group = groups.first().ok_or("there is nothing to ask about: seed_runs first")?;
        let runs = api.json(&format!("/runs?group={}&limit=1", group.id)).await?;
        let newest = at(&runs["items"][0])?;
        // As far back as `seed_runs` goes.
        let oldest = newest - 29 * DAY;
        let job = api.json("/jobs?text=long%20log&limit=1").await?;
        let long = api.json(&format!("/runs?job={}&limit=1", job["items"][0]["id"])).await?;
        let long = text(&long["items"][0]["id"])?.to_owned();
        let log = api.json(&format!("/runs/{long}/log?format=json")).await?;
        let length = log["total"].as_u64().ok_or("a log has a length")?;
        Ok(Self { groups, oldest, newest, long: (long, length) })
    }

    /// A round: each question's place in the titles and its path.
    pub(crate) async fn draw(&self, api: &Api) -> Outcome<Vec<(usize, String)>> {
        let mut chance = rand::rng();
        let group = self.groups.choose(&mut chance).ok_or("there are groups")?;
        let job = *group.jobs.choose(&mut chance).ok_or("a group has jobs")?;
        let group = &group.id;
        let deep = self.moment(&mut chance);
        let (from, to) = (iso(deep), iso(deep + DAY));
        let deep = iso(deep);
        // Every group has a job of each number, so that 20 jobs match.
        let name = format!("job%20{:02}%20of", chance.random_range(0..25));
        let failed = "failed,dead,timed_out";
        let (long, length) = &self.long;
        let somewhere = chance.random_range(0..length.saturating_sub(64 << 20).max(1));
        // What only says where to go on, and is not measured.
        let cursor = async |filter: String| -> Outcome<String> {
            let page = api.json(&format!("/runs?to={deep}&limit=1{filter}")).await?;
            Ok(format!("/runs?cursor={}&limit=100{filter}", text(&page["next_cursor"])?))
        };
        let some = items(&api.json(&format!("/runs?to={deep}&limit=50")).await?);
        let run =
            text(&some.choose(&mut chance).ok_or("there are runs before any moment")?["id"])?.to_owned();
        let dead = api.json(&format!("/runs?to={deep}&limit=1&state=dead")).await?;
        let dead = text(&dead["items"][0]["id"])?.to_owned();
        let ledger = api.json(&format!("/runs?job={job}&to={deep}&limit=1")).await?;
        let ledger = text(&ledger["next_cursor"])?.to_owned();
        let letters = format!("&group={group}&state=dead");
        let page = api.json(&format!("/dead-letters?to={deep}&limit=1{letters}")).await?;
        let letters = format!("/dead-letters?cursor={}&limit=100{letters}", text(&page["next_cursor"])?);
        let paths = [
            "/runs?limit=100".to_owned(),
            cursor(String::new()).await?,
            format!("/runs?limit=100&from={from}&to={to}"),
            format!("/runs?limit=100&group={group}"),
            cursor(format!("&group={group}")).await?,
            format!("/runs?limit=100&job={job}"),
            cursor(format!("&job={job}")).await?,
            "/runs?limit=100&state=planned,running".to_owned(),
            format!("/runs?limit=100&state={failed}"),
            format!("/runs?limit=100&group={group}&state={failed}"),
            format!("/runs?limit=100&job={job}&state={failed}"),
            format!("/runs?limit=100&state={failed}&from={from}&to={to}"),
            "/runs?limit=100&state=succeeded".to_owned(),
            format!("/runs?limit=100&group={group}&state=succeeded"),
            format!("/runs?limit=100&job={job}&state=succeeded"),
            format!("/runs?limit=100&job={job}&state=running"),
            format!("/runs?limit=100&text={name}"),
            cursor(format!("&text={name}")).await?,
            format!("/runs?limit=100&text={name}&state={failed}"),
            cursor(format!("&text={name}&state={failed}")).await?,
            format!("/runs?limit=100&text={name}&state=succeeded&from={from}&to={to}"),
            format!("/runs?limit=100&job={job}&min_lateness=1h"),
            "/runs/histogram?bars=80".to_owned(),
            format!("/runs/histogram?bars=80&from={}", iso(self.newest - 30 * DAY)),
            format!("/runs/histogram?bars=80&job={job}&from={}", iso(self.newest - 30 * DAY)),
            format!("/runs/{run}"),
            format!("/runs/{dead}"),
            format!("/runs/{dead}/log?format=json"),
            format!("/runs/{dead}/log range bytes=-100"),
            format!("/runs/{long}/log?format=json"),
            format!("/runs/{long}/log?format=json&from={somewhere}"),
            format!("/runs/{long}/log range bytes=-262144"),
            format!("/runs/{long}/log/search?text=INFO&limit=200&from={somewhere}"),
            format!("/runs/{long}/log/search?text=nowhere&limit=200&from={somewhere}"),
            "/overview".to_owned(),
            "/overview?window=30d".to_owned(),
            format!("/overview?group={group}"),
            format!("/jobs?group={group}&include=outcomes"),
            format!("/jobs/{job}/fires?limit=50&upcoming=10"),
            format!("/jobs/{job}/fires?limit=50&cursor={ledger}"),
            "/dead-letters?limit=100".to_owned(),
            letters,
            "/shards/handovers?limit=500".to_owned(),
        ];
        assert_eq!(paths.len(), TITLES.len(), "each title has its path");
        Ok(paths.into_iter().enumerate().collect())
    }

    fn moment(&self, chance: &mut impl Rng) -> i64 {
        chance.random_range(self.oldest..self.newest - DAY)
    }
}

fn items(page: &Value) -> Vec<Value> {
    page["items"].as_array().cloned().unwrap_or_default()
}

fn text(value: &Value) -> Outcome<&str> {
    value.as_str().ok_or_else(|| format!("{value} where a text was expected").into())
}

fn at(run: &Value) -> Outcome<i64> {
    let at: Timestamp = serde_json::from_value(run["fire_time"].clone())?;
    Ok(at.as_millis())
}

fn iso(millis: i64) -> String {
    Timestamp::from_millis(millis).to_string()
}
