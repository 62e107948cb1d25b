//! One connection: its socket, its layers, and the stage its client has reached.
//!
//! It moves between shards as a whole, once: from the shard that greeted it to its session's home.

mod read;
mod socket;
mod write;

use std::sync::Arc;

use moat_auth::Dialogue;
use moat_core::Time;
use moat_core::session::{Opening, SessionIndex};
use moat_events::PeerAddress;
use moat_policy::Identity;
use moat_websocket::WsLayer;

pub use read::{Buffers, Discarded, Ended, Filled, READ_BYTES_MAX};
pub use socket::Socket;
pub use write::{Flushed, Wire};

use crate::admission::Permit;
use crate::listener::Listener;
use crate::tls::TlsLayer;

/// Bytes a connection may send before it is authenticated. TLS has its own, smaller bound.
pub const PREAUTH_INPUT_BYTES_MAX: usize = 64 << 10;

/// Milliseconds a closing connection has to take its last bytes and close its side.
pub const LINGER_MILLIS: u64 = 2000;

/// How far a client has come.
pub enum Stage {
    /// The TLS handshake and the CONNECT are still to come.
    Greeting,
    /// The service plane has been asked who it is.
    AwaitingAuth(Box<Asked>),
    /// A mechanism asked the client something, and its AUTH is awaited.
    Exchanging(Box<Asked>, Box<Dialogue>),
    /// It is known and on its way to its home shard.
    Arriving(Box<Opening>, Arc<Identity>),
    /// It is the connection of a session.
    Attached(SessionIndex),
    /// Its last bytes are being written; what it sends is thrown away.
    Closing,
}

/// A CONNECT whose sender is being authenticated.
pub struct Asked {
    /// What it asks for.
    pub opening: Opening,
    /// The user name it gave, for the log if it is refused.
    pub tried: Option<Box<str>>,
    /// What it offered as proof, for the log.
    pub method: &'static str,
}

/// One connection.
pub struct Connection {
    socket: Socket,
    /// The TLS layer; `None` on a plain listener.
    pub tls: Option<Box<TlsLayer>>,
    /// The WebSocket layer, above TLS if there is TLS; `None` where MQTT comes without.
    pub websocket: Option<Box<WsLayer>>,
    /// The peer's address; its credentials if it came by a Unix socket.
    pub address: PeerAddress,
    /// Where it came in.
    pub listener: Arc<Listener>,
    /// Its place in the counts.
    pub permit: Permit,
    /// How far the client has come.
    pub stage: Stage,
    /// Bytes of MQTT that no packet has used yet; empty and without capacity when idle.
    pub input: Vec<u8>,
    /// Bytes for the socket.
    pub wire: Wire,
    /// Tells this connection from an earlier one in the same slot.
    pub generation: u32,
    /// CONNECT must be complete, or a closing connection gone, by this moment.
    pub deadline: Time,
    /// Not read until this moment because it published too fast; `None` while it is read.
    pub paused: Option<Paused>,
    /// The peer's side is over. What it sent before is still being handled; then the connection ends.
    pub half_closed: bool,
    /// The exchange of a re-authentication, while its client has to answer.
    pub dialogue: Option<Box<Dialogue>>,
    /// What readiness is known. Edge-triggered: true until a read or write says otherwise.
    pub ready: Ready,
}

/// Why a connection is not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Paused {
    /// Until this moment.
    Until(Time),
    /// Until other shards have room, or have answered.
    Peers,
    /// Until it is known who it is: it has sent all it may before that.
    Auth,
}

/// What is known to be possible without a further event from the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The socket may have bytes.
    pub readable: bool,
    /// The peer has closed its side, so the last read returns 0 and no further event comes.
    pub read_closed: bool,
    /// The socket may take bytes.
    pub writable: bool,
    /// The TLS layer holds plaintext or records that a short budget left behind.
    pub layer: bool,
    /// `input` holds packets that a short budget, a pause or a change of stage left behind.
    pub input: bool,
    /// It stands on the ready list.
    pub listed: bool,
}

impl Connection {
    /// A connection just accepted.
    #[must_use]
    pub fn new(
        socket: Socket,
        tls: Option<Box<TlsLayer>>,
        address: PeerAddress,
        listener: Arc<Listener>,
        permit: Permit,
        deadline: Time,
    ) -> Self {
        let websocket = listener.websocket.clone();
        Connection {
            socket,
            tls,
            websocket: websocket.map(|rules| Box::new(WsLayer::new(rules))),
            address,
            listener,
            permit,
            stage: Stage::Greeting,
            input: Vec::new(),
            wire: Wire::default(),
            generation: 0,
            deadline,
            paused: None,
            half_closed: false,
            dialogue: None,
            ready: Ready::default(),
        }
    }

    /// The socket, to register it.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Whether the next call may do something: bytes to read or left behind, and no pause.
    #[must_use]
    pub fn wants_turn(&self) -> bool {
        let closing = matches!(self.stage, Stage::Closing);
        let has_bytes = self.ready.readable || self.ready.layer || self.ready.input;
        has_bytes && (closing || self.paused.is_none())
    }

    /// Whether the peer's side is over and nothing it sent waits to be handled: not behind a budget, a pause, a verdict
    /// or a change of shard.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let waits = matches!(self.stage, Stage::AwaitingAuth(_) | Stage::Arriving(..));
        self.half_closed && !self.ready.input && self.paused.is_none() && !waits
    }

    /// Whether a TLS handshake is under way: costly, so it is counted against a budget.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// What TLS agreed on, for the log.
    #[must_use]
    pub fn tls_version(&self) -> Option<&'static str> {
        let version = self.tls.as_ref()?.protocol_version()?;
        Some(match version {
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
            _ => "TLS",
        })
    }

    /// Bytes held for it, for the budget of those not yet authenticated.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let tls = self.tls.as_ref().map_or(0, |tls| tls.buffered());
        let websocket = self.websocket.as_ref().map_or(0, |ws| ws.buffered());
        self.input.capacity() + tls + websocket
    }
}
