use crate::varint::{self, Parsed};
use crate::{DecodeError, Limits, PacketType, QoS};

/// What is at the start of a connection's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framed {
    /// The packet is not whole yet.
    Incomplete {
        /// Bytes the buffer must hold in all before asking again makes sense; 2 when nothing is known.
        need: usize,
    },
    /// One whole packet.
    Complete {
        /// Packet type and flags.
        first_byte: u8,
        /// Bytes of the fixed header.
        header: usize,
        /// Bytes of the whole packet: fixed header and remaining length.
        total: usize,
    },
}

/// Finds the packet at the start of `input`.
///
/// # Errors
/// As early as they can be known: a bad type or bad flags with the first byte, a remaining length of more than
/// four bytes or over the limit as soon as its bytes are there. Whether a length is minimal depends on the
/// version, so [`Packet::decode`](crate::Packet::decode) judges that, and so it does with DUP outside PUBLISH,
/// which 3.1 alone knows.
#[inline]
pub fn frame(input: &[u8], limits: &Limits) -> Result<Framed, DecodeError> {
    let Some((&first_byte, rest)) = input.split_first() else {
        return Ok(Framed::Incomplete { need: 2 });
    };
    check_first_byte(first_byte)?;
    let (value, bytes) = match varint::parse(rest) {
        Parsed::Incomplete => {
            return Ok(Framed::Incomplete {
                need: input.len() + 1,
            });
        }
        Parsed::TooLong => return Err(DecodeError::VarIntTooLong),
        Parsed::Complete { value, bytes } => (value, bytes),
    };
    let header = 1 + bytes;
    let total = header + value as usize;
    if total > limits.packet_bytes_max as usize {
        let bytes = u32::try_from(total).unwrap_or(u32::MAX);
        return Err(DecodeError::PacketTooLarge {
            bytes,
            max: limits.packet_bytes_max,
        });
    }
    if input.len() < total {
        return Ok(Framed::Incomplete { need: total });
    }
    Ok(Framed::Complete {
        first_byte,
        header,
        total,
    })
}

/// Type and flags of the first byte [MQTT-2.1.3-1].
#[inline]
fn check_first_byte(first_byte: u8) -> Result<(), DecodeError> {
    let packet = PacketType::of_first_byte(first_byte).ok_or(DecodeError::UnknownPacketType)?;
    let flags = first_byte & 0x0F;
    match packet {
        PacketType::Publish => match QoS::from_bits((flags >> 1) & 0b11) {
            // [MQTT-3.3.1-4]
            None => Err(DecodeError::PublishQosReserved),
            // [MQTT-3.3.1-2]
            Some(QoS::AtMostOnce) if flags & 0b1000 != 0 => Err(DecodeError::DupWithQosZero),
            Some(_) => Ok(()),
        },
        // [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1]; 3.1 allows DUP here, too.
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe
            if flags & 0b0111 == 0b0010 =>
        {
            Ok(())
        }
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => {
            Err(DecodeError::ReservedFlags { first_byte })
        }
        _ if flags == 0 => Ok(()),
        _ => Err(DecodeError::ReservedFlags { first_byte }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn need_grows_as_bytes_arrive() {
        let limits = Limits::default();
        let packet = [&[0x30, 0x82, 0x01][..], &[0; 130]].concat();
        let need = |len: usize| match frame(&packet[..len], &limits) {
            Ok(Framed::Incomplete { need }) => need,
            other => panic!("{len}: {other:?}"),
        };
        assert_eq!(
            [need(0), need(1), need(2), need(3), need(132)],
            [2, 2, 3, 133, 133]
        );
        assert_eq!(
            frame(&packet, &limits),
            Ok(Framed::Complete {
                first_byte: 0x30,
                header: 3,
                total: 133
            })
        );
    }

    #[test]
    fn bytes_of_the_next_packet_are_left_alone() {
        assert_eq!(
            frame(&[0xC0, 0x00, 0xE0, 0x00], &Limits::default()),
            Ok(Framed::Complete {
                first_byte: 0xC0,
                header: 2,
                total: 2
            })
        );
    }

    #[test]
    fn size_over_the_limit_is_known_with_the_last_length_byte() {
        let limits = Limits {
            packet_bytes_max: 130,
            ..Limits::default()
        };
        assert_eq!(
            frame(&[0x30, 0x80], &limits),
            Ok(Framed::Incomplete { need: 3 })
        );
        assert_eq!(
            frame(&[0x30, 0x80, 0x01], &limits),
            Err(DecodeError::PacketTooLarge {
                bytes: 131,
                max: 130
            })
        );
        assert_eq!(
            frame(&[0x30, 0x7F], &limits),
            Ok(Framed::Incomplete { need: 129 })
        );
    }

    #[test]
    fn largest_packet_of_the_protocol_fits_the_generous_limits_but_for_its_header() {
        let mut limits = Limits::generous();
        assert!(frame(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], &limits).is_err());
        limits.packet_bytes_max += 5;
        assert_eq!(
            frame(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], &limits),
            Ok(Framed::Incomplete { need: 268_435_460 })
        );
    }

    #[test]
    fn bad_first_byte_is_known_with_one_byte() {
        let limits = Limits::default();
        for (byte, error) in [
            (0x00, DecodeError::UnknownPacketType),
            (0x36, DecodeError::PublishQosReserved),
            (0x38, DecodeError::DupWithQosZero),
            (0x11, DecodeError::ReservedFlags { first_byte: 0x11 }),
            (0x60, DecodeError::ReservedFlags { first_byte: 0x60 }),
            (0x86, DecodeError::ReservedFlags { first_byte: 0x86 }),
            (0xA3, DecodeError::ReservedFlags { first_byte: 0xA3 }),
        ] {
            assert_eq!(frame(&[byte], &limits), Err(error));
        }
    }
}
