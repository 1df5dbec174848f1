//! `carillon completions`: the completions of a shell.

use crate::args::CompletionsArgs;
use crate::failure::Outcome;
use crate::output::put_raw;

/// Prints the completions.
pub(crate) fn run(args: CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::command(), "carillon", &mut script);
    put_raw(&script)
}
