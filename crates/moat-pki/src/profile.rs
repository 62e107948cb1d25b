//! What each kind of certificate looks like: lifetimes, key usages, names, serials.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber,
};
use zeroize::{Zeroize, Zeroizing};

use crate::{PkiError, SubjectTemplate};

/// Lifetime of the root, in days (10 years).
const ROOT_DAYS: u64 = 3653;
/// Lifetime of the intermediate, in days (5 years).
const INTERMEDIATE_DAYS: u64 = 1826;
/// Lifetime of the server's certificate, in days.
pub const SERVER_DAYS: u64 = 365;
/// The server's certificate is renewed this many days before its end, unless told otherwise.
pub const SERVER_RENEW_BEFORE_DAYS: u64 = 30;
/// Lifetime of a device's certificate, in days.
pub const DEVICE_DAYS: u64 = 90;
/// Every certificate begins this much before it was made, for devices whose clock is behind.
pub const NOT_BEFORE_MARGIN: Duration = Duration::from_mins(5);
/// Most names and addresses in one server certificate.
pub const SANS_MAX: usize = 100;

const DAY_SECONDS: u64 = 86_400;
/// Length of a serial number, in bytes; RFC 5280 section 4.1.2.2 allows 20.
const SERIAL_BYTES: usize = 18;
/// Latest time that is taken for `now`, in seconds since 1970 (year 9892): every end stays in a year of four digits.
const NOW_SECONDS_MAX: u64 = 250_000_000_000;
/// Longest DNS name and longest label of one, in bytes (RFC 1035 section 2.3.4).
const DNS_NAME_BYTES_MAX: usize = 253;
const DNS_LABEL_BYTES_MAX: usize = 63;
/// Longest common name, in bytes (RFC 5280 `ub-common-name`).
const COMMON_NAME_BYTES_MAX: usize = 64;

/// A name or an address by which clients reach the server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum San {
    /// A DNS name, `*.` allowed in front.
    Dns(String),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

impl FromStr for San {
    type Err = PkiError;

    /// An address if it can be read as one, else a DNS name in lower case.
    fn from_str(text: &str) -> Result<Self, PkiError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let san = Self::Dns(text.to_ascii_lowercase());
        san.check()?;
        Ok(san)
    }
}

impl San {
    fn check(&self) -> Result<(), PkiError> {
        let Self::Dns(name) = self else { return Ok(()) };
        let bare = name.strip_prefix("*.").unwrap_or(name);
        let label_ok = |label: &str| {
            (1..=DNS_LABEL_BYTES_MAX).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() <= DNS_NAME_BYTES_MAX && bare.split('.').all(label_ok) {
            return Ok(());
        }
        Err(PkiError::InvalidHostName {
            name: name.chars().take(DNS_NAME_BYTES_MAX).collect(),
        })
    }

    fn to_rcgen(&self) -> Result<SanType, PkiError> {
        self.check()?;
        Ok(match self {
            Self::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
            Self::Ip(address) => SanType::IpAddress(*address),
        })
    }
}

/// A new certificate with its key, before it is written anywhere.
pub struct Issued {
    /// The device's name, or the server's common name.
    pub name: String,
    /// Leaf and intermediate, in this order.
    pub cert_chain_pem: String,
    /// The leaf's private key, PKCS #8.
    pub key_pem: Zeroizing<String>,
    /// The root, for `ca.crt`.
    pub ca_pem: String,
    /// Lower-case hex without separators.
    pub serial: String,
    /// SHA-256 of the leaf, upper-case hex with colons.
    pub fingerprint: String,
    /// First moment of validity, whole seconds.
    pub not_before: SystemTime,
    /// Last moment of validity, whole seconds.
    pub not_after: SystemTime,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("name", &self.name)
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// A private key that is overwritten when it is dropped.
pub(crate) struct SecretKey(pub(crate) KeyPair);

impl SecretKey {
    pub(crate) fn generate(
        algorithm: &'static rcgen::SignatureAlgorithm,
    ) -> Result<Self, PkiError> {
        Ok(Self(KeyPair::generate_for(algorithm)?))
    }

    pub(crate) fn pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Beginning and end of a certificate, whole seconds as X.509 has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
}

impl Validity {
    pub(crate) fn root(now: SystemTime) -> Result<Self, PkiError> {
        Self::days(now, ROOT_DAYS)
    }

    pub(crate) fn intermediate(now: SystemTime) -> Result<Self, PkiError> {
        Self::days(now, INTERMEDIATE_DAYS)
    }

    /// A leaf never outlives its issuer: its chain would break before its own end, unannounced.
    pub(crate) fn leaf(
        now: SystemTime,
        days: u64,
        issuer_end: SystemTime,
    ) -> Result<Self, PkiError> {
        let mut validity = Self::days(now, days)?;
        validity.not_after = validity.not_after.min(issuer_end);
        Ok(validity)
    }

    fn days(now: SystemTime, days: u64) -> Result<Self, PkiError> {
        let now = whole_seconds(now)?;
        let not_before = now.checked_sub(NOT_BEFORE_MARGIN);
        let not_after = now.checked_add(Duration::from_secs(days * DAY_SECONDS));
        Ok(Self {
            not_before: not_before.ok_or(PkiError::ClockOutOfRange)?,
            not_after: not_after.ok_or(PkiError::ClockOutOfRange)?,
        })
    }
}

/// `now` without its fraction.
///
/// # Errors
/// [`PkiError::ClockOutOfRange`] before 1970 or after the year 9892.
pub(crate) fn whole_seconds(now: SystemTime) -> Result<SystemTime, PkiError> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_err(|_| PkiError::ClockOutOfRange)?.as_secs();
    if seconds > NOW_SECONDS_MAX {
        return Err(PkiError::ClockOutOfRange);
    }
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Root: signs intermediates and nothing else.
pub(crate) fn root(
    subject: &SubjectTemplate,
    tag: &str,
    validity: Validity,
) -> Result<CertificateParams, PkiError> {
    authority(subject, &format!("moat root CA {tag}"), validity, 1)
}

/// Intermediate: signs leaves, never another authority.
pub(crate) fn intermediate(
    subject: &SubjectTemplate,
    tag: &str,
    validity: Validity,
) -> Result<CertificateParams, PkiError> {
    authority(subject, &format!("moat intermediate CA {tag}"), validity, 0)
}

/// Server: TLS server authentication for exactly these names.
pub(crate) fn server(
    subject: &SubjectTemplate,
    names: &[San],
    validity: Validity,
) -> Result<CertificateParams, PkiError> {
    check_names(names)?;
    let mut params = leaf(subject, server_common_name(names), validity)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = names.iter().map(San::to_rcgen).collect::<Result<_, _>>()?;
    Ok(params)
}

/// Device: TLS client authentication under its common name.
pub(crate) fn device(
    subject: &SubjectTemplate,
    name: &str,
    validity: Validity,
) -> Result<CertificateParams, PkiError> {
    let mut params = leaf(subject, name, validity)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// The first DNS name that fits a common name; clients decide by the SANs.
pub(crate) fn server_common_name(names: &[San]) -> &str {
    let fitting = names.iter().find_map(|san| match san {
        San::Dns(name) if name.len() <= COMMON_NAME_BYTES_MAX => Some(name.as_str()),
        _ => None,
    });
    fitting.unwrap_or("moat server")
}

pub(crate) fn check_names(names: &[San]) -> Result<(), PkiError> {
    if names.is_empty() {
        return Err(PkiError::NoNames);
    }
    if names.len() > SANS_MAX {
        return Err(PkiError::TooManyNames { count: names.len() });
    }
    names.iter().try_for_each(San::check)
}

fn authority(
    subject: &SubjectTemplate,
    name: &str,
    validity: Validity,
    path_length: u8,
) -> Result<CertificateParams, PkiError> {
    let mut params = base(subject, name, validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn leaf(
    subject: &SubjectTemplate,
    name: &str,
    validity: Validity,
) -> Result<CertificateParams, PkiError> {
    let mut params = base(subject, name, validity)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

/// Sets every field whose default in rcgen is not ours: its validity is 1975 to 4096.
fn base(
    subject: &SubjectTemplate,
    name: &str,
    validity: Validity,
) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject.with_common_name(name)?;
    params.not_before = validity.not_before.into();
    params.not_after = validity.not_after.into();
    params.serial_number = Some(random_serial()?);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// A positive serial of 142 random bits: nobody can guess the next one, and none repeats.
fn random_serial() -> Result<SerialNumber, PkiError> {
    let mut bytes: [u8; SERIAL_BYTES] = random_bytes()?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], PkiError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| PkiError::Crypto {
        text: "no random bytes".into(),
    })?;
    Ok(bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_checked_and_lowered() {
        assert_eq!(
            "Broker.Example".parse(),
            Ok(San::Dns("broker.example".into()))
        );
        assert_eq!("*.lab".parse(), Ok(San::Dns("*.lab".into())));
        assert_eq!("::1".parse(), Ok(San::Ip("::1".parse().unwrap())));
        let longest_label = "a".repeat(DNS_LABEL_BYTES_MAX);
        assert!(longest_label.parse::<San>().is_ok());
        let long_label = format!("{longest_label}a");
        let long_name = format!("{longest_label}.").repeat(4) + "a";
        for bad in [
            "",
            "a..b",
            "a b",
            "*",
            "a.*.b",
            "x\0",
            ".a",
            &long_label,
            &long_name,
        ] {
            assert!(
                matches!(bad.parse::<San>(), Err(PkiError::InvalidHostName { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn server_names_are_bounded() {
        let names = |count: usize| {
            (0..count)
                .map(|n| San::Dns(format!("n{n}")))
                .collect::<Vec<_>>()
        };
        assert_eq!(check_names(&names(SANS_MAX)), Ok(()));
        assert_eq!(
            check_names(&names(SANS_MAX + 1)),
            Err(PkiError::TooManyNames {
                count: SANS_MAX + 1
            })
        );
        assert_eq!(check_names(&[]), Err(PkiError::NoNames));
    }

    #[test]
    fn common_name_is_the_first_that_fits() {
        let long = San::Dns(format!("{}.b", "a".repeat(63)));
        let fits = San::Dns("short".into());
        assert_eq!(server_common_name(&[long.clone(), fits]), "short");
        assert_eq!(server_common_name(&[long]), "moat server");
    }

    #[test]
    fn clocks_no_certificate_can_hold_are_refused() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(whole_seconds(before), Err(PkiError::ClockOutOfRange));
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_SECONDS_MAX);
        assert!(Validity::root(last).is_ok());
        assert_eq!(
            Validity::root(last + Duration::from_secs(1)),
            Err(PkiError::ClockOutOfRange)
        );
    }

    #[test]
    fn a_leaf_ends_with_its_issuer() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let issuer_end = now + Duration::from_secs(10 * DAY_SECONDS);
        assert_eq!(
            Validity::leaf(now, DEVICE_DAYS, issuer_end)
                .unwrap()
                .not_after,
            issuer_end
        );
    }
}
