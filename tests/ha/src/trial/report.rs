//! What a person reads of trials, and what is kept for programs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cases::place;
use crate::checker::record::{FaultSpan, Machine, Record};
use crate::checker::trial::{Distribution, Figures, Verdict};

/// One trial's outcome.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The case.
    pub case: String,
    /// What it does.
    pub title: String,
    /// Which trial of the case, from 1.
    pub trial: usize,
    /// Its seed.
    pub seed: u64,
    /// What was broken, if the trial came so far.
    pub faults: Vec<FaultSpan>,
    /// How busy the machine was.
    pub machine: Machine,
    /// What was run.
    pub build: Build,
    /// Whether outages were short ones.
    pub quick: bool,
    /// How long all of it took, in seconds.
    pub took_s: f64,
    /// The judgement.
    pub verdict: Verdict,
    /// Where its history is kept, if it failed.
    pub history: Option<PathBuf>,
}

/// Which program a trial ran.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Build {
    /// The commit that the binaries were built from, with `-changed` behind it if files had been changed since; empty when nobody said.
    pub commit: String,
    /// Whether they are optimised.
    pub release: bool,
}

impl Build {
    /// Of the binaries of this run; whoever built them says from what.
    pub fn of_this_run() -> Self {
        Self {
            commit: std::env::var("CARILLON_HA_COMMIT").unwrap_or_default(),
            release: crate::binaries::is_release(),
        }
    }
}

/// How many violations of one trial are printed: the first tell the cause.
const SHOWN: usize = 8;

impl Outcome {
    /// Whether all promises were kept.
    pub fn is_kept(&self) -> bool {
        self.verdict.violations.is_empty()
    }

    /// All of it in some lines.
    pub fn text(&self) -> String {
        let figures = &self.verdict.figures;
        let mut text = String::new();
        let word = if self.is_kept() { "kept  " } else { "BROKEN" };
        let _ =
            writeln!(text, "{word} {} trial {} (seed {}): {}", self.case, self.trial, self.seed, self.title);
        for fault in &self.faults {
            let _ = writeln!(text, "       {} for {} ms", fault.what, fault.to_ms - fault.from_ms);
        }
        let _ = writeln!(
            text,
            "       {} fires, {} lost, {} doubled, {} not started; {} excused, {} of them not started; {} triggers, {} edits; {} takeovers, {} repeated arms",
            figures.fires,
            figures.lost,
            figures.doubled,
            figures.not_started,
            figures.excused.0,
            figures.excused.1,
            figures.triggers,
            figures.edits,
            figures.takeovers,
            figures.repeated_arms,
        );
        let words = ["before", "during", "after "];
        for ((word, late), (median, shortest)) in
            words.iter().zip(&figures.lateness).zip(&figures.arming_lead_ms)
        {
            let _ = writeln!(
                text,
                "       {word} {}; armed {median:.0} ms ahead, at least {shortest:.0} ms",
                line_of(late)
            );
        }
        if figures.excused_lateness.count > 0 {
            let _ = writeln!(text, "       excused {}", line_of(&figures.excused_lateness));
        }
        let normal = figures.to_normal_ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
        let Machine { load, busy, processors, lanes } = self.machine;
        let _ = writeln!(
            text,
            "       normal after {normal}; machine: load {load:.1}, {processors} processors {:.0} % busy, {lanes} installations beside each other",
            busy * 100.0
        );
        for violation in self.verdict.violations.iter().take(SHOWN) {
            let _ = writeln!(text, "       ! {violation}");
        }
        if self.verdict.violations.len() > SHOWN {
            let _ = writeln!(text, "       ! and {} more", self.verdict.violations.len() - SHOWN);
        }
        if let Some(history) = &self.history {
            let _ = writeln!(text, "       history: {} (`ha judge FILE` judges it again)", history.display());
        }
        text
    }
}

fn line_of(late: &Distribution) -> String {
    format!(
        "{} starts, p50 {:.1} p99 {:.1} p99.9 {:.1} max {:.1} ms, {:.2} % within 20 ms",
        late.count,
        late.p50,
        late.p99,
        late.p999,
        late.max,
        late.within_20ms * 100.0
    )
}

/// The outcomes as a table in Markdown, a line for each case, in the order of the fault table.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut cases: BTreeMap<_, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        cases.entry(place(&outcome.case)).or_default().push(outcome);
    }
    let mut text = String::from(
        "| case | fault | trials | kept | fires | lost | doubled | not started | excused | late p50 / p99 / max during, ms | within 20 ms | takeovers | normal after |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for ((_, _, case), list) in cases {
        let sum = |count: fn(&Figures) -> u64| {
            list.iter().map(|outcome| count(&outcome.verdict.figures)).sum::<u64>()
        };
        let worst = |value: fn(&Figures) -> f64| {
            list.iter().map(|outcome| value(&outcome.verdict.figures)).fold(0.0, f64::max)
        };
        let kept = list.iter().filter(|outcome| outcome.is_kept()).count();
        let starts = sum(|figures| figures.lateness[1].count);
        let within: f64 = list
            .iter()
            .map(|outcome| &outcome.verdict.figures.lateness[1])
            .map(|late| late.within_20ms * late.count as f64)
            .sum();
        let normal =
            list.iter().filter_map(|outcome| outcome.verdict.figures.to_normal_ms).max().unwrap_or(0);
        let _ = writeln!(
            text,
            "| {case} | {} | {} | {kept} | {} | {} | {} | {} | {} | {:.1} / {:.1} / {:.1} | {:.2} % | {} | {:.1} s |",
            list[0].title,
            list.len(),
            sum(|figures| figures.fires),
            sum(|figures| figures.lost),
            sum(|figures| figures.doubled),
            sum(|figures| figures.not_started),
            sum(|figures| figures.excused.0),
            worst(|figures| figures.lateness[1].p50),
            worst(|figures| figures.lateness[1].p99),
            worst(|figures| figures.lateness[1].max),
            100.0 * if starts == 0 { 1.0 } else { within / starts as f64 },
            sum(|figures| figures.takeovers),
            normal as f64 / 1_000.0,
        );
    }
    let loads: Vec<f64> = outcomes.iter().map(|outcome| outcome.machine.busy).collect();
    let busiest = loads.iter().copied().fold(0.0, f64::max);
    let processors = outcomes.first().map_or(0, |outcome| outcome.machine.processors);
    let most_load = outcomes.iter().map(|outcome| outcome.machine.load).fold(0.0, f64::max);
    let lanes = outcomes.iter().map(|outcome| outcome.machine.lanes).max().unwrap_or(1);
    let _ = writeln!(
        text,
        "\nOf several trials the sums, and of lateness and return to normal the worst trial. Machine: {processors} processors, everything on it, \
         up to {lanes} installations beside each other; busy {:.0} % on average and {:.0} % in the busiest trial, load average at most {most_load:.1}.",
        100.0 * loads.iter().sum::<f64>() / loads.len().max(1) as f64,
        100.0 * busiest,
    );
    for soak in outcomes.iter().filter(|outcome| outcome.faults.len() > MANY_FAULTS) {
        let _ = writeln!(
            text,
            "\n{} (seed {}) broke {} times: {}.",
            soak.case,
            soak.seed,
            soak.faults.len(),
            kinds_of(&soak.faults)
        );
    }
    text
}

/// A trial that breaks more often than this tries faults at random, and its table says which.
const MANY_FAULTS: usize = 20;

/// How often which kind of fault was tried.
fn kinds_of(faults: &[FaultSpan]) -> String {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for fault in faults {
        *kinds.entry(kind_of(&fault.what)).or_default() += 1;
    }
    let list = kinds.iter().map(|(kind, count)| format!("{count} x {kind}"));
    list.collect::<Vec<_>>().join("; ")
}

/// A fault without the members, runs and amounts that were drawn for it.
fn kind_of(what: &str) -> String {
    const RUN: &str = " parallel run";
    let what = what.find(RUN).map_or(what, |at| &what[..at + RUN.len()]);
    let mut words: Vec<String> = Vec::new();
    for word in what.split_whitespace().filter(|word| !word.is_empty()) {
        let bare = word.trim_matches(['[', ']', '(', ')', ',', ':']);
        let number = |text: &str| text.parse::<f64>().is_ok();
        let general = match bare.rsplit_once('-') {
            _ if bare == "-9" => bare.to_owned(),
            _ if number(bare) => "n".to_owned(),
            Some((kind, drawn)) if number(drawn) => format!("{kind}-n"),
            _ => bare.to_owned(),
        };
        let word = word.replace(['[', ']'], "").replace(bare, &general);
        if words
            .last()
            .is_some_and(|last| last.trim_end_matches(',') == "n" && word.starts_with('n') && number(bare))
        {
            words.pop();
        }
        words.push(word);
    }
    words.join(" ")
}

/// Replaces what stands between the marks of a document by the table.
pub fn write_table(document: &Path, outcomes: &[Outcome]) -> std::io::Result<()> {
    let text = format!("{}\n\n{}", heading(outcomes), table(outcomes));
    replace_between(document, "<!-- figures: written by `make ha` -->", "<!-- end of figures -->", &text)
}

/// Replaces what stands between two marks of a document.
pub(super) fn replace_between(document: &Path, begin: &str, end: &str, new: &str) -> std::io::Result<()> {
    let text = fs::read_to_string(document)?;
    let (Some(first), Some(last)) = (text.find(begin), text.find(end)) else {
        return Err(std::io::Error::other(format!("{} has no marks {begin} and {end}", document.display())));
    };
    fs::write(document, format!("{}{begin}\n{new}{}", &text[..first], &text[last..]))
}

/// Keeps the history of a trial and the logs of its installation in a folder of its own; returns the history's path.
pub fn keep(folder: &Path, trial: usize, record: &Record, logs: &Path) -> std::io::Result<PathBuf> {
    let own = folder.join(format!("{}-{trial}-{}", record.case, record.seed));
    fs::create_dir_all(&own)?;
    let disks = fs::read_dir(logs)?.flatten().filter(|entry| entry.path().is_dir());
    let inside = disks.filter_map(|disk| fs::read_dir(disk.path()).ok()).flat_map(Iterator::flatten);
    for entry in fs::read_dir(logs)?.flatten().chain(inside) {
        if entry.path().extension().is_some_and(|ending| ending == "log") {
            fs::copy(entry.path(), own.join(entry.file_name()))?;
        }
    }
    let history = own.join("history.json");
    fs::write(&history, serde_json::to_vec(record)?)?;
    Ok(history)
}

/// The processors' time so far, used and in all, in ticks.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    used: u64,
    all: u64,
}

impl Meter {
    /// Now.
    pub fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let numbers: Vec<u64> = text
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(1)
            .filter_map(|word| word.parse().ok())
            .collect();
        let all = numbers.iter().take(8).sum();
        // Idle and waiting for the disk.
        let idle: u64 = numbers.iter().skip(3).take(2).sum();
        Self { used: all - idle.min(all), all }
    }

    /// How busy the machine was since then.
    pub fn since(self) -> Machine {
        let now = Self::now();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let all = now.all.saturating_sub(self.all).max(1);
        Machine {
            load: load.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0),
            busy: now.used.saturating_sub(self.used) as f64 / all as f64,
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            lanes: 1,
        }
    }
}

/// What all of it is, in a sentence: trials, pace, seeds, build.
pub fn heading(outcomes: &[Outcome]) -> String {
    let mut builds: Vec<String> = Vec::new();
    for outcome in outcomes {
        let Build { commit, release } = &outcome.build;
        let commit = if commit.is_empty() { "an unknown commit" } else { commit };
        let text = format!("{commit}, {} build", if *release { "release" } else { "debug" });
        if !builds.contains(&text) {
            builds.push(text);
        }
    }
    let quick = outcomes.iter().filter(|outcome| outcome.quick).count();
    let pace = match quick {
        0 => "outages as the cases say".to_owned(),
        all if all == outcomes.len() => "short outages".to_owned(),
        some => format!("{some} of them with short outages"),
    };
    let seeds = outcomes.iter().map(|outcome| outcome.seed);
    format!(
        "{}, {pace}. Seeds {} to {}; Carillon {} at {}; ZooKeeper 3.8, MariaDB 10.11 with a binary log.",
        summary(outcomes),
        seeds.clone().min().unwrap_or(0),
        seeds.max().unwrap_or(0),
        env!("CARGO_PKG_VERSION"),
        builds.join(" and "),
    )
}

/// How often each promise was broken, in words; for the last line of a run.
pub fn summary(outcomes: &[Outcome]) -> String {
    let mut broken: BTreeMap<&str, usize> = BTreeMap::new();
    for outcome in outcomes {
        let mut kinds: Vec<&str> =
            outcome.verdict.violations.iter().map(|violation| violation.fault.invariant()).collect();
        kinds.dedup();
        kinds.into_iter().for_each(|kind| *broken.entry(kind).or_default() += 1);
    }
    let kept = outcomes.iter().filter(|outcome| outcome.is_kept()).count();
    let list = broken.iter().map(|(kind, count)| format!("{kind} in {count}")).collect::<Vec<_>>().join(", ");
    let broken = if list.is_empty() { "nothing was broken".to_owned() } else { format!("broken: {list}") };
    format!("{} trials, {kept} kept every promise; {broken}", outcomes.len())
}

#[cfg(test)]
mod tests {
    use super::kind_of;

    #[test]
    fn kinds_of_faults_leave_out_what_was_drawn() {
        for (what, kind) in [
            ("kill -9 of server-2", "kill -9 of server-n"),
            (
                "kill -9 of server-1 during the parallel run 1m7xqf0sd",
                "kill -9 of server-n during the parallel run",
            ),
            (
                "the clocks of server-1 and server-3 jump by [812, -1204] ms",
                "the clocks of server-n and server-n jump by n ms",
            ),
            ("kill -9 of ZooKeeper 3 (the leader is 2)", "kill -9 of ZooKeeper n (the leader is n)"),
            (
                "worker-2 cut from server-1, server-3 for 8.5 s",
                "worker-n cut from server-n, server-n for n s",
            ),
        ] {
            assert_eq!(kind_of(what), kind);
        }
    }
}
