//! `moat completions`

use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs};
use crate::exit::Failure;
use crate::output::Output;

/// Prints the completions of a shell.
///
/// # Errors
/// None; the signature is that of every command.
pub(crate) fn run(args: &CompletionsArgs, output: &Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "moat", &mut script);
    output.raw(&script);
    Ok(())
}
