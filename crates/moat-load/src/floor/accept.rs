//! `floor --cert`: a bare accept over TLS, one connection after the other. It shakes hands with the provider and the
//! settings moat has, reads a CONNECT, answers CONNACK, and waits for the end. What a handshake costs without a broker.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::server::{ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection};

use super::client::connack;
use crate::options::Options;
use crate::packet;
use crate::tls;

/// As in `moat-broker`: sessions that can be resumed, tickets of TLS 1.3 after a handshake.
const RESUMPTION_SESSIONS_MAX: usize = 1024;
const TLS13_TICKETS: usize = 1;
/// How long one client may take for the next bytes.
const READ: Duration = Duration::from_secs(10);

/// Serves `listener` until the process is killed.
///
/// # Errors
/// A file of the certificate does not fit.
pub(super) fn serve(options: &Options, listener: &TcpListener) -> Result<(), String> {
    let config = Arc::new(server_config(options)?);
    for socket in listener.incoming() {
        // A client that fails has said so itself, and the next one is not to suffer for it.
        let _ended = socket.and_then(|socket| client(socket, Arc::clone(&config)));
    }
    Ok(())
}

fn server_config(options: &Options) -> Result<ServerConfig, String> {
    let (Some(cert), Some(key)) = (&options.cert, &options.key) else {
        return Err("the floor over TLS needs --cert FILE and --key FILE".to_owned());
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| format!("TLS: {error}"))?;
    let builder = match &options.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in tls::certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| format!("{path}: {error}"))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| format!("{path}: {error}"))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(tls::certificates(cert)?, tls::private_key(key)?)
        .map_err(|error| format!("{cert}: {error}"))?;
    config.ignore_client_order = false;
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(RESUMPTION_SESSIONS_MAX);
    config.send_tls13_tickets = TLS13_TICKETS;
    config.max_early_data_size = 0;
    Ok(config)
}

fn client(mut socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(READ))?;
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut received = Vec::new();
    let mut is_answered = false;
    loop {
        while tls.wants_write() {
            tls.write_tls(&mut socket)?;
        }
        if tls.read_tls(&mut socket)? == 0 {
            return Ok(());
        }
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        let from = received.len();
        received.resize(from + state.plaintext_bytes_to_read(), 0);
        tls.reader().read_exact(&mut received[from..])?;
        if !is_answered && is_complete(&received) {
            is_answered = true;
            // The level of the protocol is after the name of six bytes.
            let at = 1 + packet::length(&received[1..]).map_or(1, |(_, used)| used) + 6;
            tls.writer()
                .write_all(connack(received.get(at) == Some(&5)))?;
        }
        if state.peer_has_closed() || received.ends_with(&[0xe0, 0]) {
            return Ok(());
        }
    }
}

fn is_complete(bytes: &[u8]) -> bool {
    let length = bytes.get(1..).and_then(packet::length);
    length.is_some_and(|(rest, used)| bytes.len() >= rest.saturating_add(1 + used))
}
