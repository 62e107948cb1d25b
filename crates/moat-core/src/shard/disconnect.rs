//! The end of a connection, of a session, and the will that may follow.

use moat_codec::{Disconnect, ReasonCode, Resolved};
use moat_events::{Event, PeerAddress};

use super::Shard;
use super::receive::{Next, Violation};
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
        let (conn, address, bytes) = (link.conn, link.address, std::mem::take(&mut link.out));
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
        self.return_all(unacknowledged, now, fx);
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
        let Some(packet) = will.as_packet(&self.limits.packet) else {
            return;
        };
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
                let _reason = self.route(at, &authorized, true, now, fx);
                fx.events.push(Event::WillPublished {
                    identity,
                    client_id,
                    topic: will.topic().to_owned(),
                });
            }
            Err(denied) => {
                self.residents.counters.denials_total += 1;
                let rule = denied.rule.to_string();
                fx.events
                    .push(will_denied(identity, client_id, &will, &rule));
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
