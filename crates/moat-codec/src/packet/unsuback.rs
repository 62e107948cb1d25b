use super::ReasonCodes;
use crate::property::{Property, PropertyReader, write_some};
use crate::reader::Reader;
use crate::{
    DecodeError, EncodeError, Limits, PacketId, PacketType, ReasonCode, UserProperties, Version,
    writer,
};

/// The answer to UNSUBSCRIBE (section 3.11).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnsubAck<'a> {
    /// That of the request [MQTT-2.2.1-6].
    pub packet_id: PacketId,
    /// One per filter, in order [MQTT-3.11.3-1]; before 5.0 there are none.
    pub reasons: ReasonCodes<'a>,
    /// The reason for people; 5.0 only.
    pub reason_string: Option<&'a str>,
    /// For applications; 5.0 only.
    pub user: UserProperties<'a>,
}

impl<'a> UnsubAck<'a> {
    /// With reason codes and nothing else.
    #[must_use]
    pub fn new(packet_id: PacketId, reasons: &'a [ReasonCode]) -> Self {
        Self {
            packet_id,
            reasons: ReasonCodes::new(reasons),
            reason_string: None,
            user: UserProperties::default(),
        }
    }

    pub(crate) fn decode(
        body: &'a [u8],
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let mut ack = Self::new(reader.packet_id()?, &[]);
        if version.is_v5() {
            let place = PacketType::UnsubAck.bit();
            let mut properties = PropertyReader::open(&mut reader, place, limits)?;
            while let Some(property) = properties.next()? {
                if let Property::ReasonString(text) = property {
                    ack.reason_string = Some(text);
                }
            }
            ack.user = properties.user();
        } else {
            // Before 5.0 the packet identifier is all there is (3.1.1 section 3.11.3).
            return reader.finish().map(|()| ack);
        }
        // [MQTT-3.11.3-2]
        ack.reasons = ReasonCodes::read(reader.rest(), PacketType::UnsubAck, version)?;
        Ok(ack)
    }

    /// Appends the packet to `out` and returns its size in bytes. On an error `out` is as it was.
    ///
    /// # Errors
    /// [`EncodeError::NoReasonCodes`], [`EncodeError::ReasonCodeNotAllowed`] for a reason it may not carry,
    /// what is too long for its length field.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<usize, EncodeError> {
        writer::packet(out, PacketType::UnsubAck.first_byte(), |out| {
            writer::packet_id(out, self.packet_id);
            writer::properties(out, version, |out| {
                write_some(out, self.reason_string, Property::ReasonString)?;
                self.user.write(out)
            })?;
            if !version.is_v5() {
                return Ok(());
            }
            self.reasons.write(out, PacketType::UnsubAck, version)
        })
    }
}
