//! The house rules that a compiler does not check: which crate may know which.

#![expect(clippy::unwrap_used, reason = "a test that fails to unwrap has failed")]

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::LazyLock;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// The graph of ARCHITECTURE.md: what each of our crates may depend on among ours. Tests may use more.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("carillon-core", &[]),
    ("carillon-proto", &[]),
    ("carillon-coordination", &[]),
    ("carillon-store", &["carillon-core"]),
    ("carillon-client", &["carillon-proto"]),
    ("carillon-server", &["carillon-core", "carillon-store", "carillon-coordination", "carillon-proto"]),
    ("carillon-console", &["carillon-core", "carillon-store", "carillon-coordination", "carillon-proto"]),
    (
        "carillon",
        &[
            "carillon-core",
            "carillon-store",
            "carillon-coordination",
            "carillon-server",
            "carillon-console",
            "carillon-client",
            // The sample jobs of `carillon dev`.
            "carillon-examples",
        ],
    ),
    ("carillon-examples", &["carillon-client"]),
    ("carillon-ha", &["carillon-core", "carillon-client", "carillon-proto"]),
];

/// Crates that only these of ours may use.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("mysql_async", &["carillon-store"]),
    ("rusqlite", &["carillon-store"]),
    ("zookeeper-client", &["carillon-coordination"]),
    ("axum", &["carillon-console", "carillon-server"]),
    ("clap", &["carillon", "carillon-ha"]),
];

/// What `core` must not reach, however far down: runtimes, sockets, databases, wire formats, clocks and dice.
const CORE_MUST_NOT_REACH: &[&str] = &[
    "tokio",
    "async-trait",
    "async-std",
    "smol",
    "futures",
    "futures-core",
    "mio",
    "socket2",
    "hyper",
    "reqwest",
    "tonic",
    "prost",
    "mysql_async",
    "rusqlite",
    "libsqlite3-sys",
    "zookeeper-client",
    "rand",
    "getrandom",
    "fastrand",
    "chrono",
    "time",
    "tracing",
    "log",
];

/// The workspace's own packages with what they ask for.
static METADATA: LazyLock<Metadata> = LazyLock::new(|| {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .other_options(["--offline", "--locked"].map(str::to_owned).to_vec())
        .exec()
        .unwrap()
});

fn ours() -> Vec<&'static Package> {
    METADATA.workspace_packages()
}

fn direct(package: &Package) -> BTreeSet<&str> {
    let built_in =
        package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
    built_in.map(|dependency| dependency.name.as_str()).collect()
}

/// Everything a crate is built from, itself included; what only its build scripts and tests use is left out. `cargo tree` knows which
/// features a crate has on its own; `cargo metadata` only those of the whole workspace together.
fn reached_from(name: &str) -> BTreeSet<String> {
    let tree = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--package", name])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let lines = String::from_utf8(tree.stdout).unwrap();
    lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn every_crate_knows_only_what_the_architecture_lets_it_know() {
    let names: BTreeSet<&str> = ours().iter().map(|package| package.name.as_str()).collect();
    let listed: BTreeSet<&str> = MAY_KNOW.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, listed, "the list in this test and the workspace must name the same crates");
    for package in ours() {
        let (_, allowed) = MAY_KNOW.iter().find(|(name, _)| *name == package.name.as_str()).unwrap();
        for known in direct(package).into_iter().filter(|known| names.contains(known)) {
            assert!(allowed.contains(&known), "{} must not know {known}", package.name);
        }
    }
}

#[test]
fn each_driver_stays_in_its_crate() {
    for (driver, homes) in ONLY_IN {
        for package in ours().into_iter().filter(|package| direct(package).contains(driver)) {
            let user = package.name.as_str();
            assert!(homes.contains(&user), "{driver} belongs to {homes:?} alone, and {user} uses it");
        }
    }
    // Guards the test itself: a driver under another name would pass unseen.
    for (crate_, driver) in [
        ("carillon-store", "mysql_async"),
        ("carillon-store", "rusqlite"),
        ("carillon-coordination", "zookeeper-client"),
    ] {
        assert!(reached_from(crate_).contains(driver), "{driver} is gone from {crate_}; mend this test");
    }
}

#[test]
fn core_is_pure() {
    let reached = reached_from("carillon-core");
    assert!(reached.contains("serde"), "the walk finds nothing: {reached:?}");
    for forbidden in CORE_MUST_NOT_REACH {
        assert!(!reached.contains(*forbidden), "carillon-core reaches {forbidden}");
    }
}

#[test]
fn what_users_link_brings_no_database_and_no_coordinator() {
    let reached = reached_from("carillon-client");
    assert!(reached.contains("tonic"), "the walk finds nothing: {reached:?}");
    let ours =
        ["carillon-core", "carillon-store", "carillon-coordination", "carillon-server", "carillon-console"];
    for forbidden in ours.into_iter().chain(["mysql_async", "rusqlite", "zookeeper-client", "clap"]) {
        assert!(!reached.contains(forbidden), "carillon-client reaches {forbidden}");
    }
}

#[test]
fn every_crate_keeps_the_lints_the_licence_and_the_versions_of_the_workspace() {
    for package in ours() {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        assert_eq!(
            manifest["lints"]["workspace"].as_bool(),
            Some(true),
            "{} has lints of its own",
            package.name
        );
        assert_eq!(package.license.as_deref(), Some("Apache-2.0"), "{}", package.name);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, dependency) in
                manifest.get(section).and_then(toml::Value::as_table).into_iter().flatten()
            {
                let shared = dependency.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(shared, "{}: {name} is not declared in the root Cargo.toml", package.name);
            }
        }
    }
}
