//! What a certificate on disk says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;
use zeroize::Zeroize;

use crate::placing::{self, check_key_mode};
use crate::profile::{SecretKey, Validity};
use crate::{PkiError, San, SubjectTemplate};

/// The facts the authority decides by.
pub(crate) struct Facts {
    pub(crate) validity: Validity,
    pub(crate) subject: SubjectTemplate,
    /// Sorted.
    pub(crate) sans: Vec<San>,
    /// SubjectPublicKeyInfo, DER.
    spki: Vec<u8>,
}

impl Facts {
    pub(crate) fn of(certificate: &CertificateDer<'_>, path: &Path) -> Result<Self, PkiError> {
        let parsed = parse(certificate, path)?;
        let validity = parsed.validity();
        Ok(Self {
            validity: Validity {
                not_before: system_time(validity.not_before),
                not_after: system_time(validity.not_after),
            },
            subject: SubjectTemplate::of(parsed.subject()),
            sans: sans(&parsed),
            spki: parsed.public_key().raw.to_vec(),
        })
    }

    pub(crate) fn belongs_to(&self, key: &SecretKey) -> bool {
        key.0.subject_public_key_info() == self.spki
    }

    /// Refuses a certificate outside its time.
    pub(crate) fn check_time(&self, path: &Path, now: SystemTime) -> Result<(), PkiError> {
        if now < self.validity.not_before {
            let not_before = rfc3339(self.validity.not_before)?;
            return Err(PkiError::NotYetValid {
                path: path.to_path_buf(),
                not_before,
            });
        }
        if now > self.validity.not_after {
            let not_after = rfc3339(self.validity.not_after)?;
            return Err(PkiError::Expired {
                path: path.to_path_buf(),
                not_after,
            });
        }
        Ok(())
    }
}

/// Reads the first certificate of a PEM file.
pub(crate) fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, PkiError> {
    let pem = placing::read(path)?;
    CertificateDer::from_pem_slice(&pem).map_err(|_| PkiError::Malformed {
        path: path.to_path_buf(),
        problem: "holds no PEM certificate",
    })
}

/// Reads a private key that only its owner can read.
pub(crate) fn read_key(path: &Path) -> Result<SecretKey, PkiError> {
    check_key_mode(path)?;
    let malformed = || PkiError::Malformed {
        path: path.to_path_buf(),
        problem: "holds no usable PEM private key",
    };
    let pem = placing::read(path)?;
    let mut der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| malformed())?;
    let key = KeyPair::try_from(&der);
    der.zeroize();
    Ok(SecretKey(key.map_err(|_| malformed())?))
}

/// Whether `issuer`'s key signed `certificate`.
pub(crate) fn is_signed_by(
    certificate: &CertificateDer<'_>,
    issuer: &CertificateDer<'_>,
    path: &Path,
) -> Result<bool, PkiError> {
    let parsed = parse(certificate, path)?;
    let issuer = parse(issuer, path)?;
    let named = parsed.issuer().as_raw() == issuer.subject().as_raw();
    Ok(named && parsed.verify_signature(Some(issuer.public_key())).is_ok())
}

/// SHA-256 of a certificate, upper-case hex with colons, as `openssl x509 -fingerprint` prints it.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = digest::digest(&digest::SHA256, certificate);
    let pairs: Vec<_> = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    pairs.join(":")
}

/// RFC 3339 in UTC, whole seconds.
pub(crate) fn rfc3339(time: SystemTime) -> Result<String, PkiError> {
    let stamp = jiff::Timestamp::try_from(time).map_err(|_| PkiError::ClockOutOfRange)?;
    Ok(stamp.to_string())
}

fn parse<'a>(
    certificate: &'a CertificateDer<'_>,
    path: &Path,
) -> Result<X509Certificate<'a>, PkiError> {
    let parsed = X509Certificate::from_der(certificate);
    let (_, parsed) = parsed.map_err(|_| PkiError::Malformed {
        path: path.to_path_buf(),
        problem: "holds no X.509 certificate",
    })?;
    Ok(parsed)
}

/// Certificates of the authority lie after 1970; anything before counts as 1970.
fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn sans(certificate: &X509Certificate<'_>) -> Vec<San> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    let mut sans: Vec<_> = names.filter_map(san).collect();
    sans.sort();
    sans
}

fn san(name: &GeneralName<'_>) -> Option<San> {
    match name {
        GeneralName::DNSName(name) => Some(San::Dns((*name).to_owned())),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(|b| IpAddr::V4(Ipv4Addr::from(b)));
            let v6 = <[u8; 16]>::try_from(*bytes).map(|b| IpAddr::V6(Ipv6Addr::from(b)));
            v4.or(v6).ok().map(San::Ip)
        }
        _ => None,
    }
}
