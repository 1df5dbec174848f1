//! How long a console needs for what pages ask, on a database with history (see the store's example `seed_runs`), while jobs fire.
//!
//! `bench_pages URL [--fires 1000] [--rounds 100] [--stored RUNS] [--pid CONSOLE] [--table FILE]`, with an administrator's token in `CARILLON_TOKEN`; `make bench-pages` does all of it.
//! Asks a running console over HTTP, one request at a time, and prints for each question the median, the 95th percentile and the longest,
//! from the request to the last byte of the answer. Each round asks every question once, of a task group, a job, a run and a day by chance, so
//! that nothing is warm because it has just been asked. The fires are of jobs of its own, at a worker within this program.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command that prints its figures")]

mod api;
mod figures;
mod load;
mod questions;

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use api::Api;
use figures::{Figures, Machine};
use load::Load;
use questions::{Questions, TITLES};

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// What the command line says.
struct Wanted {
    console: String,
    fires: usize,
    rounds: usize,
    stored: String,
    /// The console's process, when it is on this machine.
    pid: Option<u32>,
    table: Option<PathBuf>,
}

const USAGE: &str = "usage: bench_pages http://console [--fires 1000] [--rounds 100] [--stored RUNS] [--pid CONSOLE] [--table FILE]";

impl Wanted {
    fn of(mut arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let console = arguments.next().filter(|url| url.starts_with("http://")).ok_or(USAGE)?;
        let mut wanted =
            Self { console, fires: 1_000, rounds: 100, stored: "unknown".to_owned(), pid: None, table: None };
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(USAGE)?;
            match name.as_str() {
                "--fires" => wanted.fires = value.parse()?,
                "--rounds" => wanted.rounds = value.parse()?,
                "--stored" => wanted.stored = value,
                "--pid" => wanted.pid = Some(value.parse()?),
                "--table" => wanted.table = Some(value.into()),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(wanted)
    }
}

#[tokio::main]
async fn main() -> Outcome {
    let wanted = Wanted::of(std::env::args().skip(1))?;
    let token = std::env::var("CARILLON_TOKEN").map_err(|_| "CARILLON_TOKEN is to hold a token")?;
    let api = Api::new(&wanted.console, &token)?;
    let questions = Questions::prepare(&api).await?;
    let load = Load::start(&api, &wanted.console, wanted.fires).await?;
    load.until_steady().await?;

    let mut figures = Figures::new(&TITLES);
    let (before, began) = (Machine::now(), Instant::now());
    load.begin_to_count();
    for round in 0..wanted.rounds {
        for (place, path) in questions.draw(&api).await? {
            let since = Instant::now();
            api.get(&path).await?;
            figures.add(place, since.elapsed());
        }
        if began.elapsed() > Duration::from_secs(3_600) {
            return Err(format!("an hour has passed in round {round}").into());
        }
    }
    let fires = load.counted();
    let machine = Machine::between(&before, &Machine::now());
    let mut text = figures.table(&wanted.stored, &fires, &machine);
    if let Some(megabytes) = wanted.pid.and_then(figures::most_memory) {
        text.push_str(&format!(" The console's process never held more than {megabytes} MB.\n"));
    }
    println!("{text}");
    if let Some(document) = &wanted.table {
        figures::write(document, &text)?;
        eprintln!("written into {}", document.display());
    }
    load.stop(&api).await
}
