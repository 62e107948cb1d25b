//! The `moat` program with small limits, and its memory as the kernel counts it.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use moat_config::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use super::ceiling::{Ceiling, Scope, ceiling};
use crate::broker::Transport;
use crate::process::MoatProcess;

/// Packet threads of a fort.
const SHARDS: usize = 2;
/// The largest packet of MQTT, as the configuration has it. Unit: bytes.
pub(super) const LARGEST_PACKET: &str = "268435455";

/// Limits of a fort that an attack may replace: small, so that a ceiling means something; rates are high, since a client that is
/// slowed down hides what its packets cost.
const LIMITS: &[(&str, &str)] = &[
    ("packet_bytes_max", "4096"),
    ("topic_bytes_max", "256"),
    ("topic_levels_max", "12"),
    ("client_id_bytes_max", "64"),
    ("filters_per_packet_max", "16"),
    ("user_properties_max", "4"),
    ("inflight_messages_max", "8"),
    ("queued_messages_max", "64"),
    ("queued_bytes_max", "65536"),
    ("connections_max", "24"),
    ("new_address_connections_reserve", "0"),
    ("unauthenticated_per_address_max", "24"),
    ("subscriptions_per_session_max", "16"),
    ("publishes_per_sec_max", "1000000"),
    ("publish_burst_max", "1000000"),
    ("filters_per_sec_max", "1000000"),
    ("connect_timeout_secs", "10"),
    ("sessions_max", "4"),
    ("retained_messages_max", "64"),
    ("retained_bytes_max", "131072"),
    ("retained_per_identity_max", "1000"),
    ("topic_alias_max", "8"),
    ("out_buffer_bytes_max", "4096"),
    ("preauth_bytes_total_max", "1048576"),
    ("inbox_messages_max", "64"),
    ("password_checks_max", "1"),
    ("password_checks_queued_max", "1"),
];

const POLICY: &str = "version = 1\n\n[[rule]]\nname = \"all\"\nwho = [\"*\"]\n\
                      allow = [\"publish\", \"subscribe\", \"retain\"]\ntopics = [\"#\"]\n";

/// Whether a fort listens for TLS too. A TLS connection may cost far more than one without, so a fort without has a ceiling
/// that means more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listeners {
    /// Plain TCP, and WebSocket over it.
    Plain,
    /// Those, and both over TLS.
    All,
}

/// Where attacks go.
#[derive(Clone, Debug)]
pub struct Target {
    /// Plain TCP.
    pub plain: SocketAddr,
    /// WebSocket, at `/mqtt`.
    pub ws: SocketAddr,
    /// TLS, and WebSocket over TLS at `/mqtt`, if the fort listens for them.
    pub tls: Option<(SocketAddr, SocketAddr)>,
    /// The authority the server's certificate comes from, PEM.
    pub ca_pem: String,
}

impl Target {
    /// Where a transport is listened for.
    #[must_use]
    pub fn address(&self, transport: Transport) -> SocketAddr {
        let (tls, wss) = self.tls.unwrap_or((self.plain, self.ws));
        assert!(
            self.tls.is_some() || !transport.is_tls(),
            "this fort has no TLS"
        );
        match transport {
            Transport::Plain => self.plain,
            Transport::Tls => tls,
            Transport::Ws => self.ws,
            Transport::Wss => wss,
            Transport::Unix => panic!("a fort has no Unix socket"),
        }
    }
}

/// A running `moat` with everybody let in, and every right for all.
pub struct Fort {
    process: MoatProcess,
    /// Where it listens.
    pub target: Target,
    /// The limits it keeps.
    pub limits: Limits,
    listeners: Listeners,
    log: PathBuf,
    _folder: TempDir,
}

impl Fort {
    /// Starts `binary` with the limits of a fort, some of them replaced.
    #[must_use]
    pub fn start(binary: &Path, listeners: Listeners, replaced: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (config, log) = (folder.path().join("moat.toml"), folder.path().join("log"));
        let text = config_text(&log, listeners, replaced);
        fs::write(&config, &text).unwrap();
        fs::write(folder.path().join("rules.toml"), POLICY).unwrap();
        let limits = moat_config::load(&config).unwrap().config.limits;
        let data = folder.path().join("data");
        let config = config.display().to_string();
        let mut process = MoatProcess::start_in(binary, &data, &["--config", &config]);
        let mut address = |transport: &str| {
            process.wait_for(|line| {
                let (_, rest) = line.trim_start().split_once("listens on")?;
                let (address, kind) = rest.trim_start().split_once(' ')?;
                kind.starts_with(transport)
                    .then(|| address.parse().unwrap())
            })
        };
        let target = Target {
            plain: address("(plain,"),
            ws: address("(plain WebSocket"),
            tls: (listeners == Listeners::All).then(|| (address("(TLS"), address("(WebSocket"))),
            ca_pem: fs::read_to_string(data.join("pki/ca.crt")).unwrap(),
        };
        Fort {
            process,
            target,
            limits,
            listeners,
            log,
            _folder: folder,
        }
    }

    /// The most memory it may have, counted from what it has had by now. See [`ceiling()`].
    #[must_use]
    pub fn ceiling(&self, packet_bytes_sent_max: Option<u32>) -> Ceiling {
        let scope = Scope {
            shards: SHARDS,
            has_tls: self.listeners == Listeners::All,
            base: self.peak_bytes(),
            packet_bytes_sent_max,
        };
        ceiling(&self.limits, &scope)
    }

    /// Bytes of memory it has now.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    /// The most bytes of memory it has had since its start.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        status.is_ok_and(|status| !status.contains("State:\tZ"))
    }

    fn status_kib(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let line = line.unwrap_or_else(|| panic!("moat has ended:\n{}", self.last_words()));
        let kib = line.split_whitespace().next().unwrap();
        kib.parse().unwrap()
    }

    /// The end of its log.
    #[must_use]
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(20).collect();
        lines.join("\n")
    }

    /// Asks it to end, and fails unless it does so cleanly and never spoke of a panic.
    pub fn stop(mut self) {
        self.process.terminate();
        let status = self.process.wait();
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let output = self.process.output().iter().map(String::as_str);
        let panics: Vec<&str> = output
            .chain(log.lines())
            .filter(|line| line.contains("panic"))
            .collect();
        assert!(panics.is_empty(), "{panics:#?}");
        assert!(status.success(), "{status}: {:#?}", self.process.output());
    }
}

fn config_text(log: &Path, listeners: Listeners, replaced: &[(&str, &str)]) -> String {
    let mut text = format!("shards = {SHARDS}\n");
    let protocols: &[&str] = match listeners {
        Listeners::Plain => &["tcp", "ws"],
        Listeners::All => &["tcp", "ws", "tls", "wss"],
    };
    for protocol in protocols {
        let is_tls = ["tls", "wss"].contains(protocol);
        let client_auth = if is_tls {
            "client_auth = \"off\"\n"
        } else {
            ""
        };
        let listener = format!(
            "\n[[listener]]\nname = \"{protocol}\"\nprotocol = \"{protocol}\"\nbind = [\"127.0.0.1:0\"]\n\
             anonymous = true\n{client_auth}"
        );
        text.push_str(&listener);
    }
    text.push_str("\n[policy]\nfiles = [\"rules.toml\"]\n");
    write!(
        text,
        "\n[log]\ndestination = \"{}\"\nlevel = \"info\"\n",
        log.display()
    )
    .unwrap();
    if replaced.contains(&("packet_bytes_max", LARGEST_PACKET)) {
        // So large a message cannot be stored.
        text.push_str("\n[store]\ndurability = \"none\"\n");
    }
    text.push_str("\n[limits]\n");
    for (key, value) in LIMITS {
        let value = replaced
            .iter()
            .find(|(name, _)| name == key)
            .map_or(value, |(_, new)| new);
        writeln!(text, "{key} = {value}").unwrap();
    }
    let is_known = |key: &str| LIMITS.iter().any(|(name, _)| *name == key);
    for (key, value) in replaced.iter().filter(|(key, _)| !is_known(key)) {
        writeln!(text, "{key} = {value}").unwrap();
    }
    text
}

/// Lets this process open as many files as the system allows.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}
