//! The differences that are meant, each with the statement it rests on.

use std::collections::HashMap;
use std::num::NonZeroU16;

use moat_codec::{DecodeError, Limits, Packet, QoS, Version};

use crate::answer::{Message, Said, client_of};
use crate::sequence::{Habit, SLOTS, Sequence, Step, version_of};
use crate::shape::first_packet;

/// Who does what the standard says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Right {
    Moat,
    Both,
}

/// What two brokers said differently on one connection in one step.
pub(crate) struct Difference<'a> {
    pub(crate) sequence: &'a Sequence,
    pub(crate) step: usize,
    pub(crate) slot: usize,
    pub(crate) moat: Vec<Said>,
    pub(crate) mosquitto: Vec<Said>,
}

/// What goes on after a difference.
pub(crate) enum After {
    /// The brokers are in the same state: these answers go on being compared.
    Same(Vec<Said>, Vec<Said>),
    /// They are not any more, and what follows says nothing.
    Apart,
}

pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// The statement, or the section where it has none.
    pub(crate) statement: &'static str,
    pub(crate) right: Right,
    pub(crate) why: &'static str,
    pub(crate) applies: fn(&Difference<'_>) -> Option<After>,
}

impl Difference<'_> {
    /// What the step sends, if this is the connection it sends on.
    pub(crate) fn sent(&self) -> &[u8] {
        let step = &self.sequence.steps[self.step];
        if step.slot() == self.slot {
            step.bytes()
        } else {
            &[]
        }
    }

    /// The packet type of what the step sends here.
    pub(crate) fn kind(&self) -> Option<u8> {
        self.sent().first().map(|byte| byte >> 4)
    }

    pub(crate) fn version(&self) -> Version {
        let before = self.sequence.steps[..=self.step].iter().rev();
        before
            .filter(|step| step.slot() == self.slot)
            .find_map(|step| match step {
                Step::Open { bytes, .. } => Some(version_of(bytes)),
                _ => None,
            })
            .unwrap_or(Version::V311)
    }

    /// The topics of QoS 2 messages published so far, if a connection is among those that hold their PUBRELs back:
    /// then those of others may have an identifier that is still in use.
    pub(crate) fn held_topics(&self) -> Vec<String> {
        let mut versions = [Version::V311; SLOTS];
        let mut holds = false;
        let mut aliases: [HashMap<u16, String>; SLOTS] = Default::default();
        let mut topics = Vec::new();
        for step in &self.sequence.steps[..=self.step] {
            let slot = step.slot();
            if let Step::Open { habit, bytes, .. } = step {
                holds |= *habit == Habit::Holds;
                versions[slot] = version_of(bytes);
                aliases[slot].clear();
            }
            let Some(Packet::Publish(publish)) = decoded(step.bytes(), versions[slot]) else {
                continue;
            };
            let mut topic = publish.topic.replace("@@NONCE@", "N");
            if let Some(alias) = publish.topic_alias.map(NonZeroU16::get) {
                if topic.is_empty() {
                    topic = aliases[slot].get(&alias).cloned().unwrap_or_default();
                } else {
                    aliases[slot].insert(alias, topic.clone());
                }
            }
            if publish.qos == QoS::ExactlyOnce {
                topics.push(topic);
            }
        }
        if holds { topics } else { Vec::new() }
    }

    /// Whether the brokers differ in messages only, and only in those of some topics.
    pub(crate) fn differs_only_in(&self, topic: impl Fn(&str) -> bool) -> bool {
        let others = |said: &[Said]| -> Vec<Message> {
            let all = messages(said).into_iter();
            let others = all.filter(|message| !topic(&message.topic)).cloned();
            // Identifiers are counted, so one message more changes those of all others.
            let others = others.map(|message| Message {
                id: None,
                ..message
            });
            others.collect()
        };
        answers(&self.moat) == answers(&self.mosquitto)
            && others(&self.moat) == others(&self.mosquitto)
    }

    /// Whether a connection so far was opened with the client identifier of another one that was still open.
    pub(crate) fn was_taken_over(&self) -> bool {
        let mut clients: [Option<Vec<u8>>; SLOTS] = Default::default();
        for step in &self.sequence.steps[..=self.step] {
            let slot = step.slot();
            match step {
                Step::Open { bytes, .. } => {
                    clients[slot] = None;
                    let client = Some(client_of(bytes));
                    if clients.contains(&client) {
                        return true;
                    }
                    clients[slot] = client;
                }
                Step::Close { .. } => clients[slot] = None,
                Step::Send { .. } | Step::Ack { .. } => {}
            }
        }
        false
    }

    /// Whether mosquitto has lost a session that moat has kept.
    pub(crate) fn is_session_lost(&self) -> bool {
        let present = |said: &[Said]| match said.first() {
            Some(Said::ConnAck { present, .. }) => Some(*present),
            _ => None,
        };
        (present(&self.moat), present(&self.mosquitto)) == (Some(true), Some(false))
    }

    /// Whether a DISCONNECT so far was malformed.
    pub(crate) fn has_bad_disconnect(&self) -> bool {
        let mut before = self.sequence.steps[..=self.step].iter();
        before.any(|step| {
            let bytes = step.bytes();
            bytes.first().is_some_and(|byte| byte >> 4 == 14)
                && decoded(bytes, Version::V5).is_none()
        })
    }

    /// Whether a DISCONNECT so far had an error for a reason.
    pub(crate) fn has_bad_reason(&self) -> bool {
        let mut before = self.sequence.steps[..=self.step].iter();
        before.any(|step| {
            let packet = decoded(step.bytes(), Version::V5);
            matches!(packet, Some(Packet::Disconnect(packet)) if packet.reason.is_error())
        })
    }

    /// Whether this connection takes packets of a certain size only.
    pub(crate) fn has_packet_size(&self) -> bool {
        matches!(self.connect(), Some(Packet::Connect(connect)) if connect.properties.maximum_packet_size.is_some())
    }

    /// How many filters of this place's SUBSCRIBEs so far match a topic.
    fn matching(&self, topic: &str) -> usize {
        let packets = self
            .subscribes()
            .filter_map(|bytes| decoded(bytes, self.version()));
        let filters = packets.flat_map(|packet| match packet {
            Packet::Subscribe(subscribe) => {
                let filters = subscribe.filters().map(|one| one.filter.as_str());
                filters
                    .map(|filter| filter.replace("@@NONCE@", "N"))
                    .collect()
            }
            _ => Vec::new(),
        });
        filters.filter(|filter| matches(filter, topic)).count()
    }

    /// What this connection was opened with.
    fn connect(&self) -> Option<Packet<'_>> {
        let before = self.sequence.steps[..=self.step].iter().rev();
        let opened = before
            .filter(|step| step.slot() == self.slot)
            .find(|step| matches!(step, Step::Open { .. }));
        decoded(opened?.bytes(), Version::V5)
    }

    /// Whether this connection takes few messages at once.
    pub(crate) fn has_receive_maximum(&self) -> bool {
        matches!(self.connect(), Some(Packet::Connect(connect)) if connect.properties.receive_maximum.is_some())
    }

    /// Whether messages wait for this connection: it has just come back, or takes few at once.
    pub(crate) fn has_queue(&self) -> bool {
        self.has_receive_maximum() || self.kind() == Some(1)
    }

    /// Whether a connection so far sent a second CONNECT.
    pub(crate) fn has_second_connect(&self) -> bool {
        let mut before = self.sequence.steps[..=self.step].iter();
        before.any(|step| matches!(step, Step::Send { bytes, .. } if bytes[0] >> 4 == 1))
    }

    /// Both with every packet replaced.
    pub(crate) fn both(&self, change: impl Fn(&Said) -> Said) -> Option<After> {
        let moat: Vec<Said> = self.moat.iter().map(&change).collect();
        let mosquitto: Vec<Said> = self.mosquitto.iter().map(&change).collect();
        let changed = moat != self.moat || mosquitto != self.mosquitto;
        changed.then_some(After::Same(moat, mosquitto))
    }

    /// The DISCONNECTs at the end of both, where both closed.
    pub(crate) fn goodbyes(&self) -> Option<(Option<u8>, Option<u8>)> {
        let goodbye = |said: &[Said]| match said {
            [.., Said::Disconnect(reason), Said::Closed] => Some(Some(*reason)),
            [.., Said::Closed] => Some(None),
            _ => None,
        };
        Some((goodbye(&self.moat)?, goodbye(&self.mosquitto)?))
    }

    /// Both without DISCONNECT.
    pub(crate) fn without_goodbyes(&self) -> After {
        let without = |said: &[Said]| {
            let kept = said
                .iter()
                .filter(|said| !matches!(said, Said::Disconnect(_)));
            kept.cloned().collect()
        };
        After::Same(without(&self.moat), without(&self.mosquitto))
    }

    /// The reason codes of two refusals.
    pub(crate) fn refusals(&self) -> Option<(u8, u8)> {
        let refusal = |said: &[Said]| match said {
            [Said::ConnAck { reason, .. }, Said::Closed] => Some(*reason),
            _ => None,
        };
        Some((refusal(&self.moat)?, refusal(&self.mosquitto)?))
    }

    /// The wills of the CONNECTs so far: their delay in seconds.
    pub(crate) fn wills(&self) -> Vec<u32> {
        let before = self.sequence.steps[..=self.step].iter();
        let connects = before.filter_map(|step| match step {
            Step::Open { bytes, .. } => decoded(bytes, version_of(bytes)),
            _ => None,
        });
        let wills = connects.filter_map(|packet| match packet {
            Packet::Connect(connect) => connect.will.map(|will| will.delay_secs),
            _ => None,
        });
        wills.collect()
    }

    /// The SUBSCRIBEs of this connection's place so far, as bytes.
    pub(crate) fn subscribes(&self) -> impl Iterator<Item = &[u8]> {
        let before = self.sequence.steps[..=self.step].iter();
        before
            .filter(|step| {
                step.slot() == self.slot && step.bytes().first().is_some_and(|b| b >> 4 == 8)
            })
            .map(Step::bytes)
    }

    pub(crate) fn moat_closed(&self) -> bool {
        self.moat.last() == Some(&Said::Closed) && self.mosquitto.last() != Some(&Said::Closed)
    }
}

/// What moat's codec takes the first packet for.
pub(crate) fn tried(bytes: &[u8], version: Version) -> Result<Packet<'_>, DecodeError> {
    let total = first_packet(bytes).unwrap_or(bytes.len());
    Packet::decode(&bytes[..total], version, &Limits::generous())
}

/// The first packet, if it is valid.
pub(crate) fn decoded(bytes: &[u8], version: Version) -> Option<Packet<'_>> {
    tried(bytes, version).ok()
}

/// Level by level; no topic here that begins with `$` meets a filter that begins with a wildcard.
fn matches(filter: &str, topic: &str) -> bool {
    let (filter, topic): (Vec<&str>, Vec<&str>) =
        (filter.split('/').collect(), topic.split('/').collect());
    for (at, level) in filter.iter().enumerate() {
        match (*level, topic.get(at)) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == *name => {}
            _ => return false,
        }
    }
    filter.len() == topic.len()
}

/// Whether the remaining length is written with more bytes than it needs.
pub(crate) fn has_long_length(bytes: &[u8]) -> bool {
    let length = bytes.get(1..).unwrap_or_default();
    let end = length.iter().position(|byte| byte & 0x80 == 0);
    end.is_some_and(|end| end > 0 && length[end] == 0)
}

/// Whether the fixed header's flags are those of its type; a PUBLISH may have any.
pub(crate) fn has_bad_flags(first: u8) -> bool {
    match first >> 4 {
        3 => false,
        6 | 8 | 10 => first & 0x0F != 2,
        _ => first & 0x0F != 0,
    }
}

pub(crate) fn messages(said: &[Said]) -> Vec<&Message> {
    let messages = said.iter().filter_map(|said| match said {
        Said::Publish(message) => Some(message),
        _ => None,
    });
    messages.collect()
}

/// Everything but messages and their PUBRELs.
pub(crate) fn answers(said: &[Said]) -> Vec<&Said> {
    let answers = said
        .iter()
        .filter(|said| !matches!(said, Said::Publish(_) | Said::PubRel(..)));
    answers.collect()
}

/// Whether moat's messages are mosquitto's with the copies of one message made one, at the highest QoS and with
/// all subscription identifiers; or, to 3.x, mosquitto's at a higher QoS.
///
/// One may be missing if the client limits packets: with all identifiers it may be too large [MQTT-3.1.2-25]. Where
/// messages wait, some of mosquitto's copies may not have been kept, or are not sent yet.
pub(crate) fn are_merged(d: &Difference<'_>) -> bool {
    let (moat, mosquitto) = (messages(&d.moat), messages(&d.mosquitto));
    let (is_v5, is_small, has_queue) = (d.version().is_v5(), d.has_packet_size(), d.has_queue());
    let plain = |message: &Message| Message {
        id: None,
        qos: 0,
        retain: false,
        subscriptions: Vec::new(),
        ..message.clone()
    };
    let is_one = |ours: &&Message| {
        let copies: Vec<_> = mosquitto
            .iter()
            .filter(|theirs| plain(theirs) == plain(ours))
            .collect();
        let mut ids: Vec<u32> = copies
            .iter()
            .flat_map(|copy| copy.subscriptions.iter().copied())
            .collect();
        ids.sort_unstable();
        let highest = copies.iter().map(|copy| copy.qos).max();
        let respects = if is_v5 && !has_queue {
            highest == Some(ours.qos) && ids == ours.subscriptions
        } else {
            highest.is_some_and(|highest| highest <= ours.qos)
                && ids.iter().all(|id| ours.subscriptions.contains(id))
        };
        let retain = copies.iter().any(|copy| copy.retain);
        respects && (retain == ours.retain || has_queue)
    };
    let is_known = |theirs: &&Message| {
        let among = |all: &[&Message]| all.iter().filter(|one| plain(one) == plain(theirs)).count();
        among(&moat) == 1 || (is_small && d.matching(&theirs.topic) > 1)
    };
    moat.iter().all(is_one) && mosquitto.iter().all(is_known)
}

pub(crate) fn closed_with(difference: &Difference<'_>, moat: u8, mosquitto: u8) -> Option<After> {
    (difference.goodbyes()? == (Some(moat), Some(mosquitto))).then(|| difference.without_goodbyes())
}
