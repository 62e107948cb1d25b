//! The differences that are meant, each with the statement it rests on.

use std::collections::HashMap;

use moat_codec::{Limits, Packet, Version};

use crate::answer::{Message, Said};
use crate::sequence::{Habit, Sequence, Step, version_of};
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
    fn sent(&self) -> &[u8] {
        let step = &self.sequence.steps[self.step];
        if step.slot() == self.slot {
            step.bytes()
        } else {
            &[]
        }
    }

    /// The packet type of what the step sends here.
    fn kind(&self) -> Option<u8> {
        self.sent().first().map(|byte| byte >> 4)
    }

    fn version(&self) -> Version {
        let before = self.sequence.steps[..=self.step].iter().rev();
        before
            .filter(|step| step.slot() == self.slot)
            .find_map(|step| match step {
                Step::Open { bytes, .. } => Some(version_of(bytes)),
                _ => None,
            })
            .unwrap_or(Version::V311)
    }

    /// Whether one of the connections so far holds its PUBRELs back.
    fn somebody_holds(&self) -> bool {
        let mut before = self.sequence.steps[..=self.step].iter();
        before.any(|step| {
            matches!(
                step,
                Step::Open {
                    habit: Habit::Holds,
                    ..
                }
            )
        })
    }

    /// Both with every packet replaced.
    fn both(&self, change: impl Fn(&Said) -> Said) -> Option<After> {
        let moat: Vec<Said> = self.moat.iter().map(&change).collect();
        let mosquitto: Vec<Said> = self.mosquitto.iter().map(&change).collect();
        let changed = moat != self.moat || mosquitto != self.mosquitto;
        changed.then_some(After::Same(moat, mosquitto))
    }

    /// The DISCONNECTs at the end of both, where both closed.
    fn goodbyes(&self) -> Option<(Option<u8>, Option<u8>)> {
        let goodbye = |said: &[Said]| match said {
            [.., Said::Disconnect(reason), Said::Closed] => Some(Some(*reason)),
            [.., Said::Closed] => Some(None),
            _ => None,
        };
        Some((goodbye(&self.moat)?, goodbye(&self.mosquitto)?))
    }

    /// Both without DISCONNECT.
    fn without_goodbyes(&self) -> After {
        let without = |said: &[Said]| {
            let kept = said.iter().filter(|said| !matches!(said, Said::Disconnect(_)));
            kept.cloned().collect()
        };
        After::Same(without(&self.moat), without(&self.mosquitto))
    }

    /// The reason codes of two refusals.
    fn refusals(&self) -> Option<(u8, u8)> {
        let refusal = |said: &[Said]| match said {
            [Said::ConnAck { reason, .. }, Said::Closed] => Some(*reason),
            _ => None,
        };
        Some((refusal(&self.moat)?, refusal(&self.mosquitto)?))
    }

    /// The wills of the CONNECTs so far: their delay in seconds.
    fn wills(&self) -> Vec<u32> {
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

    /// Whether the brokers differ in messages only, and only in those of the will's topic.
    fn differs_in_wills(&self) -> bool {
        let others = |said: &[Said]| -> Vec<Message> {
            let all = messages(said).into_iter();
            all.filter(|message| message.topic != "t/N/w").cloned().collect()
        };
        answers(&self.moat) == answers(&self.mosquitto)
            && others(&self.moat) == others(&self.mosquitto)
    }

    /// The SUBSCRIBEs of this connection's place so far, as bytes.
    fn subscribes(&self) -> impl Iterator<Item = &[u8]> {
        let before = self.sequence.steps[..=self.step].iter();
        before
            .filter(|step| step.slot() == self.slot && step.bytes().first().is_some_and(|b| b >> 4 == 8))
            .map(Step::bytes)
    }

    fn moat_closed(&self) -> bool {
        self.moat.last() == Some(&Said::Closed) && self.mosquitto.last() != Some(&Said::Closed)
    }
}

/// What moat's codec takes the first packet for.
fn decoded(bytes: &[u8], version: Version) -> Option<Packet<'_>> {
    let total = first_packet(bytes)?;
    Packet::decode(&bytes[..total], version, &Limits::generous()).ok()
}

/// Whether the remaining length is written with more bytes than it needs.
fn has_long_length(bytes: &[u8]) -> bool {
    let end = bytes[1..].iter().position(|byte| byte & 0x80 == 0);
    end.is_some_and(|end| end > 0 && bytes[1 + end] == 0)
}

/// Whether the fixed header's flags are those of its type; a PUBLISH may have any.
fn has_bad_flags(first: u8) -> bool {
    match first >> 4 {
        3 => false,
        6 | 8 | 10 => first & 0x0F != 2,
        _ => first & 0x0F != 0,
    }
}

fn messages(said: &[Said]) -> Vec<&Message> {
    let messages = said.iter().filter_map(|said| match said {
        Said::Publish(message) => Some(message),
        _ => None,
    });
    messages.collect()
}

/// Everything but messages and their PUBRELs.
fn answers(said: &[Said]) -> Vec<&Said> {
    let answers = said
        .iter()
        .filter(|said| !matches!(said, Said::Publish(_) | Said::PubRel(..)));
    answers.collect()
}

/// The messages, each once, without what several copies differ in.
fn distinct(said: &[Said]) -> Vec<(&str, &str)> {
    let mut all: Vec<_> = messages(said)
        .into_iter()
        .map(|message| (&*message.topic, &*message.payload))
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn closed_with(difference: &Difference<'_>, moat: u8, mosquitto: u8) -> Option<After> {
    (difference.goodbyes()? == (Some(moat), Some(mosquitto)))
        .then(|| difference.without_goodbyes())
}

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "nobody there: 0x10 or 0x00",
        statement: "5.0 section 3.4.2.1, 3.5.2.1",
        right: Right::Both,
        why: "a server that knows there is no subscriber may say so; mosquitto counts publishers with no local as reached and does not say so for QoS 2",
        applies: |d| {
            d.both(|said| match said {
                Said::PubAck(id, 0x10) => Said::PubAck(*id, 0),
                Said::PubRec(id, 0x10) => Said::PubRec(*id, 0),
                other => other.clone(),
            })
        },
    },
    Rule {
        name: "taken over without DISCONNECT",
        statement: "MQTT-3.1.4-3",
        right: Right::Moat,
        why: "a 5.0 client is told 0x8E; mosquitto closes without a word if the new client does not speak 5.0",
        applies: |d| {
            (d.goodbyes()? == (Some(0x8E), None)).then(|| d.without_goodbyes())
        },
    },
    Rule {
        name: "closed without a reason",
        statement: "MQTT-4.13.2-1, 5.0 section 4.13.1",
        right: Right::Both,
        why: "DISCONNECT before closing is a SHOULD; mosquitto leaves it out for some errors",
        applies: |d| match d.goodbyes()? {
            (Some(0x81..=0x82 | 0x8F..=0x95), None) => Some(d.without_goodbyes()),
            _ => None,
        },
    },
    Rule {
        name: "refused without CONNACK",
        statement: "MQTT-3.1.4-1, 5.0 section 4.13.1",
        right: Right::Both,
        why: "CONNACK before closing is a MAY",
        applies: |d| match (&*d.moat, &*d.mosquitto) {
            ([Said::ConnAck { reason, .. }, Said::Closed], [Said::Closed]) if *reason >= 0x80 => {
                Some(After::Same(vec![Said::Closed], vec![Said::Closed]))
            }
            _ => None,
        },
    },
    Rule {
        name: "bad topic filter: 0x8F or 0x81",
        statement: "MQTT-4.7.1-1, 5.0 section 3.14.2.1",
        right: Right::Both,
        why: "the filter is well-formed but not accepted: 0x8F is the closer code",
        applies: |d| closed_with(d, 0x8F, 0x81),
    },
    Rule {
        name: "bad topic alias: 0x94 or 0x81",
        statement: "MQTT-3.3.2-8",
        right: Right::Moat,
        why: "section 3.3.2.3.4 asks for 0x94",
        applies: |d| closed_with(d, 0x94, 0x81),
    },
    Rule {
        name: "wrong password: 0x86 or 0x87",
        statement: "5.0 section 3.2.2.2, 3.1.1 section 3.2.2.3",
        right: Right::Both,
        why: "both codes refuse; mosquitto does not tell a wrong password from a missing right",
        applies: |d| match d.refusals()? {
            (0x86, 0x87) | (4, 5) => Some(After::Same(vec![], vec![])),
            _ => None,
        },
    },
    Rule {
        name: "unknown packet identifier: 0x92 or 0x00",
        statement: "5.0 section 3.6.2.1, 3.7.2.1",
        right: Right::Moat,
        why: "0x92 is the code for an identifier that is not in use",
        applies: |d| {
            d.both(|said| match said {
                Said::PubRel(id, 0x92) => Said::PubRel(*id, 0),
                Said::PubComp(id, 0x92) => Said::PubComp(*id, 0),
                other => other.clone(),
            })
        },
    },
    Rule {
        name: "a client sends what only servers send",
        statement: "MQTT-4.8.0-1 of 3.1.1, 5.0 section 2.1.2",
        right: Right::Moat,
        why: "a protocol violation closes; mosquitto, which is a client of bridges too, takes a SUBACK or UNSUBACK from anybody",
        applies: |d| {
            (d.moat_closed() && matches!(d.kind()?, 2 | 9 | 11 | 13)).then_some(After::Apart)
        },
    },
    Rule {
        name: "PINGREQ with a body",
        statement: "MQTT-4.8.0-1 of 3.1.1, MQTT-4.13.1-1",
        right: Right::Moat,
        why: "it has none (section 3.12), so it is malformed; mosquitto does not look",
        applies: |d| {
            (d.moat_closed() && d.kind()? == 12 && d.sent().len() > 2).then_some(After::Apart)
        },
    },
    Rule {
        name: "overlapping subscriptions",
        statement: "MQTT-3.3.4-2, MQTT-3.3.5-1 of 3.1.1",
        right: Right::Moat,
        why: "one copy at the highest QoS with all identifiers; mosquitto sends one copy for each to 5.0, and whichever it finds first to 3.x",
        applies: |d| {
            let (moat, mosquitto) = (messages(&d.moat), messages(&d.mosquitto));
            let same = answers(&d.moat) == answers(&d.mosquitto)
                && distinct(&d.moat) == distinct(&d.mosquitto);
            let more = mosquitto.len() > moat.len();
            let lower = mosquitto.len() == moat.len()
                && !d.version().is_v5()
                && moat.iter().zip(&mosquitto).all(|(ours, theirs)| ours.qos >= theirs.qos);
            (same && (more || lower)).then_some(After::Apart)
        },
    },
    Rule {
        name: "QoS 2 is passed on with PUBLISH or with PUBREL",
        statement: "MQTT-4.3.3-8, 3.1.1 section 4.3.3",
        right: Right::Both,
        why: "moat owns it and passes it on when it sends PUBREC, mosquitto when it gets PUBREL",
        applies: |d| {
            let same = answers(&d.moat) == answers(&d.mosquitto);
            (same && d.somebody_holds()).then_some(After::Apart)
        },
    },
    Rule {
        name: "malformed: 0x81 or 0x82",
        statement: "MQTT-4.13.1-1",
        right: Right::Both,
        why: "both end the connection; what the standard calls malformed and what a protocol error is not the same everywhere",
        applies: |d| closed_with(d, 0x81, 0x82).or_else(|| closed_with(d, 0x82, 0x81)),
    },
    Rule {
        name: "a will whose session ended before its delay",
        statement: "MQTT-3.1.2-8",
        right: Right::Moat,
        why: "it is due when the delay is over or the session ends, whichever is first; mosquitto waits for the delay",
        applies: |d| {
            (d.differs_in_wills() && d.wills().iter().any(|delay| *delay > 0))
                .then_some(After::Apart)
        },
    },
    Rule {
        name: "the will of a connection that was taken over",
        statement: "MQTT-3.1.2-8, MQTT-3.1.4-3",
        right: Right::Moat,
        why: "the server closed its connection, without a DISCONNECT from the client; mosquitto sends it only if the session ends too",
        applies: |d| {
            (d.differs_in_wills() && d.wills().contains(&0)).then_some(After::Apart)
        },
    },
    Rule {
        name: "a remaining length with too many bytes",
        statement: "MQTT-1.5.5-1",
        right: Right::Moat,
        why: "5.0 wants the fewest bytes; mosquitto takes any",
        applies: |d| {
            let refused = d.moat.last() == Some(&Said::Closed);
            (refused && d.version().is_v5() && has_long_length(d.sent())).then_some(After::Apart)
        },
    },
    Rule {
        name: "SUBSCRIBE without a filter",
        statement: "MQTT-3.8.3-3 of 3.1.1",
        right: Right::Moat,
        why: "a protocol violation; mosquitto answers 3.1 with an empty SUBACK",
        applies: |d| {
            let empty = matches!(d.sent(), [0x82, 2, _, _]);
            (d.moat_closed() && empty).then_some(After::Apart)
        },
    },
    Rule {
        name: "flags of the fixed header",
        statement: "MQTT-2.2.2-2 of 3.1.1, MQTT-2.1.3-1",
        right: Right::Moat,
        why: "a reserved bit that is set is malformed; mosquitto does not look at them in PINGREQ, nor in 3.1",
        applies: |d| {
            let bad = d.sent().first().is_some_and(|first| has_bad_flags(*first));
            (d.moat_closed() && bad).then_some(After::Apart)
        },
    },
    Rule {
        name: "a shared filter without a filter",
        statement: "MQTT-4.8.2-1, MQTT-4.8.2-2",
        right: Right::Moat,
        why: "after $share/NAME comes a slash and a filter, in 3.x too, where moat knows $share as others do; mosquitto takes it for a plain filter",
        applies: |d| {
            let shared = d.sent().windows(8).any(|window| window == b"$share/g");
            (d.moat_closed() && d.kind()? == 8 && shared).then_some(After::Apart)
        },
    },
    Rule {
        name: "control characters and noncharacters",
        statement: "5.0 section 1.5.4, 3.1.1 section 1.5.3",
        right: Right::Both,
        why: "they should not be sent, and a receiver may close for them; mosquitto does",
        applies: |d| {
            let text = String::from_utf8_lossy(d.sent()).into_owned();
            let odd = text.chars().any(|c| c.is_control() || c == '\u{FFFF}');
            let refused = d.mosquitto.last() == Some(&Said::Closed);
            (refused && !d.moat.contains(&Said::Closed) && odd).then_some(After::Apart)
        },
    },
    Rule {
        name: "a subscription made again has its new options",
        statement: "MQTT-3.8.4-3",
        right: Right::Moat,
        why: "mosquitto keeps no local and retain as published of the first",
        applies: |d| {
            let mut known: HashMap<String, u8> = HashMap::new();
            let mut again = false;
            for packet in d.subscribes().filter_map(|bytes| decoded(bytes, d.version())) {
                let Packet::Subscribe(subscribe) = packet else {
                    continue;
                };
                for one in subscribe.filters() {
                    let (filter, options) = (one.filter.as_str().to_owned(), one.options.byte());
                    let before = known.insert(filter, options);
                    again |= before.is_some_and(|before| (before ^ options) & 0b1100 != 0);
                }
            }
            let same = answers(&d.moat) == answers(&d.mosquitto);
            (same && again).then_some(After::Apart)
        },
    },
    Rule {
        name: "a malformed SUBSCRIBE subscribes to nothing",
        statement: "MQTT-4.13.1-1, MQTT-4.8.0-1 of 3.1.1",
        right: Right::Moat,
        why: "mosquitto acts on the filters before the bad one, and the session outlives the connection",
        applies: |d| {
            let mut subscribes = d.subscribes();
            let bad = subscribes.any(|bytes| decoded(bytes, d.version()).is_none());
            let same = answers(&d.moat) == answers(&d.mosquitto);
            (same && bad && messages(&d.mosquitto).len() > messages(&d.moat).len())
                .then_some(After::Apart)
        },
    },
];
