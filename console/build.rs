//! Has the crate built anew when the pages are: `web/build.sh` makes them, `src/pages.rs` embeds them.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Cargo looks again at each build for what is not there, and builds anew. Only what embeds the pages has to pay that: a debug build reads them
    // as they are asked for.
    let embeds = env::var("PROFILE").as_deref() != Ok("debug");
    if embeds || Path::new("../web/dist").exists() {
        println!("cargo:rerun-if-changed=../web/dist");
    }
}
