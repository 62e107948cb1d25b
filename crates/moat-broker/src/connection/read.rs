//! One read per connection and turn, through the layers.

use std::io::{ErrorKind, Read};

use super::Connection;
use crate::tls::TlsError;

/// Bytes one read takes at most; the budget of a turn.
pub const READ_BYTES_MAX: usize = 64 << 10;

/// What one turn of reading gave.
#[derive(Debug)]
pub enum Filled {
    /// Bytes lie in the first so many bytes of the read buffer (no TLS).
    Plain(usize),
    /// Bytes lie in the plaintext buffer; possibly none, if only TLS itself moved.
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

    /// Reads once, or goes on with what a layer left behind, and decrypts.
    ///
    /// Edge-triggered rule: `ready.readable` falls only when the kernel said that there is no more:
    /// by `WouldBlock`, or by a read shorter than asked, unless the peer has closed its side, whose
    /// end-of-file must still be read and makes no further event.
    pub fn fill(&mut self, buffer: &mut [u8], plaintext: &mut Vec<u8>) -> Filled {
        if self.ready.layer {
            return self.decrypt(&mut [], plaintext);
        }
        if !self.ready.readable {
            return Filled::Nothing;
        }
        match self.socket.read(buffer) {
            Ok(0) => Filled::Ended(Ended::ByPeer),
            Ok(read) => {
                if read < buffer.len() && !self.ready.read_closed {
                    self.ready.readable = false;
                }
                if self.tls.is_some() {
                    self.decrypt(&mut buffer[..read], plaintext)
                } else {
                    Filled::Plain(read)
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
