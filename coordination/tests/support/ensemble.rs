//! The real ensemble of the tests: where it is, a root of one's own on it, and power over its nodes.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use carillon_coordination::{Coordination, Load, Member, MemberId, MemberKind, ZooKeeper, ZooKeeperSettings};

/// A variable that names a service; unset, the test is skipped aloud, or fails if services are required.
fn service(variable: &str, test: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        let required = std::env::var("CARILLON_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
        assert!(!required, "{variable} is not set, and CARILLON_REQUIRE_SERVICES=1");
        eprintln!("SKIPPED: {test}: {variable} is not set");
    }
    value
}

/// A root of one's own on the ensemble.
pub(crate) struct Root {
    pub(crate) settings: ZooKeeperSettings,
}

impl Root {
    pub(crate) fn new(test: &str) -> Option<Self> {
        let servers = service("CARILLON_TEST_ZOOKEEPER", test)?;
        Some(Self::on(&servers, test))
    }

    fn on(servers: &str, test: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let root = format!("/carillon-test/{test}-{}-{now}", std::process::id());
        // Long enough for two busy cores, short enough to wait for.
        let settings = ZooKeeperSettings {
            session_timeout: Duration::from_secs(4),
            ..ZooKeeperSettings::new(servers, root)
        };
        Self { settings }
    }

    pub(crate) fn session_timeout(&self) -> Duration {
        self.settings.session_timeout
    }

    pub(crate) async fn connect(&self) -> ZooKeeper {
        ZooKeeper::connect(self.settings.clone()).await.unwrap()
    }

    pub(crate) async fn joined(&self, id: &str) -> ZooKeeper {
        let handle = self.connect().await;
        handle.join(server(id)).await.unwrap();
        handle
    }

    /// A member whose handle knows one node only, and gives up on a call after a short time.
    pub(crate) async fn joined_by(&self, servers: &str, id: &str) -> ZooKeeper {
        let settings = ZooKeeperSettings {
            servers: servers.to_owned(),
            operation_timeout: Duration::from_millis(700),
            ..self.settings.clone()
        };
        let handle = ZooKeeper::connect(settings).await.unwrap();
        handle.join(server(id)).await.unwrap();
        handle
    }
}

pub(crate) fn server(id: &str) -> Member {
    Member {
        id: MemberId::new(id).unwrap(),
        kind: MemberKind::Server,
        room: "room-a".to_owned(),
        address: format!("{id}.example:7070"),
        server_group: 1,
        cluster: 101,
        version: "0.1.0".to_owned(),
        incarnation: 1,
        load: Load::default(),
        draining: false,
        joined_at_ms: 1_700_000_000_000,
    }
}

/// Power over the nodes of an ensemble started by `tests/services/zookeeper.sh`. Dropping it puts all nodes back to work.
pub(crate) struct Nodes {
    dir: PathBuf,
    test: String,
}

impl Nodes {
    pub(crate) fn new(test: &str) -> Option<Self> {
        let dir = service("CARILLON_TEST_ZOOKEEPER_DIR", test)?.into();
        let nodes = Self { dir, test: test.to_owned() };
        nodes.heal();
        Some(nodes)
    }

    /// A root on all nodes.
    pub(crate) fn root(&self) -> Root {
        Root::on(&self.script(&["connect"]), &self.test)
    }

    /// The node that leads, once there is one.
    pub(crate) fn leader(&self) -> u32 {
        self.script(&["leader"]).parse().unwrap()
    }

    /// A node that does not lead.
    pub(crate) fn follower(&self) -> u32 {
        let leader = self.leader();
        (1..=3).find(|index| *index != leader).unwrap()
    }

    pub(crate) fn address(&self, index: u32) -> String {
        let all = self.script(&["connect"]);
        all.split(',').nth(index as usize - 1).unwrap().to_owned()
    }

    /// All nodes but one.
    pub(crate) fn addresses_without(&self, index: u32) -> String {
        let all = self.script(&["connect"]);
        let others = all.split(',').enumerate().filter(|(at, _)| *at as u32 + 1 != index);
        others.map(|(_, address)| address).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn pause(&self, index: u32) {
        self.script(&["pause", &index.to_string()]);
    }

    pub(crate) fn cont(&self, index: u32) {
        self.script(&["cont", &index.to_string()]);
    }

    pub(crate) fn kill(&self, index: u32) {
        self.script(&["kill", &index.to_string()]);
    }

    pub(crate) fn revive(&self, index: u32) {
        self.script(&["revive", &index.to_string()]);
    }

    pub(crate) fn wipe(&self) {
        self.script(&["wipe"]);
    }

    pub(crate) fn wait(&self) {
        self.script(&["wait"]);
    }

    /// A figure of a node's `mntr` answer.
    pub(crate) fn figure(&self, index: u32, name: &str) -> i64 {
        let line = self.ask(index, "mntr", name);
        line[name.len()..].trim().parse::<f64>().unwrap() as i64
    }

    /// The last transaction a node has seen.
    pub(crate) fn zxid(&self, index: u32) -> String {
        self.ask(index, "srvr", "Zxid")
    }

    /// The line of an answer that begins so. A node may be out of service for a moment, e.g. when it elects a leader.
    fn ask(&self, index: u32, word: &str, beginning: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.script(&["ask", &index.to_string(), word]);
            if let Some(line) = answer.lines().find(|line| line.starts_with(beginning)) {
                return line.to_owned();
            }
            assert!(Instant::now() < deadline, "no {beginning} in {answer:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn heal(&self) {
        for index in 1..=3 {
            self.revive(index);
            self.cont(index);
        }
        self.wait();
    }

    fn script(&self, arguments: &[&str]) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/services/zookeeper.sh");
        let (command, rest) = arguments.split_first().unwrap();
        let output = Command::new(script).arg(command).arg(&self.dir).args(rest).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A second panic would hide the first; the next test heals again, and says if it cannot.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.heal()));
        } else {
            self.heal();
        }
    }
}
