//! Bytes of a connected client, packet by packet.

use std::borrow::Cow;

use moat_codec::{
    DecodeError, Disconnect, Framed, Incoming, Packet, PacketType, ReasonCode, frame,
};
use moat_events::{Event, PeerAddress};

use super::Shard;
use super::answer::goodbye;
use crate::effects::{Close, Effects};
use crate::session::SessionIndex;
use crate::time::Time;

/// Milliseconds a connection is not read that leaves [`Limits::unsent_bytes_max`] bytes unread.
///
/// [`Limits::unsent_bytes_max`]: crate::Limits::unsent_bytes_max
const UNREAD_PAUSE_MILLIS: u64 = 100;

/// What handling a packet costs at least, in the units of [`Shard::work_total`]. What it costs beyond that is added where it arises: per node
/// of the routing looked at and per receiver 1, per filter of a SUBSCRIBE or UNSUBSCRIBE [`FILTER_WORK`].
const PACKET_WORK: u64 = 16;
/// What taking or leaving one filter costs.
pub(super) const FILTER_WORK: u64 = 16;

/// What [`Shard::receive`] made of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Bytes used up, from the front.
    pub consumed: usize,
    /// What to do with the connection now.
    pub then: Then,
}

/// What a connection does after its bytes were handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// Read on; the packet at hand needs at least this many bytes in all.
    NeedMore(usize),
    /// Others have their turn first; call again with the rest.
    Budget,
    /// Do not read until the pause is over, then call again with the rest.
    Pause(Pause),
    /// It is over. The close is among the effects.
    Closed,
}

/// Why a connection is not read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pause {
    /// It published faster than it may, or does not read what it is sent.
    Until(Time),
    /// What it publishes is for a shard whose inbox is full, or its SUBSCRIBEs wait for other shards.
    Peers,
}

/// What a packet leads to.
pub(super) enum Next {
    /// The next packet.
    Continue,
    /// This packet has to come again later.
    Pause(Pause),
    /// This packet was handled in part, and the turn is over.
    Again,
    /// The end of the connection.
    Closed,
}

/// The peer broke the protocol, or asked for something that ends its connection.
#[derive(Debug)]
pub(super) struct Violation {
    /// The reason for its DISCONNECT.
    pub reason: ReasonCode,
    /// What happened, for the log.
    pub error: Cow<'static, str>,
}

impl Violation {
    pub(super) fn new(reason: ReasonCode, error: &'static str) -> Violation {
        Violation {
            reason,
            error: Cow::Borrowed(error),
        }
    }
}

impl From<DecodeError> for Violation {
    fn from(error: DecodeError) -> Violation {
        Violation {
            reason: error.reason(),
            error: Cow::Owned(error.to_string()),
        }
    }
}

impl Shard {
    /// Handles the packets in `input`, as many as one turn allows.
    pub fn receive(
        &mut self,
        at: SessionIndex,
        input: &[u8],
        now: Time,
        fx: &mut Effects,
    ) -> Received {
        let received = self.receive_packets(at, input, now, fx);
        self.spend_credit(at, now, fx);
        received
    }

    fn receive_packets(
        &mut self,
        at: SessionIndex,
        input: &[u8],
        now: Time,
        fx: &mut Effects,
    ) -> Received {
        let Some(link) = self.link(at) else {
            return Received {
                consumed: 0,
                then: Then::Closed,
            };
        };
        link.last_received = now;
        link.is_paused = false;
        let (version, unsent) = (link.version, link.out.len());
        if unsent >= self.limits.unsent_bytes_max() {
            // It asks and does not read the answers, which have no other bound.
            return Received {
                consumed: 0,
                then: Then::Pause(Pause::Until(now.plus_millis(UNREAD_PAUSE_MILLIS))),
            };
        }
        let mut consumed = 0;
        let budget = u64::from(self.limits.packets_per_turn_max) * PACKET_WORK;
        self.turn_ends_at = self.residents.work + budget;
        while !self.is_turn_over() {
            self.residents.work += PACKET_WORK;
            let rest = &input[consumed..];
            let next = match frame(rest, &self.limits.packet) {
                Ok(Framed::Incomplete { need }) => {
                    return Received {
                        consumed,
                        then: Then::NeedMore(need),
                    };
                }
                Ok(Framed::Complete {
                    first_byte,
                    header,
                    total,
                }) => {
                    let (bytes, limits) = (&rest[..total], &self.limits.packet);
                    let next = match PacketType::of_first_byte(first_byte) {
                        // What comes most often has a short way of its own.
                        Some(PacketType::Publish) => {
                            Incoming::decode(bytes, first_byte, header, version, limits)
                                .map_err(Violation::from)
                                .and_then(|publish| self.on_publish(at, publish, now, fx))
                        }
                        _ => Packet::decode_framed(bytes, first_byte, header, version, limits)
                            .map_err(Violation::from)
                            .and_then(|packet| self.handle(at, packet, now, fx)),
                    };
                    next.map(|next| (total, next))
                }
                Err(error) => Err(Violation::from(error)),
            };
            match next {
                Ok((total, Next::Continue)) => {
                    self.residents.counters.packets_received_total += 1;
                    consumed += total;
                }
                Ok((_, Next::Again)) => break,
                Ok((_, Next::Pause(pause))) => {
                    if let Some(link) = self.link(at) {
                        link.is_paused = true;
                    }
                    return Received {
                        consumed,
                        then: Then::Pause(pause),
                    };
                }
                Ok((_, Next::Closed)) => {
                    return Received {
                        consumed,
                        then: Then::Closed,
                    };
                }
                Err(violation) => {
                    self.violated(at, &violation, now, fx);
                    return Received {
                        consumed,
                        then: Then::Closed,
                    };
                }
            }
        }
        Received {
            consumed,
            then: Then::Budget,
        }
    }

    /// Whether the connection at hand has used up its turn.
    pub(super) fn is_turn_over(&self) -> bool {
        self.residents.work >= self.turn_ends_at
    }

    /// One packet of a connected client.
    fn handle(
        &mut self,
        at: SessionIndex,
        packet: Packet<'_>,
        now: Time,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        match packet {
            Packet::Publish(publish) => {
                let incoming = Incoming::of(publish, &self.limits.packet)?;
                self.on_publish(at, incoming, now, fx)
            }
            Packet::PubAck(ack) => self.on_puback(at, &ack),
            Packet::PubRec(ack) => self.on_pubrec(at, &ack, now, fx),
            Packet::PubRel(ack) => self.on_pubrel(at, &ack, now, fx),
            Packet::PubComp(ack) => self.on_pubcomp(at, &ack),
            Packet::Subscribe(subscribe) => self.on_subscribe(at, &subscribe, now, fx),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe(at, &unsubscribe, now, fx),
            Packet::PingReq => {
                self.say(at, fx, |version, out| {
                    // [MQTT-3.12.4-1]; two bytes cannot fail to encode.
                    let _written = Packet::PingResp.encode(version, out);
                });
                Ok(Next::Continue)
            }
            Packet::Disconnect(disconnect) => self.on_disconnect(at, &disconnect, now, fx),
            Packet::Connect(_) => {
                // [MQTT-3.1.0-2]
                Err(Violation::new(ReasonCode::ProtocolError, "second CONNECT"))
            }
            Packet::Auth(auth) => self.on_auth(at, &auth, now, fx),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => Err(
                Violation::new(ReasonCode::ProtocolError, "packet that only a server sends"),
            ),
        }
    }

    /// Tells a 5.0 client why, closes, and leaves its will to be published [MQTT-4.13.1-1].
    pub(super) fn violated(
        &mut self,
        at: SessionIndex,
        violation: &Violation,
        now: Time,
        fx: &mut Effects,
    ) {
        if let Some((session, link)) = self.session(at).and_then(|s| Some((s, s.link.as_deref()?)))
        {
            fx.events.push(Event::ProtocolViolation {
                identity: session.identity.name.to_string(),
                client_id: session.client_id.to_string(),
                address: link.address,
                error: violation.error.to_string(),
                reason_code: u64::from(violation.reason.byte()),
            });
        }
        self.close(at, violation.reason, &violation.error, now, fx);
    }

    /// Ends a connection from this side; its session and will take their course. A 5.0 client is told `why`.
    pub fn close(
        &mut self,
        at: SessionIndex,
        reason: ReasonCode,
        why: &str,
        now: Time,
        fx: &mut Effects,
    ) {
        self.close_with(at, Disconnect::new(reason), why, now, fx);
    }

    /// As [`Self::close`], with what else the DISCONNECT says.
    pub fn close_with(
        &mut self,
        at: SessionIndex,
        disconnect: Disconnect<'_>,
        why: &str,
        now: Time,
        fx: &mut Effects,
    ) {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        let Some(link) = session.link.as_deref_mut() else {
            return;
        };
        let conn = link.conn;
        let mut bytes = link.take_output();
        // A broken second CONNECT has a reason that only CONNACK can carry.
        let reason = if disconnect.reason.allowed_in(PacketType::Disconnect) {
            disconnect.reason
        } else {
            ReasonCode::ProtocolError
        };
        let disconnect = Disconnect {
            reason,
            reason_string: Some(why),
            ..disconnect
        };
        goodbye(link, disconnect, &mut bytes);
        fx.closed.push(Close { conn, bytes });
        fx.events.push(super::disconnect::disconnected(
            session,
            link_address(session),
            why,
            reason,
        ));
        self.connection_ended(at, now, fx);
    }
}

fn link_address(session: &crate::session::Session) -> PeerAddress {
    let link = session.link.as_ref();
    link.map_or(PeerAddress::UNKNOWN, |link| link.address)
}
