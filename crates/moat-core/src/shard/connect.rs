//! A client has been authenticated: its session begins, goes on, or is refused.

use std::sync::Arc;

use moat_codec::{
    ConnAck, ConnAckProperties, Disconnect, InboundAliases, ReasonCode, Resolved, Version,
};
use moat_events::{Event, PeerAddress};
use moat_policy::{Identity, Subject};

use super::Shard;
use crate::effects::{Close, ConnId, Effects};
use crate::session::rate::PublishRate;
use crate::session::{Link, Opening, SessionIndex};
use crate::time::Time;

/// A connection that has proved who it is.
pub struct Arrival {
    /// The driver's name for it.
    pub conn: ConnId,
    /// The peer's address.
    pub address: PeerAddress,
    /// The listener it came by.
    pub listener: Arc<str>,
    /// What TLS agreed on, for the log; `None` without TLS.
    pub tls: Option<&'static str>,
    /// What its CONNECT asked for.
    pub opening: Opening,
    /// Who it is.
    pub identity: Arc<Identity>,
}

/// A CONNECT that was not granted.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub reason: ReasonCode,
    /// The CONNACK to send before closing [MQTT-3.1.4-2], [MQTT-3.2.2-7].
    pub bytes: Vec<u8>,
}

impl Refused {
    /// A refusal in the client's protocol version.
    #[must_use]
    pub fn new(version: Version, reason: ReasonCode) -> Refused {
        let mut bytes = Vec::new();
        let connack = ConnAck {
            session_present: false,
            reason,
            properties: ConnAckProperties::default(),
        };
        // Without properties a CONNACK is at most five bytes long and cannot fail to encode.
        let _written = connack.encode(version, &mut bytes);
        Refused { reason, bytes }
    }
}

impl Shard {
    /// Begins or resumes the session of an authenticated connection and answers with CONNACK.
    ///
    /// # Errors
    /// With the CONNACK that refuses it: a will that the policy denies, or no room for a session.
    pub fn connect(
        &mut self,
        arrival: Arrival,
        now: Time,
        fx: &mut Effects,
    ) -> Result<SessionIndex, Refused> {
        let version = arrival.opening.version;
        self.judge_will(&arrival, fx)
            .map_err(|reason| Refused::new(version, reason))?;
        let existing = self
            .residents
            .find(&arrival.identity.name, &arrival.opening.client_id);
        if let Some(at) = existing {
            self.take_over(at, &arrival, now, fx);
        }
        let resumed = existing.filter(|at| {
            !arrival.opening.clean_start && self.residents.sessions.contains(at.get())
        });
        let at = match resumed {
            Some(at) => at,
            None => self
                .begin(existing, &arrival, now, fx)
                .map_err(|reason| Refused::new(version, reason))?,
        };
        self.attach(at, arrival, resumed.is_some(), now, fx);
        self.join_all(at, now, fx);
        self.pump(at, now, fx);
        Ok(at)
    }

    /// A will is a publish like any other: without the right to it the CONNECT is refused.
    fn judge_will(&mut self, arrival: &Arrival, fx: &mut Effects) -> Result<(), ReasonCode> {
        let Some(will) = &arrival.opening.will else {
            return Ok(());
        };
        let Some(packet) = will.as_packet(&self.limits.packet) else {
            return Err(ReasonCode::TopicNameInvalid);
        };
        let subject = Subject {
            identity: &arrival.identity,
            client_id: &arrival.opening.client_id,
        };
        let Err(denied) = self
            .policy
            .authorize_will(subject, Resolved::of_will(&packet))
        else {
            return Ok(());
        };
        self.residents.counters.denials_total += 1;
        fx.events.push(Event::WillDenied {
            identity: arrival.identity.name.to_string(),
            client_id: arrival.opening.client_id.to_string(),
            address: arrival.address,
            topic: will.topic().to_owned(),
            rule: denied.rule.to_string(),
        });
        Err(ReasonCode::NotAuthorized)
    }

    /// Ends the older connection of the same session [MQTT-3.1.4-3].
    fn take_over(&mut self, at: SessionIndex, arrival: &Arrival, now: Time, fx: &mut Effects) {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        let Some(link) = session.link.as_deref_mut() else {
            return;
        };
        fx.events.push(Event::SessionTakenOver {
            identity: session.identity.name.to_string(),
            client_id: session.client_id.to_string(),
            address: link.address,
            by: arrival.address,
        });
        let (conn, version) = (link.conn, link.version);
        let mut bytes = std::mem::take(&mut link.out);
        if version.is_v5() {
            // The message that a slow reader has not been sent yet goes before the goodbye.
            let goodbye = Disconnect::new(ReasonCode::SessionTakenOver);
            let _written = goodbye.encode(version, &mut bytes);
        }
        fx.closed.push(Close { conn, bytes });
        // A session with a will delay that is resumed in time keeps silent [MQTT-3.1.3-9].
        self.connection_ended(at, now, fx);
    }

    /// Makes a new session, in place of `existing` if there was one [MQTT-3.1.2-4].
    fn begin(
        &mut self,
        existing: Option<SessionIndex>,
        arrival: &Arrival,
        now: Time,
        fx: &mut Effects,
    ) -> Result<SessionIndex, ReasonCode> {
        if let Some(at) = existing {
            self.end_session(at, now, fx);
        }
        if self.residents.sessions.len() >= self.limits.sessions_max {
            return Err(ReasonCode::QuotaExceeded);
        }
        Ok(self.residents.create(
            Arc::clone(&arrival.identity),
            arrival.opening.client_id.clone(),
        ))
    }

    /// Gives the session its connection and writes the CONNACK.
    fn attach(
        &mut self,
        at: SessionIndex,
        arrival: Arrival,
        resumed: bool,
        now: Time,
        fx: &mut Effects,
    ) {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        let Arrival {
            conn,
            address,
            listener,
            tls,
            opening,
            identity,
        } = arrival;
        let (keep_alive_secs, tell_keep_alive) = opening.keep_alive(&self.limits);
        let expiry_secs = match opening.session_expiry_secs {
            0 => 0,
            asked => asked.min(self.limits.session_expiry_secs_max),
        };
        fx.events.push(Event::ClientConnected {
            identity: identity.name.to_string(),
            source: identity.source.to_string(),
            client_id: opening.client_id.to_string(),
            address,
            listener: listener.to_string(),
            version: version_name(opening.version).to_owned(),
            clean_start: opening.clean_start,
            session_present: resumed,
            keep_alive_secs: u64::from(keep_alive_secs),
            tls: tls.map(str::to_owned),
        });
        let mut link = Link {
            conn,
            address,
            version: opening.version,
            aliases: InboundAliases::new(if opening.version.is_v5() {
                self.limits.topic_alias_max
            } else {
                0
            }),
            out: Vec::new(),
            receive_maximum: opening
                .receive_maximum
                .min(self.limits.inflight_messages_max),
            send_quota: opening
                .receive_maximum
                .min(self.limits.inflight_messages_max),
            maximum_packet_size: opening.maximum_packet_size,
            keep_alive_secs,
            last_received: now,
            rate: PublishRate::new(self.limits.publish_burst_max, now),
            waiting_subscribes: 0,
            connect_expiry_secs: opening.session_expiry_secs,
        };
        let connack = connack(
            &opening,
            &self.limits,
            resumed,
            tell_keep_alive.then_some(keep_alive_secs),
            expiry_secs,
        );
        // Its properties are a few dozen bytes; only a client id close to 64 KiB could make it fail.
        let _written = connack.encode(opening.version, link.buffer(&mut self.residents.pool));
        session.identity = identity;
        session.expiry_secs = expiry_secs;
        session.will = opening.will;
        session.will_at = Time::NEVER;
        session.ends_at = Time::NEVER;
        session.link = Some(Box::new(link));
        if let Some(outbound) = session.outbound.as_deref_mut() {
            outbound.connection_made();
        }
        fx.dirty.push(conn);
        let counters = &mut self.residents.counters;
        counters.connects_total += 1;
        // The CONNECT was read by the driver, and the CONNACK goes past `say`.
        counters.packets_received_total += 1;
        counters.answers_sent_total += 1;
        self.arm(at);
    }
}

/// The CONNACK that grants `opening` (3.2).
fn connack<'a>(
    opening: &'a Opening,
    limits: &crate::Limits,
    resumed: bool,
    server_keep_alive_secs: Option<u16>,
    expiry_secs: u32,
) -> ConnAck<'a> {
    let v5 = opening.version.is_v5();
    ConnAck {
        // 3.1 has no such flag; its byte is reserved.
        session_present: resumed && opening.version != Version::V31,
        reason: ReasonCode::Success,
        properties: ConnAckProperties {
            session_expiry_secs: (v5 && expiry_secs != opening.session_expiry_secs)
                .then_some(expiry_secs),
            receive_maximum: std::num::NonZeroU16::new(limits.inflight_messages_max),
            maximum_packet_size: Some(limits.packet.packet_bytes_max),
            assigned_client_id: opening.client_id_assigned.then_some(&*opening.client_id),
            topic_alias_maximum: Some(limits.topic_alias_max),
            server_keep_alive_secs,
            ..ConnAckProperties::default()
        },
    }
}

fn version_name(version: Version) -> &'static str {
    match version {
        Version::V31 => "3.1",
        Version::V311 => "3.1.1",
        Version::V5 => "5.0",
    }
}
