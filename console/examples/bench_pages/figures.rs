//! What was measured, as a table.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::Outcome;
use crate::load::Fired;
use crate::questions::Title;

/// The time each question took.
pub(crate) struct Figures {
    titles: &'static [Title],
    /// In milliseconds.
    took: Vec<Vec<f64>>,
}

impl Figures {
    pub(crate) fn new(titles: &'static [Title]) -> Self {
        Self { titles, took: vec![Vec::new(); titles.len()] }
    }

    pub(crate) fn add(&mut self, place: usize, took: Duration) {
        self.took[place].push(took.as_secs_f64() * 1e3);
    }

    /// In Markdown, with what else was going on.
    pub(crate) fn table(&self, stored: &str, fired: &Fired, machine: &Machine) -> String {
        let mut text =
            "| page | asks for | p50 ms | p95 ms | max ms |\n|---|---|---:|---:|---:|\n".to_owned();
        let (mut all, mut over) = (Vec::new(), 0);
        for ((page, what), took) in self.titles.iter().zip(&self.took) {
            let [p50, p95, max] = [0.5, 0.95, 1.0].map(|share| quantile(took, share));
            let _ = writeln!(text, "| {page} | {what} | {p50:.1} | {p95:.1} | {max:.1} |");
            over += usize::from(p95 >= GOAL);
            all.extend_from_slice(took);
        }
        let [p50, p95, max] = [0.5, 0.95, 1.0].map(|share| quantile(&all, share));
        let _ = writeln!(text, "| all | | {p50:.1} | {p95:.1} | {max:.1} |");
        let rounds = self.took.first().map_or(0, Vec::len);
        let _ = write!(
            text,
            "\n{rounds} rounds, one request at a time, on {stored} stored runs, while {:.0} fires a second started (lateness in the handler p50 {:.1} ms, \
             p99 {:.1} ms). {} of {} kinds of request had a 95th percentile below {GOAL:.0} ms. Machine: {} processors, everything on it, {:.0} % busy, load \
             average {:.1} at the beginning and {:.1} at the end.",
            fired.a_second,
            fired.lateness_p50,
            fired.lateness_p99,
            self.titles.len() - over,
            self.titles.len(),
            machine.processors,
            machine.busy * 100.0,
            machine.loads.0,
            machine.loads.1,
        );
        text
    }
}

/// What lists and run pages are to keep below, in milliseconds.
const GOAL: f64 = 50.0;

pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    // The smallest value that at least this share does not exceed.
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// How busy the machine is; zeros where there is no `/proc`.
pub(crate) struct Machine {
    processors: usize,
    busy: f64,
    loads: (f64, f64),
}

/// The processors' ticks so far, used and in all, and the load average.
pub(crate) struct Reading {
    used: u64,
    all: u64,
    load: f64,
}

impl Machine {
    pub(crate) fn now() -> Reading {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let stat = read("/proc/stat");
        let ticks: Vec<u64> = stat
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .filter_map(|ticks| ticks.parse().ok())
            .collect();
        let all = ticks.iter().take(8).sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        let load = read("/proc/loadavg");
        let load = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
        Reading { used: all - idle, all, load }
    }

    pub(crate) fn between(before: &Reading, after: &Reading) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let busy = (after.used - before.used) as f64 / (after.all - before.all).max(1) as f64;
        Self { processors, busy, loads: (before.load, after.load) }
    }
}

/// The most memory that a process has held, in megabytes.
pub(crate) fn most_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1_000)
}

const BEGIN: &str = "<!-- pages: written by `make bench-pages` -->";
const END: &str = "<!-- end of pages -->";

/// Replaces what stands between the marks of a document.
pub(crate) fn write(document: &Path, text: &str) -> Outcome {
    let old = std::fs::read_to_string(document)?;
    let (Some(begin), Some(end)) = (old.find(BEGIN), old.find(END)) else {
        return Err(format!("{} has no marks {BEGIN} and {END}", document.display()).into());
    };
    let new = format!("{}{BEGIN}\n{text}\n{}", &old[..begin], &old[end..]);
    Ok(std::fs::write(document, new)?)
}
