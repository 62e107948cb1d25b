//! Certificates for the tests of this folder.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

use super::server_config::TlsFiles;

pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A certificate authority with its key.
pub(super) struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate that is no authority, with its key.
pub(super) struct Issued {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

/// What a leaf certificate shall say.
pub(super) struct Leaf {
    pub(super) common_names: Vec<String>,
    pub(super) sans: Vec<SanType>,
    pub(super) purpose: ExtendedKeyUsagePurpose,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    pub(super) extensions: Vec<CustomExtension>,
}

impl Leaf {
    pub(super) fn client(name: &str) -> Self {
        Self {
            common_names: vec![name.to_owned()],
            sans: Vec::new(),
            purpose: ExtendedKeyUsagePurpose::ClientAuth,
            not_before: SystemTime::now() - DAY,
            not_after: SystemTime::now() + 90 * DAY,
            extensions: Vec::new(),
        }
    }

    pub(super) fn server(name: &str) -> Self {
        Self {
            sans: vec![
                SanType::DnsName(name.try_into().unwrap()),
                SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ],
            purpose: ExtendedKeyUsagePurpose::ServerAuth,
            ..Self::client(name)
        }
    }
}

impl Authority {
    pub(super) fn root(name: &str) -> Self {
        let (params, key) = (authority_params(name), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn intermediate(&self, name: &str) -> Self {
        let (params, key) = (authority_params(name), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn issue(&self, leaf: Leaf) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let [name] = &*leaf.common_names {
            params
                .distinguished_name
                .push(DnType::CommonName, name.as_str());
        } else {
            // A name type is written once by rcgen; the same object identifier under another
            // type makes a subject with several common names.
            for (i, name) in leaf.common_names.iter().enumerate() {
                let kind = if i == 0 {
                    DnType::CommonName
                } else {
                    DnType::CustomDnType(vec![2, 5, 4, 3])
                };
                params.distinguished_name.push(kind, name.as_str());
            }
        }
        params.subject_alt_names = leaf.sans;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![leaf.purpose];
        params.not_before = leaf.not_before.into();
        params.not_after = leaf.not_after.into();
        params.custom_extensions = leaf.extensions;
        params.is_ca = IsCa::ExplicitNoCa;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate, key }
    }

    pub(super) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The authority as if it were a leaf, for the mistake of configuring it as one.
    pub(super) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

impl Issued {
    pub(super) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(super) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(super) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + 3650 * DAY).into();
    params
}

/// A folder with a server certificate, its key, and the CA that issued it and issues clients'.
pub(super) struct Setup {
    folder: TempDir,
    pub(super) root: Authority,
    pub(super) files: TlsFiles,
}

impl Setup {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Authority::root("root");
        let server = root.issue(Leaf::server("localhost"));
        let files = TlsFiles::new(
            write(folder.path(), "server.pem", &server.pem()),
            write(folder.path(), "server.key", &server.key_pem()),
            write(folder.path(), "ca.pem", &root.pem()),
        );
        Self {
            folder,
            root,
            files,
        }
    }

    /// Gives one of the files another content.
    pub(super) fn replace(&self, path: &Path, text: &str) {
        let name = path.file_name().unwrap().to_str().unwrap();
        write(self.folder.path(), name, text);
    }
}

/// Writes a file readable by its owner only, and returns its path.
fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}
