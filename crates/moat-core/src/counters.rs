//! What one shard has counted, for `moat status` and the metrics.

/// Running totals and current sizes of one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// PUBLISH packets taken from clients.
    pub messages_received_total: u64,
    /// PUBLISH packets written for clients.
    pub messages_sent_total: u64,
    /// Deliveries dropped: slow QoS 0 readers, full queues, packets larger than the client takes.
    pub messages_dropped_total: u64,
    /// Messages whose expiry passed before they could be sent.
    pub messages_expired_total: u64,
    /// Publishes, subscriptions and wills that the policy refused.
    pub denials_total: u64,
}

impl Counters {
    /// Adds another shard's numbers.
    pub fn add(&mut self, other: &Counters) {
        self.messages_received_total += other.messages_received_total;
        self.messages_sent_total += other.messages_sent_total;
        self.messages_dropped_total += other.messages_dropped_total;
        self.messages_expired_total += other.messages_expired_total;
        self.denials_total += other.denials_total;
    }
}
