//! `fanout`, `fanin` and `p2p`: publishers and subscribers for some seconds, then what it cost.

mod publisher;
mod subscriber;

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::connection::{Connection, Who};
use crate::histogram::Histogram;
use crate::homes::Threads;
use crate::measure::Snapshot;
use crate::options::Options;
use crate::report::Report;
use crate::tls;

/// How often to look whether messages still come, and for how long none may come.
const LOOK_SECS: f64 = 0.5;
const STALL_SECS: f64 = 3.0;
/// After the end: how often, in tenths of a second, to look for what is still under way, and how often in vain.
const DRAIN_LOOKS: usize = 300;
const DRAIN_LOOKS_IN_VAIN: usize = 20;

/// What one publisher may have under way from end to end: so many batches of so many messages.
struct Credit {
    /// Deliveries of that batch which are still missing.
    slots: Vec<AtomicU32>,
    wake: Notify,
    sent: AtomicU64,
}

/// What all tasks of a run share.
struct Shared {
    options: Arc<Options>,
    credits: Vec<Credit>,
    /// Messages in a batch.
    batch: u32,
    /// Deliveries that complete a batch.
    deliveries: u32,
    received: AtomicU64,
    received_bytes: AtomicU64,
    missed: AtomicU64,
    repeated: AtomicU64,
    gone: AtomicU64,
    is_over: AtomicBool,
    is_timed: AtomicBool,
    latest_ns: AtomicU64,
    latency: Histogram,
}

impl Shared {
    fn new(options: Arc<Options>, plan: &Plan) -> Self {
        let credit = || Credit {
            slots: (0..options.batches).map(|_| AtomicU32::new(0)).collect(),
            wake: Notify::new(),
            sent: AtomicU64::new(0),
        };
        let batch = options.batch as u32;
        Self {
            credits: plan.topics.iter().map(|_| credit()).collect(),
            batch,
            deliveries: if options.share { batch } else { plan.copies },
            received: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            gone: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            is_timed: AtomicBool::new(false),
            latest_ns: AtomicU64::new(0),
            latency: Histogram::new(),
            options,
        }
    }

    /// The slot of the batch that message `sequence` is in.
    #[inline]
    fn slot(&self, publisher: usize, sequence: u32) -> &AtomicU32 {
        let slots = &self.credits[publisher].slots;
        &slots[(sequence / self.batch) as usize % slots.len()]
    }

    /// A delivery that counts has arrived; the last one of a batch lets the publisher go on.
    #[inline]
    fn pay(&self, publisher: usize, sequence: u32) {
        if self.slot(publisher, sequence).fetch_sub(1, AcqRel) == 1 {
            self.credits[publisher].wake.notify_one();
        }
    }

    /// Whether messages come at a fixed rate and not as fast as they can.
    fn is_paced(&self) -> bool {
        self.options.rate > 0.0
    }

    fn wants_time(&self) -> bool {
        self.is_paced() || self.options.latency
    }

    fn sent(&self) -> u64 {
        self.credits
            .iter()
            .map(|credit| credit.sent.load(Acquire))
            .sum()
    }

    fn totals(&self) -> Totals {
        Totals {
            received: self.received.load(Relaxed),
            bytes: self.received_bytes.load(Relaxed),
            sent: self.sent(),
        }
    }
}

#[derive(Clone, Copy)]
struct Totals {
    received: u64,
    bytes: u64,
    sent: u64,
}

/// Who publishes where and who wants what.
struct Plan {
    /// The topic of each publisher.
    topics: Vec<String>,
    subscribers: Vec<Subscribed>,
    /// How many subscribers get each message.
    copies: u32,
}

struct Subscribed {
    filter: String,
    /// The first of the publishers whose messages it gets, and how many there are.
    first: usize,
    publishers: usize,
}

impl Plan {
    fn new(options: &Options, scenario: &str) -> Self {
        let tag = std::process::id();
        let share = if options.share { "$share/g/" } else { "" };
        let to_all = |filter: &str| -> Vec<Subscribed> {
            let of_all = || Subscribed {
                filter: format!("{share}{filter}"),
                first: 0,
                publishers: options.pubs,
            };
            (0..options.subs()).map(|_| of_all()).collect()
        };
        let (topics, subscribers): (Vec<String>, _) = match scenario {
            "fanout" => {
                let topic = format!("f{tag}/a");
                (vec![topic.clone(); options.pubs], to_all(&topic))
            }
            "fanin" => {
                let topic = |number| format!("i{tag}/{number}");
                (
                    (0..options.pubs).map(topic).collect(),
                    to_all(&format!("i{tag}/#")),
                )
            }
            _ => {
                let topics: Vec<String> = (0..options.pairs)
                    .map(|number| format!("p{tag}/{number}"))
                    .collect();
                let own = |(first, topic): (usize, &String)| Subscribed {
                    filter: topic.clone(),
                    first,
                    publishers: 1,
                };
                let subscribers = topics.iter().enumerate().map(own).collect();
                (topics, subscribers)
            }
        };
        let is_one = options.share || !matches!(scenario, "fanout" | "fanin");
        let copies = if is_one { 1 } else { options.subs() as u32 };
        Self {
            topics,
            subscribers,
            copies,
        }
    }
}

/// What a run has shown.
pub(crate) struct Outcome {
    from: Snapshot,
    to: Snapshot,
    delivered: u64,
    sent: u64,
    bytes: u64,
    missing: u64,
    is_stalled: bool,
    shared: Arc<Shared>,
    subscribers: usize,
}

/// Runs one of the three scenarios.
///
/// # Errors
/// A connection or a subscription was refused.
pub(crate) async fn run(options: &Arc<Options>, scenario: &str) -> Result<Outcome, String> {
    let plan = Plan::new(options, scenario);
    let shared = Arc::new(Shared::new(Arc::clone(options), &plan));
    let tasks = start(&shared, &plan).await?;
    sleep(Duration::from_secs_f64(options.warmup_secs)).await;
    shared.latency.clear();
    shared.latest_ns.store(0, Relaxed);
    shared.is_timed.store(true, Relaxed);
    let (from, before) = (Snapshot::take(options.broker_pid), shared.totals());
    let is_stalled = watch(&shared, before.received).await;
    let (to, after) = (Snapshot::take(options.broker_pid), shared.totals());
    shared.is_timed.store(false, Relaxed);
    shared.is_over.store(true, Relaxed);
    for credit in &shared.credits {
        credit.wake.notify_one();
    }
    drain(&shared, plan.copies).await;
    let wanted = shared.sent() * u64::from(plan.copies);
    let missing = wanted.saturating_sub(shared.received.load(Relaxed));
    for task in tasks {
        task.abort();
        let _ended = task.await;
    }
    if options.durable {
        forget(options, plan.subscribers.len()).await?;
    }
    Ok(Outcome {
        from,
        to,
        delivered: after.received - before.received,
        sent: after.sent - before.sent,
        bytes: after.bytes - before.bytes,
        missing,
        is_stalled,
        shared,
        subscribers: plan.subscribers.len(),
    })
}

async fn start(shared: &Arc<Shared>, plan: &Plan) -> Result<Vec<JoinHandle<()>>, String> {
    let options = &shared.options;
    let config = tls::client(options)?;
    let threads = options.homes.map(|homes| Threads::find(options, homes));
    let threads = threads.transpose()?;
    let tag = std::process::id();
    let mut tasks = Vec::new();
    for (number, subscribed) in plan.subscribers.iter().enumerate() {
        let who = subscriber(options, number);
        let mut connection = match &threads {
            None => Connection::open(options, config.as_ref(), &who).await?,
            Some(threads) => {
                let home = threads.of_subscriber(number);
                threads.open(options, config.as_ref(), &who, home).await?
            }
        };
        connection
            .subscribe(&subscribed.filter, options.sub_qos())
            .await?;
        let publishers = subscribed.first..subscribed.first + subscribed.publishers;
        tasks.push(tokio::spawn(subscriber::run(
            Arc::clone(shared),
            connection,
            publishers,
        )));
    }
    // All are connected before the first one publishes.
    let mut connections = Vec::new();
    for number in 0..plan.topics.len() {
        let who = Who::clean(format!("p{tag}-{number}"), number);
        connections.push(match &threads {
            None => Connection::open(options, config.as_ref(), &who).await?,
            Some(threads) => {
                let home = threads.of_publisher(number);
                threads.open(options, config.as_ref(), &who, home).await?
            }
        });
    }
    for (number, (connection, topic)) in connections.into_iter().zip(&plan.topics).enumerate() {
        let publisher = publisher::Publisher::new(shared, connection, number, topic);
        tasks.push(tokio::spawn(publisher.run()));
    }
    Ok(tasks)
}

fn subscriber(options: &Options, number: usize) -> Who {
    let id = format!("s{}-{number}", std::process::id());
    if options.durable {
        Who::lasting(id, number)
    } else {
        Who::clean(id, number)
    }
}

/// Ends the sessions that outlived their connections.
async fn forget(options: &Options, subscribers: usize) -> Result<(), String> {
    let config = tls::client(options)?;
    for number in 0..subscribers {
        let who = Who {
            expiry_secs: None,
            ..subscriber(options, number)
        };
        Connection::open(options, config.as_ref(), &who)
            .await?
            .bye()
            .await;
    }
    Ok(())
}

/// Waits until the time is over; `true` if no message came for a while.
async fn watch(shared: &Shared, mut last: u64) -> bool {
    let mut left = shared.options.secs;
    let mut still = 0.0;
    while left > 0.0 {
        let step = left.min(LOOK_SECS);
        sleep(Duration::from_secs_f64(step)).await;
        left -= step;
        let received = shared.received.load(Relaxed);
        still = if received == last { still + step } else { 0.0 };
        last = received;
        if still >= STALL_SECS {
            return true;
        }
    }
    false
}

async fn drain(shared: &Shared, copies: u32) {
    let (mut last, mut in_vain) = (0, 0);
    for _ in 0..DRAIN_LOOKS {
        sleep(Duration::from_millis(100)).await;
        let received = shared.received.load(Relaxed);
        in_vain = if received == last { in_vain + 1 } else { 0 };
        last = received;
        if received >= shared.sent() * u64::from(copies) || in_vain > DRAIN_LOOKS_IN_VAIN {
            return;
        }
    }
}

impl Outcome {
    /// Microseconds from end to end that `quantile` of the messages took at most.
    pub(crate) fn latency_us(&self, quantile: f64) -> f64 {
        self.shared.latency.quantile_us(quantile)
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(crate) fn missing(&self) -> u64 {
        self.missing
    }

    pub(crate) fn report(&self, scenario: &str) -> Report {
        let shared = &self.shared;
        let options = &shared.options;
        let wall = self.to.secs_since(&self.from);
        let window = if shared.is_paced() {
            0
        } else {
            options.batch * options.batches
        };
        let report = Report::new(scenario)
            .text("label", &options.label)
            .text("proto", options.protocol())
            .flag("tls", options.tls)
            .flag("durable", options.durable)
            .count("qos", options.qos.into())
            .count("payload", options.payload_bytes as u64)
            .count("user_properties", options.user_properties as u64)
            .count("pubs", shared.credits.len() as u64)
            .count("subs", self.subscribers as u64)
            .count("window", window as u64)
            .number("rate_asked", options.rate)
            .number("secs", wall)
            .number("delivered_per_s", self.delivered as f64 / wall)
            .number("published_per_s", self.sent as f64 / wall)
            .number("mb_per_s", self.bytes as f64 / wall / 1e6)
            .cost(&self.from, &self.to, self.delivered)
            .count("missing", self.missing)
            .count("gaps", shared.missed.load(Relaxed))
            .count("dups", shared.repeated.load(Relaxed))
            .count("conns_gone", shared.gone.load(Relaxed))
            .flag("stalled", self.is_stalled);
        if !shared.wants_time() {
            return report;
        }
        report
            .number("p50_us", self.latency_us(0.5))
            .number("p90_us", self.latency_us(0.9))
            .number("p99_us", self.latency_us(0.99))
            .number("p999_us", self.latency_us(0.999))
            .number("max_us", self.latency_us(1.0))
            .number("max_late_us", shared.latest_ns.load(Relaxed) as f64 / 1e3)
    }
}
