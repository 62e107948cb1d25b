//! PUBLISH from a client: resolved, judged, routed, acknowledged, in this order only.

use moat_codec::{InboundAliases, Incoming, Publish, QoS, ReasonCode, Resolved};
use moat_events::Event;
use moat_policy::{Authorized, Denied};

use super::Shard;
use super::publication::Terms;
use super::receipt::Receipt;
use super::receive::{Next, Pause, Violation};
use super::route::{Routed, outcome};
use crate::durable::StoreState;
use crate::effects::Effects;
use crate::session::{Session, SessionIndex};
use crate::time::Time;

/// Acknowledgements of one connection that may wait for the store; more pause it.
pub const UNANSWERED_MAX: usize = 1024;

impl Shard {
    /// Handles a PUBLISH [MQTT-3.3.4-1].
    pub(super) fn on_publish(
        &mut self,
        at: SessionIndex,
        incoming: Incoming<'_>,
        now: Time,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        // What it publishes to itself must find the room that it has made.
        self.spend_credit(at, now, fx);
        let publish = incoming.publish();
        let receipt = Receipt {
            qos: publish.qos,
            packet_id: publish.packet_id,
        };
        if !publish.subscription_ids.is_empty() {
            // [MQTT-3.3.4-6]
            return Err(Violation::new(
                ReasonCode::ProtocolError,
                "subscription identifier in a client's PUBLISH",
            ));
        }
        if publish.retain && self.limits.retained_messages_max == 0 && self.is_v5(at) {
            // It was told so by Retain Available [MQTT-3.2.2-14].
            return Err(Violation::new(
                ReasonCode::RetainNotSupported,
                "a retained message, which the server does not keep",
            ));
        }
        let repeated = self.is_repeated(at, receipt)?;
        if let Some(next) = self.held_back(at, publish, receipt, repeated, fx) {
            return Ok(next);
        }
        if let Some(pause) = self.over_rate(at, now, fx) {
            return Ok(Next::Pause(pause));
        }
        let Some(link) = self.link(at) else {
            return Ok(Next::Closed);
        };
        // The table leaves the session while the message borrows from it, if it does.
        let has_alias = publish.topic_alias.is_some();
        let mut aliases = InboundAliases::new(0);
        if has_alias {
            std::mem::swap(&mut aliases, &mut link.aliases);
        }
        let resolved = aliases.resolve(&incoming).map_err(Violation::from);
        let next = resolved.map(|resolved| {
            if repeated {
                // Its alias counts all the same: aliases are the connection's, the message is not.
                self.acknowledge_repeated(at, receipt, fx);
                return Next::Continue;
            }
            self.judge_publish(at, resolved, receipt, now, fx)
        });
        if has_alias && let Some(link) = self.link(at) {
            link.aliases = aliases;
        }
        next
    }

    /// Whether a QoS 2 message was already taken [MQTT-4.3.3-10], and whether there are too many.
    fn is_repeated(&self, at: SessionIndex, receipt: Receipt) -> Result<bool, Violation> {
        let (QoS::ExactlyOnce, Some(id)) = (receipt.qos, receipt.packet_id) else {
            return Ok(false);
        };
        let Some(session) = self.session(at) else {
            return Ok(false);
        };
        if session.inbound.binary_search(&id).is_ok() {
            return Ok(true);
        }
        if session.inbound.len() >= usize::from(self.limits.inflight_messages_max) && self.is_v5(at)
        {
            // [MQTT-3.3.4-7]; a 3.x client was never told a number.
            return Err(Violation::new(
                ReasonCode::ReceiveMaximumExceeded,
                "more QoS 2 messages under way than allowed",
            ));
        }
        if session.inbound.len() >= usize::from(u16::MAX) - 1 {
            return Err(Violation::new(
                ReasonCode::QuotaExceeded,
                "every packet identifier is in use",
            ));
        }
        Ok(false)
    }

    pub(super) fn is_v5(&self, at: SessionIndex) -> bool {
        self.session(at)
            .and_then(|s| s.link.as_ref())
            .is_some_and(|link| link.version.is_v5())
    }

    /// Takes one token of the connection's publish rate; over it, the connection is not read.
    fn over_rate(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) -> Option<Pause> {
        let (per_sec, burst) = (
            self.limits.publishes_per_sec_max,
            self.limits.publish_burst_max,
        );
        let session = self.residents.sessions.get_mut(at.get())?;
        let link = session.link.as_deref_mut()?;
        let until = link.rate.take(per_sec, burst, now).err()?;
        if !std::mem::replace(&mut link.rate.reported, true) {
            fx.events.push(Event::PublishRateExceeded {
                identity: session.identity.name.to_string(),
                client_id: session.client_id.to_string(),
                address: link.address,
            });
        }
        Some(Pause::Until(until))
    }

    fn judge_publish(
        &mut self,
        at: SessionIndex,
        resolved: Resolved<'_>,
        receipt: Receipt,
        now: Time,
        fx: &mut Effects,
    ) -> Next {
        let session = self.residents.sessions.get_mut(at.get());
        let Some((subject, link)) = session.and_then(Session::linked) else {
            return Next::Closed;
        };
        let topic = resolved.topic();
        let memory = link.remembered.get_or_insert_default();
        let decision = self
            .policy
            .authorize_publish_again(subject, resolved, memory);
        let noted = memory.note();
        match decision {
            Ok(authorized) => match self.publish(at, &authorized, receipt, noted, now, fx) {
                Ok(()) => {
                    let counters = &mut self.residents.counters;
                    counters.messages_received_total += 1;
                    counters.payload_bytes_received_total +=
                        authorized.get().payload().len() as u64;
                    Next::Continue
                }
                Err(pause) => {
                    // It comes again whole, so its token goes back.
                    if let Some(link) = self.link(at) {
                        link.rate.give_back();
                    }
                    Next::Pause(pause)
                }
            },
            Err(denied) => {
                self.publish_denied(at, topic.as_str(), &denied, fx);
                self.acknowledge(at, receipt, ReasonCode::NotAuthorized, fx);
                Next::Continue
            }
        }
    }

    /// Routes a message and acknowledges it, now or when it is durable. Of a topic that was `noted` when no filter matched it, and none has
    /// come or gone since, nobody need be looked for.
    fn publish(
        &mut self,
        at: SessionIndex,
        publish: &Authorized<Resolved<'_>>,
        receipt: Receipt,
        noted: u64,
        now: Time,
        fx: &mut Effects,
    ) -> Result<(), Pause> {
        let leaves_nothing = !publish.get().retain() && receipt.qos != QoS::ExactlyOnce;
        if leaves_nothing && noted == self.filters_version() {
            self.acknowledge(at, receipt, outcome(false), fx);
            return Ok(());
        }
        let mut terms = Terms::default();
        if let (Some(keeper), Some(id)) = (&mut self.keeper, receipt.packet_id) {
            let number = keeper.number();
            terms.receipt = Some(number);
            if receipt.qos == QoS::ExactlyOnce {
                terms.inbound = self.queue_of(at).map(|queue| (queue, id));
            }
        }
        let number = terms.receipt;
        match (self.route(at, publish, terms, false, now, fx)?, number) {
            (Routed::Later(reason), Some(number)) => {
                self.acknowledge_later(at, receipt, reason, number);
            }
            (Routed::Now(reason) | Routed::Later(reason), _) => {
                self.acknowledge(at, receipt, reason, fx);
            }
            (Routed::Nowhere, _) => {
                self.note_unwanted(at);
                self.acknowledge(at, receipt, outcome(false), fx);
            }
        }
        Ok(())
    }

    /// No filter matches the topic that the client published to last.
    fn note_unwanted(&mut self, at: SessionIndex) {
        let version = self.filters_version();
        let link = self.link(at);
        if let Some(memory) = link.and_then(|link| link.remembered.as_deref_mut()) {
            memory.set_note(version);
        }
    }

    /// Differs after each change of what topics match; never 0.
    fn filters_version(&self) -> u64 {
        let here = self.residents.subscriptions.changes() + self.shared.changes();
        here + self.interest.changes() + 1
    }

    /// A publish that the store cannot take now: its client waits, or is refused where the store is full. One of QoS 2 that is `repeated`
    /// has been taken, so it is not refused any more.
    fn held_back(
        &mut self,
        at: SessionIndex,
        publish: &Publish<'_>,
        receipt: Receipt,
        repeated: bool,
        fx: &mut Effects,
    ) -> Option<Next> {
        let state = self.keeper.as_ref()?.state;
        if receipt.qos == QoS::AtMostOnce && !publish.retain {
            // Nothing of it is stored, and nobody waits for an acknowledgement.
            return None;
        }
        let link = self.session(at).and_then(|session| session.link.as_deref());
        if link.is_some_and(|link| link.unanswered.len() >= UNANSWERED_MAX) {
            return Some(Next::Pause(Pause::Peers));
        }
        if state == StoreState::Ready || repeated {
            return None;
        }
        if state == StoreState::Full && self.is_v5(at) && receipt.packet_id.is_some() {
            self.acknowledge(at, receipt, ReasonCode::QuotaExceeded, fx);
            return Some(Next::Continue);
        }
        Some(Next::Pause(Pause::Peers))
    }

    fn publish_denied(&mut self, at: SessionIndex, topic: &str, denied: &Denied, fx: &mut Effects) {
        self.residents.counters.denials_total += 1;
        let Some((session, link)) = self.session(at).and_then(|s| Some((s, s.link.as_ref()?)))
        else {
            return;
        };
        fx.events.push(Event::PublishDenied {
            identity: session.identity.name.to_string(),
            client_id: session.client_id.to_string(),
            address: link.address,
            topic: topic.to_owned(),
            rule: denied.rule.to_string(),
        });
    }
}
