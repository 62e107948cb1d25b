//! A data folder for one broker after the other, and its configuration.

use std::fmt::Write;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use moat_testkit::MoatProcess;
use tempfile::TempDir;

pub(crate) const MOAT: &str = env!("CARGO_BIN_EXE_moat");

const POLICY: &str = "version = 1\n\n[[rule]]\nname = \"all\"\nwho = [\"*\"]\n\
                      allow = [\"publish\", \"subscribe\", \"retain\"]\ntopics = [\"#\"]\n";

/// Limits so high that nothing is dropped, refused or slowed down for one.
const LIMITS: &[(&str, &str)] = &[
    ("inflight_messages_max", "32"),
    ("queued_messages_max", "10000000"),
    ("queued_bytes_max", "\"4 GiB\""),
    ("connections_max", "2000"),
    ("unauthenticated_per_address_max", "2000"),
    ("new_address_connections_reserve", "0"),
    ("connections_per_identity_max", "2000"),
    ("publishes_per_sec_max", "1000000"),
    ("publish_burst_max", "1000000"),
    ("filters_per_sec_max", "1000000"),
    ("connect_timeout_secs", "60"),
    ("retained_per_identity_max", "1000000"),
    ("out_buffer_bytes_max", "\"16 MiB\""),
    ("inbox_messages_max", "1048576"),
];

/// How long a line of the log may take.
const LOG_PATIENCE: Duration = Duration::from_secs(20);

/// What the next broker is started with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    /// Packet threads.
    pub(crate) shards: usize,
    /// 0 for any.
    pub(crate) port: u16,
    /// The key `durability`.
    pub(crate) durability: &'static str,
    /// Where the store is, from beside the data folder, if it is not in it.
    pub(crate) store: Option<&'static str>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            shards: 2,
            port: 0,
            durability: "fsync",
            store: None,
        }
    }
}

impl Drop for Place {
    /// A test that fails tells what the broker said last.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the broker's log ends with:\n{}", self.last_words());
        }
    }
}

/// A data folder, and beside it the configuration, the policy and the log.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = Place { folder };
        fs::create_dir(place.data()).unwrap();
        fs::set_permissions(place.data(), Permissions::from_mode(0o700)).unwrap();
        fs::write(place.beside("rules.toml"), POLICY).unwrap();
        place
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.beside("data")
    }

    /// Where the broker keeps what is durable.
    pub(crate) fn store(&self) -> PathBuf {
        self.data().join("store")
    }

    /// A path outside of the data folder.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a broker and waits until it listens.
    pub(crate) fn start(&self, settings: Settings) -> (MoatProcess, SocketAddr) {
        self.configure(settings);
        let config = self.config();
        let mut process = MoatProcess::start_in(Path::new(MOAT), &self.data(), &self.args(&config));
        let address = process.address();
        (process, address)
    }

    /// As [`Self::start`], watched by another program.
    pub(crate) fn start_under(
        &self,
        wrapper: &[&str],
        settings: Settings,
    ) -> (MoatProcess, SocketAddr) {
        self.configure(settings);
        let config = self.config();
        let args = self.args(&config);
        let mut process = MoatProcess::start_under(wrapper, Path::new(MOAT), &self.data(), &args);
        let address = process.address();
        (process, address)
    }

    /// The end of the broker's log.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(self.beside("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn config(&self) -> String {
        self.beside("moat.toml").display().to_string()
    }

    fn args<'c>(&self, config: &'c str) -> [&'c str; 2] {
        ["--config", config]
    }

    /// Waits until the broker's log has a word.
    pub(crate) fn wait_for_log(&self, word: &str) {
        let until = Instant::now() + LOG_PATIENCE;
        while !fs::read_to_string(self.beside("log")).is_ok_and(|log| log.contains(word)) {
            assert!(
                Instant::now() < until,
                "no {word} in the log:\n{}",
                self.last_words()
            );
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// The keys of the store.
    fn store_keys(&self, settings: Settings) -> String {
        let path = settings.store.map(|path| self.beside(path));
        let path = path.map(|path| format!("path = \"{}\"\n", path.display()));
        format!(
            "[store]\ndurability = \"{}\"\n{}",
            settings.durability,
            path.unwrap_or_default()
        )
    }

    fn configure(&self, settings: Settings) {
        let log = self.beside("log");
        let mut text = format!(
            "shards = {}\nsys_interval_secs = 0\n{}\n\n[[listener]]\nname = \"plain\"\nprotocol = \"tcp\"\nbind = [\"127.0.0.1:{}\"]\n\
             anonymous = true\n\n[policy]\nfiles = [\"rules.toml\"]\n\n[log]\ndestination = \"{}\"\nlevel = \"debug\"\n\n[limits]\n",
            settings.shards,
            self.store_keys(settings),
            settings.port,
            log.display(),
        );
        for (key, value) in LIMITS {
            writeln!(text, "{key} = {value}").unwrap();
        }
        fs::write(self.config(), text).unwrap();
    }
}
