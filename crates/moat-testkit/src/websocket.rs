//! WebSocket as a client sees it, apart from the broker's own code: a request, masked frames out, frames in.

/// A request for the path `/mqtt`, with the key that RFC 6455 has as its example.
pub const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

/// What the answer to [`REQUEST`] has in it [RFC 6455 1.3].
pub const ACCEPT: &str = "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

/// A client's close frame with the code 1000.
pub const CLOSE: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8];

/// The first byte of a whole binary message.
pub const BINARY: u8 = 0x82;
/// The first byte of a close frame.
pub const CLOSING: u8 = 0x88;
/// The first byte of a ping.
pub const PING: u8 = 0x89;
/// The first byte of a pong.
pub const PONG: u8 = 0x8A;

/// Bytes of a frame's payload at most; more go into the next one.
const PAYLOAD_BYTES_MAX: usize = 64 << 10;
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// `bytes` in binary frames, as few as possible.
#[must_use]
pub fn framed(bytes: &[u8]) -> Vec<u8> {
    let frames = bytes.chunks(PAYLOAD_BYTES_MAX);
    frames.flat_map(|part| frame(BINARY, part)).collect()
}

/// One masked frame.
#[must_use]
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match u16::try_from(payload.len()) {
        Ok(length @ 0..126) => bytes.push(0x80 | length.to_be_bytes()[1]),
        Ok(length) => {
            bytes.push(0x80 | 126);
            bytes.extend(length.to_be_bytes());
        }
        Err(_) => {
            bytes.push(0x80 | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

/// What comes from the server.
#[derive(Debug, Default)]
pub struct Incoming {
    raw: Vec<u8>,
    /// Control frames: the first byte of each and its payload.
    pub control: Vec<(u8, Vec<u8>)>,
}

impl Incoming {
    /// Takes bytes of the socket, and appends what MQTT is in them to `payload`.
    ///
    /// # Panics
    /// When the server sends what no server may.
    pub fn take(&mut self, bytes: &[u8], payload: &mut Vec<u8>) {
        self.raw.extend_from_slice(bytes);
        let mut used = 0;
        while let Some((first, header, length)) = header(&self.raw[used..]) {
            let Some(body) = self.raw[used + header..].get(..length) else {
                break;
            };
            match first {
                BINARY => payload.extend_from_slice(body),
                CLOSING | PONG => self.control.push((first, body.to_vec())),
                other => panic!("a frame that begins with {other:#x}"),
            }
            used += header + length;
        }
        self.raw.drain(..used);
    }
}

/// First byte, bytes of header and bytes of payload of the frame in front, once its header is there.
fn header(raw: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*raw.first()?, *raw.get(1)?);
    assert!(second & 0x80 == 0, "a server does not mask");
    let (header, length) = match second {
        126 => (
            4,
            u64::from(u16::from_be_bytes(raw.get(2..4)?.try_into().unwrap())),
        ),
        127 => (10, u64::from_be_bytes(raw.get(2..10)?.try_into().unwrap())),
        short => (2, u64::from(short)),
    };
    Some((first, header, usize::try_from(length).unwrap()))
}
