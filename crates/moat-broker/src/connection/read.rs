//! One read per connection and turn, through the layers.

use std::io::{ErrorKind, Read};

use moat_websocket::WsError;

use super::{Connection, Socket};
use crate::tls::TlsError;

/// Bytes one read takes at most; the budget of a turn.
pub const READ_BYTES_MAX: usize = 64 << 10;

/// Bytes on the wire above which a ping is not answered at once: a client that does not read its pongs must not make
/// the broker pile them up.
const PONG_WIRE_BYTES_MAX: usize = 4 << 10;

/// The buffers of a turn, one set per event loop.
#[derive(Debug, Default)]
pub struct Buffers {
    /// What the socket is read into, [`READ_BYTES_MAX`].
    pub read: Vec<u8>,
    /// What MQTT is in it, unless that can stay where it is.
    pub plaintext: Vec<u8>,
    /// What TLS makes of it where WebSocket is between TLS and MQTT.
    frames: Vec<u8>,
}

impl Buffers {
    /// A read buffer; the others grow when a layer needs them.
    #[must_use]
    pub fn new() -> Self {
        Buffers {
            read: vec![0; READ_BYTES_MAX],
            ..Self::default()
        }
    }
}

/// What one turn of reading gave.
#[derive(Debug)]
pub enum Filled {
    /// Bytes lie in the first so many bytes of the read buffer (no layer).
    Plain(usize),
    /// Bytes lie in the plaintext buffer; possibly none, if only a layer itself moved.
    Decrypted,
    /// There was nothing to read after all.
    Nothing,
    /// The peer is gone; what it sent before lies in the plaintext buffer.
    Ended(Ended),
}

/// How a connection ended.
#[derive(Debug)]
pub enum Ended {
    /// The peer closed it.
    ByPeer,
    /// The socket failed.
    Socket(ErrorKind),
    /// TLS failed; the alert is on the wire buffer.
    Tls(TlsError),
    /// WebSocket failed; the close frame, or the answer to the upgrade, is on the wire buffer.
    WebSocket(WsError),
}

/// What reading a closing connection gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Discarded {
    /// The peer has not closed its side yet.
    Open,
    /// It has, or the socket is of no more use.
    Ended,
}

impl Connection {
    /// Reads once and throws away what came, undecrypted: only the end of it matters.
    pub fn discard(&mut self, buffer: &mut [u8]) -> Discarded {
        match self.socket.read(buffer) {
            Ok(0) => Discarded::Ended,
            Ok(_) => Discarded::Open,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.ready.readable = false;
                Discarded::Open
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Discarded::Open,
            Err(_) => Discarded::Ended,
        }
    }

    /// Reads once, or goes on with what a layer left behind, and takes it through the layers.
    ///
    /// Edge-triggered rule: `ready.readable` falls only when the kernel said that there is no more:
    /// by `WouldBlock`, or by TCP with a read shorter than asked, unless the peer has closed its side, whose
    /// end-of-file must still be read and makes no further event.
    pub fn fill(&mut self, buffers: &mut Buffers) -> Filled {
        if self.ready.layer {
            return self.through_layers(0, buffers);
        }
        if !self.ready.readable {
            return Filled::Nothing;
        }
        let buffer = &mut buffers.read;
        match self.socket.read(buffer) {
            Ok(0) => Filled::Ended(Ended::ByPeer),
            Ok(read) => {
                // A Unix socket also stops short where a peer has attached descriptors or urgent bytes.
                let says_empty = matches!(self.socket, Socket::Tcp(_));
                if says_empty && read < buffer.len() && !self.ready.read_closed {
                    self.ready.readable = false;
                }
                if self.tls.is_none() && self.websocket.is_none() {
                    Filled::Plain(read)
                } else {
                    self.through_layers(read, buffers)
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.ready.readable = false;
                Filled::Nothing
            }
            // Readable stays set, so the next turn tries again.
            Err(error) if error.kind() == ErrorKind::Interrupted => Filled::Nothing,
            Err(error) => Filled::Ended(Ended::Socket(error.kind())),
        }
    }

    /// Socket, TLS, WebSocket, MQTT: takes the first `read` bytes through the layers there are.
    fn through_layers(&mut self, read: usize, buffers: &mut Buffers) -> Filled {
        let Buffers {
            read: bytes,
            plaintext,
            frames,
        } = buffers;
        let bytes = &mut bytes[..read];
        match (&self.tls, &self.websocket) {
            (_, None) => self.decrypt(bytes, plaintext),
            (None, Some(_)) => match self.unframe(bytes, plaintext) {
                Ok(()) => Filled::Decrypted,
                Err(ended) => Filled::Ended(ended),
            },
            (Some(_), Some(_)) => {
                frames.clear();
                let decrypted = self.decrypt(bytes, frames);
                let unframed = self.unframe(frames, plaintext);
                match (decrypted, unframed) {
                    // Without TLS nothing of what WebSocket says can go out.
                    (Filled::Ended(Ended::Tls(error)), _) => Filled::Ended(Ended::Tls(error)),
                    (_, Err(ended)) => Filled::Ended(ended),
                    (decrypted, Ok(())) => decrypted,
                }
            }
        }
    }

    /// Takes frames apart. WebSocket never leaves anything behind that a further call could bring.
    fn unframe(&mut self, frames: &[u8], payload: &mut Vec<u8>) -> Result<(), Ended> {
        if frames.is_empty() {
            return Ok(());
        }
        let is_read = self.wire.bytes().len() <= PONG_WIRE_BYTES_MAX;
        let sealed = self.control(&mut Vec::new(), |websocket, out| {
            let received = websocket.receive(frames, payload, out);
            if is_read && received.is_ok() {
                websocket.pong(out);
            }
            received
        });
        match sealed.map_err(Ended::Tls)? {
            Some(Err(error)) => Err(Ended::WebSocket(error)),
            Some(Ok(received)) if received.peer_closed => Err(Ended::ByPeer),
            _ => Ok(()),
        }
    }

    fn decrypt(&mut self, ciphertext: &mut [u8], plaintext: &mut Vec<u8>) -> Filled {
        let Some(tls) = self.tls.as_deref_mut() else {
            self.ready.layer = false;
            return Filled::Nothing;
        };
        match tls.receive(ciphertext, plaintext, self.wire.bytes(), READ_BYTES_MAX) {
            Ok(received) => {
                self.ready.layer = received.more;
                if received.peer_closed {
                    Filled::Ended(Ended::ByPeer)
                } else {
                    Filled::Decrypted
                }
            }
            Err(error) => Filled::Ended(Ended::Tls(error)),
        }
    }
}
