//! A socket that never blocks, with TLS if there is some. Bytes in, bytes out; packets are somebody else's.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;
use zeroize::Zeroize;

/// Reads of one connection before the others have their turn.
const READS_PER_TURN_MAX: usize = 16;
/// Bytes a connection keeps room for while nothing is to be sent.
const IDLE_BYTES_MAX: usize = 128 << 10;

/// How reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// There is no more for now.
    Empty,
    /// There may be more, but others wait.
    More,
    /// The other end has said its last.
    End,
}

/// A connection's bytes.
pub(super) struct Wire {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// To be sent, from `written` on.
    output: Vec<u8>,
    written: usize,
    /// There is a password in the output.
    is_secret: bool,
}

impl Wire {
    /// Begins to connect; whether that works shows at the first read.
    ///
    /// # Errors
    /// No descriptor, no port, or the TLS configuration does not fit.
    pub(super) fn open(
        address: SocketAddr,
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    ) -> io::Result<Self> {
        let tls = tls
            .map(|(config, name)| ClientConnection::new(config, name))
            .transpose()
            .map_err(io::Error::other)?;
        let socket = TcpStream::connect(address)?;
        // It works on a socket that is not connected yet; if not, small packets are slow and nothing is wrong.
        let _slow = socket.set_nodelay(true);
        Ok(Self {
            socket,
            tls: tls.map(Box::new),
            output: Vec::new(),
            written: 0,
            is_secret: false,
        })
    }

    /// For the registration.
    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// Where to append what is to be sent.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// What was appended is wiped once it was sent.
    pub(super) fn has_secret(&mut self) {
        self.is_secret = true;
    }

    /// Bytes that wait to be sent, those TLS holds left out.
    pub(super) fn waiting(&self) -> usize {
        self.output.len() - self.written
    }

    /// Whether everything is with the kernel.
    pub(super) fn is_flushed(&self) -> bool {
        self.waiting() == 0 && !self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Appends what came to `input`, `buffer` by `buffer`. A socket whose other end `is_closed` is read to its end.
    ///
    /// # Errors
    /// Network or TLS.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        input: &mut Vec<u8>,
        is_closed: bool,
    ) -> io::Result<Fill> {
        for _ in 0..READS_PER_TURN_MAX {
            let read = match &mut self.tls {
                None => self.socket.read(buffer),
                Some(tls) => tls.read_tls(&mut self.socket),
            };
            let count = match read {
                Ok(count) => count,
                Err(error) => match error.kind() {
                    // Linux says `NotConnected` for a socket that is still connecting and was shut down.
                    ErrorKind::WouldBlock | ErrorKind::NotConnected => return Ok(Fill::Empty),
                    ErrorKind::Interrupted => continue,
                    _ => return Err(error),
                },
            };
            if count == 0 {
                return Ok(Fill::End);
            }
            match &mut self.tls {
                None => input.extend_from_slice(&buffer[..count]),
                Some(tls) => {
                    if let Fill::End = decrypt(tls, buffer, input)? {
                        return Ok(Fill::End);
                    }
                    continue;
                }
            }
            // Less than asked for means empty, unless the end is behind it, for which there is no second event.
            if count < buffer.len() && !is_closed {
                return Ok(Fill::Empty);
            }
        }
        Ok(Fill::More)
    }

    /// Sends what the kernel takes.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self.push() {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::NotConnected
                ) => {}
            other => other?,
        }
        if self.waiting() == 0 {
            if std::mem::take(&mut self.is_secret) {
                self.output.zeroize();
            }
            self.output.clear();
            if self.output.capacity() > IDLE_BYTES_MAX {
                self.output = Vec::new();
            }
            self.written = 0;
        }
        Ok(())
    }

    fn push(&mut self) -> io::Result<()> {
        loop {
            let pending = &self.output[self.written..];
            let count = match &mut self.tls {
                None if pending.is_empty() => return Ok(()),
                None => self.socket.write(pending),
                Some(tls) if tls.wants_write() => {
                    retried(tls.write_tls(&mut self.socket))?;
                    continue;
                }
                Some(_) if pending.is_empty() => return Ok(()),
                // It takes no more than its buffer, and goes on when the handshake is done.
                Some(tls) => match tls.writer().write(pending)? {
                    0 => return Ok(()),
                    count => Ok(count),
                },
            };
            self.written += retried(count)?;
        }
    }

    /// Says that no more is coming.
    pub(super) fn finish(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        // Whoever is gone already needs no goodbye.
        let _gone = self.flush();
        let _gone = self.socket.shutdown(Shutdown::Write);
    }
}

/// Takes what was decrypted.
fn decrypt(tls: &mut ClientConnection, buffer: &mut [u8], input: &mut Vec<u8>) -> io::Result<Fill> {
    tls.process_new_packets()
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    loop {
        match tls.reader().read(buffer) {
            Ok(0) => return Ok(Fill::End),
            Ok(count) => input.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Fill::Empty),
            Err(error) => return Err(error),
        }
    }
}

/// An interrupted call has done nothing.
fn retried(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
        other => other,
    }
}
