//! A broker with two devices and one user, made by moat's own commands.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use moat_testkit::process::MoatProcess;

pub(crate) const MOAT: &str = env!("CARGO_BIN_EXE_moat");
pub(crate) const PASSWORD: &str = "a long enough password";

/// The policy of the README: devices in their own subtree, and one user who reads them all.
const POLICY: &str = r#"
version = 1

[[rule]]
name = "wall display"
who = ["wall-display"]
allow = ["subscribe"]
topics = ["devices/#"]

[[rule]]
name = "own subtree"
who = ["*"]
allow = ["publish", "subscribe", "retain"]
topics = ["devices/${identity}/#"]
"#;

pub(crate) struct Broker {
    pub(crate) process: MoatProcess,
    pub(crate) address: SocketAddr,
}

impl Broker {
    /// Starts on a free port, then adds `press-1`, `press-2` and the user `wall-display`.
    pub(crate) fn start() -> Broker {
        let mut process = MoatProcess::start(MOAT.as_ref(), &["--bind", "127.0.0.1:0"]);
        let address = process.address();
        let broker = Broker { process, address };
        std::fs::write(broker.data().join("policy.toml"), POLICY).unwrap();
        for device in ["press-1", "press-2"] {
            broker.moat(&[
                "device",
                "add",
                device,
                "--host",
                "127.0.0.1",
                "--out",
                &broker.bundle(device),
            ]);
        }
        let password = broker.data().join("password.txt");
        std::fs::write(&password, PASSWORD).unwrap();
        broker.moat(&[
            "user",
            "add",
            "wall-display",
            "--password-file",
            password.to_str().unwrap(),
        ]);
        broker
    }

    pub(crate) fn data(&self) -> &Path {
        self.process.data()
    }

    pub(crate) fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// The folder of a device's key and certificate.
    pub(crate) fn bundle(&self, device: &str) -> String {
        self.data()
            .join("bundles")
            .join(device)
            .to_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) fn file(&self, device: &str, name: &str) -> PathBuf {
        Path::new(&self.bundle(device)).join(name)
    }

    /// Runs a command of moat on the broker's data folder; it has to succeed.
    pub(crate) fn moat(&self, arguments: &[&str]) -> Output {
        let output = self.try_moat(arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "moat {arguments:?}: {} {text}",
            output.status
        );
        output
    }

    pub(crate) fn try_moat(&self, arguments: &[&str]) -> Output {
        Command::new(MOAT)
            .arg("--data")
            .arg(self.data())
            .args(arguments)
            .output()
            .unwrap()
    }

    /// The broker has read the files that were just written: its log says so.
    pub(crate) fn wait_for_reload(&mut self) {
        self.process.hang_up();
        for what in ["what=policy", "what=users"] {
            self.wait_for_log(&["reload.succeeded", what]);
        }
    }

    /// Waits for a line of the log that holds all of `words`.
    pub(crate) fn wait_for_log(&mut self, words: &[&str]) -> String {
        self.process.wait_for(|line| {
            words
                .iter()
                .all(|word| line.contains(word))
                .then(|| line.to_owned())
        })
    }
}
