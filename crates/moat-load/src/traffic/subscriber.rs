//! A subscriber: acknowledges, checks the order, and gives publishers their credit back.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Shared;
use crate::connection::{Connection, Event, acknowledge};
use crate::measure::now_ns;
use crate::packet;

/// Receives until the connection is gone. It gets messages of `publishers`.
pub(super) async fn run(shared: Arc<Shared>, mut connection: Connection, publishers: Range<usize>) {
    // The sequence number each of them will send next.
    let mut expected = vec![0u32; publishers.len()];
    let mut answers: Vec<u8> = Vec::with_capacity(4096);
    loop {
        answers.clear();
        let mut received = 0u64;
        let is_timed = shared.wants_time() && shared.is_timed.load(Relaxed);
        let now = if is_timed { now_ns() } else { 0 };
        connection.parse(|event| match event {
            Event::Publish {
                qos,
                packet_id,
                sent_ns,
                publisher,
                sequence,
            } => {
                received += 1;
                acknowledge(&mut answers, qos, packet_id);
                if is_timed && sent_ns > 0 {
                    shared.latency.add(now.saturating_sub(sent_ns));
                }
                let publisher = publisher as usize;
                if publishers.contains(&publisher) {
                    let next = &mut expected[publisher - publishers.start];
                    arrived(&shared, publisher, sequence, next);
                }
            }
            Event::Ack { kind: 6, packet_id } => packet::ack(&mut answers, 7, packet_id),
            Event::Disconnect { code } => eprintln!("subscriber: DISCONNECT {code:#x}"),
            _ => {}
        });
        if received > 0 {
            shared.received.fetch_add(received, Relaxed);
        }
        let is_sent = answers.is_empty() || connection.send(&answers).await.is_ok();
        match connection.fill().await {
            Ok(bytes) if is_sent => {
                shared.received_bytes.fetch_add(bytes as u64, Relaxed);
            }
            _ => {
                shared.gone.fetch_add(1, Relaxed);
                return;
            }
        }
    }
}

#[inline]
fn arrived(shared: &Shared, publisher: usize, sequence: u32, next: &mut u32) {
    if shared.options.share {
        // Each one sees only a part, so every message counts and gaps mean nothing.
        if !shared.is_paced() {
            shared.pay(publisher, sequence);
        }
        return;
    }
    if sequence < *next {
        shared.repeated.fetch_add(1, Relaxed);
        return;
    }
    if sequence > *next {
        shared.missed.fetch_add((sequence - *next).into(), Relaxed);
    }
    if !shared.is_paced() {
        // The last message of a batch stands for it, also if it is one of those that are missing.
        let batch = u64::from(shared.batch);
        let (from, to) = (u64::from(*next), u64::from(sequence));
        for ended in from / batch..(to + 1) / batch {
            shared.pay(publisher, (ended * batch) as u32);
        }
    }
    *next = sequence.wrapping_add(1);
}
