//! Cargo, and what it builds for the other commands.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// The cargo that runs this program, with its toolchain, in a folder.
pub(crate) fn cargo(folder: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(folder);
    command
}

/// Where cargo builds to.
pub(crate) fn target(root: &Path) -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR");
    named.map_or_else(|| root.join("target"), |path| root.join(path))
}

/// Builds for release what `arguments` say, and returns the folder it is in then.
///
/// # Errors
/// It does not build; why was printed by cargo.
pub(crate) fn build_release(root: &Path, arguments: &[&str]) -> Result<PathBuf, String> {
    let mut build = cargo(root);
    build.args(["build", "--quiet", "--release"]);
    succeed(build.args(arguments))?;
    Ok(target(root).join("release"))
}

/// Runs a command to its end; what it prints is shown.
///
/// # Errors
/// It cannot be started, or it ends without success.
pub(crate) fn succeed(command: &mut Command) -> Result<(), String> {
    let status = end_of(command)?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {status}"))
}

/// Runs a command to its end, whatever that is.
///
/// # Errors
/// It cannot be started.
pub(crate) fn end_of(command: &mut Command) -> Result<ExitStatus, String> {
    command
        .status()
        .map_err(|error| format!("cannot run {command:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_or_is_not_there_is_an_error() {
        assert!(succeed(&mut Command::new("true")).is_ok());
        assert!(succeed(&mut Command::new("false")).is_err());
        assert!(succeed(&mut Command::new("/no/such/tool")).is_err());
    }
}
