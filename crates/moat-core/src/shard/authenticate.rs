//! AUTH from a connected client: it proves again who it is (4.12.1).
//!
//! The shard keeps the order of the exchange; what is said in it is judged elsewhere. A driver carries
//! [`Effects::authentications`] to the mechanism and comes back with [`Shard::challenge`] or
//! [`Shard::reauthenticated`], or closes. Meanwhile all other packets go on under the old proof.

use std::sync::Arc;

use moat_codec::{Auth, ReasonCode};
use moat_policy::Identity;

use super::Shard;
use super::answer::within;
use super::receive::{Next, Violation};
use crate::effects::Effects;
use crate::session::SessionIndex;
use crate::session::enhanced::{AuthenticationStep, REAUTHENTICATION_SECS_MAX, Turn};
use crate::time::Time;

/// A client has proved that it is somebody else than whose session it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AnotherIdentity;

impl Shard {
    /// Handles an AUTH.
    pub(super) fn on_auth(
        &mut self,
        at: SessionIndex,
        auth: &Auth<'_>,
        now: Time,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let wrong = |error| Err(Violation::new(ReasonCode::ProtocolError, error));
        let Some(link) = self.link(at) else {
            return Ok(Next::Closed);
        };
        let conn = link.conn;
        let Some(enhanced) = link.enhanced.as_deref_mut() else {
            // [MQTT-4.12.0-7]
            return wrong("AUTH without an authentication method");
        };
        if auth.authentication_method != Some(&*enhanced.method) {
            // [MQTT-4.12.1-1]
            return wrong("AUTH with another authentication method than the CONNECT");
        }
        let begins = match (auth.reason, enhanced.turn) {
            (ReasonCode::ReAuthenticate, Turn::Nobody) => true,
            (ReasonCode::ContinueAuthentication, Turn::Client) => false,
            (ReasonCode::ReAuthenticate, _) => {
                return wrong("a second re-authentication while one is under way");
            }
            (ReasonCode::ContinueAuthentication, _) => {
                return wrong("AUTH that answers nothing the server asked");
            }
            _ => return wrong("AUTH with a reason that only a server has"),
        };
        enhanced.turn = Turn::Server;
        if begins {
            enhanced.deadline = now.plus_secs(REAUTHENTICATION_SECS_MAX);
        }
        fx.authentications.push(AuthenticationStep {
            conn,
            begins,
            method: enhanced.method.clone(),
            data: auth.authentication_data.map(<[u8]>::to_vec),
        });
        self.arm(at);
        Ok(Next::Continue)
    }

    /// The mechanism asks the client something: AUTH 0x18 goes out [MQTT-4.12.0-2]. Without a re-authentication under
    /// way nothing happens.
    pub fn challenge(&mut self, at: SessionIndex, data: &[u8], now: Time, fx: &mut Effects) {
        if self.take_turn(at, Turn::Client) {
            let reason = ReasonCode::ContinueAuthentication;
            self.say_auth(at, reason, Some(data), now, fx);
        }
    }

    /// The mechanism knows who the client is: AUTH 0x00 goes out with its last word, and what the session may is
    /// judged by the new proof from now on, until `expires_at`.
    ///
    /// # Errors
    /// [`AnotherIdentity`]: a session belongs to one identity, so the driver has to end the connection.
    pub fn reauthenticated(
        &mut self,
        at: SessionIndex,
        (identity, expires_at): (Arc<Identity>, Time),
        data: Option<&[u8]>,
        now: Time,
        fx: &mut Effects,
    ) -> Result<(), AnotherIdentity> {
        if !self.take_turn(at, Turn::Nobody) {
            return Ok(());
        }
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return Ok(());
        };
        if session.identity.name != identity.name {
            return Err(AnotherIdentity);
        }
        session.identity = identity;
        if let Some(link) = session.link.as_deref_mut() {
            link.expires_at = expires_at;
            // It may be in other groups now.
            link.remembered = None;
            if let Some(enhanced) = link.enhanced.as_deref_mut() {
                enhanced.deadline = Time::NEVER;
            }
        }
        self.arm(at);
        self.re_judge(at, now, fx);
        self.say_auth(at, ReasonCode::Success, data, now, fx);
        Ok(())
    }

    /// Ends the server's turn. Returns whether it had one: an answer that comes later is nobody's.
    fn take_turn(&mut self, at: SessionIndex, next: Turn) -> bool {
        let link = self.link(at);
        let enhanced = link.and_then(|link| link.enhanced.as_deref_mut());
        match enhanced {
            Some(enhanced) if enhanced.turn == Turn::Server => {
                enhanced.turn = next;
                true
            }
            _ => false,
        }
    }

    /// Sends an AUTH with the method of the connection [MQTT-4.12.0-5]. What does not fit the client ends it: without
    /// the mechanism's word there is no exchange.
    fn say_auth(
        &mut self,
        at: SessionIndex,
        reason: ReasonCode,
        data: Option<&[u8]>,
        now: Time,
        fx: &mut Effects,
    ) {
        let link = self.link(at);
        let Some((method, size_max)) = link.and_then(|link| {
            let method = link.enhanced.as_ref()?.method.clone();
            Some((method, link.maximum_packet_size))
        }) else {
            return;
        };
        let auth = Auth {
            authentication_method: Some(&method),
            authentication_data: data,
            ..Auth::new(reason)
        };
        let mut fits = false;
        self.say(at, fx, |version, out| {
            fits = within(size_max, out, |out| auth.encode(version, out));
        });
        if !fits {
            let why = "the AUTH packet is larger than the client's maximum packet size";
            self.close(at, ReasonCode::PacketTooLarge, why, now, fx);
        }
    }
}
