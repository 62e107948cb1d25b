//! The `moat` program as a child process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long the program may take to start and to end. It includes making keys in an unoptimised build.
pub const PROCESS_DEADLINE: Duration = Duration::from_secs(60);

/// Lines of output that are kept unread; more than that blocks the program, so this is plenty.
const LINES_MAX: usize = 65_536;
/// How often to look whether a process has ended, since the kernel tells nobody but `wait`.
const WAIT_STEP: Duration = Duration::from_millis(5);

/// A running program with its output and a data folder of its own. It is killed when dropped.
pub struct MoatProcess {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    folder: Option<TempDir>,
    data: PathBuf,
}

impl MoatProcess {
    /// Runs `binary start --data FOLDER ARGS...` with a fresh folder.
    #[must_use]
    pub fn start(binary: &Path, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("moat-data");
        let mut process = Self::start_in(binary, &data, args);
        process.folder = Some(folder);
        process
    }

    /// Runs `binary start --data DATA ARGS...` with a folder that exists already, or whose parent does.
    #[must_use]
    pub fn start_in(binary: &Path, data: &Path, args: &[&str]) -> Self {
        Self::spawn(Command::new(binary), binary, data, args)
    }

    /// As [`Self::start_in`], by a program that becomes the broker or watches it: `wrapper ... binary start ...`. It has to
    /// have the broker's process id and end with it, as `strace -D` does.
    #[must_use]
    pub fn start_under(wrapper: &[&str], binary: &Path, data: &Path, args: &[&str]) -> Self {
        let (program, rest) = wrapper.split_first().expect("a program");
        let mut command = Command::new(program);
        command.args(rest).arg(binary);
        Self::spawn(command, Path::new(program), data, args)
    }

    fn spawn(mut command: Command, program: &Path, data: &Path, args: &[&str]) -> Self {
        let mut child = command
            .arg("start")
            .arg("--data")
            .arg(data)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("running {}: {error}", program.display()));
        let (sender, lines) = sync_channel(LINES_MAX);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        for stream in [stdout.map(boxed), stderr.map(boxed)].into_iter().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        MoatProcess {
            child,
            lines,
            seen: Vec::new(),
            folder: None,
            data: data.to_owned(),
        }
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed so far that somebody waited for.
    #[must_use]
    pub fn output(&self) -> &[String] {
        &self.seen
    }

    /// Waits for a line for which `pick` has an answer, looking at earlier ones as well.
    pub fn wait_for<T>(&mut self, pick: impl Fn(&str) -> Option<T>) -> T {
        if let Some(found) = self.seen.iter().find_map(|line| pick(line)) {
            return found;
        }
        let until = Instant::now() + PROCESS_DEADLINE;
        loop {
            let Ok(line) = self
                .lines
                .recv_timeout(until.saturating_duration_since(Instant::now()))
            else {
                panic!(
                    "the line did not come; the output was:\n{}",
                    self.seen.join("\n")
                );
            };
            let found = pick(&line);
            self.seen.push(line);
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// Waits until it listens. Returns the first address it names.
    pub fn address(&mut self) -> SocketAddr {
        self.wait_for(|line| {
            let says_so = line.contains("listen");
            line.split(address_boundary)
                .filter(|_| says_so)
                .find_map(|word| word.parse().ok())
        })
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to read its files again.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Ends it without asking.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PROCESS_DEADLINE;
        // Its output ends when it does, so there is mostly nothing left to wait for after this.
        while let Ok(line) = self
            .lines
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            self.seen.push(line);
        }
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < until,
                "it did not end; the output was:\n{}",
                self.seen.join("\n")
            );
            std::thread::park_timeout(WAIT_STEP);
        }
    }
}

impl Drop for MoatProcess {
    fn drop(&mut self) {
        // The child is not reaped before this, so its id cannot belong to another process.
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
        drop(self.folder.take());
    }
}

fn boxed(stream: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(stream)
}

/// What can stand around an address in a sentence.
fn address_boundary(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';' | '(' | ')' | '"' | '/' | '=')
}
