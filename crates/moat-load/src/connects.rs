//! `connect` and `idle`: connections that come, and connections that stay.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::connection::{Connection, Who};
use crate::histogram::Histogram;
use crate::measure::{Snapshot, now_ns};
use crate::options::Options;
use crate::report::Report;
use crate::tls;

/// Connections before the measuring begins: they warm up code, allocator and session cache.
const WARM_UP: usize = 10;
/// How long one connection may take.
const OPEN: Duration = Duration::from_secs(30);
/// How long to wait until the broker has closed its end too.
const CLOSE: Duration = Duration::from_millis(500);

/// Does `job` for each number below `count`, `workers` at once.
pub(crate) async fn in_parallel<F, J>(workers: usize, count: usize, job: J)
where
    J: Fn(usize) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let worker = || {
        let (next, job) = (Arc::clone(&next), job.clone());
        async move {
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= count {
                    return;
                }
                job(number).await;
            }
        }
    };
    let tasks: Vec<_> = (0..workers.max(1))
        .map(|_| tokio::spawn(worker()))
        .collect();
    for task in tasks {
        let _ended = task.await;
    }
}

/// Counts what failed and tells the first.
#[derive(Default)]
pub(crate) struct Failures(AtomicU64);

impl Failures {
    pub(crate) fn note(&self, error: &str) {
        if self.0.fetch_add(1, Relaxed) == 0 {
            eprintln!("first failure: {error}");
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[derive(Default)]
struct Connects {
    ok: AtomicU64,
    resumed: AtomicU64,
    failures: Failures,
}

/// Connects and disconnects `--n` times.
///
/// # Errors
/// One of the first connections failed.
pub(crate) async fn connect(options: &Arc<Options>) -> Result<(), String> {
    let config = tls::client(options)?;
    let tag = std::process::id();
    for number in 0..WARM_UP.min(options.n) {
        let who = Who::clean(format!("w{tag}-{number}"), number);
        let mut connection = Connection::open(options, config.as_ref(), &who).await?;
        if options.resume {
            // TLS 1.3 tickets come after the handshake: reading once lets the client keep them.
            connection.ping().await?;
        }
        connection.bye().await;
    }
    let counts = Arc::new(Connects::default());
    let times = Arc::new(Histogram::new());
    let from = Snapshot::take(options.broker_pid);
    let job = {
        let (options, counts, times) =
            (Arc::clone(options), Arc::clone(&counts), Arc::clone(&times));
        move |number| {
            let (options, config) = (Arc::clone(&options), config.clone());
            let (counts, times) = (Arc::clone(&counts), Arc::clone(&times));
            async move {
                let start = now_ns();
                let who = Who::clean(format!("c{tag}-{number}"), number);
                let open = Connection::open(&options, config.as_ref(), &who);
                match timeout(OPEN, open).await {
                    Ok(Ok(connection)) => {
                        times.add(now_ns() - start);
                        counts.ok.fetch_add(1, Relaxed);
                        counts
                            .resumed
                            .fetch_add(connection.is_resumed.into(), Relaxed);
                        close(connection).await;
                    }
                    Ok(Err(error)) => counts.failures.note(&error),
                    Err(_) => counts.failures.note("no CONNACK in time"),
                }
            }
        }
    };
    in_parallel(options.concurrency, options.n, job).await;
    let to = Snapshot::take(options.broker_pid);
    let ok = counts.ok.load(Relaxed);
    Report::new("connect")
        .text("label", &options.label)
        .text("proto", options.protocol())
        .text("mode", options.mode())
        .count("ok", ok)
        .count("failed", counts.failures.count())
        .count("resumed", counts.resumed.load(Relaxed))
        .count("concurrency", options.concurrency as u64)
        .number("per_s", ok as f64 / to.secs_since(&from))
        .cost(&from, &to, ok)
        .number("p50_us", times.quantile_us(0.5))
        .number("p99_us", times.quantile_us(0.99))
        .print();
    Ok(())
}

/// Disconnects and waits until the broker has closed too, so that both ends are done.
async fn close(mut connection: Connection) {
    connection.bye().await;
    let _late = timeout(CLOSE, async {
        while connection.fill().await.is_ok() {
            connection.parse(|_| {});
        }
    })
    .await;
}

/// Opens `--n` connections with one subscription each, and looks at the broker while nothing happens.
///
/// # Errors
/// The TLS files do not fit.
pub(crate) async fn idle(options: &Arc<Options>) -> Result<(), String> {
    let config = tls::client(options)?;
    let start = Snapshot::take(options.broker_pid);
    let failures = Arc::new(Failures::default());
    let kept = Arc::new(Mutex::new(Vec::with_capacity(options.n)));
    let job = {
        let (options, failures, kept) = (
            Arc::clone(options),
            Arc::clone(&failures),
            Arc::clone(&kept),
        );
        move |number| {
            let (options, config) = (Arc::clone(&options), config.clone());
            let (failures, kept) = (Arc::clone(&failures), Arc::clone(&kept));
            async move {
                let tag = std::process::id();
                let who = Who::clean(format!("idle{tag}-{number}"), number);
                let open = async {
                    let mut connection = Connection::open(&options, config.as_ref(), &who).await?;
                    if options.subs() > 0 {
                        let filter = format!("idle/{tag}/{number}/cmd");
                        connection.subscribe(&filter, options.qos).await?;
                    }
                    Ok::<_, String>(connection)
                };
                match timeout(OPEN, open).await {
                    Ok(Ok(connection)) => kept.lock().await.push(connection),
                    Ok(Err(error)) => failures.note(&error),
                    Err(_) => failures.note("no SUBACK in time"),
                }
            }
        }
    };
    in_parallel(options.concurrency, options.n, job).await;
    let opened = Snapshot::take(options.broker_pid);
    sleep(Duration::from_secs_f64(options.settle_secs)).await;
    let settled = Snapshot::take(options.broker_pid);
    sleep(Duration::from_secs_f64(options.secs)).await;
    let rested = Snapshot::take(options.broker_pid);
    let mut kept = kept.lock().await;
    let count = kept.len() as u64;
    let mut dead = 0u64;
    for connection in kept.iter_mut() {
        dead += u64::from(connection.ping().await.is_err());
    }
    let pinged = Snapshot::take(options.broker_pid);
    let idle_ms = rested.us_per(&settled, 1) / 1e3;
    Report::new("idle")
        .text("label", &options.label)
        .text("proto", options.protocol())
        .text("mode", options.mode())
        .count("conns", count)
        .count("failed", failures.count())
        .count("dead", dead)
        .number("rss_bytes_per_conn", rested.bytes_per(&start, count))
        .number(
            "rss_bytes_per_conn_after_ping",
            pinged.bytes_per(&start, count),
        )
        .number("idle_cpu_ms_per_s", idle_ms / rested.secs_since(&settled))
        .number("ping_broker_us", pinged.us_per(&rested, count))
        .number("open_s", opened.secs_since(&start))
        .cost(&start, &opened, count)
        .print();
    Ok(())
}
