//! A place for one broker, and ways to run the binary in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use moat_testkit::MoatProcess;
use serde_json::Value;
use tempfile::TempDir;

const MOAT: &str = env!("CARGO_BIN_EXE_moat");

/// The arguments of a start that disturbs nobody.
pub(crate) const ANYWHERE: [&str; 2] = ["--bind", "127.0.0.1:0"];

/// A temporary folder in which a data folder is, or is going to be.
pub(crate) struct Folder {
    parent: TempDir,
}

impl Folder {
    /// Without a data folder.
    pub(crate) fn new() -> Self {
        Self {
            parent: tempfile::tempdir().unwrap(),
        }
    }

    /// With a data folder that holds nothing but this configuration.
    pub(crate) fn configured(toml: &str) -> Self {
        let folder = Self::new();
        fs::create_dir(folder.data()).unwrap();
        set_mode(&folder.data(), 0o700);
        folder.write("moat.toml", toml);
        folder
    }

    /// The folder around the data folder.
    pub(crate) fn parent(&self) -> &Path {
        self.parent.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.parent.path().join("data")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.data().join(name), text).unwrap();
    }

    /// Starts a broker that is expected to serve, and waits until it does.
    pub(crate) fn start(&self, args: &[&str]) -> MoatProcess {
        let mut process = MoatProcess::start_in(Path::new(MOAT), &self.data(), args);
        process.wait_for(|line| line.contains("moat status").then_some(()));
        process
    }

    /// Runs a command on the data folder to its end.
    pub(crate) fn moat(&self, args: &[&str]) -> Ended {
        let mut command = self.command(args);
        Ended::of(command.stdin(Stdio::null()).output().unwrap())
    }

    /// As [`Self::moat`], with something to read on standard input.
    pub(crate) fn moat_reading(&self, args: &[&str], input: &str) -> Ended {
        let path = self.parent().join("input");
        fs::write(&path, input).unwrap();
        let file = fs::File::open(path).unwrap();
        Ended::of(self.command(args).stdin(file).output().unwrap())
    }

    /// `moat start` that is expected to fail.
    pub(crate) fn start_fails(&self, args: &[&str]) -> Ended {
        let ended = self.moat(&[&["start"], args].concat());
        assert_ne!(ended.code, 0, "{ended:?}");
        ended
    }

    /// `moat status --json`.
    pub(crate) fn status(&self) -> Value {
        self.moat(&["status", "--json"]).json()
    }

    /// A command on the data folder, to run otherwise.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(MOAT);
        command.arg("--data").arg(self.data()).args(args);
        command.current_dir(self.parent());
        command
    }
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It has done its work.
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It has failed with this code and one error that holds all of `words`.
    pub(crate) fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        let errors = self.err.lines().filter(|line| line.starts_with("moat: "));
        assert_eq!(errors.count(), 1, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} in {self:?}");
        }
    }

    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.done().out).unwrap()
    }
}

pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The names in a folder, hidden ones included, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Whether the test can do what only root can. CI is root: there, nothing is left out.
pub(crate) fn is_root(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    assert!(
        is_root || std::env::var_os("CI").is_none(),
        "CI has to be root: {what}"
    );
    if !is_root {
        eprintln!("left out, since it needs root: {what}");
    }
    is_root
}
