//! What one session is owed: messages under way, retained ones to come, and the queue.

use std::collections::VecDeque;
use std::sync::Arc;

use moat_codec::{PacketId, QoS};

use super::inflight::{Inflight, Pending};
use super::parcel::{Content, Parcel};
use crate::durable::{LOAD_BYTES_MAX, LOAD_MESSAGES_MAX, Place, Position};
use crate::limits::{Limits, QueueFull};
use crate::message::Message;
use crate::shard::Search;

/// Bookkeeping bytes counted per queued message besides its own.
pub const QUEUED_OVERHEAD_BYTES: usize = 64;
/// Messages whose memory is fetched at once before they are sent.
pub const FETCHED_MESSAGES: usize = 16;

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
    /// Searches for retained messages that have yet to begin or to go on.
    pub searches: VecDeque<Search>,
    /// Searches begun, whose next part has yet to come.
    pub searching: u16,
    /// Whether messages are on their way from the store.
    pub is_loading: bool,
    queue: VecDeque<Parcel>,
    queued_bytes: usize,
    /// Messages of QoS 0 in the queue.
    queued_at_most_once: usize,
}

/// What a queue did with a message.
#[derive(Debug, Default)]
pub struct Queued {
    /// Whether it has it.
    pub is_kept: bool,
    /// What it gave up for it.
    pub victims: Vec<Parcel>,
}

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

    /// Puts a message at the end of the queue. Where there is no room, those of QoS 0 make some, and then the oldest ones if
    /// the limits say so.
    pub fn queue(&mut self, parcel: Parcel, limits: &Limits) -> Queued {
        let weight = weight(&parcel);
        let mut victims = Vec::new();
        while self.queue.len() >= limits.queued_messages_max
            || self.queued_bytes + weight > limits.queued_bytes_max
        {
            let Some(victim) = self.victim(&parcel, limits) else {
                break;
            };
            victims.extend(self.take_at(victim));
        }
        let is_kept = self.queue.len() < limits.queued_messages_max
            && self.queued_bytes + weight <= limits.queued_bytes_max;
        if is_kept {
            self.queued_bytes += weight;
            self.queued_at_most_once += usize::from(parcel.qos == QoS::AtMostOnce);
            self.queue.push_back(parcel);
        }
        Queued { is_kept, victims }
    }

    /// Puts a message at the end of the queue that was there before the broker started: limits hold for what comes.
    pub fn restore(&mut self, parcel: Parcel) {
        self.queued_bytes += weight(&parcel);
        self.queue.push_back(parcel);
    }

    /// Which message goes for `parcel`.
    fn victim(&self, parcel: &Parcel, limits: &Limits) -> Option<usize> {
        if weight(parcel) > limits.queued_bytes_max || parcel.qos == QoS::AtMostOnce {
            return None;
        }
        let at_most_once = |waiting: &Parcel| waiting.qos == QoS::AtMostOnce;
        if self.queued_at_most_once > 0 {
            return self.queue.iter().position(at_most_once);
        }
        // One that is not durable yet has a publisher who waits for it.
        let is_settled = |waiting: &Parcel| waiting.entry.is_none_or(|entry| entry.is_committed());
        match limits.queue_full {
            QueueFull::DropNewest => None,
            QueueFull::DropOldest => self.queue.iter().position(is_settled),
        }
    }

    fn take_at(&mut self, place: usize) -> Option<Parcel> {
        let parcel = match place {
            0 => self.queue.pop_front()?,
            place => self.queue.remove(place)?,
        };
        self.queued_bytes -= weight(&parcel);
        self.queued_at_most_once -= usize::from(parcel.qos == QoS::AtMostOnce);
        Some(parcel)
    }

    /// The next message to send for the first time: retained ones first.
    #[must_use]
    pub fn peek(&self) -> Option<&Parcel> {
        self.retained.front().or_else(|| self.queue.front())
    }

    /// Looks at the next [`FETCHED_MESSAGES`] messages, so that the processor fetches them side by side: in a long queue none of them
    /// is in its caches any more, and sending one after the other would wait for each.
    pub fn fetch_next(&self) {
        let next = self.queue.iter().take(FETCHED_MESSAGES);
        let held = next.filter_map(|parcel| parcel.content.held());
        let weights: usize = held.clone().map(|message| message.weight()).sum();
        let bytes: usize = held.map(|message| message.fetch()).sum();
        std::hint::black_box((weights, bytes));
    }

    /// Puts messages that may have been sent before the broker started ahead of what is put before the others: they keep the identifiers
    /// under which the client may have them.
    pub fn keep_sent_ahead(&mut self) {
        while self.queue.front().is_some_and(|parcel| parcel.dup) {
            let parcel = self.take_at(0);
            self.retained.extend(parcel);
        }
    }

    /// The place of the oldest live message that waits.
    #[must_use]
    pub fn first_queued(&self) -> Option<Place> {
        let entry = self.queue.iter().find_map(|parcel| parcel.entry)?;
        Some(entry.place())
    }

    /// Takes what [`Self::peek`] showed.
    pub fn pop(&mut self) -> Option<Parcel> {
        if let Some(parcel) = self.retained.pop_front() {
            return Some(parcel);
        }
        self.take_at(0)
    }

    /// Takes the waiting messages that `which` chooses.
    pub fn take_queued(&mut self, mut which: impl FnMut(&Parcel) -> bool) -> Vec<Parcel> {
        let mut taken = Vec::new();
        let mut keep = |parcel: &Parcel| {
            let goes = which(parcel);
            if goes {
                taken.push(parcel.clone());
            }
            !goes
        };
        self.retained.retain(&mut keep);
        self.queue.retain(&mut keep);
        if !taken.is_empty() {
            self.queued_bytes = self.queue.iter().map(weight).sum();
            let at_most_once = |parcel: &&Parcel| parcel.qos == QoS::AtMostOnce;
            self.queued_at_most_once = self.queue.iter().filter(at_most_once).count();
        }
        taken
    }

    /// The waiting message of an entry.
    pub fn waiting(&mut self, place: Place) -> Option<&mut Parcel> {
        let is_it = |parcel: &&mut Parcel| parcel.entry.is_some_and(|entry| entry.place() == place);
        match place {
            Place::Ordinal(_) => self.retained.iter_mut().find(is_it),
            // It came a moment ago, so it is near the end.
            Place::Arrival(_) => self.queue.iter_mut().rev().find(is_it),
        }
    }

    /// Everything that waits, in the order it will be sent.
    pub fn waiting_all(&self) -> impl Iterator<Item = &Parcel> {
        self.retained.iter().chain(&self.queue)
    }

    /// The messages to be sent next that are in the store only, at most [`LOAD_MESSAGES_MAX`] and [`LOAD_BYTES_MAX`].
    #[must_use]
    pub fn wanted(&self) -> Vec<Position> {
        let again =
            (self.resent..self.inflight.span()).filter_map(|at| match self.inflight.at(at)?? {
                (_, Pending::Acknowledgement(parcel)) => Some(parcel),
                (_, Pending::Completion) => None,
            });
        let stored = |parcel: &Parcel| match parcel.content.held() {
            Some(_) => None,
            None => Some((parcel.entry?.position()?, parcel.content.weight())),
        };
        let next = again.chain(self.waiting_all().take(LOAD_MESSAGES_MAX));
        let mut bytes = 0;
        next.filter_map(stored)
            .take(LOAD_MESSAGES_MAX)
            .take_while(|(_, weight)| {
                let is_first = bytes == 0;
                bytes += weight.max(&1);
                is_first || bytes <= LOAD_BYTES_MAX
            })
            .map(|(position, _)| position)
            .collect()
    }

    /// Takes messages that have come back from the store, in the order of [`Self::wanted`]. Those that it has lost go; returns them.
    pub fn take_loaded(&mut self, loaded: &[(Position, Option<Arc<Message>>)]) -> Vec<Parcel> {
        let found = |parcel: &Parcel| {
            let position = parcel.entry.and_then(|entry| entry.position())?;
            loaded.iter().find(|(at, _)| *at == position)
        };
        let fill = |parcel: &mut Parcel| {
            if parcel.content.held().is_none()
                && let Some((_, Some(message))) = found(parcel)
            {
                parcel.content = Content::Held(Arc::clone(message));
            }
        };
        for (_, pending) in self.inflight.iter_mut() {
            if let Pending::Acknowledgement(parcel) = pending {
                fill(parcel);
            }
        }
        let waiting = self.retained.iter_mut().chain(&mut self.queue);
        waiting.take(LOAD_MESSAGES_MAX).for_each(fill);
        if loaded.iter().all(|(_, message)| message.is_some()) {
            return Vec::new();
        }
        let is_lost = |parcel: &Parcel| {
            parcel.content.held().is_none() && matches!(found(parcel), Some((_, None)))
        };
        let mut lost = self.take_queued(is_lost);
        let sent = (0..self.inflight.span()).filter_map(|at| match self.inflight.at(at)?? {
            (id, Pending::Acknowledgement(parcel)) if is_lost(parcel) => Some(id),
            _ => None,
        });
        for id in sent.collect::<Vec<_>>() {
            if let Some(Pending::Acknowledgement(parcel)) = self.finish(id) {
                lost.push(parcel);
            }
        }
        lost
    }

    /// Whether a search for retained messages waits for its turn.
    #[must_use]
    pub fn wants_search(&self) -> bool {
        !self.searches.is_empty()
    }

    /// Takes the waiting messages of shared subscriptions that `which` chooses, never sent so far.
    pub fn take_dealt(&mut self, mut which: impl FnMut(&Parcel) -> bool) -> Vec<Parcel> {
        self.take_queued(|parcel| parcel.share.is_some() && which(parcel))
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
    /// again on the next one [MQTT-4.4.0-1]. What the store has is left to it.
    pub fn connection_lost(&mut self) {
        self.resent = 0;
        self.is_loading = false;
        self.take_queued(|parcel| parcel.qos == QoS::AtMostOnce);
        self.searches
            .retain(|search| search.wish.qos != QoS::AtMostOnce);
        let let_go = |parcel: &mut Parcel| {
            if parcel.entry.is_some_and(|entry| entry.is_committed()) {
                parcel.content.let_go();
            }
        };
        for (_, pending) in self.inflight.iter_mut() {
            if let Pending::Acknowledgement(parcel) = pending {
                let_go(parcel);
            }
        }
        self.retained
            .iter_mut()
            .chain(&mut self.queue)
            .for_each(let_go);
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

    /// The records of all entries that are known to have one.
    #[must_use]
    pub fn positions(&self) -> Vec<Position> {
        let sent = self
            .inflight
            .iter()
            .filter_map(|(_, pending)| match pending {
                Pending::Acknowledgement(parcel) => Some(parcel),
                Pending::Completion => None,
            });
        let all = sent.chain(self.waiting_all());
        all.filter_map(|parcel| parcel.entry?.position()).collect()
    }

    /// Whether nothing at all is kept, so that the box can go.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
            && self.retained.is_empty()
            && self.searches.is_empty()
            && self.searching == 0
            && self.inflight.is_empty()
    }
}

fn weight(parcel: &Parcel) -> usize {
    parcel.content.weight() + QUEUED_OVERHEAD_BYTES
}
