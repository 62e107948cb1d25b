//! One write per connection and turn.

use std::io::{self, ErrorKind, Write};

use moat_core::buffer_pool::BufferPool;

use super::Connection;

/// Bytes for the socket that it has not taken yet.
#[derive(Debug, Default)]
pub struct Wire {
    bytes: Vec<u8>,
    sent: usize,
}

impl Wire {
    /// Whether the socket has taken everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The buffer, to append to.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

/// What a flush achieved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flushed {
    /// The socket has taken everything.
    All,
    /// It takes no more for now; the kernel will tell when it does.
    Blocked,
}

impl Connection {
    /// Puts `out` on the wire, sealed once if there is TLS. `out` comes back empty.
    ///
    /// While the socket is blocked nothing is moved, so that `out` keeps its bound.
    ///
    /// # Errors
    /// When TLS cannot seal any more.
    pub fn seal(&mut self, out: &mut Vec<u8>, pool: &mut BufferPool) -> io::Result<()> {
        if out.is_empty() || !self.wire.is_empty() {
            return Ok(());
        }
        if let Some(tls) = self.tls.as_deref_mut() {
            if self.wire.bytes.capacity() == 0 {
                self.wire.bytes = pool.take();
            }
            tls.seal(out, &mut self.wire.bytes)
                .map_err(io::Error::other)?;
            pool.give(std::mem::take(out));
        } else {
            std::mem::swap(out, &mut self.wire.bytes);
            pool.give(std::mem::take(out));
        }
        Ok(())
    }

    /// Appends last bytes behind what is on the wire already, blocked or not.
    ///
    /// # Errors
    /// When TLS cannot seal any more.
    pub fn seal_last(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.tls.as_deref_mut() {
            Some(tls) if tls.is_handshaking() => Ok(()),
            Some(tls) => {
                if !bytes.is_empty() {
                    tls.seal(bytes, &mut self.wire.bytes)
                        .map_err(io::Error::other)?;
                }
                tls.close(&mut self.wire.bytes);
                Ok(())
            }
            None => {
                self.wire.bytes.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Writes once.
    ///
    /// # Errors
    /// When the socket is of no more use.
    pub fn write(&mut self, pool: &mut BufferPool) -> io::Result<Flushed> {
        if self.wire.is_empty() {
            return Ok(Flushed::All);
        }
        // A signal before the first byte is the only reason to try again.
        let written = loop {
            match self.socket.write(&self.wire.bytes[self.wire.sent..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => break written,
            }
        };
        match written {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => self.wire.sent += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if self.wire.sent < self.wire.bytes.len() {
            // A short write means a full socket: the kernel tells when there is room again.
            self.ready.writable = false;
            return Ok(Flushed::Blocked);
        }
        self.wire.sent = 0;
        pool.give(std::mem::take(&mut self.wire.bytes));
        Ok(Flushed::All)
    }

    /// Closes this side, so that the peer reads to the end of what was written.
    pub fn shut_down_writing(&self) {
        // It fails only if the peer is gone already.
        let _gone = self.socket.shutdown(std::net::Shutdown::Write);
    }
}
