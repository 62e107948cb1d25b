//! UNSUBSCRIBE from a client.

use moat_codec::{ReasonCode, UnsubAck, Unsubscribe};

use super::receive::{FILTER_WORK, Next, Violation};
use super::{PeerMessage, Shard};
use crate::durable::Write;
use crate::effects::Effects;
use crate::router::shared::is_shared;
use crate::session::SessionIndex;
use crate::time::Time;

impl Shard {
    /// Handles an UNSUBSCRIBE [MQTT-3.10.4-1], [MQTT-3.10.4-4].
    pub(super) fn on_unsubscribe(
        &mut self,
        at: SessionIndex,
        unsubscribe: &Unsubscribe<'_>,
        now: Time,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        self.check_suback_fits(at, unsubscribe.filters().count())?;
        let partial = self.link(at).and_then(|link| link.partial.take());
        let mut partial = match partial {
            Some(partial) => partial,
            None => match self.over_filter_rate(at, unsubscribe.filters().count(), now, fx) {
                Some(pause) => return Ok(Next::Pause(pause)),
                None => Box::default(),
            },
        };
        for filter in unsubscribe.filters().skip(partial.reasons.len()) {
            if self.is_turn_over() {
                return Ok(self.go_on_later(at, partial));
            }
            self.residents.work += FILTER_WORK;
            let existed = self.remove_subscription(at, filter.as_str(), now, fx);
            let reason = if existed {
                ReasonCode::Success
            } else {
                ReasonCode::NoSubscriptionExisted
            };
            partial.reasons.push(reason);
        }
        let Some((to, link)) = self.reference(at) else {
            return Ok(Next::Closed);
        };
        let (conn, version) = (link.conn, link.version);
        let mut bytes = Vec::new();
        let unsuback = UnsubAck::new(unsubscribe.packet_id, &partial.reasons);
        // One byte per filter of a packet that fitted: it cannot fail to encode.
        let _written = unsuback.encode(version, &mut bytes);
        self.say_when_written(to, conn, bytes, now, fx);
        Ok(Next::Continue)
    }

    /// Takes one filter from a session. Returns whether it was there.
    pub(super) fn remove_subscription(
        &mut self,
        at: SessionIndex,
        filter: &str,
        now: Time,
        fx: &mut Effects,
    ) -> bool {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return false;
        };
        if !session.subscriptions.remove(filter) {
            return false;
        }
        if let Some(durable) = session.durable.as_deref() {
            let queue = durable.queue;
            fx.journal
                .push(Write::DeleteSubscription(queue, filter.into()));
        }
        self.forget_subscription(at, filter, now, fx);
        true
    }

    /// Takes one filter from the routing, when the session no longer has it.
    pub(super) fn forget_subscription(
        &mut self,
        at: SessionIndex,
        filter: &str,
        now: Time,
        fx: &mut Effects,
    ) {
        if is_shared(filter) {
            self.leave(at, filter, now, fx);
        } else {
            self.residents.subscriptions.remove(filter, &at);
            self.take_back_interest(filter, fx);
        }
    }

    /// One reason less for this shard to be told about `filter`.
    pub(super) fn take_back_interest(&mut self, filter: &str, fx: &mut Effects) {
        if self.interest.remove(filter) {
            for shard in self.topology.shards().filter(|shard| *shard != self.id) {
                fx.tell(
                    shard,
                    PeerMessage::Interest {
                        filter: filter.into(),
                        ticket: None,
                    },
                );
            }
        }
    }
}
