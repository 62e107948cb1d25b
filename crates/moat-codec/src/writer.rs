use crate::{EncodeError, PacketId, Version, varint};

/// Appends one packet: first byte, remaining length, and what `body` appends. On an error `out` is as it was.
pub(crate) fn packet(
    out: &mut Vec<u8>,
    first_byte: u8,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<usize, EncodeError> {
    let start = out.len();
    out.push(first_byte);
    match length_prefixed(out, body) {
        Ok(()) => Ok(out.len() - start),
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Appends a property block: its length, and what `body` appends; nothing at all before 5.0, which has none.
pub(crate) fn properties(
    out: &mut Vec<u8>,
    version: Version,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    // [MQTT-2.2.2-1] no properties are a length of zero.
    if version.is_v5() {
        length_prefixed(out, body)
    } else {
        Ok(())
    }
}

/// Writes the content behind one byte kept free for its length, and makes room if the length needs more: most
/// packets are shorter than 128 bytes, so this is seldom.
fn length_prefixed(
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let at = out.len();
    out.push(0);
    body(out)?;
    let (bytes, len) = varint::encode(remaining(out.len() - at - 1)?);
    if len == 1 {
        out[at] = bytes[0];
    } else {
        out.splice(at..=at, bytes.into_iter().take(len));
    }
    Ok(())
}

/// A length as a variable byte integer can hold it.
#[inline]
pub(crate) fn remaining(bytes: usize) -> Result<u32, EncodeError> {
    u32::try_from(bytes)
        .ok()
        .filter(|&len| len <= varint::MAX)
        .ok_or(EncodeError::TooLarge { bytes })
}

/// Binary data with its two-byte length (section 1.5.6).
#[inline]
pub(crate) fn binary(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), EncodeError> {
    let len =
        u16::try_from(bytes.len()).map_err(|_| EncodeError::FieldTooLong { bytes: bytes.len() })?;
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// A string with its two-byte length, without U+0000 [MQTT-1.5.4-2].
#[inline]
pub(crate) fn str(out: &mut Vec<u8>, text: &str) -> Result<(), EncodeError> {
    if text.as_bytes().contains(&0) {
        return Err(EncodeError::NulInString);
    }
    binary(out, text.as_bytes())
}

#[inline]
pub(crate) fn packet_id(out: &mut Vec<u8>, id: PacketId) {
    out.extend_from_slice(&id.value().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_of_more_than_one_byte_moves_the_content() {
        let mut out = vec![0xAA];
        let written = packet(&mut out, 0x30, |out| {
            out.extend_from_slice(&[7; 200]);
            Ok(())
        });
        assert_eq!(written, Ok(203));
        assert_eq!(&out[..4], &[0xAA, 0x30, 0xC8, 0x01]);
        assert!(out[4..].iter().all(|&byte| byte == 7) && out.len() == 204);
    }

    #[test]
    fn error_leaves_the_buffer_as_it_was() {
        let mut out = vec![1, 2, 3];
        let result = packet(&mut out, 0x10, |out| {
            out.push(9);
            str(out, "a\0b")
        });
        assert_eq!(result, Err(EncodeError::NulInString));
        assert_eq!(out, [1, 2, 3]);
    }

    #[test]
    fn field_of_65536_bytes_is_too_long() {
        let mut out = Vec::new();
        assert_eq!(
            binary(&mut out, &[0; 65_536]),
            Err(EncodeError::FieldTooLong { bytes: 65_536 })
        );
        assert_eq!(binary(&mut out, &[0; 65_535]), Ok(()));
    }

    #[test]
    fn length_above_the_largest_varint_is_too_large() {
        assert_eq!(remaining(268_435_455), Ok(268_435_455));
        assert_eq!(
            remaining(268_435_456),
            Err(EncodeError::TooLarge { bytes: 268_435_456 })
        );
    }
}
