//! Has the crate built anew when the pages are: `web/build.sh` makes them, `src/pages.rs` embeds them.

use std::path::Path;

fn main() {
    // The Makefile sets it once there are pages, since what is not there cannot be watched.
    println!("cargo:rerun-if-env-changed=CARILLON_PAGES");
    println!("cargo:rerun-if-changed=build.rs");
    if Path::new("../web/dist/index.html").exists() {
        println!("cargo:rerun-if-changed=../web/dist");
    }
}
