use super::*;

const REQUEST: &[u8] = b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

const BINARY: u8 = 0x82;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;
const CLOSE: u8 = 0x88;

fn fresh() -> WsLayer {
    WsLayer::new(Arc::new(Rules {
        path: "/mqtt".to_owned(),
        origins: Vec::new(),
        frame_bytes_max: 70_000,
    }))
}

fn open() -> WsLayer {
    let mut layer = fresh();
    let (mut payload, mut out) = (Vec::new(), Vec::new());
    let received = layer.receive(REQUEST, &mut payload, &mut out).unwrap();
    assert!(received.upgraded && payload.is_empty() && out.starts_with(b"HTTP/1.1 101 "));
    layer
}

/// A client's frame.
fn framed(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::write_header(Opcode::Binary, payload.len(), &mut bytes);
    (bytes[0], bytes[1]) = (first, bytes[1] | 0x80);
    let mask = [0x11, 0x22, 0x33, 0x44];
    bytes.extend(mask);
    frame::unmask(payload, mask, 0, &mut bytes);
    bytes
}

/// Payload and answers, and how it ended.
fn heard(layer: &mut WsLayer, bytes: &[u8]) -> (Vec<u8>, Vec<u8>, Result<WsReceived, WsError>) {
    let (mut payload, mut out) = (Vec::new(), Vec::new());
    let result = layer.receive(bytes, &mut payload, &mut out);
    (payload, out, result)
}

#[test]
fn packets_lie_across_and_within_frames() {
    let mut layer = open();
    let bytes = [
        framed(BINARY, b"one tw"),
        framed(BINARY, b"o three"),
        framed(BINARY, b""),
    ]
    .concat();
    let (payload, out, result) = heard(&mut layer, &bytes);
    assert_eq!(payload, b"one two three");
    assert!(out.is_empty() && result.is_ok());
}

#[test]
fn fragments_are_one_stream_and_control_frames_stand_between_them() {
    let mut layer = open();
    let bytes = [
        framed(0x02, b"a"),
        framed(PING, b"?"),
        framed(0x00, b"b"),
        framed(PONG, b"unasked"),
        framed(0x80, b"c"),
        framed(BINARY, b"d"),
    ];
    let (payload, _, result) = heard(&mut layer, &bytes.concat());
    assert_eq!((payload.as_slice(), result.is_ok()), (&b"abcd"[..], true));
    let mut out = Vec::new();
    layer.pong(&mut out);
    assert_eq!(out, [PONG, 1, b'?']);
}

#[test]
fn only_the_latest_ping_is_answered_and_once() {
    let mut layer = open();
    let pings: Vec<u8> = (0..1000_u16)
        .flat_map(|n| framed(PING, &n.to_be_bytes()))
        .collect();
    heard(&mut layer, &pings).2.unwrap();
    assert!(layer.owes_pong() && layer.buffered() <= CONTROL_BYTES_MAX);
    let mut out = Vec::new();
    layer.pong(&mut out);
    layer.pong(&mut out);
    assert_eq!(out, [PONG, 2, 3, 0xE7]);
}

#[test]
fn a_close_is_echoed_when_we_close_and_ends_the_input() {
    let mut layer = open();
    let close = framed(CLOSE, b"\x03\xE9bye");
    let (payload, out, result) = heard(&mut layer, &[close, framed(BINARY, b"late")].concat());
    assert!(result.unwrap().peer_closed && payload.is_empty() && out.is_empty());
    // What it is still owed goes out before.
    let mut out = Vec::new();
    layer.seal(b"x", &mut out).unwrap();
    layer.close(&mut out);
    layer.close(&mut out);
    assert_eq!(out, [BINARY, 1, b'x', CLOSE, 2, 3, 0xE9]);
    assert_eq!(layer.seal(b"x", &mut out), Err(WsError::Closed));
}

#[test]
fn a_close_without_a_code_is_echoed_without_one_and_ours_has_1000() {
    let (mut theirs, mut ours) = (open(), open());
    heard(&mut theirs, &framed(CLOSE, b"")).2.unwrap();
    let mut out = Vec::new();
    theirs.close(&mut out);
    ours.close(&mut out);
    assert_eq!(out, [CLOSE, 0, CLOSE, 2, 3, 0xE8]);
}

#[test]
fn a_malformed_close_is_an_error() {
    for payload in [
        &b"\x03"[..],
        b"\x03\xED",
        b"\x03\xEE",
        b"\0\0",
        b"\x13\x88",
        b"\x03\xE8\xFF",
    ] {
        let (_, out, result) = heard(&mut open(), &framed(CLOSE, payload));
        assert_eq!(result, Err(WsError::MalformedClose), "{payload:?}");
        assert_eq!(out, [CLOSE, 2, 3, 0xEA]);
    }
}

#[test]
fn an_error_is_told_once_with_its_code_after_what_came_before() {
    for (bad, code) in [
        (vec![0x81], 1003_u16),
        (vec![0xC2], 1002),
        (vec![BINARY, 5], 1002),
        (vec![BINARY, 0xFF, 0, 0, 0, 0, 0, 1, 0x11, 0x71], 1009),
    ] {
        let mut layer = open();
        let bytes = [framed(BINARY, b"before"), bad].concat();
        let (payload, out, result) = heard(&mut layer, &bytes);
        assert_eq!(result.unwrap_err().close_code(), Some(code));
        assert_eq!(payload, b"before");
        assert_eq!(out, [&[CLOSE, 2][..], &code.to_be_bytes()].concat());
        assert_eq!(
            heard(&mut layer, b"x"),
            (vec![], vec![], Err(WsError::Closed))
        );
        let mut more = Vec::new();
        layer.close(&mut more);
        assert!(more.is_empty());
    }
}

#[test]
fn an_announced_payload_costs_nothing() {
    let mut layer = open();
    let (payload, _, result) = heard(&mut layer, &framed(BINARY, &[0; 70_000])[..100]);
    assert!(result.is_ok() && payload.len() < 100 && layer.buffered() == 0);
}

#[test]
fn a_head_is_bounded_wherever_it_is_cut() {
    let start = b"GET /mqtt HTTP/1.1\r\nX: ";
    let endless = [&start[..], &vec![b'y'; 2 * HEAD_BYTES_MAX]].concat();
    for size in [1, 1000, endless.len()] {
        let mut layer = fresh();
        let (mut taken, mut error) = (0, None);
        for piece in endless.chunks(size) {
            taken += piece.len();
            let (_, out, result) = heard(&mut layer, piece);
            if let Err(wrong) = result {
                assert!(out.starts_with(b"HTTP/1.1 431 "));
                error = Some(wrong);
                break;
            }
        }
        assert_eq!(error, Some(WsError::Refused(Refusal::HeadTooLarge)));
        assert!(taken <= HEAD_BYTES_MAX + size && layer.buffered() == 0);
    }
}

#[test]
fn who_speaks_tls_or_bare_mqtt_is_told_at_once() {
    for byte in [0x16, 0x10, b'\r', b'g'] {
        let (_, out, result) = heard(&mut fresh(), &[byte]);
        assert_eq!(result, Err(WsError::Refused(Refusal::NotHttp)));
        assert!(out.starts_with(b"HTTP/1.1 400 "));
    }
}

#[test]
fn frames_right_behind_the_request_are_not_lost() {
    let mut layer = fresh();
    let bytes = [REQUEST, &framed(BINARY, b"eager")].concat();
    let (payload, out, result) = heard(&mut layer, &bytes);
    assert!(result.unwrap().upgraded && out.starts_with(b"HTTP/1.1 101 "));
    assert_eq!(payload, b"eager");
}

#[test]
fn nothing_is_sealed_before_the_upgrade() {
    let (mut layer, mut out) = (fresh(), Vec::new());
    assert_eq!(layer.seal(b"x", &mut out), Err(WsError::NotUpgraded));
    layer.close(&mut out);
    assert!(out.is_empty());
}
