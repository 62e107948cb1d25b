//! The table of differences that are meant. One that no sequence shows is an error, so that the table stays true.

use std::collections::HashMap;

use moat_codec::{DecodeError, Packet, Version};

use crate::answer::{Message, Said};
use crate::explained::{
    After, Right, Rule, answers, are_merged, closed_with, decoded, has_bad_flags, has_long_length,
    messages, tried,
};

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
        applies: |d| (d.goodbyes()? == (Some(0x8E), None)).then(|| d.without_goodbyes()),
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
            ([Said::ConnAck { reason, .. }, Said::Closed], [Said::Closed])
            | ([Said::Closed], [Said::ConnAck { reason, .. }, Said::Closed])
                if *reason > 0 =>
            {
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
            let same = answers(&d.moat) == answers(&d.mosquitto);
            (same && are_merged(d)).then_some(After::Apart)
        },
    },
    Rule {
        name: "QoS 2 is passed on with PUBLISH or with PUBREL",
        statement: "MQTT-4.3.3-8, 3.1.1 section 4.3.3",
        right: Right::Both,
        why: "moat owns it and passes it on when it sends PUBREC, mosquitto when it gets PUBREL",
        applies: |d| {
            let held = d.held_topics();
            // The message of a will may be missing besides, for reasons of its own.
            let has_wills = !d.wills().is_empty();
            let may_differ = |topic: &str| {
                held.iter().any(|held| held == topic) || (has_wills && topic == "t/N/w")
            };
            // Of a client that takes few at once others stand behind it.
            let stuck = d.has_receive_maximum() && answers(&d.moat) == answers(&d.mosquitto);
            (!held.is_empty() && (stuck || d.differs_only_in(may_differ))).then_some(After::Apart)
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
            let delayed = d.wills().iter().any(|delay| *delay > 0);
            (delayed && d.differs_only_in(|topic| topic == "t/N/w")).then_some(After::Apart)
        },
    },
    Rule {
        name: "the will of a connection that was taken over",
        statement: "MQTT-3.1.2-8, MQTT-3.1.4-3",
        right: Right::Moat,
        why: "the server closed its connection, without a DISCONNECT from the client; mosquitto sends it only if the session ends too",
        applies: |d| {
            let lost = d.wills().contains(&0) && d.was_taken_over();
            (lost && d.differs_only_in(|topic| topic == "t/N/w")).then_some(After::Apart)
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
            for packet in d
                .subscribes()
                .filter_map(|bytes| decoded(bytes, d.version()))
            {
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
            // What is retained has nothing to do with these options.
            (same && again && d.kind() != Some(8)).then_some(After::Apart)
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
            (same && bad).then_some(After::Apart)
        },
    },
    Rule {
        name: "DUP at QoS 0",
        statement: "MQTT-3.3.1-2",
        right: Right::Moat,
        why: "it must be 0 then; mosquitto does not look",
        applies: |d| {
            let dup = d.kind()? == 3 && d.sent()[0] & 0b1110 == 0b1000;
            (d.moat_closed() && dup).then_some(After::Apart)
        },
    },
    Rule {
        name: "a second CONNECT ends the connection, not the session",
        statement: "MQTT-3.1.0-2, MQTT-3.1.2-23, MQTT-3.1.2-8",
        right: Right::Moat,
        why: "mosquitto forgets the session, and the will",
        applies: |d| {
            // 3.1 is not told whether there was a session; what waited for it is missing.
            let missing = messages(&d.mosquitto).is_empty() && d.kind() == Some(1);
            let lost = d.is_session_lost()
                || (missing && d.version() == Version::V31)
                || d.differs_only_in(|topic| topic == "t/N/w");
            (lost && d.has_second_connect()).then_some(After::Apart)
        },
    },
    Rule {
        name: "a client's subscription identifier",
        statement: "MQTT-3.3.4-6",
        right: Right::Moat,
        why: "a client's PUBLISH has none; mosquitto throws it away",
        applies: |d| {
            let has = match decoded(d.sent(), d.version()) {
                Some(Packet::Publish(publish)) => !publish.subscription_ids.is_empty(),
                // 0 is no identifier, and malformed besides.
                _ => d.kind()? == 3 && d.sent().windows(2).any(|bytes| bytes == [0x0B, 0]),
            };
            (d.moat_closed() && has).then_some(After::Apart)
        },
    },
    Rule {
        name: "a payload that is not the UTF-8 it is said to be",
        statement: "5.0 section 3.3.2.3.2",
        right: Right::Both,
        why: "a receiver may validate it and answer 0x99; mosquitto does not, and finds another error if there is one",
        applies: |d| {
            if let Some((Some(0x99), Some(_))) = d.goodbyes() {
                return Some(d.without_goodbyes());
            }
            let error = tried(d.sent(), d.version()).err()?;
            let bad = error == DecodeError::PayloadNotUtf8;
            (d.moat_closed() && bad).then_some(After::Apart)
        },
    },
    Rule {
        name: "a malformed DISCONNECT changes nothing",
        statement: "MQTT-4.13.1-1, MQTT-3.1.2-23, MQTT-3.14.1-1 of 3.1.1",
        right: Right::Moat,
        why: "mosquitto takes the session expiry before it finds the error, and deletes the will",
        applies: |d| {
            let lost = d.is_session_lost() || d.differs_only_in(|topic| topic == "t/N/w");
            (lost && d.has_bad_disconnect()).then_some(After::Apart)
        },
    },
    Rule {
        name: "a DISCONNECT with an error keeps the will",
        statement: "MQTT-3.14.4-3, MQTT-3.1.2-10",
        right: Right::Moat,
        why: "only reason 0x00 deletes it; mosquitto publishes it after 0x04 alone",
        applies: |d| {
            let will = d.differs_only_in(|topic| topic == "t/N/w");
            (will && d.has_bad_reason()).then_some(After::Apart)
        },
    },
    Rule {
        name: "a wildcard in a topic name: 0x90 or 0x82",
        statement: "MQTT-3.3.2-2",
        right: Right::Both,
        why: "it must not be; the standard does not say with which code it is refused",
        applies: |d| closed_with(d, 0x90, 0x82),
    },
    Rule {
        name: "a protocol level with its highest bit set",
        statement: "MQTT-3.1.2-2 of 3.1.1",
        right: Right::Moat,
        why: "mosquitto knows its bridges by it; to everybody else the level is unknown",
        applies: |d| {
            let private = [b"MQTT\x84".as_slice(), b"MQIsdp\x83"];
            let has = |level: &[u8]| d.sent().windows(level.len()).any(|bytes| bytes == level);
            let refused = d.moat.last() == Some(&Said::Closed);
            (refused && private.into_iter().any(has)).then_some(After::Apart)
        },
    },
    Rule {
        name: "authentication data without a method",
        statement: "5.0 section 3.1.2.11.10",
        right: Right::Moat,
        why: "a protocol error; mosquitto does not look at it",
        applies: |d| {
            let data = d.sent().windows(7).any(|bytes| bytes == b"\x16\0\x04data");
            let refused = d.moat.last() == Some(&Said::Closed);
            (refused && data && d.kind()? == 1).then_some(After::Apart)
        },
    },
    Rule {
        name: "a wildcard in a response topic",
        statement: "MQTT-3.3.2-14",
        right: Right::Moat,
        why: "it is a topic name; mosquitto does not look",
        applies: |d| {
            let error = tried(d.sent(), d.version()).err()?;
            let wildcard = matches!(error, DecodeError::ResponseTopicInvalid(_));
            let refused = d.moat.last() == Some(&Said::Closed);
            (refused && wildcard && d.mosquitto.last() != Some(&Said::Closed))
                .then_some(After::Apart)
        },
    },
    Rule {
        name: "an acknowledgement of 3.x with more than its identifier",
        statement: "MQTT-4.8.0-1 of 3.1.1",
        right: Right::Moat,
        why: "its remaining length is 2 (3.1.1 section 3.4.1 and following); mosquitto does not look",
        applies: |d| {
            let long = matches!(d.kind()?, 4..=7) && d.sent().len() > 4 && !d.version().is_v5();
            (d.moat_closed() && long).then_some(After::Apart)
        },
    },
    Rule {
        name: "a payload format that does not exist",
        statement: "5.0 section 3.3.2.3.2",
        right: Right::Both,
        why: "0 and 1 are all there are; the standard does not say what another value is, and mosquitto passes it on",
        applies: |d| {
            let error = tried(d.sent(), d.version()).err()?;
            let bad = matches!(error, DecodeError::PropertyValueInvalid { id: 0x01 });
            (d.moat_closed() && bad).then_some(After::Apart)
        },
    },
    Rule {
        name: "the reserved flag of a CONNECT of 3.1",
        statement: "MQTT-3.1.2-3 of 3.1.1",
        right: Right::Both,
        why: "3.1.1 wants it to be 0 and the connection closed; 3.1 says nothing, and moat treats it alike",
        applies: |d| {
            let error = tried(d.sent(), d.version()).err()?;
            let bad = d.version() == Version::V31 && error == DecodeError::ConnectReservedFlag;
            (d.moat_closed() && bad).then_some(After::Apart)
        },
    },
    Rule {
        name: "QoS 0 while the send quota is used up",
        statement: "MQTT-4.9.0-2",
        right: Right::Both,
        why: "it may be sent or wait; moat lets it wait behind retained messages, so that no older value comes after it",
        applies: |d| {
            let acknowledged = |said: &[Said]| -> Vec<Said> {
                let kept = said
                    .iter()
                    .filter(|said| !matches!(said, Said::Publish(m) if m.qos == 0));
                kept.cloned().collect()
            };
            let same = acknowledged(&d.moat) == acknowledged(&d.mosquitto);
            (same && d.has_queue()).then_some(After::Apart)
        },
    },
    Rule {
        name: "a reason code that an acknowledgement does not have",
        statement: "MQTT-3.4.2-1, MQTT-3.5.2-1, MQTT-3.6.2-1, MQTT-3.7.2-1",
        right: Right::Moat,
        why: "mosquitto does not look at it in all of them",
        applies: |d| {
            let error = tried(d.sent(), d.version()).err()?;
            let bad = matches!(error, DecodeError::ReasonCodeNotAllowed { .. });
            (d.moat_closed() && bad).then_some(After::Apart)
        },
    },
    Rule {
        name: "retained messages and shared subscriptions",
        statement: "5.0 section 3.3.1.3",
        right: Right::Moat,
        why: "they are sent when a non-shared subscription is made; mosquitto sends them for every one",
        applies: |d| {
            let shared = d.sent().windows(8).any(|bytes| bytes == b"$share/g");
            let unretained = |said: &[Said]| -> Vec<Said> {
                let kept = said.iter().filter(|said| match said {
                    Said::Publish(message) => !message.retain,
                    Said::PubRel(..) => false,
                    _ => true,
                });
                kept.cloned().collect()
            };
            let same = unretained(&d.moat) == unretained(&d.mosquitto);
            let more = messages(&d.mosquitto).len() > messages(&d.moat).len();
            (d.kind()? == 8 && shared && same && more).then_some(After::Apart)
        },
    },
    Rule {
        name: "a shared and an ordinary subscription of one session",
        statement: "5.0 section 4.8.2",
        right: Right::Moat,
        why: "each is owed its copy: the group's, and one for all ordinary subscriptions; mosquitto counts them all alike",
        applies: |d| {
            let mut subscribes = d.subscribes();
            let shared = subscribes.any(|bytes| bytes.windows(8).any(|w| w == b"$share/g"));
            let known = |all: &[Said], message: &Message| {
                messages(all)
                    .iter()
                    .any(|other| other.payload == message.payload)
            };
            let alike = messages(&d.moat)
                .iter()
                .all(|message| known(&d.mosquitto, message))
                && messages(&d.mosquitto)
                    .iter()
                    .all(|message| known(&d.moat, message));
            (shared && alike && d.differs_only_in(|topic| topic == "t/N/s")).then_some(After::Apart)
        },
    },
    Rule {
        name: "more than Receive Maximum",
        statement: "MQTT-3.3.4-9",
        right: Right::Moat,
        why: "what was under way counts on the next connection too; mosquitto sends all of it again",
        applies: |d| {
            let known = |message: &&Message| {
                let same = |other: &&Message| {
                    other.topic == message.topic && other.payload == message.payload
                };
                messages(&d.mosquitto).iter().any(same)
            };
            let fewer = messages(&d.moat).iter().all(known)
                && messages(&d.moat).len() < messages(&d.mosquitto).len();
            let same = answers(&d.moat) == answers(&d.mosquitto);
            (d.has_receive_maximum() && same && fewer).then_some(After::Apart)
        },
    },
    Rule {
        name: "no subscription below a root that nobody knows",
        statement: "5.0 section 3.11.3",
        right: Right::Moat,
        why: "mosquitto says 0x11 only if somebody has once subscribed below the first level",
        applies: |d| {
            let codes = |said: &[Said]| -> Vec<Said> {
                let zeroed = said.iter().map(|said| match said {
                    Said::UnsubAck(id, codes) => Said::UnsubAck(*id, vec![0; codes.len()]),
                    other => other.clone(),
                });
                zeroed.collect()
            };
            let dollar = d.kind()? == 10 && d.sent().contains(&b'$');
            (dollar && codes(&d.moat) == codes(&d.mosquitto))
                .then(|| After::Same(codes(&d.moat), codes(&d.mosquitto)))
        },
    },
];
