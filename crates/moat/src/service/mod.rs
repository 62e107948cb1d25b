//! The service plane of a running broker: everything that waits.
//!
//! - `signals`: what the process is told from outside.
//! - `watch`: which files have changed. `nudge`: when to look, beside once a second.
//! - `reload`: certificates, policy and users into force, all or nothing each.
//! - `sys`: what the broker publishes about itself.
//! - `admin`: the admin socket. `status`: what it answers.

pub(crate) mod admin;
mod nudge;
pub(crate) mod reload;
pub(crate) mod signals;
pub(crate) mod status;
mod sys;
pub(crate) mod watch;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use moat_api::ListenerStatus;
use moat_broker::Broker;
use moat_events::{Event, EventLogHandle, EventSender};
use tokio::runtime::Runtime;

use crate::admin_socket::AdminSocket;
use crate::exit::Failure;
use crate::privileges::Hardening;
use crate::service::nudge::Nudge;
use crate::service::reload::Reload;
use crate::service::signals::{Asked, Signals};
use crate::service::sys::Sys;
use crate::service::watch::Watch;

/// How often files are looked at, and whether all packet threads are alive.
const TICK: Duration = Duration::from_secs(1);

/// How often the end of the server certificate is looked at.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// How much longer than its own limit a stop may take before the process ends without waiting.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// A running broker with what belongs to it.
pub(crate) struct Service {
    /// `None` once it is stopping.
    broker: RwLock<Option<Broker>>,
    /// What can be read again.
    pub(crate) reload: Reload,
    /// What does not change while it runs.
    pub(crate) facts: Facts,
    /// Where events go.
    pub(crate) events: EventSender,
}

/// What does not change while a broker runs.
pub(crate) struct Facts {
    /// The number of packet threads.
    pub(crate) shards: u16,
    /// One entry per address.
    pub(crate) listeners: Vec<ListenerStatus>,
    /// What the process has given up.
    pub(crate) hardening: Hardening,
    /// When it started, by the wall clock.
    pub(crate) started_at: SystemTime,
    /// The same by the clock that never jumps.
    pub(crate) started: Instant,
    /// How long a stop may take.
    pub(crate) stop_timeout: Duration,
}

/// What [`run`] needs beside the service itself.
pub(crate) struct Surroundings {
    /// The runtime of the service plane.
    pub(crate) runtime: Runtime,
    /// The signals, caught since before the broker started.
    pub(crate) signals: Signals,
    /// The files as they were before they were read first.
    pub(crate) watch: Watch,
    /// The admin socket.
    pub(crate) socket: AdminSocket,
    /// The log's handle.
    pub(crate) log: EventLogHandle,
}

impl Service {
    /// A broker in service.
    pub(crate) fn new(broker: Broker, reload: Reload, facts: Facts, events: EventSender) -> Self {
        Self {
            broker: RwLock::new(Some(broker)),
            reload,
            facts,
            events,
        }
    }

    /// Does something with the broker unless it is stopping. May block as long as the broker takes to answer.
    pub(crate) fn with_broker<T>(&self, act: impl FnOnce(&Broker) -> T) -> Option<T> {
        let broker = self.broker.read().unwrap_or_else(PoisonError::into_inner);
        broker.as_ref().map(act)
    }

    fn failure(&self) -> Option<String> {
        self.with_broker(Broker::failure).flatten()
    }

    /// Stops the broker; waits for those who are asking it something.
    fn stop(&self) -> std::io::Result<()> {
        let broker = self
            .broker
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        broker.map_or(Ok(()), Broker::stop)
    }
}

/// Serves until somebody asks for the end; returns when everything has ended.
///
/// # Errors
/// A packet thread ended by itself, the stop took too long, or a second signal cut it short.
pub(crate) fn run(service: Service, surroundings: Surroundings) -> Result<(), Failure> {
    let Surroundings {
        runtime,
        mut signals,
        mut watch,
        socket,
        log,
    } = surroundings;
    let service = Arc::new(service);
    let ended = runtime.block_on(async {
        let admin = admin::start(&socket, Arc::clone(&service))?;
        let reason = serve(&service, &mut signals, &mut watch, &log).await;
        admin.abort();
        stop(&service, &mut signals, reason).await
    });
    // A second signal or a stuck thread: whatever still runs ends with the process.
    runtime.shutdown_background();
    if ended.is_ok() {
        service.events.send(Event::ServerStopped {});
    }
    drop(service);
    let flushed = log.flush_and_stop();
    ended?;
    flushed.map_err(|error| {
        Failure::failed(format!("the last log lines could not be written: {error}"))
    })
}

/// Reloads what it is asked to and what has changed. Returns why it is to end.
async fn serve(
    service: &Arc<Service>,
    signals: &mut Signals,
    watch: &mut Watch,
    log: &EventLogHandle,
) -> String {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let nudge = Nudge::of(watch.folders());
    let mut renewal = tokio::time::interval(RENEWAL_INTERVAL);
    let mut sys = Sys::new(&service.reload.config);
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop(signal) => return signal.to_owned(),
                Asked::Reload => {
                    reopen(service, log);
                    // What is read now is not news at the next tick.
                    watch.changed();
                    reload::now(service, reload::What::ALL.to_vec()).await;
                }
            },
            _ = tick.tick() => {
                if let Some(failure) = service.failure() {
                    return failure;
                }
                reload::now(service, watch.changed()).await;
            }
            () = sys.next() => sys.publish(service),
            () = nudge.next() => reload::now(service, watch.changed()).await,
            // What it writes is seen at the next tick, like everything else that is written.
            _ = renewal.tick() => reload::renew_server_certificate(service).await,
        }
    }
}

/// The log itself says when it was reopened.
fn reopen(service: &Service, log: &EventLogHandle) {
    if let Err(error) = log.reopen() {
        service.events.send(Event::ReloadFailed {
            what: "log".to_owned(),
            error: error.to_string(),
        });
    }
}

async fn stop(
    service: &Arc<Service>,
    signals: &mut Signals,
    reason: String,
) -> Result<(), Failure> {
    service.events.send(Event::ServerStopping { reason });
    let limit = service.facts.stop_timeout + STOP_MARGIN;
    let stopping = Arc::clone(service);
    let stopped = tokio::task::spawn_blocking(move || stopping.stop());
    tokio::select! {
        stopped = tokio::time::timeout(limit, stopped) => match stopped {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(Failure::failed(format!("a part of the broker has ended by itself: {error}"))),
            Ok(Err(error)) => Err(Failure::failed(format!("the stop failed: {error}"))),
            Err(_) => Err(Failure::failed(format!("the stop took longer than {} s; connections were cut", limit.as_secs()))),
        },
        signal = signals.next_stop() => Err(Failure::failed(format!("stopped at once by a second signal, {signal}; connections were cut"))),
    }
}
