//! A Unix socket with `mosquitto_pub` and `mosquitto_sub`: passwords as anywhere, credentials in the log, and what becomes
//! of the file.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use moat_testkit::process::MoatProcess;
use tempfile::TempDir;

use crate::broker::{MOAT, PASSWORD};
use crate::clients::text;

pub(crate) const CONFIG: &str =
    "[[listener]]\nprotocol = \"unix\"\nname = \"local\"\nsocket = \"mqtt.sock\"\n";
/// Debug builds check passwords slowly, and the machine may be busy.
const CLIENT_TIMEOUT_SECS: &str = "30";

/// A data folder whose broker listens on a Unix socket in it.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { folder };
        std::fs::create_dir(place.data()).unwrap();
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(place.data(), private).unwrap();
        place.configure(CONFIG);
        place
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("moat-data")
    }

    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.data().join("moat.toml"), text).unwrap();
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.data().join("mqtt.sock")
    }

    pub(crate) fn start(&self) -> MoatProcess {
        let mut process = MoatProcess::start_in(MOAT.as_ref(), &self.data(), &[]);
        process.wait_for(|line| line.contains("server.started").then_some(()));
        process
    }

    pub(crate) fn add_user(&self, name: &str) {
        let password = self.data().join("password.txt");
        std::fs::write(&password, PASSWORD).unwrap();
        let file = password.to_str().unwrap();
        let output = self.moat(&["user", "add", name, "--password-file", file]);
        assert!(output.status.success(), "{}", text(&output));
    }

    pub(crate) fn moat(&self, arguments: &[&str]) -> Output {
        let data = self.data();
        let mut moat = Command::new(MOAT);
        moat.arg("--data").arg(data).args(arguments);
        moat.output().unwrap()
    }
}

pub(crate) fn client(program: &str, socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command
        .args([CLIENT_TIMEOUT_SECS, program, "--unix"])
        .arg(socket)
        .args(arguments);
    command
}

#[test]
fn clients_of_mosquitto_come_with_a_password_and_are_known_by_their_user() {
    let place = Place::new();
    place.add_user("meter");
    let mut broker = place.start();
    let mode = std::fs::metadata(place.socket()).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o660);
    let as_meter = ["-u", "meter", "-P", PASSWORD, "-q", "1"];

    let mut subscribe = client("mosquitto_sub", &place.socket(), &as_meter);
    subscribe.args(["-t", "devices/meter/#", "-C", "1", "-i", "the-subscriber"]);
    let subscriber = subscribe.stdout(Stdio::piped()).spawn().unwrap();
    let connected = broker.wait_for(|line| {
        let is_it = line.contains("client.connected") && line.contains("the-subscriber");
        is_it.then(|| line.to_owned())
    });
    let uid = rustix::process::geteuid().as_raw();
    let credentials = format!("address=unix:uid:{uid},gid:");
    assert!(connected.contains(&credentials), "{connected}");
    assert!(connected.contains("listener=local"), "{connected}");

    let mut publish = client("mosquitto_pub", &place.socket(), &as_meter);
    // Retained, so that it does not matter who is first.
    publish.args(["-t", "devices/meter/kwh", "-m", "42", "-r"]);
    let published = publish.output().unwrap();
    assert!(published.status.success(), "{}", text(&published));
    let received = subscriber.wait_with_output().unwrap();
    assert_eq!(text(&received), "42\n");

    let wrong = ["-u", "meter", "-P", "a wrong password, as long", "-q", "1"];
    let mut refused = client("mosquitto_pub", &place.socket(), &wrong);
    let refused = refused
        .args(["-t", "devices/meter/x", "-m", "x"])
        .output()
        .unwrap();
    assert!(!refused.status.success(), "{}", text(&refused));
    broker.wait_for(|line| {
        let is_it = line.contains("authentication.failed") && line.contains(&credentials);
        is_it.then_some(())
    });
    let status = text(&place.moat(&["status"]));
    assert!(
        status.contains("unix:") && status.contains("mqtt.sock"),
        "{status}"
    );
}

#[test]
fn the_socket_goes_at_a_stop_and_is_replaced_after_a_crash() {
    let place = Place::new();
    let mut broker = place.start();
    broker.terminate();
    assert!(broker.wait().success());
    assert!(!place.socket().exists());

    let mut broker = place.start();
    broker.kill();
    broker.wait();
    assert!(place.socket().exists());
    let _broker = place.start();
}

#[test]
fn the_socket_of_a_running_broker_is_not_taken() {
    let place = Place::new();
    let broker = place.start();
    let other = Place::new();
    let socket = place.socket();
    let configured = CONFIG.replace("mqtt.sock", socket.to_str().unwrap());
    other.configure(&configured);
    let refused = other.moat(&["start"]);
    let output = text(&refused);
    assert!(!refused.status.success(), "{output}");
    let process = format!("(process {})", broker.id());
    assert!(
        output.contains("listens on it already") && output.contains(&process),
        "{output}"
    );
    assert!(socket.exists());
}

#[test]
fn check_says_who_can_connect() {
    let place = Place::new();
    let output = text(&place.moat(&["check"]));
    assert!(
        output.contains("mode 0660: the user and the group the broker runs as can connect"),
        "{output}"
    );
    place.configure(&format!("{CONFIG}socket_mode = \"0666\"\n"));
    let output = text(&place.moat(&["check"]));
    assert!(
        output.contains("warning") && output.contains("every user and program"),
        "{output}"
    );
}
