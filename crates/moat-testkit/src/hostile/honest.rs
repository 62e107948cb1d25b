//! A client that keeps to the rules beside an attack, and notices when something breaks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use moat_codec::QoS;

use super::Target;
use crate::raw::RawClient;

/// How long an answer may take: a loaded machine needs it, and nothing here judges time.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// How long round trips took.
#[derive(Clone, Debug, Default)]
pub struct RoundTrips {
    times: Vec<Duration>,
}

impl RoundTrips {
    /// How many there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &RoundTrips) {
        self.times.extend(&other.times);
    }

    /// The time that `percent` of a hundred did not exceed.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let place = times.len() * percent / 100;
        let last = times.len().saturating_sub(1);
        times.get(place.min(last)).copied().unwrap_or_default()
    }
}

/// A client that publishes to its own subscription, at QoS 1 and one after the other.
pub struct Honest {
    client: RawClient,
    next: u32,
}

impl Honest {
    /// Connects and subscribes.
    #[must_use]
    pub fn connect(target: &Target) -> Self {
        let mut client = RawClient::connect(target.plain);
        client.set_deadline(ANSWER_DEADLINE);
        client
            .hello("honest")
            .subscribe("honest/own", QoS::AtLeastOnce);
        Honest { client, next: 0 }
    }

    /// Publishes one message and waits until it has come back. Fails unless it is that one, once, and acknowledged.
    pub fn round_trip(&mut self) -> Duration {
        let number = self.next;
        self.next += 1;
        let id = u16::try_from(number % 60_000).unwrap() + 1;
        let start = Instant::now();
        self.client
            .publish("honest/own", &number.to_be_bytes(), QoS::AtLeastOnce, id);
        let (mut arrived, mut acknowledged) = (None, false);
        while arrived.is_none() || !acknowledged {
            match self.client.step() {
                None => acknowledged = true,
                Some(message) => {
                    let number = u32::from_be_bytes(message.payload[..4].try_into().unwrap());
                    assert!(arrived.replace(number).is_none(), "a message came twice");
                }
            }
        }
        let took = start.elapsed();
        assert_eq!(arrived, Some(number), "a message was lost or out of order");
        took
    }

    /// Makes round trips, `pause` apart, until told to stop. Returns how long they took.
    pub fn run_until(&mut self, stop: &AtomicBool, pause: Duration) -> RoundTrips {
        let mut trips = RoundTrips::default();
        while !stop.load(Ordering::Relaxed) {
            trips.times.push(self.round_trip());
            rest(pause);
        }
        trips
    }

    /// Makes `count` round trips, `pause` apart.
    pub fn run(&mut self, count: usize, pause: Duration) -> RoundTrips {
        let mut trips = RoundTrips::default();
        for _ in 0..count {
            trips.times.push(self.round_trip());
            rest(pause);
        }
        trips
    }
}

/// Lets time pass: a pace, never a wait for something.
pub(super) fn rest(pause: Duration) {
    let until = Instant::now() + pause;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}
