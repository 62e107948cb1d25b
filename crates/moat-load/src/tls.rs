//! TLS of a client over a socket of tokio, and its configuration.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;

use crate::options::Options;

/// Makes the configuration all connections share; `None` without `--tls`.
///
/// # Errors
/// A file cannot be read or does not fit; the message names it.
pub(crate) fn client(options: &Options) -> Result<Option<Arc<ClientConfig>>, String> {
    if !options.tls {
        return Ok(None);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let version = if options.tls12 {
        &rustls::version::TLS12
    } else {
        &rustls::version::TLS13
    };
    let ca = options.ca.as_ref().ok_or("--tls needs --ca FILE")?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots
            .add(certificate)
            .map_err(|error| format!("{ca}: {error}"))?;
    }
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .map_err(|error| format!("TLS: {error}"))?
        .with_root_certificates(roots);
    let mut config = match (&options.cert, &options.key) {
        (Some(certificate), Some(key)) => builder
            .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
            .map_err(|error| format!("{certificate}: {error}"))?,
        _ => builder.with_no_client_auth(),
    };
    if !options.resume {
        config.resumption = Resumption::disabled();
    }
    Ok(Some(Arc::new(config)))
}

/// The certificates of a PEM file.
///
/// # Errors
/// It cannot be read.
pub(crate) fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| format!("{path}: {error}"))
}

/// The private key of a PEM file.
///
/// # Errors
/// It cannot be read.
pub(crate) fn private_key(path: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| format!("{path}: {error}"))
}

/// A TLS client on a socket. Reading may be given up halfway: nothing is lost then.
pub(crate) struct TlsStream {
    socket: TcpStream,
    tls: ClientConnection,
}

impl TlsStream {
    /// Shakes hands.
    pub(crate) async fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        socket: TcpStream,
    ) -> io::Result<Self> {
        let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = Self { socket, tls };
        while stream.tls.is_handshaking() {
            stream.write_pending().await?;
            if stream.tls.is_handshaking() {
                stream.read_some().await?;
            }
        }
        stream.write_pending().await?;
        Ok(stream)
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Reads what there is, at least a byte; 0 at the end.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.read_some().await?;
            self.write_pending().await?;
        }
    }

    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.tls.writer().write(bytes)?;
            bytes = &bytes[taken..];
            self.write_pending().await?;
        }
        Ok(())
    }

    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        self.write_pending().await
    }

    async fn read_some(&mut self) -> io::Result<()> {
        loop {
            self.socket.readable().await?;
            match self.tls.read_tls(&mut NonBlocking(&self.socket)) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {
                    self.tls.process_new_packets().map_err(io::Error::other)?;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn write_pending(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut NonBlocking(&self.socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.writable().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The socket as rustls wants it.
struct NonBlocking<'a>(&'a TcpStream);

impl Read for NonBlocking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for NonBlocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
