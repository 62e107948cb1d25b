//! `[limits]`: what a client, an address and the whole broker may take.

use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};

use crate::section::section;
use crate::setting::n;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The most that fits into the "remaining length" of a packet [MQTT 5.0, 1.5.5].
const MQTT_PACKET_BYTES_MAX: u64 = 268_435_455;

/// The longest string of MQTT [MQTT 5.0, 1.5.4].
const MQTT_STRING_BYTES_MAX: u64 = 65_535;

/// The client id length every server must accept [MQTT-3.1.3-5].
const MQTT_CLIENT_ID_BYTES_MIN: u64 = 23;

/// More of anything than one process can hold.
const COUNT_MAX: u64 = 100_000_000;

/// More memory than a limit can sensibly allow.
const MEMORY_MAX: u64 = 1024 * GIB;

section! {
    /// What one client, one address and the whole broker may take. Who exceeds a limit pays for it, not the others.
    pub struct Limits = "[limits]" {
        /// The largest packet accepted and sent, header included. Raise it for firmware images or pictures.
        packet_bytes_max: NonZeroU32 = n(MIB) => Kind::Bytes { min: 128, max: MQTT_PACKET_BYTES_MAX }, example "\"4 MiB\"";
        /// The longest topic name or filter.
        topic_bytes_max: NonZeroU16 = n(1024) => Kind::Bytes { min: 1, max: MQTT_STRING_BYTES_MAX }, example "512";
        /// The most levels of a topic name or filter.
        topic_levels_max: NonZeroU16 = n(10) => Kind::Count { min: 1, max: 1000 }, example "16";
        /// The longest client id.
        client_id_bytes_max: NonZeroU16 = n(256) => Kind::Bytes { min: MQTT_CLIENT_ID_BYTES_MIN, max: MQTT_STRING_BYTES_MAX }, example "64";
        /// The most filters in one SUBSCRIBE or UNSUBSCRIBE.
        filters_per_packet_max: NonZeroU16 = n(100) => Kind::Count { min: 1, max: 65_535 }, example "20";
        /// The most user properties in one packet.
        user_properties_max: u16 = n(32) => Kind::Count { min: 0, max: 65_535 }, example "8";
        /// The most unacknowledged messages of QoS 1 and 2 in each direction, the Receive Maximum of MQTT 5.0. Raise it for few fast clients
        /// on a slow network.
        inflight_messages_max: NonZeroU16 = n(20) => Kind::Count { min: 1, max: 65_535 }, example "100";
        /// The most messages queued for one session beyond those in flight. More are dropped and counted.
        queued_messages_max: usize = n(1000) => Kind::Count { min: 0, max: COUNT_MAX }, example "10000";
        /// The most bytes queued for one session.
        queued_bytes_max: usize = n(16 * MIB) => Kind::Bytes { min: 0, max: MEMORY_MAX }, example "\"64 MiB\"";
        /// The most connections at a time. The limit of open files is raised to match.
        connections_max: NonZeroUsize = n(5000) => Kind::Count { min: 1, max: COUNT_MAX }, example "20000";
        /// The share of `connections_max` kept for addresses that have no connection yet, so that one address cannot lock out the others.
        new_address_connections_reserve: usize = n(64) => Kind::Count { min: 0, max: COUNT_MAX }, example "256";
        /// The most connections of one address that have not yet proved who they are. Raise it where many devices come through one NAT.
        unauthenticated_per_address_max: NonZeroUsize = n(64) => Kind::Count { min: 1, max: COUNT_MAX }, example "500";
        /// The most connections of one identity at a time.
        connections_per_identity_max: NonZeroUsize = n(5) => Kind::Count { min: 1, max: COUNT_MAX }, example "1";
        /// The most subscriptions of one session.
        subscriptions_per_session_max: NonZeroUsize = n(100) => Kind::Count { min: 1, max: COUNT_MAX }, example "1000";
        /// The most messages one client publishes per second on average. A faster one is slowed down: the broker stops reading from it.
        publishes_per_sec_max: NonZeroU32 = n(100) => Kind::Count { min: 1, max: COUNT_MAX }, example "1000";
        /// The most messages one client publishes at once before the average counts.
        publish_burst_max: NonZeroU32 = n(1000) => Kind::Count { min: 1, max: COUNT_MAX }, example "5000";
        /// The most filters one client subscribes to and unsubscribes from per second on average, after ten seconds' worth at once. A faster one
        /// is slowed down: the broker stops reading from it.
        filters_per_sec_max: NonZeroU32 = n(100) => Kind::Count { min: 1, max: COUNT_MAX }, example "1000";
        /// The longest keep alive, so that a dead connection is noticed. A client of MQTT 5.0 is told to use it, one of 3.x that asks for more
        /// or none is closed after one and a half times this silence.
        keep_alive_secs_max: NonZeroU16 = n(300) => Kind::Secs { min: 1, max: 65_535 }, example "\"20 m\"";
        /// The time from accept until CONNECT is complete, TLS handshake included.
        connect_timeout_secs: NonZeroU16 = n(10) => Kind::Secs { min: 1, max: 300 }, example "\"30 s\"";
        /// The longest life of a session whose client is absent. 4294967295 is for ever.
        session_expiry_secs_max: u32 = n(7 * 86_400) => Kind::Secs { min: 0, max: u32::MAX as u64 }, example "\"30 d\"";
        /// The most sessions, connected or not.
        sessions_max: NonZeroUsize = n(100_000) => Kind::Count { min: 1, max: COUNT_MAX }, example "1000000";
        /// The most retained messages.
        retained_messages_max: usize = n(100_000) => Kind::Count { min: 0, max: COUNT_MAX }, example "1000000";
        /// The most bytes of all retained messages.
        retained_bytes_max: usize = n(256 * MIB) => Kind::Bytes { min: 0, max: MEMORY_MAX }, example "\"1 GiB\"";
        /// The most retained messages of one identity.
        retained_per_identity_max: usize = n(1000) => Kind::Count { min: 0, max: COUNT_MAX }, example "100";
        /// The most topic aliases of one connection in each direction: those a client may set, and those the broker sets towards
        /// a client that takes some.
        topic_alias_max: u16 = n(10) => Kind::Count { min: 0, max: 65_535 }, example "100";
        /// The most bytes that wait to be sent on one connection. Above it messages of QoS 0 are dropped and others stay queued.
        out_buffer_bytes_max: NonZeroUsize = n(MIB) => Kind::Bytes { min: 4 * KIB, max: GIB }, example "\"256 KiB\"";
        /// The most bytes of input, together, from connections whose CONNECT is not yet accepted.
        preauth_bytes_total_max: NonZeroUsize = n(64 * MIB) => Kind::Bytes { min: 64 * KIB, max: MEMORY_MAX }, example "\"16 MiB\"";
        /// The most messages on their way from one packet thread to another. At the limit the publishers that fill it are slowed down.
        inbox_messages_max: NonZeroUsize = n(65_536) => Kind::Count { min: 64, max: 16_777_216 }, example "16384";
        /// The most passwords checked at the same time; each check takes one core and about 20 MiB for some ten milliseconds.
        password_checks_max: NonZeroUsize = n(2) => Kind::Count { min: 1, max: 64 }, example "4";
        /// The most password checks that wait. Above it a client is told that the server is busy.
        password_checks_queued_max: usize = n(256) => Kind::Count { min: 0, max: 1_000_000 }, example "1000";
        /// The time a stop may take before connections are cut.
        stop_timeout_secs: NonZeroU16 = n(10) => Kind::Secs { min: 1, max: 300 }, example "\"30 s\"";
    }
}

impl Limits {
    /// The limits of `moat start --dev`: as far up as test suites and benchmarks from one address need them.
    pub fn dev() -> Self {
        Self {
            packet_bytes_max: n(MQTT_PACKET_BYTES_MAX),
            topic_bytes_max: n(MQTT_STRING_BYTES_MAX),
            topic_levels_max: n(200),
            client_id_bytes_max: n(MQTT_STRING_BYTES_MAX),
            filters_per_packet_max: n(10_000),
            user_properties_max: n(1000),
            inflight_messages_max: n(1000),
            queued_messages_max: n(1_000_000),
            queued_bytes_max: n(GIB),
            connections_max: n(50_000),
            new_address_connections_reserve: n(0),
            unauthenticated_per_address_max: n(50_000),
            connections_per_identity_max: n(50_000),
            subscriptions_per_session_max: n(100_000),
            publishes_per_sec_max: n(COUNT_MAX),
            publish_burst_max: n(COUNT_MAX),
            filters_per_sec_max: n(COUNT_MAX),
            keep_alive_secs_max: n(65_535),
            session_expiry_secs_max: u32::MAX,
            sessions_max: n(1_000_000),
            retained_messages_max: n(1_000_000),
            retained_bytes_max: n(GIB),
            retained_per_identity_max: n(1_000_000),
            topic_alias_max: n(65_535),
            out_buffer_bytes_max: n(64 * MIB),
            preauth_bytes_total_max: n(GIB),
            ..Self::default()
        }
    }
}
