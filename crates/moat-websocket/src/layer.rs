//! One connection's WebSocket: frames in, bytes of MQTT out, and the other way round.
//!
//! Payload is never kept: it goes to the caller as it comes. What is kept between calls is the request head until
//! it is complete, and later the header of a frame and the payload of a control frame, 125 bytes at most.

use std::sync::Arc;

use crate::error::{Refusal, WsError};
use crate::frame::{self, CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Header, Opcode, Parsed};
use crate::handshake::{self, HEAD_BYTES_MAX, HEAD_END, Rules};

/// The connection has done what it was there for [RFC 6455 7.4.1].
const NORMAL: u16 = 1000;

/// One server-side WebSocket connection, without a socket.
#[derive(Debug)]
pub struct WsLayer {
    rules: Arc<Rules>,
    phase: Phase,
    /// The frame whose payload is being received.
    current: Option<Current>,
    /// The front of a header that is not complete.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    /// Whether a message has begun and its last fragment has not.
    in_message: bool,
    /// The request head, or the payload of a control frame, as far as it has come.
    held: Vec<u8>,
    /// The payload of the latest ping that was not answered yet; only that one has to be [RFC 6455 5.5.3].
    ping: Option<Box<[u8]>>,
    /// What the peer's close frame said.
    close: Option<Close>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Upgrading,
    Open,
    /// We sent a close frame, or the connection failed.
    Closed,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    header: Header,
    received: u64,
}

/// The code of a close frame, if it had one.
#[derive(Clone, Copy, Debug)]
struct Close(Option<u16>);

/// What a call of [`WsLayer::receive`] brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WsReceived {
    /// The upgrade was completed in this call.
    pub upgraded: bool,
    /// The peer sent a close frame, in this call or earlier; no payload will follow.
    pub peer_closed: bool,
}

impl WsLayer {
    /// A layer that waits for a request.
    #[must_use]
    pub fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            phase: Phase::Upgrading,
            current: None,
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            in_message: false,
            held: Vec::new(),
            ping: None,
            close: None,
        }
    }

    /// Takes all of `input`, appends what MQTT is in it to `payload`, and the answer to the upgrade to `out`.
    ///
    /// # Errors
    /// The connection is over. `payload` has what came before; `out` ends with what the peer is told: an HTTP answer
    /// or a close frame.
    pub fn receive(
        &mut self,
        input: &[u8],
        payload: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<WsReceived, WsError> {
        if self.phase == Phase::Closed {
            return Err(WsError::Closed);
        }
        self.take_in(input, payload, out).inspect_err(|error| {
            self.phase = Phase::Closed;
            (self.held, self.ping) = (Vec::new(), None);
            if let WsError::Refused(refusal) = error {
                handshake::write_refusal(*refusal, out);
            } else if let Some(code) = error.close_code() {
                write_close(Some(code), out);
            }
        })
    }

    /// Appends `payload` to `out` as one binary frame. Meant to be called once per flush.
    ///
    /// # Errors
    /// [`WsError::NotUpgraded`] or [`WsError::Closed`]; nothing is then in `out`.
    pub fn seal(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), WsError> {
        match self.phase {
            Phase::Upgrading => return Err(WsError::NotUpgraded),
            Phase::Closed => return Err(WsError::Closed),
            Phase::Open => {}
        }
        if !payload.is_empty() {
            frame::write_header(Opcode::Binary, payload.len(), out);
            out.extend_from_slice(payload);
        }
        Ok(())
    }

    /// Whether a ping waits for its answer.
    #[must_use]
    pub fn owes_pong(&self) -> bool {
        self.ping.is_some()
    }

    /// Appends the answer to the latest ping, if there is one. Who does not read what it is sent should not be
    /// answered: then a later ping replaces this one, and nothing piles up.
    pub fn pong(&mut self, out: &mut Vec<u8>) {
        if let Some(payload) = self.ping.take() {
            frame::write_header(Opcode::Pong, payload.len(), out);
            out.extend_from_slice(&payload);
        }
    }

    /// Appends a close frame, the echo of the peer's if it sent one. Nothing can be sealed or received after it.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if self.phase == Phase::Open {
            let code = self.close.map_or(Some(NORMAL), |Close(code)| code);
            write_close(code, out);
        }
        self.phase = Phase::Closed;
        (self.held, self.ping) = (Vec::new(), None);
    }

    /// Whether frames can flow.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Memory held for input that cannot be used yet. Unit: bytes.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.held.capacity() + self.ping.as_ref().map_or(0, |ping| ping.len())
    }

    fn take_in(
        &mut self,
        input: &[u8],
        payload: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<WsReceived, WsError> {
        let mut rest = input;
        let was_upgrading = self.phase == Phase::Upgrading;
        if was_upgrading {
            rest = self.upgrade(rest, out)?;
        }
        while !rest.is_empty() && self.close.is_none() {
            let used = match self.current {
                Some(current) => self.take_payload(current, rest, payload)?,
                None => self.take_header(rest)?,
            };
            rest = &rest[used..];
        }
        Ok(WsReceived {
            upgraded: was_upgrading && self.phase == Phase::Open,
            peer_closed: self.close.is_some(),
        })
    }

    /// Gathers the request head and judges it. Returns what came behind it.
    fn upgrade<'i>(&mut self, input: &'i [u8], out: &mut Vec<u8>) -> Result<&'i [u8], WsError> {
        let before = self.held.len();
        let room = (HEAD_BYTES_MAX - before).min(input.len());
        self.held.extend_from_slice(&input[..room]);
        // Somebody who speaks TLS or bare MQTT here should not have to wait for the end of a head.
        if self
            .held
            .first()
            .is_some_and(|byte| !byte.is_ascii_uppercase())
        {
            return Err(Refusal::NotHttp.into());
        }
        let from = before.saturating_sub(HEAD_END.len() - 1);
        let end = self.held[from..]
            .windows(HEAD_END.len())
            .position(|window| window == HEAD_END);
        let Some(end) = end.map(|end| from + end + HEAD_END.len()) else {
            if self.held.len() == HEAD_BYTES_MAX {
                return Err(Refusal::HeadTooLarge.into());
            }
            return Ok(&[]);
        };
        let head = std::mem::take(&mut self.held);
        handshake::judge(&head[..end], &self.rules)?.write(out);
        self.phase = Phase::Open;
        Ok(&input[end - before..])
    }

    /// Gathers a header. Returns how many bytes of `input` it took.
    fn take_header(&mut self, input: &[u8]) -> Result<usize, WsError> {
        let mut used = 0;
        loop {
            let known = &self.header[..self.header_bytes];
            match frame::parse(known, self.in_message, self.rules.frame_bytes_max)? {
                Parsed::Needs(bytes) => {
                    // One byte of a header is enough to refuse it, so no more are waited for than are there.
                    let take = (bytes - self.header_bytes).min(input.len() - used);
                    if take == 0 {
                        return Ok(used);
                    }
                    self.header[self.header_bytes..][..take]
                        .copy_from_slice(&input[used..used + take]);
                    self.header_bytes += take;
                    used += take;
                }
                Parsed::Header(header) => {
                    self.header_bytes = 0;
                    self.begin(header)?;
                    return Ok(used);
                }
            }
        }
    }

    fn begin(&mut self, header: Header) -> Result<(), WsError> {
        if !header.opcode.is_control() {
            self.in_message = !header.is_last;
        }
        self.current = Some(Current {
            header,
            received: 0,
        });
        if header.payload_bytes == 0 {
            self.end(header)?;
        }
        Ok(())
    }

    /// Takes what is there of a payload. Returns how many bytes of `input` it took.
    fn take_payload(
        &mut self,
        mut current: Current,
        input: &[u8],
        payload: &mut Vec<u8>,
    ) -> Result<usize, WsError> {
        let Current { header, received } = current;
        let missing = usize::try_from(header.payload_bytes - received).unwrap_or(usize::MAX);
        let part = &input[..missing.min(input.len())];
        let sink = if header.opcode.is_control() {
            if self.held.is_empty() {
                self.held.reserve_exact(CONTROL_BYTES_MAX);
            }
            &mut self.held
        } else {
            payload
        };
        frame::unmask(part, header.mask, received, sink);
        current.received += u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.current = Some(current);
        if current.received == header.payload_bytes {
            self.end(header)?;
        }
        Ok(part.len())
    }

    /// A frame is complete.
    fn end(&mut self, header: Header) -> Result<(), WsError> {
        self.current = None;
        if !header.opcode.is_control() {
            return Ok(());
        }
        let payload = std::mem::take(&mut self.held);
        match header.opcode {
            Opcode::Ping => self.ping = Some(payload.into_boxed_slice()),
            Opcode::Close => self.close = Some(close_of(&payload)?),
            _ => {}
        }
        Ok(())
    }
}

/// What a close frame says [RFC 6455 5.5.1, 7.4].
fn close_of(payload: &[u8]) -> Result<Close, WsError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(Close(None))
        } else {
            Err(WsError::MalformedClose)
        };
    };
    let code = u16::from_be_bytes(*code);
    let is_code = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if !is_code || std::str::from_utf8(reason).is_err() {
        return Err(WsError::MalformedClose);
    }
    Ok(Close(Some(code)))
}

fn write_close(code: Option<u16>, out: &mut Vec<u8>) {
    let code = code.map(u16::to_be_bytes);
    let payload = code.as_ref().map_or(&[][..], |code| code);
    frame::write_header(Opcode::Close, payload.len(), out);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests;
