//! Generates the messages and services from `proto/`, without an installed `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["carillon/v1/worker.proto", "carillon/v1/control.proto", "carillon/v1/peer.proto"];
    let descriptors = protox::compile(files, ["proto"])?;
    for file in files {
        println!("cargo:rerun-if-changed=proto/{file}");
    }
    tonic_prost_build::configure().bytes(".carillon.v1").compile_fds(descriptors)?;
    Ok(())
}
