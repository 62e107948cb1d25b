//! The connected half of a session. It ends with the connection.

use std::collections::VecDeque;

use moat_codec::{InboundAliases, PacketId, QoS, ReasonCode, Version};
use moat_events::PeerAddress;
use moat_policy::Remembered;

use super::aliases::OutboundAliases;
use super::enhanced::Enhanced;
use super::rate::PublishRate;
use crate::shard::RetainedWish;
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
    /// What it was last allowed to publish; absent while it does not publish.
    pub remembered: Option<Box<Remembered>>,
    /// Keep alive in seconds; 0 is none.
    pub keep_alive_secs: u16,
    /// When the last bytes came.
    pub last_received: Time,
    /// How often it may publish.
    pub rate: PublishRate,
    /// How often it may subscribe and unsubscribe, counted in filters.
    pub filter_rate: PublishRate,
    /// The SUBSCRIBE or UNSUBSCRIBE at hand, if it has more filters than a turn could handle.
    pub partial: Option<Box<PartialPacket>>,
    /// PUBACKs and PUBRECs that wait for the store, and those that came up behind them.
    pub unanswered: VecDeque<Unanswered>,
    /// Whether the server does not read what it sends, so that its silence is none.
    pub is_paused: bool,
    /// Whether the CONNACK waits for the store. Nothing is written to the connection until then.
    pub is_unannounced: bool,
    /// SUBSCRIBE packets whose SUBACK waits for other shards.
    pub waiting_subscribes: u16,
    /// The session expiry the CONNECT asked for; 0 may not be raised by DISCONNECT.
    pub connect_expiry_secs: u32,
    /// When what proved its identity ends, and the connection with it.
    pub expires_at: Time,
    /// The authentication method it was opened with; absent without one.
    pub enhanced: Option<Box<Enhanced>>,
}

/// An acknowledgement of a PUBLISH that has yet to go out.
#[derive(Clone, Copy, Debug)]
pub struct Unanswered {
    /// The QoS of the PUBLISH: 1 is answered with PUBACK, 2 with PUBREC.
    pub qos: QoS,
    /// Its packet identifier.
    pub id: PacketId,
    /// The answer.
    pub reason: ReasonCode,
    /// What it waits for; `None` when only for those before it.
    pub number: Option<u64>,
}

/// How far a packet of many filters has been handled. The packet comes again, whole, until all of it is.
#[derive(Debug, Default)]
pub struct PartialPacket {
    /// What is answered, by filter; as many as are done.
    pub reasons: Vec<ReasonCode>,
    /// Retained messages to look for once it is answered.
    pub retained: Vec<RetainedWish>,
    /// What other shards have yet to confirm.
    pub tickets: Vec<u64>,
}

impl Link {
    /// Takes the bytes that the client may still be sent when its connection ends: none before its CONNACK may go out.
    pub fn take_output(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.out);
        if self.is_unannounced {
            bytes.clear();
        }
        bytes
    }

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
