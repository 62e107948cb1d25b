//! Beginnings that never end: a CONNECT, a TLS handshake or a WebSocket upgrade, byte by byte, on every connection there may be.

use std::sync::Arc;

use moat_codec::{Connect, Packet, Version};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::{Attack, Line, Listeners, Target};
use crate::broker::Transport;
use crate::raw::encode;
use crate::websocket::REQUEST;

/// Connections held at once, of the 24 there may be.
const HELD: usize = 20;

/// The attack, by one of three transports.
pub struct SlowLoris {
    name: &'static str,
    transport: Transport,
    bytes: Vec<u8>,
    held: Vec<(Line, usize)>,
}

impl SlowLoris {
    /// A CONNECT over plain TCP.
    #[must_use]
    pub fn connect() -> Self {
        let client_id = "x".repeat(60);
        let connect = Packet::Connect(Connect::new(Version::V5, &client_id));
        Self::of(
            "slow-loris CONNECT",
            Transport::Plain,
            encode(&connect, Version::V5),
        )
    }

    /// A TLS handshake.
    #[must_use]
    pub fn handshake() -> Self {
        Self::of("slow-loris handshake", Transport::Tls, client_hello())
    }

    /// A WebSocket upgrade.
    #[must_use]
    pub fn upgrade() -> Self {
        Self::of("slow-loris upgrade", Transport::Ws, REQUEST.to_vec())
    }

    fn of(name: &'static str, transport: Transport, bytes: Vec<u8>) -> Self {
        SlowLoris {
            name,
            transport,
            bytes,
            held: Vec::new(),
        }
    }
}

impl Attack for SlowLoris {
    fn name(&self) -> &'static str {
        self.name
    }

    fn limits(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("connect_timeout_secs", "2"),
            ("sessions_max", "2"),
            ("preauth_bytes_total_max", "65536"),
        ]
    }

    fn listeners(&self) -> Listeners {
        if self.transport.is_tls() {
            Listeners::All
        } else {
            Listeners::Plain
        }
    }

    /// One more byte on each connection, but never the last one; those that the broker has closed begin anew.
    fn step(&mut self, target: &Target) -> u64 {
        self.held.retain_mut(|(line, _)| !line.is_closed());
        while self.held.len() < HELD {
            self.held
                .push((Line::open(target.address(self.transport)), 0));
        }
        let last = self.bytes.len() - 1;
        for (line, sent) in &mut self.held {
            if *sent < last {
                line.say(&self.bytes[*sent..=*sent]);
                *sent += 1;
            }
        }
        if self.held.iter().all(|(_, sent)| *sent == last) {
            // Waiting for the time-out brings nothing more; the next ones do.
            self.held.clear();
        }
        HELD as u64
    }
}

fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}
