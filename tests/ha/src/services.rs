//! The real services that a cluster stands on: a ZooKeeper ensemble and a MariaDB, shared by all tests of a run. Each installation has a root
//! and a database of its own on them.

use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::binaries;
use crate::folder::Folder;
use crate::story::skipped;

/// Where the services are.
#[derive(Debug, Clone)]
pub struct Services {
    /// `host:port,...` of the ensemble.
    pub zookeeper: String,
    /// `mysql://user:password@host:port/database` of a user who may create databases.
    pub mysql: String,
    /// The ensemble's folder, for `tests/services/zookeeper.sh`; none when somebody else runs it.
    pub zookeeper_folder: Option<PathBuf>,
}

impl Services {
    /// The services of the environment (`CARILLON_TEST_ZOOKEEPER`, `CARILLON_TEST_MYSQL`), as `make test` starts them. With
    /// `CARILLON_TEST_SERVICES=start` those that are missing are started in `folder` and end with it; else none, said aloud.
    pub fn find(folder: &Folder) -> Option<Self> {
        let start = variable("CARILLON_TEST_SERVICES").is_some_and(|value| value == "start");
        let mut zookeeper_folder = variable("CARILLON_TEST_ZOOKEEPER_DIR").map(PathBuf::from);
        let zookeeper = match variable("CARILLON_TEST_ZOOKEEPER") {
            Some(servers) => servers,
            None if start => {
                let dir = folder.join("zookeeper");
                zookeeper_folder = Some(dir.clone());
                start_script(folder, "zookeeper.sh", &dir)
            }
            None => {
                skipped(
                    "CARILLON_TEST_ZOOKEEPER is not set; CARILLON_TEST_SERVICES=start would start the services",
                );
                return None;
            }
        };
        let mysql = match variable("CARILLON_TEST_MYSQL") {
            Some(url) => url,
            None if start => start_script(folder, "mariadb.sh", &folder.join("mariadb")),
            None => {
                skipped(
                    "CARILLON_TEST_MYSQL is not set; CARILLON_TEST_SERVICES=start would start the services",
                );
                return None;
            }
        };
        Some(Self { zookeeper, mysql, zookeeper_folder })
    }

    /// A new, empty database; returns its URL. It ends with the folder, unless that is kept for a failure.
    pub fn database(&self, word: &str, folder: &Folder) -> String {
        let server = MysqlServer::of(&self.mysql);
        let plain = word.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
        let name = format!("ha_{plain}_{}", unique());
        server.run(&format!("CREATE DATABASE {name}"));
        let MysqlServer { user, password, host, port } = &server;
        folder.at_end(&format!(
            "[ -e keep ] || MYSQL_PWD='{password}' mariadb --no-defaults --protocol=tcp -h '{host}' -P {port} -u '{user}' \
             -e 'DROP DATABASE IF EXISTS {name}'"
        ));
        format!("mysql://{user}:{password}@{host}:{port}/{name}")
    }

    /// A root that nobody else has on the ensemble.
    pub fn root(&self, word: &str) -> String {
        format!("/carillon-ha/{word}-{}", unique())
    }
}

/// The parts of a URL, for the client program: the harness knows no SQL beyond making a place for others'.
struct MysqlServer {
    user: String,
    password: String,
    host: String,
    port: String,
}

impl MysqlServer {
    fn of(url: &str) -> Self {
        let parts = || {
            let (credentials, place) = url.strip_prefix("mysql://")?.split_once('@')?;
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            let address = place.split('/').next()?;
            let (host, port) = address.split_once(':').unwrap_or((address, "3306"));
            Some(Self { user: user.into(), password: password.into(), host: host.into(), port: port.into() })
        };
        parts()
            .unwrap_or_else(|| panic!("CARILLON_TEST_MYSQL is not mysql://user:password@host:port/database"))
    }

    fn run(&self, statement: &str) {
        let mut command = Command::new("mariadb");
        command.args([
            "--no-defaults",
            "--protocol=tcp",
            "-h",
            &self.host,
            "-P",
            &self.port,
            "-u",
            &self.user,
        ]);
        command.env("MYSQL_PWD", &self.password).args(["-e", statement]);
        let output = command.output().expect("the program mariadb is there (Debian package mariadb-client)");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Starts a service by its script, which prints where it is, and ends it with the folder.
fn start_script(folder: &Folder, script: &str, dir: &std::path::Path) -> String {
    let script = binaries::services().join(script);
    folder.at_end(&format!("'{}' stop '{}'", script.display(), dir.display()));
    let output = Command::new(&script).arg("start").arg(dir).stderr(std::process::Stdio::inherit()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(output.status.success(), "{} start: {}", script.display(), output.status);
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn unique() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{}_{}", std::process::id(), now % 1_000_000_000_000)
}
