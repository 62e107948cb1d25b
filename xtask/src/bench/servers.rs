//! The processes that are measured: each on free ports of loopback, with a folder of its own, on one core. Only what was
//! started here is stopped, by its own handle, also after an error.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::options::Peer;
use super::process::{BOTH, GENERATOR, LOOK, Launcher, Process, SERVERS};
use super::rows::Door;

/// The identity with a certificate.
const DEVICE: &str = "bench-device";
/// Where Debian puts it.
const MOSQUITTO: &str = "/usr/sbin/mosquitto";
/// As `bench/bench.toml` for moat: nothing in its way, and what it stores is written at once.
const MOSQUITTO_CONFIG: &str = "\
user root
allow_anonymous true
set_tcp_nodelay true
sys_interval 0
max_inflight_messages 1000
max_queued_messages 0
persistence true
autosave_on_changes true
autosave_interval 1000
log_type error
";

/// What is to be measured.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Moat,
    Mosquitto,
    Floor,
    Peer(Peer),
}

impl Kind {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Moat => "moat",
            Self::Mosquitto => "mosquitto",
            Self::Floor => "floor",
            Self::Peer(peer) => &peer.name,
        }
    }

    /// Whether it can be entered that way.
    pub(super) fn has(&self, door: Door) -> bool {
        match self {
            Self::Moat | Self::Mosquitto | Self::Floor => true,
            Self::Peer(_) => door == Door::Plain,
        }
    }
}

/// Where the programs are, and the certificates that all servers use.
pub(super) struct Site {
    pub(super) moat: PathBuf,
    pub(super) load: PathBuf,
    /// Configuration and policy of moat.
    pub(super) settings: PathBuf,
    /// A data folder of moat, only for its certificates.
    pki: TempDir,
    launcher: Launcher,
}

impl Site {
    /// Makes the certificates by starting moat once.
    ///
    /// # Errors
    /// Moat does not start or gives no certificate to a device.
    pub(super) fn new(moat: PathBuf, load: PathBuf, settings: PathBuf) -> Result<Self, String> {
        let site = Self {
            moat,
            load,
            settings,
            pki: folder()?,
            launcher: Launcher::find(),
        };
        let data = site.pki.path().join("data");
        prepare(&site.settings, &data, None)?;
        drop(site.start_moat(&data, &Setup::default())?);
        let mut command = Command::new(&site.moat);
        command
            .arg("--data")
            .arg(&data)
            .args(["device", "add", DEVICE]);
        command
            .args(["--host", "127.0.0.1", "--out"])
            .arg(site.device());
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run {command:?}: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{command:?}: {}\n{said}", output.status));
        }
        Ok(site)
    }

    /// A file of the CA.
    fn pki(&self, name: &str) -> PathBuf {
        self.pki.path().join("data/pki").join(name)
    }

    fn device(&self) -> PathBuf {
        self.pki.path().join("device")
    }

    /// The load generator, to be told what to do.
    pub(super) fn load(&self) -> Command {
        self.launcher.command(GENERATOR, &self.load)
    }

    /// As [`Self::load`], for what leaves the core to another load.
    pub(super) fn nice_load(&self) -> Command {
        self.launcher.nice_command(GENERATOR, &self.load)
    }

    pub(super) fn is_pinned(&self) -> bool {
        self.launcher.is_pinning()
    }

    /// Options of the load generator for a door.
    pub(super) fn credentials(&self, door: Door) -> Vec<String> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut words = Vec::new();
        if door != Door::Plain {
            words.extend([
                "--tls".to_owned(),
                "--ca".to_owned(),
                text(self.pki("ca.crt")),
            ]);
        }
        if door == Door::Mtls {
            let file = |ending: &str| text(self.device().join(format!("{DEVICE}.{ending}")));
            words.extend([
                "--cert".to_owned(),
                file("crt"),
                "--key".to_owned(),
                file("key"),
            ]);
        }
        words
    }

    fn start_moat(&self, data: &Path, setup: &Setup<'_>) -> Result<Process, String> {
        let cores = if setup.is_on_all_cores { BOTH } else { SERVERS };
        let mut command = self.launcher.command(cores, &self.moat);
        command.arg("start").arg("--data").arg(data);
        command.args(["--shards", &setup.shards.to_string()]);
        let log = data.join("log");
        let mut process = Process::spawn(&mut command, &log)?;
        process.wait(|| {
            fs::read_to_string(&log).is_ok_and(|said| said.contains(" server.started "))
        })?;
        Ok(process)
    }
}

/// How moat is started, where that is not as `bench/bench.toml` says.
pub(super) struct Setup<'a> {
    /// Its policy, if it is another one.
    pub(super) policy: Option<&'a str>,
    pub(super) shards: usize,
    pub(super) is_on_all_cores: bool,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            policy: None,
            shards: 1,
            is_on_all_cores: false,
        }
    }
}

/// A running server.
pub(super) struct Server {
    pub(super) kind: Kind,
    doors: Vec<(Door, u16, usize)>,
    processes: Vec<Process>,
    folder: TempDir,
}

impl Server {
    /// Starts it and waits until it can be connected to.
    ///
    /// # Errors
    /// It does not start; the message has what it said.
    pub(super) fn start(site: &Site, kind: &Kind) -> Result<Self, String> {
        Self::start_with(site, kind, &Setup::default())
    }

    /// As [`Self::start`], moat with another setup.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(super) fn start_with(site: &Site, kind: &Kind, setup: &Setup<'_>) -> Result<Self, String> {
        let folder = folder()?;
        let path = folder.path();
        let mut server = Self {
            kind: kind.clone(),
            doors: Vec::new(),
            processes: Vec::new(),
            folder: TempDir::new().map_err(|error| error.to_string())?,
        };
        let started = match kind {
            Kind::Moat => server.moat(site, path, setup),
            Kind::Mosquitto => server.mosquitto(site, path),
            Kind::Floor => server.floor(site, path),
            Kind::Peer(peer) => server.peer(site, path, peer),
        };
        started.map_err(|error| format!("{}: {error}", kind.name()))?;
        server.folder = folder;
        Ok(server)
    }

    /// Port and process id behind a door.
    pub(super) fn door(&self, door: Door) -> Option<(u16, u32)> {
        let (_, port, process) = self.doors.iter().find(|(other, ..)| *other == door)?;
        Some((*port, self.processes.get(*process)?.id()))
    }

    /// What moat says of itself.
    ///
    /// # Errors
    /// It does not answer; the message has what was said instead.
    pub(super) fn status(&self, site: &Site) -> Result<Value, String> {
        let mut command = Command::new(&site.moat);
        command.arg("--data").arg(self.folder.path().join("data"));
        let output = command
            .args(["status", "--json"])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run {command:?}: {error}"))?;
        serde_json::from_slice(&output.stdout).map_err(|_| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("{command:?}: {}\n{said}", output.status)
        })
    }

    fn moat(&mut self, site: &Site, folder: &Path, setup: &Setup<'_>) -> Result<(), String> {
        let data = folder.join("data");
        prepare(&site.settings, &data, setup.policy)?;
        copy_folder(&site.pki(""), &data.join("pki"))?;
        let process = site.start_moat(&data, setup)?;
        let log = process.said();
        for (door, listener) in [
            (Door::Plain, "plain"),
            (Door::Tls, "tls"),
            (Door::Mtls, "mtls"),
        ] {
            let port =
                port_in(&log, listener).ok_or_else(|| format!("no port of {listener}:\n{log}"))?;
            self.doors.push((door, port, 0));
        }
        self.processes.push(process);
        Ok(())
    }

    fn mosquitto(&mut self, site: &Site, folder: &Path) -> Result<(), String> {
        let mut config = MOSQUITTO_CONFIG.to_owned();
        config.push_str(&format!("persistence_location {}/\n", folder.display()));
        for door in [Door::Plain, Door::Tls, Door::Mtls] {
            let port = free_port()?;
            config.push_str(&format!("listener {port} 127.0.0.1\n"));
            if door != Door::Plain {
                for (key, file) in [
                    ("certfile", "server.crt"),
                    ("keyfile", "server.key"),
                    ("cafile", "ca.crt"),
                ] {
                    config.push_str(&format!("{key} {}\n", site.pki(file).display()));
                }
            }
            if door == Door::Mtls {
                config.push_str("require_certificate true\n");
            }
            self.doors.push((door, port, 0));
        }
        let path = folder.join("mosquitto.conf");
        fs::write(&path, config).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut command = site.launcher.command(SERVERS, Path::new(MOSQUITTO));
        self.spawn(command.arg("-c").arg(path), folder)
    }

    /// Three processes: the floor in plain and a bare accept for each kind of handshake.
    fn floor(&mut self, site: &Site, folder: &Path) -> Result<(), String> {
        for (number, door) in [Door::Plain, Door::Tls, Door::Mtls].into_iter().enumerate() {
            let port = free_port()?;
            let mut command = site.launcher.command(SERVERS, &site.load);
            command.args(["floor", "--port", &port.to_string()]);
            if door != Door::Plain {
                command.arg("--cert").arg(site.pki("server.crt"));
                command.arg("--key").arg(site.pki("server.key"));
            }
            if door == Door::Mtls {
                command.arg("--client-ca").arg(site.pki("ca.crt"));
            }
            self.doors.push((door, port, number));
            self.spawn(&mut command, folder)?;
        }
        Ok(())
    }

    fn peer(&mut self, site: &Site, folder: &Path, peer: &Peer) -> Result<(), String> {
        let port = free_port()?;
        let command = peer
            .command
            .replace("{port}", &port.to_string())
            .replace("{dir}", &folder.to_string_lossy());
        let mut words = command.split_whitespace();
        let program = words.next().ok_or("its command is empty")?;
        let mut command = site.launcher.command(SERVERS, Path::new(program));
        self.doors.push((Door::Plain, port, 0));
        self.spawn(command.args(words).current_dir(folder), folder)
    }

    /// Starts the process behind the last door and waits until the door is open.
    fn spawn(&mut self, command: &mut Command, folder: &Path) -> Result<(), String> {
        let log = folder.join(format!("log-{}", self.processes.len()));
        let mut process = Process::spawn(command, &log)?;
        let port = self.doors.last().map_or(0, |(_, port, _)| *port);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        process.wait(|| TcpStream::connect_timeout(&address, LOOK).is_ok())?;
        self.processes.push(process);
        Ok(())
    }
}

/// Whether Debian's mosquitto is installed.
pub(super) fn has_mosquitto() -> bool {
    Path::new(MOSQUITTO).is_file()
}

/// A data folder of moat with the committed configuration.
fn prepare(settings: &Path, data: &Path, policy: Option<&str>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", data.display());
    fs::create_dir(data).map_err(failed)?;
    fs::copy(settings.join("bench.toml"), data.join("moat.toml")).map_err(failed)?;
    match policy {
        None => fs::copy(
            settings.join("bench-policy.toml"),
            data.join("bench-policy.toml"),
        )
        .map(drop),
        Some(text) => fs::write(data.join("bench-policy.toml"), text),
    }
    .map_err(failed)?;
    private(data)
}

/// Moat wants a folder that nobody else can read.
fn private(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", from.display());
    fs::create_dir(to).map_err(failed)?;
    private(to)?;
    for entry in fs::read_dir(from).map_err(failed)?.flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).map_err(failed)?;
    }
    Ok(())
}

fn folder() -> Result<TempDir, String> {
    tempfile::tempdir().map_err(|error| format!("a folder: {error}"))
}

/// A port that nobody had a moment ago.
fn free_port() -> Result<u16, String> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}"))
}

/// From `listener.opened listener=tls address=127.0.0.1:40123 …`.
fn port_in(log: &str, listener: &str) -> Option<u16> {
    let name = format!(" listener={listener} ");
    let line = log
        .lines()
        .find(|line| line.contains(" listener.opened ") && line.contains(&name))?;
    let address = line
        .split(' ')
        .find_map(|word| word.strip_prefix("address="))?;
    address.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_that_of_the_listener_with_the_whole_name() {
        let log = "T NOTICE listener.opened listener=mtls address=127.0.0.1:7 protocol=tls\n\
                   T NOTICE listener.opened listener=tls address=127.0.0.1:8 protocol=tls\n";
        assert_eq!(port_in(log, "tls"), Some(8));
        assert_eq!(port_in(log, "plain"), None);
    }
}
