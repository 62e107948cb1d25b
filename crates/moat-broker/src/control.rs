//! What the operator's side asks of a running shard.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use moat_core::counters::Counters;
use moat_core::shard::Sizes;
use moat_policy::Snapshot;

/// A request to one shard.
pub enum Control {
    /// Judge by this policy from now on, and confirm.
    SetPolicy(Arc<Snapshot>, SyncSender<()>),
    /// Tell how you are.
    Report(SyncSender<ShardReport>),
    /// Accept nobody, tell everybody goodbye, and end.
    Stop,
}

/// How a shard is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardReport {
    /// Sessions, subscriptions, retained messages.
    pub sizes: Sizes,
    /// Running totals.
    pub counters: Counters,
    /// Connections, authenticated or not.
    pub connections: usize,
}

impl ShardReport {
    /// Adds another shard's numbers.
    pub fn add(&mut self, other: &ShardReport) {
        self.sizes.sessions += other.sizes.sessions;
        self.sizes.subscriptions += other.sizes.subscriptions;
        self.sizes.retained_messages += other.sizes.retained_messages;
        self.counters.add(&other.counters);
        self.connections += other.connections;
    }
}
