//! What a store gives back when the broker starts.

use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::{PacketId, SubscriptionOptions};

use super::{Place, Position, Progress, QueueId, SessionRecord, Taker};
use crate::Time;
use crate::message::Message;
use crate::session::Will;

/// Everything that was durable when the last broker ended, however it ended.
#[derive(Debug, Default)]
pub struct Restored {
    /// How often a broker has started on this store, this time included; from 1.
    pub start: u32,
    /// The last moment the last broker is known to have lived: sessions that were online then are offline since.
    pub alive_at: Time,
    /// The sequence that the next record of each part gets.
    pub next_sequences: Vec<(u16, u64)>,
    /// Sessions.
    pub sessions: Vec<RestoredSession>,
    /// Groups of shared subscriptions.
    pub groups: Vec<RestoredGroup>,
    /// Retained messages.
    pub retained: Vec<Arc<Message>>,
}

/// A session and all that is its own.
#[derive(Debug)]
pub struct RestoredSession {
    /// Its number.
    pub queue: QueueId,
    /// Who it is.
    pub record: SessionRecord,
    /// What it subscribes to.
    pub subscriptions: Vec<(Box<str>, SubscriptionOptions, Option<NonZeroU32>)>,
    /// How far it has come.
    pub progress: Progress,
    /// Identifiers of QoS 2 messages of its client that await PUBREL, sorted.
    pub inbound: Vec<PacketId>,
    /// The will of its client.
    pub will: Option<Will>,
    /// What it is owed, sorted by ordinal; only what is not done.
    pub entries: Vec<RestoredEntry>,
}

/// A group of a shared subscription.
#[derive(Debug)]
pub struct RestoredGroup {
    /// Its number.
    pub queue: QueueId,
    /// Its filter, `$share/GROUP/` included.
    pub filter: Arc<str>,
    /// How far it has come.
    pub progress: Progress,
    /// What waits in it, sorted by ordinal.
    pub entries: Vec<RestoredEntry>,
}

impl Progress {
    /// Counts the arrivals of entries that came after this was written.
    pub fn note_arrivals(&mut self, entries: &[RestoredEntry]) {
        for entry in entries {
            if let Place::Arrival(arrival) = entry.taker.place {
                self.next_arrival = self.next_arrival.max(arrival + 1);
            }
        }
    }
}

/// A message that a queue is owed. The message itself stays in the store until it is wanted.
#[derive(Debug, Clone)]
pub struct RestoredEntry {
    /// Where the message is.
    pub position: Position,
    /// Which entry of its queue it is, and how it is delivered.
    pub taker: Taker,
    /// The ordinal, of the place and the queue's progress.
    pub ordinal: u64,
    /// [`Message::weight`] of the message, in bytes.
    pub weight: u32,
    /// When it stops being worth delivering.
    pub expires_at: Option<Time>,
}

impl RestoredEntry {
    /// The entry's place in its queue.
    #[must_use]
    pub fn place(&self) -> Place {
        self.taker.place
    }
}
