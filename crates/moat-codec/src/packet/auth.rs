use std::fmt;

use super::ack::{check_reason, read_reason};
use crate::property::{Property, PropertyReader, place, write_some};
use crate::reader::Reader;
use crate::redacted::Secret;
use crate::{
    DecodeError, EncodeError, Limits, PacketType, ReasonCode, UserProperties, Version, writer,
};

/// A step of authentication (section 3.15); 5.0 only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Success, continue or re-authenticate [MQTT-3.15.2-1].
    pub reason: ReasonCode,
    /// The method's name; absent only in the two-byte packet that says success (section 3.15.2.1).
    pub authentication_method: Option<&'a str>,
    /// What the method says; a secret.
    pub authentication_data: Option<&'a [u8]>,
    /// The reason for people.
    pub reason_string: Option<&'a str>,
    /// For applications.
    pub user: UserProperties<'a>,
}

impl<'a> Auth<'a> {
    /// With a reason and nothing else.
    #[must_use]
    pub fn new(reason: ReasonCode) -> Self {
        Self {
            reason,
            authentication_method: None,
            authentication_data: None,
            reason_string: None,
            user: UserProperties::default(),
        }
    }

    pub(crate) fn decode(
        body: &'a [u8],
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        if !version.is_v5() {
            return Err(DecodeError::AuthNotInVersion);
        }
        let mut reader = Reader::new(body);
        if reader.is_empty() {
            return Ok(Self::new(ReasonCode::Success));
        }
        let mut auth = Self::new(read_reason(&mut reader, PacketType::Auth)?);
        let mut properties = PropertyReader::open_optional(&mut reader, place::AUTH, limits)?;
        while let Some(property) = properties.next()? {
            match property {
                Property::AuthenticationMethod(method) => auth.authentication_method = Some(method),
                Property::AuthenticationData(data) => auth.authentication_data = Some(data),
                Property::ReasonString(text) => auth.reason_string = Some(text),
                _ => {}
            }
        }
        auth.user = properties.user();
        reader.finish()?;
        // Section 3.15.2.2.2: it is a protocol error to omit the method.
        if auth.authentication_method.is_none() {
            return Err(DecodeError::AuthenticationMethodMissing);
        }
        Ok(auth)
    }

    /// Appends the packet to `out` and returns its size in bytes. On an error `out` is as it was.
    ///
    /// # Errors
    /// [`EncodeError::AuthNotInVersion`] before 5.0, [`EncodeError::AuthenticationMethodMissing`] when there is
    /// content but no method, [`EncodeError::ReasonCodeNotAllowed`], what is too long for its length field.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<usize, EncodeError> {
        if !version.is_v5() {
            return Err(EncodeError::AuthNotInVersion);
        }
        let first_byte = PacketType::Auth.first_byte();
        if *self == Self::new(ReasonCode::Success) {
            return writer::packet(out, first_byte, |_| Ok(()));
        }
        if self.authentication_method.is_none() {
            return Err(EncodeError::AuthenticationMethodMissing);
        }
        check_reason(PacketType::Auth, self.reason)?;
        writer::packet(out, first_byte, |out| {
            out.push(self.reason.byte());
            writer::properties(out, version, |out| {
                write_some(
                    out,
                    self.authentication_method,
                    Property::AuthenticationMethod,
                )?;
                write_some(out, self.authentication_data, Property::AuthenticationData)?;
                write_some(out, self.reason_string, Property::ReasonString)?;
                self.user.write(out)
            })
        })
    }
}

/// The data is a secret and never shown.
impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("reason", &self.reason)
            .field("authentication_method", &self.authentication_method)
            .field(
                "authentication_data",
                &Secret(self.authentication_data.is_some()),
            )
            .field("reason_string", &self.reason_string)
            .field("user", &self.user)
            .finish()
    }
}
