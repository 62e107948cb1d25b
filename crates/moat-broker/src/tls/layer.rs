//! One connection's TLS: ciphertext in, plaintext out, and the other way round.
//!
//! The layer owns no buffer of its own. Input is decrypted where the caller read it; what is kept
//! between calls is what cannot be used yet, an incomplete record or records beyond the budget,
//! and nothing else.
//!
//! rustls wants to see the bytes it did not discard again, in place and as it left them: they are
//! `held`. While `held` is empty rustls holds no position in any buffer, so the caller's may be
//! given to it directly.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedStatus, WriteTraffic,
};
use rustls::{HandshakeKind, InvalidMessage, ProtocolVersion, ServerConfig};

use super::error::{Plaintext, TlsError};

/// Most bytes kept when all that can be processed has been: an incomplete record, or an
/// incomplete handshake message with the records around it. Unit: bytes.
pub const HELD_BYTES_MAX: usize = 64 * 1024;
/// Most bytes kept in all, if the caller goes on reading although the layer said `more`.
/// Unit: bytes.
pub const UNDRAINED_BYTES_MAX: usize = 256 * 1024;

/// Content type, version and length in front of every record. Unit: bytes.
const RECORD_HEADER_BYTES: usize = 5;
/// Largest plaintext of one record [RFC 8446 5.1]. Unit: bytes.
const RECORD_PLAINTEXT_MAX: usize = 16 * 1024;
/// What sealing adds to a record at most: header, explicit nonce (TLS 1.2), content type
/// (TLS 1.3) and tag. Unit: bytes.
const RECORD_OVERHEAD_MAX: usize = RECORD_HEADER_BYTES + 8 + 1 + 16;

/// One server-side TLS connection, without a socket.
pub struct TlsLayer {
    /// Boxed: a connection is moved between shards and tables, and this part has over a kilobyte.
    connection: Box<UnbufferedServerConnection>,
    held: Held,
    /// Whether `held` may have complete records in it, because the budget ended first.
    undrained: bool,
    phase: Phase,
    /// Whether the peer's close_notify was seen. Nothing after it is read.
    peer_closed: bool,
    /// Whether any record of the peer was well-formed, so that garbage is not called plaintext.
    saw_record: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Handshaking,
    Open,
    /// We sent close_notify; the peer may still send.
    Closing,
    Failed,
}

/// What a call of [`TlsLayer::receive`] brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The handshake was completed in this call.
    pub handshake_done: bool,
    /// The budget ended before the input did: call again with an empty input.
    pub more: bool,
    /// The peer sent close_notify, in this call or earlier; no plaintext will follow.
    pub peer_closed: bool,
}

impl std::fmt::Debug for TlsLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsLayer")
            .field("phase", &self.phase)
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}

impl TlsLayer {
    /// A layer that waits for a ClientHello.
    ///
    /// # Errors
    /// [`TlsError::Protocol`] if rustls refuses the configuration.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        let connection = UnbufferedServerConnection::new(config).map_err(TlsError::Protocol)?;
        Ok(Self {
            connection: Box::new(connection),
            held: Held::default(),
            undrained: false,
            phase: Phase::Handshaking,
            peer_closed: false,
            saw_record: false,
        })
    }

    /// Takes ciphertext that was just read, decrypting it in place, and appends the plaintext of
    /// whole records to `plaintext` until about `plaintext_max` bytes came in this call (the
    /// record that crosses the line is still delivered). Handshake messages, tickets and alerts
    /// for the peer are appended to `out`.
    ///
    /// What cannot be used yet is kept; see [`buffered`](Self::buffered). When the budget ends
    /// first, `more` is set: no readiness will announce that input, so whoever drives the layer
    /// calls again with an empty `input` before it reads more from the socket.
    ///
    /// # Errors
    /// The connection is over. `out` then ends with the alert to send before closing, if there
    /// is one.
    pub fn receive(
        &mut self,
        input: &mut [u8],
        plaintext: &mut Vec<u8>,
        out: &mut Vec<u8>,
        plaintext_max: usize,
    ) -> Result<Received, TlsError> {
        if self.phase == Phase::Failed {
            return Err(TlsError::Closed);
        }
        let was_handshaking = self.phase == Phase::Handshaking;
        let mut sink = Sink {
            start: plaintext.len(),
            plaintext,
            out,
            plaintext_max: plaintext_max.max(1),
        };
        match self.take_in(input, &mut sink) {
            Ok(()) => Ok(Received {
                handshake_done: was_handshaking && self.phase != Phase::Handshaking,
                more: self.undrained,
                peer_closed: self.peer_closed,
            }),
            Err(error) => {
                self.phase = Phase::Failed;
                self.held = Held::default();
                self.undrained = false;
                Err(error)
            }
        }
    }

    /// Seals `plaintext` into as few records as possible and appends them to `out`. Meant to be
    /// called once per flush.
    ///
    /// # Errors
    /// [`TlsError::HandshakeNotDone`], [`TlsError::Closed`] or [`TlsError::KeysExhausted`];
    /// nothing of `plaintext` is then in `out`.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), TlsError> {
        match self.phase {
            Phase::Open => {}
            Phase::Handshaking => return Err(TlsError::HandshakeNotDone),
            Phase::Closing | Phase::Failed => return Err(TlsError::Closed),
        }
        if plaintext.is_empty() {
            return Ok(());
        }
        let records = plaintext.len().div_ceil(RECORD_PLAINTEXT_MAX);
        let size = plaintext.len() + records * RECORD_OVERHEAD_MAX;
        self.write(out, size, |traffic, room| traffic.encrypt(plaintext, room))
    }

    /// Appends a close_notify to `out`, unless one was sent, the connection failed or the
    /// handshake has not got far enough for one. The peer may go on sending.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if self.phase != Phase::Open {
            return;
        }
        self.phase = Phase::Closing;
        // Nothing is lost if this fails: the peer sees the connection end without a close_notify.
        let _ = self.write(out, RECORD_OVERHEAD_MAX + 2, |traffic, room| {
            traffic.queue_close_notify(room)
        });
    }

    /// Whether application data cannot flow yet.
    pub fn is_handshaking(&self) -> bool {
        self.phase == Phase::Handshaking
    }

    /// The client's verified chain, leaf first; `None` if it sent none. On a resumed connection
    /// it is the chain of the first one.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.connection.peer_certificates()
    }

    /// Whether the handshake was a full or a resumed one; `None` before that is known.
    pub fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.connection.handshake_kind()
    }

    /// The negotiated version; `None` before that is known.
    pub fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.connection.protocol_version()
    }

    /// Memory held for input that cannot be used yet. Unit: bytes.
    pub fn buffered(&self) -> usize {
        self.held.bytes.capacity()
    }

    fn take_in(&mut self, mut input: &mut [u8], sink: &mut Sink<'_>) -> Result<(), TlsError> {
        if self.peer_closed {
            return Ok(());
        }
        let waiting = self.held.len() + input.len();
        if self.undrained && !input.is_empty() && waiting > UNDRAINED_BYTES_MAX {
            return Err(TlsError::NotDrained);
        }
        if !self.held.is_empty() {
            // Usually this completes one record, first its header and then its body, and the rest
            // of the input needs no copy.
            for _ in 0..2 {
                let (top_up, rest) = input.split_at_mut(self.held.missing().min(input.len()));
                self.held.append(top_up);
                input = rest;
            }
            self.process_held(sink)?;
            if self.peer_closed || !self.held.is_empty() {
                return self.take_in_behind_held(input, sink);
            }
        }
        if !input.is_empty() {
            let consumed = self.process(input, sink)?;
            self.held.append(&input[consumed..]);
        }
        self.check_held()
    }

    /// Takes input in while older bytes still wait: it has to queue up behind them.
    fn take_in_behind_held(&mut self, input: &[u8], sink: &mut Sink<'_>) -> Result<(), TlsError> {
        if !input.is_empty() && !self.peer_closed {
            self.held.append(input);
            if !self.undrained {
                self.process_held(sink)?;
            }
        }
        self.check_held()
    }

    /// Bounds what a peer can make us keep, other than by our own budget.
    fn check_held(&self) -> Result<(), TlsError> {
        if !self.undrained && self.held.len() > HELD_BYTES_MAX {
            return Err(TlsError::HandshakeTooLarge);
        }
        Ok(())
    }

    fn process_held(&mut self, sink: &mut Sink<'_>) -> Result<(), TlsError> {
        let mut held = std::mem::take(&mut self.held);
        let consumed = self.process(held.bytes_mut(), sink)?;
        held.consume(consumed);
        self.held = held;
        Ok(())
    }

    /// Feeds rustls until it needs more input or the budget ends. Returns how many bytes of
    /// `buffer` are used up.
    fn process(&mut self, buffer: &mut [u8], sink: &mut Sink<'_>) -> Result<usize, TlsError> {
        let first = Plaintext::guess(buffer);
        self.undrained = false;
        let mut consumed = 0;
        loop {
            if sink.is_full() {
                self.undrained = consumed < buffer.len();
                break;
            }
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut buffer[consumed..]);
            let more = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(TlsError::Protocol)?;
                        sink.plaintext.extend_from_slice(record.payload);
                        consumed += record.discard;
                    }
                    true
                }
                Ok(ConnectionState::EncodeTlsData(chunk)) => {
                    encode(chunk, sink.out);
                    true
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    transmit.done();
                    true
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.peer_closed = true;
                    // What follows a close_notify is no part of the connection.
                    consumed = buffer.len();
                    break;
                }
                // `ReadEarlyData` cannot come: the configuration allows none.
                Ok(_) => false,
                Err(error) => return Err(self.fail(error, first, sink.out)),
            };
            consumed += discard;
            self.saw_record |= discard > 0;
            if !more {
                break;
            }
        }
        if self.phase == Phase::Handshaking && !self.connection.is_handshaking() {
            self.phase = Phase::Open;
        }
        Ok(consumed)
    }

    /// Collects the alert rustls has for the peer, and names the cause.
    fn fail(&mut self, error: rustls::Error, first: Plaintext, out: &mut Vec<u8>) -> TlsError {
        // Only queued output is asked for. Were rustls shown the input again, or asked once more
        // with nothing queued, it would judge the same bad bytes a second time.
        while self.connection.wants_write() {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(chunk)) => encode(chunk, out),
                _ => break,
            }
        }
        let no_record = matches!(
            error,
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                    | InvalidMessage::UnknownProtocolVersion
                    | InvalidMessage::MessageTooLarge
                    | InvalidMessage::InvalidEmptyPayload
            )
        );
        if no_record && !self.saw_record && self.is_handshaking() {
            return TlsError::NotTls { looks_like: first };
        }
        TlsError::Protocol(error)
    }

    /// Lets rustls write into `out`, at first with room for `size` bytes.
    fn write(
        &mut self,
        out: &mut Vec<u8>,
        size: usize,
        write: impl Fn(&mut WriteTraffic<'_, ServerData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsError> {
        loop {
            // rustls may hold positions in what it has seen of `held`, so it has to see it again;
            // but records beyond the budget would be decrypted by that, and while there are some
            // it holds no positions.
            let buffer = if self.undrained {
                &mut []
            } else {
                self.held.bytes_mut()
            };
            match self.connection.process_tls_records(buffer).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    return append(out, size, |room| write(&mut traffic, room));
                }
                Ok(ConnectionState::EncodeTlsData(chunk)) => encode(chunk, out),
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                Ok(_) => return Err(TlsError::Closed),
                Err(error) => return Err(TlsError::Protocol(error)),
            }
        }
    }
}

/// What rustls calls the server side of a connection; its type has no public name.
type ServerData = rustls::server::ServerConnectionData;

/// Where a call's results go.
struct Sink<'a> {
    plaintext: &'a mut Vec<u8>,
    out: &'a mut Vec<u8>,
    /// Length of `plaintext` when the call began.
    start: usize,
    plaintext_max: usize,
}

impl Sink<'_> {
    fn is_full(&self) -> bool {
        self.plaintext.len() - self.start >= self.plaintext_max
    }
}

/// Appends what `write` writes to `out`, with room for `size` bytes or as many as it asks for.
fn append(
    out: &mut Vec<u8>,
    size: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), TlsError> {
    let start = out.len();
    out.resize(start + size, 0);
    let mut result = write(&mut out[start..]);
    if let Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) = result {
        // Something is queued in front, an answer to a key update for instance.
        out.resize(start + required_size, 0);
        result = write(&mut out[start..]);
    }
    out.truncate(start + result.as_ref().map_or(0, |&written| written));
    result.map(|_| ()).map_err(|_| TlsError::KeysExhausted)
}

fn encode(mut chunk: EncodeTlsData<'_, ServerData>, out: &mut Vec<u8>) {
    // Asking with no room tells the size and changes nothing.
    let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) =
        chunk.encode(&mut [])
    else {
        return;
    };
    let start = out.len();
    out.resize(start + required_size, 0);
    let written = chunk.encode(&mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

/// Bytes that wait for more. Consuming moves a cursor; memory is moved once per append at most,
/// and given back when nothing is left.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    start: usize,
}

impl Held {
    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    fn append(&mut self, more: &[u8]) {
        if more.is_empty() {
            return;
        }
        self.bytes.drain(..self.start);
        self.start = 0;
        // Room follows received bytes, never the length a record announces.
        self.bytes.extend_from_slice(more);
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// How many bytes the record at the front lacks. A wrong answer, when the front is in the
    /// middle of a handshake message, costs a copy and nothing else.
    fn missing(&self) -> usize {
        let bytes = &self.bytes[self.start..];
        let Some(&[high, low]) = bytes.get(3..RECORD_HEADER_BYTES) else {
            return RECORD_HEADER_BYTES - bytes.len();
        };
        let record = RECORD_HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]));
        record.saturating_sub(bytes.len())
    }
}

#[cfg(test)]
mod tests;
