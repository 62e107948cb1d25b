//! MQTT 3.1, 3.1.1 and 5.0 packets: bytes in, packets out, and back.
//!
//! Bytes from a peer go through two steps: [`frame`] finds where the next packet ends, and
//! [`Packet::decode`] reads it without copying. Packets go out through [`Packet::encode`], or, when one
//! PUBLISH has many receivers, through [`PublishFrame`], which is encoded once and patched per receiver.
//!
//! The crate knows no sockets, no clock, no sessions and no configuration: limits are arguments
//! ([`Limits`]). It is strict: what the specification forbids is an error with a variant of its own
//! ([`DecodeError`]) and the exact reason code ([`DecodeError::reason`]). Both directions are decoded; which
//! packets a peer may send when is a session's matter.
//!
//! Statement numbers are those of MQTT 5.0; where 3.1.1 has one of its own the text says so.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod alias;
#[cfg(feature = "checks")]
pub mod checks;
mod error;
mod forwarded;
mod frame;
mod limits;
mod packet;
mod packet_id;
#[cfg(feature = "packet-table")]
pub mod packet_table;
mod property;
mod publish_frame;
mod publish_head;
mod qos;
mod reader;
mod reason;
mod redacted;
mod resolved;
mod subscription_ids;
mod topic;
mod user_properties;
pub mod varint;
mod version;
mod writer;

pub use alias::{InboundAliases, TopicAlias};
pub use error::{DecodeError, EncodeError};
pub use forwarded::ForwardedProperties;
pub use frame::{Framed, frame};
pub use limits::Limits;
pub use packet::{
    Ack, Auth, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect, Incoming,
    Packet, PacketType, Publish, ReasonCodes, RetainHandling, SubAck, Subscribe, Subscription,
    SubscriptionOptions, UnsubAck, Unsubscribe, Will,
};
pub use packet_id::PacketId;
pub use property::{NonZeroVarInt, Property};
pub use publish_frame::{Parts, Patch, PublishFrame, SUBSCRIPTION_IDS_PER_FRAME_MAX};
pub use qos::QoS;
pub use reason::ReasonCode;
pub use resolved::Resolved;
pub use subscription_ids::SubscriptionIds;
pub use topic::{SharedFilter, TopicError, TopicFilter, TopicName};
pub use user_properties::UserProperties;
pub use version::Version;
