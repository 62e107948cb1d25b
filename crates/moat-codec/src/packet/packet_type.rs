/// The types of packets, with their number (table 2-1).
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum PacketType {
    /// Client to server: the first packet.
    Connect = 1,
    /// Server to client: the answer to it.
    ConnAck,
    /// Both ways: a message.
    Publish,
    /// Both ways: QoS 1 received.
    PubAck,
    /// Both ways: QoS 2 received.
    PubRec,
    /// Both ways: QoS 2 released.
    PubRel,
    /// Both ways: QoS 2 complete.
    PubComp,
    /// Client to server: subscribe.
    Subscribe,
    /// Server to client: the answer to it.
    SubAck,
    /// Client to server: unsubscribe.
    Unsubscribe,
    /// Server to client: the answer to it.
    UnsubAck,
    /// Client to server: still here?
    PingReq,
    /// Server to client: still here.
    PingResp,
    /// Both ways (before 5.0 from the client only): the last packet.
    Disconnect,
    /// Both ways, 5.0 only: a step of authentication.
    Auth,
}

impl PacketType {
    /// Every type, in ascending order.
    pub const ALL: [Self; 15] = [
        Self::Connect,
        Self::ConnAck,
        Self::Publish,
        Self::PubAck,
        Self::PubRec,
        Self::PubRel,
        Self::PubComp,
        Self::Subscribe,
        Self::SubAck,
        Self::Unsubscribe,
        Self::UnsubAck,
        Self::PingReq,
        Self::PingResp,
        Self::Disconnect,
        Self::Auth,
    ];

    /// The type in the high four bits of a packet's first byte; `None` for 0, which is reserved.
    #[inline]
    #[must_use]
    pub const fn of_first_byte(first_byte: u8) -> Option<Self> {
        match first_byte >> 4 {
            0 => None,
            number => Some(Self::ALL[number as usize - 1]),
        }
    }

    /// The first byte of a packet of this type; a PUBLISH adds its flags [MQTT-2.1.3-1].
    #[must_use]
    pub const fn first_byte(self) -> u8 {
        let flags = match self {
            Self::PubRel | Self::Subscribe | Self::Unsubscribe => 0b0010,
            _ => 0,
        };
        (self as u8) << 4 | flags
    }

    /// One bit per type, for tables.
    pub(crate) const fn bit(self) -> u16 {
        1 << self as u8
    }

    /// The specification's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }
}
