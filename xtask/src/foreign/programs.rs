//! What the foreign clients need: Debian packages, a Python environment, npm packages, two builds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo::cargo;
use crate::foreign::matrix::{Client, Runner};
use crate::install::{self, Program};

const MOSQUITTO: &[Program] = &[
    ("mosquitto_pub", "mosquitto-clients"),
    ("mosquitto_sub", "mosquitto-clients"),
    ("stdbuf", "coreutils"),
];
const NODE: &[Program] = &[("node", "nodejs"), ("npm", "npm")];
/// `certutil` writes the list of CAs that Chromium trusts.
const CHROMIUM: &[Program] = &[("chromium", "chromium"), ("certutil", "libnss3-tools")];

/// Debian's own Python, for which Debian's package `python3-venv` is.
const DEBIAN_PYTHON: &str = "/usr/bin/python3";

/// Where the programs are, once they are there.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) moat: PathBuf,
    python: PathBuf,
    rumqttc: PathBuf,
    foreign: PathBuf,
}

impl Programs {
    /// Installs and builds what `clients` need.
    ///
    /// # Errors
    /// Something can be neither found nor installed; the message says what.
    pub(crate) fn prepare(root: &Path, clients: &[&Client]) -> Result<Self, String> {
        let target = target_folder()?;
        let own = target.join("foreign");
        fs::create_dir_all(&own).map_err(|error| format!("{}: {error}", own.display()))?;
        let programs = Self {
            moat: target.join("debug/moat"),
            python: own.join("python/bin/python"),
            rumqttc: target.join("debug/moat-foreign-rumqttc"),
            foreign: root.join("foreign"),
        };
        let needs = |wanted: fn(&Client) -> bool| clients.iter().any(|client| wanted(client));
        if needs(|client| client.name == "mosquitto") {
            install::run(MOSQUITTO)?;
        }
        if needs(|client| client.runner == Runner::Python) {
            programs.python_environment(&own)?;
        }
        if needs(|client| matches!(client.runner, Runner::Node(_))) {
            install::run(NODE)?;
            programs.npm_packages(&own)?;
        }
        if needs(|client| client.name == "chromium") {
            install::run(CHROMIUM)?;
        }
        if needs(|client| client.runner == Runner::Rumqttc) {
            // In the same target folder, where most of what it needs is built already.
            let mut build = cargo(&programs.foreign.join("rumqttc"));
            build.args(["build", "--quiet", "--locked", "--target-dir"]);
            quietly(build.arg(&target))?;
        }
        let mut build = cargo(root);
        quietly(build.args(["build", "--quiet", "--workspace", "--bin", "moat"]))?;
        Ok(programs)
    }

    /// The program that runs a client's scenarios.
    pub(crate) fn runner(&self, client: &Client) -> Command {
        match client.runner {
            Runner::Python => {
                let mut command = Command::new(&self.python);
                command
                    .arg(self.foreign.join("python/run.py"))
                    .arg(client.name)
                    .env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
            Runner::Node(script) => {
                let mut command = Command::new("node");
                command.arg(self.foreign.join("node").join(script));
                command
            }
            Runner::Rumqttc => Command::new(&self.rumqttc),
        }
    }

    /// What runs a block of a language, given as its last argument, and says `ok block` if it ended well.
    pub(crate) fn interpreter(&self, language: &str) -> Option<Command> {
        let (program, arguments): (_, &[&str]) = match language {
            "sh" => (Path::new("sh"), &["-ec"]),
            "python" => (self.python.as_path(), &["-c"]),
            "js" => (Path::new("node"), &["--input-type=module", "--eval"]),
            _ => return None,
        };
        let mut command = Command::new("sh");
        command.args(["-c", "\"$@\" && echo ok block", "sh"]);
        command.arg(program).args(arguments);
        Some(command)
    }

    fn python_environment(&self, own: &Path) -> Result<(), String> {
        let list = self.foreign.join("python/requirements.txt");
        only_if_changed(&list, &own.join("python.done"), || {
            let folder = own.join("python");
            let python = python_with_venv()?;
            quietly(
                Command::new(python)
                    .args(["-m", "venv", "--clear"])
                    .arg(&folder),
            )?;
            quietly(
                Command::new(&self.python)
                    .args(["-m", "pip", "install", "--quiet", "--no-input"])
                    .args(["--disable-pip-version-check", "--require-hashes", "-r"])
                    .arg(&list)
                    .arg("--cache-dir")
                    .arg(own.join("pip-cache")),
            )
        })
    }

    fn npm_packages(&self, own: &Path) -> Result<(), String> {
        let folder = self.foreign.join("node");
        let done = own.join("npm.done");
        if !folder.join("node_modules").is_dir() {
            // Another worktree may share the target folder.
            let _was_there = fs::remove_file(&done);
        }
        only_if_changed(&folder.join("package-lock.json"), &done, || {
            quietly(
                Command::new("npm")
                    .args(["ci", "--silent", "--prefer-offline", "--cache"])
                    .arg(own.join("npm-cache"))
                    .current_dir(&folder),
            )
        })
    }
}

/// The folder of everything that is built: this program is in `debug` of it.
fn target_folder() -> Result<PathBuf, String> {
    let program =
        std::env::current_exe().map_err(|error| format!("where this program is: {error}"))?;
    let folder = program.parent().and_then(Path::parent);
    folder
        .map(Path::to_owned)
        .ok_or_else(|| format!("{} is in no target folder", program.display()))
}

/// Does it unless `list` is the one it was done for the last time, which `done` keeps.
fn only_if_changed(
    list: &Path,
    done: &Path,
    install: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let text = fs::read(list).map_err(|error| format!("{}: {error}", list.display()))?;
    if fs::read(done).is_ok_and(|before| before == text) {
        return Ok(());
    }
    install()?;
    fs::write(done, text).map_err(|error| format!("{}: {error}", done.display()))
}

/// A Python that can make environments.
fn python_with_venv() -> Result<&'static str, String> {
    let find = || {
        ["python3", DEBIAN_PYTHON].into_iter().find(|python| {
            Command::new(python)
                .args(["-c", "import ensurepip, venv"])
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
    };
    if let Some(python) = find() {
        return Ok(python);
    }
    install::packages(&["python3-venv"])?;
    find().ok_or_else(|| "python3-venv is installed, but python3 has no module venv".to_owned())
}

/// Runs a command whose output is of interest only if it fails.
fn quietly(command: &mut Command) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_is_done_again_only_for_another_list() {
        let folder = tempfile::tempdir().unwrap();
        let (list, done) = (folder.path().join("list"), folder.path().join("done"));
        let mut count = 0;
        for text in ["a", "a", "b"] {
            fs::write(&list, text).unwrap();
            only_if_changed(&list, &done, || {
                count += 1;
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(count, 2);
        fs::write(&list, "c").unwrap();
        only_if_changed(&list, &done, || Err("offline".to_owned())).unwrap_err();
        only_if_changed(&list, &done, || {
            count += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(count, 3, "one that failed is tried again");
    }
}
