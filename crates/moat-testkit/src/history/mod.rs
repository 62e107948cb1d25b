//! What clients did and saw, in the order it happened, and whether the broker kept its promises.
//!
//! A recorder calls [`History::record`] for each [`Event`], in real-time order: what a client sends is recorded before its bytes leave, what it
//! gets after they were read. [`History::check`] then finds every broken promise. There is no clock, socket or thread in here, so the process
//! tests and the deterministic simulation use the same checker.
//!
//! What the recorder has to keep to:
//! - A message is known by its publisher and a number that grows with each new message of that publisher; wills count as messages.
//!   A QoS 1 or 2 message that is sent again (after a cut, unacknowledged) is recorded as sent again, under the same number.
//! - The broker's death is recorded after the last byte it wrote was read, so what is acknowledged after it was acknowledged by its successor.
//! - A client whose connection has ended without a DISCONNECT is recorded as cut before it connects again.
//! - Everything is drained before [`History::check`]: what is not delivered by then counts as lost. Nothing may expire or be dropped by a limit.
//! - Filters of one session do not overlap. Every session outlives its connections, unless [`Event::SessionEnded`] says otherwise.

mod check;
mod delivery;
mod retained;
mod subscriptions;
#[cfg(test)]
mod tests;
mod violation;
mod wills;

use std::fmt;
use std::sync::Arc;

use moat_codec::QoS;

pub use violation::{Fault, Summary, Verdict, Violation};

/// A client, publisher or subscriber or both.
pub type ClientNumber = u32;

/// A message: who published it, and its number there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MessageId {
    /// Whose it is.
    pub publisher: ClientNumber,
    /// Its number among all that publisher's messages, over all topics.
    pub number: u64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of client {}", self.number, self.publisher)
    }
}

/// What a message does to the retained message of its topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retain {
    /// Nothing.
    No,
    /// Takes its place.
    Set,
    /// Removes it: a retained message without payload. Nobody may subscribe to its topic before it is sent, since who receives it cannot
    /// tell whose it is.
    Clear,
}

/// What a broker said about a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acknowledgement {
    /// PUBACK, without an error.
    PubAck,
    /// PUBREC, without an error: from here on the message is the broker's.
    PubRec,
    /// PUBCOMP.
    PubComp,
}

/// A place in a history: everything recorded before it has happened before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Moment(usize);

/// A message as a client got it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// Who got it.
    pub subscriber: ClientNumber,
    /// What.
    pub message: MessageId,
    /// Where.
    pub topic: Arc<str>,
    /// At which QoS.
    pub qos: QoS,
    /// The DUP flag.
    pub dup: bool,
    /// The RETAIN flag. With it, the delivery is the answer to a SUBSCRIBE, and only looked at for what was never sent.
    pub retain: bool,
    /// At QoS 2: whether the client took it. It does not if it holds the packet identifier already and has not had PUBREL for it.
    /// Always true at QoS 0 and 1.
    pub is_new: bool,
}

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A client got a CONNACK that accepts it. Its will, if it sent one, holds from here on.
    Connected {
        /// Who.
        client: ClientNumber,
        /// What the CONNACK says about its session.
        session_present: bool,
    },
    /// A client is about to end its session, by a clean start or by letting it expire: nothing is owed to it any more.
    SessionEnded {
        /// Whose.
        client: ClientNumber,
    },
    /// A client's connection ended without a DISCONNECT of its own.
    Cut {
        /// Whose.
        client: ClientNumber,
    },
    /// A client is about to send DISCONNECT, so its will is not to be published.
    Goodbye {
        /// Who.
        client: ClientNumber,
    },
    /// A message expires: whether it came in time is not known after a crash, so it may come late, and behind others.
    Expiring {
        /// The message.
        message: MessageId,
    },
    /// A client is about to ask for a place in a group of a shared subscription, which may have it as a member from now on.
    GroupAsked {
        /// Who.
        subscriber: ClientNumber,
        /// The filter, `$share/GROUP/` included.
        filter: Arc<str>,
        /// What it asks for.
        qos: QoS,
        /// Whether its session outlives its connection.
        is_durable: bool,
    },
    /// A SUBACK grants a subscription.
    Subscribed {
        /// To whom.
        subscriber: ClientNumber,
        /// The filter, `$share/GROUP/` included.
        filter: Arc<str>,
        /// What was granted.
        qos: QoS,
    },
    /// A client is about to give up a subscription: nothing is owed for it any more.
    Unsubscribed {
        /// Who.
        subscriber: ClientNumber,
        /// As it was granted.
        filter: Arc<str>,
    },
    /// A PUBLISH is about to be sent, for the first time or again.
    Sent {
        /// Which.
        message: MessageId,
        /// Where to.
        topic: Arc<str>,
        /// At which QoS.
        qos: QoS,
        /// What it does to the retained message.
        retain: Retain,
    },
    /// The broker took a message.
    Acknowledged {
        /// Which.
        message: MessageId,
        /// By which packet.
        by: Acknowledgement,
    },
    /// A client got a PUBLISH.
    Delivered(Delivery),
    /// Somebody asked for the retained message of a topic.
    RetainedRead {
        /// Of which.
        topic: Arc<str>,
        /// [`History::now`] from before it was asked for.
        asked: Moment,
        /// What came.
        message: Option<MessageId>,
    },
    /// A CONNECT with a will is about to be sent. The will's publisher is the client. Its topic is for this client's wills only.
    WillSent {
        /// The will as a message.
        will: MessageId,
        /// Where to.
        topic: Arc<str>,
        /// At which QoS.
        qos: QoS,
        /// Its delay is longer than this history, so that it is never due.
        is_delayed: bool,
    },
    /// The client of a will with a delay is coming back: it may be published or not.
    WillDoubtful {
        /// Which.
        will: MessageId,
    },
    /// The client came back in time, so it is not published any more.
    WillWithdrawn {
        /// Which.
        will: MessageId,
    },
    /// The broker's process ended without being asked to.
    Crashed,
    /// A broker runs on what the last one left.
    Started,
}

/// Everything that happened, in order.
#[derive(Clone, Debug, Default)]
pub struct History {
    events: Vec<Event>,
}

impl History {
    /// Before anything has happened.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what has just happened, or is about to.
    pub fn record(&mut self, event: Event) {
        self.events.push(event);
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(self.events.len())
    }

    /// Everything so far.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What had happened before a moment.
    #[must_use]
    pub fn until(&self, moment: Moment) -> History {
        History {
            events: self.events[..moment.0].to_vec(),
        }
    }

    /// Every promise that was broken.
    #[must_use]
    pub fn check(&self) -> Verdict {
        check::check(self)
    }

    /// The topics that have a retained message for certain, for somebody who asks now. Sorted.
    #[must_use]
    pub fn retained_for_certain(&self) -> Vec<Arc<str>> {
        retained::certain(self)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Connected {
                client,
                session_present,
            } => write!(
                f,
                "client {client} connected, session present: {session_present}"
            ),
            Event::SessionEnded { client } => write!(f, "client {client} ends its session"),
            Event::Cut { client } => write!(f, "client {client} was cut off"),
            Event::Goodbye { client } => write!(f, "client {client} says goodbye"),
            Event::Expiring { message } => write!(f, "{message} expires"),
            Event::GroupAsked {
                subscriber,
                filter,
                qos,
                ..
            } => write!(f, "client {subscriber} asks for {filter} at {qos:?}"),
            Event::Subscribed {
                subscriber,
                filter,
                qos,
            } => write!(f, "client {subscriber} subscribed to {filter} at {qos:?}"),
            Event::Unsubscribed { subscriber, filter } => {
                write!(f, "client {subscriber} unsubscribes from {filter}")
            }
            Event::Sent {
                message,
                topic,
                qos,
                retain,
            } => write!(
                f,
                "{message} is sent to {topic} at {qos:?}, retain: {retain:?}"
            ),
            Event::Acknowledged { message, by } => {
                write!(f, "{message} is acknowledged by {by:?}")
            }
            Event::Delivered(delivery) => delivery.fmt(f),
            Event::RetainedRead { topic, message, .. } => match message {
                Some(message) => write!(f, "retained on {topic}: {message}"),
                None => write!(f, "retained on {topic}: nothing"),
            },
            Event::WillSent {
                will,
                topic,
                qos,
                is_delayed,
            } => write!(
                f,
                "client {} connects with a will: number {}, to {topic} at {qos:?}, delayed: {is_delayed}",
                will.publisher, will.number
            ),
            Event::WillDoubtful { will } => write!(f, "the will {will} may come or not"),
            Event::WillWithdrawn { will } => write!(f, "the will {will} is withdrawn"),
            Event::Crashed => write!(f, "the broker crashed"),
            Event::Started => write!(f, "the broker started"),
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "client {} got {} on {} at {:?}, dup: {}, retain: {}{}",
            self.subscriber,
            self.message,
            self.topic,
            self.qos,
            self.dup,
            self.retain,
            if self.is_new {
                ""
            } else {
                ", as one it holds already"
            }
        )
    }
}
