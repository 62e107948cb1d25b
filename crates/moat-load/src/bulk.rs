//! Publishing a number of messages from one connection, with as many under way as the broker allows.

use std::time::Duration;

use tokio::time::timeout;

use crate::connection::{Connection, Event};
use crate::options::Options;
use crate::packet;

/// Bytes written at once.
const WRITE_BYTES: usize = 32 * 1024;
/// How long an acknowledgement may take.
const ACK: Duration = Duration::from_secs(30);

/// What to publish: `each` messages to every one of `topics`, in turn.
pub(crate) struct Bulk<'a> {
    pub(crate) topics: &'a [String],
    pub(crate) each: usize,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
}

/// Publishes and waits until the broker has read and acknowledged all of it.
///
/// # Errors
/// The connection ends, or an acknowledgement takes too long.
pub(crate) async fn publish(
    options: &Options,
    connection: &mut Connection,
    bulk: &Bulk<'_>,
) -> Result<(), String> {
    let count = bulk.topics.len();
    let total = count * bulk.each;
    let inflight_max = options
        .inflight
        .min(connection.receive_maximum.into())
        .max(1);
    let mut out = Vec::with_capacity(2 * WRITE_BYTES);
    let (mut sent, mut done, mut packet_id) = (0usize, 0usize, 0u16);
    while sent < total || (bulk.qos > 0 && done < total) {
        out.clear();
        while sent < total
            && out.len() < WRITE_BYTES
            && (bulk.qos == 0 || sent - done < inflight_max)
        {
            let topic = sent % count;
            let mut what = options.publish(&bulk.topics[topic]);
            (what.qos, what.retain) = (bulk.qos, bulk.retain);
            let places = packet::publish(&mut out, &what);
            if bulk.qos > 0 {
                packet_id = packet::next_id(packet_id);
                let at = places.packet_id;
                out[at..at + 2].copy_from_slice(&packet_id.to_be_bytes());
            }
            packet::stamp(&mut out, places, 0, topic as u32, (sent / count) as u32);
            sent += 1;
        }
        if !out.is_empty() {
            connection.send(&out).await?;
        }
        let is_full = sent == total || sent - done >= inflight_max;
        if bulk.qos > 0 && is_full {
            done += acknowledgements(connection).await?;
        }
    }
    connection.ping().await
}

/// Waits for at least one packet, and counts the messages that are done by it.
async fn acknowledgements(connection: &mut Connection) -> Result<usize, String> {
    timeout(ACK, connection.fill())
        .await
        .map_err(|_| format!("publish: no acknowledgement for {ACK:?}"))?
        .map_err(|error| format!("publish: {error}"))?;
    let (mut done, mut answers) = (0, Vec::new());
    connection.parse(|event| match event {
        Event::Ack { kind: 4 | 7, .. } => done += 1,
        Event::Ack { kind: 5, packet_id } => packet::ack(&mut answers, 6, packet_id),
        _ => {}
    });
    if !answers.is_empty() {
        connection.send(&answers).await?;
    }
    Ok(done)
}
