//! TCP and TLS, packet by packet.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use moat_codec::{Framed, Limits, frame};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use super::error::ClientError;
use super::target::Target;

/// How long the broker may take to answer anything. Unit: seconds.
pub(crate) const ANSWER_TIMEOUT_SECS: u64 = 10;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(ANSWER_TIMEOUT_SECS);
/// Bytes one read takes at most.
const READ_BYTES_MAX: usize = 64 << 10;
/// A read timeout of zero would mean none at all.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// A connection to a broker.
pub(super) struct Connection {
    stream: Stream,
    target: Target,
    /// Received; packets up to `used` were handed out.
    input: Vec<u8>,
    used: usize,
    stopped: Arc<AtomicBool>,
}

/// Ends a connection's waiting from another thread.
#[derive(Debug)]
pub(crate) struct Stopper {
    socket: TcpStream,
    stopped: Arc<AtomicBool>,
}

impl Stopper {
    /// Makes the connection's next read say [`ClientError::Stopped`]; it can still write its goodbye.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        // It fails only if the connection is gone, which ends the waiting as well.
        let _gone = self.socket.shutdown(Shutdown::Read);
    }
}

impl Connection {
    /// Connects, and completes the TLS handshake if there is one.
    ///
    /// # Errors
    /// Host, port, network or TLS.
    pub(super) fn open(
        target: &Target,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, ClientError> {
        let socket = connect(target)?;
        let stream = match tls {
            None => Stream::Plain(socket),
            Some(config) => Stream::Tls(Box::new(handshake(socket, config, target)?)),
        };
        Ok(Self {
            stream,
            target: target.clone(),
            input: Vec::new(),
            used: 0,
            stopped: Arc::default(),
        })
    }

    /// A way to end the waiting.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(super) fn stopper(&self) -> Result<Stopper, ClientError> {
        let socket = self
            .socket()
            .try_clone()
            .map_err(|error| self.failed(&error))?;
        Ok(Stopper {
            socket,
            stopped: Arc::clone(&self.stopped),
        })
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let sent = match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        };
        sent.map_err(|error| self.failed(&error))
    }

    /// The next packet, or `None` if it is not there by then.
    ///
    /// # Errors
    /// The connection is gone, or what came is no packet.
    pub(super) fn packet(&mut self, until: Instant) -> Result<Option<Vec<u8>>, ClientError> {
        loop {
            let rest = &self.input[self.used..];
            match frame(rest, &Limits::generous()) {
                Ok(Framed::Complete { total, .. }) => {
                    let packet = rest[..total].to_vec();
                    self.used += total;
                    return Ok(Some(packet));
                }
                Ok(Framed::Incomplete { .. }) => {}
                Err(cause) => {
                    return Err(ClientError::NotMqtt {
                        place: self.target.authority(),
                        cause,
                    });
                }
            }
            self.input.drain(..std::mem::take(&mut self.used));
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.fill(left)? {
                return Ok(None);
            }
        }
    }

    /// Says no more, and waits for the broker to close: a socket closed with bytes unread would be
    /// reset, and what was sent last be lost.
    pub(super) fn close(mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            // Whoever is gone already needs no goodbye.
            let _gone = stream.flush();
        }
        let _gone = self.socket().shutdown(Shutdown::Write);
        let until = Instant::now() + ANSWER_TIMEOUT;
        while let Ok(true) = self.fill(until.saturating_duration_since(Instant::now())) {
            self.input.clear();
        }
    }

    /// Reads once. Returns false if nothing came in time.
    fn fill(&mut self, wait: Duration) -> Result<bool, ClientError> {
        let mut buffer = [0; READ_BYTES_MAX];
        let read = self
            .socket()
            .set_read_timeout(Some(wait.max(SHORTEST_WAIT)))
            .and_then(|()| match &mut self.stream {
                Stream::Plain(socket) => socket.read(&mut buffer),
                Stream::Tls(stream) => stream.read(&mut buffer),
            });
        if self.stopped.load(Ordering::SeqCst) {
            return Err(ClientError::Stopped);
        }
        match read {
            Ok(0) => Err(ClientError::Closed),
            Ok(count) => {
                self.input.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(false),
                ErrorKind::Interrupted => Ok(true),
                _ => Err(self.failed(&error)),
            },
        }
    }

    /// Host and port.
    pub(super) fn place(&self) -> String {
        self.target.authority()
    }

    fn failed(&self, error: &io::Error) -> ClientError {
        ClientError::of_io(error, &self.target, ANSWER_TIMEOUT_SECS)
    }

    fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &stream.sock,
        }
    }
}

/// The address of the host that answers. The only one is not asked: that would be a connection without a word.
///
/// # Errors
/// The host has no address, or nobody listens at any of them.
pub(crate) fn reachable(target: &Target) -> Result<SocketAddr, ClientError> {
    match &addresses(target)?[..] {
        [only] => Ok(*only),
        _ => connect(target)?
            .peer_addr()
            .map_err(|error| ClientError::of_io(&error, target, ANSWER_TIMEOUT_SECS)),
    }
}

fn unknown(target: &Target, cause: String) -> ClientError {
    ClientError::UnknownHost {
        host: target.host.clone(),
        cause,
    }
}

fn addresses(target: &Target) -> Result<Vec<SocketAddr>, ClientError> {
    (&*target.host, target.port)
        .to_socket_addrs()
        .map(Iterator::collect)
        .map_err(|error| unknown(target, error.to_string()))
}

/// Tries every address of the host; the error is that of the last one.
fn connect(target: &Target) -> Result<TcpStream, ClientError> {
    let mut result = Err(unknown(target, "it has no address".to_owned()));
    for address in addresses(target)? {
        match TcpStream::connect_timeout(&address, ANSWER_TIMEOUT).and_then(prepare) {
            Ok(socket) => return Ok(socket),
            Err(error) => result = Err(ClientError::of_io(&error, target, ANSWER_TIMEOUT_SECS)),
        }
    }
    result
}

fn prepare(socket: TcpStream) -> io::Result<TcpStream> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    socket.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(socket)
}

fn handshake(
    socket: TcpStream,
    config: Arc<ClientConfig>,
    target: &Target,
) -> Result<StreamOwned<ClientConnection, TcpStream>, ClientError> {
    let tls = |cause: String| ClientError::Tls {
        place: target.authority(),
        cause,
    };
    let name = ServerName::try_from(target.host.clone()).map_err(|error| tls(error.to_string()))?;
    let connection = ClientConnection::new(config, name).map_err(|error| tls(error.to_string()))?;
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream
            .conn
            .complete_io(&mut stream.sock)
            .map_err(|error| ClientError::of_io(&error, target, ANSWER_TIMEOUT_SECS))?;
    }
    Ok(stream)
}
