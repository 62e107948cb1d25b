//! A new policy comes into force: what is no longer allowed ends.

use std::sync::Arc;

use moat_codec::ReasonCode;
use moat_events::Event;
use moat_policy::{Identity, Snapshot};

use super::{Shard, residents};
use crate::effects::Effects;
use crate::session::{Session, SessionIndex};
use crate::time::Time;

impl Shard {
    /// Judges by `policy` from now on, and re-judges the subscriptions and queued messages of every
    /// session. Wills are judged when they are published.
    pub fn set_policy(&mut self, policy: Arc<Snapshot>, now: Time, fx: &mut Effects) {
        self.policy = policy;
        let all: Vec<SessionIndex> = self
            .residents
            .sessions
            .iter()
            .map(|(at, _)| SessionIndex(u32::try_from(at).unwrap_or(u32::MAX)))
            .collect();
        for at in all {
            self.re_judge(at, now, fx);
        }
    }

    /// Closes the connections of all whom `may_stay` does not name any more. Their sessions take their course, as after
    /// any other end of a connection.
    pub fn put_out(&mut self, may_stay: impl Fn(&Identity) -> bool, now: Time, fx: &mut Effects) {
        let gone = |session: &Session| session.link.is_some() && !may_stay(&session.identity);
        let all: Vec<SessionIndex> = self
            .residents
            .sessions
            .iter()
            .filter(|(_, session)| gone(session))
            .map(|(at, _)| SessionIndex(u32::try_from(at).unwrap_or(u32::MAX)))
            .collect();
        for at in all {
            let why = "the user is in no users file any more";
            self.close(at, ReasonCode::NotAuthorized, why, now, fx);
        }
    }

    /// Re-judges one session, by a new policy or a new proof of who it is.
    pub(super) fn re_judge(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) {
        let policy = Arc::clone(&self.policy);
        let tail = self.keeper.as_ref().map(|keeper| &keeper.tail);
        let recall = |position| tail.and_then(|tail| tail.find(position)).cloned();
        let rejudged = self
            .residents
            .no_longer_allowed(at, &policy, &self.limits, recall);
        for (filter, rule) in rejudged.lost {
            self.remove_subscription(at, &filter, now, fx);
            let Some(session) = self.session(at) else {
                return;
            };
            fx.events.push(Event::SubscriptionRemoved {
                identity: session.identity.name.to_string(),
                client_id: session.client_id.to_string(),
                filter: filter.into(),
                rule,
            });
        }
        // Another member may have what this one may no longer.
        self.return_all(at, rejudged.unqueued_dealt, now, fx);
        // The owners of its groups judge each message for it, or no longer do.
        self.join_all(at, now, fx);
        let unqueued = rejudged.unqueued;
        if unqueued == 0 {
            return;
        }
        self.residents.counters.messages_dropped_total += unqueued;
        if let Some(session) = self.session(at) {
            fx.events.push(residents::dropped(
                session,
                unqueued,
                "no longer allowed by the policy",
            ));
        }
    }
}
