//! However the bytes come in pieces, the same is heard.
#![allow(clippy::unwrap_used, clippy::panic)]

use moat_websocket::checks::{self, REQUEST};
use moat_websocket::frame::unmask;
use proptest::collection::vec;
use proptest::prelude::*;

/// A client's frame of any kind, good or bad.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        4 => Just(0x82_u8),
        2 => Just(0x02),
        2 => Just(0x00),
        2 => Just(0x80),
        2 => Just(0x89),
        1 => Just(0x8A),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        8 => vec(any::<u8>(), 0..130),
        1 => (65_530_usize..65_540).prop_map(|length| vec![7; length]),
    ];
    (first, payload, any::<[u8; 4]>()).prop_map(|(first, payload, mask)| {
        let mut bytes = vec![first];
        match payload.len() {
            length @ 0..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
            length @ 126..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(mask);
        unmask(&payload, mask, 0, &mut bytes);
        bytes
    })
}

/// `bytes` cut after these many bytes each, over and over.
fn cut<'b>(bytes: &'b [u8], sizes: &[usize]) -> Vec<&'b [u8]> {
    let (mut rest, mut pieces) = (bytes, Vec::new());
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_are_heard_alike_in_any_pieces(
        frames in vec(frame(), 0..12),
        sizes in vec(1_usize..5000, 1..20),
    ) {
        let bytes = [REQUEST, &frames.concat()].concat();
        let whole = checks::hear(&mut checks::layer(), std::iter::once(&bytes[..]));
        let pieces = cut(&bytes, &sizes).into_iter();
        prop_assert_eq!(checks::hear(&mut checks::layer(), pieces), whole);
    }

    #[test]
    fn requests_are_judged_alike_in_any_pieces(
        mut bytes in Just(REQUEST.to_vec()),
        changes in vec((0..REQUEST.len(), any::<u8>()), 0..3),
        sizes in vec(1_usize..100, 1..20),
    ) {
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        let whole = checks::hear(&mut checks::layer(), std::iter::once(&bytes[..]));
        let pieces = cut(&bytes, &sizes).into_iter();
        prop_assert_eq!(checks::hear(&mut checks::layer(), pieces), whole);
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..400)) {
        checks::ws_frame(&bytes);
        checks::ws_upgrade(&bytes);
    }
}
