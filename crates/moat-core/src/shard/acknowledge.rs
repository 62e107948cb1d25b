//! PUBACK, PUBREC, PUBREL and PUBCOMP from a client.

use moat_codec::{Ack, PacketId, PacketType, QoS, ReasonCode};

use super::Shard;
use super::keeper::After;
use super::receive::{Next, Violation};
use crate::durable::Write;
use crate::effects::Effects;
use crate::session::SessionIndex;
use crate::session::inflight::Pending;
use crate::session::parcel::Parcel;
use crate::time::Time;

impl Shard {
    /// The client has a QoS 1 message.
    pub(super) fn on_puback(&mut self, at: SessionIndex, ack: &Ack<'_>) -> Result<Next, Violation> {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return Ok(Next::Closed);
        };
        if let Some(outbound) = session.outbound.as_deref_mut() {
            match outbound.inflight.entry(ack.packet_id) {
                Some(Pending::Acknowledgement(Parcel {
                    qos: QoS::AtLeastOnce,
                    ..
                })) => {
                    let parcel = outbound.finish(ack.packet_id);
                    self.entry_done(at, parcel);
                }
                Some(_) => {
                    return Err(Violation::new(
                        ReasonCode::ProtocolError,
                        "PUBACK for a QoS 2 message",
                    ));
                }
                // Acknowledged before, on an earlier connection perhaps (4.3.2): nothing to do.
                None => {}
            }
        }
        self.credit(at);
        Ok(Next::Continue)
    }

    /// The client has a QoS 2 message, or will not have it.
    pub(super) fn on_pubrec(
        &mut self,
        at: SessionIndex,
        ack: &Ack<'_>,
        now: Time,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return Ok(Next::Closed);
        };
        let mut answer = ReasonCode::PacketIdentifierNotFound;
        let mut refused = false;
        if let Some(outbound) = session.outbound.as_deref_mut() {
            match outbound.inflight.entry(ack.packet_id) {
                Some(Pending::Acknowledgement(Parcel {
                    qos: QoS::AtLeastOnce,
                    ..
                })) => {
                    return Err(Violation::new(
                        ReasonCode::ProtocolError,
                        "PUBREC for a QoS 1 message",
                    ));
                }
                Some(_) if ack.reason.is_error() => {
                    // The flow ends here; there is no PUBREL [MQTT-4.3.3-4].
                    let parcel = outbound.finish(ack.packet_id);
                    self.entry_done(at, parcel);
                    refused = true;
                }
                Some(pending) => {
                    let parcel = std::mem::replace(pending, Pending::Completion);
                    answer = ReasonCode::Success;
                    // That the client has it must be known before it hears so.
                    self.entry_done(at, Some(parcel));
                    self.residents.note_urgent(at);
                }
                None => {}
            }
        }
        if refused {
            self.credit(at);
        }
        if ack.reason.is_error() {
            // Also for an identifier nobody waits for: an error is never answered with PUBREL.
            return Ok(Next::Continue);
        }
        self.say_ack_when_written(at, PacketType::PubRel, ack.packet_id, answer, now, fx);
        Ok(Next::Continue)
    }

    /// The client releases the identifier of a QoS 2 message of its own [MQTT-4.3.3-11].
    pub(super) fn on_pubrel(
        &mut self,
        at: SessionIndex,
        ack: &Ack<'_>,
        now: Time,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return Ok(Next::Closed);
        };
        let reason = match session.inbound.binary_search(&ack.packet_id) {
            Ok(place) => {
                session.inbound.remove(place);
                if let Some(durable) = session.durable.as_deref() {
                    let queue = durable.queue;
                    fx.journal.push(Write::DeleteInbound(queue, ack.packet_id));
                }
                ReasonCode::Success
            }
            Err(_) => ReasonCode::PacketIdentifierNotFound,
        };
        self.say_ack_when_written(at, PacketType::PubComp, ack.packet_id, reason, now, fx);
        Ok(Next::Continue)
    }

    /// The client has completed a QoS 2 message.
    pub(super) fn on_pubcomp(
        &mut self,
        at: SessionIndex,
        ack: &Ack<'_>,
    ) -> Result<Next, Violation> {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return Ok(Next::Closed);
        };
        if let Some(outbound) = session.outbound.as_deref_mut() {
            if let Some(Pending::Acknowledgement(_)) = outbound.inflight.entry(ack.packet_id) {
                return Err(Violation::new(
                    ReasonCode::ProtocolError,
                    "PUBCOMP before PUBREC",
                ));
            }
            if outbound.finish(ack.packet_id).is_some() {
                self.residents.note_unsaved(at);
            }
        }
        self.credit(at);
        Ok(Next::Continue)
    }

    /// Answers with PUBREL or PUBCOMP, in a durable session once what led to it is in the store.
    fn say_ack_when_written(
        &mut self,
        at: SessionIndex,
        packet: PacketType,
        id: PacketId,
        reason: ReasonCode,
        now: Time,
        fx: &mut Effects,
    ) {
        // Without properties it is five bytes long and cannot fail to encode.
        let write = |version, out: &mut Vec<u8>| {
            let _written = Ack::with_reason(id, reason).encode(packet, version, out);
        };
        if self.queue_of(at).is_none() {
            self.say(at, fx, write);
            return;
        }
        let Some((to, link)) = self.reference(at) else {
            return;
        };
        let (conn, mut bytes) = (link.conn, Vec::new());
        write(link.version, &mut bytes);
        if self.residents.is_urgent(at) {
            // Its progress is written at the end of this turn.
            let ticket = fx.journal.ticket();
            if let Some(keeper) = &mut self.keeper {
                keeper.wait(ticket, After::Say(to, conn, bytes));
            }
            return;
        }
        self.say_when_written(to, conn, bytes, now, fx);
    }

    fn entry_done(&mut self, at: SessionIndex, pending: Option<Pending>) {
        if let Some(message) = self.residents.entry_done(at, pending) {
            self.frames.give_back(message);
        }
    }

    /// One more message may be sent, up to the client's Receive Maximum (4.9).
    fn credit(&mut self, at: SessionIndex) {
        if let Some(link) = self.link(at) {
            link.send_quota = link.send_quota.saturating_add(1).min(link.receive_maximum);
        }
        self.credited = true;
    }

    /// Sends what the acknowledgements of this turn have made room for: once for all those that came one behind the other.
    pub(super) fn spend_credit(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) {
        if std::mem::take(&mut self.credited) {
            self.pump(at, now, fx);
        }
    }
}
