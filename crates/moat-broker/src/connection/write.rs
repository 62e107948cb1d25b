//! One write per connection and turn.

use std::io::{self, ErrorKind, Write};

use moat_core::buffer_pool::BufferPool;

use moat_websocket::WsLayer;

use super::Connection;
use crate::tls::TlsError;

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
    /// Puts `out` on the wire, as one frame if there is WebSocket and sealed once if there is TLS. `out` comes back
    /// empty.
    ///
    /// While the socket is blocked nothing is moved, so that `out` keeps its bound.
    ///
    /// # Errors
    /// When TLS cannot seal any more.
    pub fn seal(&mut self, out: &mut Vec<u8>, pool: &mut BufferPool) -> io::Result<()> {
        if self.websocket.is_some() {
            return self.seal_frame(out, pool);
        }
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

    /// As [`Self::seal`], with a pong before it if one is owed.
    fn seal_frame(&mut self, out: &mut Vec<u8>, pool: &mut BufferPool) -> io::Result<()> {
        if !self.wire.is_empty() || (out.is_empty() && !self.owes_pong()) {
            return Ok(());
        }
        if self.wire.bytes.capacity() == 0 {
            self.wire.bytes = pool.take();
        }
        let mut scratch = if self.tls.is_some() {
            pool.take()
        } else {
            Vec::new()
        };
        let framed = self.control(&mut scratch, |websocket, frames| {
            websocket.pong(frames);
            websocket.seal(out, frames)
        });
        pool.give(scratch);
        if let Some(sealed) = framed.map_err(io::Error::other)? {
            sealed.map_err(io::Error::other)?;
        }
        pool.give(std::mem::take(out));
        Ok(())
    }

    /// Lets the WebSocket layer, if there is one, append frames to the wire; through `scratch` where TLS has to seal
    /// them.
    pub(super) fn control<T>(
        &mut self,
        scratch: &mut Vec<u8>,
        write: impl FnOnce(&mut WsLayer, &mut Vec<u8>) -> T,
    ) -> Result<Option<T>, TlsError> {
        let Some(websocket) = self.websocket.as_deref_mut() else {
            return Ok(None);
        };
        let Some(tls) = self.tls.as_deref_mut() else {
            return Ok(Some(write(websocket, &mut self.wire.bytes)));
        };
        let written = write(websocket, scratch);
        if !scratch.is_empty() {
            tls.seal(scratch, &mut self.wire.bytes)?;
        }
        Ok(Some(written))
    }

    /// Whether a ping of WebSocket waits for its answer.
    #[must_use]
    pub fn owes_pong(&self) -> bool {
        self.websocket.as_ref().is_some_and(|ws| ws.owes_pong())
    }

    /// Appends bytes behind what is on the wire already, blocked or not: for a client without an out-buffer, which is
    /// told one thing and has to answer it before there is another.
    ///
    /// # Errors
    /// When TLS cannot seal any more.
    pub fn seal_behind(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.websocket.is_some() {
            let sealed = self.control(&mut Vec::new(), |websocket, frames| {
                websocket.seal(bytes, frames)
            });
            if let Some(sealed) = sealed.map_err(io::Error::other)? {
                sealed.map_err(io::Error::other)?;
            }
            return Ok(());
        }
        match self.tls.as_deref_mut() {
            Some(tls) => tls
                .seal(bytes, &mut self.wire.bytes)
                .map_err(io::Error::other),
            None => {
                self.wire.bytes.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Appends last bytes behind what is on the wire already, blocked or not, and the goodbyes of the layers.
    ///
    /// # Errors
    /// When TLS cannot seal any more.
    pub fn seal_last(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.websocket.is_some() {
            return self.seal_last_frames(bytes);
        }
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

    /// As [`Self::seal_last`]. Before the upgrade there are no frames, so nothing can be said but what HTTP said.
    fn seal_last_frames(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_handshaking() {
            return Ok(());
        }
        let sealed = self.control(&mut Vec::new(), |websocket, frames| {
            if websocket.is_open() {
                // It is open, so it takes them.
                let _sealed = websocket.seal(bytes, frames);
                websocket.close(frames);
            }
        });
        // A failed TLS still owes its alert, which is on the wire; a close frame is not worth more.
        if !bytes.is_empty() {
            sealed.map_err(io::Error::other)?;
        }
        if let Some(tls) = self.tls.as_deref_mut() {
            tls.close(&mut self.wire.bytes);
        }
        Ok(())
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
