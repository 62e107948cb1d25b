//! The most memory a broker may have, computed from its limits. `docs/limits.md` derives each line; both change together.

use moat_broker::connection::{PREAUTH_INPUT_BYTES_MAX, READ_BYTES_MAX};
use moat_config::Limits;
use moat_core::buffer_pool::POOLED_BYTES_MAX;
use moat_core::limits::UNSENT_ANSWER_BYTES_MAX;
use moat_core::message::{SPARE_MESSAGE_BYTES_MAX, SPARE_MESSAGES_MAX};
use moat_core::session::inflight::WINDOW_SPAN_FACTOR;
use moat_core::shard::{
    SEARCH_MESSAGES_MAX, SEARCHES_SPARE, SEARCHES_UNDER_WAY_MAX, WAITING_SUBSCRIBES_MAX,
};
use moat_events::EVENT_QUEUE_BYTES_MAX;
use moat_policy::{REMEMBERED_TOPIC_BYTES_MAX, REMEMBERED_TOPICS_MAX};

/// A connection without what it has sent: its own record, the socket's registration, a timer.
const CONNECTION_BYTES: u64 = 3 << 10;
/// TLS of one connection at its most, during the handshake, without the input that is counted before authentication.
const TLS_BYTES: u64 = 48 << 10;
/// Input of a TLS connection that is not decrypted yet.
const TLS_UNDRAINED_BYTES: u64 = 256 << 10;
/// A session without anything it holds: its record, its link, its place in tables, its timers.
const SESSION_BYTES: u64 = 4 << 10;
/// A message besides its bytes: its record, its place in a queue, what the allocator adds.
const MESSAGE_BYTES: u64 = 256;
/// One level of a filter in the routing of one shard.
const FILTER_LEVEL_BYTES: u64 = 256;
/// The identifiers of QoS 2 messages that a 3.x client has begun: 65,534 of two bytes, in a buffer that doubles.
const INBOUND_IDS_BYTES: u64 = 4 * 65_536;
/// A buffer that grows doubles.
const GROWTH: u64 = 2;
/// What the allocator holds besides: for each hundred bytes so many are counted.
const ALLOCATOR_PERCENT: u64 = 125;

/// The terms of the ceiling, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// What the process has before the first client came.
    pub base: u64,
    /// Per thread and for the log.
    pub fixed: u64,
    /// All connections, authenticated or not, without what sessions hold.
    pub connections: u64,
    /// What all strangers have sent.
    pub strangers: u64,
    /// All sessions with their connections.
    pub sessions: u64,
    /// All retained messages.
    pub retained: u64,
    /// Messages between shards.
    pub between_shards: u64,
}

impl Ceiling {
    /// All of them, with what the allocator adds.
    #[must_use]
    pub fn total(&self) -> u64 {
        let held = self.fixed
            + self.connections
            + self.strangers
            + self.sessions
            + self.retained
            + self.between_shards;
        self.base + held * ALLOCATOR_PERCENT / 100
    }
}

/// What the ceiling depends on besides the limits.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// Packet threads.
    pub shards: usize,
    /// Whether there is a listener with TLS.
    pub has_tls: bool,
    /// Bytes the process had before the first client.
    pub base: u64,
    /// The most of one packet that anybody sends, if that is less than a packet may have: memory follows what was received.
    pub packet_bytes_sent_max: Option<u32>,
}

/// The ceiling of a broker with `limits`.
///
/// Passwords are not in it: each check that runs has 20 MiB more, each that waits 128 KiB.
#[must_use]
pub fn ceiling(limits: &Limits, scope: &Scope) -> Ceiling {
    let limits = Numbers::of(limits, scope);
    let connected = limits.connections.min(limits.sessions);
    let strangers = limits.connections;
    Ceiling {
        base: scope.base,
        fixed: (limits.shards + limits.greeters)
            * (POOLED_BYTES_MAX as u64 + 4 * READ_BYTES_MAX as u64)
            + limits.shards * spare_messages()
            + EVENT_QUEUE_BYTES_MAX as u64,
        connections: limits.connections * CONNECTION_BYTES
            + limits.tls_connections * TLS_BYTES
            + limits.tls_connections.min(connected) * TLS_UNDRAINED_BYTES,
        strangers: (limits.preauth + READ_BYTES_MAX as u64)
            .min(strangers * PREAUTH_INPUT_BYTES_MAX as u64 * GROWTH * 2),
        sessions: limits.sessions * limits.session() + connected * limits.connected(),
        retained: limits.retained,
        between_shards: limits.shards
            * limits.shards
            * 2
            * limits.inbox
            * (limits.packet + MESSAGE_BYTES),
    }
}

/// What a shard keeps of messages for the next ones.
fn spare_messages() -> u64 {
    SPARE_MESSAGES_MAX as u64 * (SPARE_MESSAGE_BYTES_MAX as u64 + MESSAGE_BYTES)
}

/// The limits as bytes and counts of one type.
struct Numbers {
    shards: u64,
    greeters: u64,
    connections: u64,
    tls_connections: u64,
    sessions: u64,
    packet: u64,
    topic: u64,
    levels: u64,
    filters: u64,
    inflight: u64,
    queue: u64,
    subscriptions: u64,
    aliases: u64,
    out: u64,
    preauth: u64,
    retained: u64,
    inbox: u64,
}

impl Numbers {
    fn of(limits: &Limits, scope: &Scope) -> Self {
        let shards = scope.shards;
        let announced = u64::from(limits.packet_bytes_max.get());
        let connections = limits.connections_max.get() as u64;
        let per_shard = |total: usize| total.div_ceil(shards) as u64 * shards as u64;
        Numbers {
            shards: shards as u64,
            greeters: if scope.has_tls { shards as u64 } else { 0 },
            connections,
            tls_connections: if scope.has_tls { connections } else { 0 },
            sessions: per_shard(limits.sessions_max.get()),
            packet: scope
                .packet_bytes_sent_max
                .map_or(announced, |sent| announced.min(sent.into())),
            topic: limits.topic_bytes_max.get().into(),
            levels: limits.topic_levels_max.get().into(),
            filters: limits.filters_per_packet_max.get().into(),
            inflight: limits.inflight_messages_max.get().into(),
            queue: limits.queued_bytes_max as u64
                + limits.queued_messages_max as u64 * MESSAGE_BYTES,
            subscriptions: limits.subscriptions_per_session_max.get() as u64,
            aliases: limits.topic_alias_max.into(),
            out: limits.out_buffer_bytes_max.get() as u64,
            preauth: limits.preauth_bytes_total_max.get() as u64,
            retained: per_shard(limits.retained_bytes_max),
            inbox: limits.inbox_messages_max.get() as u64,
        }
    }

    /// What a session holds, connected or not.
    fn session(&self) -> u64 {
        let inflight = self.inflight * (self.packet + MESSAGE_BYTES)
            + self.inflight * WINDOW_SPAN_FACTOR as u64 * GROWTH * 48;
        let owed_messages =
            (SEARCHES_UNDER_WAY_MAX as usize + 1) as u64 * SEARCH_MESSAGES_MAX as u64;
        let retained_owed = owed_messages * (self.packet + MESSAGE_BYTES);
        let searches = (2 * self.subscriptions * self.shards + SEARCHES_SPARE as u64)
            * (self.topic + MESSAGE_BYTES);
        let will = self.packet;
        SESSION_BYTES
            // Its own, and what waits in its groups of shared subscriptions.
            + 2 * self.queue
            + inflight
            + retained_owed
            + searches
            + will
            + INBOUND_IDS_BYTES
            + self.routing()
    }

    /// A session's filters: once in the session, in its shard's routing and its list of announced ones, and in the routing of
    /// every other shard.
    fn routing(&self) -> u64 {
        let filter = (2 + self.shards) * (self.topic + MESSAGE_BYTES)
            + self.shards * self.levels * FILTER_LEVEL_BYTES;
        self.subscriptions * filter
    }

    /// What a session holds for its connection.
    fn connected(&self) -> u64 {
        let read = READ_BYTES_MAX as u64;
        let input = GROWTH * (self.packet + read);
        let unsent = self.out + self.packet + 2 * UNSENT_ANSWER_BYTES_MAX as u64;
        // Once as packets, once on the wire.
        let output = 2 * GROWTH * unsent;
        let aliases = self.aliases * (self.topic + MESSAGE_BYTES);
        let remembered = REMEMBERED_TOPICS_MAX as u64
            * (GROWTH * REMEMBERED_TOPIC_BYTES_MAX as u64 + MESSAGE_BYTES);
        let waiting = (u64::from(WAITING_SUBSCRIBES_MAX) + 1) * (self.packet + self.filters * 64);
        input + output + aliases + remembered + waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_that_costs_memory_moves_the_ceiling() {
        let base = Limits::default();
        let scope = Scope {
            shards: 2,
            has_tls: true,
            base: 0,
            packet_bytes_sent_max: None,
        };
        let of = |limits: &Limits| ceiling(limits, &scope).total();
        let whole = of(&base);
        let n = |n| std::num::NonZeroUsize::new(n).unwrap();
        let mut larger = vec![base.clone(); 6];
        larger[0].connections_max = n(6000);
        larger[1].sessions_max = n(200_000);
        larger[2].queued_bytes_max *= 2;
        larger[3].retained_bytes_max *= 2;
        larger[4].preauth_bytes_total_max = n(128 << 20);
        larger[5].packet_bytes_max = std::num::NonZeroU32::new(2 << 20).unwrap();
        for limits in &larger {
            assert!(of(limits) > whole, "{limits:?}");
        }
    }
}
