//! A publisher: as fast as its credit allows, or at a rate.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use tokio::time::sleep;

use super::Shared;
use crate::connection::{Connection, Event};
use crate::measure::now_ns;
use crate::packet::{self, Places};

/// The most messages a paced publisher writes at once after it was late.
const BURST_MAX: usize = 64;
/// The shortest sleep: timers are no finer.
const SLEEP_MIN_NANOS: u64 = 50_000;
/// How long to wait for acknowledgements after the end.
const LINGER_NANOS: u64 = 5_000_000_000;

pub(super) struct Publisher {
    shared: Arc<Shared>,
    connection: Connection,
    number: usize,
    /// Messages per second; 0 without a pace.
    rate: f64,
    /// Where between two messages of this publisher the first one is, so that publishers take turns.
    phase: f64,
    /// A batch of PUBLISH packets, of which only ids and headers change.
    batch: Vec<u8>,
    places: Vec<Places>,
    inflight_max: usize,
    inflight: usize,
    sequence: u32,
    packet_id: u16,
    start_ns: u64,
}

/// What a publisher does next.
enum Next {
    Send(usize),
    Wait { nanos: Option<u64> },
    Rest,
}

impl Publisher {
    pub(super) fn new(
        shared: &Arc<Shared>,
        connection: Connection,
        number: usize,
        topic: &str,
    ) -> Self {
        let options = &shared.options;
        let publishers = shared.credits.len() as f64;
        let size = if shared.is_paced() {
            BURST_MAX
        } else {
            options.batch
        };
        let mut batch = Vec::new();
        let what = options.publish(topic);
        let places = (0..size)
            .map(|_| packet::publish(&mut batch, &what))
            .collect();
        Self {
            inflight_max: options
                .inflight
                .min(connection.receive_maximum.into())
                .max(1),
            rate: options.rate / publishers,
            phase: number as f64 / publishers,
            shared: Arc::clone(shared),
            connection,
            number,
            batch,
            places,
            inflight: 0,
            sequence: 0,
            packet_id: 0,
            start_ns: now_ns(),
        }
    }

    /// Publishes until the run is over, and stays connected then: cleaning up is not to be measured.
    pub(super) async fn run(mut self) {
        if self.talk().await.is_err() {
            self.shared.gone.fetch_add(1, Relaxed);
            return;
        }
        std::future::pending::<()>().await;
    }

    async fn talk(&mut self) -> Result<(), String> {
        let mut over_since = None;
        loop {
            match self.next(&mut over_since) {
                Next::Send(count) => self.publish(count).await?,
                Next::Rest => return Ok(()),
                Next::Wait { nanos } => self.wait(nanos).await?,
            }
        }
    }

    fn next(&self, over_since: &mut Option<u64>) -> Next {
        if self.shared.is_over.load(Relaxed) {
            let since = *over_since.get_or_insert_with(now_ns);
            if self.inflight == 0 || now_ns() - since > LINGER_NANOS {
                return Next::Rest;
            }
            return Next::Wait { nanos: None };
        }
        if self.shared.is_paced() {
            return self.next_paced();
        }
        let size = self.places.len();
        let slot = self.shared.slot(self.number, self.sequence);
        let has_room = self.inflight + size <= self.inflight_max.max(size);
        if slot.load(Acquire) == 0 && has_room {
            slot.store(self.shared.deliveries, Release);
            return Next::Send(size);
        }
        Next::Wait { nanos: None }
    }

    fn next_paced(&self) -> Next {
        let now = now_ns();
        let due_ns = |sequence: f64| {
            self.start_ns + ((sequence + 1.0 - self.phase).max(0.0) * 1e9 / self.rate) as u64
        };
        let elapsed = (now - self.start_ns) as f64 / 1e9;
        let due = (elapsed * self.rate + self.phase) as u64;
        let mut count = due
            .saturating_sub(self.sequence.into())
            .min(BURST_MAX as u64) as usize;
        if self.shared.options.qos > 0 {
            count = count.min(self.inflight_max.saturating_sub(self.inflight));
        }
        let first_due = due_ns(self.sequence.into());
        if count == 0 {
            let nanos = first_due.saturating_sub(now).max(SLEEP_MIN_NANOS);
            return Next::Wait { nanos: Some(nanos) };
        }
        self.shared
            .latest_ns
            .fetch_max(now.saturating_sub(first_due), Relaxed);
        Next::Send(count)
    }

    async fn publish(&mut self, count: usize) -> Result<(), String> {
        let has_id = self.shared.options.qos > 0;
        let sent_ns = if self.shared.wants_time() {
            now_ns()
        } else {
            0
        };
        for places in &self.places[..count] {
            if has_id {
                self.packet_id = packet::next_id(self.packet_id);
                let at = places.packet_id;
                self.batch[at..at + 2].copy_from_slice(&self.packet_id.to_be_bytes());
            }
            packet::stamp(
                &mut self.batch,
                *places,
                sent_ns,
                self.number as u32,
                self.sequence,
            );
            self.sequence = self.sequence.wrapping_add(1);
        }
        self.shared.credits[self.number]
            .sent
            .store(self.sequence.into(), Release);
        if has_id {
            self.inflight += count;
        }
        let bytes = self.batch.len() / self.places.len() * count;
        self.connection.send(&self.batch[..bytes]).await
    }

    /// Waits for acknowledgements, credit or time.
    async fn wait(&mut self, nanos: Option<u64>) -> Result<(), String> {
        let wake = &self.shared.credits[self.number].wake;
        let pause = Duration::from_nanos(nanos.unwrap_or(0));
        tokio::select! {
            biased;
            read = self.connection.fill() => {
                read.map_err(|error| error.to_string())?;
            }
            () = wake.notified() => return Ok(()),
            () = sleep(pause), if nanos.is_some() => return Ok(()),
        }
        let mut answers = Vec::new();
        let (inflight, number) = (&mut self.inflight, self.number);
        self.connection.parse(|event| match event {
            Event::Ack { kind: 4 | 7, .. } => *inflight = inflight.saturating_sub(1),
            Event::Ack { kind: 5, packet_id } => packet::ack(&mut answers, 6, packet_id),
            Event::Disconnect { code } => eprintln!("publisher {number}: DISCONNECT {code:#x}"),
            _ => {}
        });
        if answers.is_empty() {
            return Ok(());
        }
        self.connection.send(&answers).await
    }
}
