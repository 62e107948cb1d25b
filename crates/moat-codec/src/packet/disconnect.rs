use super::ack::{check_reason, read_reason};
use crate::property::{Property, PropertyReader, place, write_some};
use crate::reader::Reader;
use crate::{
    DecodeError, EncodeError, Limits, PacketType, ReasonCode, UserProperties, Version, writer,
};

/// The last packet of a connection (section 3.14). Before 5.0 it has no content and is success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disconnect<'a> {
    /// Why.
    pub reason: ReasonCode,
    /// Seconds the session lives from now on; from a client only [MQTT-3.14.2-2].
    pub session_expiry_secs: Option<u32>,
    /// The reason for people.
    pub reason_string: Option<&'a str>,
    /// Another server to use.
    pub server_reference: Option<&'a str>,
    /// For applications.
    pub user: UserProperties<'a>,
}

impl<'a> Disconnect<'a> {
    /// With a reason and nothing else.
    #[must_use]
    pub fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            session_expiry_secs: None,
            reason_string: None,
            server_reference: None,
            user: UserProperties::default(),
        }
    }

    pub(crate) fn decode(
        body: &'a [u8],
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let mut disconnect = Self::new(ReasonCode::NORMAL_DISCONNECTION);
        // A packet that ends here is a normal disconnection (section 3.14.2.1).
        if !version.is_v5() || reader.is_empty() {
            return reader.finish().map(|()| disconnect);
        }
        // [MQTT-3.14.2-1]
        disconnect.reason = read_reason(&mut reader, PacketType::Disconnect)?;
        let mut properties = PropertyReader::open_optional(&mut reader, place::DISCONNECT, limits)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::SessionExpiryInterval(secs) => {
                    disconnect.session_expiry_secs = Some(secs)
                }
                Property::ReasonString(text) => disconnect.reason_string = Some(text),
                Property::ServerReference(server) => disconnect.server_reference = Some(server),
                _ => {}
            }
        }
        disconnect.user = properties.user();
        reader.finish().map(|()| disconnect)
    }

    /// Appends the packet to `out` and returns its size in bytes. On an error `out` is as it was.
    ///
    /// # Errors
    /// [`EncodeError::ReasonCodeNotAllowed`] for a reason it may not carry, what is too long for its length
    /// field.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<usize, EncodeError> {
        let first_byte = PacketType::Disconnect.first_byte();
        let has_properties = self.session_expiry_secs.is_some()
            || self.reason_string.is_some()
            || self.server_reference.is_some()
            || !self.user.is_empty();
        if !version.is_v5() || (self.reason == ReasonCode::NORMAL_DISCONNECTION && !has_properties)
        {
            return writer::packet(out, first_byte, |_| Ok(()));
        }
        check_reason(PacketType::Disconnect, self.reason)?;
        writer::packet(out, first_byte, |out| {
            out.push(self.reason.byte());
            if !has_properties {
                return Ok(());
            }
            writer::properties(out, version, |out| {
                write_some(
                    out,
                    self.session_expiry_secs,
                    Property::SessionExpiryInterval,
                )?;
                write_some(out, self.reason_string, Property::ReasonString)?;
                write_some(out, self.server_reference, Property::ServerReference)?;
                self.user.write(out)
            })
        })
    }
}
