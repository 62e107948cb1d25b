use std::fmt;

use crate::{PacketType, QoS, ReasonCode, TopicError};

/// Why bytes are not a packet we accept: one variant per cause. The fault is always the peer's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// Packet type 0, which is reserved (table 2-1).
    UnknownPacketType,
    /// A reserved flag of the fixed header does not have the value listed [MQTT-2.1.3-1].
    ReservedFlags {
        /// The packet's first byte.
        first_byte: u8,
    },
    /// A PUBLISH with both QoS bits set [MQTT-3.3.1-4].
    PublishQosReserved,
    /// A PUBLISH with DUP at QoS 0 [MQTT-3.3.1-2].
    DupWithQosZero,
    /// A variable byte integer of more than four bytes (section 1.5.5).
    VarIntTooLong,
    /// A variable byte integer longer than it must be [MQTT-1.5.5-1].
    VarIntNotMinimal,
    /// The packet is larger than the limit allows.
    PacketTooLarge {
        /// Bytes of the packet, fixed header included.
        bytes: u32,
        /// Bytes allowed.
        max: u32,
    },
    /// The bytes handed to the decoder are not exactly one packet.
    NotOnePacket,
    /// An AUTH packet on a connection of 3.1 or 3.1.1, where type 15 is reserved (3.1.1 table 2.1).
    AuthNotInVersion,
    /// A field ends behind the packet or its property block.
    Truncated,
    /// Bytes are left after the packet's last field.
    TrailingBytes,
    /// A string is not UTF-8, or encodes a surrogate [MQTT-1.5.4-1].
    InvalidUtf8,
    /// A string contains U+0000 [MQTT-1.5.4-2].
    NulInString,
    /// Packet identifier 0 [MQTT-2.2.1-3], [MQTT-2.2.1-4].
    PacketIdZero,
    /// A property identifier the specification does not know (section 2.2.2.2).
    UnknownProperty {
        /// The identifier's (first) byte.
        id: u8,
    },
    /// A property that does not belong into this packet (section 2.2.2.2).
    PropertyNotAllowed {
        /// The property's identifier.
        id: u8,
    },
    /// A property that may occur once occurs again.
    DuplicateProperty {
        /// The property's identifier.
        id: u8,
    },
    /// A property's value is outside its range: a boolean above 1, a maximum or subscription identifier of 0.
    PropertyValueInvalid {
        /// The property's identifier.
        id: u8,
    },
    /// Topic alias 0 [MQTT-3.3.2-8].
    TopicAliasZero,
    /// Topic alias above the Topic Alias Maximum we announced [MQTT-3.3.2-9].
    TopicAliasTooLarge {
        /// The alias.
        alias: u16,
        /// The largest alias allowed.
        max: u16,
    },
    /// An alias without a topic name that no earlier PUBLISH has set (section 3.3.2.3.4).
    TopicAliasUnknown {
        /// The alias.
        alias: u16,
    },
    /// More user properties in a packet than the limit allows.
    TooManyUserProperties {
        /// Properties allowed.
        max: u16,
    },
    /// Authentication data without an authentication method (section 3.1.2.11.10).
    AuthenticationDataWithoutMethod,
    /// An AUTH with properties but without an authentication method (section 3.15.2.2.2).
    AuthenticationMethodMissing,
    /// A protocol name other than `MQTT` and `MQIsdp` [MQTT-3.1.2-1].
    UnsupportedProtocolName,
    /// A protocol level we do not speak under this name, bridge bit included [MQTT-3.1.2-2].
    UnsupportedProtocolLevel {
        /// The level.
        level: u8,
    },
    /// The reserved connect flag is set [MQTT-3.1.2-3].
    ConnectReservedFlag,
    /// Will QoS 3 [MQTT-3.1.2-12].
    WillQosReserved,
    /// Will QoS or will retain without a will [MQTT-3.1.2-11], [MQTT-3.1.2-13]; 3.1 disregards them.
    WillFlagsWithoutWill,
    /// A password without a user name before 5.0 [MQTT-3.1.2-22 of 3.1.1].
    PasswordWithoutUserName,
    /// An empty client identifier where none is assigned: 3.1 at all, 3.1.1 without clean session
    /// [MQTT-3.1.3-8 of 3.1.1].
    ClientIdEmpty,
    /// A client identifier longer than the limit allows [MQTT-3.1.3-5].
    ClientIdTooLong {
        /// Bytes it has.
        bytes: usize,
        /// Bytes allowed.
        max: u16,
    },
    /// A reserved CONNACK flag is set [MQTT-3.2.2-1].
    ConnAckReservedFlags,
    /// Session present together with a refusal [MQTT-3.2.2-6].
    SessionPresentWithError,
    /// A reason code the packet may not carry [MQTT-3.4.2-1] and its like.
    ReasonCodeNotAllowed {
        /// The packet.
        packet: PacketType,
        /// The code.
        code: u8,
    },
    /// A PUBLISH of 3.1 or 3.1.1 with an empty topic name [MQTT-4.7.3-1].
    TopicEmpty,
    /// A PUBLISH of 5.0 with neither topic name nor alias (section 3.3.2.1).
    TopicMissing,
    /// The topic name of a PUBLISH or will breaks a rule or limit [MQTT-3.3.2-2].
    TopicNameInvalid(TopicError),
    /// The response topic breaks a rule [MQTT-3.3.2-14].
    ResponseTopicInvalid(TopicError),
    /// The payload is not UTF-8 although the payload format indicator says so (section 3.3.2.3.2).
    PayloadNotUtf8,
    /// A topic filter breaks a rule or limit [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.8.2-1].
    TopicFilterInvalid(TopicError),
    /// SUBSCRIBE or UNSUBSCRIBE without a filter [MQTT-3.8.3-2], [MQTT-3.10.3-2].
    NoFilters,
    /// More filters in a packet than the limit allows.
    TooManyFilters {
        /// Filters allowed.
        max: u16,
    },
    /// A reserved bit of the subscription options is set [MQTT-3.8.3-5].
    SubscriptionOptionsReserved,
    /// Subscription with QoS 3 (section 3.8.3.1).
    SubscriptionQosInvalid,
    /// Retain handling 3 (section 3.8.3.1).
    RetainHandlingInvalid,
    /// No local on a shared subscription [MQTT-3.8.3-4].
    NoLocalOnShared,
    /// SUBACK or UNSUBACK without a reason code [MQTT-3.8.4-6].
    NoReasonCodes,
}

/// The names of all variants, and the name of one; the match keeps the list complete.
macro_rules! names {
    ($($variant:ident),+ $(,)?) => {
        /// The name of every variant, in the order of their declaration.
        pub const NAMES: &'static [&'static str] = &[$(stringify!($variant)),+];

        /// The variant's name, for logs and the packet table.
        #[must_use]
        pub const fn name(&self) -> &'static str {
            match self { $(Self::$variant { .. } => stringify!($variant)),+ }
        }
    };
}

impl DecodeError {
    names! {
        UnknownPacketType, ReservedFlags, PublishQosReserved, DupWithQosZero, VarIntTooLong, VarIntNotMinimal,
        PacketTooLarge, NotOnePacket, AuthNotInVersion, Truncated, TrailingBytes, InvalidUtf8, NulInString,
        PacketIdZero, UnknownProperty, PropertyNotAllowed, DuplicateProperty, PropertyValueInvalid,
        TopicAliasZero, TopicAliasTooLarge, TopicAliasUnknown, TooManyUserProperties,
        AuthenticationDataWithoutMethod, AuthenticationMethodMissing, UnsupportedProtocolName,
        UnsupportedProtocolLevel, ConnectReservedFlag, WillQosReserved, WillFlagsWithoutWill,
        PasswordWithoutUserName, ClientIdEmpty, ClientIdTooLong, ConnAckReservedFlags, SessionPresentWithError,
        ReasonCodeNotAllowed, TopicEmpty, TopicMissing, TopicNameInvalid, ResponseTopicInvalid, PayloadNotUtf8,
        TopicFilterInvalid, NoFilters, TooManyFilters, SubscriptionOptionsReserved, SubscriptionQosInvalid,
        RetainHandlingInvalid, NoLocalOnShared, NoReasonCodes,
    }

    /// The reason code a CONNACK or DISCONNECT names for this error (section 4.13).
    #[must_use]
    pub const fn reason(&self) -> ReasonCode {
        match self {
            Self::UnknownPacketType
            | Self::ReservedFlags { .. }
            | Self::PublishQosReserved
            | Self::DupWithQosZero
            | Self::VarIntTooLong
            | Self::VarIntNotMinimal
            | Self::NotOnePacket
            | Self::AuthNotInVersion
            | Self::Truncated
            | Self::TrailingBytes
            | Self::InvalidUtf8
            | Self::NulInString
            | Self::PacketIdZero
            | Self::UnknownProperty { .. }
            | Self::PropertyNotAllowed { .. }
            | Self::ConnectReservedFlag
            | Self::WillQosReserved
            | Self::WillFlagsWithoutWill
            | Self::PasswordWithoutUserName
            | Self::ConnAckReservedFlags
            | Self::TopicEmpty
            | Self::SubscriptionOptionsReserved => ReasonCode::MalformedPacket,
            Self::DuplicateProperty { .. }
            | Self::PropertyValueInvalid { .. }
            | Self::TopicAliasUnknown { .. }
            | Self::AuthenticationDataWithoutMethod
            | Self::AuthenticationMethodMissing
            | Self::SessionPresentWithError
            | Self::ReasonCodeNotAllowed { .. }
            | Self::TopicMissing
            | Self::NoFilters
            | Self::SubscriptionQosInvalid
            | Self::RetainHandlingInvalid
            | Self::NoLocalOnShared
            | Self::NoReasonCodes => ReasonCode::ProtocolError,
            Self::UnsupportedProtocolName | Self::UnsupportedProtocolLevel { .. } => {
                ReasonCode::UnsupportedProtocolVersion
            }
            Self::ClientIdEmpty | Self::ClientIdTooLong { .. } => {
                ReasonCode::ClientIdentifierNotValid
            }
            Self::TopicFilterInvalid(_) => ReasonCode::TopicFilterInvalid,
            Self::TopicNameInvalid(_) | Self::ResponseTopicInvalid(_) => {
                ReasonCode::TopicNameInvalid
            }
            Self::TopicAliasZero | Self::TopicAliasTooLarge { .. } => ReasonCode::TopicAliasInvalid,
            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::TooManyUserProperties { .. } | Self::TooManyFilters { .. } => {
                ReasonCode::QuotaExceeded
            }
            Self::PayloadNotUtf8 => ReasonCode::PayloadFormatInvalid,
        }
    }

    /// A topic name's error; U+0000 breaks the rule for strings before that for topics [MQTT-1.5.4-2].
    pub(crate) const fn of_name(error: TopicError) -> Self {
        match error {
            TopicError::ContainsNul => Self::NulInString,
            other => Self::TopicNameInvalid(other),
        }
    }

    /// A topic filter's error; U+0000 as for names.
    pub(crate) const fn of_filter(error: TopicError) -> Self {
        match error {
            TopicError::ContainsNul => Self::NulInString,
            other => Self::TopicFilterInvalid(other),
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPacketType => f.write_str("packet type 0 is reserved; allowed are 1 to 15"),
            Self::ReservedFlags { first_byte } => {
                write!(f, "reserved flags are wrong in first byte 0x{first_byte:02X}")
            }
            Self::PublishQosReserved => f.write_str("publish has qos 3; allowed are 0, 1 and 2"),
            Self::DupWithQosZero => f.write_str("publish has dup set at qos 0"),
            Self::VarIntTooLong => f.write_str("variable byte integer has more than 4 bytes"),
            Self::VarIntNotMinimal => f.write_str("variable byte integer is longer than its value needs"),
            Self::PacketTooLarge { bytes, max } => {
                write!(f, "packet has {bytes} bytes; at most {max} are allowed")
            }
            Self::NotOnePacket => f.write_str("bytes are not exactly one packet"),
            Self::AuthNotInVersion => f.write_str("auth packet before mqtt 5.0"),
            Self::Truncated => f.write_str("a field ends behind the end of its packet or property block"),
            Self::TrailingBytes => f.write_str("bytes are left after the last field"),
            Self::InvalidUtf8 => f.write_str("a string is not valid utf-8"),
            Self::NulInString => f.write_str("a string contains U+0000"),
            Self::PacketIdZero => f.write_str("packet identifier is 0; allowed are 1 to 65535"),
            Self::UnknownProperty { id } => write!(f, "property 0x{id:02X} does not exist"),
            Self::PropertyNotAllowed { id } => write!(f, "property 0x{id:02X} is not allowed in this packet"),
            Self::DuplicateProperty { id } => write!(f, "property 0x{id:02X} occurs twice; allowed is once"),
            Self::PropertyValueInvalid { id } => write!(f, "property 0x{id:02X} has a value outside its range"),
            Self::TopicAliasZero => f.write_str("topic alias is 0"),
            Self::TopicAliasTooLarge { alias, max } => {
                write!(f, "topic alias is {alias}; at most {max} is allowed")
            }
            Self::TopicAliasUnknown { alias } => {
                write!(f, "topic alias {alias} has no topic yet; send the topic name with it first")
            }
            Self::TooManyUserProperties { max } => {
                write!(f, "too many user properties; at most {max} are allowed in a packet")
            }
            Self::AuthenticationDataWithoutMethod => {
                f.write_str("authentication data is present without an authentication method")
            }
            Self::AuthenticationMethodMissing => f.write_str("auth packet has no authentication method"),
            Self::UnsupportedProtocolName => {
                f.write_str("protocol name is not known; allowed are MQTT and MQIsdp")
            }
            Self::UnsupportedProtocolLevel { level } => write!(
                f,
                "protocol level {level} is not supported; allowed are 3 (MQIsdp), 4 and 5 (MQTT)"
            ),
            Self::ConnectReservedFlag => f.write_str("reserved connect flag is set"),
            Self::WillQosReserved => f.write_str("will has qos 3; allowed are 0, 1 and 2"),
            Self::WillFlagsWithoutWill => f.write_str("will qos or will retain is set without a will"),
            Self::PasswordWithoutUserName => {
                f.write_str("password is present without a user name; only mqtt 5.0 allows that")
            }
            Self::ClientIdEmpty => f.write_str(
                "client identifier is empty; send one, or ask for a clean session with mqtt 3.1.1 or 5.0",
            ),
            Self::ClientIdTooLong { bytes, max } => {
                write!(f, "client identifier has {bytes} bytes; at most {max} are allowed")
            }
            Self::ConnAckReservedFlags => f.write_str("reserved connack flags are set"),
            Self::SessionPresentWithError => f.write_str("connack says session present together with a refusal"),
            Self::ReasonCodeNotAllowed { packet, code } => {
                write!(f, "reason code 0x{code:02X} is not allowed in {}", packet.name())
            }
            Self::TopicEmpty => f.write_str("publish has an empty topic name"),
            Self::TopicMissing => f.write_str("publish has neither topic name nor topic alias"),
            Self::TopicNameInvalid(error) => write!(f, "topic name {error}"),
            Self::ResponseTopicInvalid(error) => write!(f, "response topic {error}"),
            Self::PayloadNotUtf8 => {
                f.write_str("payload is not utf-8 although the payload format indicator says so")
            }
            Self::TopicFilterInvalid(error) => write!(f, "topic filter {error}"),
            Self::NoFilters => f.write_str("packet has no topic filter; at least one is needed"),
            Self::TooManyFilters { max } => write!(f, "too many topic filters; at most {max} are allowed in a packet"),
            Self::SubscriptionOptionsReserved => f.write_str("reserved bits of subscription options are set"),
            Self::SubscriptionQosInvalid => f.write_str("subscription has qos 3; allowed are 0, 1 and 2"),
            Self::RetainHandlingInvalid => f.write_str("retain handling is 3; allowed are 0, 1 and 2"),
            Self::NoLocalOnShared => f.write_str("no local is set on a shared subscription"),
            Self::NoReasonCodes => f.write_str("packet has no reason code; at least one is needed"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why a packet cannot be encoded. The fault is always ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EncodeError {
    /// The packet would need more bytes than a remaining length can say.
    TooLarge {
        /// Bytes after the fixed header.
        bytes: usize,
    },
    /// A string or binary field has more bytes than its length field can say.
    FieldTooLong {
        /// Bytes of the field.
        bytes: usize,
    },
    /// A string contains U+0000 [MQTT-1.5.4-2].
    NulInString,
    /// A PUBLISH's topic is not a topic name.
    TopicInvalid(TopicError),
    /// A PUBLISH with QoS 1 or 2 has no packet identifier [MQTT-2.2.1-4].
    PacketIdMissing {
        /// Its QoS.
        qos: QoS,
    },
    /// SUBSCRIBE or UNSUBSCRIBE without a filter [MQTT-3.8.3-2], [MQTT-3.10.3-2].
    NoFilters,
    /// SUBACK or UNSUBACK without a reason code [MQTT-3.8.4-6].
    NoReasonCodes,
    /// No local on a shared subscription [MQTT-3.8.3-4].
    NoLocalOnShared,
    /// A subscription identifier above 268,435,455 (section 3.8.2.1.2).
    SubscriptionIdTooLarge {
        /// The identifier.
        id: u32,
    },
    /// A property whose value must not be 0 is 0.
    PropertyZero {
        /// The property's identifier.
        id: u8,
    },
    /// The packet may not carry this reason code [MQTT-3.14.2-1] and its like.
    ReasonCodeNotAllowed {
        /// The packet.
        packet: PacketType,
        /// The code.
        reason: ReasonCode,
    },
    /// Session present together with a refusal [MQTT-3.2.2-6].
    SessionPresentWithError,
    /// The packet type is not PUBACK, PUBREC, PUBREL or PUBCOMP.
    NotAnAck {
        /// The type given.
        packet: PacketType,
    },
    /// An AUTH packet before 5.0.
    AuthNotInVersion,
    /// Authentication data without a method, or an AUTH with content but without a method.
    AuthenticationMethodMissing,
    /// A password without a user name before 5.0 [MQTT-3.1.2-22 of 3.1.1].
    PasswordWithoutUserName,
    /// An empty client identifier where none is assigned [MQTT-3.1.3-7 of 3.1.1].
    ClientIdEmpty,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes } => write!(
                f,
                "packet needs {bytes} bytes; at most {} fit into a remaining length",
                crate::varint::MAX
            ),
            Self::FieldTooLong { bytes } => {
                write!(
                    f,
                    "field has {bytes} bytes; at most 65535 fit into its length"
                )
            }
            Self::NulInString => f.write_str("string contains U+0000; remove it"),
            Self::TopicInvalid(error) => write!(f, "topic name {error}"),
            Self::PacketIdMissing { qos } => {
                write!(
                    f,
                    "publish with qos {} needs a packet identifier",
                    qos.bits()
                )
            }
            Self::NoFilters => f.write_str("packet needs at least one topic filter"),
            Self::NoReasonCodes => f.write_str("packet needs at least one reason code"),
            Self::NoLocalOnShared => {
                f.write_str("no local must not be set on a shared subscription")
            }
            Self::SubscriptionIdTooLarge { id } => write!(
                f,
                "subscription identifier is {id}; at most {} is allowed",
                crate::varint::MAX
            ),
            Self::PropertyZero { id } => write!(f, "property 0x{id:02X} must not be 0"),
            Self::ReasonCodeNotAllowed { packet, reason } => {
                write!(
                    f,
                    "reason code 0x{:02X} is not allowed in {}",
                    reason.byte(),
                    packet.name()
                )
            }
            Self::SessionPresentWithError => f.write_str("a refusal must not say session present"),
            Self::NotAnAck { packet } => {
                write!(
                    f,
                    "{} is not one of puback, pubrec, pubrel, pubcomp",
                    packet.name()
                )
            }
            Self::AuthNotInVersion => f.write_str("auth packets need mqtt 5.0"),
            Self::AuthenticationMethodMissing => f.write_str("an authentication method is needed"),
            Self::PasswordWithoutUserName => {
                f.write_str("a password needs a user name before mqtt 5.0")
            }
            Self::ClientIdEmpty => f.write_str(
                "an empty client identifier needs a clean session and mqtt 3.1.1 or 5.0",
            ),
        }
    }
}

impl std::error::Error for EncodeError {}
