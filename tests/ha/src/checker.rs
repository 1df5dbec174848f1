//! The offline checker: joins what the API says of every run with what handlers wrote, and names everything that breaks a promise.
//!
//! It sees a [`History`]: the fires that must have been, the runs after everything came to rest, the lines of the ledgers. A run's fire time is
//! part of its identity, so matching is a join on (job, fire time), not a search. The names I1 to I8 are those of the trigger protocol.

mod lateness;
pub mod record;
#[cfg(test)]
mod tests;
pub mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::api::{Api, Attempt, Run, is_final};
use crate::ledger::{Event, Line, Phase};

pub use lateness::Lateness;

/// How much too early a handler may start: the bound of I2, for clocks that differ a little.
const EARLY_MS: i64 = 20;

/// All there is to judge.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// For each job that is judged: the nominal times it must have fired at, and no others between the first and the last of them.
    pub expected: Vec<Expected>,
    /// The runs of these jobs, after quiescence.
    pub runs: Vec<RunRecord>,
    /// What handlers wrote, of these jobs.
    pub lines: Vec<Line>,
}

/// When a job must have fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The job.
    pub job: u32,
    /// Its nominal times in milliseconds since 1970, in order.
    pub fires: Vec<i64>,
}

/// A run as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: String,
    /// Its job.
    pub job: u32,
    /// What made it.
    pub trigger: String,
    /// Its nominal time.
    pub fire_time_ms: i64,
    /// Its state.
    pub state: String,
    /// Why it is in this state; empty for the plain ones.
    pub reason: String,
    /// The current attempt.
    pub attempt: u32,
    /// The attempts before, with their causes.
    pub past: Vec<Attempt>,
    /// When the current attempt started, as far as the servers know.
    pub started_ms: Option<i64>,
    /// The name of the worker of the current attempt, where the console knows it.
    #[serde(default)]
    pub worker: String,
}

impl From<&Run> for RunRecord {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id().to_owned(),
            job: run.job(),
            trigger: run.trigger().to_owned(),
            fire_time_ms: run.fire_time_ms(),
            state: run.state().to_owned(),
            reason: run.reason().to_owned(),
            attempt: run.attempt(),
            past: run.past_attempts(),
            started_ms: run.started_ms(),
            worker: run.body["worker"]["name"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

/// The ways in which a promise is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Fault {
    /// I1: a fire without a run.
    Lost,
    /// I1: two runs of one fire.
    Doubled,
    /// I1: a run at a time that is no fire.
    Unexpected,
    /// I1: a handler was started for a run that nobody knows.
    UnknownRun,
    /// I2: a handler started before its time.
    TooEarly,
    /// I2: a fire had a worker and was not started.
    NotStarted,
    /// I2: a handler started later than the case allows.
    TooLate,
    /// I3: one attempt was started twice.
    StartedTwice,
    /// I3: an attempt was started that the run does not have.
    AttemptBeyondRow,
    /// I3: an attempt follows one whose end has no recorded cause.
    AttemptWithoutCause,
    /// I4: a version of a job was started after an edit of it was acknowledged, and the acknowledgement did not list that run.
    StartedAfterEdit,
    /// I5: a trigger was acknowledged, and its run is not there.
    LostTrigger,
    /// I5: nothing moves any more, and the run is not final.
    NotFinal,
    /// I5: the run's state is not what its handler did.
    Disagrees,
    /// I6: an epoch or a watermark went back.
    WentBack,
    /// I7: a run was not started or was ended early, and nobody says why.
    NoReason,
    /// I8: everything is healed, and planning or arming is still behind.
    NotNormal,
    /// Something else that the case promises.
    Promise,
}

impl Fault {
    /// The invariant that it breaks, by its name in the trigger protocol.
    pub fn invariant(self) -> &'static str {
        match self {
            Self::Lost | Self::Doubled | Self::Unexpected | Self::UnknownRun => "I1",
            Self::TooEarly | Self::NotStarted | Self::TooLate => "I2",
            Self::StartedTwice | Self::AttemptBeyondRow | Self::AttemptWithoutCause => "I3",
            Self::StartedAfterEdit => "I4",
            Self::LostTrigger | Self::NotFinal | Self::Disagrees => "I5",
            Self::WentBack => "I6",
            Self::NoReason => "I7",
            Self::NotNormal => "I8",
            Self::Promise => "case",
        }
    }
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Violation {
    /// How.
    pub fault: Fault,
    /// To which run, or to which fire of which job.
    pub whose: String,
    /// What was seen.
    pub seen: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: {}: {}", self.fault.invariant(), self.fault, self.whose, self.seen)
    }
}

/// What was found so far; each fault once.
#[derive(Default)]
struct Found(BTreeSet<Violation>);

impl Found {
    fn add(&mut self, fault: Fault, whose: impl Into<String>, seen: impl Into<String>) {
        self.0.insert(Violation { fault, whose: whose.into(), seen: seen.into() });
    }
}

impl History {
    /// Reads all runs of these jobs from the API, with the attempts of those that have several.
    pub async fn read(api: &Api, expected: Vec<Expected>, lines: Vec<Line>) -> Self {
        let mut runs = Vec::new();
        for job in expected.iter().map(|expected| expected.job) {
            for run in api.runs_of(job).await {
                // A list does not show attempts.
                let run = if run.attempt() > 1 { api.run(run.id()).await } else { run };
                runs.push(RunRecord::from(&run));
            }
        }
        let jobs: BTreeSet<u32> = expected.iter().map(|expected| expected.job).collect();
        let lines = lines.into_iter().filter(|line| jobs.contains(&line.job)).collect();
        Self { expected, runs, lines }
    }

    /// Every promise that was broken, each once, in order.
    pub fn violations(&self) -> Vec<Violation> {
        let mut found = Found::default();
        self.check_fires(&mut found);
        self.check_starts(&mut found);
        for run in &self.runs {
            check_run(run, &self.lines_of(&run.id), &mut found);
        }
        found.0.into_iter().collect()
    }

    /// Panics with all of them where any promise was broken.
    pub fn assert_kept(&self) {
        let found = self.violations();
        let list: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "{} promises were broken:\n{}", found.len(), list.join("\n"));
    }

    /// How late the handlers of scheduled fires started.
    pub fn lateness(&self) -> Lateness {
        Lateness::of(self.first_starts())
    }

    /// How late those started whose fire times lie in [from, to).
    pub fn lateness_between(&self, from: i64, to: i64) -> Lateness {
        Lateness::of(self.first_starts().filter(|line| (from..to).contains(&line.fire_time_ms)))
    }

    fn first_starts(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| {
            line.event == Event::Started
                && line.attempt == 1
                && matches!(line.phase, Phase::Run | Phase::Split)
        })
    }

    fn lines_of(&self, run: &str) -> Vec<&Line> {
        self.lines.iter().filter(|line| line.run == run).collect()
    }

    /// Fires and rows match one to one.
    fn check_fires(&self, found: &mut Found) {
        for Expected { job, fires } in &self.expected {
            let (Some(first), Some(last)) = (fires.first(), fires.last()) else { continue };
            let mut rows: BTreeMap<i64, Vec<&RunRecord>> = BTreeMap::new();
            for run in self.runs.iter().filter(|run| run.job == *job && run.trigger != "api") {
                rows.entry(run.fire_time_ms).or_default().push(run);
            }
            let whose = |time: i64| format!("job {job} at {time}");
            for time in fires.iter().copied() {
                match rows.get(&time).map_or(0, Vec::len) {
                    0 => found.add(Fault::Lost, whose(time), "no run"),
                    1 => {}
                    count => found.add(Fault::Doubled, whose(time), format!("{count} runs")),
                }
            }
            let known: BTreeSet<i64> = fires.iter().copied().collect();
            for (time, runs) in rows.range(first..=last).filter(|(time, _)| !known.contains(time)) {
                for run in runs {
                    found.add(Fault::Unexpected, &run.id, format!("job {job} has no fire at {time}"));
                }
            }
        }
    }

    /// Every start belongs to a run and an attempt of its own.
    fn check_starts(&self, found: &mut Found) {
        let rows: BTreeMap<&str, &RunRecord> = self.runs.iter().map(|run| (run.id.as_str(), run)).collect();
        let mut seen = BTreeSet::new();
        for line in self.lines.iter().filter(|line| line.event == Event::Started) {
            if !seen.insert((&line.run, line.attempt, line.phase, line.subtask)) {
                let Line { attempt, phase, subtask, .. } = line;
                found.add(
                    Fault::StartedTwice,
                    &line.run,
                    format!("attempt {attempt}, {phase:?}, subtask {subtask:?}"),
                );
            }
            let early_ms = line.fire_time_ms - line.at_us / 1_000;
            if early_ms > EARLY_MS {
                found.add(Fault::TooEarly, &line.run, format!("{early_ms} ms"));
            }
            match rows.get(line.run.as_str()) {
                None => found.add(Fault::UnknownRun, &line.run, format!("started by {}", line.worker)),
                Some(row) if line.attempt > row.attempt => found.add(
                    Fault::AttemptBeyondRow,
                    &line.run,
                    format!("started as attempt {}, but it is at {}", line.attempt, row.attempt),
                ),
                Some(_) => {}
            }
        }
    }
}

/// A row is final, explained, and agrees with its handler.
fn check_run(run: &RunRecord, lines: &[&Line], found: &mut Found) {
    if !is_final(&run.state) {
        return found.add(Fault::NotFinal, &run.id, &run.state);
    }
    if run.state != "succeeded" && run.reason.is_empty() {
        found.add(Fault::NoReason, &run.id, &run.state);
    }
    for attempt in 2..=run.attempt {
        let cause = run.past.iter().find(|past| past.number == attempt - 1).map(|past| past.reason.as_str());
        if cause.is_none_or(str::is_empty) {
            found.add(Fault::AttemptWithoutCause, &run.id, format!("attempt {attempt}"));
        }
    }
    let mut disagrees = |seen: &str| found.add(Fault::Disagrees, &run.id, seen);
    // Levels 1 and 2 may go well and the run as a whole not, so parallel runs are judged by their last handler.
    let parallel = lines.iter().any(|line| line.phase == Phase::Split);
    let ended = |attempt: u32, event: Event| {
        lines.iter().any(|line| {
            line.attempt == attempt
                && line.event == event
                && (line.phase == Phase::Run || line.phase == Phase::Reduce)
        })
    };
    let presumed =
        |reason: &str| matches!(reason, "worker_lost" | "timeout" | "cancelled_by_user" | "replaced");
    let began = lines.iter().any(|line| line.event == Event::Started);
    let begins =
        |attempt: u32| lines.iter().any(|line| line.attempt == attempt && line.event == Event::Started);
    match run.state.as_str() {
        "succeeded" if !began => {
            disagrees("it succeeded, but no handler was started");
        }
        "succeeded" if !parallel && !ended(run.attempt, Event::Succeeded) => {
            disagrees("it succeeded, but its handler did not");
        }
        "skipped" if began && run.reason != "handler_skipped" => {
            disagrees("it was skipped, but its handler was started");
        }
        "missed" if began && run.reason != "worker_lost" => {
            disagrees("it was missed, but its handler was started");
        }
        // An attempt before it may start late: its worker was taken for lost, and lived on.
        "cancelled" if run.started_ms.is_none() && begins(run.attempt) => {
            disagrees("it was cancelled before its start, but its handler was started");
        }
        _ => {}
    }
    if run.state != "succeeded" && ended(run.attempt, Event::Succeeded) && !presumed(&run.reason) {
        disagrees("its handler succeeded, but it did not");
    }
    for past in &run.past {
        if ended(past.number, Event::Succeeded) && !presumed(&past.reason) {
            disagrees("it was tried again after a success");
        }
    }
}
