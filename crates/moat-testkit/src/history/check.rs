//! One walk through the events, with each question asked by its own part.

use std::collections::HashMap;
use std::sync::Arc;

use moat_codec::QoS;

use super::delivery::Deliveries;
use super::subscriptions::Subscriptions;
use super::wills::Wills;
use super::{Event, Fault, History, MessageId, Retain, Summary, Verdict, Violation, retained};

/// What is known of a message that was sent.
pub(super) struct Sent {
    pub(super) topic: Arc<str>,
    pub(super) qos: QoS,
    pub(super) retain: Retain,
    /// The events of its first and last PUBLISH.
    pub(super) first: usize,
    pub(super) last: usize,
    /// How often it was sent.
    pub(super) times: u32,
    /// The event of the first acknowledgement.
    pub(super) acknowledged: Option<usize>,
}

/// All messages that were sent, wills not included.
pub(super) type Messages = HashMap<MessageId, Sent>;

pub(super) fn check(history: &History) -> Verdict {
    let mut violations = Vec::new();
    let mut summary = Summary {
        events: history.events.len(),
        ..Summary::default()
    };
    let mut messages = Messages::new();
    let mut subscriptions = Subscriptions::default();
    let mut wills = Wills::default();
    let mut deliveries = Deliveries::default();
    for (at, event) in history.events.iter().enumerate() {
        note(&mut messages, at, event);
        violations.extend(subscriptions.note(at, event));
        wills.note(at, event);
        deliveries.note(at, event);
        match event {
            Event::Crashed => summary.crashes += 1,
            Event::RetainedRead { .. } => summary.retained_reads += 1,
            Event::Delivered(delivery) => {
                summary.deliveries += 1;
                if let Some(fault) = sent_fault(&messages, &wills, delivery) {
                    let mut violation = Violation::of_delivery(fault, delivery, at);
                    violation.at = Some(at);
                    violations.push(violation);
                } else if !delivery.retain {
                    violations.extend(wills.delivered(at, delivery));
                    violations.extend(deliveries.delivered(
                        at,
                        delivery,
                        &messages,
                        &subscriptions,
                    ));
                }
            }
            _ => {}
        }
    }
    summary.sent = messages.len();
    summary.acknowledged = messages
        .values()
        .filter(|sent| sent.acknowledged.is_some())
        .count();
    summary.repeats = deliveries.repeats;
    violations.extend(deliveries.lost(&messages, &subscriptions, &mut summary));
    violations.extend(wills.missing(&deliveries, &subscriptions, &mut summary));
    violations.extend(retained::stale(history, &messages));
    Verdict::new(history, violations, summary)
}

/// Keeps what is sent and acknowledged.
pub(super) fn note(messages: &mut Messages, at: usize, event: &Event) {
    match event {
        Event::Sent {
            message,
            topic,
            qos,
            retain,
        } => {
            let sent = messages.entry(*message).or_insert_with(|| Sent {
                topic: topic.clone(),
                qos: *qos,
                retain: *retain,
                first: at,
                last: at,
                times: 0,
                acknowledged: None,
            });
            sent.last = at;
            sent.times += 1;
        }
        Event::Acknowledged { message, .. } => {
            if let Some(sent) = messages.get_mut(message) {
                sent.acknowledged.get_or_insert(at);
            }
        }
        _ => {}
    }
}

fn sent_fault(messages: &Messages, wills: &Wills, delivery: &super::Delivery) -> Option<Fault> {
    let topic = match messages.get(&delivery.message) {
        Some(sent) => Some(&sent.topic),
        None => wills.topic(delivery.message),
    };
    (topic != Some(&delivery.topic)).then_some(Fault::NeverSent)
}

impl Violation {
    pub(super) fn of_delivery(fault: Fault, delivery: &super::Delivery, at: usize) -> Self {
        Violation {
            fault,
            client: Some(delivery.subscriber),
            message: Some(delivery.message),
            topic: Some(delivery.topic.clone()),
            at: Some(at),
        }
    }
}
