//! What the fuzz target `session` asserts, and what replays its corpus: any bytes of two clients, in
//! any pieces, with time passing and connections lost, keep every bound and never panic.

use core::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use moat_codec::{Connect, Framed, Packet, Version, frame};
use moat_policy::{Identity, Snapshot};

use crate::session::{Opening, SessionIndex};
use crate::shard::{Arrival, SEARCH_MESSAGES_MAX, SEARCHES_UNDER_WAY_MAX, Then, Topology};
use crate::{ConnId, Effects, Limits, Shard, ShardId, Time};

/// Operations an input may ask for; a larger byte stands for its remainder.
pub const OPERATIONS: u8 = 10;
const CHUNK: u8 = 1;

/// What the input's clients take at once.
const RECEIVE_MAXIMUM: u16 = 3;
/// The largest packet they take, in bytes.
const MAXIMUM_PACKET_SIZE: u32 = 150;

/// Bytes a PUBLISH may grow on its way from 3.1.1 to 5.0, identifiers of subscriptions included.
const GROWTH_BYTES_MAX: usize = 100;
/// Bytes an answer has besides its reason codes, at most.
const ANSWER_BYTES_MAX: usize = 16;

const TOPICS: [&str; 4] = ["a", "a/b", "$a/b", ""];
const FILTERS: [&str; 8] = [
    "a",
    "a/+",
    "#",
    "a/b",
    "$a/#",
    "+/b",
    "$share/g/a/+",
    "$share/h/#",
];

/// The operation that sends `bytes`, at most 255, by the client of `version`.
#[must_use]
pub fn chunk(version: Version, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    let which = u8::from(!version.is_v5());
    let mut input = vec![CHUNK, which, length];
    input.extend_from_slice(&bytes[..usize::from(length)]);
    input
}

/// Runs what `input` asks for and checks every bound after every step.
///
/// # Panics
/// When a bound does not hold.
pub fn session(input: &[u8]) {
    let mut world = World::new();
    let mut input = Input(input);
    while let Some(operation) = input.byte() {
        world.step(operation, &mut input);
        world.check();
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

struct Client {
    version: Version,
    /// Set while it is connected.
    at: Option<SessionIndex>,
    conn: ConnId,
    /// Bytes it has sent that are not used up.
    unused: Vec<u8>,
}

struct World {
    shard: Shard,
    fx: Effects,
    now: Time,
    clients: [Client; 2],
}

fn limits() -> Limits {
    Limits {
        packet: moat_codec::Limits {
            packet_bytes_max: 200,
            filters_per_packet_max: 10,
            ..moat_codec::Limits::default()
        },
        inflight_messages_max: 5,
        queued_messages_max: 6,
        queued_bytes_max: 600,
        subscriptions_per_session_max: 4,
        publishes_per_sec_max: 20,
        publish_burst_max: 40,
        session_expiry_secs_max: 100,
        sessions_max: 2,
        retained_messages_max: 3,
        retained_bytes_max: 4000,
        retained_per_identity_max: 2,
        out_buffer_bytes_max: 500,
        packets_per_turn_max: 16,
        ..Limits::default()
    }
}

impl World {
    fn new() -> World {
        let shard = Shard::new(
            ShardId::new(0),
            Topology::new(1),
            limits(),
            Arc::new(Snapshot::allow_all()),
        );
        let client = |slot, version| Client {
            version,
            at: None,
            conn: ConnId {
                slot,
                generation: 0,
            },
            unused: Vec::new(),
        };
        World {
            shard,
            fx: Effects::new(1),
            now: Time::from_millis(1),
            clients: [client(0, Version::V5), client(1, Version::V311)],
        }
    }

    fn step(&mut self, operation: u8, input: &mut Input<'_>) {
        let Some(choice) = input.byte() else { return };
        let which = usize::from(choice & 1);
        match operation % OPERATIONS {
            0 => self.pass(u64::from(choice) * u64::from(choice)),
            CHUNK => {
                let length = input.byte().unwrap_or(0);
                self.send(which, input.bytes(usize::from(length)));
            }
            2 => self.flush(which),
            3 => self.lose(which),
            4 => self.connect(which, choice),
            5 => self.acknowledge(which, choice, input.byte().unwrap_or(0)),
            6 => self.publish(which, choice, input.byte().unwrap_or(0)),
            7 => self.subscribe(which, choice, input.byte().unwrap_or(0)),
            8 => self.send(which, &[]),
            _ => self.set_policy(choice),
        }
        self.carry_out();
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
        self.shard.tick(self.now, &mut self.fx);
    }

    fn connect(&mut self, which: usize, choice: u8) {
        let (name, client) = (["a", "b"][which], &mut self.clients[which]);
        client.conn.generation += 1;
        client.unused.clear();
        let mut connect = Connect::new(client.version, name);
        connect.clean_start = choice & 2 != 0;
        connect.properties.session_expiry_secs = Some(u32::from(choice >> 4));
        connect.properties.receive_maximum = NonZeroU16::new(RECEIVE_MAXIMUM);
        connect.properties.topic_alias_maximum = u16::from(choice >> 6);
        connect.properties.maximum_packet_size = NonZeroU32::new(MAXIMUM_PACKET_SIZE);
        let Ok(opening) = Opening::of_packet(&connect, |_| false, || "".into()) else {
            return;
        };
        let arrival = Arrival {
            conn: client.conn,
            address: SocketAddr::from(([127, 0, 0, 1], 1)).into(),
            listener: "fuzz".into(),
            tls: None,
            opening,
            identity: Arc::new(Identity::anonymous()),
            expires_at: Time::NEVER,
        };
        let at = self.shard.connect(arrival, self.now, &mut self.fx);
        self.carry_out();
        self.clients[which].at = at.ok();
    }

    fn send(&mut self, which: usize, bytes: &[u8]) {
        if self.clients[which].at.is_none() {
            self.connect(which, 0x30);
        }
        let client = &mut self.clients[which];
        let Some(at) = client.at else { return };
        // A driver does not read a paused connection for ever either.
        if client.unused.len() < 4096 {
            client.unused.extend_from_slice(bytes);
        }
        let received = self
            .shard
            .receive(at, &client.unused, self.now, &mut self.fx);
        client.unused.drain(..received.consumed);
        if let Then::NeedMore(need) = received.then {
            assert!(need > client.unused.len(), "it has what it asks for");
        }
        assert_eq!(
            received.then == Then::Closed,
            !self.fx.closed.is_empty(),
            "a close is told twice: as the outcome and as an effect"
        );
    }

    fn lose(&mut self, which: usize) {
        if let Some(at) = self.clients[which].at.take() {
            self.shard
                .connection_lost(at, "lost", self.now, &mut self.fx);
        }
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP of a small identifier.
    fn acknowledge(&mut self, which: usize, choice: u8, id: u8) {
        let first = [0x40, 0x50, 0x62, 0x70][usize::from(choice >> 1 & 3)];
        self.send(which, &[first, 2, 0, id % 16]);
    }

    fn publish(&mut self, which: usize, choice: u8, id: u8) {
        let (qos, retain) = (choice >> 1 & 3, choice >> 3 & 1);
        let topic = TOPICS[usize::from(choice >> 4 & 3)];
        let mut body = vec![0, u8::try_from(topic.len()).unwrap_or(0)];
        body.extend_from_slice(topic.as_bytes());
        if qos > 0 {
            body.extend_from_slice(&[0, id % 16]);
        }
        if self.clients[which].version.is_v5() {
            // Every second one has an alias.
            match id & 1 {
                0 => body.push(0),
                _ => body.extend_from_slice(&[3, 0x23, 0, id % 4]),
            }
        }
        body.resize(body.len() + usize::from(id), choice);
        body.truncate(120);
        self.packet(which, 0x30 | qos << 1 | retain, &body);
    }

    fn subscribe(&mut self, which: usize, choice: u8, other: u8) {
        let filter = FILTERS[usize::from(other) % FILTERS.len()];
        let mut body = vec![0, 1 + (other & 7)];
        if self.clients[which].version.is_v5() {
            body.push(0);
        }
        body.extend_from_slice(&[0, u8::try_from(filter.len()).unwrap_or(0)]);
        body.extend_from_slice(filter.as_bytes());
        if choice & 0x80 == 0 {
            body.push(choice >> 1 & 3);
            self.packet(which, 0x82, &body);
        } else {
            self.packet(which, 0xA2, &body);
        }
    }

    fn packet(&mut self, which: usize, first: u8, body: &[u8]) {
        let mut bytes = vec![first, u8::try_from(body.len()).unwrap_or(0)];
        bytes.extend_from_slice(body);
        self.send(which, &bytes);
    }

    fn set_policy(&mut self, choice: u8) {
        let policy = if choice & 2 == 0 {
            Snapshot::built_in()
        } else {
            Snapshot::allow_all()
        };
        self.shard
            .set_policy(Arc::new(policy), self.now, &mut self.fx);
    }

    /// One write: everything in the out-buffer arrives, and has to be packets of a server.
    fn flush(&mut self, which: usize) {
        let client = &self.clients[which];
        let Some(at) = client.at else { return };
        let Some(link) = self.shard.link(at) else {
            return;
        };
        let out = std::mem::take(&mut link.out);
        check_packets(&out, client.version);
        self.shard.pool().give(out);
        self.shard.flushed(at, self.now, &mut self.fx);
    }

    fn carry_out(&mut self) {
        self.fx.dirty.clear();
        self.fx.events.clear();
        for close in self.fx.closed.drain(..) {
            let client = &mut self.clients[close.conn.slot as usize];
            check_packets(&close.bytes, client.version);
            if close.conn == client.conn {
                client.at = None;
                client.unused.clear();
            }
        }
    }

    fn check(&mut self) {
        let limits = limits();
        let sizes = self.shard.sizes();
        assert!(sizes.sessions <= limits.sessions_max);
        assert!(sizes.retained_messages <= limits.retained_messages_max);
        assert!(sizes.subscriptions <= limits.sessions_max * limits.subscriptions_per_session_max);
        for client in &self.clients {
            let Some(at) = client.at else { continue };
            let session = self.shard.session(at);
            let session =
                session.filter(|s| s.link.as_ref().is_some_and(|l| l.conn == client.conn));
            assert!(session.is_some(), "an open connection has its session");
            let Some(session) = session else { continue };
            check_session(session, client.version, &limits);
        }
        let next = self.shard.next_timeout();
        assert!(next.is_none_or(|next| next > Time::ZERO));
    }
}

fn check_session(session: &crate::session::Session, version: Version, limits: &Limits) {
    assert!(session.subscriptions.len() <= limits.subscriptions_per_session_max);
    if version.is_v5() {
        assert!(session.inbound.len() <= usize::from(limits.inflight_messages_max));
    }
    let Some(link) = &session.link else { return };
    assert!(
        link.out.len() <= out_bytes_bound(limits),
        "out-buffer of {} bytes",
        link.out.len()
    );
    assert!(link.send_quota <= link.receive_maximum);
    let Some(outbound) = &session.outbound else {
        return;
    };
    // A window of an earlier connection may be larger; here all connections are alike, but for
    // 3.1.1, which has no Receive Maximum.
    assert!(outbound.inflight.len() <= usize::from(limits.inflight_messages_max));
    assert!(outbound.queued() <= limits.queued_messages_max);
    assert!(outbound.queued_bytes() <= limits.queued_bytes_max);
    let under_way_max = usize::from(SEARCHES_UNDER_WAY_MAX);
    assert!(outbound.retained.len() <= under_way_max * SEARCH_MESSAGES_MAX);
    assert!(usize::from(outbound.searching) <= under_way_max);
    assert!(outbound.resent <= outbound.inflight.span());
    // Whoever has room for more gets it at once.
    let idle = link.out.is_empty() && link.send_quota > 0;
    let room = outbound
        .inflight
        .has_room(outbound.inflight.next_ordinal(), link.receive_maximum);
    assert!(
        !(idle && room) || outbound.is_drained(),
        "something waits and nothing will send it"
    );
}

/// What an out-buffer holds at most: what is allowed when a turn begins, and one turn's answers.
fn out_bytes_bound(limits: &Limits) -> usize {
    let answer = usize::from(limits.packet.filters_per_packet_max) + ANSWER_BYTES_MAX;
    let turn = answer * limits.packets_per_turn_max as usize;
    limits.unsent_bytes_max() + GROWTH_BYTES_MAX + turn
}

/// What a client got: whole packets that only a server sends, none larger than the client takes.
fn check_packets(mut bytes: &[u8], version: Version) {
    let limits = moat_codec::Limits::generous();
    while !bytes.is_empty() {
        let framed = frame(bytes, &limits);
        assert!(matches!(framed, Ok(Framed::Complete { .. })), "{framed:?}");
        let Ok(Framed::Complete { total, .. }) = framed else {
            return;
        };
        let packet = Packet::decode(&bytes[..total], version, &limits);
        assert!(packet.is_ok(), "{packet:?}");
        if version.is_v5() {
            assert!(total <= MAXIMUM_PACKET_SIZE as usize);
        }
        bytes = &bytes[total..];
    }
}
