//! What a shard asks to be made durable.

use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::{PacketId, SubscriptionOptions};

use super::{Place, Position, Progress, QueueId, SessionRecord, Taker};
use crate::message::Message;
use crate::session::Will;

/// One change of the store. Applying it twice is the same as once, so a batch whose fate is not known can be applied again.
#[derive(Debug)]
pub enum Write {
    /// A message of the log. Sequences of a part follow each other without a gap.
    Append {
        /// Where it will be.
        position: Position,
        /// The message.
        message: Arc<Message>,
        /// Who has to have it, at least one.
        takers: Vec<Taker>,
    },
    /// One taker of a record is done with it.
    Release(Position),
    /// An entry of a group is dealt to a member: from now on it is the member's.
    Deal {
        /// The record.
        position: Position,
        /// The group and its entry.
        from: (QueueId, Place),
        /// The member's entry.
        to: Taker,
    },
    /// A session begins or has changed.
    PutSession(QueueId, Box<SessionRecord>),
    /// A session is over: its record, subscriptions, progress, identifiers and will go.
    DeleteSession(QueueId),
    /// A session has a subscription.
    PutSubscription {
        /// Whose.
        queue: QueueId,
        /// The filter, `$share/GROUP/` included.
        filter: Box<str>,
        /// What the SUBSCRIBE asked for.
        options: SubscriptionOptions,
        /// The subscription identifier, if one was given.
        id: Option<NonZeroU32>,
    },
    /// A session has given up a subscription.
    DeleteSubscription(QueueId, Box<str>),
    /// How far a queue has come.
    PutProgress(QueueId, Box<Progress>),
    /// A QoS 2 message of a session's client was taken and not yet released.
    PutInbound(QueueId, PacketId),
    /// It was released.
    DeleteInbound(QueueId, PacketId),
    /// The will of a session's client.
    PutWill(QueueId, Arc<Will>),
    /// It was published, or will not be.
    DeleteWill(QueueId),
    /// A group of a shared subscription has members that are durable.
    PutGroup(QueueId, Arc<str>),
    /// It has none any more: its entry and progress go.
    DeleteGroup(QueueId),
    /// A retained message.
    PutRetained(Arc<Message>),
    /// A topic has no retained message any more.
    DeleteRetained(Box<str>),
}

/// The writes of one shard in one turn, to be committed together.
#[derive(Debug)]
pub struct Batch {
    /// The number of the batch in its shard, from 1, without a gap.
    pub ticket: u64,
    /// What to write, in order.
    pub writes: Vec<Write>,
}

/// The writes of the turn at hand.
#[derive(Debug, Default)]
pub struct Journal {
    writes: Vec<Write>,
    /// The ticket of the last batch that was taken.
    taken: u64,
}

impl Journal {
    /// Adds a write to the batch of this turn. Returns its ticket.
    pub fn push(&mut self, write: Write) -> u64 {
        self.writes.push(write);
        self.ticket()
    }

    /// Adds writes to the batch of this turn.
    pub fn extend(&mut self, writes: impl IntoIterator<Item = Write>) {
        self.writes.extend(writes);
    }

    /// The ticket that the writes of this turn have.
    #[must_use]
    pub fn ticket(&self) -> u64 {
        self.taken + 1
    }

    /// The ticket of the latest write so far, of this turn or an earlier one.
    #[must_use]
    pub fn latest(&self) -> u64 {
        self.taken + u64::from(!self.writes.is_empty())
    }

    /// Takes the batch of this turn, if there is one. Meant for the driver, at the end of each turn.
    pub fn take(&mut self) -> Option<Batch> {
        if self.writes.is_empty() {
            return None;
        }
        self.taken += 1;
        Some(Batch {
            ticket: self.taken,
            writes: std::mem::take(&mut self.writes),
        })
    }
}
