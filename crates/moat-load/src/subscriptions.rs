//! `subscriptions`: very many distinct filters. What each takes in memory, what a message costs that matches one of
//! them, and what others notice while filters come and go.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::connection::{Connection, Event, SUBACK, UNSUBACK, Who, acknowledge};
use crate::measure::{Snapshot, now_ns};
use crate::options::Options;
use crate::report::Report;
use crate::{packet, tls, traffic};

/// Filters in one SUBSCRIBE or UNSUBSCRIBE.
const FILTERS_PER_PACKET: usize = 50;
/// Messages under way from the one publisher.
const WINDOW: u64 = 256;
/// Messages written at once.
const BATCH: u64 = 64;
/// How long nothing may arrive.
const QUIET: Duration = Duration::from_secs(5);
/// Between two filters that messages go to: a prime, so that all of them have their turn.
const STRIDE: u64 = 7919;
/// Filters of the one connection that subscribes and unsubscribes: so many are there at most.
const CHURN_FILTERS: usize = 1000;

/// Subscribes `--n` filters and measures; with `--churn`, pairs talk without and with it.
///
/// # Errors
/// A connection or a subscription was refused.
pub(crate) async fn run(options: &Arc<Options>) -> Result<(), String> {
    let config = tls::client(options)?;
    let start = Snapshot::take(options.broker_pid);
    let arrivals = Arc::new(Arrivals::default());
    let subscribers = subscribe_all(options, config.as_ref()).await?;
    let subscribed = Snapshot::take(options.broker_pid);
    sleep(Duration::from_secs_f64(options.settle_secs)).await;
    let settled = Snapshot::take(options.broker_pid);
    let mut tasks = Vec::new();
    for connection in subscribers {
        tasks.push(tokio::spawn(receive(connection, Arc::clone(&arrivals))));
    }
    let who = Who::clean(format!("np{}", std::process::id()), 0);
    let publisher = Connection::open(options, config.as_ref(), &who).await?;
    let (from, to, delivered, missing) = talk(options, publisher, &arrivals).await?;
    let count = options.n as u64;
    let report = Report::new("subscriptions")
        .text("label", &options.label)
        .text("proto", options.protocol())
        .count("subscriptions", count)
        .flag("wildcards", options.wildcards)
        .number("subscribe_broker_us", subscribed.us_per(&start, count))
        .number(
            "rss_bytes_per_subscription",
            settled.bytes_per(&start, count),
        )
        .cost(&from, &to, delivered)
        .count("delivered", delivered)
        .count("missing", missing);
    let report = if options.churn > 0.0 {
        churn(options, report).await?
    } else {
        report
    };
    report.print();
    for task in tasks {
        task.abort();
    }
    Ok(())
}

/// Filter `number`, or a topic that it and no other matches.
fn name(number: usize, is_wildcard: bool) -> String {
    let tag = std::process::id();
    let (plant, line, device) = (number / 10_000, number / 100 % 100, number % 100);
    let level = if is_wildcard { "+" } else { "value" };
    format!("n{tag}/{plant}/{line}/{device}/{level}")
}

async fn subscribe_all(
    options: &Options,
    config: Option<&Arc<rustls::ClientConfig>>,
) -> Result<Vec<Connection>, String> {
    let count = options.subs().max(1);
    let mut connections = Vec::new();
    for number in 0..count {
        let who = Who::clean(format!("n{}-{number}", std::process::id()), number);
        let mut connection = Connection::open(options, config, &who).await?;
        let own: Vec<usize> = (number..options.n).step_by(count).collect();
        for part in own.chunks(FILTERS_PER_PACKET) {
            let filters: Vec<String> = part
                .iter()
                .map(|number| name(*number, options.wildcards))
                .collect();
            let mut out = Vec::new();
            let filters = filters.iter().map(String::as_str);
            packet::subscribe(&mut out, options.v5, 1, filters, options.sub_qos());
            connection.send(&out).await?;
            connection.wait(SUBACK).await?;
        }
        connections.push(connection);
    }
    Ok(connections)
}

#[derive(Default)]
struct Arrivals {
    count: AtomicU64,
    wake: Notify,
}

async fn receive(mut connection: Connection, arrivals: Arc<Arrivals>) {
    let mut answers = Vec::new();
    while connection.fill().await.is_ok() {
        let mut received = 0;
        answers.clear();
        connection.parse(|event| match event {
            Event::Publish { qos, packet_id, .. } => {
                received += 1;
                acknowledge(&mut answers, qos, packet_id);
            }
            Event::Ack { kind: 6, packet_id } => packet::ack(&mut answers, 7, packet_id),
            _ => {}
        });
        if received > 0 {
            arrivals.count.fetch_add(received, Relaxed);
            arrivals.wake.notify_one();
        }
        if !answers.is_empty() && connection.send(&answers).await.is_err() {
            return;
        }
    }
}

/// Publishes to one filter after the other; the measured time begins after the warm-up.
async fn talk(
    options: &Options,
    mut publisher: Connection,
    arrivals: &Arrivals,
) -> Result<(Snapshot, Snapshot, u64, u64), String> {
    let start = now_ns();
    let nanos = |secs: f64| (secs * 1e9) as u64;
    let begin = start + nanos(options.warmup_secs);
    let end = begin + nanos(options.secs);
    let mut from = None;
    let mut sent = 0u64;
    let mut out = Vec::new();
    while now_ns() < end {
        if from.is_none() && now_ns() >= begin {
            from = Some((
                Snapshot::take(options.broker_pid),
                arrivals.count.load(Relaxed),
            ));
        }
        if sent + BATCH <= arrivals.count.load(Relaxed) + WINDOW {
            out.clear();
            for message in sent..sent + BATCH {
                let number = (message * STRIDE % options.n.max(1) as u64) as usize;
                let topic = name(number, false);
                let mut what = options.publish(&topic);
                (what.qos, what.retain) = (0, false);
                packet::publish(&mut out, &what);
            }
            publisher.send(&out).await?;
            sent += BATCH;
        } else if timeout(QUIET, arrivals.wake.notified()).await.is_err() {
            return Err(format!("no message arrived for {QUIET:?}"));
        }
    }
    let to = Snapshot::take(options.broker_pid);
    let delivered = arrivals.count.load(Relaxed);
    while arrivals.count.load(Relaxed) < sent {
        if timeout(QUIET, arrivals.wake.notified()).await.is_err() {
            break;
        }
    }
    let missing = sent.saturating_sub(arrivals.count.load(Relaxed));
    let (from, before) = from.unwrap_or((to, delivered));
    Ok((from, to, delivered - before, missing))
}

/// Lets pairs talk for a while in quiet and then beside a client whose filters come and go.
async fn churn(options: &Arc<Options>, report: Report) -> Result<Report, String> {
    let quiet = traffic::run(options, "p2p").await?;
    let changes = Arc::new(AtomicU64::new(0));
    let before = now_ns();
    let task = start_churn(options, &changes).await?;
    let busy = traffic::run(options, "p2p").await?;
    let secs = (now_ns() - before) as f64 / 1e9;
    task.abort();
    Ok(report
        .number("churn_asked", options.churn)
        .number("churn_per_s", changes.load(Relaxed) as f64 / secs)
        .number("quiet_p50_us", quiet.latency_us(0.5))
        .number("quiet_p99_us", quiet.latency_us(0.99))
        .number("p50_us", busy.latency_us(0.5))
        .number("p99_us", busy.latency_us(0.99))
        .count("pairs_delivered", busy.delivered())
        .count("pairs_missing", busy.missing()))
}

async fn start_churn(
    options: &Arc<Options>,
    changes: &Arc<AtomicU64>,
) -> Result<JoinHandle<()>, String> {
    let config = tls::client(options)?;
    let who = Who::clean(format!("nc{}", std::process::id()), 0);
    let mut connection = Connection::open(options, config.as_ref(), &who).await?;
    let (options, changes) = (Arc::clone(options), Arc::clone(changes));
    Ok(tokio::spawn(async move {
        let start = now_ns();
        let mut done = 0u64;
        loop {
            let due = ((now_ns() - start) as f64 / 1e9 * options.churn) as u64;
            if done >= due {
                sleep(Duration::from_millis(1)).await;
                continue;
            }
            if let Err(error) = change(&options, &mut connection, done as usize).await {
                eprintln!("churn: {error}");
                return;
            }
            done += FILTERS_PER_PACKET as u64;
            changes.store(done, Relaxed);
        }
    }))
}

/// Subscribes a packet of filters, or unsubscribes them once all are there.
async fn change(options: &Options, connection: &mut Connection, done: usize) -> Result<(), String> {
    let tag = std::process::id();
    let first = done % CHURN_FILTERS;
    let filters: Vec<String> = (first..first + FILTERS_PER_PACKET)
        .map(|number| format!("c{tag}/{number}/+/x"))
        .collect();
    let filters = filters.iter().map(String::as_str);
    let mut out = Vec::new();
    let answer = if (done / CHURN_FILTERS).is_multiple_of(2) {
        packet::subscribe(&mut out, options.v5, 1, filters, 0);
        SUBACK
    } else {
        packet::unsubscribe(&mut out, options.v5, 1, filters);
        UNSUBACK
    };
    connection.send(&out).await?;
    connection.wait(answer).await
}
