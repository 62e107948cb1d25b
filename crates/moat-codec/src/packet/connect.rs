use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use crate::forwarded::Collector;
use crate::property::{Property, PropertyReader, place, write_some};
use crate::publish_head;
use crate::reader::Reader;
use crate::redacted::{ByteCount, Secret};
use crate::{
    DecodeError, EncodeError, ForwardedProperties, Limits, PacketType, QoS, TopicName,
    UserProperties, Version, writer,
};

/// The first packet of a connection (section 3.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Connect<'a> {
    /// What the client speaks.
    pub version: Version,
    /// Forget an earlier session; before 5.0 also: forget this one at the end.
    pub clean_start: bool,
    /// Seconds between two packets at most; 0 for no limit.
    pub keep_alive_secs: u16,
    /// Empty when the server is to choose one [MQTT-3.1.3-6].
    pub client_id: &'a str,
    /// What is published when the connection ends badly.
    pub will: Option<Will<'a>>,
    /// Who the client says it is.
    pub username: Option<&'a str>,
    /// How it proves that; a secret.
    pub password: Option<&'a [u8]>,
    /// 5.0 only.
    pub properties: ConnectProperties<'a>,
}

/// The properties of a CONNECT (section 3.1.2.11); absent means the specification's default.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ConnectProperties<'a> {
    /// Seconds the session lives after the connection; absent is 0.
    pub session_expiry_secs: Option<u32>,
    /// QoS 1 and 2 messages the server may have in flight; absent is 65,535.
    pub receive_maximum: Option<NonZeroU16>,
    /// Bytes of the largest packet the client takes; absent is no limit.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// The largest topic alias the client takes.
    pub topic_alias_maximum: u16,
    /// Whether the client wants response information.
    pub request_response_information: bool,
    /// Whether the client wants reason strings and user properties [MQTT-3.1.2-29].
    pub request_problem_information: bool,
    /// The method's name.
    pub authentication_method: Option<&'a str>,
    /// What the method says; a secret.
    pub authentication_data: Option<&'a [u8]>,
    /// For applications.
    pub user: UserProperties<'a>,
}

/// What is published when the connection ends badly (sections 3.1.2.5 and 3.1.3.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Will<'a> {
    /// Where.
    pub topic: TopicName<'a>,
    /// What.
    pub payload: &'a [u8],
    /// How often it is to arrive.
    pub qos: QoS,
    /// Kept for later subscribers.
    pub retain: bool,
    /// Seconds the server waits with it; 5.0 only.
    pub delay_secs: u32,
    /// Seconds the message lives; 5.0 only.
    pub message_expiry_secs: Option<u32>,
    /// What is forwarded unaltered; 5.0 only.
    pub properties: ForwardedProperties<'a>,
}

/// The version a CONNECT's variable header says [MQTT-3.1.2-1], [MQTT-3.1.2-2].
pub(super) fn version(body: &[u8]) -> Result<Version, DecodeError> {
    read_version(&mut Reader::new(body))
}

fn read_version(reader: &mut Reader<'_>) -> Result<Version, DecodeError> {
    let name = reader.binary()?;
    if !Version::ALL
        .iter()
        .any(|version| version.protocol_name().as_bytes() == name)
    {
        return Err(DecodeError::UnsupportedProtocolName);
    }
    let level = reader.byte()?;
    Version::ALL
        .into_iter()
        .find(|version| version.protocol_name().as_bytes() == name && version.level() == level)
        .ok_or(DecodeError::UnsupportedProtocolLevel { level })
}

impl<'a> Connect<'a> {
    /// A client's plainest CONNECT: clean start, no keep alive, no credentials.
    #[must_use]
    pub fn new(version: Version, client_id: &'a str) -> Self {
        Self {
            version,
            clean_start: true,
            keep_alive_secs: 0,
            client_id,
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        }
    }

    /// The version a framed CONNECT says, however broken the rest is: what its refusal must be written in.
    /// `None` when the bytes are no CONNECT or name no version we speak.
    #[must_use]
    pub fn peek_version(bytes: &[u8]) -> Option<Version> {
        match crate::frame(bytes, &Limits::generous()) {
            Ok(crate::Framed::Complete {
                first_byte,
                header,
                total,
            }) if PacketType::of_first_byte(first_byte) == Some(PacketType::Connect) => {
                version(&bytes[header..total]).ok()
            }
            _ => None,
        }
    }

    pub(crate) fn decode(body: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let version = read_version(&mut reader)?;
        let flags = Flags::read(&mut reader, version)?;
        let keep_alive_secs = reader.u16()?;
        let properties = if version.is_v5() {
            ConnectProperties::decode(&mut reader, limits)?
        } else {
            Default::default()
        };
        // [MQTT-3.1.3-1] this order, [MQTT-3.1.3-3] the client identifier always.
        let client_id = reader.str()?;
        let will = match flags.will {
            Some(flags) => Some(Will::decode(
                &mut reader,
                flags,
                version,
                limits,
                properties.user.len(),
            )?),
            None => None,
        };
        // 3.1 section 3.1: the remaining length takes precedence over the user name and password flags.
        let present = |flag: bool, reader: &Reader<'_>| {
            flag && (version != Version::V31 || !reader.is_empty())
        };
        // [MQTT-3.1.2-17]
        let username = if present(flags.username, &reader) {
            Some(reader.str()?)
        } else {
            None
        };
        // [MQTT-3.1.2-19]
        let password = if present(flags.password, &reader) {
            Some(reader.binary()?)
        } else {
            None
        };
        // [MQTT-3.1.2-16], [MQTT-3.1.2-18]
        reader.finish()?;
        check_client_id(client_id, version, flags.clean_start, limits)?;
        let clean_start = flags.clean_start;
        Ok(Self {
            version,
            clean_start,
            keep_alive_secs,
            client_id,
            will,
            username,
            password,
            properties,
        })
    }

    /// Appends the packet to `out` and returns its size in bytes. On an error `out` is as it was.
    ///
    /// The packet is written in its own version; the argument is there so that every packet is called the same
    /// way.
    ///
    /// # Errors
    /// [`EncodeError::PasswordWithoutUserName`], [`EncodeError::ClientIdEmpty`],
    /// [`EncodeError::AuthenticationMethodMissing`], what is too long for its length field.
    pub fn encode(&self, _version: Version, out: &mut Vec<u8>) -> Result<usize, EncodeError> {
        let version = self.version;
        // [MQTT-3.1.2-22 of 3.1.1]
        if !version.is_v5() && self.password.is_some() && self.username.is_none() {
            return Err(EncodeError::PasswordWithoutUserName);
        }
        if self.client_id.is_empty() && !may_be_empty(version, self.clean_start) {
            return Err(EncodeError::ClientIdEmpty);
        }
        writer::packet(out, PacketType::Connect.first_byte(), |out| {
            writer::str(out, version.protocol_name())?;
            out.push(version.level());
            out.push(Flags::of(self).byte());
            out.extend_from_slice(&self.keep_alive_secs.to_be_bytes());
            writer::properties(out, version, |out| self.properties.write(out))?;
            writer::str(out, self.client_id)?;
            if let Some(will) = &self.will {
                will.write(version, out)?;
            }
            if let Some(username) = self.username {
                writer::str(out, username)?;
            }
            if let Some(password) = self.password {
                writer::binary(out, password)?;
            }
            Ok(())
        })
    }
}

/// 3.1 assigns no client identifiers, 3.1.1 only with a clean session [MQTT-3.1.3-7 of 3.1.1].
const fn may_be_empty(version: Version, clean_start: bool) -> bool {
    match version {
        Version::V31 => false,
        Version::V311 => clean_start,
        Version::V5 => true,
    }
}

fn check_client_id(
    id: &str,
    version: Version,
    clean_start: bool,
    limits: &Limits,
) -> Result<(), DecodeError> {
    // [MQTT-3.1.3-8 of 3.1.1]
    if id.is_empty() && !may_be_empty(version, clean_start) {
        return Err(DecodeError::ClientIdEmpty);
    }
    // [MQTT-3.1.3-5] asks for 23 bytes at least.
    let max = limits.client_id_bytes_max;
    if id.len() > usize::from(max) {
        return Err(DecodeError::ClientIdTooLong {
            bytes: id.len(),
            max,
        });
    }
    Ok(())
}

/// The connect flags (section 3.1.2.3).
struct Flags {
    clean_start: bool,
    will: Option<WillFlags>,
    username: bool,
    password: bool,
}

#[derive(Clone, Copy)]
struct WillFlags {
    qos: QoS,
    retain: bool,
}

impl Flags {
    fn of(connect: &Connect<'_>) -> Self {
        Self {
            clean_start: connect.clean_start,
            will: connect.will.as_ref().map(|will| WillFlags {
                qos: will.qos,
                retain: will.retain,
            }),
            username: connect.username.is_some(),
            password: connect.password.is_some(),
        }
    }

    fn byte(&self) -> u8 {
        let will = self.will.map_or(0, |will| {
            0b100 | will.qos.bits() << 3 | u8::from(will.retain) << 5
        });
        u8::from(self.clean_start) << 1
            | will
            | u8::from(self.password) << 6
            | u8::from(self.username) << 7
    }

    fn read(reader: &mut Reader<'_>, version: Version) -> Result<Self, DecodeError> {
        let byte = reader.byte()?;
        let is_set = |bit: u8| byte & (1 << bit) != 0;
        // [MQTT-3.1.2-3]
        if is_set(0) {
            return Err(DecodeError::ConnectReservedFlag);
        }
        let has_will = is_set(2);
        // 3.1 section 3.1: without a will, its QoS and RETAIN are disregarded.
        let qos_bits = if has_will || version != Version::V31 {
            (byte >> 3) & 0b11
        } else {
            0
        };
        // [MQTT-3.1.2-11], [MQTT-3.1.2-13]
        if !has_will && (qos_bits != 0 || is_set(5)) && version != Version::V31 {
            return Err(DecodeError::WillFlagsWithoutWill);
        }
        // [MQTT-3.1.2-12]
        let qos = QoS::from_bits(qos_bits).ok_or(DecodeError::WillQosReserved)?;
        let (username, password) = (is_set(7), is_set(6));
        // [MQTT-3.1.2-22 of 3.1.1]
        if password && !username && !version.is_v5() {
            return Err(DecodeError::PasswordWithoutUserName);
        }
        let will = has_will.then_some(WillFlags {
            qos,
            retain: is_set(5),
        });
        Ok(Self {
            clean_start: is_set(1),
            will,
            username,
            password,
        })
    }
}

impl Default for ConnectProperties<'_> {
    fn default() -> Self {
        Self {
            session_expiry_secs: None,
            receive_maximum: None,
            maximum_packet_size: None,
            topic_alias_maximum: 0,
            request_response_information: false,
            request_problem_information: true,
            authentication_method: None,
            authentication_data: None,
            user: UserProperties::default(),
        }
    }
}

impl<'a> ConnectProperties<'a> {
    fn decode(reader: &mut Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let mut read = PropertyReader::open(reader, place::CONNECT, limits)?;
        let mut all = Self::default();
        while let Some(property) = read.next()? {
            match property {
                Property::SessionExpiryInterval(secs) => all.session_expiry_secs = Some(secs),
                Property::ReceiveMaximum(maximum) => all.receive_maximum = Some(maximum),
                Property::MaximumPacketSize(bytes) => all.maximum_packet_size = Some(bytes),
                Property::TopicAliasMaximum(maximum) => all.topic_alias_maximum = maximum,
                Property::RequestResponseInformation(yes) => all.request_response_information = yes,
                Property::RequestProblemInformation(yes) => all.request_problem_information = yes,
                Property::AuthenticationMethod(method) => all.authentication_method = Some(method),
                Property::AuthenticationData(data) => all.authentication_data = Some(data),
                _ => {}
            }
        }
        all.user = read.user();
        // Section 3.1.2.11.10: a protocol error.
        if all.authentication_data.is_some() && all.authentication_method.is_none() {
            return Err(DecodeError::AuthenticationDataWithoutMethod);
        }
        Ok(all)
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.authentication_data.is_some() && self.authentication_method.is_none() {
            return Err(EncodeError::AuthenticationMethodMissing);
        }
        let aliases = Some(self.topic_alias_maximum).filter(|&maximum| maximum != 0);
        let problem = Some(false).filter(|_| !self.request_problem_information);
        let response = Some(true).filter(|_| self.request_response_information);
        write_some(
            out,
            self.session_expiry_secs,
            Property::SessionExpiryInterval,
        )?;
        write_some(
            out,
            self.authentication_method,
            Property::AuthenticationMethod,
        )?;
        write_some(out, self.authentication_data, Property::AuthenticationData)?;
        write_some(out, problem, Property::RequestProblemInformation)?;
        write_some(out, response, Property::RequestResponseInformation)?;
        write_some(out, self.receive_maximum, Property::ReceiveMaximum)?;
        write_some(out, aliases, Property::TopicAliasMaximum)?;
        write_some(out, self.maximum_packet_size, Property::MaximumPacketSize)?;
        self.user.write(out)
    }
}

impl<'a> Will<'a> {
    fn decode(
        reader: &mut Reader<'a>,
        flags: WillFlags,
        version: Version,
        limits: &Limits,
        users_already: usize,
    ) -> Result<Self, DecodeError> {
        let (mut delay_secs, mut message_expiry_secs) = (0, None);
        let mut properties = if version.is_v5() {
            let users_already = u16::try_from(users_already).unwrap_or(u16::MAX);
            PropertyReader::open(reader, place::WILL, limits)?.with_users_already(users_already)
        } else {
            PropertyReader::none(place::WILL)
        };
        let mut forwarded = Collector::new(properties.block());
        let mut start = 0;
        while let Some(property) = properties.next()? {
            let end = properties.position();
            match property {
                Property::WillDelayInterval(secs) => delay_secs = secs,
                Property::MessageExpiryInterval(secs) => message_expiry_secs = Some(secs),
                property => forwarded.take(&property, start..end),
            }
            start = end;
        }
        // [MQTT-3.1.3-11], [MQTT-3.1.2-9]
        let topic = TopicName::new(reader.str_unchecked_for_nul()?, limits)
            .map_err(DecodeError::of_name)?;
        let payload = reader.binary()?;
        let properties = forwarded.finish(payload)?;
        let WillFlags { qos, retain } = flags;
        Ok(Self {
            topic,
            payload,
            qos,
            retain,
            delay_secs,
            message_expiry_secs,
            properties,
        })
    }

    fn write(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        writer::properties(out, version, |out| {
            let delay = Some(self.delay_secs).filter(|&secs| secs != 0);
            write_some(out, delay, Property::WillDelayInterval)?;
            write_some(
                out,
                self.message_expiry_secs,
                Property::MessageExpiryInterval,
            )?;
            out.extend_from_slice(self.properties.raw());
            Ok(())
        })?;
        publish_head::check_topic(self.topic.as_str())?;
        writer::str(out, self.topic.as_str())?;
        writer::binary(out, self.payload)
    }
}

/// The password is a secret and never shown.
impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive_secs", &self.keep_alive_secs)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("username", &self.username)
            .field("password", &Secret(self.password.is_some()))
            .field("properties", &self.properties)
            .finish()
    }
}

/// The authentication data is a secret and never shown.
impl fmt::Debug for ConnectProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectProperties")
            .field("session_expiry_secs", &self.session_expiry_secs)
            .field("receive_maximum", &self.receive_maximum)
            .field("maximum_packet_size", &self.maximum_packet_size)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field(
                "request_response_information",
                &self.request_response_information,
            )
            .field(
                "request_problem_information",
                &self.request_problem_information,
            )
            .field("authentication_method", &self.authentication_method)
            .field(
                "authentication_data",
                &Secret(self.authentication_data.is_some()),
            )
            .field("user", &self.user)
            .finish()
    }
}

/// No payload in logs: its size only.
impl fmt::Debug for Will<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Will")
            .field("topic", &self.topic)
            .field("payload", &ByteCount(self.payload.len()))
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("delay_secs", &self.delay_secs)
            .field("message_expiry_secs", &self.message_expiry_secs)
            .field("properties", &self.properties)
            .finish()
    }
}
