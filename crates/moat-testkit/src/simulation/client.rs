//! What a client is and remembers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use moat_codec::{QoS, Version};
use moat_core::Time;
use moat_core::durable::QueueId;

use crate::fume::Dice;
use crate::history::{MessageId, Retain};

/// QoS 1 and 2 messages that a client has under way at most; the broker takes 20.
pub(super) const OUT_MAX: usize = 10;

/// A will as a client's plan has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct WillPlan {
    pub(super) delay_secs: u32,
    pub(super) qos: QoS,
    pub(super) retain: bool,
}

/// A message of a client that is not acknowledged to the end.
#[derive(Clone, Debug)]
pub(super) struct Out {
    pub(super) packet_id: u16,
    pub(super) message: MessageId,
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: QoS,
    pub(super) retain: Retain,
    pub(super) expiry_secs: Option<u32>,
    /// Whether PUBREC has come.
    pub(super) is_received: bool,
}

/// Who a client is, and what it remembers.
#[derive(Debug)]
pub(super) struct Client {
    /// What histories call it.
    pub(super) number: u32,
    pub(super) name: String,
    // What it is like.
    pub(super) version: Version,
    /// Whether it begins anew each time.
    pub(super) is_clean: bool,
    /// Seconds its session outlives its connection.
    pub(super) expiry_secs: u32,
    pub(super) keep_alive_secs: u16,
    pub(super) receive_maximum: u16,
    pub(super) will: Option<WillPlan>,
    /// Of a hundred operations, those that are about publishing.
    pub(super) publishes_percent: u64,
    /// Milliseconds it takes to acknowledge, at most.
    pub(super) slowness: u64,
    pub(super) group: Option<&'static str>,
    // Its connection.
    pub(super) wire: Option<u32>,
    /// The last connection on which it said DISCONNECT.
    pub(super) left_wire: Option<u32>,
    pub(super) is_connected: bool,
    /// Whether it has asked to begin anew, and had no answer.
    pub(super) is_clean_start: bool,
    pub(super) connect_by: Time,
    /// The event by which it was told that it is connected, and how many loads there were by then.
    pub(super) connected: (usize, u64),
    pub(super) connected_life: u32,
    pub(super) buffer: Vec<u8>,
    /// What it will send, and when.
    pub(super) acks: VecDeque<(Time, Vec<u8>)>,
    pub(super) answer_at: Time,
    pub(super) ping_at: Time,
    pub(super) stalled_until: Time,
    pub(super) deaf_until: Time,
    // Its session.
    /// Seconds the session at hand outlives its connection.
    pub(super) expiry_now: u32,
    /// Its number in the store, as of the last CONNACK.
    pub(super) queue: Option<QueueId>,
    pub(super) out: VecDeque<Out>,
    /// QoS 2 messages taken and not released.
    pub(super) held: BTreeSet<u16>,
    /// A SUBSCRIBE without answer.
    pub(super) subscribing: Option<(u16, Vec<(String, QoS)>)>,
    /// An UNSUBSCRIBE without answer.
    pub(super) unsubscribing: Option<(u16, String)>,
    /// What it may be subscribed to, with the QoS granted if that is known.
    pub(super) filters: BTreeMap<String, Option<QoS>>,
    /// Since that event, it may only get what these filters match.
    pub(super) left_at: usize,
    /// A will with a delay that may be due.
    pub(super) delayed_will: Option<(MessageId, u32)>,
    /// Wills of sessions that end with their connections, with those, and when the broker heard of the end.
    pub(super) volatile_wills: Vec<(MessageId, u32, Option<Time>)>,
    /// All wills it has sent.
    pub(super) wills: Vec<MessageId>,
    /// The same, of a connection before.
    pub(super) doubtful_will: Option<(MessageId, u32)>,
    /// The will that is withdrawn if the broker finds the session.
    pub(super) spared_will: Option<MessageId>,
    pub(super) last_packet_id: u16,
    pub(super) last_number: u64,
    /// Operations that follow at once.
    pub(super) burst: u64,
}

impl Client {
    /// A client as the dice want it.
    pub(super) fn new(index: usize, dice: &mut Dice) -> Client {
        let version = *dice.pick(&[Version::V5, Version::V5, Version::V311]);
        let is_v5 = version.is_v5();
        // The first two always keep their sessions.
        let is_clean = index > 1 && dice.chance(25);
        let short = [0, 1, 4, 20];
        let expiry_secs = match (is_clean, is_v5) {
            (true, _) => 0,
            (false, true) if index > 1 && dice.chance(35) => *dice.pick(&short),
            (false, true) => 100_000,
            (false, false) => u32::MAX,
        };
        let delay = [0, 0, 1, 3, 10];
        let will = dice.chance(50).then(|| WillPlan {
            delay_secs: if is_v5 { *dice.pick(&delay) } else { 0 },
            qos: qos(1 + dice.below(2)),
            retain: dice.chance(30),
        });
        Client {
            number: u32::try_from(index + 1).unwrap_or(u32::MAX),
            name: format!("client-{}", index + 1),
            version,
            is_clean,
            expiry_secs,
            keep_alive_secs: *dice.pick(&[2, 10, 60]),
            receive_maximum: *dice.pick(&[1, 2, 5, 20]),
            will,
            publishes_percent: *dice.pick(&[15, 50, 85]),
            slowness: *dice.pick(&[0, 5, 100, 1500]),
            group: dice
                .chance(35)
                .then(|| *dice.pick(&["$share/g/s/#", "$share/h/s/+"])),
            wire: None,
            left_wire: None,
            is_connected: false,
            is_clean_start: false,
            connect_by: Time::NEVER,
            connected: (0, 0),
            connected_life: 0,
            buffer: Vec::new(),
            acks: VecDeque::new(),
            answer_at: Time::NEVER,
            ping_at: Time::NEVER,
            stalled_until: Time::ZERO,
            deaf_until: Time::ZERO,
            expiry_now: expiry_secs,
            queue: None,
            out: VecDeque::new(),
            held: BTreeSet::new(),
            subscribing: None,
            unsubscribing: None,
            filters: BTreeMap::new(),
            left_at: 0,
            delayed_will: None,
            volatile_wills: Vec::new(),
            wills: Vec::new(),
            doubtful_will: None,
            spared_will: None,
            last_packet_id: 0,
            last_number: 0,
            burst: 0,
        }
    }

    /// One that reads what is retained at the end.
    pub(super) fn reader(index: usize, dice: &mut Dice) -> Client {
        Client {
            version: Version::V5,
            is_clean: true,
            expiry_secs: 0,
            will: None,
            receive_maximum: 20,
            slowness: 0,
            group: None,
            ..Client::new(index, dice)
        }
    }

    /// A number for its next message.
    pub(super) fn next_message(&mut self) -> MessageId {
        self.last_number += 1;
        MessageId {
            publisher: self.number,
            number: self.last_number,
        }
    }

    /// A packet identifier that is free.
    pub(super) fn next_packet_id(&mut self) -> u16 {
        loop {
            self.last_packet_id = self.last_packet_id % 60 + 1;
            let id = self.last_packet_id;
            let is_used = self.out.iter().any(|out| out.packet_id == id)
                || self
                    .subscribing
                    .as_ref()
                    .is_some_and(|(used, _)| *used == id)
                || self
                    .unsubscribing
                    .as_ref()
                    .is_some_and(|(used, _)| *used == id);
            if !is_used {
                return id;
            }
        }
    }

    /// Whether it owes or is owed something.
    pub(super) fn is_busy(&self) -> bool {
        !self.is_connected
            || !self.out.is_empty()
            || !self.acks.is_empty()
            || !self.held.is_empty()
            || self.subscribing.is_some()
            || self.unsubscribing.is_some()
    }
}

/// A QoS, by its number.
pub(super) fn qos(number: u64) -> QoS {
    match number {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}
