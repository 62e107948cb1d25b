//! A new policy comes into force: what is no longer allowed ends.

use std::sync::Arc;

use moat_events::Event;
use moat_policy::Snapshot;

use super::{Shard, residents};
use crate::effects::Effects;
use crate::session::SessionIndex;

impl Shard {
    /// Judges by `policy` from now on, and re-judges the subscriptions and queued messages of every
    /// session. Wills are judged when they are published.
    pub fn set_policy(&mut self, policy: Arc<Snapshot>, fx: &mut Effects) {
        self.policy = policy;
        let all: Vec<SessionIndex> = self
            .residents
            .sessions
            .iter()
            .map(|(at, _)| SessionIndex(u32::try_from(at).unwrap_or(u32::MAX)))
            .collect();
        for at in all {
            self.re_judge(at, fx);
        }
    }

    /// Re-judges one session, by a new policy or a new proof of who it is.
    pub(super) fn re_judge(&mut self, at: SessionIndex, fx: &mut Effects) {
        let policy = Arc::clone(&self.policy);
        let (lost, unqueued) = self.residents.no_longer_allowed(at, &policy, &self.limits);
        for (filter, rule) in lost {
            self.remove_subscription(at, &filter, fx);
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
