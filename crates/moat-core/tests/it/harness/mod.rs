//! A broker without sockets: shards, a clock, and clients that see bytes only.
//!
//! - [`packets`], [`policies`]: what tests write;
//! - [`connecting`], [`sending`], [`reading`]: the clients;
//! - [`received`]: what they were sent, decoded;
//! - [`turns`]: what a driver does between packets.
//!
//! What is durable and what a crash leaves is in [`crate::store`].

mod connecting;
mod packets;
mod policies;
mod reading;
mod received;
mod sending;
mod turns;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::store::ModelStore;
use moat_codec::Version;
use moat_core::durable::Batch;
use moat_core::session::SessionIndex;
use moat_core::shard::{PeerMessage, Topology};
use moat_core::{ConnId, Effects, Limits, Shard, ShardId, Time};
use moat_events::Event;
use moat_policy::Snapshot;
use proptest::test_runner::Config as ProptestConfig;

pub(crate) use packets::{encode, handling, lasting, message, options, packet_id, retained, will};
pub(crate) use policies::{acl, policy, policy_denying};
pub(crate) use received::{Got, Granted, Pub, has, refusal};

pub(crate) const V31: Version = Version::V31;
pub(crate) const V311: Version = Version::V311;
pub(crate) const V5: Version = Version::V5;

/// Whose clients are when a test does not care.
pub(crate) const ANNA: &str = "anna";

/// The cases of a property test: `bounded`, unless `MOAT_MODEL_CASES` names another number.
pub(crate) fn cases(bounded: u32) -> ProptestConfig {
    let asked = std::env::var("MOAT_MODEL_CASES").ok();
    ProptestConfig {
        cases: asked.map_or(bounded, |text| {
            text.parse().expect("MOAT_MODEL_CASES is a number")
        }),
        failure_persistence: None,
        max_shrink_iters: 10_000,
        // A million cases reject more than the default allows.
        max_local_rejects: u32::MAX,
        ..ProptestConfig::default()
    }
}

/// The only authentication method clients of tests may name.
pub(crate) const METHOD: &str = "test";

/// A connection, as a test holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) shard: usize,
    pub(crate) at: SessionIndex,
    pub(crate) conn: ConnId,
    pub(crate) version: Version,
}

#[derive(Default)]
pub(crate) struct Wire {
    /// Bytes of the client that the shard has not used up.
    input: Vec<u8>,
    /// Bytes for the client that are not a whole packet yet.
    incoming: Vec<u8>,
    inbox: VecDeque<Got>,
    last_id: u16,
    pub(crate) closed: bool,
    /// Whether the driver was told to flush.
    dirty: bool,
}

pub(crate) struct World {
    pub(crate) shards: Vec<Shard>,
    pub(crate) fx: Vec<Effects>,
    pub(crate) topology: Topology,
    pub(crate) now: Time,
    /// When what clients prove who they are with ends.
    pub(crate) expires_at: Time,
    pub(crate) events: Vec<Event>,
    /// Whether shards hear of each other after every step; otherwise the test carries messages.
    pub(crate) automatic: bool,
    pub(crate) policy: Arc<Snapshot>,
    /// What is durable; absent in a broker that keeps everything in memory.
    pub(crate) store: Option<ModelStore>,
    /// Whether what is written is durable at once; otherwise the test commits.
    pub(crate) commits: bool,
    /// Whether what is asked for comes from the store at once; otherwise it waits in the effects.
    pub(crate) loads: bool,
    /// Batches that are not durable, by shard.
    pub(crate) pending: Vec<VecDeque<Batch>>,
    pub(crate) inboxes: Vec<VecDeque<(ShardId, Vec<PeerMessage>)>>,
    pub(crate) wires: Vec<Wire>,
}

pub(crate) fn limits() -> Limits {
    Limits::default()
}

impl World {
    pub(crate) fn new(limits: Limits) -> World {
        World::with(1, limits, Arc::new(Snapshot::allow_all()))
    }

    pub(crate) fn with(shards: usize, limits: Limits, policy: Arc<Snapshot>) -> World {
        World::in_memory(shards, limits, policy).with_store_if_asked()
    }

    /// A broker without a store, also where the tests run with one: it does not wait for anything.
    pub(crate) fn in_memory(shards: usize, limits: Limits, policy: Arc<Snapshot>) -> World {
        let topology = Topology::new(shards);
        let shard = |id| Shard::new(id, topology.clone(), limits.clone(), Arc::clone(&policy));
        World {
            shards: topology.shards().map(shard).collect(),
            fx: (0..shards).map(|_| Effects::new(shards)).collect(),
            topology,
            now: Time::from_millis(1_000_000),
            expires_at: Time::NEVER,
            events: Vec::new(),
            automatic: true,
            policy,
            store: None,
            commits: true,
            loads: true,
            pending: (0..shards).map(|_| VecDeque::new()).collect(),
            inboxes: (0..shards).map(|_| VecDeque::new()).collect(),
            wires: Vec::new(),
        }
    }

    fn wire(&mut self, client: Client) -> &mut Wire {
        &mut self.wires[client.conn.slot as usize]
    }

    pub(crate) fn sessions(&self) -> usize {
        self.shards.iter().map(|s| s.sizes().sessions).sum()
    }

    pub(crate) fn dropped(&self) -> u64 {
        let dropped = |shard: &Shard| shard.counters().messages_dropped_total;
        self.shards.iter().map(dropped).sum()
    }

    /// Events of this name since the last call.
    pub(crate) fn events(&mut self, id: &str) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.events);
        events.retain(|event| event.meta().id == id);
        events
    }

    /// A client id whose home is `shard`.
    pub(crate) fn client_id_at(&self, shard: usize, prefix: &str) -> String {
        let at = |id: &String| self.topology.home(ANNA, id).index() == shard;
        (0..).map(|n| format!("{prefix}{n}")).find(at).unwrap()
    }

    /// A topic that `shard` owns.
    pub(crate) fn topic_of(&self, shard: usize, prefix: &str) -> String {
        let of = |topic: &String| self.topology.owner(topic).index() == shard;
        (0..).map(|n| format!("{prefix}{n}")).find(of).unwrap()
    }
}
