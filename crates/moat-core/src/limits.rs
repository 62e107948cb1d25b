//! The limits of one shard, as plain numbers. The configuration's names are the same.

use crate::time::Time;

/// Every limit that sessions and the router keep. See the configuration reference for defaults.
#[derive(Clone, Debug)]
pub struct Limits {
    /// What a packet may hold.
    pub packet: moat_codec::Limits,
    /// QoS 1 and 2 messages under way at once, in each direction (Receive Maximum).
    pub inflight_messages_max: u16,
    /// Messages waiting for one session.
    pub queued_messages_max: usize,
    /// Bytes of the messages waiting for one session.
    pub queued_bytes_max: usize,
    /// Which message goes when that is full.
    pub queue_full: QueueFull,
    /// How long a message waits for a session, in seconds; 0 for as long as the session lives.
    pub queued_message_age_secs_max: u64,
    /// Bytes of messages in the store that are kept in memory as well, the latest ones.
    pub log_memory_bytes_max: usize,
    /// Subscriptions of one session.
    pub subscriptions_per_session_max: usize,
    /// Publishes per second of one connection, 0 for no limit.
    pub publishes_per_sec_max: u32,
    /// Publishes a connection may send in one burst.
    pub publish_burst_max: u32,
    /// Filters per second that one connection subscribes to and unsubscribes from, 0 for no limit.
    pub filters_per_sec_max: u32,
    /// Longest keep alive, in seconds.
    pub keep_alive_secs_max: u16,
    /// Longest session expiry interval, in seconds.
    pub session_expiry_secs_max: u32,
    /// Sessions of this shard, online and offline.
    pub sessions_max: usize,
    /// Retained messages owned by this shard.
    pub retained_messages_max: usize,
    /// Bytes of the retained messages owned by this shard.
    pub retained_bytes_max: usize,
    /// Retained messages of one identity owned by this shard.
    pub retained_per_identity_max: usize,
    /// Topic aliases of one connection in each direction.
    pub topic_alias_max: u16,
    /// Unsent bytes of one connection after which QoS 0 is dropped and QoS 1 and 2 wait.
    pub out_buffer_bytes_max: usize,
    /// Packets handled for one connection before the next one has its turn.
    pub packets_per_turn_max: u32,
    /// Messages waiting for one other shard after which their publishers pause.
    pub peer_outbox_messages_max: usize,
}

/// Which message a full queue gives up. Those of QoS 0 go first in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum QueueFull {
    /// The one that has just come.
    #[default]
    DropNewest,
    /// The oldest one that is not under way.
    DropOldest,
}

/// Bytes of answers that may wait for a client besides its messages.
pub const UNSENT_ANSWER_BYTES_MAX: usize = 64 << 10;

/// Seconds of [`Limits::filters_per_sec_max`] that a connection may use at once: a client subscribes when it connects.
pub const FILTER_BURST_SECS: u32 = 10;

impl Limits {
    /// When a message that comes `now` has waited too long.
    #[must_use]
    pub fn waits_until(&self, now: Time) -> Time {
        match self.queued_message_age_secs_max {
            0 => Time::NEVER,
            secs => now.plus_secs(secs),
        }
    }

    /// Filters that a connection may take and leave in one burst.
    #[must_use]
    pub fn filter_burst_max(&self) -> u32 {
        self.filters_per_sec_max.saturating_mul(FILTER_BURST_SECS)
    }

    /// Unsent bytes of one connection from which on nothing more is read from it: its messages stop
    /// at `out_buffer_bytes_max`, one of them crosses that mark, and the rest are answers.
    #[must_use]
    pub fn unsent_bytes_max(&self) -> usize {
        self.out_buffer_bytes_max + self.packet.packet_bytes_max as usize + UNSENT_ANSWER_BYTES_MAX
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            packet: moat_codec::Limits::default(),
            inflight_messages_max: 20,
            queued_messages_max: 1000,
            queued_bytes_max: 16 << 20,
            queue_full: QueueFull::DropNewest,
            queued_message_age_secs_max: 0,
            log_memory_bytes_max: 64 << 20,
            subscriptions_per_session_max: 100,
            publishes_per_sec_max: 100,
            publish_burst_max: 1000,
            filters_per_sec_max: 100,
            keep_alive_secs_max: 300,
            session_expiry_secs_max: 7 * 24 * 3600,
            sessions_max: 100_000,
            retained_messages_max: 100_000,
            retained_bytes_max: 256 << 20,
            retained_per_identity_max: 1000,
            topic_alias_max: 10,
            out_buffer_bytes_max: 1 << 20,
            packets_per_turn_max: 1024,
            peer_outbox_messages_max: 65_536,
        }
    }
}
