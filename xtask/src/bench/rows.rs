//! The table of what is measured, and what each row is held to.

use crate::words::{Failure, unknown};

/// Where the load goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Plain,
    Tls,
    Mtls,
}

/// What the figure of a broker is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// The floor under the same load.
    Floor,
    /// The floor under another load.
    FloorUnder(&'static str),
    /// The same broker under another load, without TLS, directly before.
    OwnPlain(&'static str),
    /// Nothing: the figure in kilobytes (of 1000 bytes) is the one that counts.
    Kilobytes,
    /// Nothing: the figure stands for itself.
    Alone,
}

/// The most a row may show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bound {
    pub(super) must: f64,
    pub(super) goal: f64,
}

/// How a second figure of the same runs, the median latency, is held to its base.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Latency {
    /// So many times the base's.
    Times(Bound),
    /// So many milliseconds more than the base's.
    MillisMore(f64),
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// The scenario of the load generator and its options; `{secs}` is how long to measure.
    pub(super) load: &'static str,
    pub(super) door: Door,
    /// The figure of the load generator's report.
    pub(super) figure: &'static str,
    pub(super) unit: &'static str,
    pub(super) base: Base,
    pub(super) bound: Option<Bound>,
    pub(super) latency: Option<Latency>,
    /// The load under which the latency is measured, if it is not the row's: with as much under way as possible,
    /// latency is only another word for throughput.
    pub(super) latency_load: Option<&'static str>,
    /// Whether each run has a broker that has just been started.
    pub(super) is_fresh: bool,
}

const CPU: &str = "broker_us_per_unit";
const MICROS: &str = "µs";
const PAIRS: &str = "p2p --pairs 50 --inflight 64 --secs {secs}";
const PACED: &str = "p2p --pairs 50 --rate 20000 --latency --secs {secs}";
const IDLE_TLS: &str = "idle --n {idle_tls} --concurrency 16 --src-ips 4 --secs 1";

/// Messages without TLS, held against the floor under the same load.
const fn traffic(id: &'static str, title: &'static str, load: &'static str) -> Row {
    Row {
        id,
        title,
        load,
        door: Door::Plain,
        figure: CPU,
        unit: MICROS,
        base: Base::Floor,
        bound: None,
        latency: None,
        latency_load: None,
        is_fresh: false,
    }
}

/// Handshakes through a door with TLS, which are all held to the same.
const fn handshake(id: &'static str, title: &'static str, door: Door) -> Row {
    traffic(
        id,
        title,
        "connect --n {handshakes} --concurrency 8 --src-ips 8",
    )
    .over(door)
    .at_most(1.15, 1.05)
}

/// Connections that only stay.
const fn idle(id: &'static str, title: &'static str, door: Door, load: &'static str) -> Row {
    Row {
        door,
        figure: "rss_bytes_per_conn",
        unit: "bytes",
        base: Base::Kilobytes,
        is_fresh: true,
        ..traffic(id, title, load)
    }
}

/// Messages for sessions that are away; the run has a figure for each of its two halves.
const fn away(id: &'static str, title: &'static str, figure: &'static str) -> Row {
    Row {
        figure,
        base: Base::Alone,
        ..traffic(id, title, "persist --n {sessions} --msgs 100 --qos 1")
    }
}

impl Row {
    const fn at_most(mut self, must: f64, goal: f64) -> Self {
        self.bound = Some(Bound { must, goal });
        self
    }

    const fn over(mut self, door: Door) -> Self {
        self.door = door;
        self
    }

    const fn against(mut self, base: Base) -> Self {
        self.base = base;
        self
    }

    const fn with_latency(mut self, latency: Latency) -> Self {
        self.latency = Some(latency);
        self
    }

    const fn measured_under(mut self, load: &'static str) -> Self {
        self.latency_load = Some(load);
        self
    }
}

/// All rows, in the order of the report.
pub(super) const ROWS: &[Row] = &[
    traffic("pairs-qos0", "50 pairs QoS 0", PAIRS).at_most(2.0, 1.3),
    traffic(
        "pairs-qos1",
        "50 pairs QoS 1",
        "p2p --pairs 50 --qos 1 --inflight 64 --secs {secs}",
    )
    .at_most(2.0, 1.4),
    traffic(
        "pairs-qos2",
        "50 pairs QoS 2",
        "p2p --pairs 50 --qos 2 --inflight 64 --secs {secs}",
    )
    .at_most(2.2, 1.4),
    traffic(
        "pairs-v5-properties",
        "50 pairs QoS 0, MQTT 5 with two user properties",
        "p2p --pairs 50 --v5 --user-properties 2 --secs {secs}",
    )
    .at_most(2.4, 1.6),
    traffic(
        "fan-out-100",
        "fan-out 1→100",
        "fanout --subs 100 --secs {secs}",
    )
    .at_most(2.0, 1.3),
    traffic(
        "fan-out-1000",
        "fan-out 1→1000",
        "fanout --subs 1000 --batch 4 --secs {secs}",
    )
    .at_most(1.6, 1.15),
    traffic(
        "fan-out-1000-paced",
        "fan-out 1→1000, 50 msg/s paced",
        "fanout --subs 1000 --rate 50 --secs {secs}",
    )
    .at_most(1.2, 1.0),
    traffic(
        "fan-in-qos0",
        "fan-in 100→1 QoS 0",
        "fanin --pubs 100 --inflight 64 --secs {secs}",
    )
    .at_most(2.2, 1.4),
    traffic(
        "fan-in-qos1",
        "fan-in 100→1 QoS 1",
        "fanin --pubs 100 --qos 1 --inflight 64 --secs {secs}",
    )
    .at_most(2.2, 1.4),
    traffic(
        "pairs-16k",
        "50 pairs, 16 KiB",
        "p2p --pairs 50 --payload 16384 --batch 4 --secs {secs}",
    )
    .at_most(1.2, 0.9),
    traffic("pairs-paced", "50 pairs, 20,000 msg/s paced", PACED)
        .at_most(1.25, 1.05)
        .with_latency(Latency::Times(Bound {
            must: 1.2,
            goal: 1.0,
        })),
    traffic(
        "pairs-tls",
        "50 pairs QoS 0 over TLS 1.3 ÷ the same in plain",
        PAIRS,
    )
    .over(Door::Tls)
    .against(Base::OwnPlain(PAIRS))
    .at_most(1.5, 1.25)
    .with_latency(Latency::MillisMore(1.0))
    .measured_under(PACED),
    traffic(
        "connect",
        "plain connects",
        "connect --n {connects} --concurrency 8 --src-ips 8",
    )
    .at_most(1.15, 1.0),
    handshake(
        "handshake-tls",
        "TLS 1.3 handshake ÷ a bare rustls accept",
        Door::Tls,
    ),
    handshake(
        "handshake-mtls",
        "mTLS handshake ÷ a bare rustls accept",
        Door::Mtls,
    ),
    idle(
        "rss-plain",
        "memory per idle connection with one subscription: plain",
        Door::Plain,
        "idle --n {idle} --concurrency 64 --src-ips 4 --secs 1",
    )
    .at_most(1.8, 1.1),
    idle(
        "rss-tls",
        "memory per idle connection with one subscription: TLS",
        Door::Tls,
        IDLE_TLS,
    )
    .at_most(8.0, 5.0),
    idle(
        "rss-mtls",
        "memory per idle connection with one subscription: mTLS",
        Door::Mtls,
        IDLE_TLS,
    )
    .at_most(9.0, 6.0),
    traffic(
        "retained-100k",
        "retained, {retained} under one wildcard: per message delivered ÷ the floor's pairs QoS 0",
        "retained --n {retained} --rounds 3",
    )
    .against(Base::FloorUnder(PAIRS))
    .at_most(1.7, 0.8),
    traffic(
        "unwanted",
        "publishes to topics nobody wants ÷ the floor's read",
        "unwanted --pubs 50 --secs {secs}",
    )
    .at_most(1.2, 1.2),
    traffic(
        "durable-pairs-qos1",
        "50 pairs QoS 1, durable sessions",
        "p2p --pairs 50 --qos 1 --inflight 64 --durable --secs {secs}",
    ),
    traffic(
        "durable-pairs-qos2",
        "50 pairs QoS 2, durable sessions",
        "p2p --pairs 50 --qos 2 --inflight 64 --durable --secs {secs}",
    ),
    traffic(
        "durable-fan-in-qos1",
        "fan-in 100→1 QoS 1, durable session",
        "fanin --pubs 100 --qos 1 --inflight 64 --durable --secs {secs}",
    ),
    away(
        "durable-offline",
        "{sessions} sessions away, 100 messages each, QoS 1: drained",
        CPU,
    ),
    away(
        "durable-offline-queue",
        "{sessions} sessions away, 100 messages each, QoS 1: queued",
        "queue_broker_us",
    ),
];

/// The rows with these ids, in the order of the table.
///
/// # Errors
/// There is none of that name; the message has the nearest.
pub(super) fn chosen(names: &[String]) -> Result<Vec<&'static Row>, Failure> {
    if names.is_empty() {
        return Ok(ROWS.iter().collect());
    }
    check(names, ROWS.iter().map(|row| row.id))?;
    let is_named = |row: &&Row| names.iter().any(|name| name == row.id);
    Ok(ROWS.iter().filter(is_named).collect())
}

/// Whether all of `names` are known.
///
/// # Errors
/// One is not; the message has the nearest.
pub(super) fn check<'k>(
    names: &[String],
    known: impl Iterator<Item = &'k str> + Clone,
) -> Result<(), Failure> {
    let is_unknown = |name: &&String| !known.clone().any(|id| id == *name);
    match names.iter().find(is_unknown) {
        Some(name) => Err(unknown(&format!("--rows {name}"), name, known)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_misspelt_row_names_the_nearest() {
        let error = |name: &str| chosen(&[name.to_owned()]).unwrap_err().to_string();
        let near = "--rows pair-qos0: not known; did you mean pairs-qos0? There are pairs-qos0, ";
        assert!(error("pair-qos0").starts_with(near));
        assert!(error("banana").contains("there are pairs-qos0, "));
    }

    #[test]
    fn rows_come_in_the_order_of_the_table_and_all_without_names() {
        let names = ["fan-out-100".to_owned(), "pairs-qos0".to_owned()];
        let ids: Vec<&str> = chosen(&names).unwrap().iter().map(|row| row.id).collect();
        assert_eq!(ids, ["pairs-qos0", "fan-out-100"]);
        assert_eq!(chosen(&[]).unwrap().len(), ROWS.len());
    }

    #[test]
    fn ids_are_distinct_and_a_goal_is_not_beyond_the_must() {
        let ids: BTreeSet<&str> = ROWS.iter().map(|row| row.id).collect();
        assert_eq!(ids.len(), ROWS.len());
        for bound in ROWS.iter().filter_map(|row| row.bound) {
            assert!(bound.goal <= bound.must);
        }
    }
}
