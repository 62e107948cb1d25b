//! What the operator's side asks of a running shard.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use moat_core::counters::Counters;
use moat_core::shard::{Census, Sizes};
use moat_core::sys::{SysMessage, SysValues, Traffic};
use moat_policy::Snapshot;

/// A request to one shard.
pub enum Control {
    /// Judge by this policy from now on, and confirm.
    SetPolicy(Arc<Snapshot>, SyncSender<()>),
    /// Put out whom the chain does not vouch for any more, and confirm.
    PutOut(SyncSender<()>),
    /// Tell how you are.
    Report(SyncSender<ShardReport>),
    /// Publish values of the broker itself.
    PublishSystem(Vec<SysMessage>),
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
    /// What a walk over the sessions found.
    pub census: Census,
    /// Running totals of the connections.
    pub traffic: Traffic,
    /// Connections, authenticated or not.
    pub connections: usize,
    /// The longest turn of the last minute or two: how long anybody had to wait for his.
    pub longest_turn: Duration,
}

impl ShardReport {
    /// What the broker says about itself.
    #[must_use]
    pub fn sys_values(&self) -> SysValues {
        SysValues {
            counters: self.counters,
            traffic: self.traffic,
            sizes: self.sizes,
            census: self.census,
        }
    }

    /// Adds another shard's numbers.
    pub fn add(&mut self, other: &ShardReport) {
        self.sizes.sessions += other.sizes.sessions;
        self.sizes.subscriptions += other.sizes.subscriptions;
        self.sizes.retained_messages += other.sizes.retained_messages;
        self.counters.add(&other.counters);
        self.census.add(&other.census);
        self.traffic.add(&other.traffic);
        self.connections += other.connections;
        self.longest_turn = self.longest_turn.max(other.longest_turn);
    }
}
