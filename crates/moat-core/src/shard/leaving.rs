//! Sessions that are gone while messages of theirs are still on their way.
//!
//! The messages of a client keep their order, whichever of its sessions they came by [MQTT-4.6.0-6]: what it publishes in a new one waits
//! for those.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;

use crate::session::{Session, SessionIndex};

/// Whose a session was: identity and client identifier.
type Key = (Arc<str>, Box<str>);

/// A session that is gone.
struct Left {
    whose: Key,
    /// Messages that have yet to arrive, or to be durable.
    under_way: u32,
}

/// All of them. Each has at least one message under way, so there are no more than those.
#[derive(Default)]
pub(super) struct Leaving {
    sessions: HashMap<(SessionIndex, u32), Left, RandomState>,
    /// How many of them each client has had.
    clients: HashMap<Key, u32, RandomState>,
}

impl Leaving {
    /// Whether a client that begins a session has one here.
    pub(super) fn has(&self, identity: &Arc<str>, client_id: &str) -> bool {
        !self.clients.is_empty()
            && self
                .clients
                .contains_key(&(Arc::clone(identity), client_id.into()))
    }

    /// A session is gone.
    pub(super) fn add(&mut self, at: SessionIndex, session: &Session) {
        let under_way = session.unwritten + session.via_owner.iter().sum::<u32>();
        if under_way == 0 {
            return;
        }
        let whose = (
            Arc::clone(&session.identity.name),
            session.client_id.clone(),
        );
        *self.clients.entry(whose.clone()).or_default() += 1;
        let left = Left { whose, under_way };
        self.sessions.insert((at, session.generation), left);
    }

    /// One of a session's messages has arrived. Returns whose it was, if that was the last one of a client.
    pub(super) fn arrived(&mut self, at: SessionIndex, generation: u32) -> Option<Key> {
        let left = self.sessions.get_mut(&(at, generation))?;
        left.under_way -= 1;
        if left.under_way > 0 {
            return None;
        }
        let Left { whose, .. } = self.sessions.remove(&(at, generation))?;
        let count = self.clients.get_mut(&whose)?;
        *count -= 1;
        if *count > 0 {
            return None;
        }
        self.clients.remove(&whose);
        Some(whose)
    }
}
