//! `ha`: runs cases of the fault table against real processes and judges them. `make ha CASES=F1,F3 TRIALS=5` builds and calls it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use carillon_ha::checker::record::Record;
use carillon_ha::checker::trial::judge;
use carillon_ha::lab::network;
use carillon_ha::trial::cases::{self, Case};
use carillon_ha::trial::lane::{self, Order};
use carillon_ha::trial::report::{self, Build, Outcome};
use carillon_ha::trial::{cost, kept, lanes};

const USAGE: &str = "\
ha [OPTION]...          runs cases of the fault table and judges them
ha judge FILE...        judges kept histories again
ha report PLACE...      prints the figures of kept results: files, or folders of them; --table DOC writes them between its marks
ha cost [DOC]           measures what 1,000 idle shards cost the stores, then kills a server among them; writes the figures into DOC
  --cases LIST          names (F1-owner), numbers (F1: all its forms), quick, all (without the soak F29); default quick
  --trials N            trials of each case (default 1)
  --jobs N              installations beside each other (default 1)
  --resume              only the trials that are missing: results of the same commit, build and pace in the folder count
  --seed N              the first trial's seed; each further one has the next (default: drawn, and printed)
  --quick               short outages, as in the tests of every change (default for the selection quick)
  --fresh               a new installation for every trial; default: for every twelfth, and after one that failed
  --keep                the history of every trial is kept, not only of those with a broken promise: to see what a figure is of
  --out FOLDER          where results, histories and logs go (default target/ha): a file in results/ for each trial
  --table FILE          writes the table between the marks of a Markdown document
  --expect FAULT        succeeds only if a trial shows this kind of violation (StartedTwice, or one of Lost|WentBack): for bugs on purpose
  --list                only lists the cases";

struct Options {
    cases: Vec<&'static Case>,
    trials: usize,
    jobs: usize,
    resume: bool,
    seed: u64,
    quick: bool,
    fresh: bool,
    keep: bool,
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
    match arguments.first().map(String::as_str) {
        Some("judge") => judge_again(&arguments[1..]),
        Some("report") => tell(&arguments[1..]).map(|()| true),
        Some("lane") => in_namespaces(lane::serve),
        Some("cost") => in_namespaces(|| cost::measure(arguments.get(1).map(PathBuf::from))),
        _ => match read(arguments)? {
            Some(options) => run_all(&options),
            None => Ok(true),
        },
    }
}

/// Runs something in namespaces of its own: this program again, inside.
fn in_namespaces<F: Future<Output = Result<(), String>>>(work: impl FnOnce() -> F) -> Result<bool, String> {
    if let Some(code) = network::enter()? {
        return if code < 2 { Ok(code == 0) } else { Err(format!("ended with code {code}")) };
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .init();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(work()).map(|()| true)
}

fn run_all(options: &Options) -> Result<bool, String> {
    let results = options.out.join("results");
    std::fs::create_dir_all(&results).map_err(|error| format!("{}: {error}", results.display()))?;
    let before = if options.resume { kept::read(&[&results])? } else { Vec::new() };
    let orders = orders(options, &before);
    let (all, began) = (orders.len(), Instant::now());
    let first = orders.first().map_or(options.seed, |order| order.seed);
    let guess = guessed_minutes(&orders, &before);
    println!(
        "{all} trials from seed {first} on, {} there already{}",
        before.len(),
        guess.map_or(String::new(), |minutes| format!("; about {:.0} min", minutes / options.jobs as f64)),
    );
    let outcomes = Mutex::new(Vec::new());
    lanes::run(orders, options.jobs, &options.out, |outcome| {
        if let Err(why) = kept::write(&results, &outcome) {
            eprintln!("ha: {why}");
        }
        let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
        print!("{}", outcome.text());
        outcomes.push(outcome);
        let (done, passed) = (outcomes.len(), began.elapsed().as_secs_f64() / 60.0);
        let left = passed / done as f64 * (all - done) as f64;
        println!("       {done} of {all} after {passed:.0} min, about {left:.0} min left\n");
    })?;
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut together = before;
    together.extend(outcomes.iter().cloned());
    println!("{}\n{}", report::table(&together), report::heading(&together));
    if let Some(table) = &options.table {
        report::write_table(table, &together).map_err(|error| error.to_string())?;
    }
    if let Some(expected) = &options.expect {
        let mut violations = outcomes.iter().flat_map(|outcome| &outcome.verdict.violations);
        let caught = violations
            .any(|violation| expected.split('|').any(|fault| format!("{:?}", violation.fault) == fault));
        println!("{expected} was {}", if caught { "caught, as it had to be" } else { "NOT CAUGHT" });
        return Ok(caught);
    }
    Ok(outcomes.iter().all(Outcome::is_kept))
}

/// The trials that are wanted and not there: the first of every case, then the second ones, so that a run that is ended early has tried all.
fn orders(options: &Options, before: &[Outcome]) -> Vec<Order> {
    let build = Build::of_this_run();
    let newest = before.iter().map(|outcome| outcome.seed + 1).max().unwrap_or(0);
    let mut orders = Vec::new();
    for trial in 1..=options.trials {
        for case in &options.cases {
            if trial > kept::count(before, case.name, &build, options.quick) {
                orders.push(Order {
                    case: case.name.to_owned(),
                    trial,
                    seed: options.seed.max(newest) + orders.len() as u64,
                    quick: options.quick,
                    fresh: options.fresh,
                    keep: options.keep,
                    out: options.out.clone(),
                    lanes: options.jobs,
                });
            }
        }
    }
    orders
}

/// How long trials take one after the other, by how long those of the same cases took.
fn guessed_minutes(orders: &[Order], before: &[Outcome]) -> Option<f64> {
    let of = |case: Option<&str>| {
        let took = before.iter().filter(|outcome| case.is_none_or(|case| case == outcome.case));
        let took: Vec<f64> = took.map(|outcome| outcome.took_s).filter(|took| *took > 0.0).collect();
        (!took.is_empty()).then(|| took.iter().sum::<f64>() / took.len() as f64)
    };
    let usual = of(None)?;
    Some(orders.iter().map(|order| of(Some(&order.case)).unwrap_or(usual)).sum::<f64>() / 60.0)
}

fn read(arguments: &[String]) -> Result<Option<Options>, String> {
    let (mut words, mut quick) = ("quick".to_owned(), false);
    let mut options = Options {
        cases: Vec::new(),
        trials: 1,
        jobs: 1,
        resume: false,
        seed: carillon_ha::ledger::now_us().unsigned_abs() / 1_000_000,
        quick: false,
        fresh: false,
        keep: false,
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
            // More would only measure how they disturb each other.
            "--jobs" => options.jobs = number(value()?)?.clamp(1, 16) as usize,
            "--resume" => options.resume = true,
            "--seed" => options.seed = number(value()?)?,
            "--quick" => quick = true,
            "--fresh" => options.fresh = true,
            "--keep" => options.keep = true,
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
    options.quick = quick || words == "quick";
    Ok(Some(options))
}

/// Prints the figures of kept results, and writes them into a document if one is named.
fn tell(arguments: &[String]) -> Result<(), String> {
    let (mut places, mut table) = (Vec::new(), None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--table" => table = Some(arguments.next().ok_or("--table needs a document")?),
            place => places.push(PathBuf::from(place)),
        }
    }
    let outcomes = kept::read(&places)?;
    for outcome in outcomes.iter().filter(|outcome| !outcome.is_kept()) {
        print!("{}", outcome.text());
    }
    println!("{}\n{}", report::table(&outcomes), report::heading(&outcomes));
    if let Some(document) = table {
        report::write_table(Path::new(document), &outcomes).map_err(|error| error.to_string())?;
    }
    Ok(())
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
