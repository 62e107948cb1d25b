//! `cargo xtask simulate`: the simulation of the whole broker, optimised, as many seeds as asked for.

use std::path::Path;

use crate::cargo::{cargo, end_of};
use crate::words::{self, Failure, Known};

/// Optimisation of the crates that a simulation spends its time in: many more seeds per second than without, for little more of a build.
const OPTIMISED: [&str; 6] = [
    "moat-codec",
    "moat-core",
    "moat-events",
    "moat-policy",
    "moat-store",
    "moat-testkit",
];

/// The options, which the program reads again.
const OPTIONS: &[Known] = &[
    ("--seeds", "N"),
    ("--from", "S"),
    ("--seed", "S"),
    ("--planted", "NAME"),
];
/// The most seeds of one run: months of them.
const SEEDS_MAX: u64 = 1_000_000_000;

/// Runs the example `simulate` of moat-testkit.
///
/// # Errors
/// A word that is no option, or a value that does not fit; it does not build, or a seed is not clean.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), Failure> {
    for (name, value) in words::options("simulate", words, OPTIONS)? {
        match name {
            "--seeds" => words::number(name, value, 1..=SEEDS_MAX).map(drop)?,
            "--from" | "--seed" => {
                words::number(name, value, 0..=u64::MAX - SEEDS_MAX).map(drop)?
            }
            // The program knows the names.
            _ => {}
        }
    }
    let mut command = cargo(root);
    command.args(["run", "--quiet"]);
    for name in OPTIMISED {
        command.arg("--config");
        command.arg(format!("profile.dev.package.{name}.opt-level=2"));
    }
    command.args(["--package", "moat-testkit", "--example", "simulate", "--"]);
    let status = end_of(command.args(words))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::of_program("simulate", status))
}
