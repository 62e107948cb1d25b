//! What must hold for any bytes: the fuzz targets call these, and a plain test replays the corpus through them.

use std::sync::Arc;

use crate::frame::CONTROL_BYTES_MAX;
use crate::handshake::{HEAD_BYTES_MAX, Rules};
use crate::{WsError, WsLayer, WsReceived};

/// A request that every listener of these checks accepts.
pub const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: broker.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

/// The largest payload of a frame in these checks. Unit: bytes.
const FRAME_BYTES_MAX: u64 = 1 << 20;

/// Everything a layer said to some bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Heard {
    /// How it ended.
    pub result: Result<WsReceived, WsError>,
    /// The MQTT in it.
    pub payload: Vec<u8>,
    /// What the peer is sent.
    pub out: Vec<u8>,
}

/// A layer of a listener at `/mqtt` that lets pages of `https://pages.example` in.
#[must_use]
pub fn layer() -> WsLayer {
    WsLayer::new(Arc::new(Rules {
        path: "/mqtt".to_owned(),
        origins: vec!["https://pages.example".to_owned()],
        frame_bytes_max: FRAME_BYTES_MAX,
    }))
}

/// What a layer makes of bytes that come in these pieces.
///
/// # Panics
/// When it keeps more than it promises.
pub fn hear<'p>(layer: &mut WsLayer, pieces: impl Iterator<Item = &'p [u8]>) -> Heard {
    let (mut payload, mut out) = (Vec::new(), Vec::new());
    let mut result = Ok(WsReceived::default());
    for piece in pieces {
        let was_open = layer.is_open();
        result = layer.receive(piece, &mut payload, &mut out).map(|now| {
            let upgraded = now.upgraded || result.is_ok_and(|before| before.upgraded);
            WsReceived { upgraded, ..now }
        });
        let most = if was_open {
            2 * CONTROL_BYTES_MAX
        } else {
            // The vector that holds a head doubles.
            2 * HEAD_BYTES_MAX
        };
        assert!(layer.buffered() <= most, "{} held", layer.buffered());
        if result.is_err() {
            break;
        }
    }
    layer.pong(&mut out);
    layer.close(&mut out);
    Heard {
        result,
        payload,
        out,
    }
}

/// Any bytes behind an upgrade: no panic, no more payload than input, and the same however they come in pieces.
///
/// # Panics
/// When one of these does not hold.
pub fn ws_frame(input: &[u8]) {
    let upgraded = || {
        let mut layer = layer();
        let request = hear_only(&mut layer, REQUEST);
        assert!(request, "the request is accepted");
        layer
    };
    same_in_pieces(input, upgraded);
}

/// Any bytes as a request and what follows: as [`ws_frame`].
///
/// # Panics
/// As there.
pub fn ws_upgrade(input: &[u8]) {
    same_in_pieces(input, layer);
}

fn hear_only(layer: &mut WsLayer, bytes: &[u8]) -> bool {
    layer
        .receive(bytes, &mut Vec::new(), &mut Vec::new())
        .is_ok_and(|received| received.upgraded)
}

fn same_in_pieces(input: &[u8], layer: impl Fn() -> WsLayer) {
    let whole = hear(&mut layer(), std::iter::once(input));
    assert!(whole.payload.len() <= input.len(), "payload out of nothing");
    // The first byte tells the size of the pieces, so that a fuzzer can choose it.
    let size = usize::from(input.first().copied().unwrap_or(0)) % 17 + 1;
    for size in [1, size] {
        let pieces = hear(&mut layer(), input.chunks(size));
        if !input.is_empty() {
            assert_eq!(pieces, whole, "in pieces of {size}");
        }
    }
}
