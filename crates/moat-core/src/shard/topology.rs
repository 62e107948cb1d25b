//! Which shard a session or a retained topic belongs to.

use std::hash::{BuildHasher, Hash, Hasher};

use ahash::RandomState;

/// Shards of one broker, at most.
pub const SHARDS_MAX: usize = 64;

/// One shard of the broker, below [`SHARDS_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ShardId(u8);

impl ShardId {
    /// The shard at `index`, which is below [`SHARDS_MAX`].
    #[must_use]
    pub const fn new(index: u8) -> Self {
        ShardId(index)
    }

    /// As a number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// As an index.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The one map that all shards share. Its hash is keyed, so a stranger cannot choose a shard.
#[derive(Clone)]
pub struct Topology {
    shards: u8,
    hasher: RandomState,
}

impl Topology {
    /// A map of `shards` shards, between 1 and [`SHARDS_MAX`].
    #[must_use]
    pub fn new(shards: usize) -> Self {
        let shards = u8::try_from(shards.clamp(1, SHARDS_MAX)).unwrap_or(1);
        Topology {
            shards,
            hasher: RandomState::new(),
        }
    }

    /// The same map for the same `seed`, for a simulation that has to happen again as it did.
    #[must_use]
    pub fn seeded(shards: usize, seed: u64) -> Self {
        Topology {
            hasher: RandomState::with_seeds(seed, 1, 2, 3),
            ..Topology::new(shards)
        }
    }

    /// How many shards there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.shards)
    }

    /// Never: there is at least one shard.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Every shard.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shards).map(ShardId)
    }

    /// The shard that keeps the retained message of `topic` and puts its publishers in order.
    #[must_use]
    pub fn owner(&self, topic: &str) -> ShardId {
        self.pick(self.hasher.hash_one(topic))
    }

    /// The shard that alone holds the session of (identity, client id).
    #[must_use]
    pub fn home(&self, identity: &str, client_id: &str) -> ShardId {
        let mut state = self.hasher.build_hasher();
        identity.hash(&mut state);
        client_id.hash(&mut state);
        self.pick(state.finish())
    }

    fn pick(&self, hash: u64) -> ShardId {
        // The remainder of a division by a u8 fits.
        ShardId(u8::try_from(hash % u64::from(self.shards)).unwrap_or(0))
    }
}
