use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use super::ack::{check_reason, read_reason};
use crate::property::{Property, PropertyReader, place, write_some};
use crate::reader::Reader;
use crate::redacted::Secret;
use crate::{
    DecodeError, EncodeError, Limits, PacketType, QoS, ReasonCode, UserProperties, Version, writer,
};

/// The answer to CONNECT (section 3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnAck<'a> {
    /// The server goes on with an earlier session; 3.1 cannot say so.
    pub session_present: bool,
    /// How it went. Before 5.0 it is written as [`ReasonCode::connack_v3`].
    pub reason: ReasonCode,
    /// What the server offers and demands; 5.0 only.
    pub properties: ConnAckProperties<'a>,
}

/// The properties of a CONNACK (section 3.2.2.3); absent means the specification's default.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnAckProperties<'a> {
    /// Seconds the session will live, if not as the client asked.
    pub session_expiry_secs: Option<u32>,
    /// QoS 1 and 2 messages the client may have in flight.
    pub receive_maximum: Option<NonZeroU16>,
    /// The highest QoS the server takes; 2 is said by leaving it out.
    pub maximum_qos: Option<QoS>,
    /// Whether retained messages are kept.
    pub retain_available: Option<bool>,
    /// Bytes of the largest packet the server takes; never 0.
    pub maximum_packet_size: Option<u32>,
    /// The client identifier the server chose [MQTT-3.1.3-7].
    pub assigned_client_id: Option<&'a str>,
    /// The largest topic alias the server takes.
    pub topic_alias_maximum: Option<u16>,
    /// The reason for people.
    pub reason_string: Option<&'a str>,
    /// Whether wildcards are taken.
    pub wildcard_subscription_available: Option<bool>,
    /// Whether subscription identifiers are taken.
    pub subscription_identifiers_available: Option<bool>,
    /// Whether shared subscriptions are taken.
    pub shared_subscription_available: Option<bool>,
    /// The keep alive, in seconds, to use instead of the client's [MQTT-3.1.2-21].
    pub server_keep_alive_secs: Option<u16>,
    /// A base for response topics.
    pub response_information: Option<&'a str>,
    /// Another server to use.
    pub server_reference: Option<&'a str>,
    /// The method's name.
    pub authentication_method: Option<&'a str>,
    /// What the method says; a secret.
    pub authentication_data: Option<&'a [u8]>,
    /// For applications.
    pub user: UserProperties<'a>,
}

impl<'a> ConnAck<'a> {
    /// With a reason and nothing else.
    #[must_use]
    pub fn new(reason: ReasonCode) -> Self {
        Self {
            session_present: false,
            reason,
            properties: ConnAckProperties::default(),
        }
    }

    pub(crate) fn decode(
        body: &'a [u8],
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let flags = reader.byte()?;
        // [MQTT-3.2.2-1]; in 3.1 the whole byte is reserved.
        if flags > 1 || (flags == 1 && version == Version::V31) {
            return Err(DecodeError::ConnAckReservedFlags);
        }
        let session_present = flags == 1;
        let reason = if version.is_v5() {
            read_reason(&mut reader, PacketType::ConnAck)?
        } else {
            let (packet, code) = (PacketType::ConnAck, reader.byte()?);
            ReasonCode::from_connack_v3(code)
                .ok_or(DecodeError::ReasonCodeNotAllowed { packet, code })?
        };
        // [MQTT-3.2.2-6]
        if session_present && reason != ReasonCode::Success {
            return Err(DecodeError::SessionPresentWithError);
        }
        let properties = if version.is_v5() {
            ConnAckProperties::decode(&mut reader, limits)?
        } else {
            Default::default()
        };
        reader.finish()?;
        Ok(Self {
            session_present,
            reason,
            properties,
        })
    }

    /// Appends the packet to `out` and returns its size in bytes. On an error `out` is as it was.
    ///
    /// # Errors
    /// [`EncodeError::SessionPresentWithError`], [`EncodeError::ReasonCodeNotAllowed`] for a reason it may not
    /// carry, [`EncodeError::PropertyZero`], what is too long for its length field.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<usize, EncodeError> {
        if self.session_present && self.reason != ReasonCode::Success {
            return Err(EncodeError::SessionPresentWithError);
        }
        if version.is_v5() {
            check_reason(PacketType::ConnAck, self.reason)?;
        }
        writer::packet(out, PacketType::ConnAck.first_byte(), |out| {
            out.push(u8::from(self.session_present && version != Version::V31));
            out.push(if version.is_v5() {
                self.reason.byte()
            } else {
                self.reason.connack_v3()
            });
            writer::properties(out, version, |out| self.properties.write(out))
        })
    }
}

impl<'a> ConnAckProperties<'a> {
    fn decode(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let mut read = PropertyReader::open(reader, place::CONNACK, limits)?;
        let mut all = Self::default();
        while let Some(property) = read.next()? {
            match property {
                Property::SessionExpiryInterval(secs) => all.session_expiry_secs = Some(secs),
                Property::ReceiveMaximum(maximum) => all.receive_maximum = Some(maximum),
                Property::MaximumQoS(qos) => all.maximum_qos = Some(qos),
                Property::RetainAvailable(available) => all.retain_available = Some(available),
                Property::MaximumPacketSize(bytes) => all.maximum_packet_size = Some(bytes.get()),
                Property::AssignedClientIdentifier(id) => all.assigned_client_id = Some(id),
                Property::TopicAliasMaximum(maximum) => all.topic_alias_maximum = Some(maximum),
                Property::ReasonString(text) => all.reason_string = Some(text),
                Property::WildcardSubscriptionAvailable(yes) => {
                    all.wildcard_subscription_available = Some(yes)
                }
                Property::SubscriptionIdentifierAvailable(yes) => {
                    all.subscription_identifiers_available = Some(yes);
                }
                Property::SharedSubscriptionAvailable(yes) => {
                    all.shared_subscription_available = Some(yes)
                }
                Property::ServerKeepAlive(secs) => all.server_keep_alive_secs = Some(secs),
                Property::ResponseInformation(text) => all.response_information = Some(text),
                Property::ServerReference(server) => all.server_reference = Some(server),
                Property::AuthenticationMethod(method) => all.authentication_method = Some(method),
                Property::AuthenticationData(data) => all.authentication_data = Some(data),
                _ => {}
            }
        }
        all.user = read.user();
        if all.authentication_data.is_some() && all.authentication_method.is_none() {
            return Err(DecodeError::AuthenticationDataWithoutMethod);
        }
        Ok(all)
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.authentication_data.is_some() && self.authentication_method.is_none() {
            return Err(EncodeError::AuthenticationMethodMissing);
        }
        let size = match self.maximum_packet_size {
            Some(bytes) => {
                Some(NonZeroU32::new(bytes).ok_or(EncodeError::PropertyZero { id: 0x27 })?)
            }
            None => None,
        };
        let qos = self.maximum_qos.filter(|&qos| qos != QoS::ExactlyOnce);
        write_some(
            out,
            self.session_expiry_secs,
            Property::SessionExpiryInterval,
        )?;
        write_some(
            out,
            self.assigned_client_id,
            Property::AssignedClientIdentifier,
        )?;
        write_some(out, self.server_keep_alive_secs, Property::ServerKeepAlive)?;
        write_some(
            out,
            self.authentication_method,
            Property::AuthenticationMethod,
        )?;
        write_some(out, self.authentication_data, Property::AuthenticationData)?;
        write_some(
            out,
            self.response_information,
            Property::ResponseInformation,
        )?;
        write_some(out, self.server_reference, Property::ServerReference)?;
        write_some(out, self.reason_string, Property::ReasonString)?;
        write_some(out, self.receive_maximum, Property::ReceiveMaximum)?;
        write_some(out, self.topic_alias_maximum, Property::TopicAliasMaximum)?;
        write_some(out, qos, Property::MaximumQoS)?;
        write_some(out, self.retain_available, Property::RetainAvailable)?;
        write_some(out, size, Property::MaximumPacketSize)?;
        write_some(
            out,
            self.wildcard_subscription_available,
            Property::WildcardSubscriptionAvailable,
        )?;
        write_some(
            out,
            self.subscription_identifiers_available,
            Property::SubscriptionIdentifierAvailable,
        )?;
        write_some(
            out,
            self.shared_subscription_available,
            Property::SharedSubscriptionAvailable,
        )?;
        self.user.write(out)
    }
}

/// The authentication data is a secret and never shown.
impl fmt::Debug for ConnAckProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnAckProperties")
            .field("session_expiry_secs", &self.session_expiry_secs)
            .field("receive_maximum", &self.receive_maximum)
            .field("maximum_qos", &self.maximum_qos)
            .field("retain_available", &self.retain_available)
            .field("maximum_packet_size", &self.maximum_packet_size)
            .field("assigned_client_id", &self.assigned_client_id)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("reason_string", &self.reason_string)
            .field(
                "wildcard_subscription_available",
                &self.wildcard_subscription_available,
            )
            .field(
                "subscription_identifiers_available",
                &self.subscription_identifiers_available,
            )
            .field(
                "shared_subscription_available",
                &self.shared_subscription_available,
            )
            .field("server_keep_alive_secs", &self.server_keep_alive_secs)
            .field("response_information", &self.response_information)
            .field("server_reference", &self.server_reference)
            .field("authentication_method", &self.authentication_method)
            .field(
                "authentication_data",
                &Secret(self.authentication_data.is_some()),
            )
            .field("user", &self.user)
            .finish()
    }
}
