//! The small sections: TLS, authentication, policy, log.

use std::path::{Path, PathBuf};

use crate::choice::choice;
use crate::section::section;
use crate::setting::{Kind, Setting, Value, quoted};

/// The most policy files.
const POLICY_FILES_MAX: usize = 16;

section! {
    /// What all TLS listeners have in common.
    pub struct Tls = "[tls]" {
        /// The lowest TLS version a client may speak. Raise it once every device speaks TLS 1.3.
        version_min: TlsVersion = TlsVersion::V1_2 => Kind::Choice(TlsVersion::WORDS), example "\"tlsv1.3\"";
        /// The most CA certificates between a client's certificate and its end, the root included. Raise it for a CA
        /// with more than two intermediates.
        ca_depth_max: u16 = 3 => Kind::Count { min: 1, max: 8 }, example "4";
    }
}

section! {
    /// What clients are told of other servers.
    pub struct Mqtt = "[mqtt]" {
        /// Where clients go when this broker stops: `host` or `host:port`, several with one space between, the best first. A client
        /// of MQTT 5.0 gets it with DISCONNECT 0x9C (use another server), which is meant for a while; without it 0x8B says that the
        /// server shuts down, and clients try again.
        server_reference: Option<String> = None => Kind::ServerReference, example "\"mqtt-2.example.org:8883\"",
            unset "not set: clients are sent nowhere else";
    }
}

section! {
    /// How clients without a certificate prove who they are.
    pub struct Auth = "[auth]" {
        /// The file of users and password hashes that `moat user` edits.
        users: PathBuf = PathBuf::from("users") => Kind::Path, example "\"/etc/moat/users\"",
            unset "`users` in the data folder";
    }
}

section! {
    /// Who may publish and subscribe where.
    pub struct PolicyFiles = "[policy]" {
        /// The policy files; their rules are tried in this order. If the default file does not exist, the built-in policy holds:
        /// every identity has its own subtree `devices/<identity>/#` and nothing else. A file whose name does not end in `.toml`
        /// is a mosquitto ACL, see [From mosquitto](operating.md#from-mosquitto).
        files: Vec<PathBuf> = vec![PathBuf::from("policy.toml")] => Kind::Paths { count_max: POLICY_FILES_MAX },
            example "[\"policy.toml\", \"plant-2.toml\"]", unset "`policy.toml` in the data folder";
    }
}

section! {
    /// Where moat tells what happens, see the list of [events](events.md).
    pub struct Log = "[log]" {
        /// Lines for people or JSON lines for machines.
        format: LogFormat = LogFormat::Text => Kind::Choice(LogFormat::WORDS), example "\"json\"";
        /// Standard error or a file, which is created with mode 0640 and opened again on SIGHUP.
        destination: LogDestination = LogDestination::Stderr => Kind::StderrOrPath, example "\"log/moat.log\"";
        /// Events that matter less are left out.
        level: LogLevel = LogLevel::Info => Kind::Choice(LogLevel::WORDS), example "\"notice\"";
    }
}

choice! {
    /// A version of TLS.
    pub enum TlsVersion {
        /// TLS 1.2, RFC 5246.
        V1_2 = "tlsv1.2",
        /// TLS 1.3, RFC 8446.
        V1_3 = "tlsv1.3",
    }
}

choice! {
    /// The form of a log line.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// For machines: one JSON object per line.
        Json = "json",
    }
}

choice! {
    /// How much an event must matter to be logged.
    pub enum LogLevel {
        /// The broker cannot do what it was told to.
        Error = "error",
        /// Something was refused or is about to fail.
        Warning = "warning",
        /// Normal, and worth a line in every log.
        Notice = "notice",
        /// Normal, of interest when looking for something.
        Info = "info",
        /// For finding faults.
        Debug = "debug",
    }
}

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogDestination {
    /// Standard error.
    Stderr,
    /// A file.
    File(PathBuf),
}

impl Setting for LogDestination {
    fn read<'v, 'i>(
        value: &'v Value<'i>,
        kind: &Kind,
        folder: &Path,
    ) -> Result<Self, &'v Value<'i>> {
        match value.get_ref().as_str() {
            Some("stderr") => Ok(Self::Stderr),
            _ => PathBuf::read(value, kind, folder).map(Self::File),
        }
    }

    fn to_toml(&self, _: &Kind) -> Option<String> {
        Some(match self {
            Self::Stderr => quoted("stderr"),
            Self::File(path) => quoted(&path.display().to_string()),
        })
    }
}
