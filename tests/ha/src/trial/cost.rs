//! What holding many shards costs the stores while nothing fires, and whether the death of a server that owns a third of them is felt.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::load::{Load, LoadGroup};
use super::report::{Build, Meter, Outcome, replace_between};
use super::watch::Watch;
use super::{Pace, Trial, cases};
use crate::lab::{Ground, Lab};
use crate::ledger::now_us;

/// The shards, in groups of as many as most large ones have, all on three servers; the second group of the load has one more.
const SHARDS: u32 = GROUPS * IN_EACH;
const GROUPS: u32 = 4;
const IN_EACH: u32 = 250;

/// How long is counted at a time, and how often: what grows shows in the last of them.
const WINDOW: Duration = Duration::from_secs(20);
const WINDOWS: usize = 3;

/// The minimum hold of a shard, 30 s, and what handing them over takes.
const SPREAD: Duration = Duration::from_secs(45);

/// How long a thousand shards may need until each has its owner and its plan.
const PLACED_PATIENCE: Duration = Duration::from_secs(120);

/// What was counted in a window, per second.
#[derive(Debug, Clone, Copy)]
struct Rates {
    zookeeper_writes: f64,
    statements: f64,
    commits: f64,
    busy: f64,
}

/// Measures and prints, and writes the figures between the marks of a document.
pub async fn measure(document: Option<PathBuf>) -> Result<(), String> {
    let ground = Ground::lay()?;
    let lab = Lab::start(&ground, "cost").await?;
    let mut text = String::new();
    let mut say = |line: String| {
        tracing::info!("{line}");
        let _ = writeln!(text, "{line}");
    };
    let Build { commit, release } = Build::of_this_run();
    let commit = if commit.is_empty() { "an unknown commit".to_owned() } else { commit };
    let build = if release { "release" } else { "debug" };
    say(format!(
        "Carillon {} at {commit}, {build} build; three servers, three ZooKeepers, MariaDB, one machine.",
        env!("CARGO_PKG_VERSION")
    ));
    say("\n| shards, idle | ZooKeeper writes / s | MySQL statements / s | of them commits / s | machine busy |\n|---|---|---|---|---|".to_owned());
    say(row("0", count(&ground).await?));
    let began = Instant::now();
    let groups = LoadGroup::create_both(&lab, IN_EACH).await;
    let mut all = vec![groups[0].id.clone()];
    for number in 1..GROUPS {
        all.push(LoadGroup::create_idle(&lab, &format!("idle-{number}"), IN_EACH).await);
    }
    for group in &all {
        all_are_planned(&lab, group).await?;
    }
    let placed = began.elapsed().as_secs_f64();
    // Owners are spread over the servers when the minimum hold is over; that is no idle.
    tokio::time::sleep(SPREAD).await;
    for window in 1..=WINDOWS {
        say(row(&format!("{SHARDS}, window {window}"), count(&ground).await?));
    }
    say(format!(
        "\nEach window is {} s. The {SHARDS} shards were placed, owned and planned {placed:.1} s after they were asked for.",
        WINDOW.as_secs()
    ));

    let seed = now_us().unsigned_abs() / 1_000_000;
    let load = Load::start_in(&lab, groups, seed).await?;
    let watch = Watch::start(&lab, load.groups.iter().map(|group| group.id.clone()).collect());
    let case = cases::named("F1-owner")?[0];
    let meter = Meter::now();
    let (record, verdict) =
        Trial::new(&lab, &load, &watch, case.name, Pace { quick: false }, seed).run(case).await;
    let machine = meter.since();
    let (during, after) = (&verdict.figures.lateness[1], &verdict.figures.lateness[2]);
    say(format!(
        "With the load of `make ha` on these shards (seed {seed}), {}: {} fires, {} lost, {} doubled, {} not started; of {} starts meanwhile the latest was \
         {:.1} ms late, {:.2} % within 20 ms, afterwards {:.1} ms; {} shards changed their owner; normal after {:.1} s; machine {:.0} % busy, load {:.1}; {} promises broken.",
        record.faults.first().map_or("no fault", |fault| &fault.what),
        verdict.figures.fires,
        verdict.figures.lost,
        verdict.figures.doubled,
        verdict.figures.not_started,
        during.count,
        during.max,
        during.within_20ms * 100.0,
        after.max,
        verdict.figures.takeovers,
        verdict.figures.to_normal_ms.unwrap_or(0) as f64 / 1_000.0,
        machine.busy * 100.0,
        machine.load,
        verdict.violations.len(),
    ));
    tell(&text, document.as_deref())?;
    let outcome = Outcome {
        case: "cost".to_owned(),
        title: format!("{} at {SHARDS} shards", case.title),
        trial: 1,
        seed,
        faults: record.faults,
        machine,
        build: Build::of_this_run(),
        quick: false,
        took_s: 0.0,
        verdict,
        history: None,
    };
    drop((watch, load));
    if outcome.is_kept() { Ok(()) } else { Err(outcome.text()) }
}

fn row(what: &str, rates: Rates) -> String {
    let Rates { zookeeper_writes, statements, commits, busy } = rates;
    format!("| {what} | {zookeeper_writes:.1} | {statements:.1} | {commits:.1} | {:.0} % |", busy * 100.0)
}

async fn count(ground: &Ground) -> Result<Rates, String> {
    let look = || {
        let database = &ground.database;
        Ok::<_, String>((
            ground.zookeeper.changes()?,
            database.counter("Questions")?,
            database.counter("Com_commit")?,
        ))
    };
    let (began, meter, before) = (Instant::now(), Meter::now(), look()?);
    tokio::time::sleep(WINDOW).await;
    let (after, passed) = (look()?, began.elapsed().as_secs_f64());
    Ok(Rates {
        zookeeper_writes: after.0.saturating_sub(before.0) as f64 / passed,
        // The looks themselves are three statements.
        statements: (after.1 - before.1 - 3.0) / passed,
        commits: (after.2 - before.2) / passed,
        busy: meter.since().busy,
    })
}

/// Waits until every shard of a group has an owner that lives and is planned ahead.
async fn all_are_planned(lab: &Lab<'_>, group: &str) -> Result<(), String> {
    let deadline = Instant::now() + PLACED_PATIENCE;
    loop {
        let answer = lab.api().try_get(&format!("/groups/{group}/placement")).await;
        let planned = answer.as_ref().map_or(0, |answer| {
            let shards = answer["shards"].as_array().map(Vec::as_slice).unwrap_or_default();
            let ahead = |shard: &&serde_json::Value| {
                let until = shard["planned_until"].as_str().map_or(0, crate::api::millis);
                shard["owner_live"] == true && until > super::now_ms() + 20_000
            };
            shards.iter().filter(ahead).count()
        });
        if planned == IN_EACH as usize {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!(
                "after {PLACED_PATIENCE:?} {planned} of {IN_EACH} shards of {group} are owned and planned"
            ));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn tell(text: &str, document: Option<&Path>) -> Result<(), String> {
    crate::folder::say(text);
    let Some(document) = document else { return Ok(()) };
    replace_between(document, "<!-- cost: written by `make ha-cost` -->", "<!-- end of cost -->", text)
        .map_err(|error| error.to_string())
}
