//! What can go wrong with a connection's TLS records, and with the files of a TLS listener.

use std::path::PathBuf;

use super::layer::{HELD_BYTES_MAX, UNDRAINED_BYTES_MAX};
use super::server_config::PEM_FILE_BYTES_MAX;

/// Why a TLS connection cannot go on. After any of these the connection is to be closed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TlsError {
    /// The peer's first bytes are no TLS. Fault: peer, or a client without TLS on a TLS port.
    #[error("the client does not speak TLS: {looks_like}; this port takes TLS only")]
    NotTls {
        /// What the first bytes look like.
        looks_like: Plaintext,
    },
    /// The peer broke the protocol, has a bad certificate or ended with an alert. Fault: peer.
    #[error("{0}")]
    Protocol(rustls::Error),
    /// A handshake message in more and smaller records than any honest peer uses. Fault: peer.
    #[error("unfinished handshake data of more than {HELD_BYTES_MAX} bytes")]
    HandshakeTooLarge,
    /// New input although the layer said `more` and was not drained. Fault: our driver.
    #[error(
        "more than {UNDRAINED_BYTES_MAX} bytes of undrained input; drain the layer before reading"
    )]
    NotDrained,
    /// Data to send before the handshake is done. Fault: our driver.
    #[error("the handshake is not done")]
    HandshakeNotDone,
    /// Data to send after `close` or after an error. Fault: our driver.
    #[error("the connection is closed")]
    Closed,
    /// The keys have encrypted as much as they may. TLS 1.2 cannot renew them; the connection
    /// has to end.
    #[error("the connection's keys are exhausted; the client has to connect again")]
    KeysExhausted,
}

/// What somebody speaks who does not speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// An HTTP request line.
    Http,
    /// An MQTT CONNECT packet.
    Mqtt,
    /// Something else.
    Unknown,
}

impl Plaintext {
    /// Guesses from the first bytes of a connection; they may be very few.
    pub(super) fn guess(first: &[u8]) -> Self {
        const METHODS: [&[u8]; 6] = [b"GET ", b"HEAD", b"POST", b"PUT ", b"OPTI", b"CONN"];
        let start = &first[..first.len().min(4)];
        if !start.is_empty() && METHODS.iter().any(|method| method.starts_with(start)) {
            Self::Http
        } else if first.first() == Some(&0x10) {
            Self::Mqtt
        } else {
            Self::Unknown
        }
    }
}

impl std::fmt::Display for Plaintext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http => "it sent an HTTP request",
            Self::Mqtt => "it sent a plain MQTT CONNECT",
            Self::Unknown => "its first bytes are no TLS record",
        })
    }
}

/// Something an operator should know about a configuration that works.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsConfigWarning {
    /// The server certificate ends within [`EXPIRY_WARNING`](super::EXPIRY_WARNING).
    #[error("server certificate {} expires in {days_left} days; renew it", path.display())]
    ExpiresSoon {
        /// The certificate's file.
        path: PathBuf,
        /// Whole days that are left.
        days_left: u64,
    },
}

/// Why a listener cannot serve TLS. Each text names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    /// A file is missing or not readable.
    #[error("cannot read {}: {source}; check the path and its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file is longer than any honest PEM file.
    #[error("{} is longer than {PEM_FILE_BYTES_MAX} bytes; it is not the right file", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The group or others may access the key file.
    #[error(
        "key file {} is open to other users (mode {mode:04o}); run: chmod 600 {}",
        path.display(), path.display()
    )]
    KeyOpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file has no certificate in it.
    #[error("{} has no certificate in PEM form (-----BEGIN CERTIFICATE-----)", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file has no private key in it.
    #[error(
        "{} has no private key in PEM form (-----BEGIN PRIVATE KEY-----); an encrypted key has to \
         be decrypted first: openssl pkey -in FILE -out KEY",
        path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A certificate cannot be parsed.
    #[error("certificate {number} of {} cannot be parsed: {reason}", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Which one, counted from 1.
        number: usize,
        /// The parser's answer.
        reason: String,
    },
    /// The private key is of a kind the provider does not know, or damaged.
    #[error("private key {} cannot be used: {reason}; use an EC P-256 or RSA 2048 key", path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// The provider's answer; it holds nothing of the key.
        reason: String,
    },
    /// Certificate and key are not a pair.
    #[error(
        "certificate {} and key {} do not belong together; use the key the certificate was issued for",
        certificate.display(), key.display()
    )]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The first certificate is a CA: no client accepts it as a server.
    #[error(
        "the first certificate of {} is a CA, which clients refuse as a server certificate; put \
         the server's own certificate first, the CAs after it",
        path.display()
    )]
    CertificateIsCa {
        /// The file.
        path: PathBuf,
    },
    /// The server certificate's validity is over.
    #[error("server certificate {} expired {days} days ago; renew it", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// Whole days since.
        days: u64,
    },
    /// The server certificate's validity has not begun.
    #[error(
        "server certificate {} is not valid yet: it begins in {hours} hours; check this machine's clock",
        path.display()
    )]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// Whole hours until then.
        hours: u64,
    },
    /// Clients are asked for certificates, but no CA is named that could have issued them.
    #[error(
        "client certificates are asked for, but no client CA file is set; set one, or turn client_auth off"
    )]
    NoClientCa,
    /// A client CA cannot be a trust anchor.
    #[error("CA certificate {number} of {} cannot be trusted: {reason}", path.display())]
    BadClientCa {
        /// The file.
        path: PathBuf,
        /// Which one, counted from 1.
        number: usize,
        /// The verifier's answer.
        reason: String,
    },
    /// rustls refuses the whole.
    #[error("the TLS configuration with {} is refused: {reason}", path.display())]
    Refused {
        /// The certificate's file.
        path: PathBuf,
        /// Its answer.
        reason: String,
    },
}
