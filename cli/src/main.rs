//! The binary `carillon`.

use std::process::ExitCode;

fn main() -> ExitCode {
    carillon_cli::run(std::env::args_os())
}
