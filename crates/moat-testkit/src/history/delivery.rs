//! Loss, repeats and order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use moat_codec::QoS;

use super::check::{Messages, Sent};
use super::subscriptions::{Claim, Subscriptions};
use super::{ClientNumber, Delivery, Event, Fault, MessageId, Retain, Summary, Violation};

/// What a client has had of a message.
#[derive(Default)]
struct Got {
    /// Deliveries without DUP that the client took.
    plain: u32,
    /// The session in which it was had last, counted per client.
    session: usize,
    /// How often the broker had crashed then.
    crashes: usize,
    /// Deliveries that the client took.
    taken: u32,
    /// Those of them of QoS 1 and 2, and those of QoS 2.
    kept: u32,
    exact: u32,
    /// The event by which the client's connection began, and the deliveries since.
    connected: Option<usize>,
    since: u32,
}

/// A stream that has to be in order.
type Stream = (ClientNumber, ClientNumber, Arc<str>, QoS);

/// All deliveries so far, those of retained messages to new subscriptions not included.
#[derive(Default)]
pub(super) struct Deliveries {
    got: HashMap<(ClientNumber, MessageId), Got>,
    /// The highest number of each stream so far.
    highest: HashMap<Stream, u64>,
    /// The event by which each client connected last.
    connected: HashMap<ClientNumber, usize>,
    /// How many sessions of each client have ended.
    sessions: HashMap<ClientNumber, usize>,
    /// How often the broker has crashed.
    crashes: usize,
    /// Messages that may come late.
    expiring: HashSet<MessageId>,
    /// How often something came again.
    pub(super) repeats: usize,
}

impl Deliveries {
    pub(super) fn note(&mut self, at: usize, event: &Event) {
        match event {
            Event::Connected { client, .. } => {
                self.connected.insert(*client, at);
            }
            Event::Expiring { message } => {
                self.expiring.insert(*message);
            }
            Event::Crashed => self.crashes += 1,
            Event::SessionEnded { client } => *self.sessions.entry(*client).or_default() += 1,
            _ => {}
        }
    }

    /// How often a client took a message.
    pub(super) fn taken(&self, client: ClientNumber, message: MessageId) -> u32 {
        self.got.get(&(client, message)).map_or(0, |got| got.taken)
    }

    /// Judges a delivery by what came before it.
    pub(super) fn delivered(
        &mut self,
        at: usize,
        delivery: &Delivery,
        messages: &Messages,
        subscriptions: &Subscriptions,
    ) -> Option<Violation> {
        let sent = messages.get(&delivery.message);
        let key = (delivery.subscriber, delivery.message);
        let connected = self.connected.get(&delivery.subscriber).copied();
        let sessions = self.sessions.get(&delivery.subscriber);
        let session = sessions.copied().unwrap_or(0);
        let got = self.got.entry(key).or_default();
        if got.connected != connected {
            (got.connected, got.since) = (connected, 0);
        }
        // What is sent again may come again to another session: the broker knows that one only.
        let is_sent_again = sent.is_some_and(|sent| sent.times > 1);
        // And a group deals again what a session that has ended did not acknowledge.
        let is_own = subscriptions.has_own(delivery.subscriber, &delivery.topic);
        // So may a will that was told to a session that keeps nothing, since it was not durable yet that it is told.
        let is_told_again = sent.is_none() && got.crashes < self.crashes;
        let is_elsewhere = got.session < session && (is_sent_again || !is_own || is_told_again);
        (got.session, got.crashes) = (session, self.crashes);
        let is_first = (got.taken == 0 || is_elsewhere) && delivery.is_new;
        let fault = if is_first {
            let is_in_order = sent.is_none_or(|sent| self.is_in_order(delivery, sent, messages))
                // A group deals again what a member did not take, behind what that one got since.
                || !is_own
                || (delivery.dup && self.expiring.contains(&delivery.message));
            (!is_in_order).then_some(Fault::OutOfOrder)
        } else {
            self.repeats += 1;
            repeat_fault(delivery, sent, got).filter(|fault| {
                // A group may deal to a member what it has dealt to it and taken back: a delivery of its own.
                *fault != Fault::RepeatWithoutDup || is_own
            })
        };
        let got = self.got.entry(key).or_default();
        got.since += 1;
        if delivery.is_new {
            got.taken += 1;
            got.kept += u32::from(delivery.qos != QoS::AtMostOnce);
            got.exact += u32::from(delivery.qos == QoS::ExactlyOnce);
            got.plain += u32::from(!delivery.dup);
        }
        fault.map(|fault| Violation::of_delivery(fault, delivery, at))
    }

    /// Whether no later message of its stream has come, and remembers it [MQTT-4.6.0-5], [MQTT-4.6.0-6].
    /// A message that was sent again may come behind what was sent before that.
    fn is_in_order(&mut self, delivery: &Delivery, sent: &Sent, messages: &Messages) -> bool {
        let stream = (
            delivery.subscriber,
            delivery.message.publisher,
            delivery.topic.clone(),
            delivery.qos,
        );
        let number = delivery.message.number;
        let highest = self.highest.entry(stream).or_insert(number);
        let later = MessageId {
            number: *highest,
            ..delivery.message
        };
        let is_sent_behind = || {
            messages
                .get(&later)
                .is_some_and(|later| later.first < sent.last)
        };
        let is_in_order = *highest <= number || is_sent_behind();
        *highest = (*highest).max(number);
        is_in_order
    }

    /// What was acknowledged and never came.
    pub(super) fn lost(
        &self,
        messages: &Messages,
        subscriptions: &Subscriptions,
        summary: &mut Summary,
    ) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut claims: HashMap<&Arc<str>, Vec<Claim>> = HashMap::new();
        let mut all: Vec<_> = messages.iter().collect();
        all.sort_by_key(|(_, sent)| sent.first);
        for (message, sent) in all {
            if sent.acknowledged.is_none() {
                continue;
            }
            let claims = claims
                .entry(&sent.topic)
                .or_insert_with(|| subscriptions.claims(&sent.topic));
            for claim in claims.iter().filter(|claim| is_owed(claim, sent)) {
                summary.owed += 1;
                let taken: u32 = claim
                    .holders
                    .iter()
                    .map(|holder| self.taken(*holder, *message))
                    .sum();
                let is_group = claim.holders.len() > 1;
                let is_exact = claim.qos.min(sent.qos) == QoS::ExactlyOnce;
                let fault = match taken {
                    0 => Fault::Lost,
                    // One client's are found where they come.
                    2.. if is_group && is_exact => Fault::Doubled,
                    _ => continue,
                };
                violations.push(Violation {
                    fault,
                    client: claim.holders.first().copied(),
                    message: Some(*message),
                    topic: Some(sent.topic.clone()),
                    at: None,
                });
            }
        }
        violations
    }
}

/// Whether a claim is older than a message, and both are of QoS 1 at least. Of a removal, nobody can tell whose it is.
fn is_owed(claim: &Claim, sent: &Sent) -> bool {
    let is_message = sent.retain != Retain::Clear;
    is_message && claim.since < sent.first && claim.qos.min(sent.qos) > QoS::AtMostOnce
}

fn repeat_fault(delivery: &Delivery, sent: Option<&Sent>, got: &Got) -> Option<Fault> {
    // What came at a lower QoS came as a copy that nobody answers for: a subscription may have been raised since.
    let before = match delivery.qos {
        QoS::AtMostOnce => got.taken,
        QoS::AtLeastOnce => got.kept,
        QoS::ExactlyOnce => got.exact,
    };
    if before == 0 {
        return None;
    }
    if delivery.qos == QoS::ExactlyOnce && delivery.is_new {
        return Some(if sent.is_some() {
            Fault::Doubled
        } else {
            Fault::DoubledWill
        });
    }
    // Each PUBLISH of a QoS 1 message that a publisher sends again is a new one to the broker. So is one of QoS 2 where it was passed
    // on at QoS 0, which waits for nothing, and the crash took what the broker knew of it.
    let is_copied = |sent: &&Sent| sent.qos == QoS::AtLeastOnce || delivery.qos == QoS::AtMostOnce;
    let copies = sent.filter(is_copied);
    let copies = copies.map_or(1, |sent| sent.times);
    if delivery.dup {
        // [MQTT-4.4.0-1]
        return (got.since >= copies).then_some(Fault::RepeatWithoutReconnect);
    }
    match sent {
        Some(_) if got.plain < copies => None,
        Some(_) => Some(Fault::RepeatWithoutDup),
        // A copy of QoS 0 leaves before the will is known to be published, and again after a crash.
        None if delivery.qos == QoS::AtMostOnce => None,
        None => Some(Fault::DoubledWill),
    }
}
