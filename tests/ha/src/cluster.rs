//! A cluster as in production: servers in several machine rooms and consoles behind nginx, on a real ZooKeeper ensemble and MariaDB.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::Api;
use crate::binaries;
use crate::folder::Folder;
use crate::nginx::Nginx;
use crate::ports;
use crate::process::{Process, Signal};
use crate::services::Services;
use crate::site::{Group, Site};
use crate::wait::{self, PATIENCE};

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    site: Site,
    services: Services,
    settings: Settings,
    servers: Vec<Node>,
    consoles: Vec<Node>,
    nginx: Mutex<Nginx>,
}

/// What all processes of a cluster are told.
#[derive(Debug, Clone)]
struct Settings {
    store: String,
    zookeeper: String,
    root: String,
}

/// What the servers of a test's cluster know each other by.
const SECRET: &str = "the bells of this test alone know it";

/// How large a cluster is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Each in a machine room of its own.
    pub servers: usize,
    /// All behind nginx.
    pub consoles: usize,
}

/// A server or a console: a place where a process runs, or does not.
#[derive(Debug)]
pub struct Node {
    name: String,
    room: String,
    address: SocketAddr,
    process: Mutex<Process>,
}

impl Node {
    /// Its name: a server's is its id.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// kill -9.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// Asks it to end and waits until it has.
    pub async fn terminate(&self, patience: Duration) {
        self.signal(Signal::Term);
        let what = format!("{} has ended on SIGTERM", self.name);
        wait::until_so(&what, patience, || self.process().has_ended().is_some()).await;
    }
}

impl Cluster {
    /// Starts a cluster and waits until it serves; none where the services are not there.
    pub async fn start(word: &str, size: Size) -> Option<Self> {
        let folder = Folder::new(word);
        let services = Services::find(&folder)?;
        let settings = Settings {
            store: services.database(word, &folder),
            zookeeper: services.zookeeper.clone(),
            root: services.root(word),
        };
        settings.run(&folder, "migrate");
        let token = settings.run(&folder, "admin-token");
        let servers: Vec<Node> =
            (1..=size.servers).map(|number| settings.server(&folder, number, ports::free())).collect();
        let consoles: Vec<Node> =
            (1..=size.consoles).map(|number| settings.console(&folder, number, ports::free())).collect();
        let addresses: Vec<SocketAddr> = consoles.iter().map(Node::address).collect();
        for address in &addresses {
            is_ready(&Api::new(format!("http://{address}"), "")).await;
        }
        let nginx = Nginx::start(&folder, ports::free(), &addresses);
        let nobody = Api::new(nginx.url(), "");
        is_ready(&nobody).await;
        let api = nobody.with_token(token.trim());
        let cluster =
            Self { site: Site::new(folder, api), services, settings, servers, consoles, nginx: nginx.into() };
        cluster.has_servers(size.servers).await;
        Some(cluster)
    }

    /// The servers.
    pub fn servers(&self) -> &[Node] {
        &self.servers
    }

    /// The consoles.
    pub fn consoles(&self) -> &[Node] {
        &self.consoles
    }

    /// nginx.
    pub fn nginx(&self) -> MutexGuard<'_, Nginx> {
        self.nginx.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The services it stands on.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Starts a server again that has ended, at its old address.
    pub fn revive_server(&self, index: usize) {
        let old = &self.servers[index];
        let new = self.settings.server(self.site.folder(), index + 1, old.address);
        *old.process() = new.process.into_inner().unwrap_or_else(PoisonError::into_inner);
    }

    /// Starts a console again that has ended, at its old address.
    pub fn revive_console(&self, index: usize) {
        let old = &self.consoles[index];
        let new = self.settings.console(self.site.folder(), index + 1, old.address);
        *old.process() = new.process.into_inner().unwrap_or_else(PoisonError::into_inner);
    }

    /// Waits until the console lists so many live servers.
    pub async fn has_servers(&self, count: usize) {
        wait::until(&format!("{count} servers are live"), PATIENCE, async || {
            let servers = self.site.api().items("/servers").await;
            let live = servers.iter().filter(|server| server["answers"] == true).count();
            if live == count && servers.len() == count { Ok(()) } else { Err(servers) }
        })
        .await;
    }

    /// Waits until shard 0 of a group has an owner other than `before`, and returns the owner's place among the servers.
    pub async fn owner(&self, group: &Group<'_>, before: Option<usize>) -> usize {
        wait::until(&format!("the group {} has an owner", group.id), PATIENCE, async || {
            let answer = self.site.api().get(&format!("/groups/{}/placement", group.id)).await;
            let owner = answer.body["shards"][0]["owner"].as_str().unwrap_or_default().to_owned();
            let place = self.servers.iter().position(|server| server.name == owner);
            place.filter(|place| Some(*place) != before).ok_or(answer.body)
        })
        .await
    }
}

impl AsRef<Site> for Cluster {
    fn as_ref(&self) -> &Site {
        &self.site
    }
}

impl std::ops::Deref for Cluster {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Settings {
    fn command(&self, word: &str) -> Command {
        let mut command = Command::new(binaries::find("carillon"));
        command.arg(word).env("CARILLON_STORE_URL", &self.store);
        if matches!(word, "server" | "console") {
            command.env("CARILLON_LOGS_LEVEL", "info").env("CARILLON_CLUSTER_SECRET", SECRET);
            command
                .env("CARILLON_ZOOKEEPER_CONNECT", &self.zookeeper)
                .env("CARILLON_ZOOKEEPER_ROOT", &self.root);
        }
        command
    }

    /// Runs a command to its end and returns what it printed.
    fn run(&self, folder: &Folder, word: &str) -> String {
        let mut command = self.command(word);
        crate::process::without_own_variables(&mut command);
        let output = command.current_dir(folder.path()).output().expect("carillon can be started");
        assert!(output.status.success(), "carillon {word}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn server(&self, folder: &Folder, number: usize, address: SocketAddr) -> Node {
        let (name, room) = (format!("server-{number}"), format!("room-{number}"));
        let mut command = self.command("server");
        command
            .args(["--id", &name, "--room", &room, "--listen", &address.to_string()])
            .current_dir(folder.path());
        let process = Process::spawn(folder, &name, command).into();
        Node { name, room, address, process }
    }

    fn console(&self, folder: &Folder, number: usize, address: SocketAddr) -> Node {
        let name = format!("console-{number}");
        let mut command = self.command("console");
        command.args(["--listen", &address.to_string()]).current_dir(folder.path());
        let process = Process::spawn(folder, &name, command).into();
        Node { name, room: String::new(), address, process }
    }
}

impl Node {
    /// The machine room it stands in; empty for a console.
    pub fn room(&self) -> &str {
        &self.room
    }
}

async fn is_ready(console: &Api) {
    wait::until(&format!("{} is ready", console.console()), PATIENCE, async || {
        match console.try_send(reqwest::Method::GET, "/readyz", None, &[]).await {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
