//! Servers, consoles, nginx and workers: places where a process runs, or does not.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::fate::{Disk, Fate, Thread};
use super::network::{Network, run};
use crate::binaries;
use crate::folder::Folder;
use crate::ledger;
use crate::nginx;
use crate::process::{Process, Signal, without_own_variables};
use crate::wait;

/// What all processes of an installation are told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The store's URL.
    pub store: String,
    /// The ensemble.
    pub zookeeper: String,
    /// The root on it.
    pub root: String,
}

/// What the servers and consoles of an installation know each other by.
const SECRET: &str = "the bells of this test alone know it";

const SERVER_PORT: u16 = 7710;
const CONSOLE_PORT: u16 = 7700;

#[derive(Debug, Clone)]
enum Kind {
    Server { room: String },
    Console,
    Nginx,
    Worker { console: String, group: String, token: String },
}

/// A place with a name, an address and, most of the time, a process.
#[derive(Debug)]
pub struct Member {
    /// The same as its node's in the network; a server's is its id.
    pub name: String,
    /// Where it listens; a worker listens nowhere.
    pub address: SocketAddr,
    kind: Kind,
    /// Of servers and workers.
    disk: Option<Disk>,
    /// Of workers.
    thread: Option<Thread>,
    process: Mutex<Option<Process>>,
}

/// The disk of a server or worker in MiB: the logs of many trials.
const DISK_MB: u32 = 64;

impl Member {
    pub(super) fn server(folder: &Folder, network: &Network, settings: &Settings, number: usize) -> Self {
        let kind = Kind::Server { room: format!("room-{number}") };
        let mut member = Self::new(network, format!("server-{number}"), SERVER_PORT, kind);
        member.disk = Some(member.own_disk(folder));
        member.start(folder, network, settings, &[]);
        member
    }

    pub(super) fn console(folder: &Folder, network: &Network, settings: &Settings, number: usize) -> Self {
        let member = Self::new(network, format!("console-{number}"), CONSOLE_PORT, Kind::Console);
        member.start(folder, network, settings, &[]);
        member
    }

    pub(super) fn nginx(folder: &Folder, network: &Network, consoles: &[Self]) -> Self {
        let member = Self::new(network, "nginx".to_owned(), CONSOLE_PORT, Kind::Nginx);
        member.configure_nginx(folder, consoles);
        *member.process() = Some(Process::spawn(folder, "nginx", member.nginx_command(folder, network, &[])));
        member
    }

    pub(super) fn worker(
        folder: &Folder,
        network: &Network,
        fate: &Fate,
        name: &str,
        console: &str,
        group: &str,
        token: &str,
    ) -> Self {
        let kind = Kind::Worker { console: console.into(), group: group.into(), token: token.into() };
        let mut member = Self::new(network, name.to_owned(), 0, kind);
        member.disk = Some(member.own_disk(folder));
        member.thread = Some(fate.thread(folder.join(format!("{name}.fate"))));
        *member.process() = Some(member.spawn_worker(folder, network));
        member
    }

    pub(super) fn impostor(
        folder: &Folder,
        network: &Network,
        settings: &Settings,
        of: &Self,
        at: &Self,
    ) -> Process {
        let mut command = settings.command(network, &at.name, "server");
        let address = SocketAddr::from((at.address.ip(), SERVER_PORT + 1)).to_string();
        command.args(["--id", &of.name, "--room", "room-of-the-other", "--listen", &address]);
        Process::spawn(folder, "impostor", command)
    }

    fn new(network: &Network, name: String, port: u16, kind: Kind) -> Self {
        let address = SocketAddr::from((network.address(&name), port));
        Self { name, address, kind, disk: None, thread: None, process: Mutex::default() }
    }

    fn own_disk(&self, folder: &Folder) -> Disk {
        Disk::mount(folder, &format!("disk-{}", self.name), DISK_MB).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The disk on which a server's or worker's own folder and logs are. Panics for others, which write nothing.
    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("a server or worker has a disk of its own")
    }

    /// What can be done to a worker's clocks. Panics for others: a server's clock is [`Self::shift_clock`].
    pub fn fate(&self) -> &Thread {
        self.thread.as_ref().expect("a worker hangs on a thread")
    }

    /// Starts a process of a server or worker, whose folder and logs are on its disk.
    fn spawn(&self, folder: &Folder, mut command: Command) -> Process {
        let own = self.disk().path();
        command.current_dir(own);
        Process::spawn_in(folder, own, &self.name, command)
    }

    /// Starts the process again if it does not run, at the old address, with the old name.
    pub(super) fn start(&self, folder: &Folder, network: &Network, settings: &Settings, consoles: &[Self]) {
        if self.runs() {
            return;
        }
        let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, self.address.port())).to_string();
        let process = match &self.kind {
            Kind::Server { room } => {
                let mut command = settings.command(network, &self.name, "server");
                command.args(["--id", &self.name, "--room", room, "--listen", &listen]);
                command.env("CARILLON_SERVER_ADVERTISE", self.address.to_string());
                command.env(CLOCK_VARIABLE, self.clock_file(folder));
                self.spawn(folder, command)
            }
            Kind::Console => {
                let mut command = settings.command(network, &self.name, "console");
                command.args(["--listen", &listen]);
                Process::spawn(folder, &self.name, command)
            }
            Kind::Nginx => {
                self.configure_nginx(folder, consoles);
                Process::spawn(folder, &self.name, self.nginx_command(folder, network, &[]))
            }
            Kind::Worker { .. } => self.spawn_worker(folder, network),
        };
        *self.process() = Some(process);
    }

    /// Whether its process runs (or stands still).
    pub fn runs(&self) -> bool {
        self.process().as_mut().is_some_and(|process| process.has_ended().is_none())
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process().as_mut().and_then(|process| process.has_ended().is_none().then(|| process.id()))
    }

    /// Sends a signal, if it runs.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = self.process().as_ref() {
            process.signal(signal);
        }
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(&self) {
        self.process().take();
    }

    /// Asks it to end and waits for that, at most so long; then kills it. Says whether it ended by itself.
    pub async fn terminate(&self, patience: Duration) -> bool {
        self.signal(Signal::Term);
        let deadline = std::time::Instant::now() + patience;
        while self.runs() && std::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let gently = !self.runs();
        self.kill();
        gently
    }

    /// Everything it wrote to its log so far.
    pub fn log(&self) -> String {
        self.process().as_ref().map(Process::log).unwrap_or_default()
    }

    /// Sets the clock that this server sees ahead by so many milliseconds (behind, if negative), from its next look at the file on.
    pub fn shift_clock(&self, folder: &Folder, millis: i64) {
        let (file, new) = (self.clock_file(folder), folder.join(format!("{}.clock.new", self.name)));
        fs::write(&new, millis.to_string())
            .and_then(|()| fs::rename(&new, file))
            .expect("the folder can be written");
    }

    /// Has nginx read a configuration with these consoles only.
    pub fn reload_nginx(&self, folder: &Folder, network: &Network, consoles: &[&Self]) {
        self.write_nginx(folder, &consoles.iter().map(|console| console.address).collect::<Vec<_>>());
        let reload = self.nginx_command(folder, network, &["-s", "reload"]);
        wait::blocking(|| run(reload)).unwrap_or_else(|error| panic!("nginx does not reload: {error}"));
    }

    fn clock_file(&self, folder: &Folder) -> PathBuf {
        folder.join(format!("{}.clock", self.name))
    }

    fn spawn_worker(&self, folder: &Folder, network: &Network) -> Process {
        let Kind::Worker { console, group, token } = &self.kind else {
            unreachable!("only workers are spawned here")
        };
        let mut command = network.command(&self.name, binaries::find("ledger_worker"));
        command
            .env("CARILLON_CONSOLES", console)
            .env("CARILLON_GROUP", group)
            .env("CARILLON_TOKEN", token)
            .env("CARILLON_WORKER_NAME", &self.name)
            .env(ledger::VARIABLE, folder.join(format!("{}.ledger", self.name)))
            .env("RUST_LOG", "info");
        self.fate().hold(&mut command);
        if let Some(bug) = std::env::var_os(BUG_VARIABLE) {
            command.env(BUG_VARIABLE, bug);
        }
        self.spawn(folder, command)
    }

    fn configure_nginx(&self, folder: &Folder, consoles: &[Self]) {
        self.write_nginx(folder, &consoles.iter().map(|console| console.address).collect::<Vec<_>>());
    }

    fn write_nginx(&self, folder: &Folder, consoles: &[SocketAddr]) {
        let prefix = folder.join("nginx");
        fs::create_dir_all(&prefix)
            .and_then(|()| fs::write(prefix.join("nginx.conf"), nginx::config(self.address, consoles)))
            .expect("the folder can be written");
    }

    fn nginx_command(&self, folder: &Folder, network: &Network, more: &[&str]) -> Command {
        let prefix = folder.join("nginx");
        let mut command = network.command(&self.name, nginx::program());
        command.arg("-p").arg(&prefix).arg("-c").arg(prefix.join("nginx.conf")).args([
            "-e",
            "stderr",
            "-g",
            "daemon off;",
        ]);
        command.args(more);
        command
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The variable that names a file with an offset in milliseconds, which a server adds to its clock.
const CLOCK_VARIABLE: &str = "CARILLON_TEST_CLOCK_OFFSET_FILE";

/// The variable that chooses a bug of a program that is built with bugs on purpose.
const BUG_VARIABLE: &str = "CARILLON_TEST_BUG";

impl Settings {
    fn command(&self, network: &Network, node: &str, word: &str) -> Command {
        let mut command = network.command(node, binaries::find("carillon"));
        self.tell(command.arg(word));
        command
    }

    fn tell(&self, command: &mut Command) {
        command
            .env("CARILLON_STORE_URL", &self.store)
            .env("CARILLON_LOGS_LEVEL", level())
            .env("CARILLON_CLUSTER_SECRET", SECRET)
            .env("CARILLON_ZOOKEEPER_CONNECT", &self.zookeeper)
            .env("CARILLON_ZOOKEEPER_ROOT", &self.root);
        if let Some(bug) = std::env::var_os(BUG_VARIABLE) {
            command.env(BUG_VARIABLE, bug);
        }
    }

    /// Runs a command of the binary to its end and returns what it printed.
    pub(super) fn run(&self, folder: &Folder, word: &str) -> Result<String, String> {
        let mut command = Command::new(binaries::find("carillon"));
        self.tell(command.arg(word).current_dir(folder.path()));
        without_own_variables(&mut command);
        wait::blocking(|| run(command))
    }
}

/// How much servers and consoles log: `CARILLON_TEST_LOGS_LEVEL`, for somebody who looks for a cause.
fn level() -> String {
    std::env::var("CARILLON_TEST_LOGS_LEVEL").unwrap_or_else(|_| "info".into())
}
