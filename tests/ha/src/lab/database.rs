//! MariaDB, in its own network.

use std::path::PathBuf;
use std::process::Command;

use super::network::{Network, run};
use crate::binaries;
use crate::folder::Folder;

/// Its name in the network.
pub const NODE: &str = "database";

/// The running server.
#[derive(Debug)]
pub struct Database {
    dir: PathBuf,
    host: String,
    url: String,
}

impl Database {
    /// Starts it on an empty data folder.
    pub(super) fn start(folder: &Folder, network: &Network) -> Result<Self, String> {
        let (dir, host) = (folder.join("mariadb"), network.address(NODE).to_string());
        folder.at_end(&format!("'{}' stop '{}'", script_path().display(), dir.display()));
        let mut database = Self { dir, host, url: String::new() };
        let mut command = database.script("start");
        command.arg("3306");
        database.url = run(command)?;
        Ok(database)
    }

    /// Makes an empty database and returns its URL.
    pub fn create(&self, word: &str) -> Result<String, String> {
        let name = format!("ha_{}", word.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_"));
        self.sql(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"))?;
        let (server, _) = self.url.rsplit_once('/').ok_or("the URL names no database")?;
        Ok(format!("{server}/{name}"))
    }

    /// kill -9.
    pub fn kill(&self) {
        self.ask("kill");
    }

    /// Starts it again on its data, without waiting for it.
    pub fn revive(&self) {
        self.ask("revive");
    }

    /// SIGSTOP.
    pub fn pause(&self) {
        self.ask("pause");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.ask("cont");
    }

    /// Waits until it serves.
    pub fn wait(&self) {
        self.ask("wait");
    }

    /// Runs a statement as the administrator and returns what it printed.
    pub fn sql(&self, statement: &str) -> Result<String, String> {
        let mut command = self.script("sql");
        command.args(["--execute", statement]);
        crate::wait::blocking(|| run(command))
    }

    /// Starts a statement that holds on (a lock, a sleep), as a process of its own.
    pub fn hold(&self, folder: &Folder, name: &str, statement: &str) -> crate::process::Process {
        let mut command = self.script("sql");
        command.args(["--execute", statement]);
        crate::process::Process::spawn(folder, name, command)
    }

    /// Has it run, whatever was done to it.
    pub(super) fn restore(&self) {
        for word in ["cont", "revive"] {
            let command = self.script(word);
            // One that runs takes no harm, and one that does not cannot be woken.
            let _ = crate::wait::blocking(|| run(command));
        }
        self.wait();
    }

    fn ask(&self, word: &str) {
        let command = self.script(word);
        crate::wait::blocking(|| run(command)).unwrap_or_else(|error| panic!("{error}"));
    }

    fn script(&self, word: &str) -> Command {
        let mut command = Command::new(script_path());
        command.env("MARIADB_HOST", &self.host).env("MARIADB_NETNS", NODE).arg(word).arg(&self.dir);
        command
    }
}

fn script_path() -> PathBuf {
    binaries::services().join("mariadb.sh")
}
