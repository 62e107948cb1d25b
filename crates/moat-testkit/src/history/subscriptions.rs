//! Who subscribed to what, and since when.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use moat_codec::{Limits, QoS, TopicFilter, TopicName};

use super::{ClientNumber, Event, Fault, Violation};

/// A granted subscription.
#[derive(Clone, Copy, Debug)]
struct Granted {
    /// The event that granted it first.
    since: usize,
    /// The lowest QoS it was granted.
    qos: QoS,
}

/// All subscriptions, those of groups by their filter.
#[derive(Default)]
pub(super) struct Subscriptions {
    granted: HashMap<ClientNumber, HashMap<Arc<str>, Granted>>,
    /// Everybody who was ever in a group, by the filter with `$share/`.
    members: HashMap<Arc<str>, BTreeSet<ClientNumber>>,
    /// The lowest QoS anybody in it asked for.
    lowest: HashMap<Arc<str>, QoS>,
    /// Groups that may lose a message: a member's session was not durable, or has ended [MQTT-4.8.2-5].
    may_lose: HashSet<Arc<str>>,
}

/// Somebody who has to get a topic's messages: a client, or any of the members of a group.
pub(super) struct Claim {
    pub(super) holders: Vec<ClientNumber>,
    pub(super) since: usize,
    pub(super) qos: QoS,
}

impl Subscriptions {
    pub(super) fn note(&mut self, at: usize, event: &Event) -> Option<Violation> {
        match event {
            Event::Subscribed {
                subscriber,
                filter,
                qos,
            } => {
                let filters = self.granted.entry(*subscriber).or_default();
                let granted = filters.entry(filter.clone()).or_insert(Granted {
                    since: at,
                    qos: *qos,
                });
                granted.qos = granted.qos.min(*qos);
                if filter.starts_with("$share/") {
                    let members = self.members.entry(filter.clone()).or_default();
                    members.insert(*subscriber);
                }
            }
            Event::GroupAsked {
                subscriber,
                filter,
                qos,
                is_durable,
            } => {
                let members = self.members.entry(filter.clone()).or_default();
                members.insert(*subscriber);
                let lowest = self.lowest.entry(filter.clone()).or_insert(*qos);
                *lowest = (*lowest).min(*qos);
                if !is_durable {
                    self.may_lose.insert(filter.clone());
                }
            }
            Event::Unsubscribed { subscriber, filter } => {
                if let Some(filters) = self.granted.get_mut(subscriber) {
                    filters.remove(filter);
                }
            }
            Event::SessionEnded { client } => {
                self.granted.remove(client);
                let of_it = self
                    .members
                    .iter()
                    .filter(|(_, members)| members.contains(client));
                self.may_lose
                    .extend(of_it.map(|(filter, _)| filter.clone()));
            }
            // The subscriptions stay: what was promised for them is owed all the same.
            Event::Connected {
                client,
                session_present: false,
            } if self
                .granted
                .get(client)
                .is_some_and(|filters| !filters.is_empty()) =>
            {
                return Some(Violation {
                    fault: Fault::SessionLost,
                    client: Some(*client),
                    message: None,
                    topic: None,
                    at: Some(at),
                });
            }
            _ => {}
        }
        None
    }

    /// Whether a subscription of the client's own, not a group's, covers a topic.
    pub(super) fn has_own(&self, client: ClientNumber, topic: &str) -> bool {
        let filters = self.granted.get(&client);
        filters.is_some_and(|filters| {
            let mut own = filters
                .keys()
                .filter(|filter| !filter.starts_with("$share/"));
            own.any(|filter| covers(filter, topic))
        })
    }

    /// Who has a claim to the messages of a topic that were sent after [`Claim::since`].
    pub(super) fn claims(&self, topic: &str) -> Vec<Claim> {
        let mut claims = Vec::new();
        let mut groups: HashMap<&Arc<str>, Granted> = HashMap::new();
        for (client, filters) in &self.granted {
            for (filter, granted) in filters {
                if !covers(filter, topic) {
                    continue;
                }
                if filter.starts_with("$share/") {
                    if self.may_lose.contains(filter) {
                        continue;
                    }
                    // One member with a claim is enough for the group to have one.
                    let group = groups.entry(filter).or_insert(*granted);
                    group.since = group.since.min(granted.since);
                    group.qos = group.qos.min(granted.qos);
                } else {
                    claims.push(Claim {
                        holders: vec![*client],
                        since: granted.since,
                        qos: granted.qos,
                    });
                }
            }
        }
        claims.extend(groups.into_iter().map(|(filter, granted)| {
            Claim {
                holders: self.members[filter].iter().copied().collect(),
                since: granted.since,
                qos: self
                    .lowest
                    .get(filter)
                    .map_or(granted.qos, |lowest| granted.qos.min(*lowest)),
            }
        }));
        // Hash maps have no order, and a verdict should be the same each time.
        claims.sort_by(|a, b| a.holders.cmp(&b.holders));
        claims
    }
}

/// Whether a filter, that of a group included, matches a topic.
fn covers(filter: &str, topic: &str) -> bool {
    let limits = Limits::generous();
    let (Ok(filter), Ok(topic)) = (
        TopicFilter::new(filter, &limits),
        TopicName::new(topic, &limits),
    ) else {
        return false;
    };
    let filter = filter.shared().map_or(filter, |shared| shared.filter);
    filter.matches(topic)
}
