//! What handlers wrote themselves: the truth that everything else is checked against.
//!
//! A worker appends one line for each start and each end of a handler, with one `write` to a file opened for appending. Such a line is whole or
//! not there, and outlives a `kill -9` of its worker, because the system has it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The variable that names the file a worker appends to.
pub const VARIABLE: &str = "CARILLON_LEDGER";

/// One thing that happened in a handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What happened.
    pub event: Event,
    /// The handler's level.
    pub phase: Phase,
    /// The run's id.
    pub run: String,
    /// The job's number.
    pub job: u32,
    /// The run's attempt; for `process` that of the split.
    pub attempt: u32,
    /// For `process`: which subtask, and which try of it.
    pub subtask: Option<(u64, u32)>,
    /// The run's nominal time, in milliseconds since 1970.
    pub fire_time_ms: i64,
    /// The name of the worker.
    pub worker: String,
    /// Its process.
    pub pid: u32,
    /// The run's trace id.
    pub trace: String,
    /// The field `mark` of the run's params, by which a test knows versions of a job apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<u64>,
    /// When, by the machine's clock, in microseconds since 1970.
    pub at_us: i64,
}

/// A worker was told ahead of time that it is to start a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Armed {
    /// The run's id.
    pub run: String,
    /// The attempt.
    pub attempt: u64,
    /// The number of the plan.
    pub plan_no: u64,
    /// When it is to start, in microseconds since 1970.
    pub due_us: i64,
    /// When the worker was told, by the machine's clock, in microseconds since 1970.
    pub at_us: i64,
    /// Which worker; known by where it was found.
    #[serde(default)]
    pub worker: String,
}

/// What happened in a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Its first statement.
    Started,
    /// Its last statement, on the way to success.
    Succeeded,
    /// Its last statement, on the way to a failure.
    Failed,
}

/// Which handler of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The only one of a simple job.
    Run,
    /// Level 1.
    Split,
    /// Level 2.
    Process,
    /// The last step.
    Reduce,
}

/// The writing end, in a worker.
#[derive(Debug)]
pub struct Ledger {
    file: File,
}

impl Ledger {
    /// Opens the file for appending.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self { file: OpenOptions::new().append(true).create(true).open(path)? })
    }

    /// Appends one line. A worker that cannot keep its ledger is of no use to a test, so it ends.
    pub fn write<T: Serialize>(&self, line: &T) {
        let mut text = serde_json::to_vec(line).expect("a line is plain data");
        text.push(b'\n');
        let written = (&self.file).write(&text).expect("the ledger can be written");
        assert_eq!(written, text.len(), "a line of the ledger was cut");
    }
}

/// The variable that says by how many milliseconds the time of day of a whole installation, and of the harness, is off, for a trial of another day.
pub const WORLD: &str = "TEST_WORLD_MS";

/// By how many milliseconds this world is off; 0 nearly always.
pub fn world_ms() -> i64 {
    static WORLD_MS: LazyLock<i64> =
        LazyLock::new(|| std::env::var(WORLD).ok().and_then(|text| text.parse().ok()).unwrap_or(0));
    *WORLD_MS
}

/// Now, as lines tell it: the kernel is asked itself, since the system's library may be made to tell this process a wrong time.
pub fn now_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000 + world_ms() * 1_000
}

/// The reading end, in a test: the lines of several workers.
#[derive(Debug, Clone, Default)]
pub struct Ledgers {
    files: Vec<PathBuf>,
}

impl Ledgers {
    /// Those of these files; files need not exist yet.
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { files: files.into_iter().collect() }
    }

    /// Every line so far, in the order of their times.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = self.files.iter().flat_map(|file| read(file)).collect();
        lines.sort_by_key(|line| line.at_us);
        lines
    }

    /// The lines of one run.
    pub fn of_run(&self, run: &str) -> Vec<Line> {
        self.lines().into_iter().filter(|line| line.run == run).collect()
    }

    /// The lines of a job.
    pub fn of_job(&self, job: u32) -> Vec<Line> {
        self.lines().into_iter().filter(|line| line.job == job).collect()
    }
}

/// The lines of one file. The last one may still be on its way.
pub fn read<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8(bytes).expect("a ledger is JSON");
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let ledger = Ledger::open(&path).unwrap();
        let line = Line {
            event: Event::Started,
            phase: Phase::Process,
            run: "1kag90gg00000001".to_owned(),
            job: 1,
            attempt: 2,
            subtask: Some((7, 3)),
            fire_time_ms: 1_763_630_400_000,
            worker: "one".to_owned(),
            pid: 4711,
            trace: String::new(),
            mark: None,
            at_us: now_us(),
        };
        ledger.write(&line);
        ledger.write(&Line { event: Event::Failed, ..line.clone() });
        (&ledger.file).write_all(b"{\"event\":").unwrap();
        assert_eq!(read::<Line>(&path), [line.clone(), Line { event: Event::Failed, ..line }]);
    }
}
