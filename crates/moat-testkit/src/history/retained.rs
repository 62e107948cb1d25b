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
    for (at, event) in history.events.iter().enumerate() {
        let Event::RetainedRead {
            topic,
            asked,
            message,
        } = event
        else {
            continue;
        };
        let writes = writes.get(topic).map_or(&[][..], |writes| writes);
        if !is_possible(writes, *asked, at, *message) {
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
    let now = history.now();
    let mut topics: Vec<Arc<str>> = by_topic(&messages)
        .into_iter()
        .filter(|(_, writes)| !is_possible(writes, now, now.0, None))
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

/// Whether `found` may be there between `asked` and the event `read`: no other write is known to have replaced it by then. Nothing is there
/// at first.
fn is_possible(
    writes: &[(MessageId, &Sent)],
    asked: Moment,
    read: usize,
    found: Option<MessageId>,
) -> bool {
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
    let mut begun = writes.iter().filter(|(_, sent)| sent.first < read);
    match found {
        Some(found) => begun
            .any(|(id, sent)| *id == found && sent.retain == Retain::Set && !is_replaced(id, sent)),
        // What is written while somebody asks may come to him as a live message instead.
        None => {
            latest.is_none()
                || begun.any(|(id, sent)| {
                    let is_cleared = sent.retain == Retain::Clear && !is_replaced(id, sent);
                    is_cleared || sent.acknowledged.is_none_or(|at| at >= asked.0)
                })
        }
    }
}
