//! The programs that are not Rust: what the tests talk to and have their second opinion from.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// A program and the Debian package that has it.
pub(crate) type Program = (&'static str, &'static str);

/// What the tests of the workspace speak to.
pub(crate) const FOR_TESTS: &[Program] = &[
    ("mosquitto_pub", "mosquitto-clients"),
    ("mosquitto_sub", "mosquitto-clients"),
    ("mosquitto", "mosquitto"),
    ("openssl", "openssl"),
    ("strace", "strace"),
    ("valgrind", "valgrind"),
];

/// Where Debian puts programs that are not on everybody's path.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Makes sure that the programs exist, by apt-get if that is possible.
///
/// # Errors
/// Something is missing and cannot be installed; the message says what to do.
pub(crate) fn run(programs: &[Program]) -> Result<(), String> {
    let missing = missing(programs);
    if missing.is_empty() {
        return Ok(());
    }
    packages(&missing)?;
    match self::missing(programs).as_slice() {
        [] => Ok(()),
        rest => Err(format!(
            "apt-get installed {}, but the programs of {} are still missing",
            missing.join(" "),
            rest.join(" ")
        )),
    }
}

/// Installs Debian packages.
///
/// # Errors
/// That is not possible here; the message says what to do.
pub(crate) fn packages(missing: &[&str]) -> Result<(), String> {
    let packages = missing.join(" ");
    if !is_root() || !exists("apt-get") {
        return Err(format!(
            "the tests need the Debian packages {packages}; as root: apt-get install {packages}"
        ));
    }
    println!("installing {packages}");
    apt_get(&["update", "-q"])?;
    let mut install = vec!["install", "-q", "-y", "--no-install-recommends"];
    install.extend(missing);
    apt_get(&install)
}

fn missing(programs: &[Program]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| !exists(program))
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    packages
}

fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.map(Into::into))
        .any(|folder| folder.join(program).is_file())
}

/// Whether this process runs as root: its own entry in /proc belongs to it.
fn is_root() -> bool {
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|entry| entry.uid() == 0)
}

fn apt_get(arguments: &[&str]) -> Result<(), String> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .map_err(|error| format!("cannot run apt-get: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("apt-get {} failed: {status}", arguments.join(" ")))
}
