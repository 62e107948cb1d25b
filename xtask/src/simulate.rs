//! `cargo xtask simulate`: the simulation of the whole broker, optimised, as many seeds as asked for.

use std::path::Path;

use crate::cargo::{cargo, end_of};

/// Optimisation of the crates that a simulation spends its time in: many more seeds per second than without, for little more of a build.
const OPTIMISED: [&str; 6] = [
    "moat-codec",
    "moat-core",
    "moat-events",
    "moat-policy",
    "moat-store",
    "moat-testkit",
];

/// Runs `options` of the example `simulate` of moat-testkit.
pub(crate) fn run(root: &Path, options: &[&str]) -> Result<(), String> {
    let mut command = cargo(root);
    command.args(["run", "--quiet"]);
    for name in OPTIMISED {
        command.arg("--config");
        command.arg(format!("profile.dev.package.{name}.opt-level=2"));
    }
    command.args(["--package", "moat-testkit", "--example", "simulate", "--"]);
    command.args(options);
    let status = end_of(&mut command)?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the simulation failed: {status}"))
    }
}
