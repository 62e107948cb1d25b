//! Enhanced authentication (MQTT 5.0 section 4.12): AUTH packets before a session, and again while it has one.
//!
//! A step of a mechanism runs on a worker of the service plane; meanwhile the client is a state. Before the CONNACK
//! that is `AwaitingAuth`, and `Exchanging` while the client has to answer. Later the session goes on, and the shard
//! says whose turn it is.

use std::sync::Arc;

use moat_auth::{ConnectRequest, Dialogue, EnhancedAuth, QueueFull, Step};
use moat_codec::{
    Auth, Connect, DecodeError, Framed, Packet, PacketType, ReasonCode, Version, frame,
};
use moat_core::ConnId;
use moat_core::session::SessionIndex;
use moat_core::session::enhanced::AuthenticationStep;
use moat_events::Event;
use moat_policy::Identity;
use zeroize::Zeroizing;

use super::EventLoop;
use super::greet::{Answer, Outcome, certificate_identity, expiry, speaker};
use crate::connection::{Asked, Paused, Stage};
use crate::inbox::Envelope;

/// How a client tried to prove who it is, for the log.
pub(super) const ENHANCED: &str = "enhanced";

/// What the log says of a client that would have had to wait for too many others.
const BUSY: &str = "password_checks_queued_max reached";

impl EventLoop {
    /// Begins the exchange that a CONNECT asked for. Its connection is `AwaitingAuth`.
    pub(super) fn begin_exchange(
        &mut self,
        id: ConnId,
        connect: &Connect<'_>,
        mechanism: Arc<dyn EnhancedAuth>,
        who: ConnectRequest,
    ) {
        let data = connect.properties.authentication_data;
        let data = data.map(|data| Zeroizing::new(data.to_vec()));
        if self
            .advance(id, Dialogue::new(mechanism, who), data)
            .is_err()
        {
            self.refuse(id, speaker(connect), ReasonCode::ServerBusy, BUSY);
        }
    }

    /// Lets a worker do a step; the answer comes as [`Outcome::Step`].
    fn advance(
        &mut self,
        id: ConnId,
        dialogue: Dialogue,
        data: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<(), QueueFull> {
        let inbox = self.common.inboxes[self.shard.id().index()].clone();
        let reply = Box::new(move |dialogue, step| {
            let outcome = Outcome::Step(Box::new(dialogue), Box::new(step));
            inbox.send_waiting(Envelope::Answer(Answer { conn: id, outcome }));
        });
        self.common.auth.try_advance(dialogue, data, reply)
    }

    /// A mechanism has done its step.
    pub(super) fn stepped(&mut self, id: ConnId, dialogue: Box<Dialogue>, step: Step) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        match connection.stage {
            Stage::AwaitingAuth(_) => self.stepped_before_session(id, dialogue, step),
            Stage::Attached(at) => self.stepped_in_session(id, at, dialogue, step),
            Stage::Greeting | Stage::Exchanging(..) | Stage::Arriving(..) | Stage::Closing => {}
        }
    }

    fn stepped_before_session(&mut self, id: ConnId, dialogue: Box<Dialogue>, step: Step) {
        match step {
            Step::Continue(data) => self.challenge(id, dialogue, &data),
            Step::Done { identity, data } => self.proved(id, identity, data),
            Step::Refuse(reject) => {
                let reason =
                    ReasonCode::from_byte(reject.connack_v5()).unwrap_or(ReasonCode::NotAuthorized);
                self.rejected(id, reason, &reject.to_string());
            }
            Step::Unavailable(error) => {
                self.rejected(id, ReasonCode::ServerUnavailable, &error.to_string());
            }
        }
    }

    /// Asks the client something, with AUTH 0x18 [MQTT-4.12.0-2].
    fn challenge(&mut self, id: ConnId, dialogue: Box<Dialogue>, data: &[u8]) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let Stage::AwaitingAuth(asked) = std::mem::replace(&mut connection.stage, Stage::Greeting)
        else {
            return;
        };
        let mut bytes = Vec::new();
        let auth = Auth {
            authentication_method: asked.method(),
            authentication_data: Some(data),
            ..Auth::new(ReasonCode::ContinueAuthentication)
        };
        let written = auth.encode(Version::V5, &mut bytes);
        let fits = written.is_ok_and(|bytes| bytes <= asked.opening.maximum_packet_size as usize);
        let size_max = asked.opening.maximum_packet_size;
        connection.stage = Stage::Exchanging(asked, dialogue);
        if !fits {
            let why = "the challenge is larger than the client's maximum packet size";
            self.refuse(id, (Version::V5, size_max), ReasonCode::PacketTooLarge, why);
            return;
        }
        if connection.seal_behind(&bytes).is_err() {
            self.drop_connection(id);
            return;
        }
        if connection.paused == Some(Paused::Auth) {
            connection.paused = None;
        }
        connection.ready.input = !connection.input.is_empty() || connection.half_closed;
        self.unflushed.push(id);
        self.list(id);
    }

    /// The client has proved who it is.
    fn proved(&mut self, id: ConnId, identity: Identity, data: Option<Vec<u8>>) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let Stage::AwaitingAuth(asked) = &mut connection.stage else {
            return;
        };
        if let Some(authentication) = asked.opening.authentication.as_deref_mut() {
            authentication.data = data.map(Vec::into_boxed_slice);
        }
        // Nothing but AUTH and DISCONNECT may come before the CONNACK, which has not been sent [MQTT-3.1.2-30].
        let next = connection.input.first().copied();
        let disconnect = Some(PacketType::Disconnect.first_byte());
        if next.is_some() && next != disconnect {
            let why = "a packet before the CONNACK of an enhanced authentication";
            self.protocol_error(id, why);
            return;
        }
        self.authenticated(id, Arc::new(identity));
    }

    /// Handles the answer to a challenge. Returns the bytes used.
    pub(super) fn exchange(&mut self, id: ConnId, bytes: &[u8]) -> usize {
        let limits = self.shard.limits().packet.clone();
        let decoded = match frame(bytes, &limits) {
            Ok(Framed::Incomplete { .. }) => return 0,
            Ok(Framed::Complete { total, .. }) => {
                Packet::decode(&bytes[..total], Version::V5, &limits).map(|packet| (total, packet))
            }
            Err(error) => Err(error),
        };
        match decoded {
            Ok((total, Packet::Auth(auth))) => {
                self.on_auth(id, &auth);
                total
            }
            Ok((total, Packet::Disconnect(_))) => {
                self.refuse_silently(id, "the client said goodbye before it was authenticated");
                total
            }
            Ok(_) => {
                let why = "a packet before the CONNACK of an enhanced authentication";
                self.protocol_error(id, why);
                0
            }
            Err(error) => {
                self.broken_exchange(id, &error);
                0
            }
        }
    }

    fn on_auth(&mut self, id: ConnId, auth: &Auth<'_>) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let Stage::Exchanging(asked, dialogue) =
            std::mem::replace(&mut connection.stage, Stage::Greeting)
        else {
            return;
        };
        // [MQTT-4.12.0-3], [MQTT-4.12.0-5]
        let is_right = auth.reason == ReasonCode::ContinueAuthentication
            && auth.authentication_method == asked.method();
        let speaker = (Version::V5, asked.opening.maximum_packet_size);
        connection.stage = Stage::AwaitingAuth(asked);
        if !is_right {
            let why = "AUTH with another reason or method than the exchange has";
            self.protocol_error(id, why);
            return;
        }
        let data = auth.authentication_data;
        let data = data.map(|data| Zeroizing::new(data.to_vec()));
        if self.advance(id, *dialogue, data).is_err() {
            self.refuse(id, speaker, ReasonCode::ServerBusy, BUSY);
        }
    }

    fn broken_exchange(&mut self, id: ConnId, error: &DecodeError) {
        let reason = error.reason();
        let reason = if reason.allowed_in(PacketType::ConnAck) {
            reason
        } else {
            ReasonCode::ProtocolError
        };
        let size_max = self.size_max(id);
        self.refuse(id, (Version::V5, size_max), reason, &error.to_string());
    }

    fn protocol_error(&mut self, id: ConnId, why: &str) {
        let speaker = (Version::V5, self.size_max(id));
        self.refuse(id, speaker, ReasonCode::ProtocolError, why);
    }

    /// The largest packet a client takes that has no session yet, in bytes.
    fn size_max(&mut self, id: ConnId) -> u32 {
        match self.connection(id).map(|connection| &connection.stage) {
            Some(Stage::AwaitingAuth(asked) | Stage::Exchanging(asked, _)) => {
                asked.opening.maximum_packet_size
            }
            _ => u32::MAX,
        }
    }

    /// Carries what connected clients said about who they are to their mechanisms.
    pub(super) fn authenticate_again(&mut self) {
        while let Some(step) = self.fx.authentications.pop() {
            let id = step.conn;
            let Some((at, dialogue)) = self.dialogue(&step) else {
                continue;
            };
            if self
                .advance(id, *dialogue, step.data.map(Zeroizing::new))
                .is_err()
            {
                let reason = ReasonCode::ServerBusy;
                self.shard
                    .close(at, reason, "server busy", self.now, &mut self.fx);
            }
        }
        self.settle();
    }

    /// The exchange that a step belongs to: the one under way, or a new one. None where the method is gone, which ends
    /// the connection, or the connection itself is.
    fn dialogue(&mut self, step: &AuthenticationStep) -> Option<(SessionIndex, Box<Dialogue>)> {
        let common = Arc::clone(&self.common);
        let connection = self.connection(step.conn)?;
        let Stage::Attached(at) = connection.stage else {
            return None;
        };
        if !step.begins {
            return Some((at, connection.dialogue.take()?));
        }
        let certificate = certificate_identity(connection);
        let (address, listener) = (connection.address, Arc::clone(&connection.listener.name));
        let mechanism = common.mechanisms.find(&step.method);
        let (Ok(certificate), Some(mechanism)) = (certificate, mechanism) else {
            self.not_proved(
                step.conn,
                at,
                "the certificate or the method is of no use any more",
            );
            return None;
        };
        let who = ConnectRequest {
            client_id: self.shard.session(at)?.client_id.to_string(),
            username: None,
            password: None,
            certificate,
            address,
            listener,
        };
        let dialogue = Dialogue::new(Arc::clone(mechanism), who);
        Some((at, Box::new(dialogue)))
    }

    fn stepped_in_session(
        &mut self,
        id: ConnId,
        at: SessionIndex,
        dialogue: Box<Dialogue>,
        step: Step,
    ) {
        match step {
            Step::Continue(data) => {
                if let Some(connection) = self.connection(id) {
                    connection.dialogue = Some(dialogue);
                }
                self.shard.challenge(at, &data, self.now, &mut self.fx);
            }
            Step::Done { identity, data } => {
                let (now, fx) = (self.now, &mut self.fx);
                let expires_at = expiry(&identity, now);
                let proof = (Arc::new(identity), expires_at);
                let kept = self
                    .shard
                    .reauthenticated(at, proof, data.as_deref(), now, fx);
                if kept.is_err() {
                    self.not_proved(id, at, "it proved to be another identity");
                }
            }
            Step::Refuse(reject) => self.not_proved(id, at, &reject.to_string()),
            Step::Unavailable(error) => self.not_proved(id, at, &error.to_string()),
        }
        self.settle();
    }

    /// A client did not prove again who it is, which ends its connection [MQTT-4.12.1-2].
    fn not_proved(&mut self, id: ConnId, at: SessionIndex, cause: &str) {
        let session = self.shard.session(at);
        let client_id = session.map(|session| session.client_id.to_string());
        let identity = session.map(|session| session.identity.name.to_string());
        if let (Some(client_id), Some(connection)) = (client_id, self.connection(id)) {
            let event = Event::AuthenticationFailed {
                identity,
                client_id,
                address: connection.address,
                listener: connection.listener.name.to_string(),
                method: ENHANCED.to_owned(),
                reason: cause.to_owned(),
            };
            self.fx.events.push(event);
        }
        let reason = ReasonCode::NotAuthorized;
        self.shard.close(
            at,
            reason,
            "re-authentication failed",
            self.now,
            &mut self.fx,
        );
    }
}

impl Asked {
    /// The authentication method of its CONNECT.
    fn method(&self) -> Option<&str> {
        let authentication = self.opening.authentication.as_deref()?;
        Some(&authentication.method)
    }
}
