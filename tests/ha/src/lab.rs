//! A whole installation in which everything stands alone: each ZooKeeper, the database, each server, console and worker has a network of its
//! own, and a router between them can cut any two apart.
//!
//! The programs, flags and configuration are those of production; only the addresses are the harness's.

pub mod database;
pub mod ensemble;
pub mod fate;
pub mod members;
pub mod network;
pub mod weather;

use std::path::{Path, PathBuf};

use crate::api::Api;
use crate::folder::Folder;
use crate::wait::{self, PATIENCE};

use database::Database;
use ensemble::Ensemble;
use fate::Fate;
use members::{Member, Settings};
use network::Network;

/// How many of each an installation has: the fewest that show every case (two of three may go).
pub const SERVERS: usize = 3;
/// Consoles behind nginx.
pub const CONSOLES: usize = 3;

/// What installations stand on; several may follow one another on it.
#[derive(Debug)]
pub struct Ground {
    /// Who can reach whom.
    pub network: Network,
    /// The coordinator.
    pub zookeeper: Ensemble,
    /// The store.
    pub database: Database,
    fate: Fate,
    folder: Folder,
}

impl Ground {
    /// Lays the network and starts ZooKeeper and MariaDB. Errors say what this machine lacks.
    pub fn lay() -> Result<Self, String> {
        let network = Network::lay()?;
        let folder = Folder::new("ground");
        let fate = Fate::build(folder.path())?;
        let (zookeeper, database) = std::thread::scope(|scope| {
            let zookeeper = scope.spawn(|| Ensemble::start(&folder, &network, &fate));
            let database = Database::start(&folder, &network, &fate);
            (zookeeper.join().expect("a thread that starts ZooKeeper ends"), database)
        });
        Ok(Self { network, zookeeper: zookeeper?, database: database?, fate, folder })
    }

    /// Heals every cut and starts whatever a trial that was given up has left broken.
    pub fn restore(&self) {
        self.network.heal_all();
        self.zookeeper.restore();
        self.database.restore();
    }

    /// The folder of the services' data and logs.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }
}

/// A running installation. Dropping it ends it and its database.
#[derive(Debug)]
pub struct Lab<'a> {
    /// What it stands on.
    pub ground: &'a Ground,
    /// Three, each in a machine room of its own.
    pub servers: Vec<Member>,
    /// Three.
    pub consoles: Vec<Member>,
    /// Before the consoles.
    pub nginx: Member,
    settings: Settings,
    word: String,
    folder: Folder,
    token: String,
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        for member in self.servers.iter().chain(&self.consoles) {
            member.kill();
        }
        self.ground.database.remove(&self.word);
    }
}

impl<'a> Lab<'a> {
    /// Starts one with a database and a ZooKeeper root of its own and waits until it serves.
    pub async fn start(ground: &'a Ground, word: &str) -> Result<Self, String> {
        let folder = Folder::new(word);
        let settings = Settings {
            store: ground.database.create(word)?,
            zookeeper: ground.zookeeper.connect_string(),
            root: format!("/carillon-ha/{word}"),
        };
        settings.run(&folder, "migrate")?;
        let token = settings.run(&folder, "admin-token")?.trim().to_owned();
        let network = &ground.network;
        let server = |number| Member::server(&folder, network, &settings, number);
        let servers = (1..=SERVERS).map(server).collect();
        let console = |number| Member::console(&folder, network, &settings, number);
        let consoles: Vec<Member> = (1..=CONSOLES).map(console).collect();
        let nginx = Member::nginx(&folder, network, &consoles);
        let lab = Self { ground, servers, consoles, nginx, settings, word: word.to_owned(), folder, token };
        lab.serves(PATIENCE).await;
        Ok(lab)
    }

    /// The folder of its logs and ledgers.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The consoles behind nginx, asked as an administrator.
    pub fn api(&self) -> Api {
        Api::new(self.url(), &self.token)
    }

    /// A console itself, for those who must not depend on nginx.
    pub fn console_api(&self, place: usize) -> Api {
        Api::new(format!("http://{}", self.consoles[place].address), &self.token)
    }

    /// What users know: nginx.
    pub fn url(&self) -> String {
        format!("http://{}", self.nginx.address)
    }

    /// The administrator's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Starts a member again that was killed.
    pub fn revive(&self, member: &Member) {
        member.start(&self.folder, &self.ground.network, &self.settings, &self.consoles);
    }

    /// Starts a worker of a group, or starts it again as a new incarnation.
    pub fn worker(&self, name: &str, group: &str, token: &str) -> Member {
        Member::worker(&self.folder, &self.ground.network, &self.ground.fate, name, &self.url(), group, token)
    }

    /// The ledgers of all workers.
    pub fn ledgers(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path()).into_iter().flatten().flatten();
        let files = entries.map(|entry| entry.path());
        files.filter(|path| path.extension().is_some_and(|ending| ending == "ledger")).collect()
    }

    /// Waits until nginx, all consoles and all servers answer.
    pub async fn serves(&self, patience: std::time::Duration) {
        let api = self.api();
        wait::until("the installation serves", patience, async || {
            let answer = api.try_send(reqwest::Method::GET, "/servers", None, &[]).await;
            let Ok(answer) = answer else { return Err(format!("{answer:?}")) };
            let live = answer.body["items"]
                .as_array()
                .map_or(0, |servers| servers.iter().filter(|server| server["answers"] == true).count());
            for place in 0..CONSOLES {
                let ready =
                    self.console_api(place).try_send(reqwest::Method::GET, "/readyz", None, &[]).await;
                if !ready.is_ok_and(|answer| answer.status == 200) {
                    return Err(format!("{} is not ready", self.consoles[place].name));
                }
            }
            if live == SERVERS { Ok(()) } else { Err(format!("{live} servers: {:#}", answer.body)) }
        })
        .await;
    }

    /// Starts a server that says it is `of`, at the place of `at`, on another port.
    pub fn impostor(&self, of: usize, at: usize) -> crate::process::Process {
        let (of, at) = (&self.servers[of], &self.servers[at]);
        Member::impostor(&self.folder, &self.ground.network, &self.settings, of, at)
    }

    /// The place of the server of a name.
    pub fn server_named(&self, name: &str) -> Option<usize> {
        self.servers.iter().position(|server| server.name == name)
    }
}
