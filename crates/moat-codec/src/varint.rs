//! Variable byte integers (section 1.5.5): seven bits per byte, lowest first, at most four bytes.

/// The largest value four bytes can hold.
pub const MAX: u32 = 268_435_455;

/// Bytes `value` takes on the wire in its minimal form [MQTT-1.5.5-1]; 4 for anything above [`MAX`].
#[inline]
#[must_use]
pub const fn len(value: u32) -> usize {
    match value {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// What the bytes at the start of an input say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Parsed {
    /// The last byte seen asks for another one.
    Incomplete,
    /// Four bytes and still no end.
    TooLong,
    /// The value and the bytes it took, which may be more than it needs.
    Complete { value: u32, bytes: usize },
}

/// Reads a variable byte integer without judging whether it is minimal.
#[inline]
pub(crate) fn parse(input: &[u8]) -> Parsed {
    let mut value = 0_u32;
    for (index, &byte) in input.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Parsed::Complete {
                value,
                bytes: index + 1,
            };
        }
    }
    if input.len() < 4 {
        Parsed::Incomplete
    } else {
        Parsed::TooLong
    }
}

/// Appends `value` in its minimal form [MQTT-1.5.5-1]; the caller has checked that it is at most [`MAX`].
#[inline]
pub(crate) fn write(value: u32, out: &mut Vec<u8>) {
    let (bytes, len) = encode(value);
    out.extend_from_slice(&bytes[..len]);
}

/// The minimal form and its length.
#[inline]
pub(crate) fn encode(value: u32) -> ([u8; 4], usize) {
    let len = len(value);
    let mut bytes = [0_u8; 4];
    let mut rest = value;
    for (index, byte) in bytes.iter_mut().take(len).enumerate() {
        let more = if index + 1 < len { 0x80 } else { 0 };
        *byte = (rest.to_le_bytes()[0] & 0x7F) | more;
        rest >>= 7;
    }
    (bytes, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_of_table_1_1_keep_their_length() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (127, &[0x7F]),
            (128, &[0x80, 0x01]),
            (16_383, &[0xFF, 0x7F]),
            (16_384, &[0x80, 0x80, 0x01]),
            (2_097_151, &[0xFF, 0xFF, 0x7F]),
            (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
            (MAX, &[0xFF, 0xFF, 0xFF, 0x7F]),
        ] {
            let mut out = Vec::new();
            write(value, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(len(value), bytes.len());
            assert_eq!(
                parse(&out),
                Parsed::Complete {
                    value,
                    bytes: bytes.len()
                }
            );
        }
    }

    #[test]
    fn fifth_byte_is_too_long_and_a_missing_one_incomplete() {
        assert_eq!(parse(&[0x80, 0x80, 0x80, 0x80, 0x01]), Parsed::TooLong);
        assert_eq!(parse(&[0x80, 0x80, 0x80]), Parsed::Incomplete);
        assert_eq!(parse(&[]), Parsed::Incomplete);
    }

    #[test]
    fn padded_value_reports_the_bytes_it_took() {
        assert_eq!(
            parse(&[0x80, 0x00]),
            Parsed::Complete { value: 0, bytes: 2 }
        );
    }
}
