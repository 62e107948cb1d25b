//! A moat with a folder of its own, on free ports of loopback, and an identity for every run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::foreign::matrix::Transport;
use crate::foreign::{Run, page};

/// How long it may take to start. It makes its keys in an unoptimised build.
const START: Duration = Duration::from_secs(60);
/// How often to look whether it has started.
const LOOK: Duration = Duration::from_millis(20);
/// Warnings of its log that are shown if something failed.
const WARNINGS_SHOWN: usize = 30;

pub(crate) const HOST: &str = "127.0.0.1";
pub(crate) const PASSWORD: &str = "a long enough password";

/// The page in Chromium comes from this origin. Everything else is as a user finds it, the policy too: an identity has
/// its own topics and no others.
const CONFIG: &str = r#"
[[listener]]
name = "tls"
protocol = "tls"
bind = ["127.0.0.1:0"]

[[listener]]
name = "ws"
protocol = "ws"
bind = ["127.0.0.1:0"]
origins = ["http://clients.test"]

[[listener]]
name = "wss"
protocol = "wss"
bind = ["127.0.0.1:0"]
origins = ["http://clients.test"]
"#;

/// A running broker. It is killed when dropped, and its folder goes.
pub(crate) struct Broker {
    child: Child,
    folder: TempDir,
    log: String,
}

impl Broker {
    /// Makes a CA, an identity for each run, and starts.
    ///
    /// # Errors
    /// A command of moat fails or it does not start; the message has what it said.
    pub(crate) fn start(moat: &Path, runs: &[Run<'_>]) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| format!("a folder: {error}"))?;
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        write("moat.toml", CONFIG)?;
        write("password", PASSWORD)?;
        // The first start makes the CA. Only a second one is sure to have read every user.
        let (mut first, _) = spawn(moat, folder.path())?;
        let _killed = first.kill();
        let _ended = first.wait();
        for run in runs {
            add_identity(moat, folder.path(), &identity(run), run.transport)?;
        }
        add_identity(moat, folder.path(), page::DEVICE, Transport::Mtls)?;
        add_identity(moat, folder.path(), page::USER, Transport::Tls)?;
        let (child, log) = spawn(moat, folder.path())?;
        Ok(Self { child, folder, log })
    }

    /// Tells a client's program where the broker is and who it is.
    pub(crate) fn introduce(&self, command: &mut Command, run: &Run<'_>) -> Result<(), String> {
        let identity = identity(run);
        let bundle = self.bundle(&identity);
        let port = self.port(run.transport)?;
        command
            .env("FOREIGN_HOST", HOST)
            .env("FOREIGN_PORT", port)
            .env("FOREIGN_PATH", "/mqtt")
            .env("FOREIGN_CA", self.folder.path().join("data/pki/ca.crt"))
            .env("FOREIGN_TOPICS", format!("devices/{identity}"));
        if run.is_planted {
            command.env("FOREIGN_PLANT_WRONG", "yes");
        }
        if run.transport == Transport::Mtls {
            command
                .env("FOREIGN_CERT", bundle.join(format!("{identity}.crt")))
                .env("FOREIGN_KEY", bundle.join(format!("{identity}.key")));
        } else {
            command
                .env("FOREIGN_USER", &identity)
                .env("FOREIGN_PASSWORD", PASSWORD);
        }
        Ok(())
    }

    /// What its log warns of, the last lines. That the stranger of every run is refused is as it should be.
    pub(crate) fn warnings(&self) -> String {
        let text = fs::read_to_string(log_file(self.folder.path())).unwrap_or_default();
        let is_warning = |line: &&str| {
            let is_bad = line.contains(" WARNING ") || line.contains(" ERROR ");
            is_bad && !line.contains(" client_id=stranger ")
        };
        let mut lines: Vec<&str> = text.lines().rev().filter(is_warning).collect();
        lines.truncate(WARNINGS_SHOWN);
        lines.reverse();
        lines.join("\n")
    }

    /// The folder of a device's key and certificate.
    pub(crate) fn bundle(&self, device: &str) -> PathBuf {
        self.folder.path().join(device)
    }

    /// Where a transport is to be found.
    pub(crate) fn port(&self, transport: Transport) -> Result<String, String> {
        let listener = transport.listener();
        port_in(&self.log, listener)
            .ok_or_else(|| format!("the log names no port of {listener}:\n{}", self.log))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// From `listener.opened listener=tls address=127.0.0.1:40123 …`.
fn port_in(log: &str, listener: &str) -> Option<String> {
    let name = format!("listener={listener}");
    let line = log.lines().find(|line| {
        line.contains("listener.opened") && line.split(' ').any(|word| word == name)
    })?;
    let address = line
        .split(' ')
        .find_map(|word| word.strip_prefix("address="))?;
    address.rsplit_once(':').map(|(_, port)| port.to_owned())
}

/// A name of its own for each run, so that the runs share no limit and no session.
fn identity(run: &Run<'_>) -> String {
    let suffix = if run.is_planted { "-wrong" } else { "" };
    format!("{}-{}{suffix}", run.client.name, run.transport.word())
}

/// A device for mTLS, a user for the rest.
fn add_identity(
    moat: &Path,
    folder: &Path,
    identity: &str,
    transport: Transport,
) -> Result<(), String> {
    let mut command = Command::new(moat);
    command.arg("--data").arg(folder.join("data"));
    command.arg("--config").arg(folder.join("moat.toml"));
    if transport == Transport::Mtls {
        command.args(["device", "add", identity, "--host", HOST, "--out"]);
        command.arg(folder.join(identity));
    } else {
        command.args(["user", "add", identity, "--password-file"]);
        command.arg(folder.join("password"));
    }
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// Starts it and waits until it serves. Gives its log so far too.
fn spawn(moat: &Path, folder: &Path) -> Result<(Child, String), String> {
    let log = log_file(folder);
    let file = || File::create(&log).map_err(|error| format!("{}: {error}", log.display()));
    let mut child = Command::new(moat)
        .arg("start")
        .arg("--data")
        .arg(folder.join("data"))
        .arg("--config")
        .arg(folder.join("moat.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file()?)
        .spawn()
        .map_err(|error| format!("cannot run {}: {error}", moat.display()))?;
    let until = Instant::now() + START;
    loop {
        let said = fs::read_to_string(&log).unwrap_or_default();
        if said.contains(" server.started ") {
            return Ok((child, said));
        }
        let has_ended = !matches!(child.try_wait(), Ok(None));
        if has_ended || Instant::now() > until {
            let _killed = child.kill();
            let _ended = child.wait();
            return Err(format!("moat does not start:\n{said}"));
        }
        std::thread::park_timeout(LOOK);
    }
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_that_of_the_listener_with_the_whole_name() {
        let log = "T NOTICE listener.opened listener=wss address=127.0.0.1:1 protocol=wss\n\
                   T NOTICE listener.opened listener=ws address=127.0.0.1:2 protocol=ws\n\
                   T NOTICE server.started listener=tls address=127.0.0.1:3\n";
        assert_eq!(port_in(log, "ws"), Some("2".to_owned()));
        assert_eq!(port_in(log, "tls"), None);
    }
}
