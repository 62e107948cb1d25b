use crate::PacketType;

/// A reason code of MQTT 5.0 (section 2.4).
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum ReasonCode {
    /// 0x00; also "normal disconnection" and "granted QoS 0".
    Success = 0x00,
    /// 0x01
    GrantedQoS1 = 0x01,
    /// 0x02
    GrantedQoS2 = 0x02,
    /// 0x04
    DisconnectWithWill = 0x04,
    /// 0x10
    NoMatchingSubscribers = 0x10,
    /// 0x11
    NoSubscriptionExisted = 0x11,
    /// 0x18
    ContinueAuthentication = 0x18,
    /// 0x19
    ReAuthenticate = 0x19,
    /// 0x80
    UnspecifiedError = 0x80,
    /// 0x81
    MalformedPacket = 0x81,
    /// 0x82
    ProtocolError = 0x82,
    /// 0x83
    ImplementationSpecificError = 0x83,
    /// 0x84
    UnsupportedProtocolVersion = 0x84,
    /// 0x85
    ClientIdentifierNotValid = 0x85,
    /// 0x86
    BadUserNameOrPassword = 0x86,
    /// 0x87
    NotAuthorized = 0x87,
    /// 0x88
    ServerUnavailable = 0x88,
    /// 0x89
    ServerBusy = 0x89,
    /// 0x8A
    Banned = 0x8A,
    /// 0x8B
    ServerShuttingDown = 0x8B,
    /// 0x8C
    BadAuthenticationMethod = 0x8C,
    /// 0x8D
    KeepAliveTimeout = 0x8D,
    /// 0x8E
    SessionTakenOver = 0x8E,
    /// 0x8F
    TopicFilterInvalid = 0x8F,
    /// 0x90
    TopicNameInvalid = 0x90,
    /// 0x91
    PacketIdentifierInUse = 0x91,
    /// 0x92
    PacketIdentifierNotFound = 0x92,
    /// 0x93
    ReceiveMaximumExceeded = 0x93,
    /// 0x94
    TopicAliasInvalid = 0x94,
    /// 0x95
    PacketTooLarge = 0x95,
    /// 0x96
    MessageRateTooHigh = 0x96,
    /// 0x97
    QuotaExceeded = 0x97,
    /// 0x98
    AdministrativeAction = 0x98,
    /// 0x99
    PayloadFormatInvalid = 0x99,
    /// 0x9A
    RetainNotSupported = 0x9A,
    /// 0x9B
    QoSNotSupported = 0x9B,
    /// 0x9C
    UseAnotherServer = 0x9C,
    /// 0x9D
    ServerMoved = 0x9D,
    /// 0x9E
    SharedSubscriptionsNotSupported = 0x9E,
    /// 0x9F
    ConnectionRateExceeded = 0x9F,
    /// 0xA0
    MaximumConnectTime = 0xA0,
    /// 0xA1
    SubscriptionIdentifiersNotSupported = 0xA1,
    /// 0xA2
    WildcardSubscriptionsNotSupported = 0xA2,
}

impl ReasonCode {
    /// What a SUBACK says for a subscription granted at QoS 0.
    pub const GRANTED_QOS_0: Self = Self::Success;
    /// What a DISCONNECT says when nothing is wrong.
    pub const NORMAL_DISCONNECTION: Self = Self::Success;

    /// Every code, in ascending order.
    pub const ALL: [Self; 43] = [
        Self::Success,
        Self::GrantedQoS1,
        Self::GrantedQoS2,
        Self::DisconnectWithWill,
        Self::NoMatchingSubscribers,
        Self::NoSubscriptionExisted,
        Self::ContinueAuthentication,
        Self::ReAuthenticate,
        Self::UnspecifiedError,
        Self::MalformedPacket,
        Self::ProtocolError,
        Self::ImplementationSpecificError,
        Self::UnsupportedProtocolVersion,
        Self::ClientIdentifierNotValid,
        Self::BadUserNameOrPassword,
        Self::NotAuthorized,
        Self::ServerUnavailable,
        Self::ServerBusy,
        Self::Banned,
        Self::ServerShuttingDown,
        Self::BadAuthenticationMethod,
        Self::KeepAliveTimeout,
        Self::SessionTakenOver,
        Self::TopicFilterInvalid,
        Self::TopicNameInvalid,
        Self::PacketIdentifierInUse,
        Self::PacketIdentifierNotFound,
        Self::ReceiveMaximumExceeded,
        Self::TopicAliasInvalid,
        Self::PacketTooLarge,
        Self::MessageRateTooHigh,
        Self::QuotaExceeded,
        Self::AdministrativeAction,
        Self::PayloadFormatInvalid,
        Self::RetainNotSupported,
        Self::QoSNotSupported,
        Self::UseAnotherServer,
        Self::ServerMoved,
        Self::SharedSubscriptionsNotSupported,
        Self::ConnectionRateExceeded,
        Self::MaximumConnectTime,
        Self::SubscriptionIdentifiersNotSupported,
        Self::WildcardSubscriptionsNotSupported,
    ];

    /// `None` for a byte the specification gives no meaning.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        // Acknowledgements say success nearly always.
        if byte == 0 {
            return Some(Self::Success);
        }
        Self::ALL
            .binary_search_by_key(&byte, |code| code.byte())
            .ok()
            .map(|index| Self::ALL[index])
    }

    /// The byte on the wire.
    #[inline]
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// Whether the code reports a failure (0x80 and above).
    #[inline]
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.byte() >= 0x80
    }

    /// The specification's name in lower case, for logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::GrantedQoS1 => "granted qos 1",
            Self::GrantedQoS2 => "granted qos 2",
            Self::DisconnectWithWill => "disconnect with will message",
            Self::NoMatchingSubscribers => "no matching subscribers",
            Self::NoSubscriptionExisted => "no subscription existed",
            Self::ContinueAuthentication => "continue authentication",
            Self::ReAuthenticate => "re-authenticate",
            Self::UnspecifiedError => "unspecified error",
            Self::MalformedPacket => "malformed packet",
            Self::ProtocolError => "protocol error",
            Self::ImplementationSpecificError => "implementation specific error",
            Self::UnsupportedProtocolVersion => "unsupported protocol version",
            Self::ClientIdentifierNotValid => "client identifier not valid",
            Self::BadUserNameOrPassword => "bad user name or password",
            Self::NotAuthorized => "not authorized",
            Self::ServerUnavailable => "server unavailable",
            Self::ServerBusy => "server busy",
            Self::Banned => "banned",
            Self::ServerShuttingDown => "server shutting down",
            Self::BadAuthenticationMethod => "bad authentication method",
            Self::KeepAliveTimeout => "keep alive timeout",
            Self::SessionTakenOver => "session taken over",
            Self::TopicFilterInvalid => "topic filter invalid",
            Self::TopicNameInvalid => "topic name invalid",
            Self::PacketIdentifierInUse => "packet identifier in use",
            Self::PacketIdentifierNotFound => "packet identifier not found",
            Self::ReceiveMaximumExceeded => "receive maximum exceeded",
            Self::TopicAliasInvalid => "topic alias invalid",
            Self::PacketTooLarge => "packet too large",
            Self::MessageRateTooHigh => "message rate too high",
            Self::QuotaExceeded => "quota exceeded",
            Self::AdministrativeAction => "administrative action",
            Self::PayloadFormatInvalid => "payload format invalid",
            Self::RetainNotSupported => "retain not supported",
            Self::QoSNotSupported => "qos not supported",
            Self::UseAnotherServer => "use another server",
            Self::ServerMoved => "server moved",
            Self::SharedSubscriptionsNotSupported => "shared subscriptions not supported",
            Self::ConnectionRateExceeded => "connection rate exceeded",
            Self::MaximumConnectTime => "maximum connect time",
            Self::SubscriptionIdentifiersNotSupported => "subscription identifiers not supported",
            Self::WildcardSubscriptionsNotSupported => "wildcard subscriptions not supported",
        }
    }

    /// The CONNACK return code of 3.1 and 3.1.1 (0..=5) nearest to this reason.
    ///
    /// What the client can only retry later is "server unavailable" (3), every other refusal without a code of
    /// its own is "not authorized" (5).
    #[must_use]
    pub const fn connack_v3(self) -> u8 {
        match self {
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::UnspecifiedError
            | Self::ImplementationSpecificError
            | Self::ServerUnavailable
            | Self::ServerBusy
            | Self::ServerShuttingDown
            | Self::QuotaExceeded
            | Self::UseAnotherServer
            | Self::ServerMoved
            | Self::ConnectionRateExceeded => 3,
            Self::BadUserNameOrPassword => 4,
            code if code.is_error() => 5,
            _ => 0,
        }
    }

    /// The reason a CONNACK return code of 3.1 or 3.1.1 stands for; `None` above 5, which is reserved.
    #[must_use]
    pub const fn from_connack_v3(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }

    /// Whether a packet of this type may carry this code, whoever sends it (table 2-6)
    /// [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1], [MQTT-3.14.2-1], [MQTT-3.15.2-1].
    #[must_use]
    pub const fn allowed_in(self, packet: PacketType) -> bool {
        self.places() & packet.bit() != 0
    }

    /// The packet types of table 2-6, one bit each.
    const fn places(self) -> u16 {
        const CONNACK: u16 = PacketType::ConnAck.bit();
        const PUBACK_PUBREC: u16 = PacketType::PubAck.bit() | PacketType::PubRec.bit();
        const PUBREL_PUBCOMP: u16 = PacketType::PubRel.bit() | PacketType::PubComp.bit();
        const SUBACK: u16 = PacketType::SubAck.bit();
        const UNSUBACK: u16 = PacketType::UnsubAck.bit();
        const DISCONNECT: u16 = PacketType::Disconnect.bit();
        const AUTH: u16 = PacketType::Auth.bit();
        match self {
            Self::Success => {
                CONNACK | PUBACK_PUBREC | PUBREL_PUBCOMP | SUBACK | UNSUBACK | DISCONNECT | AUTH
            }
            Self::GrantedQoS1 | Self::GrantedQoS2 => SUBACK,
            Self::DisconnectWithWill => DISCONNECT,
            Self::NoMatchingSubscribers => PUBACK_PUBREC,
            Self::NoSubscriptionExisted => UNSUBACK,
            Self::ContinueAuthentication | Self::ReAuthenticate => AUTH,
            Self::UnspecifiedError | Self::ImplementationSpecificError | Self::NotAuthorized => {
                CONNACK | PUBACK_PUBREC | SUBACK | UNSUBACK | DISCONNECT
            }
            Self::MalformedPacket
            | Self::ProtocolError
            | Self::ServerBusy
            | Self::BadAuthenticationMethod => CONNACK | DISCONNECT,
            Self::UnsupportedProtocolVersion
            | Self::ClientIdentifierNotValid
            | Self::BadUserNameOrPassword
            | Self::ServerUnavailable
            | Self::Banned => CONNACK,
            Self::TopicFilterInvalid => SUBACK | UNSUBACK | DISCONNECT,
            Self::TopicNameInvalid | Self::PayloadFormatInvalid => {
                CONNACK | PUBACK_PUBREC | DISCONNECT
            }
            Self::PacketIdentifierInUse => PUBACK_PUBREC | SUBACK | UNSUBACK,
            Self::PacketIdentifierNotFound => PUBREL_PUBCOMP,
            Self::QuotaExceeded => CONNACK | PUBACK_PUBREC | SUBACK | DISCONNECT,
            Self::ServerShuttingDown
            | Self::KeepAliveTimeout
            | Self::SessionTakenOver
            | Self::ReceiveMaximumExceeded
            | Self::TopicAliasInvalid
            | Self::MessageRateTooHigh
            | Self::AdministrativeAction
            | Self::MaximumConnectTime => DISCONNECT,
            Self::PacketTooLarge
            | Self::RetainNotSupported
            | Self::QoSNotSupported
            | Self::UseAnotherServer
            | Self::ServerMoved
            | Self::ConnectionRateExceeded => CONNACK | DISCONNECT,
            Self::SharedSubscriptionsNotSupported
            | Self::SubscriptionIdentifiersNotSupported
            | Self::WildcardSubscriptionsNotSupported => SUBACK | DISCONNECT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_its_own_code_or_none() {
        for byte in 0..=u8::MAX {
            let known = ReasonCode::ALL.into_iter().find(|code| code.byte() == byte);
            assert_eq!(ReasonCode::from_byte(byte), known, "0x{byte:02X}");
        }
    }

    #[test]
    fn connack_codes_of_3_x_survive_both_ways_and_errors_never_become_success() {
        for code in 0..=5 {
            assert_eq!(
                ReasonCode::from_connack_v3(code).map(ReasonCode::connack_v3),
                Some(code)
            );
        }
        assert_eq!(ReasonCode::from_connack_v3(6), None);
        for code in ReasonCode::ALL {
            assert_eq!(code.connack_v3() != 0, code.is_error(), "{code:?}");
        }
    }

    #[test]
    fn packets_without_reason_codes_allow_none() {
        for code in ReasonCode::ALL {
            for packet in [
                PacketType::Connect,
                PacketType::Publish,
                PacketType::Subscribe,
                PacketType::PingReq,
            ] {
                assert!(!code.allowed_in(packet));
            }
        }
    }
}
