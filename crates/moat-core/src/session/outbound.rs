//! What one session is owed: messages under way, retained ones to come, and the queue.

use std::collections::VecDeque;
use std::sync::Arc;

use moat_codec::{PacketId, QoS};

use super::inflight::{Inflight, Parcel, Pending};
use crate::limits::Limits;

/// Bookkeeping bytes counted per queued message besides its own.
pub const QUEUED_OVERHEAD_BYTES: usize = 64;

/// The state behind a session's deliveries. Boxed by the session on first need, so that an idle
/// one pays a pointer.
#[derive(Debug, Default)]
pub struct Outbound {
    /// Sent and not yet acknowledged.
    pub inflight: Inflight,
    /// How far the in-flight window has been sent again on this connection.
    pub resent: usize,
    /// Retained messages a subscription is still owed. Live messages queue behind them, so that
    /// no older value follows a newer one.
    pub retained: VecDeque<Parcel>,
    queue: VecDeque<Parcel>,
    queued_bytes: usize,
    /// Messages of QoS 0 in the queue.
    queued_at_most_once: usize,
}

/// A message found no room in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueFull;

impl Outbound {
    /// Messages waiting in the queue.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Bytes of the messages waiting in the queue, bookkeeping included.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Whether everything owed has been sent at least once on this connection.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.queue.is_empty() && self.retained.is_empty() && self.resent >= self.inflight.span()
    }

    /// Whether a live message of `qos` may overtake nothing by being sent at once.
    #[must_use]
    pub fn may_send_now(&self, qos: QoS) -> bool {
        // QoS 0 passes the others, but not its own kind [MQTT-4.6.0-6].
        let in_order = match qos {
            QoS::AtMostOnce => self.queued_at_most_once == 0,
            QoS::AtLeastOnce | QoS::ExactlyOnce => self.queue.is_empty(),
        };
        in_order && self.retained.is_empty() && self.resent >= self.inflight.span()
    }

    /// Puts a message at the end of the queue.
    ///
    /// # Errors
    /// When the queue holds as many messages or bytes as the limits allow.
    pub fn queue(&mut self, parcel: Parcel, limits: &Limits) -> Result<(), QueueFull> {
        let weight = weight(&parcel);
        let full = self.queue.len() >= limits.queued_messages_max
            || self.queued_bytes + weight > limits.queued_bytes_max;
        if full {
            return Err(QueueFull);
        }
        self.queued_bytes += weight;
        self.queued_at_most_once += usize::from(parcel.qos == QoS::AtMostOnce);
        self.queue.push_back(parcel);
        Ok(())
    }

    /// The next message to send for the first time: retained ones first.
    #[must_use]
    pub fn peek(&self) -> Option<&Parcel> {
        self.retained.front().or_else(|| self.queue.front())
    }

    /// Takes what [`Self::peek`] showed.
    pub fn pop(&mut self) -> Option<Parcel> {
        if let Some(parcel) = self.retained.pop_front() {
            return Some(parcel);
        }
        let parcel = self.queue.pop_front()?;
        self.queued_bytes -= weight(&parcel);
        self.queued_at_most_once -= usize::from(parcel.qos == QoS::AtMostOnce);
        Some(parcel)
    }

    /// Keeps only the waiting messages that `keep` allows. Returns how many went.
    pub fn retain_queued(&mut self, mut keep: impl FnMut(&Parcel) -> bool) -> u64 {
        let before = self.queue.len() + self.retained.len();
        self.retained.retain(&mut keep);
        self.queue.retain(&mut keep);
        self.queued_bytes = self.queue.iter().map(weight).sum();
        let at_most_once = |parcel: &&Parcel| parcel.qos == QoS::AtMostOnce;
        self.queued_at_most_once = self.queue.iter().filter(at_most_once).count();
        (before - self.queue.len() - self.retained.len()) as u64
    }

    /// Takes the waiting messages of shared subscriptions that `which` chooses, never sent so far.
    pub fn take_dealt(&mut self, mut which: impl FnMut(&Parcel) -> bool) -> Vec<Parcel> {
        let mut taken = Vec::new();
        self.retain_queued(|parcel| {
            let goes = parcel.share.is_some() && which(parcel);
            if goes {
                taken.push(parcel.clone());
            }
            !goes
        });
        taken
    }

    /// The QoS 1 messages of shared subscriptions that were sent and not acknowledged: when a
    /// session ends they go to another member, and those of QoS 2 do not [MQTT-4.8.2-5].
    #[must_use]
    pub fn dealt_unacknowledged(&self) -> Vec<Parcel> {
        let sent =
            (0..self.inflight.span()).filter_map(|place| match self.inflight.at(place)?? {
                (_, Pending::Acknowledgement(parcel)) => Some(parcel),
                (_, Pending::Completion) => None,
            });
        sent.filter(|parcel| parcel.share.is_some() && parcel.qos == QoS::AtLeastOnce)
            .cloned()
            .collect()
    }

    /// The connection is gone: QoS 0 messages go with it, and all that is under way has to be sent
    /// again on the next one [MQTT-4.4.0-1].
    pub fn connection_lost(&mut self) {
        self.resent = 0;
        self.retain_queued(|parcel| parcel.qos != QoS::AtMostOnce);
    }

    /// A new connection: what it may be owed from the last one starts from the oldest.
    pub fn connection_made(&mut self) {
        self.resent = 0;
    }

    /// Ends the flow of `id`. The window moves on, and with it the mark of what was sent again.
    pub fn finish(&mut self, id: PacketId) -> Option<Pending> {
        let before = self.inflight.span();
        let pending = self.inflight.finish(id);
        self.resent = self.resent.saturating_sub(before - self.inflight.span());
        pending
    }

    /// Whether nothing at all is kept, so that the box can go.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.retained.is_empty() && self.inflight.is_empty()
    }
}

fn weight(parcel: &Parcel) -> usize {
    Arc::as_ref(&parcel.message).weight() + QUEUED_OVERHEAD_BYTES
}
