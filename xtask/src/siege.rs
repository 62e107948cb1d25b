//! `cargo xtask hostile` and `cargo xtask fume`: builds the program and its attackers for release, and lets them loose on it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds `moat` and the example of `moat-testkit` called `tool`, and runs it with the program and `arguments`.
///
/// # Errors
/// Something does not build, or the tool has found something wrong and said so.
pub(crate) fn run(root: &Path, tool: &str, arguments: &[&str]) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = |arguments: &[&str]| {
        let mut build = Command::new(&cargo);
        build
            .args(["build", "--quiet", "--release"])
            .args(arguments);
        succeed(build.current_dir(root))
    };
    build(&["-p", "moat"])?;
    build(&["-p", "moat-testkit", "--example", tool])?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let release = root.join(target).join("release");
    let mut run = Command::new(release.join("examples").join(tool));
    run.arg(release.join("moat")).args(arguments);
    succeed(run.current_dir(root))
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let status = command
        .status()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {status}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tool_finds_is_a_failure() {
        assert!(succeed(&mut Command::new("true")).is_ok());
        assert!(succeed(&mut Command::new("false")).is_err());
        assert!(succeed(&mut Command::new("/no/such/tool")).is_err());
    }
}
