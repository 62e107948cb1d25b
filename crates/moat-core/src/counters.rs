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
    /// Messages that a subscription matched and the policy kept back, where it judges each delivery.
    pub messages_withheld_total: u64,
    /// Packets of any kind taken from clients that have a session.
    pub packets_received_total: u64,
    /// Packets written for clients besides PUBLISH, the goodbyes excepted.
    pub answers_sent_total: u64,
    /// Bytes of the payloads of `messages_received_total`.
    pub payload_bytes_received_total: u64,
    /// Bytes of the payloads of `messages_sent_total`.
    pub payload_bytes_sent_total: u64,
    /// CONNECTs answered with success.
    pub connects_total: u64,
    /// Sessions whose expiry interval passed.
    pub sessions_expired_total: u64,
}

impl Counters {
    /// Adds another shard's numbers.
    pub fn add(&mut self, other: &Counters) {
        self.messages_received_total += other.messages_received_total;
        self.messages_sent_total += other.messages_sent_total;
        self.messages_dropped_total += other.messages_dropped_total;
        self.messages_expired_total += other.messages_expired_total;
        self.denials_total += other.denials_total;
        self.messages_withheld_total += other.messages_withheld_total;
        self.packets_received_total += other.packets_received_total;
        self.answers_sent_total += other.answers_sent_total;
        self.payload_bytes_received_total += other.payload_bytes_received_total;
        self.payload_bytes_sent_total += other.payload_bytes_sent_total;
        self.connects_total += other.connects_total;
        self.sessions_expired_total += other.sessions_expired_total;
    }

    /// Packets of any kind written for clients, the goodbyes excepted.
    #[must_use]
    pub fn packets_sent_total(&self) -> u64 {
        self.messages_sent_total + self.answers_sent_total
    }
}
