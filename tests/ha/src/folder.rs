//! A folder per installation under test: logs, data, ledgers. It is kept when a test fails, and whatever still runs from it is ended with it,
//! even when the test's process is killed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// The end of a log that a failure shows: enough to see what happened, little enough to read.
const TAIL_LINES: usize = 25;

/// The name of the file whose presence keeps the folder.
const KEEP: &str = "keep";

/// Waits for the end of its stdin, which comes with the end of the test's process however that ends; then kills every process group that is
/// left, runs what is to be run at the end, and removes the folder unless it is to be kept.
const REAPER: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
for group in "$1"/groups/*; do
    [ -e "$group" ] && kill -s KILL -- "-${group##*/}" 2>/dev/null
done
[ -e "$1/at-end" ] && (cd "$1" && sh ./at-end >/dev/null 2>&1)
[ -e "$1/keep" ] || rm -rf -- "$1"
"#;

/// The folder. Dropping it ends what runs from it and removes it, unless the test has failed.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    reaper: Mutex<Child>,
}

impl Folder {
    /// A new folder, with `name` in its path.
    pub fn new(name: &str) -> Self {
        let path = tempfile::Builder::new()
            .prefix(&format!("carillon-{name}-"))
            .tempdir()
            .expect("the system's folder for temporary files can be written")
            .keep();
        fs::create_dir(path.join("groups")).expect("a new folder can be written");
        let mut command = Command::new("sh");
        command.args(["-c", REAPER, "reaper"]).arg(&path);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let reaper = Mutex::new(command.spawn().expect("a shell can be started"));
        Self { path, reaper }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path inside it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Runs a shell command in the folder when that ends, for services that are no children of the test.
    pub fn at_end(&self, command: &str) {
        let file = fs::OpenOptions::new().append(true).create(true).open(self.path.join("at-end"));
        let mut file = file.expect("the folder can be written");
        writeln!(file, "{command}").expect("the folder can be written");
    }

    /// Notes a process group that must not outlive the folder.
    pub(crate) fn enter(&self, group: u32) -> PathBuf {
        let path = self.path.join("groups").join(group.to_string());
        fs::write(&path, "").expect("the folder can be written");
        path
    }

    /// Keeps the folder and prints the end of every log in it: for a test that has failed.
    pub fn report_failure(&self) {
        if self.path.join(KEEP).exists() {
            return;
        }
        fs::write(self.path.join(KEEP), "").expect("the folder can be written");
        say(&format!("\nthe test has failed; its files are kept in {}", self.path.display()));
        for log in self.logs() {
            let text =
                fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            if lines.is_empty() {
                continue;
            }
            let shown = &lines[lines.len().saturating_sub(TAIL_LINES)..];
            let name = log.file_name().unwrap_or_default().to_string_lossy();
            say(&format!("--- {name} (last {} of {} lines)\n{}", shown.len(), lines.len(), shown.join("\n")));
        }
    }

    fn logs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_log =
            |path: &PathBuf| path.extension().is_some_and(|ending| ending == "log" || ending == "out");
        let mut logs: Vec<PathBuf> = entries.filter(is_log).collect();
        logs.sort();
        logs
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.report_failure();
        }
        if let Ok(reaper) = self.reaper.get_mut() {
            drop(reaper.stdin.take());
            let _ = reaper.wait();
        }
    }
}

/// Talk of the harness goes where a test's own output goes.
#[expect(clippy::print_stderr, reason = "this is the output of a test")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::process::Process;

    #[test]
    fn a_folder_takes_its_processes_and_files_with_it() {
        let folder = Folder::new("folder");
        let path = folder.path().to_owned();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & wait"]);
        let process = Process::spawn(&folder, "sleeper", command);
        let id = process.id();
        std::mem::forget(process);
        drop(folder);
        assert!(!path.exists());
        let lives = || {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // Nobody waits for it any more, so that it may stay behind as a zombie.
            !stat.is_empty() && !stat.contains(") Z ")
        };
        let deadline = Instant::now() + Duration::from_secs(5);
        while lives() {
            assert!(Instant::now() < deadline, "the process {id} lives on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_failed_tests_folder_is_kept() {
        let folder = Folder::new("kept");
        let path = folder.path().to_owned();
        folder.report_failure();
        drop(folder);
        assert!(path.join(KEEP).exists());
        fs::remove_dir_all(path).unwrap();
    }
}
