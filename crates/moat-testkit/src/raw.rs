//! A blocking client that sends any bytes, over TCP, TLS, WebSocket over either, and Unix sockets.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moat_codec::{Framed, Limits, Packet, Version, frame};
use moat_events::{PeerAddress, PeerCredentials};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::certs::Credential;
use crate::websocket::{self, Incoming};

/// How long an answer may take. It costs a passing test nothing, and a loaded machine needs it.
pub const DEADLINE: Duration = Duration::from_secs(15);

/// Bytes one read takes at most.
const READ_BYTES_MAX: usize = 64 << 10;

/// A stream of TCP or a Unix socket.
#[derive(Debug)]
enum Pipe {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Pipe {
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Pipe::Tcp(stream) => stream.shutdown(how),
            Pipe::Unix(stream) => stream.shutdown(how),
        }
    }

    fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Pipe::Tcp(stream) => stream.set_read_timeout(Some(timeout)),
            Pipe::Unix(stream) => stream.set_read_timeout(Some(timeout)),
        }
    }
}

impl Pipe {
    fn set_nonblocking(&self, yes: bool) -> io::Result<()> {
        match self {
            Pipe::Tcp(stream) => stream.set_nonblocking(yes),
            Pipe::Unix(stream) => stream.set_nonblocking(yes),
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Pipe::Tcp(stream) => stream.read(buffer),
            Pipe::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Pipe::Tcp(stream) => stream.write(bytes),
            Pipe::Unix(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Pipe::Tcp(stream) => stream.write_vectored(slices),
            Pipe::Unix(stream) => stream.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket that can be told to send each byte in a segment of its own.
#[derive(Debug)]
pub struct Socket {
    stream: Pipe,
    byte_by_byte: bool,
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = if self.byte_by_byte {
            bytes.len().min(1)
        } else {
            bytes.len()
        };
        self.stream.write(&bytes[..count])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.byte_by_byte {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.write(first.map_or(&[], |slice| slice));
        }
        // An alert goes out as the last of several slices, and rustls writes it only once.
        self.stream.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

enum Stream {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

/// A client that knows nothing about MQTT but where packets end.
pub struct RawClient {
    stream: Stream,
    /// The frames of WebSocket, once it is upgraded.
    incoming: Option<Incoming>,
    /// The version packets are written and read in.
    pub version: Version,
    /// Received; packets up to `used` were handed out.
    input: Vec<u8>,
    used: usize,
    /// Packets that came before one that was waited for.
    pub(crate) early: VecDeque<Vec<u8>>,
    deadline: Duration,
}

/// How to connect by TLS.
#[derive(Clone, Default)]
pub struct TlsOptions<'a> {
    /// The authorities the server's certificate may come from, PEM.
    pub ca_pem: &'a str,
    /// The client's certificate.
    pub credential: Option<&'a Credential>,
    /// The name the server's certificate must have; `localhost` when `None`.
    pub server_name: Option<&'a str>,
    /// Send the handshake one byte at a time.
    pub byte_by_byte: bool,
}

impl RawClient {
    /// Connects by plain TCP and speaks 5.0.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(Stream::Plain(Socket {
            stream: Pipe::Tcp(tcp(address, None)),
            byte_by_byte: false,
        }))
    }

    /// Connects by plain TCP with a small receive buffer, so that a peer which is not read is soon blocked.
    #[must_use]
    pub fn connect_with_receive_buffer(address: SocketAddr, bytes: usize) -> Self {
        Self::over(Stream::Plain(Socket {
            stream: Pipe::Tcp(tcp(address, Some(bytes))),
            byte_by_byte: false,
        }))
    }

    /// Connects by a Unix socket and speaks 5.0.
    #[must_use]
    pub fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path)
            .unwrap_or_else(|error| panic!("connecting to {}: {error}", path.display()));
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self::over(Stream::Plain(Socket {
            stream: Pipe::Unix(stream),
            byte_by_byte: false,
        }))
    }

    /// Connects by TLS and completes the handshake.
    ///
    /// # Errors
    /// The alert or the verifier's error. In TLS 1.3 a refused client certificate shows only with the
    /// first read.
    pub fn connect_tls(address: SocketAddr, options: &TlsOptions<'_>) -> io::Result<Self> {
        Self::tls_over(tcp(address, None), options)
    }

    /// As [`Self::connect_tls`], with a small receive buffer.
    ///
    /// # Errors
    /// As there.
    pub fn connect_tls_with_receive_buffer(
        address: SocketAddr,
        options: &TlsOptions<'_>,
        bytes: usize,
    ) -> io::Result<Self> {
        Self::tls_over(tcp(address, Some(bytes)), options)
    }

    fn tls_over(stream: TcpStream, options: &TlsOptions<'_>) -> io::Result<Self> {
        let name =
            ServerName::try_from(options.server_name.unwrap_or("localhost").to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::new(client_config(options)), name)
            .map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(
            connection,
            Socket {
                stream: Pipe::Tcp(stream),
                byte_by_byte: options.byte_by_byte,
            },
        );
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::over(Stream::Tls(Box::new(stream))))
    }

    fn over(stream: Stream) -> Self {
        RawClient {
            stream,
            incoming: None,
            version: Version::V5,
            input: Vec::new(),
            used: 0,
            early: VecDeque::new(),
            deadline: DEADLINE,
        }
    }

    /// The client's own address, as the broker sees it: by a Unix socket, this process.
    #[must_use]
    pub fn address(&self) -> PeerAddress {
        match self.pipe() {
            Pipe::Tcp(stream) => stream.local_addr().unwrap().into(),
            Pipe::Unix(_) => PeerAddress::Unix(PeerCredentials {
                pid: std::process::id(),
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
            }),
        }
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// From now on, every byte on the wire goes into a segment of its own, or no longer.
    pub fn byte_by_byte(&mut self, yes: bool) {
        match &mut self.stream {
            Stream::Plain(socket) => socket.byte_by_byte = yes,
            Stream::Tls(stream) => stream.sock.byte_by_byte = yes,
        }
    }

    /// Asks for a WebSocket at `/mqtt`. From now on what is sent goes into binary frames.
    pub fn upgrade(&mut self) {
        self.send(websocket::REQUEST);
        let until = Instant::now() + self.deadline;
        let end = loop {
            assert!(self.fill(until), "closed before the upgrade");
            if let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let answer = String::from_utf8_lossy(&self.input[..end]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains(websocket::ACCEPT), "{answer}");
        let rest = self.input.split_off(end);
        self.input.clear();
        let mut incoming = Incoming::default();
        incoming.take(&rest, &mut self.input);
        self.incoming = Some(incoming);
    }

    /// What came in control frames: the first byte of each and its payload.
    #[must_use]
    pub fn control_frames(&mut self) -> Vec<(u8, Vec<u8>)> {
        let incoming = self.incoming.as_mut();
        incoming.map_or_else(Vec::new, |incoming| std::mem::take(&mut incoming.control))
    }

    /// Sends bytes as one write; by WebSocket, in as few frames, and by TLS, in as few records as possible.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.incoming.is_some() {
            return self.try_send_below(&websocket::framed(bytes));
        }
        self.try_send_below(bytes)
    }

    /// As [`Self::try_send`], without frames of WebSocket.
    ///
    /// # Errors
    /// As there.
    pub fn try_send_below(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Sends bytes as one write; by TLS, in as few records as possible.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes)
            .unwrap_or_else(|error| panic!("sending {} bytes: {error}", bytes.len()));
    }

    /// Sends bytes one at a time: each in a segment, by TLS in a record, and by WebSocket in a frame of its own.
    pub fn send_slowly(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send(std::slice::from_ref(byte));
        }
    }

    /// Encodes and sends a packet.
    pub fn send_packet(&mut self, packet: &Packet<'_>) {
        let bytes = encode(packet, self.version);
        self.send(&bytes);
    }

    /// The bytes of the next packet, or `None` when the peer has closed the connection.
    pub fn next_packet(&mut self) -> Option<Vec<u8>> {
        self.early.pop_front().or_else(|| self.fresh_packet())
    }

    /// As [`Self::next_packet`], past those that came early.
    pub(crate) fn fresh_packet(&mut self) -> Option<Vec<u8>> {
        let until = Instant::now() + self.deadline;
        loop {
            let rest = &self.input[self.used..];
            match frame(rest, &Limits::generous()) {
                Ok(Framed::Complete { total, .. }) => {
                    let packet = rest[..total].to_vec();
                    self.used += total;
                    return Some(packet);
                }
                Ok(Framed::Incomplete { .. }) => {}
                Err(error) => panic!(
                    "the peer sent no packet: {error}; bytes: {:02x?}",
                    head(rest)
                ),
            }
            self.input.drain(..std::mem::take(&mut self.used));
            if !self.fill(until) {
                assert!(
                    self.input.is_empty(),
                    "closed within a packet: {:02x?}",
                    head(&self.input)
                );
                return None;
            }
        }
    }

    /// The bytes of the next packet.
    #[must_use]
    pub fn read_packet(&mut self) -> Vec<u8> {
        self.next_packet()
            .expect("a packet, but the connection is closed")
    }

    /// Receives the next packet and shows it to `look`.
    pub fn recv<T>(&mut self, look: impl FnOnce(Packet<'_>) -> T) -> T {
        let bytes = self.read_packet();
        look(decode(&bytes, self.version))
    }

    /// Fails unless the peer closes the connection without sending another packet.
    pub fn expect_closed(&mut self) {
        if let Some(bytes) = self.next_packet() {
            panic!("not closed, but: {:?}", decode(&bytes, self.version));
        }
    }

    /// All bytes until the peer closes or resets the connection, those already received included.
    #[must_use]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let until = Instant::now() + self.deadline;
        self.input.drain(..std::mem::take(&mut self.used));
        while self.fill(until) {}
        std::mem::take(&mut self.input)
    }

    /// Appends to `received` what has come, packets kept for later included, without waiting. Returns whether the connection is still open.
    pub fn read_available(&mut self, received: &mut Vec<u8>) -> bool {
        received.extend(self.early.drain(..).flatten());
        received.extend(self.input.drain(self.used..));
        self.input.clear();
        self.used = 0;
        self.pipe().set_nonblocking(true).unwrap();
        let mut buffer = [0; READ_BYTES_MAX];
        let is_open = loop {
            let read = match &mut self.stream {
                Stream::Plain(socket) => socket.read(&mut buffer),
                Stream::Tls(stream) => stream.read(&mut buffer),
            };
            match read {
                Ok(0) => break false,
                Ok(count) => match &mut self.incoming {
                    Some(incoming) => incoming.take(&buffer[..count], received),
                    None => received.extend_from_slice(&buffer[..count]),
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break error.kind() == ErrorKind::WouldBlock,
            }
        };
        // A socket that is gone cannot be told, and need not be.
        let _gone = self.pipe().set_nonblocking(false);
        is_open
    }

    /// Closes this side only (FIN), by WebSocket after a close frame and by TLS after a `close_notify`.
    pub fn half_close(&mut self) {
        if self.incoming.is_some() {
            self.try_send_below(websocket::CLOSE).unwrap();
        }
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
        self.pipe().shutdown(Shutdown::Write).unwrap();
    }

    /// Closes this side only (FIN), by TLS and WebSocket without a word.
    pub fn half_close_rudely(&mut self) {
        // A peer that has reset the connection already does not hear it.
        let _gone = self.pipe().shutdown(Shutdown::Write);
    }

    /// How long an answer may take from now on.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    fn pipe(&self) -> &Pipe {
        match &self.stream {
            Stream::Plain(socket) => &socket.stream,
            Stream::Tls(stream) => &stream.sock.stream,
        }
    }

    /// Reads once. Returns false at the end of the peer's side.
    fn fill(&mut self, until: Instant) -> bool {
        let left = until
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1));
        self.pipe().set_read_timeout(left).unwrap();
        let mut buffer = [0; READ_BYTES_MAX];
        let read = match &mut self.stream {
            Stream::Plain(socket) => socket.read(&mut buffer),
            Stream::Tls(stream) => stream.read(&mut buffer),
        };
        match read {
            Ok(0) => false,
            Ok(count) => {
                match &mut self.incoming {
                    Some(incoming) => incoming.take(&buffer[..count], &mut self.input),
                    None => self.input.extend_from_slice(&buffer[..count]),
                }
                true
            }
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof => false,
                ErrorKind::Interrupted => true,
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    panic!(
                        "no answer within {:?}; so far: {:02x?}",
                        self.deadline,
                        head(&self.input)
                    )
                }
                // A fatal alert ends the connection.
                ErrorKind::InvalidData => false,
                _ => panic!("reading: {error}"),
            },
        }
    }
}

/// The bytes of a packet.
#[must_use]
pub fn encode(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).unwrap();
    bytes
}

/// The packet of some bytes.
#[must_use]
pub fn decode(bytes: &[u8], version: Version) -> Packet<'_> {
    Packet::decode(bytes, version, &Limits::generous()).unwrap_or_else(|error| {
        panic!(
            "the peer sent a bad packet: {error}; bytes: {:02x?}",
            head(bytes)
        )
    })
}

fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(64)]
}

fn tcp(address: SocketAddr, receive_buffer: Option<usize>) -> TcpStream {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )
    .unwrap();
    if let Some(bytes) = receive_buffer {
        // Before connecting, since the window is negotiated then.
        socket.set_recv_buffer_size(bytes).unwrap();
    }
    socket
        .connect(&address.into())
        .unwrap_or_else(|error| panic!("connecting to {address}: {error}"));
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn client_config(options: &TlsOptions<'_>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(options.ca_pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match options.credential {
        None => builder.with_no_client_auth(),
        Some(credential) => {
            let chain = CertificateDer::pem_slice_iter(credential.cert_pem.as_bytes())
                .map(Result::unwrap)
                .collect();
            let key = PrivateKeyDer::from_pem_slice(credential.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}
