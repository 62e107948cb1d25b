//! `mosquitto_pub`, `mosquitto_sub` and `moat sub` as child processes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use crate::broker::{Broker, MOAT};

/// Seconds a client may take for anything.
const CLIENT_TIMEOUT_SECS: &str = "20";
const LINE_TIMEOUT: Duration = Duration::from_secs(20);
const LINES_MAX: usize = 1024;

/// The arguments by which a device proves who it is.
pub(crate) fn as_device(broker: &Broker, device: &str) -> Vec<String> {
    let path = |name: &str| broker.file(device, name).to_str().unwrap().to_owned();
    [
        "--cafile".to_owned(),
        path("ca.crt"),
        "--cert".to_owned(),
        path(&format!("{device}.crt")),
        "--key".to_owned(),
        path(&format!("{device}.key")),
    ]
    .into()
}

/// Runs `mosquitto_pub` or `mosquitto_sub` to its end.
pub(crate) fn mosquitto(
    program: &str,
    broker: &Broker,
    identity: &[String],
    arguments: &[&str],
) -> Output {
    Command::new("timeout")
        .args([
            CLIENT_TIMEOUT_SECS,
            program,
            "-h",
            "127.0.0.1",
            "-p",
            &broker.port(),
        ])
        .args(identity)
        .args(arguments)
        .output()
        .unwrap()
}

/// What a client printed, both streams.
pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// A subscriber whose lines are read one by one; it is killed when dropped.
pub(crate) struct Subscriber {
    child: Child,
    lines: Receiver<String>,
}

impl Subscriber {
    /// `moat sub` as the user `wall-display`.
    pub(crate) fn as_user(broker: &Broker, topic: &str) -> Subscriber {
        let password = broker.data().join("password.txt");
        let mut command = Command::new(MOAT);
        command
            .arg("--data")
            .arg(broker.data())
            .args([
                "sub",
                "--host",
                "127.0.0.1",
                "--port",
                &broker.port(),
                "--user",
                "wall-display",
            ])
            .arg("--password-file")
            .arg(password)
            .args(["-q", "2", "-t", topic, "--json"]);
        Subscriber::run(command)
    }

    fn run(mut command: Command) -> Subscriber {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let (sender, lines) = sync_channel(LINES_MAX);
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Subscriber { child, lines }
    }

    pub(crate) fn next_line(&self) -> String {
        self.lines
            .recv_timeout(LINE_TIMEOUT)
            .expect("the subscriber printed nothing")
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}
