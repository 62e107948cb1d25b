//! `cargo xtask hostile` and `cargo xtask fume`: builds the program and its attackers for release, and lets them loose on it.

use std::path::Path;
use std::process::Command;

use crate::cargo::{build_release, succeed};

/// Builds `moat` and the example of `moat-testkit` called `tool`, and runs it with the program and `arguments`.
///
/// # Errors
/// Something does not build, or the tool has found something wrong and said so.
pub(crate) fn run(root: &Path, tool: &str, arguments: &[&str]) -> Result<(), String> {
    build_release(root, &["-p", "moat"])?;
    let release = build_release(root, &["-p", "moat-testkit", "--example", tool])?;
    let mut run = Command::new(release.join("examples").join(tool));
    run.arg(release.join("moat")).args(arguments);
    succeed(run.current_dir(root))
}
