//! `[[listener]]`: where the broker listens and what it asks of those who come.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::choice::choice;
use crate::section::section;

/// The port of MQTT over TLS.
pub const DEFAULT_PORT: u16 = 8883;

/// The most listeners in a file.
pub const LISTENERS_MAX: usize = 64;

/// The most addresses of one listener.
const BIND_ADDRESSES_MAX: usize = 16;

section! {
    /// An address to listen on. Without any, there is one TLS listener with these defaults. May be written several times.
    pub struct Listener = "[[listener]]" {
        /// The name in the log and in the status.
        name: String = String::new() => Kind::Name, example "\"plant\"", unset "protocol and first port, like `tls-8883`";
        /// The addresses. A listener without TLS must name them.
        bind: Vec<SocketAddr> = default_bind() => Kind::Addresses { count_max: BIND_ADDRESSES_MAX }, example "[\"192.0.2.1:8883\"]";
        /// TLS or plain TCP. On plain TCP everybody on the way can read and change passwords and messages.
        protocol: Protocol = Protocol::Tls => Kind::Choice(Protocol::WORDS), example "\"tcp\"";
        /// Whether a client is asked for a certificate. With `requested`, one without a certificate needs a user name and
        /// password; with `required` it is turned away. Always `off` on plain TCP.
        client_auth: ClientAuth = ClientAuth::Requested => Kind::Choice(ClientAuth::WORDS), example "\"required\"";
        /// Whether a client without certificate and password gets in, as the identity `<anonymous>`.
        anonymous: bool = false => Kind::Bool, example "true";
        /// Which client ids an identity may use. Rules that speak of `${clientid}` need another value than `any`, since there
        /// the client chooses it freely.
        client_id: ClientIdMode = ClientIdMode::Any => Kind::Choice(ClientIdMode::WORDS), example "\"is-identity\"";
        /// The part of a client's certificate that is its identity.
        identity_from: IdentityFrom = IdentityFrom::Cn => Kind::Choice(IdentityFrom::WORDS), example "\"san-dns\"";
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

impl Listener {
    /// The name a listener has if none is written: protocol and first port.
    pub(crate) fn default_name(&self) -> String {
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

fn default_bind() -> Vec<SocketAddr> {
    vec![
        (Ipv6Addr::UNSPECIFIED, DEFAULT_PORT).into(),
        (Ipv4Addr::UNSPECIFIED, DEFAULT_PORT).into(),
    ]
}
