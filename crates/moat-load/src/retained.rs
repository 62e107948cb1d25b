//! `retained`: many retained messages, and subscribers who want all of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::bulk::{self, Bulk};
use crate::connection::{Connection, Event, Who, acknowledge};
use crate::measure::{Snapshot, now_ns};
use crate::options::Options;
use crate::packet;
use crate::report::Report;
use crate::tls;

/// How long nothing may come.
const QUIET: Duration = Duration::from_secs(5);
/// Messages in one folder of topics.
const FOLDER: usize = 1000;
/// Bytes written at once when they are cleared.
const WRITE_BYTES: usize = 32 * 1024;

/// What one subscriber saw.
struct Round {
    received: u64,
    first_us: f64,
    all_ms: f64,
}

/// Stores `--n` messages, has them delivered `--rounds` times, and clears them.
///
/// # Errors
/// A connection was refused or ended.
pub(crate) async fn run(options: &Arc<Options>) -> Result<(), String> {
    let config = tls::client(options)?;
    let tag = std::process::id();
    let topic = |number: usize| format!("r{tag}/{}/{}", number / FOLDER, number % FOLDER);
    let topics: Vec<String> = (0..options.n).map(topic).collect();
    let who = Who::clean(format!("rp{tag}"), 0);
    let mut publisher = Connection::open(options, config.as_ref(), &who).await?;
    let empty = Snapshot::take(options.broker_pid);
    let bulk = Bulk {
        topics: &topics,
        each: 1,
        qos: options.qos,
        retain: true,
    };
    bulk::publish(options, &mut publisher, &bulk).await?;
    let stored = Snapshot::take(options.broker_pid);
    sleep(Duration::from_secs_f64(options.settle_secs)).await;
    let from = Snapshot::take(options.broker_pid);
    let mut rounds = Vec::new();
    for number in 0..options.rounds {
        let who = Who::clean(format!("rs{tag}-{number}"), 0);
        let mut subscriber = Connection::open(options, config.as_ref(), &who).await?;
        rounds.push(receive(options, &mut subscriber, &format!("r{tag}/#")).await?);
        subscriber.bye().await;
    }
    let to = Snapshot::take(options.broker_pid);
    let count = options.n as u64;
    let received: u64 = rounds.iter().map(|round| round.received).sum();
    let all = sorted(rounds.iter().map(|round| round.all_ms));
    let first = sorted(rounds.iter().map(|round| round.first_us));
    let middle = |sorted: &[f64]| sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    Report::new("retained")
        .text("label", &options.label)
        .text("proto", options.protocol())
        .count("qos", options.qos.into())
        .count("payload", options.payload_bytes as u64)
        .count("messages", count)
        .number("store_per_s", count as f64 / stored.secs_since(&empty))
        .number("store_broker_us", stored.us_per(&empty, count))
        .number("rss_bytes_per_msg", from.bytes_per(&empty, count))
        .number("first_us_median", middle(&first))
        .number("all_ms_median", middle(&all))
        .number("all_ms_min", all.first().copied().unwrap_or(0.0))
        .count(
            "missing",
            (count * options.rounds as u64).saturating_sub(received),
        )
        .count("rounds", options.rounds as u64)
        .cost(&from, &to, received)
        .print();
    if options.clear {
        clear(options, &mut publisher, &topics).await?;
    }
    Ok(())
}

async fn receive(
    options: &Options,
    connection: &mut Connection,
    filter: &str,
) -> Result<Round, String> {
    let start = now_ns();
    let mut out = Vec::new();
    packet::subscribe(&mut out, options.v5, 1, [filter], options.sub_qos());
    connection.send(&out).await?;
    let (mut received, mut first) = (0u64, None);
    let mut last = start;
    while received < options.n as u64 {
        if !matches!(timeout(QUIET, connection.fill()).await, Ok(Ok(_))) {
            break;
        }
        out.clear();
        connection.parse(|event| match event {
            Event::Publish { qos, packet_id, .. } => {
                received += 1;
                acknowledge(&mut out, qos, packet_id);
            }
            Event::Ack { kind: 6, packet_id } => packet::ack(&mut out, 7, packet_id),
            _ => {}
        });
        last = now_ns();
        if received > 0 {
            first.get_or_insert(last);
        }
        if !out.is_empty() {
            connection.send(&out).await?;
        }
    }
    Ok(Round {
        received,
        first_us: (first.unwrap_or(last) - start) as f64 / 1e3,
        all_ms: (last - start) as f64 / 1e6,
    })
}

/// Leaves the broker as it was found: an empty payload removes a retained message.
async fn clear(
    options: &Options,
    connection: &mut Connection,
    topics: &[String],
) -> Result<(), String> {
    let mut out = Vec::new();
    for topic in topics {
        let mut what = options.publish(topic);
        (what.qos, what.retain, what.payload_bytes) = (0, true, 0);
        packet::publish(&mut out, &what);
        if out.len() > WRITE_BYTES {
            connection.send(&out).await?;
            out.clear();
        }
    }
    connection.send(&out).await?;
    connection.ping().await
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}
