//! `ha`: runs cases of the fault table against real processes and judges them. `make ha CASES=F1,F3 TRIALS=5` builds and calls it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use carillon_ha::checker::record::Record;
use carillon_ha::checker::trial::{Verdict, judge};
use carillon_ha::checker::{Fault, Violation};
use carillon_ha::lab::{Ground, Lab, network};
use carillon_ha::story;
use carillon_ha::trial::cases::{self, Case};
use carillon_ha::trial::load::Load;
use carillon_ha::trial::report::{self, Meter, Outcome};
use carillon_ha::trial::watch::Watch;
use carillon_ha::trial::{Pace, Trial};
use futures::FutureExt;

const USAGE: &str = "\
ha [OPTION]...          runs cases of the fault table and judges them
ha judge FILE...        judges kept histories again
ha table DOC REPORT...  writes the figures of several runs' report.json between the marks of a Markdown document
  --cases LIST          names (F1-owner), numbers (F1: all its forms), quick, all (without the soak F29); default quick
  --trials N            trials of each case (default 1)
  --seed N              the first trial's seed; each further one has the next (default: drawn, and printed)
  --quick               short outages, as in the tests of every change (default for the selection quick)
  --fresh               a new installation for every trial; default: for every eighth, and after one that failed
  --out FOLDER          where report and histories go (default target/ha)
  --table FILE          writes the table between the marks of a Markdown document
  --expect FAULT        succeeds only if a trial shows this kind of violation (StartedTwice): for bugs on purpose
  --list                only lists the cases";

struct Options {
    cases: Vec<&'static Case>,
    trials: usize,
    seed: u64,
    pace: Pace,
    fresh: bool,
    out: PathBuf,
    table: Option<PathBuf>,
    expect: Option<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("ha: {why}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<bool, String> {
    if arguments.first().is_some_and(|word| word == "judge") {
        return judge_again(&arguments[1..]);
    }
    if let [word, document, reports @ ..] = arguments
        && word == "table"
    {
        return write_table(document.as_ref(), reports).map(|()| true);
    }
    let Some(options) = read(arguments)? else { return Ok(true) };
    if let Some(code) = network::enter()? {
        return if code < 2 { Ok(code == 0) } else { Err(format!("ended with code {code}")) };
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .init();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let ground = Ground::lay()?;
    let outcomes = runtime.block_on(run_all(&options, &ground))?;
    println!("{}\n{}", report::table(&outcomes), report::summary(&outcomes));
    let json = serde_json::to_vec_pretty(&outcomes).map_err(|error| error.to_string())?;
    let path = options.out.join("report.json");
    std::fs::write(&path, json).map_err(|error| format!("{}: {error}", path.display()))?;
    println!("all of it: {}", path.display());
    if let Some(table) = &options.table {
        write_table(table, &[path.display().to_string()])?;
    }
    if let Some(expected) = &options.expect {
        let mut violations = outcomes.iter().flat_map(|outcome| &outcome.verdict.violations);
        let caught = violations.any(|violation| format!("{:?}", violation.fault) == *expected);
        println!("{expected} was {}", if caught { "caught, as it had to be" } else { "NOT CAUGHT" });
        return Ok(caught);
    }
    Ok(outcomes.iter().all(Outcome::is_kept))
}

async fn run_all(options: &Options, ground: &Ground) -> Result<Vec<Outcome>, String> {
    let (mut outcomes, mut seed, mut number) = (Vec::new(), options.seed, 0);
    let mut waiting: Vec<(usize, &Case)> = Vec::new();
    for case in &options.cases {
        waiting.extend((1..=options.trials).map(|trial| (trial, *case)));
    }
    let mut waiting = waiting.into_iter().peekable();
    std::fs::create_dir_all(&options.out).map_err(|error| format!("{}: {error}", options.out.display()))?;
    println!("{} trials from seed {seed} on", options.cases.len() * options.trials);
    while waiting.peek().is_some() {
        number += 1;
        let began = Instant::now();
        let lab = Lab::start(ground, &format!("lab-{number}")).await?;
        let load = Load::start(&lab, seed).await?;
        let watch = Watch::start(&lab, load.groups.iter().map(|group| group.id.clone()).collect());
        println!("installation {number} serves after {:.1} s", began.elapsed().as_secs_f64());
        let most = if options.fresh { 1 } else { 8 };
        for (trial, case) in waiting.by_ref().take(most) {
            let meter = Meter::now();
            let attempt = Trial::new(&lab, &load, &watch, case.name, options.pace, seed).run(case);
            let (mut record, verdict) = AssertUnwindSafe(attempt)
                .catch_unwind()
                .await
                .unwrap_or_else(|panic| given_up(case, seed, story::words(&*panic)));
            record.machine = meter.since();
            let history = if verdict.violations.is_empty() {
                None
            } else {
                report::keep(&options.out, trial, &record, lab.path())
                    .inspect_err(|error| eprintln!("ha: {error}"))
                    .ok()
            };
            let outcome = Outcome {
                case: case.name.to_owned(),
                title: case.title.to_owned(),
                trial,
                seed,
                faults: record.faults,
                machine: record.machine,
                verdict,
                history,
            };
            println!("{}", outcome.text());
            seed += 1;
            let failed = !outcome.is_kept();
            outcomes.push(outcome);
            if failed {
                // What went wrong may go on; the next trial shall not suffer from it.
                break;
            }
        }
        drop((watch, load, lab));
        ground.restore();
    }
    Ok(outcomes)
}

/// A trial that did not come to its end.
fn given_up(case: &Case, seed: u64, why: &str) -> (Record, Verdict) {
    let record = Record { case: case.name.to_owned(), seed, ..Record::default() };
    let violation = Violation {
        fault: Fault::Promise,
        whose: case.name.to_owned(),
        seen: format!("the trial was given up: {why}"),
    };
    (record, Verdict { violations: vec![violation], figures: Default::default() })
}

fn read(arguments: &[String]) -> Result<Option<Options>, String> {
    let (mut words, mut quick) = ("quick".to_owned(), false);
    let mut options = Options {
        cases: Vec::new(),
        trials: 1,
        seed: carillon_ha::ledger::now_us().unsigned_abs() / 1_000_000,
        pace: Pace { quick: false },
        fresh: false,
        out: PathBuf::from("target/ha"),
        table: None,
        expect: None,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().cloned().ok_or_else(|| format!("{argument} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text:?} is no number"));
        match argument.as_str() {
            "--cases" => words = value()?,
            "--trials" => options.trials = number(value()?)?.clamp(1, 10_000) as usize,
            "--seed" => options.seed = number(value()?)?,
            "--quick" => quick = true,
            "--fresh" => options.fresh = true,
            "--out" => options.out = value()?.into(),
            "--expect" => options.expect = Some(value()?),
            "--table" => options.table = Some(value()?.into()),
            "--list" => {
                for case in cases::all() {
                    println!("{:16} {}{}", case.name, case.title, if case.quick { " (quick)" } else { "" });
                }
                return Ok(None);
            }
            "--help" | "-h" => {
                println!("{USAGE}");
                return Ok(None);
            }
            other => return Err(format!("unknown option {other}\n{USAGE}")),
        }
    }
    options.cases = cases::named(&words)?;
    options.pace.quick = quick || words == "quick";
    Ok(Some(options))
}

/// Writes the figures of reports into a document.
fn write_table(document: &Path, reports: &[String]) -> Result<(), String> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for report in reports {
        let text = std::fs::read(report).map_err(|error| format!("{report}: {error}"))?;
        let more: Vec<Outcome> =
            serde_json::from_slice(&text).map_err(|error| format!("{report}: {error}"))?;
        outcomes.extend(more);
    }
    let (first, last) = (
        outcomes.iter().map(|outcome| outcome.seed).min(),
        outcomes.iter().map(|outcome| outcome.seed).max(),
    );
    let built = if carillon_ha::binaries::is_release() { "release" } else { "debug" };
    let heading = format!(
        "{}. Seeds {} to {}; Carillon {}, {built} build; ZooKeeper 3.8, MariaDB 10.11.",
        report::summary(&outcomes),
        first.unwrap_or(0),
        last.unwrap_or(0),
        env!("CARGO_PKG_VERSION"),
    );
    report::write_table(document, &outcomes, &heading).map_err(|error| error.to_string())
}

fn judge_again(files: &[String]) -> Result<bool, String> {
    let mut kept = true;
    for file in files {
        let text = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        let record: Record = serde_json::from_slice(&text).map_err(|error| format!("{file}: {error}"))?;
        let verdict = judge(&record);
        println!("{file}: {} promises broken", verdict.violations.len());
        verdict.violations.iter().for_each(|violation| println!("  {violation}"));
        println!("{}", serde_json::to_string_pretty(&verdict.figures).map_err(|error| error.to_string())?);
        kept &= verdict.violations.is_empty();
    }
    Ok(kept)
}
