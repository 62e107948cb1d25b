//! What a session is owed, sent as far as its client can take it: what was under way on the last connection again, then what waits.

use std::sync::Arc;

use moat_codec::{Ack, PacketId, PacketType, QoS};

use super::durable::Durable;
use super::entry::Entry;
use super::inflight::Pending;
use super::outbound::FETCHED_MESSAGES;
use super::parcel::Parcel;
use super::{Delivered, Link, Outbound, Session, Wish};
use crate::buffer_pool::BufferPool;
use crate::limits::Limits;
use crate::message::{FrameCache, Outgoing, Receiver};
use crate::{Message, Time};

/// Messages that are sent before others have their turn.
pub const PUMPED_MESSAGES_MAX: u64 = 256;

/// What one [`Session::pump`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pumped {
    /// Messages written.
    pub sent: u64,
    /// Bytes of their payloads.
    pub sent_payload_bytes: u64,
    /// Messages the client can never take.
    pub dropped: u64,
    /// Messages whose time had passed.
    pub expired: u64,
    /// Whether the next message is in the store only.
    pub wants_load: bool,
    /// Whether a durable entry is done with.
    pub is_unsaved: bool,
}

impl Session {
    /// Sends what waits, at most `messages_max`, as far as window and out-buffer allow. Returns the numbers sent and dropped.
    pub fn pump(
        &mut self,
        messages_max: u64,
        frames: &mut FrameCache,
        limits: &Limits,
        pool: &mut BufferPool,
        now: Time,
    ) -> Pumped {
        let (Some(link), Some(outbound)) = (self.link.as_deref_mut(), self.outbound.as_deref_mut())
        else {
            return Pumped::default();
        };
        let mut pump = Pump {
            link,
            outbound,
            durable: self.durable.as_deref_mut(),
            frames,
            pool,
            now,
            pumped: Pumped::default(),
        };
        let mut steps = 0_usize;
        // What has expired or is too large costs a client nothing but its place in the queue, and
        // leaves no bytes whose flush would bring the next turn.
        while pump.pumped.sent < messages_max && pump.link.out.len() < limits.out_buffer_bytes_max {
            if steps.is_multiple_of(FETCHED_MESSAGES) {
                pump.outbound.fetch_next();
            }
            steps += 1;
            if !pump.one() {
                break;
            }
        }
        pump.pumped
    }
}

/// The parts of a session and of its shard that sending takes, borrowed apart.
struct Pump<'a> {
    link: &'a mut Link,
    outbound: &'a mut Outbound,
    durable: Option<&'a mut Durable>,
    frames: &'a mut FrameCache,
    pool: &'a mut BufferPool,
    now: Time,
    pumped: Pumped,
}

impl Pump<'_> {
    /// Sends the next thing owed. Returns whether there may be more to send.
    fn one(&mut self) -> bool {
        if let Some(entry) = self.outbound.inflight.at(self.outbound.resent) {
            let entry = entry.map(|(id, pending)| (id, pending.clone()));
            return self.resend(entry);
        }
        let Some(next) = self.outbound.peek() else {
            return false;
        };
        if next.entry.is_some_and(|entry| !entry.is_committed()) {
            return false;
        }
        // A client that has had a message of QoS 2 before a crash holds its identifier until it is told to let go.
        let may_be_held = next.dup && next.qos == QoS::ExactlyOnce;
        if next.is_expired(self.now) && !may_be_held {
            self.pumped.expired += 1;
            let gone = self.outbound.pop();
            self.done(gone.and_then(|parcel| parcel.entry));
            return true;
        }
        let is_acknowledged = next.qos != QoS::AtMostOnce;
        let ordinal = match (next.entry, self.durable.as_deref()) {
            (Some(entry), Some(durable)) => durable.ordinal(entry.place()),
            _ => self.outbound.inflight.next_ordinal(),
        };
        let window = &self.outbound.inflight;
        let has_room = window.has_room(ordinal, self.link.receive_maximum);
        if is_acknowledged && (self.link.send_quota == 0 || !has_room) {
            return false;
        }
        if next.content.held().is_none() {
            self.pumped.wants_load = true;
            return false;
        }
        let Some(parcel) = self.outbound.pop() else {
            return false;
        };
        self.send(parcel, is_acknowledged.then_some(ordinal))
    }

    /// Sends a message for the first time on this connection, under the identifier of `ordinal` unless it is of QoS 0.
    fn send(&mut self, parcel: Parcel, ordinal: Option<u64>) -> bool {
        let Some(message) = parcel.content.held() else {
            return false;
        };
        let mut outgoing = Outgoing::of_message(message, self.frames, self.now).for_one();
        let is_sent = match ordinal {
            Some(ordinal) => {
                let link = &mut self.link;
                link.write_acknowledged(&mut outgoing, &parcel, ordinal, self.pool)
            }
            None => {
                let wish = Wish {
                    qos: parcel.qos,
                    retain: parcel.retain,
                    ids: parcel.ids(),
                    share: None,
                    lent: None,
                };
                let link = &mut self.link;
                link.send_unacknowledged(&mut outgoing, wish, self.pool) == Delivered::Sent
            }
        };
        if let (Some(durable), Some(ordinal)) = (self.durable.as_deref_mut(), ordinal) {
            // After a crash, it stands behind all that may have been sent before.
            durable.sent_below = durable.sent_below.max(ordinal + 1);
        }
        if !is_sent {
            self.pumped.dropped += 1;
            self.done(parcel.entry);
            return true;
        }
        self.sent(message);
        if let Some(ordinal) = ordinal {
            self.link.keep_sent(parcel, ordinal, self.outbound);
        }
        true
    }

    /// Sends one entry of the window again [MQTT-4.4.0-1], with DUP set [MQTT-3.3.1-1].
    fn resend(&mut self, entry: Option<(PacketId, Pending)>) -> bool {
        match entry {
            None => {}
            // Each flow under way counts against Receive Maximum until its last packet, whichever
            // connection it began on [MQTT-3.3.4-9].
            Some(_) if self.link.send_quota == 0 => return false,
            Some((id, Pending::Completion)) => {
                self.link.send_quota -= 1;
                let version = self.link.version;
                let out = self.link.buffer(self.pool);
                // Four bytes always fit: a PUBREL has no length that could fail.
                let _written = Ack::new(id).encode(PacketType::PubRel, version, out);
            }
            Some((id, Pending::Acknowledgement(parcel))) => {
                let Some(message) = parcel.content.held() else {
                    self.pumped.wants_load = true;
                    return false;
                };
                if !self.write_again(id, &parcel, message) {
                    // The client takes smaller packets now than when this was sent: it counts as
                    // sent and acknowledged [MQTT-3.1.2-25]. The window moves on by itself.
                    self.pumped.dropped += 1;
                    self.outbound.finish(id);
                    self.done(parcel.entry);
                    return true;
                }
                self.link.send_quota -= 1;
                self.sent(message);
            }
        }
        self.outbound.resent += 1;
        true
    }

    /// With its whole topic: what was sent before may have been lost with its alias.
    fn write_again(&mut self, id: PacketId, parcel: &Parcel, message: &Arc<Message>) -> bool {
        let to = Receiver {
            version: self.link.version,
            qos: parcel.qos,
            dup: true,
            retain: parcel.retain,
            packet_id: Some(id),
            subscription_ids: parcel.ids(),
            topic_alias: None,
        };
        let size_max = self.link.maximum_packet_size;
        let mut outgoing = Outgoing::of_message(message, self.frames, self.now).for_one();
        outgoing.write(&to, size_max, self.link.buffer(self.pool))
    }

    fn sent(&mut self, message: &Message) {
        self.pumped.sent += 1;
        self.pumped.sent_payload_bytes += message.payload().len() as u64;
    }

    /// The client has the message of an entry, or will not have it.
    fn done(&mut self, entry: Option<Entry>) {
        if let (Some(entry), Some(durable)) = (entry, self.durable.as_deref_mut()) {
            durable.done(entry.position());
            self.pumped.is_unsaved = true;
        }
    }
}
