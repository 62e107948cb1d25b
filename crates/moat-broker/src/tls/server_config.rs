//! Certificate, key and client CAs, from PEM files into a `ServerConfig`.
//!
//! Everything is built anew each time, so that a reload changes certificate, CAs and the memory
//! of sessions together: a session from before cannot be resumed past a CA that is gone.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::fstat;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerSessionMemoryCache;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use super::client_verifier::{CHAIN_DEPTH_DEFAULT, ClientVerifier};
use super::error::{TlsConfigError, TlsConfigWarning};

/// Longest PEM file. Unit: bytes.
pub const PEM_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// How long before its end a server certificate is worth a warning.
pub const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 24 * 3600);

/// Sessions remembered for resumption, per configuration. Each holds the client's chain.
const RESUMPTION_SESSIONS_MAX: usize = 1024;
/// A device resumes at most once per connection; a second ticket would be a waste of its memory.
const TLS13_TICKETS: usize = 1;
/// Permission bits of a key file that must be clear: anything for the group and for others.
const KEY_MODE_FORBIDDEN: u32 = 0o077;
const ALPN_MQTT: &[u8] = b"mqtt";
/// What a browser offers for WebSocket, which begins as HTTP (RFC 6455 section 4.1).
const ALPN_HTTP_1_1: &[u8] = b"http/1.1";

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Clients are not asked; they need another credential.
    Off,
    /// Clients are asked. With a certificate it must be a valid one; without, they need another
    /// credential.
    #[default]
    Requested,
    /// A client without a valid certificate is refused in the handshake.
    Required,
}

/// The files of a TLS listener.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM: the server's certificate, then the intermediates.
    pub certificate: PathBuf,
    /// PEM: the private key, PKCS#8, SEC1 or PKCS#1. Readable by its owner only.
    pub key: PathBuf,
    /// PEM: the CAs that issue client certificates.
    pub client_ca: Option<PathBuf>,
    /// Whether clients are asked for a certificate.
    pub client_auth: ClientAuth,
    /// Longest chain above a client's certificate, the trusted CA included; default
    /// [`CHAIN_DEPTH_DEFAULT`], a root and two intermediates. Unit: CA certificates.
    pub chain_depth: u8,
    /// Whether a client that speaks only TLS 1.2 is let in.
    pub allow_tls12: bool,
    /// Whether WebSocket comes behind TLS, so that a client may offer HTTP/1.1 by ALPN.
    pub websocket: bool,
}

impl TlsFiles {
    /// A listener that asks for client certificates of `client_ca`.
    pub fn new(certificate: PathBuf, key: PathBuf, client_ca: PathBuf) -> Self {
        Self {
            certificate,
            key,
            client_ca: Some(client_ca),
            client_auth: ClientAuth::default(),
            chain_depth: CHAIN_DEPTH_DEFAULT,
            allow_tls12: true,
            websocket: false,
        }
    }
}

/// A configuration that is ready to serve.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// For [`TlsLayer::new`](super::TlsLayer::new).
    pub config: Arc<ServerConfig>,
    /// What works, but not for long.
    pub warnings: Vec<TlsConfigWarning>,
    /// The end of the server certificate's validity.
    pub not_after: SystemTime,
}

/// Reads the files, checks them and builds the configuration.
///
/// # Errors
/// The first mistake found, as a [`TlsConfigError`].
pub fn load(files: &TlsFiles) -> Result<Loaded, TlsConfigError> {
    load_at(files, SystemTime::now())
}

/// As [`load`], for the given time.
fn load_at(files: &TlsFiles, now: SystemTime) -> Result<Loaded, TlsConfigError> {
    let chain = read_certificates(&files.certificate)?;
    let (not_after, warnings) = check_server_certificate(&files.certificate, &chain, now)?;
    let key = read_key(&files.key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let refused = |error: rustls::Error| TlsConfigError::Refused {
        path: files.certificate.clone(),
        reason: error.to_string(),
    };
    let versions: &[_] = if files.allow_tls12 {
        &[&TLS13, &TLS12]
    } else {
        &[&TLS13]
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(refused)?;
    let builder = match client_verifier(files, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| key_error(files, error))?;
    // A client without AES hardware prefers ChaCha20, and its word counts.
    config.ignore_client_order = false;
    config.alpn_protocols = vec![ALPN_MQTT.to_vec()];
    if files.websocket {
        config.alpn_protocols.push(ALPN_HTTP_1_1.to_vec());
    }
    config.session_storage = ServerSessionMemoryCache::new(RESUMPTION_SESSIONS_MAX);
    config.send_tls13_tickets = TLS13_TICKETS;
    // Early data can be replayed, and a replayed PUBLISH is a second message.
    config.max_early_data_size = 0;
    Ok(Loaded {
        config: Arc::new(config),
        warnings,
        not_after,
    })
}

fn client_verifier(
    files: &TlsFiles,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<ClientVerifier>>, TlsConfigError> {
    let mandatory = match files.client_auth {
        ClientAuth::Off => return Ok(None),
        ClientAuth::Requested => false,
        ClientAuth::Required => true,
    };
    let path = files.client_ca.as_ref().ok_or(TlsConfigError::NoClientCa)?;
    let mut roots = RootCertStore::empty();
    for (i, certificate) in read_certificates(path)?.into_iter().enumerate() {
        roots
            .add(certificate)
            .map_err(|error| TlsConfigError::BadClientCa {
                path: path.clone(),
                number: i + 1,
                reason: error.to_string(),
            })?;
    }
    let verifier = ClientVerifier::new(provider, roots, files.chain_depth, mandatory);
    Ok(Some(Arc::new(verifier)))
}

fn key_error(files: &TlsFiles, error: rustls::Error) -> TlsConfigError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsConfigError::KeyMismatch {
                certificate: files.certificate.clone(),
                key: files.key.clone(),
            }
        }
        rustls::Error::General(reason) => TlsConfigError::BadKey {
            path: files.key.clone(),
            reason,
        },
        error => TlsConfigError::Refused {
            path: files.certificate.clone(),
            reason: error.to_string(),
        },
    }
}

fn check_server_certificate(
    path: &Path,
    chain: &[CertificateDer<'_>],
    now: SystemTime,
) -> Result<(SystemTime, Vec<TlsConfigWarning>), TlsConfigError> {
    const DAY_SECS: u64 = 24 * 3600;
    let bad = |reason: String| TlsConfigError::BadCertificate {
        path: path.to_owned(),
        number: 1,
        reason,
    };
    let leaf = chain.first().ok_or_else(|| TlsConfigError::NoCertificate {
        path: path.to_owned(),
    })?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|e| bad(e.to_string()))?;
    let constraints = leaf.basic_constraints().map_err(|e| bad(e.to_string()))?;
    if constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(TlsConfigError::CertificateIsCa {
            path: path.to_owned(),
        });
    }
    let at = |time: x509_parser::time::ASN1Time| {
        u64::try_from(time.timestamp())
            .ok()
            .and_then(|secs| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(secs)))
            .ok_or_else(|| bad("its validity is before 1970".to_owned()))
    };
    if let Ok(wait) = at(leaf.validity().not_before)?.duration_since(now)
        && !wait.is_zero()
    {
        return Err(TlsConfigError::NotYetValid {
            path: path.to_owned(),
            hours: wait.as_secs() / 3600,
        });
    }
    let not_after = at(leaf.validity().not_after)?;
    let left = not_after
        .duration_since(now)
        .map_err(|past| TlsConfigError::Expired {
            path: path.to_owned(),
            days: past.duration().as_secs() / DAY_SECS,
        })?;
    let mut warnings = Vec::new();
    if left < EXPIRY_WARNING {
        warnings.push(TlsConfigWarning::ExpiresSoon {
            path: path.to_owned(),
            days_left: left.as_secs() / DAY_SECS,
        });
    }
    Ok((not_after, warnings))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let text = read(path, open(path)?)?;
    let mut certificates = Vec::new();
    for (i, certificate) in CertificateDer::pem_slice_iter(&text).enumerate() {
        let certificate = certificate.map_err(|error| TlsConfigError::BadCertificate {
            path: path.to_owned(),
            number: i + 1,
            reason: error.to_string(),
        })?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err(TlsConfigError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    let file = open(path)?;
    // Asked of the open file, so that nobody can exchange it in between.
    let mode = fstat(&file)
        .map_err(|error| TlsConfigError::Unreadable {
            path: path.to_owned(),
            source: error.into(),
        })?
        .st_mode
        & 0o7777;
    if mode & KEY_MODE_FORBIDDEN != 0 {
        return Err(TlsConfigError::KeyOpenToOthers {
            path: path.to_owned(),
            mode,
        });
    }
    let text = read(path, file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| TlsConfigError::NoKey {
        path: path.to_owned(),
    })
}

fn open(path: &Path) -> Result<File, TlsConfigError> {
    File::open(path).map_err(|source| TlsConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// The whole file, wiped from memory after use: it may be a key.
fn read(path: &Path, file: File) -> Result<Zeroizing<Vec<u8>>, TlsConfigError> {
    let unreadable = |source| TlsConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let length = file.metadata().map_err(unreadable)?.len();
    // With room for all of it from the start no half of a key is left behind by a reallocation.
    let room = usize::try_from(length.min(PEM_FILE_BYTES_MAX)).unwrap_or(0) + 1;
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    file.take(PEM_FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > PEM_FILE_BYTES_MAX) {
        return Err(TlsConfigError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
