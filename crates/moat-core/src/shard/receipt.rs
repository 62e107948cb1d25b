//! PUBACK and PUBREC for what a client has published, in its order, and not before the store has what they promise.

use moat_codec::{Ack, PacketId, PacketType, QoS, ReasonCode};

use super::answer::explanation;
use super::{SessionRef, Shard};
use crate::effects::Effects;
use crate::session::SessionIndex;
use crate::session::link::Unanswered;
use crate::time::Time;

/// What an acknowledgement has to know of a publish that was routed away.
#[derive(Clone, Copy)]
pub(super) struct Receipt {
    pub(super) qos: QoS,
    pub(super) packet_id: Option<PacketId>,
}

impl Shard {
    /// Answers with PUBACK [MQTT-4.3.2-4] or PUBREC [MQTT-4.3.3-8]. A 3.x client whose publish was
    /// denied gets the same answer as if it had been taken: its version has no other.
    pub(super) fn acknowledge(
        &mut self,
        at: SessionIndex,
        receipt: Receipt,
        reason: ReasonCode,
        fx: &mut Effects,
    ) {
        self.note_inbound(at, receipt, reason, None);
        let (Some(id), Some(link)) = (receipt.packet_id, self.link(at)) else {
            return;
        };
        if link.unanswered.is_empty() {
            self.say_acknowledgement(at, receipt.qos, id, reason, fx);
            return;
        }
        // Behind those that were asked for earlier [MQTT-4.6.0-2], [MQTT-4.6.0-3].
        link.unanswered.push_back(Unanswered {
            qos: receipt.qos,
            id,
            reason,
            number: None,
        });
    }

    /// As [`Self::acknowledge`], once [`Self::acknowledged`] is called with `number`.
    pub(super) fn acknowledge_later(
        &mut self,
        at: SessionIndex,
        receipt: Receipt,
        reason: ReasonCode,
        number: u64,
    ) {
        self.note_inbound(at, receipt, reason, Some(number));
        if let (Some(id), Some(link)) = (receipt.packet_id, self.link(at)) {
            link.unanswered.push_back(Unanswered {
                qos: receipt.qos,
                id,
                reason,
                number: Some(number),
            });
        }
    }

    /// A QoS 2 message that was taken before comes again. If it is not durable yet, its acknowledgement is on its way.
    pub(super) fn acknowledge_repeated(
        &mut self,
        at: SessionIndex,
        receipt: Receipt,
        fx: &mut Effects,
    ) {
        let Some(session) = self.session(at) else {
            return;
        };
        let is_this = |waiting: &Unanswered| Some(waiting.id) == receipt.packet_id;
        let link = session.link.as_deref();
        if link.is_some_and(|link| link.unanswered.iter().any(is_this)) {
            return;
        }
        let receiving = session.durable.as_deref().map_or(&[][..], |d| &d.receiving);
        let number = receiving
            .iter()
            .find_map(|(id, number)| (Some(*id) == receipt.packet_id).then_some(*number));
        match number {
            Some(number) => self.acknowledge_later(at, receipt, ReasonCode::Success, number),
            None => self.acknowledge(at, receipt, ReasonCode::Success, fx),
        }
    }

    /// Remembers the identifier of a QoS 2 message that is taken [MQTT-4.3.3-10].
    fn note_inbound(
        &mut self,
        at: SessionIndex,
        receipt: Receipt,
        reason: ReasonCode,
        number: Option<u64>,
    ) {
        let taken = !reason.is_error() || !self.is_v5(at);
        let (QoS::ExactlyOnce, Some(id), true) = (receipt.qos, receipt.packet_id, taken) else {
            return;
        };
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        if let Err(place) = session.inbound.binary_search(&id) {
            session.inbound.insert(place, id);
            if let (Some(number), Some(durable)) = (number, session.durable.as_deref_mut()) {
                durable.receiving.push((id, number));
            }
        }
    }

    /// What `number` stands for is durable: its acknowledgement goes out, behind those asked for earlier.
    pub(super) fn acknowledged(
        &mut self,
        session: SessionRef,
        number: u64,
        now: Time,
        fx: &mut Effects,
    ) {
        self.ending_committed(number, now, fx);
        let Some(to) = self.residents.same(session.session, session.generation) else {
            return;
        };
        if let Some(durable) = to.durable.as_deref_mut() {
            durable.receiving.retain(|(_, waiting)| *waiting != number);
            durable.leaving_wills.retain(|waiting| *waiting != number);
        }
        let Some(link) = to.link.as_deref_mut() else {
            return;
        };
        for waiting in &mut link.unanswered {
            if waiting.number == Some(number) {
                waiting.number = None;
            }
        }
        while let Some(link) = self.link(session.session) {
            let ready = link.unanswered.front().filter(|next| next.number.is_none());
            if ready.is_none() {
                return;
            }
            if let Some(next) = link.unanswered.pop_front() {
                self.say_acknowledgement(session.session, next.qos, next.id, next.reason, fx);
            }
        }
    }

    fn say_acknowledgement(
        &mut self,
        at: SessionIndex,
        qos: QoS,
        id: PacketId,
        reason: ReasonCode,
        fx: &mut Effects,
    ) {
        let packet = match qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => PacketType::PubAck,
            QoS::ExactlyOnce => PacketType::PubRec,
        };
        if !reason.is_error() {
            self.say(at, fx, |version, out| {
                // Without properties it is five bytes long and cannot fail to encode.
                let _written = Ack::with_reason(id, reason).encode(packet, version, out);
            });
            return;
        }
        self.answer(at, explanation(packet, reason), fx, |version, why, out| {
            let ack = Ack {
                reason_string: why,
                ..Ack::with_reason(id, reason)
            };
            ack.encode(packet, version, out)
        });
    }
}
