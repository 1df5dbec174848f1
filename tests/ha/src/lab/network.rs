//! The network: a namespace per node, each behind a link of its own, and a router that can cut one direction between any two.
//!
//! A cut is one policy rule of the router: packets from A to B vanish, as behind a broken switch. Nobody is told; what was connected hangs until
//! somebody's patience ends. The harness sits in the router, so that it reaches everybody at any time and nobody's cut is its own.
//!
//! All of it lives in the namespaces that [`enter`] makes for the whole process: when that ends, however it ends, everything in them is gone.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::weather::{Storm, Weather};

/// The variable that tells the process that it is inside already.
const INSIDE: &str = "CARILLON_HA_INSIDE";

/// Every node there may be: three ZooKeepers, the database and its replica, servers, consoles, nginx, workers of two groups.
pub const NODES: [&str; 17] = [
    "zookeeper-1",
    "zookeeper-2",
    "zookeeper-3",
    "database-1",
    "database-2",
    "server-1",
    "server-2",
    "server-3",
    "console-1",
    "console-2",
    "console-3",
    "nginx",
    "worker-1",
    "worker-2",
    "worker-3",
    "worker-4",
    "worker-5",
];

/// The address that belongs to a service and moves from node to node, and the service's name.
pub const FLOATING: (&str, Ipv4Addr) = ("database", Ipv4Addr::new(10, 78, 0, 1));

/// The nodes and what is cut between them.
#[derive(Debug)]
pub struct Network {
    addresses: HashMap<String, Ipv4Addr>,
    cuts: Mutex<BTreeSet<(String, String)>>,
    storm: Mutex<Option<Storm>>,
}

/// Runs this program again in namespaces of its own (mounts, network, processes) and returns its exit code; `None` when it is inside already.
///
/// Its processes are the first and the children of a process namespace: the kernel ends them all with it, also after `kill -9`.
pub fn enter() -> Result<Option<i32>, String> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(None);
    }
    let probe = isolated().args(["true"]).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    match probe {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            return Err(format!(
                "this machine does not let the harness make network and process namespaces (root, or CAP_SYS_ADMIN and CAP_NET_ADMIN, \
                 is needed): {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        Err(error) => {
            return Err(format!("unshare, setpriv, nsenter (Debian package util-linux) are needed: {error}"));
        }
    }
    let own =
        std::env::current_exe().map_err(|error| format!("the harness does not find itself: {error}"))?;
    let status = isolated().arg(own).args(std::env::args_os().skip(1)).env(INSIDE, "1").status();
    let status = status.map_err(|error| format!("cannot start in namespaces: {error}"))?;
    Ok(Some(status.code().unwrap_or(1)))
}

fn isolated() -> Command {
    // Dies with its parent, and its children with it.
    let mut command = Command::new("setpriv");
    command.args([
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    command
}

impl Network {
    /// Lays the links. Only inside [`enter`]'s namespaces.
    pub fn lay() -> Result<Self, String> {
        if std::env::var_os(INSIDE).is_none() {
            return Err("the network is laid only in namespaces of its own: run it through `make ha`".into());
        }
        let mut script = String::from(
            "set -e\nmkdir -p /run/netns\nmount -t tmpfs none /run/netns\nip link set lo up\necho 1 >/proc/sys/net/ipv4/ip_forward\n",
        );
        let mut addresses = HashMap::new();
        for (place, node) in NODES.iter().enumerate() {
            let number = place + 1;
            let own = Ipv4Addr::new(10, 77, number as u8, 2);
            script.push_str(&format!(
                "ip netns add {node}\nip link add in{number} type veth peer name out{number}\nip link set in{number} netns {node}\n\
                 ip addr add 10.77.{number}.1/24 dev out{number}\nip link set out{number} up\n\
                 nsenter --net=/run/netns/{node} sh -ec 'ip link set lo up; ip addr add {own}/24 dev in{number}; ip link set in{number} up; \
                 ip route add default via 10.77.{number}.1'\n"
            ));
            addresses.insert((*node).to_owned(), own);
        }
        shell(&script).map_err(|error| {
            format!("the network cannot be laid (Debian package iproute2 is needed): {error}")
        })?;
        addresses.insert(FLOATING.0.to_owned(), FLOATING.1);
        Ok(Self { addresses, cuts: Mutex::default(), storm: Mutex::default() })
    }

    /// Has the floating address belong to a node, and to nobody else: connections to where it was get a refusal at the new place.
    pub fn float_to(&self, node: &str) -> Result<(), String> {
        let (own, (_, floating)) = (self.address(node), FLOATING);
        let mut script = String::from("set -e\n");
        for other in NODES {
            script.push_str(&format!(
                "nsenter --net=/run/netns/{other} ip addr del {floating}/32 dev lo 2>/dev/null || true\n"
            ));
        }
        script.push_str(&format!(
            "nsenter --net=/run/netns/{node} ip addr add {floating}/32 dev lo\nip route replace {floating}/32 via {own}\n"
        ));
        shell(&script).map(drop)
    }

    /// From now on packets between these pairs, in both directions, are delayed and lost, until everything is healed.
    pub fn worsen(&self, pairs: &[(&str, &str)], weather: Weather, seed: u64) -> Result<(), String> {
        let ways: Vec<_> = pairs
            .iter()
            .map(|(one, other)| (self.address(one), self.address(other)))
            .flat_map(|(one, other)| [(one, other), (other, one)])
            .collect();
        let mut storm = self.storm.lock().unwrap_or_else(PoisonError::into_inner);
        // The old one's device has the name that the new one wants.
        drop(storm.take());
        *storm = Some(Storm::begin(&ways, weather, seed)?);
        Ok(())
    }

    /// How many packets the bad weather delayed so far, and how many it lost.
    pub fn weathered(&self) -> (u64, u64) {
        let storm = self.storm.lock().unwrap_or_else(PoisonError::into_inner);
        storm.as_ref().map_or((0, 0), Storm::packets)
    }

    /// The address of a node. Panics for one that does not exist.
    pub fn address(&self, node: &str) -> Ipv4Addr {
        *self.addresses.get(node).unwrap_or_else(|| panic!("there is no node {node}; there are {NODES:?}"))
    }

    /// A command that runs a program at a node.
    pub fn command(&self, node: &str, program: impl AsRef<Path>) -> Command {
        let _ = self.address(node);
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{node}")).arg("--").arg(program.as_ref());
        command
    }

    /// From now on nothing that `from` sends reaches `to`.
    pub fn cut_one_way(&self, from: &str, to: &str) {
        if self.cuts().insert((from.to_owned(), to.to_owned())) {
            self.rule("add", from, to);
        }
    }

    /// Cuts both directions.
    pub fn cut(&self, one: &str, other: &str) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Ends a cut in one direction.
    pub fn heal_one_way(&self, from: &str, to: &str) {
        if self.cuts().remove(&(from.to_owned(), to.to_owned())) {
            self.rule("del", from, to);
        }
    }

    /// Ends the cuts of both directions.
    pub fn heal(&self, one: &str, other: &str) {
        self.heal_one_way(one, other);
        self.heal_one_way(other, one);
    }

    /// Ends every cut and all bad weather.
    pub fn heal_all(&self) {
        drop(self.storm.lock().unwrap_or_else(PoisonError::into_inner).take());
        let cuts = std::mem::take(&mut *self.cuts());
        for (from, to) in cuts {
            self.rule("del", &from, &to);
        }
    }

    fn rule(&self, verb: &str, from: &str, to: &str) {
        let (from, to) = (self.address(from), self.address(to));
        shell(&format!("ip rule {verb} pref 10 from {from} to {to} blackhole"))
            .expect("the router takes a rule");
    }

    fn cuts(&self) -> std::sync::MutexGuard<'_, BTreeSet<(String, String)>> {
        self.cuts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a script; its errors are what it wrote to stderr.
pub(super) fn shell(script: &str) -> Result<String, String> {
    let mut command = Command::new("bash");
    command.args(["-c", script]);
    run(command)
}

/// Runs a command to its end and returns its stdout.
pub(super) fn run(mut command: Command) -> Result<String, String> {
    // Signals to the harness's group are not meant for its errands.
    command.stdin(Stdio::null()).process_group(0);
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "{command:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
