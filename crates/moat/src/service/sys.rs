//! `$SYS`: every interval the figures of all packet threads, summed up here, and told by one of them.

use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use moat_config::Config;
use moat_core::Time;
use moat_core::sys::SysTree;
use tokio::time::{Interval, MissedTickBehavior};

use crate::service::Service;

/// What is published, and how often.
pub(crate) struct Sys {
    tree: Arc<Mutex<SysTree>>,
    /// `None` for never.
    ticks: Option<Interval>,
}

impl Sys {
    /// As the configuration says. To be called inside the runtime.
    pub(crate) fn new(config: &Config) -> Self {
        let version = config.sys_version.then_some(env!("CARGO_PKG_VERSION"));
        let every = Duration::from_secs(config.sys_interval_secs.into());
        let ticks = (!every.is_zero()).then(|| {
            let mut ticks = tokio::time::interval(every);
            // A load is what has grown, over the time it really took.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Self {
            tree: Arc::new(Mutex::new(SysTree::new(version))),
            ticks,
        }
    }

    /// Waits until it is time; for ever if it never is.
    pub(crate) async fn next(&mut self) {
        match &mut self.ticks {
            Some(ticks) => {
                ticks.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Asks all packet threads, away from the service plane's own and without waiting for it, and has published what
    /// has changed.
    pub(crate) fn publish(&self, service: &Arc<Service>) {
        let (tree, service) = (Arc::clone(&self.tree), Arc::clone(service));
        let work = move || {
            let mut tree = match tree.try_lock() {
                Ok(tree) => tree,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // The last one still waits for an answer.
                Err(TryLockError::WouldBlock) => return,
            };
            let now = millis(service.facts.started.elapsed());
            service.with_broker(|broker| {
                // A thread that does not answer is busy with what matters more; the next interval has its figures.
                let Ok(report) = broker.report() else {
                    return;
                };
                let changed = tree.update(&report.sys_values(), now);
                if !changed.is_empty() {
                    broker.publish_system(changed);
                }
            });
        };
        // Nobody waits for it: a stop does not, and the next interval finds out whether it is done.
        drop(tokio::task::spawn_blocking(work));
    }
}

fn millis(elapsed: Duration) -> Time {
    Time::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
