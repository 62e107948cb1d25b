//! A client has been authenticated: its session begins, goes on, or is refused.

use std::collections::VecDeque;
use std::sync::Arc;

use moat_codec::{
    ConnAck, ConnAckProperties, Disconnect, InboundAliases, ReasonCode, Resolved, Version,
};
use moat_events::{Event, PeerAddress};
use moat_policy::{Identity, Subject};

use super::answer::{goodbye, within};
use super::keeper::{After, Ending};
use super::{SessionRef, Shard};
use crate::durable::Write;
use crate::effects::{Close, ConnId, Effects};
use crate::session::aliases::OutboundAliases;
use crate::session::enhanced::Enhanced;
use crate::session::rate::PublishRate;
use crate::session::{Durable, Link, Opening, Session, SessionIndex};
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
    /// When that proof ends, as of [`Identity::expires_at`].
    pub expires_at: Time,
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
    /// A refusal in the client's protocol version that says nothing beyond the code, for strangers. A client that
    /// does not even take the smallest CONNACK learns it from the end of its connection.
    #[must_use]
    pub fn new(version: Version, size_max: u32, reason: ReasonCode) -> Refused {
        let mut bytes = Vec::new();
        let connack = ConnAck::new(reason);
        let _fits = within(size_max, &mut bytes, |out| connack.encode(version, out));
        Refused { reason, bytes }
    }

    /// A refusal no larger than the client takes, with `why` for people if there is room for it [MQTT-3.2.2-19]. Only
    /// who has proved who it is may be told more than the code.
    #[must_use]
    pub fn within(opening: &Opening, reason: ReasonCode, why: &str) -> Refused {
        let (version, size_max) = (opening.version, opening.maximum_packet_size);
        let mut bytes = Vec::new();
        let mut connack = ConnAck::new(reason);
        connack.properties.reason_string = Some(why);
        if within(size_max, &mut bytes, |out| connack.encode(version, out)) {
            return Refused { reason, bytes };
        }
        Refused::new(version, size_max, reason)
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
        let Some(terms) = Terms::fitting(&arrival.opening, &self.limits) else {
            let why = "the client's maximum packet size is too small for the CONNACK";
            let reason = ReasonCode::PacketTooLarge;
            return Err(Refused::within(&arrival.opening, reason, why));
        };
        self.judge_will(&arrival, fx)
            .map_err(|(reason, why)| Refused::within(&arrival.opening, reason, why))?;
        let existing = self.existing(&arrival, now, fx);
        let before = existing.and_then(|at| self.queue_of(at));
        if let Some(at) = existing {
            self.take_over(at, &arrival, now, fx);
        }
        let resumed = existing.filter(|at| {
            !arrival.opening.clean_start && self.residents.sessions.contains(at.get())
        });
        let at = match resumed {
            Some(at) => at,
            None => self.begin(existing, &arrival, now, fx).map_err(|reason| {
                let why = "the server has as many sessions as it can keep";
                Refused::within(&arrival.opening, reason, why)
            })?,
        };
        self.attach(at, arrival, &terms, resumed.is_some(), now, fx);
        self.keep_session(at, fx);
        let Some((to, conn)) = self.unannounced(at) else {
            return Ok(at);
        };
        let is_deleting = self
            .keeper
            .as_ref()
            .is_some_and(|keeper| keeper.is_deleting());
        if let Some(ending) = self.ending_before(at) {
            // It is told that there is no session any more, and that has to be so.
            ending.successors.push((to, conn));
        } else if before.is_some() || is_deleting || self.queue_of(at).is_some() {
            self.after_writes(After::ConnAck(to, conn), now, fx);
        } else {
            self.announce_session(to, conn, now, fx);
        }
        Ok(at)
    }

    /// Puts a session into the store if it is to outlive its connection, and changes what is there of it.
    fn keep_session(&mut self, at: SessionIndex, fx: &mut Effects) {
        let wants = |session: &Session| session.durable.is_none() && session.expiry_secs > 0;
        if self.session(at).is_some_and(wants)
            && let Some(queue) = self.new_queue(fx)
            && let Some(session) = self.residents.sessions.get_mut(at.get())
        {
            session.durable = Some(Box::new(Durable::new(queue)));
        }
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        let record = Box::new(session.record(None));
        let Some(durable) = session.durable.as_deref_mut() else {
            return;
        };
        let queue = durable.queue;
        fx.journal.push(Write::PutSession(queue, record));
        if let Some(cancelled) = durable.will.take() {
            fx.journal.push(Write::DeleteWill(queue, cancelled));
        }
        if let Some(will) = &session.will {
            durable.wills = durable.wills.wrapping_add(1);
            durable.will = Some(durable.wills);
            let will = Arc::clone(will);
            fx.journal.push(Write::PutWill(queue, durable.wills, will));
        }
    }

    /// The earlier session of the same client that is over and still in the store, if there is one.
    fn ending_before(&mut self, at: SessionIndex) -> Option<&mut Ending> {
        let session = self.residents.sessions.get(at.get())?;
        let mut endings = self.keeper.as_mut()?.endings.iter_mut().rev();
        endings.find(|Ending { key, .. }| {
            *key.0 == *session.identity.name && *key.1 == *session.client_id
        })
    }

    fn unannounced(&self, at: SessionIndex) -> Option<(SessionRef, ConnId)> {
        let session = self.session(at)?;
        let to = SessionRef {
            shard: self.id,
            session: at,
            generation: session.generation,
        };
        Some((to, session.link.as_deref()?.conn))
    }

    /// A session is in the store, if it is a durable one: its client is told, and sent what it is owed.
    pub(super) fn announce_session(
        &mut self,
        to: SessionRef,
        conn: ConnId,
        now: Time,
        fx: &mut Effects,
    ) {
        let same = self.residents.same(to.session, to.generation);
        let Some(link) = same.and_then(|session| session.link.as_deref_mut()) else {
            return;
        };
        if link.conn != conn {
            return;
        }
        link.is_unannounced = false;
        // It may well have waited for its CONNACK before it says anything.
        link.last_received = now;
        fx.dirty.push(conn);
        self.join_all(to.session, now, fx);
        self.pump(to.session, now, fx);
    }

    /// The session a connection may resume. One whose time is over is not there any more, even if its timer comes only
    /// behind this packet in the same turn [MQTT-4.1.0-2].
    fn existing(&mut self, arrival: &Arrival, now: Time, fx: &mut Effects) -> Option<SessionIndex> {
        let (identity, client_id) = (&arrival.identity.name, &arrival.opening.client_id);
        let at = self.residents.find(identity, client_id)?;
        if self.session(at)?.link.is_none() {
            self.due(at, now, fx);
        }
        self.residents.sessions.contains(at.get()).then_some(at)
    }

    /// A will is a publish like any other: without the right to it the CONNECT is refused.
    fn judge_will(
        &mut self,
        arrival: &Arrival,
        fx: &mut Effects,
    ) -> Result<(), (ReasonCode, &'static str)> {
        let Some(will) = &arrival.opening.will else {
            return Ok(());
        };
        let Some(packet) = will.as_packet(&self.limits.packet) else {
            let why = "the will's topic is beyond the limits of the server";
            return Err((ReasonCode::TopicNameInvalid, why));
        };
        let is_v5 = arrival.opening.version.is_v5();
        if packet.retain && is_v5 && self.limits.retained_messages_max == 0 {
            // [MQTT-3.2.2-13]
            let why = "the server keeps no retained messages, and the will is one";
            return Err((ReasonCode::RetainNotSupported, why));
        }
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
        let why = "this client may not publish its will; the server's administrator can allow it";
        Err((ReasonCode::NotAuthorized, why))
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
        let conn = link.conn;
        // The message that a slow reader has not been sent yet goes before the goodbye.
        let mut bytes = link.take_output();
        let taken_over = Disconnect {
            reason_string: Some("another connection with this client identifier took over"),
            ..Disconnect::new(ReasonCode::SessionTakenOver)
        };
        goodbye(link, taken_over, &mut bytes);
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
        terms: &Terms,
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
            expires_at,
        } = arrival;
        fx.events.push(Event::ClientConnected {
            identity: identity.name.to_string(),
            source: identity.source.to_string(),
            client_id: opening.client_id.to_string(),
            address,
            listener: listener.to_string(),
            version: version_name(opening.version).to_owned(),
            clean_start: opening.clean_start,
            session_present: resumed,
            keep_alive_secs: u64::from(terms.keep_alive_secs),
            tls: tls.map(str::to_owned),
        });
        let mut link = Link {
            conn,
            address,
            version: opening.version,
            aliases: InboundAliases::new(terms.topic_alias_maximum),
            aliases_out: OutboundAliases::new(
                opening.topic_alias_maximum.min(self.limits.topic_alias_max),
            ),
            out: Vec::new(),
            receive_maximum: opening
                .receive_maximum
                .min(self.limits.inflight_messages_max),
            send_quota: opening
                .receive_maximum
                .min(self.limits.inflight_messages_max),
            maximum_packet_size: opening.maximum_packet_size,
            wants_reasons: opening.request_problem_information,
            remembered: None,
            keep_alive_secs: terms.keep_alive_secs,
            last_received: now,
            rate: PublishRate::new(self.limits.publish_burst_max, now),
            filter_rate: PublishRate::new(self.limits.filter_burst_max(), now),
            partial: None,
            unanswered: VecDeque::new(),
            is_paused: false,
            is_unannounced: true,
            waiting_subscribes: 0,
            connect_expiry_secs: opening.session_expiry_secs,
            expires_at,
            enhanced: opening
                .authentication
                .as_ref()
                .map(|authentication| Enhanced::new(authentication.method.clone())),
        };
        let connack = connack(&opening, &self.limits, terms, resumed);
        // These terms were chosen because it fits.
        let _written = connack.encode(opening.version, link.buffer(&mut self.residents.pool));
        session.identity = identity;
        session.expiry_secs = terms.expiry_secs;
        session.will = opening.will;
        session.will_at = Time::NEVER;
        session.ends_at = Time::NEVER;
        session.link = Some(Box::new(link));
        if let Some(outbound) = session.outbound.as_deref_mut() {
            outbound.connection_made();
        }
        let counters = &mut self.residents.counters;
        counters.connects_total += 1;
        // The CONNECT was read by the driver, and the CONNACK goes past `say`.
        counters.packets_received_total += 1;
        counters.answers_sent_total += 1;
        self.arm(at);
    }
}

/// What the server grants a client beside its session.
struct Terms {
    keep_alive_secs: u16,
    /// Whether `keep_alive_secs` is not what the client asked for and it has to be told.
    tell_keep_alive: bool,
    expiry_secs: u32,
    /// Aliases the client may set; 0 is said by leaving it out.
    topic_alias_maximum: u16,
}

impl Terms {
    /// The best terms whose CONNACK fits the client [MQTT-3.1.2-24]. What protects the server is in all of them.
    /// `None` for a client that takes none.
    fn fitting(opening: &Opening, limits: &crate::Limits) -> Option<Terms> {
        let (keep_alive_secs, tell_keep_alive) = opening.keep_alive(limits);
        let aliases = if opening.version.is_v5() {
            limits.topic_alias_max
        } else {
            0
        };
        [aliases, 0].into_iter().find_map(|topic_alias_maximum| {
            let terms = Terms {
                keep_alive_secs,
                tell_keep_alive,
                expiry_secs: match opening.session_expiry_secs {
                    0 => 0,
                    asked => asked.min(limits.session_expiry_secs_max),
                },
                topic_alias_maximum,
            };
            let fits = within(opening.maximum_packet_size, &mut Vec::new(), |out| {
                connack(opening, limits, &terms, true).encode(opening.version, out)
            });
            fits.then_some(terms)
        })
    }
}

/// The CONNACK that grants `opening` (3.2).
fn connack<'a>(
    opening: &'a Opening,
    limits: &crate::Limits,
    terms: &Terms,
    resumed: bool,
) -> ConnAck<'a> {
    let v5 = opening.version.is_v5();
    let authentication = opening.authentication.as_deref();
    ConnAck {
        // 3.1 has no such flag; its byte is reserved.
        session_present: resumed && opening.version != Version::V31,
        reason: ReasonCode::Success,
        properties: ConnAckProperties {
            session_expiry_secs: (v5 && terms.expiry_secs != opening.session_expiry_secs)
                .then_some(terms.expiry_secs),
            receive_maximum: std::num::NonZeroU16::new(limits.inflight_messages_max),
            maximum_packet_size: Some(limits.packet.packet_bytes_max),
            retain_available: (limits.retained_messages_max == 0).then_some(false),
            assigned_client_id: opening.client_id_assigned.then_some(&*opening.client_id),
            topic_alias_maximum: (terms.topic_alias_maximum > 0)
                .then_some(terms.topic_alias_maximum),
            server_keep_alive_secs: terms.tell_keep_alive.then_some(terms.keep_alive_secs),
            // [MQTT-4.12.0-5], [MQTT-4.12.0-6]
            authentication_method: authentication.map(|with| &*with.method),
            authentication_data: authentication.and_then(|with| with.data.as_deref()),
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
