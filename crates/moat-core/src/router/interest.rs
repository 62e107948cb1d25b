//! Which other shards want a topic, and which filters this shard has told them about.
//!
//! Every shard keeps a replica, fed through the same first-in-first-out inboxes that carry
//! messages: no reader ever waits. A filter is told when its first subscriber comes and taken back
//! when its last one leaves; a SUBACK waits until every shard has confirmed.

use std::collections::HashMap;

use ahash::RandomState;

use super::trie::{Entry, Trie};
use crate::shard::ShardId;

/// A set of at most 64 shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShardSet(u64);

impl ShardSet {
    /// Adds a shard.
    pub fn insert(&mut self, shard: ShardId) {
        self.0 |= 1 << shard.index();
    }

    /// Whether it holds `shard`.
    #[must_use]
    pub fn contains(self, shard: ShardId) -> bool {
        self.0 & (1 << shard.index()) != 0
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its shards, lowest first.
    pub fn iter(self) -> impl Iterator<Item = ShardId> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let lowest = u8::try_from(rest.trailing_zeros()).ok()?;
            // Of 0 there is nothing to take away, and no bit to name.
            rest &= rest.checked_sub(1)?;
            Some(ShardId::new(lowest))
        })
    }
}

/// A shard that wants a filter.
#[derive(Clone, Copy)]
struct Wanted(ShardId);

impl Entry for Wanted {
    type Key = ShardId;
    fn key(&self) -> ShardId {
        self.0
    }
}

/// A filter this shard has subscribers for.
struct Own {
    subscribers: u32,
    /// The ticket under which it was told, and the shards that have yet to confirm it.
    ticket: u64,
    unconfirmed: u16,
}

/// What the confirmations of a ticket are for.
enum Ticket {
    /// All other shards have to apply this filter.
    Filter(Box<str>),
    /// One other shard has to answer.
    Answer,
}

/// Whether every other shard already knows a filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// They do.
    Already,
    /// Wait for the confirmations of this ticket. `tell` when the filter has yet to be announced.
    Pending {
        /// What the confirmations will carry.
        ticket: u64,
        /// Whether the caller must announce it to the other shards.
        tell: bool,
    },
}

/// This shard's replica of the other shards' interest, and the record of its own.
pub struct Interest {
    others: Trie<Wanted>,
    own: HashMap<Box<str>, Own, RandomState>,
    tickets: HashMap<u64, Ticket, RandomState>,
    last_ticket: u64,
    peers: u16,
}

impl Interest {
    /// Interest among `shards` shards.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Interest {
            others: Trie::default(),
            own: HashMap::default(),
            tickets: HashMap::default(),
            last_ticket: 0,
            peers: u16::try_from(shards.saturating_sub(1)).unwrap_or(u16::MAX),
        }
    }

    /// Whether this shard is the only one, so that nothing here has any work.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.peers == 0
    }

    /// As [`Trie::changes`], of what the other shards want.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.others.changes()
    }

    /// The other shards that want `topic`.
    #[must_use]
    pub fn shards_wanting(&self, topic: &str) -> ShardSet {
        let mut set = ShardSet::default();
        if !self.others.is_empty() {
            self.others.matches(topic, |wanted| set.insert(wanted.0));
        }
        set
    }

    /// Another shard's first subscriber to `filter` came, or its last one left.
    pub fn apply(&mut self, shard: ShardId, filter: &str, wanted: bool) {
        if wanted {
            self.others.insert(filter, Wanted(shard));
        } else {
            self.others.remove(filter, &shard);
        }
    }

    /// One more subscriber of this shard wants `filter`.
    pub fn add(&mut self, filter: &str) -> Applied {
        if self.peers == 0 {
            return Applied::Already;
        }
        if let Some(own) = self.own.get_mut(filter) {
            own.subscribers += 1;
            return match own.unconfirmed {
                0 => Applied::Already,
                _ => Applied::Pending {
                    ticket: own.ticket,
                    tell: false,
                },
            };
        }
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        self.tickets.insert(ticket, Ticket::Filter(filter.into()));
        self.own.insert(
            filter.into(),
            Own {
                subscribers: 1,
                ticket,
                unconfirmed: self.peers,
            },
        );
        Applied::Pending { ticket, tell: true }
    }

    /// A ticket for the answer of one other shard.
    pub fn expect_answer(&mut self) -> u64 {
        self.last_ticket += 1;
        self.tickets.insert(self.last_ticket, Ticket::Answer);
        self.last_ticket
    }

    /// Where a filter stands that has a subscriber here already.
    #[must_use]
    pub fn status(&self, filter: &str) -> Applied {
        match self.own.get(filter) {
            Some(own) if own.unconfirmed > 0 => Applied::Pending {
                ticket: own.ticket,
                tell: false,
            },
            _ => Applied::Already,
        }
    }

    /// Whether a ticket still waits for confirmations.
    #[must_use]
    pub fn is_pending(&self, ticket: u64) -> bool {
        self.tickets.contains_key(&ticket)
    }

    /// One subscriber less. Returns whether it was the last: the other shards must be told.
    pub fn remove(&mut self, filter: &str) -> bool {
        let Some(own) = self.own.get_mut(filter) else {
            return false;
        };
        own.subscribers -= 1;
        if own.subscribers > 0 {
            return false;
        }
        if let Some(own) = self.own.remove(filter) {
            self.tickets.remove(&own.ticket);
        }
        true
    }

    /// A shard has applied the filter of `ticket`. Returns whether it was the last to do so.
    pub fn confirm(&mut self, ticket: u64) -> bool {
        if let Some(Ticket::Filter(filter)) = self.tickets.get(&ticket)
            && let Some(own) = self.own.get_mut(filter)
        {
            own.unconfirmed = own.unconfirmed.saturating_sub(1);
            if own.unconfirmed > 0 {
                return false;
            }
        }
        self.tickets.remove(&ticket);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_told_once_and_taken_back_with_its_last_subscriber() {
        let mut interest = Interest::new(3);
        let Applied::Pending { ticket, tell: true } = interest.add("a/#") else {
            panic!("not told")
        };
        assert_eq!(
            interest.add("a/#"),
            Applied::Pending {
                ticket,
                tell: false
            }
        );
        assert!(!interest.confirm(ticket));
        assert!(interest.confirm(ticket));
        assert_eq!(interest.add("a/#"), Applied::Already);
        assert!(!interest.remove("a/#"));
        assert!(!interest.remove("a/#"));
        assert!(interest.remove("a/#"));
    }

    #[test]
    fn a_single_shard_has_nobody_to_tell() {
        assert_eq!(Interest::new(1).add("a"), Applied::Already);
    }

    #[test]
    fn finds_the_shards_that_want_a_topic() {
        let mut interest = Interest::new(4);
        interest.apply(ShardId::new(1), "a/+", true);
        interest.apply(ShardId::new(3), "a/b", true);
        interest.apply(ShardId::new(2), "c", true);
        let wanting: Vec<_> = interest.shards_wanting("a/b").iter().collect();
        assert_eq!(wanting, [ShardId::new(1), ShardId::new(3)]);
        interest.apply(ShardId::new(1), "a/+", false);
        assert!(!interest.shards_wanting("a/b").contains(ShardId::new(1)));
    }
}
