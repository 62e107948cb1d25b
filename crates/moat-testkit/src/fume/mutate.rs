//! Bytes that are flipped, inserted, lost, doubled, cut off, exchanged with those of another packet, or that lie about a length.

use super::Dice;

/// Changes of one packet.
const CHANGES_MAX: u64 = 4;
/// Bytes that one change inserts, removes or doubles.
const PIECE_BYTES_MAX: u64 = 16;
/// Values that break more than others do.
const NASTY: &[u8] = &[
    0x00, 0x01, 0x7f, 0x80, 0xff, 0x0a, 0x23, 0x2b, 0x2f, 0xc0, 0xed,
];

/// Changes `bytes` a few times. `other` is a packet to take pieces of.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    for _ in 0..1 + dice.below(CHANGES_MAX) {
        if bytes.is_empty() {
            bytes.push(dice.byte());
        }
        change(bytes, other, dice);
    }
}

fn change(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.place(bytes.len());
    let piece = |dice: &mut Dice, room: usize| {
        usize::try_from(1 + dice.below(PIECE_BYTES_MAX)).map_or(room, |bytes| bytes.min(room))
    };
    match dice.below(9) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes[at] = *dice.pick(NASTY),
        2 => bytes[at] = dice.byte(),
        3 => {
            let new: Vec<u8> = (0..1 + dice.below(PIECE_BYTES_MAX))
                .map(|_| dice.byte())
                .collect();
            bytes.splice(at..at, new);
        }
        4 => {
            let end = at + piece(dice, bytes.len() - at);
            bytes.drain(at..end);
        }
        5 => {
            let end = at + piece(dice, bytes.len() - at);
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        6 => bytes.truncate(at.max(1)),
        7 if !other.is_empty() => {
            let from = dice.place(other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        _ => lie_about_a_length(bytes, dice),
    }
}

/// The remaining length, or two bytes anywhere, which may be the length of a string or of properties.
fn lie_about_a_length(bytes: &mut Vec<u8>, dice: &mut Dice) {
    if dice.chance(50) && bytes.len() > 1 {
        let lie = *dice.pick(&[0_u32, 1, 2, 127, 128, 16_383, 16_384, 4000, 268_435_455]);
        let mut length = lie;
        let mut encoded = Vec::new();
        loop {
            let low = u8::try_from(length & 127).unwrap_or(0);
            length >>= 7;
            encoded.push(if length > 0 { low | 128 } else { low });
            if length == 0 {
                break;
            }
        }
        let old = 1 + bytes[1..]
            .iter()
            .take(3)
            .take_while(|byte| **byte >= 128)
            .count();
        let end = (1 + old).min(bytes.len());
        bytes.splice(1..end, encoded);
        return;
    }
    let at = dice.place(bytes.len().saturating_sub(1).max(1));
    let lie = dice
        .pick(&[0_u16, 1, 0x7f, 0xff, 0x0100, 0x1000, 0xffff])
        .to_be_bytes();
    for (byte, lie) in bytes[at..].iter_mut().zip(lie) {
        *byte = lie;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_ends_and_most_change_something() {
        let packet = [0x30, 7, 0, 1, b't', 0, 1, 2, 3];
        let mut changed = 0;
        for batch in 0..1000 {
            let mut bytes = packet.to_vec();
            mutate(&mut bytes, &packet, &mut Dice::new(7, batch));
            assert!(bytes.len() < packet.len() + 5 * 20 + 10);
            changed += usize::from(bytes != packet);
        }
        assert!(changed > 900, "{changed}");
    }
}
