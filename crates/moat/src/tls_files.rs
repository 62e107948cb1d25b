//! Which files a TLS listener serves with, and what they say.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use moat_broker::tls::{ClientAuth, IdentityKey, Loaded, PEM_FILE_BYTES_MAX, TlsFiles};
use moat_config::{Config, IdentityFrom, Listener, Protocol, TlsVersion};
use moat_pki::CA_FILE;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::exit::Failure;

/// The folder of moat's own authority, in the data folder.
const PKI_FOLDER: &str = "pki";
const SERVER_CERTIFICATE_FILE: &str = "server.crt";
const SERVER_KEY_FILE: &str = "server.key";

/// The seconds of a day.
const DAY_SECS: u64 = 24 * 3600;

/// A certificate the broker uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateFacts {
    /// Its subject.
    pub(crate) subject: String,
    /// Its end.
    pub(crate) not_after: SystemTime,
    /// Its file.
    pub(crate) path: PathBuf,
}

impl CertificateFacts {
    /// Whole days until its end, negative once it has ended.
    pub(crate) fn days_left(&self, now: SystemTime) -> i64 {
        let days = |secs: u64| i64::try_from(secs / DAY_SECS).unwrap_or(i64::MAX);
        match self.not_after.duration_since(now) {
            Ok(left) => days(left.as_secs()),
            Err(past) => -1 - days(past.duration().as_secs()),
        }
    }
}

/// The folder of moat's own authority.
pub(crate) fn pki_folder(data: &Path) -> PathBuf {
    data.join(PKI_FOLDER)
}

/// Whether the listener serves with the certificate that moat makes.
pub(crate) fn uses_own_certificate(listener: &Listener) -> bool {
    crate::config_file::is_tls(listener) && listener.certificate.is_none()
}

/// The files of a TLS listener: its own, or those in `pki` of the data folder.
pub(crate) fn of_listener(listener: &Listener, config: &Config, data: &Path) -> TlsFiles {
    let pki = pki_folder(data);
    let or_own = |path: &Option<PathBuf>, own| path.clone().unwrap_or_else(|| pki.join(own));
    let client_auth = client_auth(listener.client_auth);
    let client_ca = or_own(&listener.client_ca, CA_FILE);
    TlsFiles {
        client_ca: (client_auth != ClientAuth::Off).then_some(client_ca),
        client_auth,
        chain_depth: u8::try_from(config.tls.ca_depth_max).unwrap_or(u8::MAX),
        allow_tls12: config.tls.version_min == TlsVersion::V1_2,
        websocket: listener.protocol == Protocol::Wss,
        ..TlsFiles::new(
            or_own(&listener.certificate, SERVER_CERTIFICATE_FILE),
            or_own(&listener.key, SERVER_KEY_FILE),
            PathBuf::new(),
        )
    }
}

/// Loads the files; every mistake in them is one of the configuration.
///
/// # Errors
/// The first mistake, with its file and what to do.
pub(crate) fn load(files: &TlsFiles) -> Result<(Loaded, CertificateFacts), Failure> {
    let loaded = moat_broker::tls::load(files).map_err(|error| Failure::configuration([error]))?;
    let facts = CertificateFacts {
        subject: subject_of(&files.certificate).unwrap_or_default(),
        not_after: loaded.not_after,
        path: files.certificate.clone(),
    };
    Ok((loaded, facts))
}

/// The part of a client's certificate that is its identity.
pub(crate) fn identity_key(from: IdentityFrom) -> IdentityKey {
    match from {
        IdentityFrom::Cn => IdentityKey::CommonName,
        IdentityFrom::SanDns => IdentityKey::SanDns,
        IdentityFrom::SanUri => IdentityKey::SanUri,
        IdentityFrom::SanEmail => IdentityKey::SanEmail,
    }
}

fn client_auth(auth: moat_config::ClientAuth) -> ClientAuth {
    match auth {
        moat_config::ClientAuth::Off => ClientAuth::Off,
        moat_config::ClientAuth::Requested => ClientAuth::Requested,
        moat_config::ClientAuth::Required => ClientAuth::Required,
    }
}

/// The subject of the first certificate of a file that was just loaded.
fn subject_of(path: &Path) -> Option<String> {
    let mut pem = Vec::new();
    let file = File::open(path).ok()?;
    file.take(PEM_FILE_BYTES_MAX).read_to_end(&mut pem).ok()?;
    let der = CertificateDer::from_pem_slice(&pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(&der).ok()?;
    Some(certificate.subject().to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn files_that_are_not_named_are_those_of_the_data_folder() {
        let config = Config::default();
        let mut listener = config.listeners[0].clone();
        let files = of_listener(&listener, &config, Path::new("data"));
        assert_eq!(files.certificate, Path::new("data/pki/server.crt"));
        assert_eq!(files.key, Path::new("data/pki/server.key"));
        assert_eq!(
            files.client_ca.as_deref(),
            Some(Path::new("data/pki/ca.crt"))
        );
        listener.certificate = Some("/etc/moat/my.pem".into());
        listener.client_auth = moat_config::ClientAuth::Off;
        let files = of_listener(&listener, &config, Path::new("data"));
        assert_eq!(files.certificate, Path::new("/etc/moat/my.pem"));
        assert_eq!(files.client_ca, None);
    }

    #[test]
    fn days_left_are_negative_from_the_first_second_after_the_end() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10 * DAY_SECS);
        let facts = |not_after| CertificateFacts {
            subject: String::new(),
            not_after,
            path: PathBuf::new(),
        };
        assert_eq!(facts(now + Duration::from_secs(DAY_SECS)).days_left(now), 1);
        assert_eq!(facts(now).days_left(now), 0);
        assert_eq!(facts(now - Duration::from_secs(1)).days_left(now), -1);
    }
}
