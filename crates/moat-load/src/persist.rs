//! `persist`: sessions that are away while messages come for them, and what it costs when they are back.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::bulk::{self, Bulk};
use crate::connection::{Connection, Event, Who, acknowledge};
use crate::connects::{Failures, in_parallel};
use crate::measure::Snapshot;
use crate::options::Options;
use crate::packet;
use crate::report::Report;
use crate::tls;

/// How long nothing may come.
const QUIET: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Counts {
    delivered: AtomicU64,
    repeated: AtomicU64,
    out_of_order: AtomicU64,
    present: AtomicU64,
    failures: Failures,
}

fn who(number: usize) -> Who {
    Who::lasting(format!("q{}-{number}", std::process::id()), number)
}

/// Makes `--n` sessions, publishes `--msgs` to each while they are away, and takes them back.
///
/// # Errors
/// A connection was refused or ended before the sessions come back.
pub(crate) async fn run(options: &Arc<Options>) -> Result<(), String> {
    let config = tls::client(options)?;
    let tag = std::process::id();
    let qos = options.qos.max(1);
    let topics: Vec<String> = (0..options.n)
        .map(|number| format!("q{tag}/{number}"))
        .collect();
    for (number, topic) in topics.iter().enumerate() {
        let mut connection = Connection::open(options, config.as_ref(), &who(number)).await?;
        connection.subscribe(topic, qos).await?;
        connection.bye().await;
    }
    sleep(Duration::from_secs_f64(options.settle_secs)).await;
    let publisher = Who::clean(format!("qp{tag}"), 0);
    let mut publisher = Connection::open(options, config.as_ref(), &publisher).await?;
    let total = (options.n * options.msgs) as u64;
    let before = Snapshot::take(options.broker_pid);
    let bulk = Bulk {
        topics: &topics,
        each: options.msgs,
        qos,
        retain: false,
    };
    bulk::publish(options, &mut publisher, &bulk).await?;
    let queued = Snapshot::take(options.broker_pid);
    sleep(Duration::from_secs_f64(options.settle_secs)).await;
    let from = Snapshot::take(options.broker_pid);
    let counts = Arc::new(Counts::default());
    let kept = Arc::new(Mutex::new(Vec::new()));
    let job = {
        let (options, config) = (Arc::clone(options), config.clone());
        let (counts, kept) = (Arc::clone(&counts), Arc::clone(&kept));
        move |number| {
            let (options, config) = (Arc::clone(&options), config.clone());
            let (counts, kept) = (Arc::clone(&counts), Arc::clone(&kept));
            async move {
                match Connection::open(&options, config.as_ref(), &who(number)).await {
                    Ok(mut connection) => {
                        receive(&mut connection, options.msgs, &counts).await;
                        kept.lock().await.push(connection);
                    }
                    Err(error) => counts.failures.note(&error),
                }
            }
        }
    };
    in_parallel(options.concurrency, options.n, job).await;
    let to = Snapshot::take(options.broker_pid);
    let delivered = counts.delivered.load(Relaxed);
    let drain_secs = to.secs_since(&from);
    Report::new("persist")
        .text("label", &options.label)
        .text("proto", options.protocol())
        .count("qos", qos.into())
        .count("sessions", options.n as u64)
        .count("msgs_each", options.msgs as u64)
        .number("queue_per_s", total as f64 / queued.secs_since(&before))
        .number("queue_broker_us", queued.us_per(&before, total))
        .number("rss_bytes_per_queued", from.bytes_per(&before, total))
        .number("drain_ms", drain_secs * 1e3)
        .number("drain_per_s", delivered as f64 / drain_secs)
        .cost(&from, &to, delivered)
        .count("delivered", delivered)
        .count("missing", total.saturating_sub(delivered))
        .count("dups", counts.repeated.load(Relaxed))
        .count("out_of_order", counts.out_of_order.load(Relaxed))
        .count("session_present", counts.present.load(Relaxed))
        .count("failed", counts.failures.count())
        .print();
    for connection in kept.lock().await.iter_mut() {
        connection.bye().await;
    }
    if options.clear {
        for number in 0..options.n {
            let ended = Who {
                expiry_secs: None,
                ..who(number)
            };
            if let Ok(mut connection) = Connection::open(options, config.as_ref(), &ended).await {
                connection.bye().await;
            }
        }
    }
    Ok(())
}

/// Takes what waits for one session, each message once and in order.
async fn receive(connection: &mut Connection, messages: usize, counts: &Counts) {
    counts
        .present
        .fetch_add(connection.session_present.into(), Relaxed);
    let mut seen = vec![false; messages];
    let (mut distinct, mut next, mut unfinished) = (0usize, 0u32, 0i64);
    let mut answers = Vec::new();
    loop {
        answers.clear();
        connection.parse(|event| match event {
            Event::Publish {
                qos,
                packet_id,
                sequence,
                ..
            } => {
                acknowledge(&mut answers, qos, packet_id);
                unfinished += i64::from(qos == 2);
                counts
                    .out_of_order
                    .fetch_add((sequence < next).into(), Relaxed);
                next = next.max(sequence.saturating_add(1));
                match seen.get_mut(sequence as usize) {
                    Some(seen) if !*seen => {
                        *seen = true;
                        distinct += 1;
                    }
                    _ => {
                        counts.repeated.fetch_add(1, Relaxed);
                    }
                }
            }
            Event::Ack { kind: 6, packet_id } => {
                packet::ack(&mut answers, 7, packet_id);
                unfinished -= 1;
            }
            _ => {}
        });
        let is_gone = !answers.is_empty() && connection.send(&answers).await.is_err();
        if is_gone || (distinct >= messages && unfinished <= 0) {
            break;
        }
        if !matches!(timeout(QUIET, connection.fill()).await, Ok(Ok(_))) {
            break;
        }
    }
    counts.delivered.fetch_add(distinct as u64, Relaxed);
}
