//! `[[listener]]`: where the broker listens and what it asks of those who come.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::choice::choice;
use crate::section::section;
use crate::setting::FileMode;

/// The port of MQTT over TLS.
pub const DEFAULT_PORT: u16 = 8883;

/// The port of MQTT over WebSocket over TLS.
pub const DEFAULT_WSS_PORT: u16 = 8084;

/// The longest path of a Unix socket on Linux, without the zero at its end. Unit: bytes.
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The permissions of a Unix socket: its user and group may connect.
const DEFAULT_SOCKET_MODE: FileMode = FileMode::new(0o660);

/// The most listeners in a file.
pub const LISTENERS_MAX: usize = 64;

/// The most addresses of one listener.
const BIND_ADDRESSES_MAX: usize = 16;

/// The most origins of one listener.
const ORIGINS_MAX: usize = 64;

section! {
    /// An address to listen on. Without any, there are two with these defaults: `tls` on port 8883 and `wss` on port 8084. May be
    /// written several times.
    pub struct Listener = "[[listener]]" {
        /// The name in the log and in the status.
        name: String = String::new() => Kind::Name, example "\"plant\"", unset "protocol and first port, like `tls-8883`, or `unix`";
        /// The addresses. Without it, `wss` is on port 8084. A listener without TLS must name them.
        bind: Vec<SocketAddr> = everywhere(DEFAULT_PORT) => Kind::Addresses { count_max: BIND_ADDRESSES_MAX }, example "[\"192.0.2.1:8883\"]";
        /// TLS or plain TCP, or WebSocket over either: `wss` and `ws`. Without TLS everybody on the way can read and change
        /// passwords and messages. Or `unix`: programs of this machine only, by the file `socket`.
        protocol: Protocol = Protocol::Tls => Kind::Choice(Protocol::WORDS), example "\"tcp\"";
        /// Whether a client is asked for a certificate. With `requested`, one without a certificate needs a user name and
        /// password; with `required` it is turned away. Always `off` without TLS. Without it, `wss` is `off`, unless `client_ca`
        /// is set: a browser gives up a WebSocket that asks for a certificate.
        client_auth: ClientAuth = ClientAuth::Requested => Kind::Choice(ClientAuth::WORDS), example "\"required\"";
        /// Whether a client without certificate and password gets in, as the identity `<anonymous>`.
        anonymous: bool = false => Kind::Bool, example "true";
        /// Which client ids an identity may use. Rules that speak of `${clientid}` need another value than `any`, since there
        /// the client chooses it freely.
        client_id: ClientIdMode = ClientIdMode::Any => Kind::Choice(ClientIdMode::WORDS), example "\"is-identity\"";
        /// The part of a client's certificate that is its identity.
        identity_from: IdentityFrom = IdentityFrom::Cn => Kind::Choice(IdentityFrom::WORDS), example "\"san-dns\"";
        /// The Unix socket to listen on, with `protocol = "unix"`. The broker makes it, replaces one that a dead broker left,
        /// and removes it at the end, so its user must be able to write to the folder. At most 107 bytes.
        socket: Option<PathBuf> = None => Kind::Path, example "\"/run/moat/mqtt.sock\"", unset "none; `unix` needs one";
        /// Who may connect to `socket`: whoever the file's permissions let write. It belongs to the user and group the broker
        /// runs as.
        socket_mode: FileMode = DEFAULT_SOCKET_MODE => Kind::FileMode, example "\"0666\"";
        /// The path of WebSocket requests.
        path: String = "/mqtt".to_owned() => Kind::RequestPath, example "\"/\"";
        /// The pages that may connect by WebSocket, each as its origin: scheme, host and, unless it is the scheme's own, port.
        /// Without it, only pages from the very host and port they connect to. Programs that are not browsers send no origin
        /// and may always connect.
        origins: Vec<String> = Vec::new() => Kind::Origins { count_max: ORIGINS_MAX }, example "[\"https://dashboard.example.org\"]", unset "none";
        /// The server certificate with its intermediates as PEM. Set it, with `key`, to use one from another CA.
        certificate: Option<PathBuf> = None => Kind::Path, example "\"tls/server.pem\"", unset "the one in `pki` of the data folder";
        /// The private key of `certificate` as PEM, readable by its owner only.
        key: Option<PathBuf> = None => Kind::Path, example "\"tls/server.key\"", unset "the one in `pki` of the data folder";
        /// The CA certificates that client certificates must come from, as PEM.
        client_ca: Option<PathBuf> = None => Kind::Path, example "\"tls/devices-ca.pem\"", unset "moat's own CA in `pki` of the data folder";
    }
}

choice! {
    /// What carries MQTT.
    pub enum Protocol {
        /// TLS over TCP.
        Tls = "tls",
        /// TCP without protection.
        Tcp = "tcp",
        /// WebSocket over TLS.
        Wss = "wss",
        /// WebSocket over TCP without protection.
        Ws = "ws",
        /// A Unix socket.
        Unix = "unix",
    }
}

choice! {
    /// Whether a client is asked for a certificate.
    pub enum ClientAuth {
        /// It is not asked.
        Off = "off",
        /// It is asked and may decline.
        Requested = "requested",
        /// Without one the handshake fails.
        Required = "required",
    }
}

choice! {
    /// Which client ids an identity may use.
    pub enum ClientIdMode {
        /// Any.
        Any = "any",
        /// Only the name of the identity.
        IsIdentity = "is-identity",
        /// Those that begin with the name of the identity.
        StartsWithIdentity = "starts-with-identity",
    }
}

choice! {
    /// The part of a certificate that is the identity.
    pub enum IdentityFrom {
        /// The common name of the subject.
        Cn = "cn",
        /// The first DNS name among the subject alternative names.
        SanDns = "san-dns",
        /// The first URI among the subject alternative names.
        SanUri = "san-uri",
        /// The first e-mail address among the subject alternative names.
        SanEmail = "san-email",
    }
}

impl Protocol {
    /// Whether TLS protects it.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Whether it is WebSocket.
    #[must_use]
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Wss | Self::Ws)
    }
}

impl Listener {
    /// The listeners of a broker without any in its configuration.
    pub(crate) fn defaults() -> Vec<Self> {
        [Protocol::Tls, Protocol::Wss]
            .map(|protocol| {
                let mut listener = Self {
                    protocol,
                    ..Self::default()
                };
                listener.client_auth = listener.default_client_auth();
                listener.bind = listener.default_bind();
                listener.name = listener.default_name();
                listener
            })
            .into()
    }

    /// The addresses a listener has if none are written: every one, with the protocol's port.
    pub(crate) fn default_bind(&self) -> Vec<SocketAddr> {
        match self.protocol {
            Protocol::Wss => everywhere(DEFAULT_WSS_PORT),
            Protocol::Unix => Vec::new(),
            _ => everywhere(DEFAULT_PORT),
        }
    }

    /// Whether a listener asks for certificates if nothing is written. Chromium cannot choose one for a WebSocket and ends
    /// the connection when it is asked, so for browsers there is no "asked and may decline".
    pub(crate) fn default_client_auth(&self) -> ClientAuth {
        match self.protocol {
            Protocol::Tls => ClientAuth::Requested,
            Protocol::Wss | Protocol::Tcp | Protocol::Ws | Protocol::Unix => ClientAuth::Off,
        }
    }

    /// The name a listener has if none is written: protocol and first port.
    pub(crate) fn default_name(&self) -> String {
        if self.protocol == Protocol::Unix {
            return self.protocol.to_string();
        }
        let port = self.bind.first().map_or(DEFAULT_PORT, SocketAddr::port);
        format!("{}-{port}", self.protocol)
    }

    /// The listener of `moat start --dev`: plain, anonymous, on loopback.
    pub fn dev(port: u16) -> Self {
        Self {
            name: "dev".to_owned(),
            // Not ::1 as well: with port 0 that would be another port, and some machines have no IPv6.
            bind: vec![(Ipv4Addr::LOCALHOST, port).into()],
            protocol: Protocol::Tcp,
            client_auth: ClientAuth::Off,
            anonymous: true,
            ..Self::default()
        }
    }
}

fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![
        (Ipv6Addr::UNSPECIFIED, port).into(),
        (Ipv4Addr::UNSPECIFIED, port).into(),
    ]
}
