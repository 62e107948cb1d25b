//! What waits in a group, and how a durable group keeps it in the store.

use std::sync::Arc;

use moat_codec::QoS;

use super::{Group, WAITING_SCAN_MAX, weight};
use crate::durable::{Place, Position, Progress, QueueId};
use crate::message::Message;
use crate::session::entry::Entry;
use crate::session::parcel::Content;

/// A message that waits for credit.
pub struct Waiting {
    /// The message, or what is known of it.
    pub content: Content,
    /// Its QoS.
    pub qos: QoS,
    /// How often it was dealt.
    pub deals: u8,
    /// Its entry, in a durable group.
    pub entry: Option<Entry>,
}

/// What makes a group durable: its number in the store, and what is not done there.
#[derive(Debug)]
pub struct DurableGroup {
    /// Its number.
    pub queue: QueueId,
    pub(super) next_arrival: u64,
    /// Entries on their way to a member, which may have to come back.
    pub(super) dealing: Vec<Place>,
    /// Records of entries that nobody will have.
    pub released: Vec<Position>,
    /// Whether progress is to be written.
    pub is_unsaved: bool,
}

impl DurableGroup {
    /// A group that has come so far.
    #[must_use]
    pub fn new(queue: QueueId, progress: &Progress) -> Self {
        DurableGroup {
            queue,
            next_arrival: progress.next_arrival,
            dealing: Vec::new(),
            released: Vec::new(),
            is_unsaved: false,
        }
    }

    pub(super) fn gone(&mut self, waiting: &Waiting) {
        self.is_unsaved = true;
        self.released
            .extend(waiting.entry.and_then(|entry| entry.position()));
    }
}

/// What became of a message that was to wait in a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waits {
    /// There was no room.
    No,
    /// It waits in memory.
    Here,
    /// It waits under this place of this queue, and has to be stored.
    Stored(QueueId, Place),
}

impl Group {
    /// Puts a message behind the others that waited before the broker started.
    pub fn restore(&mut self, waiting: Waiting) {
        self.waiting_bytes += weight(&waiting);
        self.waiting.push_back(waiting);
    }

    /// An entry is durable now. Returns whether it still waits.
    pub fn entry_committed(&mut self, place: Place, position: Position) -> bool {
        let is_it = |waiting: &&mut Waiting| waiting.entry.is_some_and(|e| e.place() == place);
        let Some(waiting) = self.waiting.iter_mut().rev().find(is_it) else {
            return false;
        };
        waiting.entry = Some(Entry::committed(place, position));
        true
    }

    /// An entry that was on its way to a member is the member's now, or `released` for good.
    pub fn moved(&mut self, place: Place, released: Option<Position>) {
        if let Some(durable) = self.durable.as_deref_mut() {
            durable.dealing.retain(|dealing| *dealing != place);
            durable.released.extend(released);
            durable.is_unsaved = true;
        }
    }

    /// How far a durable group has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let Some(durable) = self.durable.as_deref() else {
            return Progress::default();
        };
        let entries = self.waiting.iter().filter_map(|waiting| waiting.entry);
        let places = entries.map(|entry| entry.place());
        let arrival = |place: Place| match place {
            Place::Arrival(arrival) | Place::Ordinal(arrival) => arrival,
        };
        let all = places.chain(durable.dealing.iter().copied()).map(arrival);
        let mut live: Vec<u64> = all.collect();
        live.sort_unstable();
        let end = durable.next_arrival;
        let mut progress = Progress {
            next_arrival: end,
            ..Progress::default()
        };
        progress.note_live(live, end);
        progress
    }

    /// The messages at the front that are in the store only.
    #[must_use]
    pub fn wanted(&self) -> Vec<Position> {
        let stored = |waiting: &Waiting| match waiting.content {
            Content::Held(_) => None,
            Content::Stored { .. } => waiting.entry?.position(),
        };
        let front = self.waiting.iter().take(WAITING_SCAN_MAX);
        front.filter_map(stored).collect()
    }

    /// Takes messages that have come back from the store. Returns how many it has lost.
    pub fn take_loaded(&mut self, loaded: &[(Position, Option<Arc<Message>>)]) -> u64 {
        self.is_loading = false;
        let mut lost = 0;
        for (position, message) in loaded {
            let is_it = |waiting: &Waiting| {
                waiting.entry.and_then(|entry| entry.position()) == Some(*position)
            };
            let Some(place) = self.waiting.iter().position(is_it) else {
                continue;
            };
            match message {
                Some(message) => self.waiting[place].content = Content::Held(Arc::clone(message)),
                None => {
                    lost += 1;
                    self.drop_at(place);
                }
            }
        }
        lost
    }

    /// The records of all that waits.
    pub fn positions(&self) -> impl Iterator<Item = Position> {
        let entries = self.waiting.iter().filter_map(|waiting| waiting.entry);
        entries.filter_map(|entry| entry.position())
    }
}
