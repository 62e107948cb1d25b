//! From the first CONNECT to the session: who is it, may it come, and where is its home.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::SystemTime;

use moat_auth::{ConnectRequest, Dialogue, EnhancedAuth, Password, Step, Verdict};
use moat_codec::{Connect, DecodeError, Framed, Packet, ReasonCode, Version, frame};
use moat_config::ClientIdMode;
use moat_core::session::Opening;
use moat_core::shard::{Arrival, Refused};
use moat_core::{ConnId, Time};
use moat_events::Event;
use moat_policy::{Identity, Source};

use super::EventLoop;
use super::exchange::ENHANCED;
use crate::connection::{Asked, Connection, Paused, Stage};
use crate::inbox::Envelope;
use crate::tls::identity_from_chain;

/// Random bytes of a client identifier made here [MQTT-3.1.3-6].
const CLIENT_ID_RANDOM_BYTES: usize = 16;

/// What the service plane says about a CONNECT.
pub struct Answer {
    /// Whose.
    pub conn: ConnId,
    /// What.
    pub outcome: Outcome,
}

/// What was found out about a client.
pub enum Outcome {
    /// Whether the chain vouches for it.
    Verdict(Verdict),
    /// What its mechanism says, and the exchange it is in.
    Step(Box<Dialogue>, Box<Step>),
}

impl EventLoop {
    /// Handles the first packet, which has to be a CONNECT [MQTT-3.1.0-1]. Returns the bytes used.
    pub(super) fn greet(&mut self, id: ConnId, bytes: &[u8]) -> usize {
        let limits = self.shard.limits().packet.clone();
        let decoded = match frame(bytes, &limits) {
            Ok(Framed::Incomplete { .. }) => return 0,
            // The version is in the packet itself.
            Ok(Framed::Complete { total, .. }) => {
                Packet::decode(&bytes[..total], Version::V311, &limits)
                    .map(|packet| (total, packet))
            }
            Err(error) => Err(error),
        };
        match decoded {
            Ok((total, Packet::Connect(connect))) => {
                self.connect(id, &connect);
                total
            }
            Ok(_) => {
                self.refuse_silently(id, "first packet is not a CONNECT");
                0
            }
            Err(error) => {
                self.malformed(id, bytes, &error);
                0
            }
        }
    }

    /// A CONNECT that cannot be read. A client whose version can be told gets its CONNACK
    /// [MQTT-3.1.2-1], [MQTT-3.1.4-1].
    fn malformed(&mut self, id: ConnId, bytes: &[u8], error: &DecodeError) {
        let reason = error.reason();
        // A level nobody here speaks is answered in the oldest form there is, with code 1.
        let unknown_level = matches!(error, DecodeError::UnsupportedProtocolLevel { .. });
        let version = Connect::peek_version(bytes).or(unknown_level.then_some(Version::V311));
        match version {
            // A 3.x CONNACK has a code for these three only (3.1.1 section 3.2.2.3).
            Some(version) if version.is_v5() || has_v3_code(reason) => {
                self.refuse(id, (version, u32::MAX), reason, &error.to_string());
            }
            _ => self.refuse_silently(id, &format!("malformed CONNECT: {error}")),
        }
    }

    fn connect(&mut self, id: ConnId, connect: &Connect<'_>) {
        let method = connect.properties.authentication_method;
        let mechanism = method.and_then(|method| self.common.mechanisms.find(method).cloned());
        let speaks = |_: &str| mechanism.is_some();
        let opening = match Opening::of_packet(connect, speaks, fresh_client_id) {
            Ok(opening) => opening,
            Err(reason) => {
                self.refuse(id, speaker(connect), reason, reason.name());
                return;
            }
        };
        let Some(connection) = self.connection(id) else {
            return;
        };
        let certificate = certificate_identity(connection);
        let tried = connect.username.map(Into::into);
        let method = match (&certificate, connect.username, connect.password) {
            _ if mechanism.is_some() => ENHANCED,
            (Ok(Some(_)) | Err(_), ..) => "certificate",
            (Ok(None), None, None) => "none",
            (Ok(None), ..) => "password",
        };
        connection.stage = Stage::AwaitingAuth(Box::new(Asked {
            opening,
            tried,
            method,
        }));
        match certificate {
            Ok(certificate) => self.ask(id, connect, certificate, mechanism),
            Err(error) => self.rejected(id, ReasonCode::NotAuthorized, &error),
        }
    }

    /// Asks the chain, or the mechanism of the client's authentication method. A certificate is decided at once; a password costs a hash, so a worker of
    /// the service plane does it while the connection waits as a state.
    fn ask(
        &mut self,
        id: ConnId,
        connect: &Connect<'_>,
        certificate: Option<Identity>,
        mechanism: Option<Arc<dyn EnhancedAuth>>,
    ) {
        let inbox = self.common.inboxes[self.shard.id().index()].clone();
        let Some(connection) = self.connection(id) else {
            return;
        };
        let offered =
            certificate.is_some() || connect.username.is_some() || connect.password.is_some();
        if !offered && mechanism.is_none() && connection.listener.anonymous {
            self.authenticated(id, Arc::new(Identity::anonymous()));
            return;
        }
        let at_once = certificate.is_some() || !offered;
        let request = ConnectRequest {
            client_id: connect.client_id.to_owned(),
            username: connect.username.map(str::to_owned),
            password: connect
                .password
                .map(|password| Password::new(password.to_vec())),
            certificate,
            address: connection.address,
            listener: Arc::clone(&connection.listener.name),
        };
        if let Some(mechanism) = mechanism {
            self.begin_exchange(id, connect, mechanism, request);
            return;
        }
        if at_once {
            let verdict = self.common.chain.authenticate(&request);
            let outcome = Outcome::Verdict(verdict);
            self.answered(Answer { conn: id, outcome });
            return;
        }
        let reply = Box::new(move |verdict| {
            let outcome = Outcome::Verdict(verdict);
            inbox.send_waiting(Envelope::Answer(Answer { conn: id, outcome }));
        });
        if self.common.auth.try_submit(request, reply).is_err() {
            self.refuse(
                id,
                speaker(connect),
                ReasonCode::ServerBusy,
                "password_checks_queued_max reached",
            );
        }
    }

    /// The chain has answered.
    pub(super) fn answered(&mut self, answer: Answer) {
        let id = answer.conn;
        let verdict = match answer.outcome {
            Outcome::Verdict(verdict) => verdict,
            Outcome::Step(dialogue, step) => return self.stepped(id, dialogue, *step),
        };
        match verdict {
            Verdict::Accept(identity) => self.authenticated(id, Arc::new(identity)),
            Verdict::Reject(reject) => {
                let reason =
                    ReasonCode::from_byte(reject.connack_v5()).unwrap_or(ReasonCode::NotAuthorized);
                self.rejected(id, reason, &reject.to_string());
            }
            Verdict::Unavailable(error) => {
                self.rejected(id, ReasonCode::ServerUnavailable, &error.to_string())
            }
            // A chain never says so; if it did, nobody would have vouched for the client.
            Verdict::NotMine => self.rejected(
                id,
                ReasonCode::NotAuthorized,
                "nobody knows these credentials",
            ),
        }
    }

    /// Nobody vouches for the client.
    pub(super) fn rejected(&mut self, id: ConnId, reason: ReasonCode, why: &str) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let Stage::AwaitingAuth(asked) = &connection.stage else {
            return;
        };
        // A stranger is told nothing beyond the code.
        let (version, size_max) = (asked.opening.version, asked.opening.maximum_packet_size);
        let Refused { bytes, .. } = Refused::new(version, size_max, reason);
        let event = Event::AuthenticationFailed {
            identity: asked.tried.as_deref().map(str::to_owned),
            client_id: asked.opening.client_id.to_string(),
            address: connection.address,
            listener: connection.listener.name.to_string(),
            method: asked.method.to_owned(),
            reason: why.to_owned(),
        };
        self.fx.events.push(event);
        self.begin_closing(id, &bytes);
    }

    /// It is known who it is: counts are checked, and it goes home.
    pub(super) fn authenticated(&mut self, id: ConnId, identity: Arc<Identity>) {
        let topology = self.common.topology.clone();
        let Some(connection) = self.connection(id) else {
            return;
        };
        let Stage::AwaitingAuth(asked) = std::mem::replace(&mut connection.stage, Stage::Greeting)
        else {
            return;
        };
        let mut opening = asked.opening;
        if let Err(why) = bind_client_id(connection.listener.client_id, &identity, &mut opening) {
            self.refuse_known(id, &opening, ReasonCode::ClientIdentifierNotValid, why, why);
            return;
        }
        // Strangers on an anonymous listener share a name, but they are not one identity.
        let anonymous = identity.source == Source::Anonymous;
        if connection
            .permit
            .authenticated_as((!anonymous).then_some(&identity.name))
            .is_err()
        {
            let (why, reached) = (
                "this identity has as many connections as the server allows",
                "connections_per_identity_max reached",
            );
            self.refuse_known(id, &opening, ReasonCode::QuotaExceeded, why, reached);
            return;
        }
        let home = topology.home(&identity.name, &opening.client_id);
        connection.stage = Stage::Arriving(Box::new(opening), identity);
        if home == self.shard.id() {
            self.arrive(id);
        } else {
            // It leaves at the end of the turn, with the bytes at hand put back into it.
            self.leaving.push((id, home));
        }
    }

    /// A connection has come home: its session begins or goes on.
    pub(super) fn arrive(&mut self, id: ConnId) {
        let now = self.now;
        let Some(connection) = self.connection(id) else {
            return;
        };
        let Stage::Arriving(opening, identity) =
            std::mem::replace(&mut connection.stage, Stage::Greeting)
        else {
            return;
        };
        if !self.common.chain.still_vouches_for(&identity) {
            // Taken out of the users file since the password was checked.
            let why = "the user is in no users file any more";
            let speaker = (opening.version, opening.maximum_packet_size);
            self.refuse(id, speaker, ReasonCode::NotAuthorized, why);
            return;
        }
        let Some(connection) = self.connection(id) else {
            return;
        };
        let arrival = Arrival {
            conn: id,
            address: connection.address,
            listener: Arc::clone(&connection.listener.name),
            tls: connection.tls_version(),
            opening: *opening,
            expires_at: expiry(&identity, now),
            identity,
        };
        let connected = self.shard.connect(arrival, self.now, &mut self.fx);
        self.settle();
        match connected {
            Ok(at) => {
                if let Some(connection) = self.connection(id) {
                    connection.stage = Stage::Attached(at);
                    if connection.paused == Some(Paused::Auth) {
                        connection.paused = None;
                    }
                    connection.ready.input = !connection.input.is_empty() || connection.half_closed;
                    self.list(id);
                }
            }
            Err(Refused { reason, bytes }) => {
                self.refused(id, reason, reason.name());
                self.begin_closing(id, &bytes);
            }
        }
    }

    /// Turns a stranger away with a CONNACK of at most `size_max` bytes, without a word of why.
    pub(super) fn refuse(
        &mut self,
        id: ConnId,
        (version, size_max): (Version, u32),
        reason: ReasonCode,
        why: &str,
    ) {
        self.refused(id, reason, why);
        let Refused { bytes, .. } = Refused::new(version, size_max, reason);
        self.begin_closing(id, &bytes);
    }

    /// Turns away a client that has proved who it is: it may hear `why`, the log tells `cause`.
    fn refuse_known(
        &mut self,
        id: ConnId,
        opening: &Opening,
        reason: ReasonCode,
        why: &str,
        cause: &str,
    ) {
        self.refused(id, reason, cause);
        let Refused { bytes, .. } = Refused::within(opening, reason, why);
        self.begin_closing(id, &bytes);
    }

    fn refused(&mut self, id: ConnId, reason: ReasonCode, why: &str) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let (address, listener) = (connection.address, connection.listener.name.to_string());
        let reason = format!("{why} (0x{:02x})", reason.byte());
        self.fx.events.push(Event::ConnectionRefused {
            address,
            listener,
            reason,
        });
    }
}

/// When what proved an identity ends, on the clock of the shards.
pub(super) fn expiry(identity: &Identity, now: Time) -> Time {
    let Some(at) = identity.expires_at else {
        return Time::NEVER;
    };
    match at.duration_since(SystemTime::now()) {
        Ok(left) => now.plus_millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        Err(_passed) => now,
    }
}

/// The identity that a verified client certificate proves, if there is one.
pub(super) fn certificate_identity(connection: &Connection) -> Result<Option<Identity>, String> {
    let Some(chain) = connection
        .tls
        .as_ref()
        .and_then(|tls| tls.peer_certificates())
    else {
        return Ok(None);
    };
    if chain.is_empty() {
        return Ok(None);
    }
    identity_from_chain(chain, connection.listener.identity_key)
        .map(Some)
        .map_err(|error| error.to_string())
}

/// Holds the client identifier to the listener's rule. One that was made here follows it.
fn bind_client_id(
    mode: ClientIdMode,
    identity: &Identity,
    opening: &mut Opening,
) -> Result<(), &'static str> {
    let fits = match mode {
        ClientIdMode::Any => true,
        ClientIdMode::IsIdentity | ClientIdMode::StartsWithIdentity
            if opening.client_id_assigned =>
        {
            opening.client_id = (*identity.name).into();
            true
        }
        ClientIdMode::IsIdentity => *opening.client_id == *identity.name,
        ClientIdMode::StartsWithIdentity => opening.client_id.starts_with(&*identity.name),
    };
    if fits {
        Ok(())
    } else {
        Err("the listener binds client ids to identities, and this one is not its identity's")
    }
}

/// The version of a client and the largest packet it takes, in bytes.
pub(super) fn speaker(connect: &Connect<'_>) -> (Version, u32) {
    let size_max = connect.properties.maximum_packet_size;
    (connect.version, size_max.map_or(u32::MAX, NonZeroU32::get))
}

fn has_v3_code(reason: ReasonCode) -> bool {
    use ReasonCode::{BadUserNameOrPassword, ClientIdentifierNotValid, UnsupportedProtocolVersion};
    matches!(
        reason,
        UnsupportedProtocolVersion | ClientIdentifierNotValid | BadUserNameOrPassword
    )
}

/// A client identifier nobody can guess.
fn fresh_client_id() -> Box<str> {
    let mut random = [0u8; CLIENT_ID_RANDOM_BYTES];
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    // Without randomness identifiers would repeat, and a repeated one takes a session over; the
    // generator of aws-lc aborts rather than fail, so this is never an error.
    let _filled = provider.secure_random.fill(&mut random);
    let mut id = String::with_capacity(5 + 2 * CLIENT_ID_RANDOM_BYTES);
    id.push_str("auto-");
    for byte in random {
        id.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        id.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    id.into_boxed_str()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_end_of_a_proof_is_told_on_the_clock_of_the_shards() {
        let now = Time::from_millis(5000);
        let ending = |at: Option<SystemTime>| {
            let mut identity = Identity::from_password("anna");
            identity.expires_at = at;
            expiry(&identity, now)
        };
        assert_eq!(ending(None), Time::NEVER);
        let hour = Duration::from_secs(3600);
        assert_eq!(ending(Some(SystemTime::now() - hour)), now);
        let end = ending(Some(SystemTime::now() + hour));
        let hour_later = now.plus_secs(3600);
        assert!(
            end <= hour_later && hour_later.millis_since(end) < 60_000,
            "{end:?}"
        );
    }
}
