//! What can go wrong between here and the broker, and what to do about it.

use std::io;

use moat_codec::{DecodeError, EncodeError, ReasonCode};
use rustls::{AlertDescription, CertificateError};

use super::printable::printable;
use super::target::Target;

/// Why a command of the client did not do its work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientError {
    /// The name of the host leads nowhere.
    #[error("cannot find the host {host:?}: {cause}; check its spelling, or name its address")]
    UnknownHost { host: String, cause: String },
    /// Nobody listens there.
    #[error(
        "nobody listens at {0}; check that the broker runs (`moat status` on its machine) and that host and port are \
         those it printed when it started"
    )]
    Refused(String),
    /// Nothing came back.
    #[error(
        "no answer from {place} within {secs} s; check host and port, and the firewalls between here and there"
    )]
    Timeout { place: String, secs: u64 },
    /// Another trouble of the network.
    #[error("the connection to {place} failed: {cause}")]
    Network { place: String, cause: String },
    /// Its certificate was issued by somebody else.
    #[error(
        "the certificate of {place} is not trusted: {cause}; give the broker's CA with --ca FILE (pki/ca.crt in its data \
         folder, ca.crt in a device's folder)"
    )]
    NotTrusted { place: String, cause: String },
    /// Its certificate is for other names.
    #[error("the certificate of {place} is for other names: {names}; connect by one of them")]
    OtherName { place: String, names: String },
    /// The other end does not speak TLS.
    #[error(
        "{0} does not speak TLS; check the port, or say mqtt:// if the connection is meant to be unencrypted"
    )]
    NotTls(String),
    /// The broker does not like our certificate.
    #[error(
        "the broker refused this client's certificate: {alert}; check that it is valid now and was issued by the broker's \
         CA (--cert, --key, --device)"
    )]
    CertificateRefused { alert: String },
    /// The broker wants a certificate.
    #[error(
        "the broker takes nobody without a certificate; use --device DIR, or --cert FILE and --key FILE"
    )]
    CertificateRequired,
    /// Another trouble of TLS.
    #[error("TLS with {place} failed: {cause}")]
    Tls { place: String, cause: String },
    /// The CONNECT was refused.
    #[error("the broker refused the connection: {}{}; {}", reason_text(*.0), told(.1), connect_advice(*.0))]
    ConnectRefused(ReasonCode, Option<String>),
    /// A subscription was refused.
    #[error("the subscription to {} was refused: {}{}", printable(.0), reason_text(*.1), denied_advice(*.1))]
    SubscribeRefused(String, ReasonCode),
    /// A message was refused.
    #[error("the message to {} was refused: {}{}", printable(.0), reason_text(*.1), denied_advice(*.1))]
    PublishRefused(String, ReasonCode),
    /// The broker ended the connection with a DISCONNECT.
    #[error("the broker ended the connection: {}{}", reason_text(*.0), told(.1))]
    Ended(ReasonCode, Option<String>),
    /// The broker ended the connection without a word.
    #[error(
        "the broker closed the connection without saying why; its log tells (if it expects TLS here, say mqtts://)"
    )]
    Closed,
    /// The user wants to end.
    #[error("interrupted")]
    Stopped,
    /// What came is no MQTT.
    #[error("what {place} sent is no MQTT: {cause}; if it expects TLS here, say mqtts://")]
    NotMqtt { place: String, cause: DecodeError },
    /// A packet that has no place here.
    #[error("the broker broke the protocol: {0}")]
    Protocol(&'static str),
    /// The message is larger than the broker takes.
    #[error(
        "the message makes a packet of {bytes} bytes, and the broker takes at most {bytes_max} (limits.packet_bytes_max)"
    )]
    TooLarge { bytes: usize, bytes_max: u32 },
    /// What was asked for cannot be written.
    #[error("cannot be sent: {0}")]
    Encode(EncodeError),
}

impl ClientError {
    /// The cause of an error while connecting or reading.
    pub(crate) fn of_io(error: &io::Error, target: &Target, secs: u64) -> Self {
        let place = target.authority();
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(error) = tls {
            return Self::of_tls(error, place);
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused(place),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::Timeout { place, secs },
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Network {
                place,
                cause: error.to_string(),
            },
        }
    }

    fn of_tls(error: &rustls::Error, place: String) -> Self {
        use AlertDescription as Alert;
        match error {
            rustls::Error::InvalidCertificate(cause) => of_certificate(cause, place),
            rustls::Error::InvalidMessage(_) => Self::NotTls(place),
            rustls::Error::AlertReceived(Alert::CertificateRequired) => Self::CertificateRequired,
            rustls::Error::AlertReceived(
                alert @ (Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::DecryptError),
            ) => Self::CertificateRefused {
                alert: alert_text(*alert).to_owned(),
            },
            error => Self::Tls {
                place,
                cause: error.to_string(),
            },
        }
    }
}

fn of_certificate(cause: &CertificateError, place: String) -> ClientError {
    let what = match cause {
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names = presented
                .iter()
                .map(|name| plain_name(name))
                .collect::<Vec<_>>()
                .join(", ");
            return ClientError::OtherName { place, names };
        }
        CertificateError::UnknownIssuer => "another CA issued it".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired (or this machine's clock is wrong)".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet (or this machine's clock is wrong)".to_owned()
        }
        other => other.to_string(),
    };
    ClientError::NotTrusted { place, cause: what }
}

/// A name as people write it: rustls presents them as `DnsName("…")` and `IpAddress(…)`.
fn plain_name(presented: &str) -> String {
    let inner = presented
        .split_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'));
    printable(inner.unwrap_or(presented).trim_matches('"'))
}

fn alert_text(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateExpired => "it has expired",
        AlertDescription::CertificateRevoked => "it was revoked",
        AlertDescription::UnknownCA => "the broker does not know the CA that issued it",
        AlertDescription::UnsupportedCertificate => "it is no client certificate",
        AlertDescription::DecryptError => "its signature is wrong",
        AlertDescription::AccessDenied => "access denied",
        _ => "it is not accepted",
    }
}

fn reason_text(reason: ReasonCode) -> String {
    format!("{} (0x{:02x})", reason.name(), reason.byte())
}

/// What the broker said beside the reason.
fn told(text: &Option<String>) -> String {
    text.as_deref()
        .map_or_else(String::new, |text| format!(": {}", printable(text)))
}

fn connect_advice(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::BadUserNameOrPassword => {
            "check --user and the password; `moat user passwd NAME` on the broker's machine sets a new one"
        }
        ReasonCode::NotAuthorized => {
            "say who you are with --device DIR, with --cert and --key, or with --user; if you did, the broker's log tells why"
        }
        ReasonCode::ClientIdentifierNotValid => "choose another --id",
        ReasonCode::UnsupportedProtocolVersion => "try --v311",
        ReasonCode::ServerUnavailable | ReasonCode::ServerBusy => "try again later",
        ReasonCode::QuotaExceeded | ReasonCode::ConnectionRateExceeded => {
            "too many connections; end some of them or try again later"
        }
        _ => "the broker's log tells why",
    }
}

fn denied_advice(reason: ReasonCode) -> &'static str {
    match reason {
        ReasonCode::NotAuthorized => "; the broker's log names the rule",
        // All that 3.1.1 can say.
        ReasonCode::UnspecifiedError => "; the broker's log tells why",
        _ => "",
    }
}
