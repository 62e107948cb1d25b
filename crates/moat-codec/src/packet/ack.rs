use crate::property::{Property, PropertyReader, write_some};
use crate::reader::Reader;
use crate::{
    DecodeError, EncodeError, Limits, PacketId, PacketType, ReasonCode, UserProperties, Version,
    writer,
};

/// PUBACK, PUBREC, PUBREL or PUBCOMP: which one, [`Packet`](crate::Packet) says (sections 3.4 to 3.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack<'a> {
    /// That of the PUBLISH [MQTT-2.2.1-5].
    pub packet_id: PacketId,
    /// How it went; always success before 5.0.
    pub reason: ReasonCode,
    /// The reason for people.
    pub reason_string: Option<&'a str>,
    /// For applications.
    pub user: UserProperties<'a>,
}

impl<'a> Ack<'a> {
    /// All is well.
    #[inline]
    #[must_use]
    pub fn new(packet_id: PacketId) -> Self {
        Self::with_reason(packet_id, ReasonCode::Success)
    }

    /// With a reason, which only 5.0 transports.
    #[inline]
    #[must_use]
    pub fn with_reason(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self {
            packet_id,
            reason,
            reason_string: None,
            user: UserProperties::default(),
        }
    }

    #[inline]
    pub(crate) fn decode(
        packet: PacketType,
        body: &'a [u8],
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let mut ack = Self::new(reader.packet_id()?);
        // A packet that ends here says success (section 3.4.2.1).
        if !version.is_v5() || reader.is_empty() {
            return reader.finish().map(|()| ack);
        }
        ack.reason = read_reason(&mut reader, packet)?;
        let mut properties = PropertyReader::open_optional(&mut reader, packet.bit(), limits)?;
        while let Some(property) = properties.next()? {
            if let Property::ReasonString(text) = property {
                ack.reason_string = Some(text);
            }
        }
        ack.user = properties.user();
        reader.finish().map(|()| ack)
    }

    /// Appends the packet to `out` and returns its size in bytes. On an error `out` is as it was.
    ///
    /// Before 5.0 it is the packet identifier alone; in 5.0 success without properties is, too.
    ///
    /// # Errors
    /// [`EncodeError::NotAnAck`] for any other packet type, [`EncodeError::ReasonCodeNotAllowed`] for a reason
    /// it may not carry, what is too long for its length field.
    #[inline]
    pub fn encode(
        &self,
        packet: PacketType,
        version: Version,
        out: &mut Vec<u8>,
    ) -> Result<usize, EncodeError> {
        use PacketType::{PubAck, PubComp, PubRec, PubRel};
        if !matches!(packet, PubAck | PubRec | PubRel | PubComp) {
            return Err(EncodeError::NotAnAck { packet });
        }
        let has_properties = self.reason_string.is_some() || !self.user.is_empty();
        if !version.is_v5() || (self.reason == ReasonCode::Success && !has_properties) {
            let [high, low] = self.packet_id.value().to_be_bytes();
            out.extend_from_slice(&[packet.first_byte(), 2, high, low]);
            return Ok(4);
        }
        // [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1]
        check_reason(packet, self.reason)?;
        writer::packet(out, packet.first_byte(), |out| {
            writer::packet_id(out, self.packet_id);
            out.push(self.reason.byte());
            if !has_properties {
                return Ok(());
            }
            writer::properties(out, version, |out| {
                write_some(out, self.reason_string, Property::ReasonString)?;
                self.user.write(out)
            })
        })
    }
}

/// A reason code the packet may carry.
pub(super) fn read_reason(
    reader: &mut Reader<'_>,
    packet: PacketType,
) -> Result<ReasonCode, DecodeError> {
    let code = reader.byte()?;
    ReasonCode::from_byte(code)
        .filter(|reason| reason.allowed_in(packet))
        .ok_or(DecodeError::ReasonCodeNotAllowed { packet, code })
}

/// The same on the way out.
pub(super) const fn check_reason(
    packet: PacketType,
    reason: ReasonCode,
) -> Result<(), EncodeError> {
    if reason.allowed_in(packet) {
        Ok(())
    } else {
        Err(EncodeError::ReasonCodeNotAllowed { packet, reason })
    }
}
