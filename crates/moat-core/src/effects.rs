//! What a shard asks of its driver after a step: flush, close, authenticate, tell, hand over.

use moat_events::Event;

use crate::durable::{Journal, Load};
use crate::session::enhanced::AuthenticationStep;
use crate::shard::{PeerMessage, ShardId};

/// A connection of this shard's driver.
///
/// `slot` is the driver's table index; `generation` tells a reused slot from the connection that
/// an answer was meant for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ConnId {
    /// Index into the driver's table.
    pub slot: u32,
    /// Number of the slot's use.
    pub generation: u32,
}

/// A connection that is over for the session layer.
#[derive(Debug)]
pub struct Close {
    /// The connection to close once `bytes` are written or its socket refuses them.
    pub conn: ConnId,
    /// The last bytes it is owed, a DISCONNECT as a rule.
    pub bytes: Vec<u8>,
}

/// Messages for one other shard, in the order they must arrive.
#[derive(Debug, Default)]
pub struct PeerOutbox {
    /// What the other shard has to be told before anything that follows.
    pub messages: Vec<PeerMessage>,
    /// Confirmations and all else that must not overtake a message of this shard on a longer way:
    /// they leave only once every outbox is empty, and so promise that what was told before has
    /// reached the inboxes of all shards.
    pub confirmations: Vec<PeerMessage>,
}

/// Everything a shard wants done. Owned by the driver and reused from turn to turn.
#[derive(Debug, Default)]
pub struct Effects {
    /// Connections whose out-buffer turned from empty to not empty.
    pub dirty: Vec<ConnId>,
    /// Connections to close.
    pub closed: Vec<Close>,
    /// What clients said about who they are, for their mechanisms.
    pub authentications: Vec<AuthenticationStep>,
    /// What happened, for the log.
    pub events: Vec<Event>,
    /// What has to be made durable.
    pub journal: Journal,
    /// Messages wanted back from the store.
    pub loads: Vec<Load>,
    /// One outbox per shard; the shard's own stays empty.
    pub peers: Vec<PeerOutbox>,
}

impl Effects {
    /// Effects of one of `shards` shards.
    #[must_use]
    pub fn new(shards: usize) -> Self {
        Effects {
            peers: (0..shards).map(|_| PeerOutbox::default()).collect(),
            ..Effects::default()
        }
    }

    /// Queues `message` for another shard.
    pub fn tell(&mut self, shard: ShardId, message: PeerMessage) {
        self.peers[shard.index()].messages.push(message);
    }

    /// Queues `message` behind everything that any other shard is told in this turn.
    pub fn tell_last(&mut self, shard: ShardId, message: PeerMessage) {
        self.peers[shard.index()].confirmations.push(message);
    }

    /// Messages waiting for another shard.
    #[must_use]
    pub fn waiting_for(&self, shard: ShardId) -> usize {
        let outbox = &self.peers[shard.index()];
        outbox.messages.len() + outbox.confirmations.len()
    }
}
