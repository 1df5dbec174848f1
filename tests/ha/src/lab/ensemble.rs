//! ZooKeeper, three nodes, each in its own network.

use std::path::PathBuf;
use std::process::Command;

use super::fate::{Disk, Fate, Thread};
use super::network::{Network, run};
use crate::binaries;
use crate::folder::Folder;

/// The names of its nodes in the network.
pub const NODES: [&str; 3] = ["zookeeper-1", "zookeeper-2", "zookeeper-3"];

/// The file system of each node in MiB: logs and snapshots of many trials.
const DISK_MB: &str = "192";

/// The running ensemble.
#[derive(Debug)]
pub struct Ensemble {
    dir: PathBuf,
    connect: String,
    thread: Thread,
}

impl Ensemble {
    /// Starts three nodes.
    pub(super) fn start(folder: &Folder, network: &Network, fate: &Fate) -> Result<Self, String> {
        let dir = folder.join("zookeeper");
        let hosts = NODES.map(|node| network.address(node).to_string()).join(" ");
        let thread = fate.thread(folder.join("zookeeper.fate"));
        let mut command = script(&thread);
        command
            .env("ZOOKEEPER_HOSTS", hosts)
            .env("ZOOKEEPER_DISK_MB", DISK_MB)
            .env("ZOOKEEPER_PORTS", "2181 2888 3888 2181 2888 3888 2181 2888 3888")
            .env("ZOOKEEPER_NETNS", NODES.join(" "))
            .arg("start")
            .arg(&dir);
        folder.at_end(&format!("'{}' stop '{}'", script_path().display(), dir.display()));
        let connect = run(command)?;
        Ok(Self { dir, connect, thread })
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

    /// kill -9, if it runs; errors say that it does not.
    pub fn try_kill(&self, number: usize) -> Result<(), String> {
        self.try_ask("kill", Some(number)).map(drop)
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

    /// The disk of a node, which can be filled.
    pub fn disk(&self, number: usize) -> Disk {
        Disk::at(self.dir.join(format!("node-{number}")))
    }

    /// How slow the disks of all nodes are.
    pub fn fate(&self) -> &Thread {
        &self.thread
    }

    /// How many changes there have been since the leader was elected: the lower half of its newest transaction's number.
    pub fn changes(&self) -> Result<u64, String> {
        let leader = self.leader().to_string();
        let mut command = script(&self.thread);
        command.arg("ask").arg(&self.dir).arg(leader).arg("srvr");
        let text = crate::wait::blocking(|| run(command))?;
        let number = text.lines().find_map(|line| line.strip_prefix("Zxid: 0x"));
        let number = number.and_then(|number| u64::from_str_radix(number.trim(), 16).ok());
        number.map(|number| number & 0xffff_ffff).ok_or_else(|| format!("it tells no number: {text:?}"))
    }

    /// Has all nodes run, whatever was done to them.
    pub(super) fn restore(&self) {
        self.thread.delay_flushes(std::time::Duration::ZERO);
        (1..=NODES.len()).for_each(|number| self.disk(number).free());
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
        let mut command = script(&self.thread);
        command.env("ZOOKEEPER_NETNS", NODES.join(" ")).arg(word).arg(&self.dir);
        command.args(number.map(|number| number.to_string()));
        crate::wait::blocking(|| run(command))
    }
}

fn script_path() -> PathBuf {
    binaries::services().join("zookeeper.sh")
}

fn script(thread: &Thread) -> Command {
    let mut command = Command::new(script_path());
    // A node that does not wait for its disk could not be slowed by it.
    command.env("ZOOKEEPER_FORCE_SYNC", "yes");
    thread.hold(&mut command);
    command
}
