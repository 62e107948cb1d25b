//! From the typed writes of a shard to those of the engine.

use std::sync::Arc;

use bytes::Bytes;
use moat_core::Time;
use moat_core::durable::{self, Batch, QueueId};

use super::bytes::Output;
use super::keys;
use super::{message, queue, session};
use crate::{Part, Position, Record, Sequence, Write};

/// The writes of one commit, of any number of batches in their order.
#[derive(Default)]
pub struct Encoder {
    writes: Vec<Write>,
    out: Output,
}

/// The writes of one batch, and the moment at which it was made.
#[must_use]
pub fn encode(batch: &Batch, alive_at: Time) -> Vec<Write> {
    let mut encoder = Encoder::default();
    encoder.push(batch);
    encoder.finish(alive_at)
}

/// Bytes that a write takes up while it waits, roughly; for bounds.
#[must_use]
pub fn weight(write: &durable::Write) -> usize {
    use durable::Write as W;
    /// What every write takes up: itself, its key, its bookkeeping.
    const EACH: usize = 128;
    /// A taker with its allocations.
    const TAKER: usize = 96;
    EACH + match write {
        W::Append {
            message, takers, ..
        } => message.weight() + takers.len() * TAKER,
        W::PutSession(_, record) => record.client_id.len() + 4 * record.identity.name.len(),
        W::PutSubscription { filter, .. } | W::DeleteSubscription(_, filter) => filter.len(),
        W::PutProgress(_, progress) => {
            16 * (progress.done.len() + progress.received.len() + progress.shifts.len())
        }
        W::PutWill(_, will) => {
            let parts = will.parts();
            parts.topic.len() + parts.properties.len() + parts.payload.len()
        }
        W::PutGroup(_, filter) => filter.len(),
        W::PutRetained(message) => message.weight(),
        W::DeleteRetained(topic) => topic.len(),
        W::Deal { .. } => TAKER,
        W::Release(_)
        | W::DeleteSession(_)
        | W::PutInbound(..)
        | W::DeleteInbound(..)
        | W::DeleteWill(_)
        | W::DeleteGroup(_) => 0,
    }
}

impl Encoder {
    /// Adds a batch.
    pub fn push(&mut self, batch: &Batch) {
        self.writes.reserve(batch.writes.len() + 1);
        for write in &batch.writes {
            self.write(write);
        }
    }

    /// The writes, with the moment at which the broker was alive.
    #[must_use]
    pub fn finish(mut self, alive_at: Time) -> Vec<Write> {
        self.out.byte(super::VALUE_VERSION);
        self.out.u64(alive_at.millis());
        let value = self.out.take();
        self.put(keys::META, Bytes::from_static(keys::ALIVE_AT), value);
        self.writes
    }

    fn write(&mut self, write: &durable::Write) {
        use durable::Write as W;
        match write {
            W::Append {
                position,
                message,
                takers,
            } => self.append(*position, message, takers),
            W::Release(position) => self.writes.push(Write::Release(engine_position(*position))),
            W::Deal { position, from, to } => {
                let from = keys::Dealt {
                    position: *position,
                    queue: from.0,
                    place: from.1,
                };
                let key = keys::of_deal(&from, &mut self.out);
                message::encode_deal(to, &mut self.out);
                self.put_written(keys::DEALS, key);
            }
            W::PutSession(queue, record) => {
                let key = keys::of_queue(*queue, &mut self.out);
                session::encode(record, &mut self.out);
                self.put_written(keys::SESSIONS, key);
            }
            W::DeleteSession(queue) => self.delete_session(*queue),
            W::PutSubscription {
                queue,
                filter,
                options,
                id,
            } => {
                let (key, in_value) = keys::of_subscription(*queue, filter, &mut self.out);
                queue::encode_subscription(*options, *id, in_value, &mut self.out);
                self.put_written(keys::SUBSCRIPTIONS, key);
            }
            W::DeleteSubscription(queue, filter) => {
                let (key, _) = keys::of_subscription(*queue, filter, &mut self.out);
                self.delete(keys::SUBSCRIPTIONS, key);
            }
            W::PutProgress(queue, progress) => {
                let key = keys::of_queue(*queue, &mut self.out);
                queue::encode_progress(progress, &mut self.out);
                self.put_written(keys::PROGRESS, key);
            }
            W::PutInbound(queue, id) => {
                let key = keys::of_inbound(*queue, *id, &mut self.out);
                self.out.byte(super::VALUE_VERSION);
                self.put_written(keys::INBOUND, key);
            }
            W::DeleteInbound(queue, id) => {
                let key = keys::of_inbound(*queue, *id, &mut self.out);
                self.delete(keys::INBOUND, key);
            }
            W::PutWill(queue, will) => {
                let key = keys::of_queue(*queue, &mut self.out);
                queue::encode_will(will, &mut self.out);
                self.put_written(keys::WILLS, key);
            }
            W::DeleteWill(queue) => self.delete_of_queue(keys::WILLS, *queue),
            W::PutGroup(queue, filter) => {
                let key = keys::of_queue(*queue, &mut self.out);
                self.out.byte(super::VALUE_VERSION);
                self.out.raw(filter.as_bytes());
                self.put_written(keys::GROUPS, key);
            }
            W::DeleteGroup(queue) => {
                self.delete_of_queue(keys::GROUPS, *queue);
                self.delete_of_queue(keys::PROGRESS, *queue);
            }
            W::PutRetained(message) => {
                self.out.raw(message.topic().as_bytes());
                let key = self.out.take();
                message::encode_retained(message, &mut self.out);
                self.put_written(keys::RETAINED, key);
            }
            W::DeleteRetained(topic) => {
                self.out.raw(topic.as_bytes());
                let key = self.out.take();
                self.delete(keys::RETAINED, key);
            }
        }
    }

    fn append(
        &mut self,
        position: durable::Position,
        message: &Arc<moat_core::Message>,
        takers: &[durable::Taker],
    ) {
        message::encode_headers(message, takers, &mut self.out);
        let headers = self.out.take();
        let record = Record {
            part: Part(position.part),
            topic: message.topic().into(),
            headers,
            payload: message::payload(message, &mut self.out),
            dedup_id: None,
            // A record has far fewer takers than there are session numbers of 32 bits.
            takers: u32::try_from(takers.len()).unwrap_or(u32::MAX),
        };
        let at = Some(Sequence(position.sequence));
        self.writes.push(Write::Append { at, record });
    }

    fn delete_session(&mut self, queue: QueueId) {
        for bucket in [keys::SESSIONS, keys::PROGRESS, keys::WILLS] {
            self.delete_of_queue(bucket, queue);
        }
        for bucket in [keys::SUBSCRIPTIONS, keys::INBOUND] {
            let prefix = keys::of_queue(queue, &mut self.out);
            self.writes.push(Write::DeletePrefix { bucket, prefix });
        }
    }

    fn delete_of_queue(&mut self, bucket: &'static str, queue: QueueId) {
        let key = keys::of_queue(queue, &mut self.out);
        self.delete(bucket, key);
    }

    fn delete(&mut self, bucket: &'static str, key: Bytes) {
        self.writes.push(Write::Delete { bucket, key });
    }

    /// Puts the value that was just written.
    fn put_written(&mut self, bucket: &'static str, key: Bytes) {
        let value = self.out.take();
        self.put(bucket, key, value);
    }

    fn put(&mut self, bucket: &'static str, key: Bytes, value: Bytes) {
        self.writes.push(Write::Put { bucket, key, value });
    }
}

/// A position in the engine's words.
#[must_use]
pub fn engine_position(position: durable::Position) -> Position {
    Position {
        part: Part(position.part),
        sequence: Sequence(position.sequence),
    }
}
