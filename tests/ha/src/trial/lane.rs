//! A lane: an installation, or one after the other, on which trials follow one another. It runs in a process and in namespaces of its own, takes
//! orders from its standard input and answers on its standard output, a line of JSON each.

use std::io::{BufRead, Write};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::FutureExt;
use serde::{Deserialize, Serialize};

use super::cases::{self, Case};
use super::load::Load;
use super::report::{self, Build, Meter, Outcome};
use super::watch::Watch;
use super::{Pace, Trial};
use crate::checker::record::Record;
use crate::checker::trial::Verdict;
use crate::checker::{Fault, Violation};
use crate::lab::{Ground, Lab};
use crate::story;

/// A trial to be run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// The case.
    pub case: String,
    /// Which trial of it.
    pub trial: usize,
    /// Its seed.
    pub seed: u64,
    /// Short outages.
    pub quick: bool,
    /// On an installation of its own.
    pub fresh: bool,
    /// Its history is kept also if it keeps every promise.
    pub keep: bool,
    /// Where the history goes.
    pub out: PathBuf,
    /// How many lanes there are.
    pub lanes: usize,
}

/// Trials on one installation: it is filled with old jobs and rows by and by, and its start takes longer than a short trial.
const TRIALS_EACH: usize = 12;

/// The longest that a trial may take, without the soak's own time.
const LONGEST: Duration = Duration::from_secs(600);

/// Runs trials as they are ordered until there are no more orders. Only inside namespaces of its own.
pub async fn serve() -> Result<(), String> {
    let mut orders = std::io::stdin().lock().lines().peekable();
    let ground = Ground::lay()?;
    let mut number = 0;
    while orders.peek().is_some() {
        number += 1;
        let began = Instant::now();
        let mut standing: Option<(Watch, Load, Lab<'_>)> = None;
        for place in 0..TRIALS_EACH {
            let Some(line) = orders.next() else { break };
            let line = line.map_err(|error| format!("the orders cannot be read: {error}"))?;
            let order: Order = serde_json::from_str(&line).map_err(|error| format!("{line}: {error}"))?;
            if standing.is_none() {
                standing = Some(install(&ground, number, order.seed).await?);
                tracing::info!("installation {number} serves after {:.1} s", began.elapsed().as_secs_f64());
            }
            let (watch, load, lab) = standing.as_ref().expect("it was just installed");
            let outcome = run(&order, lab, load, watch).await?;
            let alone = order.fresh || !outcome.is_kept() || place + 1 == TRIALS_EACH;
            answer(&outcome)?;
            if alone {
                // What went wrong may go on; the next trial shall not suffer from it.
                break;
            }
        }
        drop(standing);
        ground.restore();
    }
    Ok(())
}

async fn install<'a>(ground: &'a Ground, number: usize, seed: u64) -> Result<(Watch, Load, Lab<'a>), String> {
    let lab = Lab::start(ground, &format!("lab-{number}")).await?;
    let load = Load::start(&lab, seed).await?;
    let watch = Watch::start(&lab, load.groups.iter().map(|group| group.id.clone()).collect());
    Ok((watch, load, lab))
}

async fn run(order: &Order, lab: &Lab<'_>, load: &Load, watch: &Watch) -> Result<Outcome, String> {
    let case = cases::named(&order.case)?[0];
    let (meter, began) = (Meter::now(), Instant::now());
    let trial = Trial::new(lab, load, watch, case.name, Pace { quick: order.quick }, order.seed).run(case);
    let longest = LONGEST + cases::soak_time(case);
    let attempt = tokio::time::timeout(longest, AssertUnwindSafe(trial).catch_unwind()).await;
    let (mut record, verdict) = match attempt {
        Ok(Ok(ended)) => ended,
        Ok(Err(panic)) => given_up(case, order.seed, story::words(&*panic).to_owned()),
        Err(_) => given_up(case, order.seed, format!("it was not over after {longest:?}")),
    };
    record.machine = meter.since();
    record.machine.lanes = order.lanes;
    let history = if verdict.violations.is_empty() && !order.keep {
        None
    } else {
        report::keep(&order.out, order.trial, &record, lab.path())
            .inspect_err(|error| tracing::error!(%error, "the history is not kept"))
            .ok()
    };
    Ok(Outcome {
        case: case.name.to_owned(),
        title: case.title.to_owned(),
        trial: order.trial,
        seed: order.seed,
        faults: record.faults,
        machine: record.machine,
        build: Build::of_this_run(),
        quick: order.quick,
        took_s: began.elapsed().as_secs_f64(),
        verdict,
        history,
    })
}

/// A trial that did not come to its end.
fn given_up(case: &Case, seed: u64, why: String) -> (Record, Verdict) {
    let record = Record { case: case.name.to_owned(), seed, ..Record::default() };
    (record, Verdict { violations: vec![broke_off(case.name, &why)], figures: Default::default() })
}

/// What is wrong with a trial that did not come to its end.
pub(super) fn broke_off(case: &str, why: &str) -> Violation {
    Violation {
        fault: Fault::Promise,
        whose: case.to_owned(),
        seen: format!("the trial was given up: {why}"),
    }
}

fn answer(outcome: &Outcome) -> Result<(), String> {
    let mut line = serde_json::to_string(outcome).map_err(|error| error.to_string())?;
    line.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(line.as_bytes()).and_then(|()| out.flush()).map_err(|error| error.to_string())
}
