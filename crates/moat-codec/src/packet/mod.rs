//! The packets, one file each; each has `decode` and `encode`.

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod incoming;
mod packet_type;
mod publish;
mod reason_codes;
mod suback;
mod subscribe;
mod unsuback;
mod unsubscribe;

pub use ack::Ack;
pub use auth::Auth;
pub use connack::{ConnAck, ConnAckProperties};
pub use connect::{Connect, ConnectProperties, Will};
pub use disconnect::Disconnect;
pub use incoming::Incoming;
pub use packet_type::PacketType;
pub use publish::Publish;
pub use reason_codes::ReasonCodes;
pub use suback::SubAck;
pub use subscribe::{RetainHandling, Subscribe, Subscription, SubscriptionOptions};
pub use unsuback::UnsubAck;
pub use unsubscribe::Unsubscribe;

use crate::{DecodeError, EncodeError, Framed, Limits, Version, frame, varint, writer};

/// Any packet; its fields borrow from the bytes it was decoded from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet<'a> {
    /// Section 3.1.
    Connect(Connect<'a>),
    /// Section 3.2.
    ConnAck(ConnAck<'a>),
    /// Section 3.3.
    Publish(Publish<'a>),
    /// Section 3.4.
    PubAck(Ack<'a>),
    /// Section 3.5.
    PubRec(Ack<'a>),
    /// Section 3.6.
    PubRel(Ack<'a>),
    /// Section 3.7.
    PubComp(Ack<'a>),
    /// Section 3.8.
    Subscribe(Subscribe<'a>),
    /// Section 3.9.
    SubAck(SubAck<'a>),
    /// Section 3.10.
    Unsubscribe(Unsubscribe<'a>),
    /// Section 3.11.
    UnsubAck(UnsubAck<'a>),
    /// Section 3.12.
    PingReq,
    /// Section 3.13.
    PingResp,
    /// Section 3.14.
    Disconnect(Disconnect<'a>),
    /// Section 3.15.
    Auth(Auth<'a>),
}

impl<'a> Packet<'a> {
    /// Decodes one whole packet: `bytes` is exactly what [`frame`] found.
    ///
    /// `version` is the connection's; a CONNECT ignores it and says its own.
    ///
    /// # Errors
    /// Everything the specification or a limit forbids, as the [`DecodeError`] for that cause.
    pub fn decode(bytes: &'a [u8], version: Version, limits: &Limits) -> Result<Self, DecodeError> {
        let (first_byte, header) = match frame(bytes, limits)? {
            Framed::Complete {
                first_byte,
                header,
                total,
            } if total == bytes.len() => (first_byte, header),
            Framed::Complete { .. } | Framed::Incomplete { .. } => {
                return Err(DecodeError::NotOnePacket);
            }
        };
        Self::decode_framed(bytes, first_byte, header, version, limits)
    }

    /// As [`Self::decode`], where [`frame`] has said already that `bytes` is one packet which begins with `first_byte` and a fixed header
    /// of `header` bytes.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_framed(
        bytes: &'a [u8],
        first_byte: u8,
        header: usize,
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let body = bytes.get(header..).ok_or(DecodeError::NotOnePacket)?;
        let packet = PacketType::of_first_byte(first_byte).ok_or(DecodeError::UnknownPacketType)?;
        let version = if packet == PacketType::Connect {
            connect::version(body)?
        } else {
            version
        };
        check_header(packet, first_byte, header, body.len(), version)?;
        Self::decode_body(packet, first_byte, body, version, limits)
    }

    fn decode_body(
        packet: PacketType,
        first_byte: u8,
        body: &'a [u8],
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        match packet {
            PacketType::Publish => {
                let incoming = Publish::decode(first_byte, body, version, limits)?;
                Ok(Self::Publish(incoming.into_publish()))
            }
            PacketType::PubAck => Ack::decode(packet, body, version, limits).map(Self::PubAck),
            PacketType::PubRec => Ack::decode(packet, body, version, limits).map(Self::PubRec),
            PacketType::PubRel => Ack::decode(packet, body, version, limits).map(Self::PubRel),
            PacketType::PubComp => Ack::decode(packet, body, version, limits).map(Self::PubComp),
            PacketType::PingReq => empty(body).map(|()| Self::PingReq),
            PacketType::PingResp => empty(body).map(|()| Self::PingResp),
            PacketType::Subscribe => Subscribe::decode(body, version, limits).map(Self::Subscribe),
            PacketType::SubAck => SubAck::decode(body, version, limits).map(Self::SubAck),
            PacketType::Unsubscribe => {
                Unsubscribe::decode(body, version, limits).map(Self::Unsubscribe)
            }
            PacketType::UnsubAck => UnsubAck::decode(body, version, limits).map(Self::UnsubAck),
            PacketType::Connect => Connect::decode(body, limits).map(Self::Connect),
            PacketType::ConnAck => ConnAck::decode(body, version, limits).map(Self::ConnAck),
            PacketType::Disconnect => {
                Disconnect::decode(body, version, limits).map(Self::Disconnect)
            }
            PacketType::Auth => Auth::decode(body, version, limits).map(Self::Auth),
        }
    }

    /// Appends the packet to `out` and returns its size in bytes. On an error `out` is as it was.
    ///
    /// What the version does not have (properties, most reason codes) is left out.
    ///
    /// # Errors
    /// When the packet would break the specification, as the [`EncodeError`] for that cause.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<usize, EncodeError> {
        match self {
            Self::Connect(connect) => connect.encode(version, out),
            Self::ConnAck(connack) => connack.encode(version, out),
            Self::Publish(publish) => publish.encode(version, out),
            Self::PubAck(ack) | Self::PubRec(ack) | Self::PubRel(ack) | Self::PubComp(ack) => {
                ack.encode(self.packet_type(), version, out)
            }
            Self::Subscribe(subscribe) => subscribe.encode(version, out),
            Self::SubAck(suback) => suback.encode(version, out),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encode(version, out),
            Self::UnsubAck(unsuback) => unsuback.encode(version, out),
            Self::PingReq | Self::PingResp => {
                writer::packet(out, self.packet_type().first_byte(), |_| Ok(()))
            }
            Self::Disconnect(disconnect) => disconnect.encode(version, out),
            Self::Auth(auth) => auth.encode(version, out),
        }
    }

    /// Which packet this is.
    #[inline]
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

/// What [`frame`] could not judge without the version.
#[inline]
fn check_header(
    packet: PacketType,
    first_byte: u8,
    header: usize,
    body: usize,
    version: Version,
) -> Result<(), DecodeError> {
    // [MQTT-1.5.5-1]; 3.1 and 3.1.1 do not demand it.
    let minimal = u32::try_from(body).is_ok_and(|len| header == 1 + varint::len(len));
    if version.is_v5() && !minimal {
        return Err(DecodeError::VarIntNotMinimal);
    }
    // [MQTT-2.1.3-1]; 3.1 has DUP in PUBREL, SUBSCRIBE and UNSUBSCRIBE (3.1 sections 3.6, 3.8, 3.10).
    if version != Version::V31 && packet != PacketType::Publish && first_byte != packet.first_byte()
    {
        return Err(DecodeError::ReservedFlags { first_byte });
    }
    if packet == PacketType::Auth && !version.is_v5() {
        return Err(DecodeError::AuthNotInVersion);
    }
    Ok(())
}

/// A packet that is its fixed header.
fn empty(body: &[u8]) -> Result<(), DecodeError> {
    if body.is_empty() {
        Ok(())
    } else {
        Err(DecodeError::TrailingBytes)
    }
}
