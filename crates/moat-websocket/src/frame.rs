//! Headers of frames, and the mask [RFC 6455 5.2, 5.3].

use crate::error::WsError;

/// The longest header of a client's frame: two bytes, eight of length, four of mask. Unit: bytes.
pub const HEADER_BYTES_MAX: usize = 14;
/// The largest payload of a control frame [RFC 6455 5.5]. Unit: bytes.
pub const CONTROL_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
/// The length is in the next two bytes.
const LENGTH_16: u8 = 126;
/// The length is in the next eight bytes.
const LENGTH_64: u8 = 127;
const MASK_BYTES: usize = 4;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation,
    /// A binary message, or its first fragment.
    Binary,
    /// The peer sends nothing any more.
    Close,
    /// To be answered with a pong of the same payload.
    Ping,
    /// An answer to a ping.
    Pong,
}

impl Opcode {
    fn byte(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    /// Whether it may stand between the fragments of a message.
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// The header of a client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the frame is.
    pub opcode: Opcode,
    /// Whether its message ends with it.
    pub is_last: bool,
    /// Bytes of payload.
    pub payload_bytes: u64,
    /// What its payload is masked with.
    pub mask: [u8; 4],
}

/// What the bytes at the front of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The header is complete once there are so many bytes.
    Needs(usize),
    /// The whole header.
    Header(Header),
}

/// Reads a header. `in_message` says whether a fragmented message is under way.
///
/// Everything is judged as soon as its byte is there, so the result is the same however the bytes come in pieces.
///
/// # Errors
/// What RFC 6455 forbids a client to send, and payloads above `payload_bytes_max`.
pub fn parse(bytes: &[u8], in_message: bool, payload_bytes_max: u64) -> Result<Parsed, WsError> {
    let Some(&first) = bytes.first() else {
        return Ok(Parsed::Needs(2));
    };
    let opcode = opcode(first, in_message)?;
    let Some(&second) = bytes.get(1) else {
        return Ok(Parsed::Needs(2));
    };
    if second & MASKED == 0 {
        return Err(WsError::NotMasked);
    }
    let short = second & !MASKED;
    if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
        return Err(WsError::LargeControl);
    }
    let length_bytes = match short {
        LENGTH_16 => 2,
        LENGTH_64 => 8,
        _ => 0,
    };
    let Some(length) = bytes.get(2..2 + length_bytes) else {
        return Ok(Parsed::Needs(2 + length_bytes));
    };
    let payload_bytes = payload_bytes(short, length)?;
    if payload_bytes > payload_bytes_max {
        return Err(WsError::FrameTooLarge {
            bytes: payload_bytes,
            max: payload_bytes_max,
        });
    }
    let total = 2 + length_bytes + MASK_BYTES;
    let mask = bytes.get(2 + length_bytes..total);
    let Some(mask) = mask.and_then(|mask| mask.try_into().ok()) else {
        return Ok(Parsed::Needs(total));
    };
    Ok(Parsed::Header(Header {
        opcode,
        is_last: first & FIN != 0,
        payload_bytes,
        mask,
    }))
}

fn opcode(first: u8, in_message: bool) -> Result<Opcode, WsError> {
    if first & RESERVED != 0 {
        return Err(WsError::ReservedBit);
    }
    let opcode = match first & 0x0F {
        0x0 => Opcode::Continuation,
        0x1 => return Err(WsError::Text),
        0x2 => Opcode::Binary,
        0x8 => Opcode::Close,
        0x9 => Opcode::Ping,
        0xA => Opcode::Pong,
        other => return Err(WsError::UnknownOpcode(other)),
    };
    match opcode {
        Opcode::Continuation if !in_message => Err(WsError::NothingToContinue),
        Opcode::Binary if in_message => Err(WsError::MessageWithinMessage),
        opcode if opcode.is_control() && first & FIN == 0 => Err(WsError::FragmentedControl),
        opcode => Ok(opcode),
    }
}

fn payload_bytes(short: u8, length: &[u8]) -> Result<u64, WsError> {
    let number = length
        .iter()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let is_shortest = match short {
        LENGTH_16 => number >= u64::from(LENGTH_16),
        LENGTH_64 => number > u64::from(u16::MAX) && number >> 63 == 0,
        _ => return Ok(u64::from(short)),
    };
    if is_shortest {
        Ok(number)
    } else {
        Err(WsError::LengthForm)
    }
}

/// Appends `masked` to `out` without its mask. `offset` is how many bytes of the payload came before.
pub fn unmask(masked: &[u8], mask: [u8; 4], offset: u64, out: &mut Vec<u8>) {
    /// A multiple of the mask's length that the compiler turns into vectors. Unit: bytes.
    const STRIDE: usize = 32;
    let turn = usize::try_from(offset % 4).unwrap_or(0);
    let pattern: [u8; STRIDE] = std::array::from_fn(|n| mask[(n + turn) % 4]);
    let start = out.len();
    out.extend_from_slice(masked);
    for part in out[start..].chunks_mut(STRIDE) {
        for (byte, key) in part.iter_mut().zip(pattern) {
            *byte ^= key;
        }
    }
}

/// Appends the header of a whole message of the server's, which has no mask.
pub fn write_header(opcode: Opcode, payload_bytes: usize, out: &mut Vec<u8>) {
    out.push(FIN | opcode.byte());
    if let Ok(length) = u8::try_from(payload_bytes)
        && length < LENGTH_16
    {
        out.push(length);
    } else if let Ok(length) = u16::try_from(payload_bytes) {
        out.push(LENGTH_16);
        out.extend_from_slice(&length.to_be_bytes());
    } else {
        out.push(LENGTH_64);
        // A usize wider than 64 bits does not exist.
        let length = u64::try_from(payload_bytes).unwrap_or(u64::MAX);
        out.extend_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Result<Parsed, WsError> {
        parse(bytes, false, 1 << 40)
    }

    #[test]
    fn lengths_are_read_in_their_three_forms() {
        for (bytes, length) in [
            (&[0x82_u8, 0x80 | 125, 1, 2, 3, 4][..], 125),
            (&[0x82, 0x80 | 126, 0, 126, 1, 2, 3, 4], 126),
            (
                &[0x82, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4],
                65_536,
            ),
        ] {
            let Ok(Parsed::Header(header)) = parsed(bytes) else {
                panic!("{bytes:?}");
            };
            assert_eq!((header.payload_bytes, header.mask), (length, [1, 2, 3, 4]));
            for cut in 0..bytes.len() {
                let needs = parsed(&bytes[..cut]);
                assert!(
                    matches!(needs, Ok(Parsed::Needs(n)) if n > cut),
                    "{needs:?}"
                );
            }
        }
    }

    #[test]
    fn what_no_client_may_send_is_an_error() {
        for (bytes, error) in [
            (&[0xC2_u8][..], WsError::ReservedBit),
            (&[0x81], WsError::Text),
            (&[0x83], WsError::UnknownOpcode(3)),
            (&[0x8B], WsError::UnknownOpcode(0xB)),
            (&[0x80], WsError::NothingToContinue),
            (&[0x09], WsError::FragmentedControl),
            (&[0x82, 5], WsError::NotMasked),
            (&[0x89, 0xFE], WsError::LargeControl),
            (&[0x82, 0xFE, 0, 125], WsError::LengthForm),
            (
                &[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
                WsError::LengthForm,
            ),
            (
                &[0x82, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0],
                WsError::LengthForm,
            ),
        ] {
            assert_eq!(parsed(bytes), Err(error), "{bytes:02x?}");
        }
        assert_eq!(parse(&[0x82], true, 1), Err(WsError::MessageWithinMessage));
        let too_large = WsError::FrameTooLarge { bytes: 6, max: 5 };
        assert_eq!(parse(&[0x82, 0x86], false, 5), Err(too_large));
    }

    #[test]
    fn a_mask_goes_on_where_it_stopped() {
        let (plain, mask) = ([7_u8; 100], [1, 2, 3, 4]);
        let mut masked = Vec::new();
        unmask(&plain, mask, 0, &mut masked);
        assert_eq!(masked[..4], [6, 5, 4, 3]);
        for cut in 0..100 {
            let mut back = Vec::new();
            unmask(&masked[..cut], mask, 0, &mut back);
            unmask(&masked[cut..], mask, cut as u64, &mut back);
            assert_eq!(back, plain);
        }
    }

    #[test]
    fn headers_are_written_in_the_shortest_form() {
        for (length, header) in [
            (125, &[0x82_u8, 125][..]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xFF, 0xFF]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            write_header(Opcode::Binary, length, &mut out);
            assert_eq!(out, header);
        }
    }
}
