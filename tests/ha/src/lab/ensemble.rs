//! ZooKeeper, three nodes, each in its own network.

use std::path::PathBuf;
use std::process::Command;

use super::network::{Network, run};
use crate::binaries;
use crate::folder::Folder;

/// The names of its nodes in the network.
pub const NODES: [&str; 3] = ["zookeeper-1", "zookeeper-2", "zookeeper-3"];

/// The running ensemble.
#[derive(Debug)]
pub struct Ensemble {
    dir: PathBuf,
    connect: String,
}

impl Ensemble {
    /// Starts three nodes.
    pub(super) fn start(folder: &Folder, network: &Network) -> Result<Self, String> {
        let dir = folder.join("zookeeper");
        let hosts = NODES.map(|node| network.address(node).to_string()).join(" ");
        let mut command = script();
        command
            .env("ZOOKEEPER_HOSTS", hosts)
            .env("ZOOKEEPER_PORTS", "2181 2888 3888 2181 2888 3888 2181 2888 3888")
            .env("ZOOKEEPER_NETNS", NODES.join(" "))
            .arg("start")
            .arg(&dir);
        folder.at_end(&format!("'{}' stop '{}'", script_path().display(), dir.display()));
        let connect = run(command)?;
        Ok(Self { dir, connect })
    }

    /// `host:port,...` of all nodes.
    pub fn connect_string(&self) -> String {
        self.connect.clone()
    }

    /// The number of the node that leads, from 1.
    pub fn leader(&self) -> usize {
        self.ask("leader", None).parse().expect("the script prints a number")
    }

    /// kill -9.
    pub fn kill(&self, number: usize) {
        self.ask("kill", Some(number));
    }

    /// Starts a killed node again, without waiting for it.
    pub fn revive(&self, number: usize) {
        self.ask("revive", Some(number));
    }

    /// SIGSTOP.
    pub fn pause(&self, number: usize) {
        self.ask("pause", Some(number));
    }

    /// SIGCONT.
    pub fn resume(&self, number: usize) {
        self.ask("cont", Some(number));
    }

    /// Removes all data, while all nodes are killed.
    pub fn wipe(&self) {
        self.ask("wipe", None);
    }

    /// Waits until every node serves.
    pub fn wait(&self) {
        self.ask("wait", None);
    }

    /// Has all nodes run, whatever was done to them.
    pub(super) fn restore(&self) {
        for number in 1..=NODES.len() {
            // Those that run take no harm, and those that do not cannot be woken.
            let _ = self.try_ask("cont", Some(number));
            let _ = self.try_ask("revive", Some(number));
        }
        self.wait();
    }

    fn ask(&self, word: &str, number: Option<usize>) -> String {
        self.try_ask(word, number).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_ask(&self, word: &str, number: Option<usize>) -> Result<String, String> {
        let mut command = script();
        command.env("ZOOKEEPER_NETNS", NODES.join(" ")).arg(word).arg(&self.dir);
        command.args(number.map(|number| number.to_string()));
        crate::wait::blocking(|| run(command))
    }
}

fn script_path() -> PathBuf {
    binaries::services().join("zookeeper.sh")
}

fn script() -> Command {
    Command::new(script_path())
}
