//! A worker process whose handlers keep a ledger.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binaries;
use crate::folder::Folder;
use crate::ledger;
use crate::process::Process;
use crate::site::Group;
use crate::wait::{self, PATIENCE};

/// The program `ledger_worker` as a running worker of a group.
#[derive(Debug)]
pub struct LedgerWorker {
    /// Its process, for signals.
    pub process: Process,
    ledger: PathBuf,
}

impl LedgerWorker {
    /// Starts one. Its ledger is `<name>.ledger` in the folder; a worker started again under its old name goes on writing there.
    pub fn start(folder: &Folder, name: &str, console: &str, group: &str, token: &str) -> Self {
        let path = folder.join(format!("{name}.ledger"));
        let mut command = Command::new(binaries::find("ledger_worker"));
        command
            .env("CARILLON_CONSOLES", console)
            .env("CARILLON_GROUP", group)
            .env("CARILLON_TOKEN", token)
            .env("CARILLON_WORKER_NAME", name)
            .env(ledger::VARIABLE, &path)
            .env("RUST_LOG", "info")
            .current_dir(folder.path());
        Self { process: Process::spawn(folder, name, command), ledger: path }
    }

    /// Its name, as the console shows it.
    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// The file of its ledger.
    pub fn ledger(&self) -> &Path {
        &self.ledger
    }

    /// Waits until the console lists it as a worker of the group.
    pub async fn is_seen(&self, group: &Group<'_>) {
        let what = format!("the console sees the worker {}", self.name());
        wait::until(&what, PATIENCE, async || {
            let workers = group.site().api().items(&format!("/workers?group={}", group.id)).await;
            let names: Vec<String> =
                workers.iter().map(|worker| worker["name"].as_str().unwrap_or_default().into()).collect();
            if names.iter().any(|name| name == self.name()) { Ok(()) } else { Err(names) }
        })
        .await;
    }
}
