//! The connected half of a session. It ends with the connection.

use moat_codec::{InboundAliases, Version};
use moat_events::PeerAddress;

use super::aliases::OutboundAliases;
use super::enhanced::Enhanced;
use super::rate::PublishRate;
use crate::{ConnId, Time};

/// A keep alive is overdue after one and a half times its interval [MQTT-3.1.2-22].
const KEEP_ALIVE_GRACE_MILLIS_PER_SEC: u64 = 1500;

/// What a session knows of its connection.
pub struct Link {
    /// The driver's name for it.
    pub conn: ConnId,
    /// The peer's address, for the log.
    pub address: PeerAddress,
    /// The protocol version that was agreed on.
    pub version: Version,
    /// Topic aliases the client has set up [MQTT-3.3.2-7].
    pub aliases: InboundAliases,
    /// Topic aliases set towards the client; absent unless it takes some.
    pub aliases_out: Option<Box<OutboundAliases>>,
    /// Bytes for the client. Empty and without capacity while there is nothing to say.
    pub out: Vec<u8>,
    /// The client's Receive Maximum.
    pub receive_maximum: u16,
    /// QoS 1 and 2 messages that may still be sent (4.9).
    pub send_quota: u16,
    /// The largest packet the client takes, in bytes.
    pub maximum_packet_size: u32,
    /// Whether it wants to hear reasons with anything but CONNACK and DISCONNECT [MQTT-3.1.2-29].
    pub wants_reasons: bool,
    /// Keep alive in seconds; 0 is none.
    pub keep_alive_secs: u16,
    /// When the last bytes came.
    pub last_received: Time,
    /// How often it may publish.
    pub rate: PublishRate,
    /// SUBSCRIBE packets whose SUBACK waits for other shards.
    pub waiting_subscribes: u16,
    /// The session expiry the CONNECT asked for; 0 may not be raised by DISCONNECT.
    pub connect_expiry_secs: u32,
    /// When what proved its identity ends, and the connection with it.
    pub expires_at: Time,
    /// The authentication method it was opened with; absent without one.
    pub enhanced: Option<Box<Enhanced>>,
}

impl Link {
    /// When a re-authentication that is under way has taken too long.
    #[must_use]
    pub fn reauthentication_deadline(&self) -> Time {
        self.enhanced
            .as_ref()
            .map_or(Time::NEVER, |enhanced| enhanced.deadline)
    }

    /// When silence becomes a reason to close.
    #[must_use]
    pub fn keep_alive_deadline(&self) -> Time {
        match self.keep_alive_secs {
            0 => Time::NEVER,
            secs => self
                .last_received
                .plus_millis(u64::from(secs) * KEEP_ALIVE_GRACE_MILLIS_PER_SEC),
        }
    }
}
