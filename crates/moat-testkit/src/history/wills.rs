//! Wills: once if due, never after a goodbye.

use std::collections::HashMap;
use std::sync::Arc;

use moat_codec::QoS;

use super::delivery::Deliveries;
use super::subscriptions::Subscriptions;
use super::{ClientNumber, Delivery, Event, Fault, MessageId, Summary, Violation};

/// Whether a will has to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Its CONNECT was sent; whether the broker knows it is not known.
    Sent,
    /// The broker knows it, and its client is there.
    Held,
    /// The client has said goodbye; whether the broker knows that is not known.
    Leaving,
    /// It may come or not.
    Open,
    /// It has to come.
    Due,
    /// It must not come.
    Never,
}

struct Will {
    topic: Arc<str>,
    qos: QoS,
    sent: usize,
    state: State,
}

/// All wills.
#[derive(Default)]
pub(super) struct Wills {
    wills: HashMap<MessageId, Will>,
    /// The latest of each client.
    latest: HashMap<ClientNumber, MessageId>,
}

impl Wills {
    pub(super) fn note(&mut self, at: usize, event: &Event) {
        match event {
            Event::WillSent {
                will,
                topic,
                qos,
                is_delayed,
            } => {
                // Connecting again takes over what is left of the connection before.
                self.turn(will.publisher, |state| match state {
                    State::Held => State::Due,
                    State::Sent => State::Open,
                    other => other,
                });
                let state = if *is_delayed {
                    State::Never
                } else {
                    State::Sent
                };
                self.latest.insert(will.publisher, *will);
                self.wills.insert(
                    *will,
                    Will {
                        topic: topic.clone(),
                        qos: *qos,
                        sent: at,
                        state,
                    },
                );
            }
            Event::Connected { client, .. } => self.turn(*client, |state| match state {
                State::Sent => State::Held,
                // The session was resumed after the DISCONNECT, so that is known to be done.
                State::Leaving => State::Never,
                other => other,
            }),
            Event::Cut { client } => self.turn(*client, |state| match state {
                State::Held => State::Due,
                State::Sent => State::Open,
                other => other,
            }),
            Event::Goodbye { client } => self.turn(*client, |state| match state {
                State::Held => State::Leaving,
                State::Sent => State::Open,
                other => other,
            }),
            Event::WillDoubtful { will } => self.set(*will, State::Open),
            Event::WillWithdrawn { will } => self.set(*will, State::Never),
            Event::Crashed => {
                for will in self.wills.values_mut() {
                    will.state = match will.state {
                        State::Held => State::Due,
                        State::Sent | State::Leaving => State::Open,
                        other => other,
                    };
                }
            }
            _ => {}
        }
    }

    fn turn(&mut self, client: ClientNumber, to: impl FnOnce(State) -> State) {
        let will = self.latest.get(&client);
        if let Some(will) = will.and_then(|will| self.wills.get_mut(will)) {
            will.state = to(will.state);
        }
    }

    fn set(&mut self, will: MessageId, state: State) {
        if let Some(will) = self.wills.get_mut(&will) {
            will.state = state;
        }
    }

    /// The topic of a will.
    pub(super) fn topic(&self, will: MessageId) -> Option<&Arc<str>> {
        self.wills.get(&will).map(|will| &will.topic)
    }

    /// Judges the delivery of a will by whether it may come now.
    pub(super) fn delivered(&self, at: usize, delivery: &Delivery) -> Option<Violation> {
        let will = self.wills.get(&delivery.message)?;
        let may_come = matches!(will.state, State::Due | State::Open);
        (!may_come).then(|| Violation::of_delivery(Fault::UndueWill, delivery, at))
    }

    /// The wills that had to come and did not. That one came twice is found where it comes.
    pub(super) fn missing(
        &self,
        deliveries: &Deliveries,
        subscriptions: &Subscriptions,
        summary: &mut Summary,
    ) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut all: Vec<_> = self.wills.iter().collect();
        all.sort_by_key(|(_, will)| will.sent);
        for (id, will) in all {
            match will.state {
                State::Due => summary.wills[0] += 1,
                State::Held | State::Leaving | State::Never => summary.wills[1] += 1,
                State::Sent | State::Open => summary.wills[2] += 1,
            }
            if will.state != State::Due {
                continue;
            }
            for claim in subscriptions.claims(&will.topic) {
                let is_owed = claim.since < will.sent && claim.qos.min(will.qos) > QoS::AtMostOnce;
                let mut holders = claim.holders.iter();
                if is_owed && holders.all(|holder| deliveries.taken(*holder, *id) == 0) {
                    violations.push(Violation {
                        fault: Fault::MissingWill,
                        client: claim.holders.first().copied(),
                        message: Some(*id),
                        topic: Some(will.topic.clone()),
                        at: None,
                    });
                }
            }
        }
        violations
    }
}
