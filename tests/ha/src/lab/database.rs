//! MariaDB, in its own network: a primary and, where a case wants one, a replica that follows it asynchronously.
//!
//! Clients know one address, which moves to the replica when that is promoted.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::fate::{Disk, Fate, Thread};
use super::network::{FLOATING, Network, run};
use crate::binaries;
use crate::folder::Folder;

/// Its name in the network.
pub const NODE: &str = FLOATING.0;

/// The nodes that may carry it: the primary and, in turns, its replica.
const CARRIERS: [&str; 2] = ["database-1", "database-2"];

/// The data's file system in MiB: redo log, tables and binary logs of many trials.
const DISK_MB: &str = "768";

/// The running server.
#[derive(Debug)]
pub struct Database {
    dirs: [PathBuf; 2],
    url: String,
    thread: Thread,
    /// Which carrier has the service.
    primary: AtomicUsize,
}

impl Database {
    /// Starts it on an empty data folder.
    pub(super) fn start(folder: &Folder, network: &Network, fate: &Fate) -> Result<Self, String> {
        let dirs = CARRIERS.map(|node| folder.join(node));
        for dir in &dirs {
            let (script, dir) = (script_path(), dir.display());
            folder.at_end(&format!("[ ! -e '{dir}' ] || '{}' stop '{dir}'", script.display()));
        }
        let thread = fate.thread(folder.join("database.fate"));
        let mut database = Self { dirs, url: String::new(), thread, primary: AtomicUsize::new(0) };
        network.float_to(CARRIERS[0])?;
        let url = database.launch(0)?;
        database.url = url.replace("0.0.0.0", &network.address(NODE).to_string());
        Ok(database)
    }

    fn launch(&self, carrier: usize) -> Result<String, String> {
        let mut command = self.script(carrier, "start");
        command.arg("3306");
        run(command)
    }

    /// Makes an empty database and returns its URL.
    pub fn create(&self, word: &str) -> Result<String, String> {
        let name = name_of(word);
        self.sql(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"))?;
        let (server, _) = self.url.rsplit_once('/').ok_or("the URL names no database")?;
        Ok(format!("{server}/{name}"))
    }

    /// Removes one that [`Self::create`] made.
    pub(super) fn remove(&self, word: &str) {
        // A server that is gone takes its databases with it.
        let _ = self.sql(&format!("DROP DATABASE IF EXISTS {}", name_of(word)));
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

    /// Starts it again if it has ended by itself.
    pub fn start_if_ended(&self) {
        let revive = self.script(self.primary(), "revive");
        // One that runs is left alone.
        let _ = crate::wait::blocking(|| run(revive));
    }

    /// Its disk, which can be filled.
    pub fn disk(&self) -> Disk {
        Disk::at(self.dirs[self.primary()].join("data"))
    }

    /// How slow its disk is.
    pub fn fate(&self) -> &Thread {
        &self.thread
    }

    /// The nodes of the primary and of the replica, which is to be cut from it.
    pub fn pair(&self) -> (&'static str, &'static str) {
        (CARRIERS[self.primary()], CARRIERS[1 - self.primary()])
    }

    /// Starts a replica at the other node, which copies what there is and follows asynchronously.
    pub fn replicate(&self, network: &Network) -> Result<(), String> {
        let (primary, replica) = (self.primary(), 1 - self.primary());
        crate::wait::blocking(|| {
            if self.dirs[replica].exists() {
                run(self.script(replica, "stop"))?;
            }
            self.launch(replica)?;
            let mut follow = self.script(replica, "follow");
            follow.arg(&self.dirs[primary]).arg(network.address(CARRIERS[primary]).to_string());
            run(follow).map(drop)
        })
    }

    /// Has the replica, which has what it was sent, take the place of the primary, which must not run: it takes writes, and the service's
    /// address moves to it.
    pub fn fail_over(&self, network: &Network) -> Result<(), String> {
        let replica = 1 - self.primary();
        crate::wait::blocking(|| run(self.script(replica, "promote")))?;
        network.float_to(CARRIERS[replica])?;
        self.primary.store(replica, Ordering::Relaxed);
        Ok(())
    }

    /// Runs a statement as the administrator and returns what it printed.
    pub fn sql(&self, statement: &str) -> Result<String, String> {
        let mut command = self.script(self.primary(), "sql");
        command.args(["--execute", statement]);
        crate::wait::blocking(|| run(command))
    }

    /// One of its counters, by `SHOW GLOBAL STATUS`.
    pub fn counter(&self, name: &str) -> Result<f64, String> {
        let line = self.sql(&format!("SHOW GLOBAL STATUS LIKE '{name}'"))?;
        let value = line.split_whitespace().nth(1).and_then(|value| value.parse().ok());
        value.ok_or_else(|| format!("there is no counter {name}: {line:?}"))
    }

    /// Starts a statement that holds on (a lock, a sleep), as a process of its own.
    pub fn hold(&self, folder: &Folder, name: &str, statement: &str) -> crate::process::Process {
        let mut command = self.script(self.primary(), "sql");
        command.args(["--execute", statement]);
        crate::process::Process::spawn(folder, name, command)
    }

    /// Has it run, whatever was done to it.
    pub(super) fn restore(&self) {
        self.thread.delay_flushes(Duration::ZERO);
        self.disk().free();
        for word in ["cont", "revive"] {
            let command = self.script(self.primary(), word);
            // One that runs takes no harm, and one that does not cannot be woken.
            let _ = crate::wait::blocking(|| run(command));
        }
        self.wait();
    }

    fn primary(&self) -> usize {
        self.primary.load(Ordering::Relaxed)
    }

    fn ask(&self, word: &str) {
        let command = self.script(self.primary(), word);
        crate::wait::blocking(|| run(command)).unwrap_or_else(|error| panic!("{error}"));
    }

    fn script(&self, carrier: usize, word: &str) -> Command {
        // As a primary with a replica is set up: it keeps a log of its changes and waits for the disk at each commit.
        let options = format!(
            "--server-id={} --log-bin=binlog --binlog-format=ROW --sync-binlog=1 --log-slave-updates --max-binlog-size=32M \
             --binlog-expire-logs-seconds=300",
            carrier + 1
        );
        let mut command = Command::new(script_path());
        command
            .env("MARIADB_HOST", "0.0.0.0")
            .env("MARIADB_NETNS", CARRIERS[carrier])
            .env("MARIADB_DISK_MB", DISK_MB)
            .env("MARIADB_OPTIONS", options)
            .arg(word)
            .arg(&self.dirs[carrier]);
        self.thread.hold(&mut command);
        command
    }
}

fn name_of(word: &str) -> String {
    format!("ha_{}", word.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_"))
}

fn script_path() -> PathBuf {
    binaries::services().join("mariadb.sh")
}
