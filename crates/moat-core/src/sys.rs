//! The broker's own topics, by the names that mosquitto's dashboards read.
//!
//! The driver brings the sums over all shards and the time; [`SysTree::update`] says what to publish. Names, units and
//! formulas are those of mosquitto(8), so that what reads them there reads them here.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::counters::Counters;
use crate::shard::{Census, Sizes};
use crate::time::Time;

/// What all shards together have counted and hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SysValues {
    /// Running totals of the sessions.
    pub counters: Counters,
    /// Running totals of the connections.
    pub traffic: Traffic,
    /// Sessions, subscriptions, retained messages.
    pub sizes: Sizes,
    /// What takes a walk over the sessions to know.
    pub census: Census,
}

/// Running totals of connections, which only the driver sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of MQTT that came, without TLS and WebSocket.
    pub bytes_received_total: u64,
    /// Bytes of MQTT that were sent, without TLS and WebSocket.
    pub bytes_sent_total: u64,
    /// Connections accepted, whatever became of them.
    pub sockets_total: u64,
}

impl Traffic {
    /// Adds another shard's numbers.
    pub fn add(&mut self, other: &Traffic) {
        self.bytes_received_total += other.bytes_received_total;
        self.bytes_sent_total += other.bytes_sent_total;
        self.sockets_total += other.sockets_total;
    }
}

/// A value to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysMessage {
    /// The whole topic.
    pub topic: &'static str,
    /// The value as text.
    pub value: String,
}

/// The names of the loads: of what, over a minute, five and fifteen.
const LOADS: [(Load, [&str; 3]); 9] = {
    macro_rules! names {
        ($what:literal) => {
            [
                concat!("$SYS/broker/load/", $what, "/1min"),
                concat!("$SYS/broker/load/", $what, "/5min"),
                concat!("$SYS/broker/load/", $what, "/15min"),
            ]
        };
    }
    [
        (Load::MessagesReceived, names!("messages/received")),
        (Load::MessagesSent, names!("messages/sent")),
        (Load::PublishDropped, names!("publish/dropped")),
        (Load::PublishReceived, names!("publish/received")),
        (Load::PublishSent, names!("publish/sent")),
        (Load::BytesReceived, names!("bytes/received")),
        (Load::BytesSent, names!("bytes/sent")),
        (Load::Sockets, names!("sockets")),
        (Load::Connections, names!("connections")),
    ]
};

/// Minutes over which the loads are averaged.
const MINUTES: [f64; 3] = [1.0, 5.0, 15.0];

/// What a load is the rate of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    MessagesReceived,
    MessagesSent,
    PublishDropped,
    PublishReceived,
    PublishSent,
    BytesReceived,
    BytesSent,
    Sockets,
    Connections,
}

impl Load {
    fn total(self, values: &SysValues) -> u64 {
        let (counters, traffic) = (&values.counters, &values.traffic);
        match self {
            Self::MessagesReceived => counters.packets_received_total,
            Self::MessagesSent => counters.packets_sent_total(),
            Self::PublishDropped => counters.messages_dropped_total,
            Self::PublishReceived => counters.messages_received_total,
            Self::PublishSent => counters.messages_sent_total,
            Self::BytesReceived => traffic.bytes_received_total,
            Self::BytesSent => traffic.bytes_sent_total,
            Self::Sockets => traffic.sockets_total,
            Self::Connections => counters.connects_total,
        }
    }
}

/// A rate per minute, averaged over one, five and fifteen minutes with weights that fall exponentially.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadAverage {
    total: u64,
    averages: [f64; 3],
}

impl LoadAverage {
    /// Takes a running total, `elapsed_secs` after the one before, and returns the three averages.
    pub fn update(&mut self, total: u64, elapsed_secs: f64) -> [f64; 3] {
        let grown = total.saturating_sub(std::mem::replace(&mut self.total, total));
        if elapsed_secs > 0.0 {
            // A count that a f64 does not hold exactly is beyond what anybody reads as a load.
            let per_minute = grown as f64 * 60.0 / elapsed_secs;
            for (average, minutes) in self.averages.iter_mut().zip(MINUTES) {
                let kept = (-elapsed_secs / (60.0 * minutes)).exp();
                *average = per_minute + kept * (*average - per_minute);
            }
        }
        self.averages
    }
}

/// The values last published, and the loads.
#[derive(Debug, Default)]
pub struct SysTree {
    version: Option<String>,
    loads: [LoadAverage; LOADS.len()],
    clients_maximum: usize,
    updated: Time,
    published: HashMap<&'static str, String>,
}

impl SysTree {
    /// Nothing published yet. With `version`, `$SYS/broker/version` says it; who knows it knows what to attack, so by
    /// default nobody is told.
    #[must_use]
    pub fn new(version: Option<&str>) -> Self {
        Self {
            version: version.map(|version| format!("moat version {version}")),
            ..Self::default()
        }
    }

    /// Takes the values of this moment. Returns those that differ from what was published before; at first, all.
    /// `now` counts from the start of the broker.
    pub fn update(&mut self, values: &SysValues, now: Time) -> Vec<SysMessage> {
        let elapsed_millis = now.millis_since(std::mem::replace(&mut self.updated, now));
        self.clients_maximum = self.clients_maximum.max(values.census.connected);
        let mut changed = Vec::new();
        let mut tell = |topic, value: String| {
            if self.published.get(topic) != Some(&value) {
                self.published.insert(topic, value.clone());
                changed.push(SysMessage { topic, value });
            }
        };
        if let Some(version) = &self.version {
            tell("$SYS/broker/version", version.clone());
        }
        tell(
            "$SYS/broker/uptime",
            format!("{} seconds", now.millis() / 1000),
        );
        for (topic, count) in numbers(values, self.clients_maximum) {
            tell(topic, count.to_string());
        }
        // Milliseconds of a lifetime fit.
        let elapsed_secs = elapsed_millis as f64 / 1000.0;
        for (average, (load, topics)) in self.loads.iter_mut().zip(LOADS) {
            let averages = average.update(load.total(values), elapsed_secs);
            for (topic, average) in topics.into_iter().zip(averages) {
                let mut value = String::new();
                // A `String` takes everything.
                let _written = write!(value, "{average:.2}");
                tell(topic, value);
            }
        }
        changed
    }
}

/// The topics whose value is one number.
fn numbers(values: &SysValues, clients_maximum: usize) -> [(&'static str, u64); 22] {
    let SysValues {
        counters,
        traffic,
        sizes,
        census,
    } = values;
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let disconnected = count(sizes.sessions.saturating_sub(census.connected));
    let connected = count(census.connected);
    let stored = count(census.queued_messages + sizes.retained_messages);
    [
        ("$SYS/broker/clients/total", count(sizes.sessions)),
        ("$SYS/broker/clients/inactive", disconnected),
        ("$SYS/broker/clients/disconnected", disconnected),
        ("$SYS/broker/clients/active", connected),
        ("$SYS/broker/clients/connected", connected),
        (
            "$SYS/broker/clients/expired",
            counters.sessions_expired_total,
        ),
        ("$SYS/broker/clients/maximum", count(clients_maximum)),
        ("$SYS/broker/messages/stored", stored),
        ("$SYS/broker/store/messages/count", stored),
        (
            "$SYS/broker/store/messages/bytes",
            count(census.queued_bytes + census.retained_bytes),
        ),
        (
            "$SYS/broker/subscriptions/count",
            count(sizes.subscriptions),
        ),
        (
            "$SYS/broker/shared_subscriptions/count",
            count(census.shared_subscriptions),
        ),
        (
            "$SYS/broker/retained messages/count",
            count(sizes.retained_messages),
        ),
        (
            "$SYS/broker/messages/received",
            counters.packets_received_total,
        ),
        ("$SYS/broker/messages/sent", counters.packets_sent_total()),
        (
            "$SYS/broker/publish/messages/dropped",
            counters.messages_dropped_total,
        ),
        (
            "$SYS/broker/publish/messages/received",
            counters.messages_received_total,
        ),
        (
            "$SYS/broker/publish/messages/sent",
            counters.messages_sent_total,
        ),
        (
            "$SYS/broker/publish/bytes/received",
            counters.payload_bytes_received_total,
        ),
        (
            "$SYS/broker/publish/bytes/sent",
            counters.payload_bytes_sent_total,
        ),
        ("$SYS/broker/bytes/received", traffic.bytes_received_total),
        ("$SYS/broker/bytes/sent", traffic.bytes_sent_total),
    ]
}

#[cfg(test)]
mod tests;
