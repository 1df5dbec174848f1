//! Where the binaries under test are. The harness builds nothing: it would test something else than what was asked for.

use std::path::{Path, PathBuf};

/// The folder of the binaries: `CARILLON_BIN_DIR`, else where cargo put the running test's own package.
pub fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("CARILLON_BIN_DIR").filter(|folder| !folder.is_empty()) {
        return folder.into();
    }
    // target/debug/deps/<test>-<hash> -> target/debug
    let test = std::env::current_exe().expect("a running test has an executable");
    let deps = test.parent().expect("an executable lies in a folder");
    let up =
        if deps.ends_with("deps") { deps.parent().expect("deps lies in a profile's folder") } else { deps };
    up.to_owned()
}

/// The path of a binary. Panics with what to do when it is not there.
pub fn find(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(
        path.is_file(),
        "there is no {}: build it first with `cargo build -p carillon -p carillon-examples -p carillon-ha --bins`, \
         or name its folder in CARILLON_BIN_DIR (`make ha` does all of it)",
        path.display()
    );
    path
}

/// The folder `tests/services` with the scripts that start real services.
pub fn services() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../services")
}

/// Whether the binaries are optimised: only then their speed says something.
pub fn is_release() -> bool {
    folder().ends_with("release")
}
