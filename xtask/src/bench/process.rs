//! How processes are started that are measured, and that none of them is left behind: each ends with its handle, and
//! all end with this program, even if that is killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start, and how often to look.
const START: Duration = Duration::from_secs(60);
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// Has the kernel kill the process when whoever started it is gone.
const MORTAL: [&str; 3] = ["setpriv", "--pdeathsig", "KILL"];
/// Has the process run on one core, whose number follows.
const PINNED: [&str; 2] = ["taskset", "-c"];

/// The cores of those who are measured and of those who measure.
pub(super) const SERVERS: &str = "0";
pub(super) const GENERATOR: &str = "1";
pub(super) const BOTH: &str = "0,1";
/// Has the process take only what others leave of its core.
const NICE: [&str; 3] = ["nice", "-n", "19"];

/// What stands before a command; all programs become the one that they start, so its process id stays the same.
pub(super) struct Launcher {
    is_mortal: bool,
    is_pinning: bool,
}

impl Launcher {
    /// With what works on this machine.
    pub(super) fn find() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let works = |words: &[&str]| {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).arg("true");
            let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        Self {
            is_mortal: works(&MORTAL),
            is_pinning: cores > 1 && works(&[PINNED[0], PINNED[1], "1"]),
        }
    }

    pub(super) fn is_pinning(&self) -> bool {
        self.is_pinning
    }

    /// A command on a core of its own: [`SERVERS`] or [`GENERATOR`]; or on [`BOTH`].
    pub(super) fn command(&self, cores: &str, program: &Path) -> Command {
        self.command_after(&[], cores, program)
    }

    /// As [`Self::command`], for what others on the core come before.
    pub(super) fn nice_command(&self, cores: &str, program: &Path) -> Command {
        self.command_after(&NICE, cores, program)
    }

    fn command_after<'w>(&self, first: &[&'w str], cores: &'w str, program: &Path) -> Command {
        let mut words: Vec<&str> = first.to_vec();
        if self.is_mortal {
            words.extend(MORTAL);
        }
        if self.is_pinning {
            words.extend(PINNED);
            words.push(cores);
        }
        let Some((first, rest)) = words.split_first() else {
            return Command::new(program);
        };
        let mut command = Command::new(first);
        command.args(rest).arg(program);
        command
    }
}

/// A process that is killed when dropped.
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it says on standard error is in the file `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn spawn(command: &mut Command, log: &Path) -> Result<Self, String> {
        let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|error| format!("cannot run {command:?}: {error}"))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(super) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// It ends or takes too long; the message has what it said.
    pub(super) fn wait(&mut self, is_ready: impl Fn() -> bool) -> Result<(), String> {
        let until = Instant::now() + START;
        while !is_ready() {
            let has_ended = !matches!(self.child.try_wait(), Ok(None));
            if has_ended || Instant::now() > until {
                return Err(format!("it does not start:\n{}", self.said()));
            }
            std::thread::park_timeout(LOOK);
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    fn entry(id: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{id}"))
    }

    #[test]
    fn a_process_ends_with_its_handle_and_one_that_fails_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let process = Process::spawn(Command::new("sleep").arg("600"), &log).unwrap();
        let entry = entry(&process.id().to_string());
        assert!(entry.exists());
        drop(process);
        assert!(!entry.exists());
        let mut failing = Process::spawn(Command::new("ls").arg("/no/such/folder"), &log).unwrap();
        assert!(
            failing
                .wait(|| false)
                .unwrap_err()
                .contains("/no/such/folder")
        );
    }

    /// The shell stands for this program: it starts the command and is killed.
    #[test]
    fn what_was_started_ends_with_whoever_started_it() {
        let mut command = Launcher::find().command(SERVERS, Path::new("sleep"));
        command.arg("600");
        let mut shell = Command::new("sh")
            .args(["-c", "\"$@\" & echo $!; wait", "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut id = String::new();
        let said = shell.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut id).unwrap();
        let sleep = entry(id.trim());
        let until = Instant::now() + START;
        // What has ended and nobody has asked for yet has no command line any more.
        let is_sleeping = || {
            fs::read_to_string(sleep.join("cmdline"))
                .is_ok_and(|words| words.starts_with("sleep\0"))
        };
        while !is_sleeping() {
            assert!(Instant::now() < until, "it never slept");
            std::thread::park_timeout(LOOK);
        }
        shell.kill().unwrap();
        shell.wait().unwrap();
        while is_sleeping() {
            assert!(Instant::now() < until, "it goes on");
            std::thread::park_timeout(LOOK);
        }
    }
}
