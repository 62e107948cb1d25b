//! Retained messages: the last acknowledged, or a later one that is not.

use std::collections::HashMap;
use std::sync::Arc;

use super::check::{Messages, Sent, note};
use super::{ClientNumber, Event, Fault, History, MessageId, Moment, Retain, Violation};

/// The messages that set or clear a topic's retained message.
type Writes<'m> = Vec<(MessageId, &'m Sent)>;

/// Every read of what cannot have been there.
pub(super) fn stale(history: &History, messages: &Messages) -> Vec<Violation> {
    let writes = by_topic(messages);
    let mut violations = Vec::new();
    let mut crashed = None;
    for (at, event) in history.events.iter().enumerate() {
        if matches!(event, Event::Crashed) {
            crashed = Some(at);
        }
        let Event::RetainedRead {
            topic,
            asked,
            message,
        } = event
        else {
            continue;
        };
        let writes = writes.get(topic).map_or(&[][..], |writes| writes);
        let read = Read {
            asked: *asked,
            at,
            crashed,
        };
        if !is_possible(writes, &read, *message) {
            violations.push(Violation {
                fault: Fault::StaleRetained,
                client: None,
                message: *message,
                topic: Some(topic.clone()),
                at: Some(at),
            });
        }
    }
    violations
}

/// The topics that have a retained message for certain, for somebody who asks now. Sorted.
pub(super) fn certain(history: &History) -> Vec<Arc<str>> {
    let mut messages = Messages::new();
    for (at, event) in history.events.iter().enumerate() {
        note(&mut messages, at, event);
    }
    let is_crash = |event: &Event| matches!(event, Event::Crashed);
    let now = Read {
        asked: history.now(),
        at: history.now().0,
        crashed: history.events.iter().rposition(is_crash),
    };
    let mut topics: Vec<Arc<str>> = by_topic(&messages)
        .into_iter()
        .filter(|(_, writes)| !is_possible(writes, &now, None))
        .map(|(topic, _)| topic.clone())
        .collect();
    topics.sort();
    topics
}

fn by_topic(messages: &Messages) -> HashMap<&Arc<str>, Writes<'_>> {
    let mut writes: HashMap<&Arc<str>, Writes<'_>> = HashMap::new();
    for (id, sent) in messages {
        if sent.retain != Retain::No {
            writes.entry(&sent.topic).or_default().push((*id, sent));
        }
    }
    writes
}

/// When somebody looks: from the moment he asks to the event by which he knows.
struct Read {
    asked: Moment,
    at: usize,
    /// The last crash before that.
    crashed: Option<usize>,
}

/// Whether `found` may be there for a read: no other write is known to have replaced it by then. Nothing is there at first.
fn is_possible(writes: &[(MessageId, &Sent)], read: &Read, found: Option<MessageId>) -> bool {
    let asked = read.asked;
    // When the latest of those that were acknowledged by then was sent; of all, and of each client.
    let mut latest: Option<usize> = None;
    let mut latest_of: HashMap<ClientNumber, usize> = HashMap::new();
    for (id, sent) in writes {
        if sent.acknowledged.is_some_and(|at| at < asked.0) {
            latest = latest.max(Some(sent.first));
            let of_client = latest_of.entry(id.publisher).or_default();
            *of_client = sent.first.max(*of_client);
        }
    }
    // It was acknowledged before that one was sent, or it is the same client's and was sent for the last time before that for the first.
    let is_replaced = |id: &MessageId, sent: &Sent| {
        sent.acknowledged.is_some_and(|at| latest > Some(at))
            || latest_of
                .get(&id.publisher)
                .is_some_and(|first| sent.last < *first)
    };
    let mut begun = writes.iter().filter(|(_, sent)| sent.first < read.at);
    match found {
        Some(found) => begun
            .any(|(id, sent)| *id == found && sent.retain == Retain::Set && !is_replaced(id, sent)),
        None => {
            // What is written while somebody asks may come to him as a live message instead. What was under way ends with a crash.
            let is_under_way = |sent: &Sent| match sent.acknowledged {
                Some(at) => at >= asked.0,
                None => Some(sent.last) > read.crashed,
            };
            latest.is_none()
                || begun.any(|(id, sent)| {
                    let is_cleared = sent.retain == Retain::Clear && !is_replaced(id, sent);
                    is_cleared || is_under_way(sent)
                })
        }
    }
}
