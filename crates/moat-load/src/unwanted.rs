//! `unwanted`: publishers to topics nobody subscribes to. A PINGREQ closes each round: its answer says that the broker
//! has read all before it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::connection::{Connection, Who};
use crate::measure::{Snapshot, now_ns};
use crate::options::Options;
use crate::packet;
use crate::report::Report;
use crate::tls;

/// Topics of one publisher, which it takes in turn.
const TOPICS: usize = 16;

/// Publishes with QoS 0 from `--pubs` connections for `--secs`.
///
/// # Errors
/// A connection was refused or ended.
pub(crate) async fn run(options: &Arc<Options>) -> Result<(), String> {
    let config = tls::client(options)?;
    let tag = std::process::id();
    let mut connections = Vec::new();
    for number in 0..options.pubs {
        let who = Who::clean(format!("u{tag}-{number}"), number);
        connections.push(Connection::open(options, config.as_ref(), &who).await?);
    }
    let published = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for (number, connection) in connections.into_iter().enumerate() {
        let (options, published) = (Arc::clone(options), Arc::clone(&published));
        tasks.push(tokio::spawn(async move {
            let result = publish(&options, connection, number, &published).await;
            if let Err(error) = result {
                eprintln!("publisher {number}: {error}");
            }
        }));
    }
    tokio::time::sleep(Duration::from_secs_f64(options.warmup_secs)).await;
    let (from, before) = (Snapshot::take(options.broker_pid), published.load(Relaxed));
    tokio::time::sleep(Duration::from_secs_f64(options.secs)).await;
    let (to, after) = (Snapshot::take(options.broker_pid), published.load(Relaxed));
    let gone = tasks.iter().filter(|task| task.is_finished()).count();
    for task in tasks {
        task.abort();
    }
    let count = after - before;
    Report::new("unwanted")
        .text("label", &options.label)
        .text("proto", options.protocol())
        .count("payload", options.payload_bytes as u64)
        .count("pubs", options.pubs as u64)
        .number("published_per_s", count as f64 / to.secs_since(&from))
        .cost(&from, &to, count)
        .count("conns_gone", gone as u64)
        .print();
    Ok(())
}

async fn publish(
    options: &Options,
    mut connection: Connection,
    number: usize,
    published: &AtomicU64,
) -> Result<(), String> {
    let tag = std::process::id();
    let mut batch = Vec::new();
    for message in 0..options.batch {
        let topic = format!("u{tag}/{number}/{}", message % TOPICS);
        let mut what = options.publish(&topic);
        (what.qos, what.retain) = (0, false);
        let places = packet::publish(&mut batch, &what);
        packet::stamp(&mut batch, places, now_ns(), number as u32, message as u32);
    }
    loop {
        // As much at once and as much under way as in the rows with subscribers.
        for _ in 0..options.batches {
            connection.send(&batch).await?;
        }
        connection.ping().await?;
        published.fetch_add((options.batch * options.batches) as u64, Relaxed);
    }
}
