//! Keep alive, will delay and session expiry.

use std::cmp::Reverse;

use moat_codec::ReasonCode;
use moat_events::Event;

use super::Shard;
use crate::durable::Write;
use crate::effects::Effects;
use crate::session::SessionIndex;
use crate::time::Time;

/// Milliseconds between two searches for expired retained messages.
const RETAINED_SWEEP_MILLIS: u64 = 60_000;

/// A session's place in the heap: when, which, and the generation it was armed in.
pub(super) type Timer = Reverse<(Time, SessionIndex, u32)>;

impl Shard {
    /// The earliest moment [`Shard::tick`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        if !self.delayed_searches.is_empty() {
            return Some(Time::ZERO);
        }
        let timer = self.timers.peek().map(|Reverse((due, ..))| *due);
        let save = self.keeper.as_ref().map(|keeper| keeper.next_timeout());
        let save = save.filter(|due| *due != Time::NEVER);
        timer.into_iter().chain(save).min()
    }

    /// Puts a session into the heap unless it stands there early enough.
    ///
    /// A deadline that moves away, as a keep alive does with every packet, is not touched here:
    /// its old entry comes due, finds nothing, and is armed anew.
    pub(super) fn arm(&mut self, at: SessionIndex) {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        let due = session.next_timeout();
        if due < session.timer_at {
            session.timer_at = due;
            self.timers.push(Reverse((due, at, session.generation)));
        }
    }

    /// Does what is due. Meant to be called once per turn: it begins the budgets that turns have.
    pub fn tick(&mut self, now: Time, fx: &mut Effects) {
        self.search_delayed(now, fx);
        while let Some(Reverse((due, at, generation))) = self.timers.peek().copied() {
            if due > now {
                break;
            }
            self.timers.pop();
            let Some(session) = self.residents.same(at, generation) else {
                continue;
            };
            if session.timer_at != due {
                continue;
            }
            session.timer_at = Time::NEVER;
            self.due(at, now, fx);
            self.arm(at);
        }
        if now.millis_since(self.retained_swept) >= RETAINED_SWEEP_MILLIS {
            self.retained_swept = now;
            for message in self.retained.sweep(now) {
                if self.keeper.is_some() {
                    let topic = message.topic().into();
                    fx.journal.push(Write::DeleteRetained(topic));
                }
            }
        }
    }

    /// Does what is due for one session.
    pub(super) fn due(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        if let Some(link) = session.link.as_deref_mut()
            && link.is_paused
        {
            // What it has sent meanwhile has not been read, a PINGREQ or a DISCONNECT perhaps.
            link.last_received = now;
        }
        let silent = session
            .link
            .as_ref()
            .is_some_and(|link| link.keep_alive_deadline() <= now);
        let unproved = session
            .link
            .as_ref()
            .is_some_and(|link| link.reauthentication_deadline() <= now);
        let expired = session
            .link
            .as_ref()
            .is_some_and(|link| link.expires_at <= now);
        let (will_due, over) = (session.will_at <= now, session.ends_at <= now);
        if silent {
            // [MQTT-3.1.2-22]
            self.close(
                at,
                ReasonCode::KeepAliveTimeout,
                "keep alive timed out",
                now,
                fx,
            );
            return;
        }
        if unproved {
            // [MQTT-4.12.1-2]
            let why = "re-authentication took too long";
            self.close(at, ReasonCode::NotAuthorized, why, now, fx);
            return;
        }
        if expired {
            let (reason, why) = (
                ReasonCode::MaximumConnectTime,
                "what proved the client's identity has ended",
            );
            self.close(at, reason, why, now, fx);
            return;
        }
        if will_due {
            self.publish_will(at, now, fx);
        }
        if over {
            self.residents.counters.sessions_expired_total += 1;
            if let Some(session) = self.residents.sessions.get(at.get()) {
                fx.events.push(Event::SessionExpired {
                    identity: session.identity.name.to_string(),
                    client_id: session.client_id.to_string(),
                    queued: session.queued() as u64,
                });
            }
            self.end_session(at, now, fx);
        }
    }
}
