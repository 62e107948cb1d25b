//! Certificate authorities, servers and devices, good and bad.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A certificate authority.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub struct Credential {
    /// The certificate.
    pub cert_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// From yesterday, for ninety days.
    Now,
    /// Until yesterday.
    Expired,
    /// From tomorrow.
    NotYet,
}

impl Authority {
    /// A self-signed root.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = (SystemTime::now() - 100 * DAY).into();
        params.not_after = (SystemTime::now() + 1000 * DAY).into();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A server certificate for `localhost`, 127.0.0.1 and ::1.
    #[must_use]
    pub fn server(&self) -> Credential {
        self.server_named("localhost")
    }

    /// A server certificate for the DNS name, 127.0.0.1 and ::1.
    #[must_use]
    pub fn server_named(&self, name: &str) -> Credential {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![
            SanType::DnsName(name.try_into().unwrap()),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, name, Validity::Now)
    }

    /// A client certificate whose common name is `name`.
    #[must_use]
    pub fn client(&self, name: &str) -> Credential {
        self.client_valid(name, Validity::Now)
    }

    /// A client certificate with the given validity.
    #[must_use]
    pub fn client_valid(&self, name: &str, validity: Validity) -> Credential {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, name, validity)
    }

    fn issue(&self, mut params: CertificateParams, name: &str, validity: Validity) -> Credential {
        let now = SystemTime::now();
        let (not_before, not_after) = match validity {
            Validity::Now => (now - DAY, now + 90 * DAY),
            Validity::Expired => (now - 90 * DAY, now - DAY),
            Validity::NotYet => (now + DAY, now + 90 * DAY),
        };
        params.distinguished_name = distinguished_name(name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.not_before = not_before.into();
        params.not_after = not_after.into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Credential {
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

impl Credential {
    /// Writes `NAME.crt` and `NAME.key` into the folder, the key readable by its owner only.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (cert, key) = (
            folder.join(format!("{name}.crt")),
            folder.join(format!("{name}.key")),
        );
        write_private(&cert, &self.cert_pem);
        write_private(&key, &self.key_pem);
        (cert, key)
    }
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn distinguished_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}
