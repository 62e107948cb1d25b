//! A broken promise, as a value and as text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{ClientNumber, Event, History, MessageId};

/// The most violations of each promise that are told with the events around them; the others are counted.
const EXPLAINED_MAX: usize = 3;
/// The most events told with one violation.
const EVENTS_TOLD_MAX: usize = 60;

/// Which promise was broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fault {
    /// An acknowledged message never came to a durable subscriber.
    Lost,
    /// A QoS 2 message was taken twice.
    Doubled,
    /// A message came again without DUP, though its publisher did not send it again.
    RepeatWithoutDup,
    /// A message came again on the same connection.
    RepeatWithoutReconnect,
    /// A message came for the first time after a later one of the same publisher, topic and QoS.
    OutOfOrder,
    /// What came was never sent, or sent to another topic.
    NeverSent,
    /// A later retained message was acknowledged before this one was read.
    StaleRetained,
    /// A will that was due did not come.
    MissingWill,
    /// A will came that was not due.
    UndueWill,
    /// A will came twice.
    DoubledWill,
    /// A session with a granted subscription was gone.
    SessionLost,
}

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which.
    pub fault: Fault,
    /// To whom, where it was a client; of a lost session, whose.
    pub client: Option<ClientNumber>,
    /// About which message.
    pub message: Option<MessageId>,
    /// On which topic.
    pub topic: Option<Arc<str>>,
    /// The index of the event that broke it; `None` for what never happened.
    pub at: Option<usize>,
}

/// How much was checked: a clean verdict about nothing says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// Events.
    pub events: usize,
    /// Deaths of the broker.
    pub crashes: usize,
    /// Messages sent, wills not counted.
    pub sent: usize,
    /// Messages acknowledged.
    pub acknowledged: usize,
    /// Deliveries, repeats included.
    pub deliveries: usize,
    /// Deliveries of what had come before.
    pub repeats: usize,
    /// Pairs of an acknowledged message and a subscriber (or group) that had to get it.
    pub owed: usize,
    /// Wills that had to come, wills that must not, and those that may.
    pub wills: [usize; 3],
    /// Retained messages read.
    pub retained_reads: usize,
}

/// What [`History::check`] found.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Every broken promise.
    pub violations: Vec<Violation>,
    /// How much was checked.
    pub summary: Summary,
    told: String,
}

impl Verdict {
    pub(super) fn new(history: &History, violations: Vec<Violation>, summary: Summary) -> Self {
        let mut explained: BTreeMap<Fault, usize> = BTreeMap::new();
        let mut is_explained = |one: &&Violation| {
            let before = explained.entry(one.fault).or_default();
            *before += 1;
            *before <= EXPLAINED_MAX
        };
        let chosen: Vec<_> = violations.iter().filter(|one| is_explained(one)).collect();
        let told = chosen.iter().map(|one| one.told(history)).collect();
        Verdict {
            violations,
            summary,
            told,
        }
    }

    /// Whether every promise was kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// How often a promise was broken.
    #[must_use]
    pub fn count(&self, fault: Fault) -> usize {
        let of_it = self.violations.iter().filter(|one| one.fault == fault);
        of_it.count()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts: BTreeMap<Fault, usize> = BTreeMap::new();
        for violation in &self.violations {
            *counts.entry(violation.fault).or_default() += 1;
        }
        writeln!(f, "{:?}", self.summary)?;
        writeln!(f, "{} broken promises: {counts:?}", self.violations.len())?;
        f.write_str(&self.told)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:", self.fault)?;
        if let Some(message) = self.message {
            write!(f, " {message}")?;
        }
        if let Some(topic) = &self.topic {
            write!(f, " on {topic}")?;
        }
        if let Some(client) = self.client {
            write!(f, ", for client {client}")?;
        }
        if let Some(at) = self.at {
            write!(f, ", at event {at}")?;
        }
        Ok(())
    }
}

impl Violation {
    /// Itself and the events that led to it.
    fn told(&self, history: &History) -> String {
        let mut text = format!("{self}\n");
        // What went on before the message was there has nothing to do with it, but for what its receiver subscribed to.
        let is_it = |event: &Event| match event {
            Event::Sent { message, .. } => self.message == Some(*message),
            Event::WillSent { will, .. } => self.message == Some(*will),
            _ => false,
        };
        let of_topic = self.fault == Fault::StaleRetained;
        let first = history.events.iter().position(is_it).unwrap_or(0);
        let events = history.events.iter().enumerate();
        let about: Vec<_> = events
            .filter(|(at, event)| {
                let is_late = *at >= first || of_topic;
                (is_late || matches!(event, Event::Subscribed { .. })) && self.is_about(*at, event)
            })
            .collect();
        // The beginning says what was promised, the end what came of it.
        let left_out = about.len().saturating_sub(EVENTS_TOLD_MAX);
        let head = EVENTS_TOLD_MAX / 2;
        for (place, (at, event)) in about.iter().enumerate() {
            if left_out > 0 && place == head {
                text.push_str(&format!("    … {left_out} more\n"));
            }
            if left_out == 0 || place < head || place >= head + left_out {
                text.push_str(&format!("    {at:>8} {event}\n"));
            }
        }
        text
    }

    fn is_about(&self, at: usize, event: &Event) -> bool {
        let is_it = |message: &MessageId| self.message == Some(*message);
        let is_of_will = matches!(
            self.fault,
            Fault::MissingWill | Fault::UndueWill | Fault::DoubledWill
        );
        let is_him = |client: &ClientNumber| {
            let publisher = self.message.map(|message| message.publisher);
            self.client == Some(*client) || is_of_will && publisher == Some(*client)
        };
        let is_there = |topic: &Arc<str>| {
            self.fault == Fault::StaleRetained && self.topic.as_ref() == Some(topic)
        };
        let is_of_stream = |message: &MessageId, topic: &Arc<str>| {
            let publisher = self.message.map(|message| message.publisher);
            self.fault == Fault::OutOfOrder
                && self.topic.as_ref() == Some(topic)
                && publisher == Some(message.publisher)
                && self.at.is_some_and(|end| at <= end)
        };
        if self.at == Some(at) {
            return true;
        }
        match event {
            Event::Crashed | Event::Started => true,
            Event::Connected { client, .. }
            | Event::SessionEnded { client }
            | Event::Cut { client }
            | Event::Goodbye { client } => is_him(client),
            Event::Subscribed { subscriber, .. }
            | Event::GroupAsked { subscriber, .. }
            | Event::Unsubscribed { subscriber, .. } => self.client == Some(*subscriber),
            Event::Sent { message, topic, .. } => {
                is_it(message) || is_there(topic) || is_of_stream(message, topic)
            }
            Event::Acknowledged { message, .. } | Event::Expiring { message } => is_it(message),
            Event::Delivered(delivery) => {
                let is_of_it =
                    is_it(&delivery.message) || is_of_stream(&delivery.message, &delivery.topic);
                is_of_it
                    && self
                        .client
                        .is_none_or(|client| client == delivery.subscriber)
            }
            Event::RetainedRead { topic, .. } => is_there(topic),
            Event::WillSent { will, .. }
            | Event::WillDoubtful { will }
            | Event::WillWithdrawn { will } => is_it(will),
        }
    }
}
