//! One process under test: its logs go to files, signals reach its whole group, and it never outlives its owner.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::folder::Folder;
use crate::wait;

/// What fate sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Please end.
    Term,
    /// End, at once, without a word.
    Kill,
    /// Stand still: connections stay open, nothing answers.
    Stop,
    /// Go on after [`Signal::Stop`].
    Cont,
    /// Ctrl-C.
    Int,
}

impl Signal {
    fn word(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
            Self::Int => "INT",
        }
    }
}

/// A running process, leader of a group of its own. Dropping it kills the group.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    entry: PathBuf,
    out: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts a command; its stdout goes to `<name>.out` and its stderr to `<name>.log` in the folder, behind what is there already. It
    /// sees none of the test's own `CARILLON_` variables but those that the command sets.
    pub fn spawn(folder: &Folder, name: &str, command: Command) -> Self {
        Self::spawn_in(folder, folder.path(), name, command)
    }

    /// As [`Self::spawn`], with the two files elsewhere.
    pub fn spawn_in(folder: &Folder, files: &Path, name: &str, mut command: Command) -> Self {
        let (out, log) = (files.join(format!("{name}.out")), files.join(format!("{name}.log")));
        let append = |path: &Path| {
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .expect("the folder of a test can be written")
        };
        without_own_variables(&mut command);
        command.env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(append(&out)).stderr(append(&log)).process_group(0);
        let child =
            command.spawn().unwrap_or_else(|error| panic!("{name}: cannot start {command:?}: {error}"));
        let entry = folder.enter(child.id());
        Self { name: name.to_owned(), child, entry, out, log }
    }

    /// What the test calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to its whole group.
    pub fn signal(&self, signal: Signal) {
        let kill = format!("kill -s {} -- -{}", signal.word(), self.child.id());
        // Failing to signal what has just ended is no failure.
        let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(&mut self) {
        if self.has_ended().is_none() {
            self.signal(Signal::Kill);
        }
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.entry);
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Sends SIGTERM and waits for its end. Panics if it does not end in time.
    pub async fn terminate(&mut self, patience: Duration) -> ExitStatus {
        self.signal(Signal::Term);
        self.ends(patience).await
    }

    /// Waits for its end. Panics if it does not end in time.
    pub async fn ends(&mut self, patience: Duration) -> ExitStatus {
        let what = format!("{} has ended", self.name);
        let child = &mut self.child;
        let mut status = None;
        wait::until_so(&what, patience, || {
            status = child.try_wait().expect("a child can be waited for");
            status.is_some()
        })
        .await;
        let _ = fs::remove_file(&self.entry);
        status.expect("it was waited for")
    }

    /// Everything it wrote to stdout.
    pub fn out(&self) -> String {
        read(&self.out)
    }

    /// Everything it wrote to stderr.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Everything it said: stdout, then stderr.
    pub fn said(&self) -> String {
        self.out() + &self.log()
    }

    /// Its resident memory in MiB.
    pub fn resident_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0.0);
        kib / 1024.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Removes the test's own variables from a command's environment, but not what the command itself sets.
pub(crate) fn without_own_variables(command: &mut Command) {
    let set: Vec<_> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARILLON_") && !set.contains(&name) {
            command.env_remove(name);
        }
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
