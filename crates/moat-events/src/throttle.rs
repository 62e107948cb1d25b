//! A rate for the events that a stranger or a hostile client can cause one by one.
//!
//! Each such event has a bucket of its own: a burst passes whole, then a few per second. Those held back are counted, and the
//! next one of the same kind that is written says how many there were. So nobody can fill the disk, or hide the events of
//! another kind behind his own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::table::CATALOGUE;

/// Events of one kind that are written at once, before the rate counts.
pub const THROTTLED_BURST_MAX: u64 = 100;
/// Events of one kind that are written per second after that.
pub const THROTTLED_PER_SEC_MAX: u64 = 5;

/// The kinds that whoever reaches a listener, or misuses an identity, can cause as often as he likes.
pub const THROTTLED: &[&str] = &[
    "connection.refused",
    "tls.handshake_failed",
    "authentication.failed",
    "publish.denied",
    "retain.refused",
    "subscribe.denied",
    "will.denied",
    "protocol.violation",
    "messages.dropped",
    "publish.rate_exceeded",
    "subscribe.rate_exceeded",
];

const INTERVAL_MILLIS: u64 = 1000 / THROTTLED_PER_SEC_MAX;

/// One bucket per kind of event.
pub(crate) struct Throttle {
    origin: Instant,
    buckets: Vec<Option<Bucket>>,
}

#[derive(Default)]
struct Bucket {
    /// The moment, in milliseconds, up to which the events let through have used up the rate. It runs ahead of the
    /// clock by at most the burst.
    used_until: AtomicU64,
    suppressed: AtomicU64,
}

impl Throttle {
    /// Full buckets.
    pub(crate) fn new() -> Self {
        let bucket = |id: &&str| THROTTLED.contains(id).then(Bucket::default);
        Self {
            origin: Instant::now(),
            buckets: CATALOGUE.iter().map(|meta| bucket(&meta.id)).collect(),
        }
    }

    /// Whether an event of this kind may be written: then with the number of those held back since the last one.
    pub(crate) fn admit(&self, id: &'static str) -> Option<u64> {
        let now_millis = || u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.bucket(id)
            .map_or(Some(0), |bucket| bucket.admit(now_millis()))
    }

    #[cfg(test)]
    fn admit_at(&self, id: &'static str, now_millis: u64) -> Option<u64> {
        self.bucket(id)
            .map_or(Some(0), |bucket| bucket.admit(now_millis))
    }

    fn bucket(&self, id: &'static str) -> Option<&Bucket> {
        // Most events have none, so it is not worth looking for theirs.
        let place = match THROTTLED.contains(&id) {
            true => CATALOGUE.iter().position(|meta| meta.id == id)?,
            false => return None,
        };
        self.buckets.get(place)?.as_ref()
    }

    /// Takes back what [`Self::admit`] gave: the event was not written after all.
    pub(crate) fn give_back(&self, id: &'static str, suppressed: u64) {
        if let Some(bucket) = self.bucket(id) {
            bucket.suppressed.fetch_add(suppressed, Ordering::Relaxed);
        }
    }
}

impl Bucket {
    fn admit(&self, now_millis: u64) -> Option<u64> {
        let taken =
            self.used_until
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used_until| {
                    let used_until = used_until.max(now_millis) + INTERVAL_MILLIS;
                    let is_over = used_until - now_millis > THROTTLED_BURST_MAX * INTERVAL_MILLIS;
                    (!is_over).then_some(used_until)
                });
        match taken {
            Ok(_) => Some(self.suppressed.swap(0, Ordering::Relaxed)),
            Err(_) => {
                self.suppressed.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_the_next_one_tells_how_many_were_held_back() {
        let throttle = Throttle::new();
        let admit = |at| throttle.admit_at("publish.denied", at);
        for _ in 0..THROTTLED_BURST_MAX {
            assert_eq!(admit(0), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(admit(0), None);
        }
        assert_eq!(admit(INTERVAL_MILLIS), Some(7));
        assert_eq!(admit(INTERVAL_MILLIS), None);
        let minutes = 10 * 60 * 1000;
        let written = (INTERVAL_MILLIS..minutes).filter(|at| admit(*at).is_some());
        assert_eq!(written.count() as u64, minutes / INTERVAL_MILLIS - 2);
    }

    #[test]
    fn one_kind_costs_another_nothing() {
        let throttle = Throttle::new();
        while throttle.admit_at("connection.refused", 0).is_some() {}
        assert_eq!(throttle.admit_at("publish.denied", 0), Some(0));
    }

    #[test]
    fn what_only_the_operator_or_an_accepted_client_causes_is_never_held_back() {
        let throttle = Throttle::new();
        for _ in 0..10 * THROTTLED_BURST_MAX {
            assert_eq!(throttle.admit_at("client.connected", 0), Some(0));
            assert_eq!(throttle.admit_at("reload.failed", 0), Some(0));
        }
    }

    #[test]
    fn every_throttled_kind_is_in_the_catalogue() {
        for id in THROTTLED {
            assert!(CATALOGUE.iter().any(|meta| meta.id == *id), "{id}");
        }
    }
}
