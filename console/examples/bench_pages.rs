//! How long the console needs for what pages ask, on a database with history (see the store's example `seed_runs`).
//!
//! `cargo run --release -p carillon-console --example bench_pages -- URL [ROUNDS]`. Prints a line for each question: median, 95th and 99th
//! percentile and the longest, in milliseconds of server time, from the request to the end of the answer, sign-in included.
#![allow(clippy::print_stdout, reason = "a command that prints its figures")]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use carillon_console::{Console, ConsoleConfig, ensure_first_administrator, mint_token, router};
use carillon_coordination::{Embedded, EmbeddedRegistry};
use carillon_store::accounts::TokenScope;
use serde_json::Value;
use tower::ServiceExt;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

struct Bench {
    router: Router,
    token: String,
    rounds: usize,
}

#[tokio::main]
async fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: bench_pages mysql://...|sqlite:FILE [ROUNDS]")?;
    let rounds: usize = arguments.next().map_or(Ok(50), |text| text.parse())?;
    let store = carillon_store::open(&url).await?;
    store.migrate().await?;
    let clock = carillon_console::clock::system_clock();
    let config = ConsoleConfig::new(101);
    ensure_first_administrator(&store, config.password_cost, clock()).await?;
    let administrator = store.users(None, 1).await?.first().ok_or("there is no user")?.id;
    let scope = TokenScope::User { user: administrator, at_most: None };
    let (token, _) = mint_token(&store, "bench", scope, "bench", clock(), None).await?;
    let coordination = Arc::new(Embedded::new(&EmbeddedRegistry::new()));
    let console = Console::new(config, Arc::clone(&store), coordination, clock);
    let bench = Bench { router: router(&console), token, rounds };
    bench.run().await?;
    store.close().await;
    Ok(())
}

impl Bench {
    async fn run(&self) -> Outcome {
        let groups = self.ask("/groups?limit=1").await?;
        let group =
            groups["items"][0]["id"].as_str().ok_or("there is no task group: seed_runs first")?.to_owned();
        let jobs = self.ask(&format!("/jobs?group={group}&limit=10")).await?;
        let job = jobs["items"][0]["id"].clone();
        let runs = self.ask("/runs?limit=500").await?;
        let run = runs["items"][250]["id"].as_str().ok_or("there are no runs: seed_runs first")?.to_owned();
        let deep = self.ask("/runs?limit=1&to=2099-01-01T00:00:00Z").await?;
        let newest = deep["items"][0]["fire_time"].as_str().ok_or("there are no runs")?.to_owned();
        let day = &newest[..10];
        let cursor = runs["next_cursor"].as_str().unwrap_or_default();
        println!(
            "{:<34}{:>9}{:>9}{:>9}{:>9}  ({} rounds)",
            "", "p50 ms", "p95 ms", "p99 ms", "max ms", self.rounds
        );
        for (what, path) in [
            ("runs", "/runs".to_owned()),
            ("runs, a later page", format!("/runs?cursor={cursor}")),
            ("runs of a day", format!("/runs?from={day}T00:00:00Z&to={day}T23:59:59Z")),
            ("runs of a group", format!("/runs?group={group}")),
            ("runs of a job", format!("/runs?job={job}")),
            ("failed runs", "/runs?state=failed,dead,timed_out".to_owned()),
            ("failed runs of a group", format!("/runs?group={group}&state=failed,dead")),
            ("failed runs of a job", format!("/runs?job={job}&state=failed,dead,timed_out")),
            ("running runs of a job", format!("/runs?job={job}&state=running")),
            ("succeeded runs of a group", format!("/runs?group={group}&state=succeeded")),
            ("dead letters", "/dead-letters".to_owned()),
            ("a run", format!("/runs/{run}")),
            ("a run's log", format!("/runs/{run}/log?format=json")),
            ("jobs", "/jobs".to_owned()),
            ("jobs with outcomes", "/jobs?include=outcomes".to_owned()),
            ("a job's ledger", format!("/jobs/{job}/fires")),
            ("overview of an hour", "/overview".to_owned()),
            ("overview of 30 days", "/overview?window=30d".to_owned()),
            ("histogram of a day", "/runs/histogram".to_owned()),
            ("histogram of a job's day", format!("/runs/histogram?job={job}")),
            ("hand-overs", "/shards/handovers".to_owned()),
            ("next fires", "/fires/next".to_owned()),
        ] {
            self.measure(what, &path).await?;
        }
        Ok(())
    }

    async fn measure(&self, what: &str, path: &str) -> Outcome {
        let mut took = Vec::with_capacity(self.rounds);
        for _ in 0..self.rounds {
            let began = Instant::now();
            self.ask(path).await?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
        took.sort_by(f64::total_cmp);
        let at = |share: f64| took[((took.len() - 1) as f64 * share).round() as usize];
        println!("{what:<34}{:>9.2}{:>9.2}{:>9.2}{:>9.2}", at(0.5), at(0.95), at(0.99), at(1.0));
        Ok(())
    }

    async fn ask(&self, path: &str) -> Outcome<Value> {
        let request = Request::get(format!("/api/v1{path}"))
            .header("authorization", format!("Bearer {}", self.token))
            .body(Body::empty())?;
        let answer = self.router.clone().oneshot(request).await?;
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 64 << 20).await?;
        if status != StatusCode::OK {
            return Err(format!("{path}: {status}: {}", String::from_utf8_lossy(&body)).into());
        }
        Ok(serde_json::from_slice(&body)?)
    }
}
