//! The end of a connection, of a session, and the will that may follow.

use std::sync::Arc;

use moat_codec::{Disconnect, ReasonCode, Resolved};
use moat_events::{Event, PeerAddress};

use super::Shard;
use super::keeper::{After, Ending};
use super::publication::Terms;
use super::receive::{Next, Violation};
use super::route::Routed;
use crate::durable::Write;
use crate::effects::{Close, Effects};
use crate::session::{Outbound, Session, SessionIndex, Will};
use crate::time::Time;

impl Shard {
    /// Handles a DISCONNECT [MQTT-3.14.4-1..3].
    pub(super) fn on_disconnect(
        &mut self,
        at: SessionIndex,
        disconnect: &Disconnect<'_>,
        now: Time,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let expiry_secs_max = self.limits.session_expiry_secs_max;
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return Ok(Next::Closed);
        };
        let Some(link) = session.link.as_deref_mut() else {
            return Ok(Next::Closed);
        };
        if let Some(secs) = disconnect.session_expiry_secs {
            if link.connect_expiry_secs == 0 && secs != 0 {
                // Section 3.14.2.2.2.
                return Err(Violation::new(
                    ReasonCode::ProtocolError,
                    "session expiry raised from 0 by DISCONNECT",
                ));
            }
            session.expiry_secs = secs.min(expiry_secs_max);
        }
        if disconnect.reason == ReasonCode::Success {
            session.will = None;
        }
        let (conn, address, bytes) = (link.conn, link.address, link.take_output());
        fx.events.push(disconnected(
            session,
            address,
            "client said goodbye",
            disconnect.reason,
        ));
        fx.closed.push(Close { conn, bytes });
        self.connection_ended(at, now, fx);
        Ok(Next::Closed)
    }

    /// The socket of a session is gone, without a DISCONNECT. `why` is for the log.
    pub fn connection_lost(&mut self, at: SessionIndex, why: &str, now: Time, fx: &mut Effects) {
        let Some(session) = self.residents.sessions.get(at.get()) else {
            return;
        };
        let Some(link) = session.link.as_deref() else {
            return;
        };
        fx.events.push(disconnected(
            session,
            link.address,
            why,
            ReasonCode::UnspecifiedError,
        ));
        self.connection_ended(at, now, fx);
    }

    /// The session goes on without its connection, or ends with it.
    pub(super) fn connection_ended(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        let Some(link) = session.link.take() else {
            return;
        };
        self.residents.pool.give(link.out);
        self.away(at, now, fx);
        self.keep_offline(at, now, fx);
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        if let Some(outbound) = session.outbound.as_deref_mut() {
            outbound.connection_lost();
        }
        if session
            .outbound
            .as_ref()
            .is_some_and(|outbound| outbound.is_empty())
        {
            session.outbound = None;
        }
        if session.expiry_secs == 0 {
            // [MQTT-4.1.0-2]; the will goes with the session [MQTT-3.1.2-8].
            self.end_session(at, now, fx);
            return;
        }
        session.ends_at = match session.expiry_secs {
            u32::MAX => Time::NEVER,
            secs => now.plus_secs(u64::from(secs)),
        };
        let delay_secs = session.will.as_ref().map(|will| will.delay_secs);
        match delay_secs {
            None => {}
            Some(0) => self.publish_will(at, now, fx),
            Some(secs) => session.will_at = now.plus_secs(u64::from(secs)),
        }
        self.arm(at);
    }

    /// Writes that a durable session has no connection any more, and how far it has come.
    fn keep_offline(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        let record = Box::new(session.record(Some(now)));
        let Some(durable) = session.durable.as_deref_mut() else {
            return;
        };
        let queue = durable.queue;
        fx.journal.push(Write::PutSession(queue, record));
        if session.will.is_none()
            && let Some(number) = durable.will.take()
        {
            fx.journal.push(Write::DeleteWill(queue, number));
        }
        if session.outbound.is_some() {
            // What was sent has to be known as well.
            self.residents.note_unsaved(at);
        }
        self.residents.save_progress(at, fx);
    }

    /// A session that is over goes from the store, once its will is there.
    pub(super) fn ending_committed(&mut self, receipt: u64, now: Time, fx: &mut Effects) {
        let Some(keeper) = self.keeper.as_mut() else {
            return;
        };
        let mut successors = Vec::new();
        keeper.endings.retain_mut(|ending| {
            ending.wills.retain(|waiting| *waiting != receipt);
            if ending.wills.is_empty() {
                let ticket = fx.journal.push(Write::DeleteSession(ending.queue));
                keeper.last_deletion = ticket;
                successors.append(&mut ending.successors);
            }
            !ending.wills.is_empty()
        });
        for (to, conn) in successors {
            self.after_writes(After::ConnAck(to, conn), now, fx);
        }
    }

    /// A durable session is over: what it has in the store goes.
    fn forget_durable(&mut self, at: SessionIndex, fx: &mut Effects) {
        let (Some(session), Some(keeper)) = (
            self.residents.sessions.get_mut(at.get()),
            self.keeper.as_mut(),
        ) else {
            return;
        };
        let Some(durable) = session.durable.take() else {
            return;
        };
        let positions = session.outbound.as_deref().map(Outbound::positions);
        for position in positions
            .unwrap_or_default()
            .into_iter()
            .chain(durable.released)
        {
            fx.journal.push(Write::Release(position));
        }
        if durable.leaving_wills.is_empty() {
            keeper.last_deletion = fx.journal.push(Write::DeleteSession(durable.queue));
        } else {
            keeper.endings.push(Ending {
                queue: durable.queue,
                key: (
                    Arc::clone(&session.identity.name),
                    session.client_id.clone(),
                ),
                wills: durable.leaving_wills,
                successors: Vec::new(),
            });
        }
    }

    /// Ends a session: subscriptions, queue and identifiers go, and its will is published.
    pub(super) fn end_session(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) {
        self.publish_will(at, now, fx);
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        let filters = session.subscriptions.take_all();
        let unacknowledged = session
            .outbound
            .as_deref()
            .map(Outbound::dealt_unacknowledged)
            .unwrap_or_default();
        for filter in filters {
            self.forget_subscription(at, &filter, now, fx);
        }
        // Only now, so that they cannot be dealt to the session that ends.
        self.forget_durable(at, fx);
        self.return_all(at, unacknowledged, now, fx);
        self.residents.remove(at);
    }

    /// Publishes a session's will, if it has one and the policy in force now allows it.
    pub(super) fn publish_will(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        session.will_at = Time::NEVER;
        let Some(will) = session.will.take() else {
            return;
        };
        let durable = session.durable.as_deref_mut();
        let number = durable.and_then(|durable| durable.will.take());
        self.publish_stored_will(at, &will, number, now, fx);
    }

    /// Publishes a will that has `number` in the store, if it is there.
    pub(super) fn publish_stored_will(
        &mut self,
        at: SessionIndex,
        will: &Will,
        number: Option<u32>,
        now: Time,
        fx: &mut Effects,
    ) {
        let stored = self.queue_of(at).zip(number);
        let terms = match (&mut self.keeper, stored) {
            (Some(keeper), Some(_)) => Terms {
                will_of: stored,
                receipt: Some(keeper.number()),
                ..Terms::default()
            },
            _ => Terms::default(),
        };
        let receipt = terms.receipt;
        let routed = self.route_will(at, will, terms, now, fx);
        if let (None, Some((queue, number))) = (&routed, stored) {
            fx.journal.push(Write::DeleteWill(queue, number));
        }
        let session = self.residents.sessions.get_mut(at.get());
        let durable = session.and_then(|session| session.durable.as_deref_mut());
        if let (Some(durable), Some(Routed::Later(_))) = (durable, routed) {
            // The session stays in the store until then.
            durable.leaving_wills.extend(receipt);
        }
    }

    /// Routes a will, unless it is no longer allowed.
    fn route_will(
        &mut self,
        at: SessionIndex,
        will: &Will,
        terms: Terms,
        now: Time,
        fx: &mut Effects,
    ) -> Option<Routed> {
        let session = self.residents.sessions.get(at.get())?;
        let packet = will.as_packet(&self.limits.packet)?;
        let (identity, client_id) = (
            session.identity.name.to_string(),
            session.client_id.to_string(),
        );
        match self
            .policy
            .authorize_will(session.subject(), Resolved::of_will(&packet))
        {
            Ok(authorized) => {
                // With `must` it cannot pause: there is no connection left to come again.
                let routed = self.route(at, &authorized, terms, true, now, fx);
                fx.events.push(Event::WillPublished {
                    identity,
                    client_id,
                    topic: will.topic().to_owned(),
                });
                routed.ok()
            }
            Err(denied) => {
                self.residents.counters.denials_total += 1;
                let rule = denied.rule.to_string();
                fx.events
                    .push(will_denied(identity, client_id, will, &rule));
                None
            }
        }
    }
}

fn will_denied(identity: String, client_id: String, will: &Will, rule: &str) -> Event {
    // The client is gone, so there is no address of its connection any more.
    let address = PeerAddress::UNKNOWN;
    Event::WillDenied {
        identity,
        client_id,
        address,
        topic: will.topic().to_owned(),
        rule: rule.to_owned(),
    }
}

/// The event for the end of a connection.
pub(super) fn disconnected(
    session: &Session,
    address: PeerAddress,
    why: &str,
    reason: ReasonCode,
) -> Event {
    Event::ClientDisconnected {
        identity: session.identity.name.to_string(),
        client_id: session.client_id.to_string(),
        address,
        reason: why.to_owned(),
        reason_code: u64::from(reason.byte()),
    }
}
