//! Trie, retained messages, window and rate against the simplest thing that does the same.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::{PacketId, Publish, QoS, Resolved, TopicName};
use moat_core::router::retained::{
    RETAINED_BRANCH_BYTES, RETAINED_LEVEL_BYTES, RETAINED_OVERHEAD_BYTES, RetainedLimits,
};
use moat_core::router::{Entry, Retained, Trie};
use moat_core::session::inflight::{Inflight, Pending, WINDOW_SPAN_FACTOR};
use moat_core::session::parcel::{Content, Parcel, SubscriptionIdList};
use moat_core::session::rate::PublishRate;
use moat_core::{Message, Time};
use moat_policy::{Identity, Snapshot, Subject};
use proptest::prelude::*;

use crate::harness::cases;

/// [MQTT-4.7.1-1..4], [MQTT-4.7.2-1], level by level and without any index.
fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
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

fn topic() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["", "a", "b", "$s", "ab"]);
    prop::collection::vec(level, 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a topic has a character", |topic| !topic.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["", "a", "b", "$s", "ab", "+", "+"]);
    (prop::collection::vec(level, 0..5), any::<bool>())
        .prop_map(|(mut levels, hash)| {
            if hash {
                levels.push("#");
            }
            levels.join("/")
        })
        .prop_filter("a filter has a character", |filter| !filter.is_empty())
}

// --- trie ---

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subscribed {
    who: u8,
    value: u8,
}

impl Entry for Subscribed {
    type Key = u8;
    fn key(&self) -> u8 {
        self.who
    }
}

#[derive(Clone, Debug)]
enum Change {
    Insert(String, Subscribed),
    Remove(String, u8),
    /// Removes what is there, the n-th.
    RemoveKnown(usize),
    Match(String),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let subscribed = (0..3_u8, any::<u8>()).prop_map(|(who, value)| Subscribed { who, value });
    let change = prop_oneof![
        4 => (filter(), subscribed).prop_map(|(filter, entry)| Change::Insert(filter, entry)),
        1 => (filter(), 0..3_u8).prop_map(|(filter, who)| Change::Remove(filter, who)),
        2 => any::<usize>().prop_map(Change::RemoveKnown),
        4 => topic().prop_map(Change::Match),
    ];
    prop::collection::vec(change, 1..60)
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn the_trie_finds_what_a_linear_search_finds(changes in changes()) {
        let mut trie = Trie::default();
        let mut list: Vec<(String, Subscribed)> = Vec::new();
        let same = |filter: &str, who: u8| {
            let filter = filter.to_owned();
            move |(f, s): &(String, Subscribed)| *f == filter && s.who == who
        };
        for change in changes {
            match change {
                Change::Insert(filter, entry) => {
                    let old = list.iter().position(same(&filter, entry.who)).map(|at| list.remove(at).1);
                    prop_assert_eq!(trie.insert(&filter, entry), old);
                    list.push((filter, entry));
                }
                Change::Remove(filter, who) => {
                    let old = list.iter().position(same(&filter, who)).map(|at| list.remove(at).1);
                    prop_assert_eq!(trie.remove(&filter, &who), old);
                }
                Change::RemoveKnown(n) if !list.is_empty() => {
                    let (filter, entry) = list.remove(n % list.len());
                    prop_assert_eq!(trie.remove(&filter, &entry.who), Some(entry));
                }
                Change::RemoveKnown(_) => {}
                Change::Match(topic) => {
                    let mut found = Vec::new();
                    trie.matches(&topic, |entry| found.push(*entry));
                    let matching = list.iter().filter(|(filter, _)| matches(filter, &topic));
                    let mut expected: Vec<Subscribed> = matching.map(|(_, entry)| *entry).collect();
                    found.sort_unstable();
                    expected.sort_unstable();
                    prop_assert_eq!(found, expected, "{}", topic);
                }
            }
            prop_assert_eq!(trie.len(), list.len());
            prop_assert_eq!(trie.is_empty(), list.is_empty());
        }
    }
}

// --- retained ---

/// What the tree of these messages counts besides them: each beginning of a topic is a level, and a branch if it leads on.
fn tree_bytes<'m>(messages: impl Iterator<Item = &'m Arc<Message>>) -> usize {
    let (mut levels, mut branches) = (BTreeSet::new(), BTreeSet::new());
    for message in messages {
        let names: Vec<&str> = message.topic().split('/').collect();
        for depth in 0..names.len() {
            branches.insert(names[..depth].to_vec());
            levels.insert(names[..=depth].to_vec());
        }
    }
    levels.len() * RETAINED_LEVEL_BYTES + branches.len() * RETAINED_BRANCH_BYTES
}

fn kept(
    topic: &str,
    payload: &str,
    publisher: &str,
    expiry_secs: Option<u32>,
    now: Time,
) -> Arc<Message> {
    let topic = TopicName::new(topic, &moat_codec::Limits::generous()).unwrap();
    let publish = Publish {
        retain: true,
        qos: QoS::AtLeastOnce,
        packet_id: PacketId::new(1),
        message_expiry_secs: expiry_secs,
        ..Publish::new(topic.as_str(), payload.as_bytes())
    };
    let identity = Identity::anonymous();
    let subject = Subject {
        identity: &identity,
        client_id: "c",
    };
    let allowed = Snapshot::allow_all()
        .authorize_publish(subject, Resolved::of_publish(topic, &publish))
        .unwrap();
    Arc::new(Message::new(&allowed, &Arc::from(publisher), now))
}

#[derive(Clone, Debug)]
enum Keeping {
    Set {
        topic: String,
        payload: String,
        publisher: &'static str,
        expiry_secs: Option<u32>,
    },
    Find(String),
    Pass(u64),
    Sweep,
}

fn keepings() -> impl Strategy<Value = Vec<Keeping>> {
    let set = (
        topic(),
        "[x]{0,40}",
        prop::sample::select(vec!["anna", "bert"]),
        prop::option::of(1..20_u32),
    );
    let keeping = prop_oneof![
        4 => set.prop_map(|(topic, payload, publisher, expiry_secs)| Keeping::Set {
            topic, payload, publisher, expiry_secs,
        }),
        3 => filter().prop_map(Keeping::Find),
        1 => (0..10_u64).prop_map(Keeping::Pass),
        1 => Just(Keeping::Sweep),
    ];
    prop::collection::vec(keeping, 1..60)
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn retained_messages_are_those_of_a_list(
        keepings in keepings(),
        messages_max in 1..8_usize,
        per_identity_max in 1..6_usize,
        bytes_max in 100..8000_usize,
    ) {
        let limits = RetainedLimits { messages_max, bytes_max, per_identity_max };
        let (mut retained, mut now) = (Retained::default(), Time::from_millis(1));
        let mut list: Vec<Arc<Message>> = Vec::new();
        let weight = |m: &Message| m.weight() + RETAINED_OVERHEAD_BYTES;
        for keeping in keepings {
            match keeping {
                Keeping::Set { topic, payload, publisher, expiry_secs } => {
                    let message = kept(&topic, &payload, publisher, expiry_secs, now);
                    let others: Vec<Arc<Message>> =
                        list.iter().filter(|m| m.topic() != topic).cloned().collect();
                    // The tree still has the levels of the message that is replaced.
                    let bytes_with = |list: &[Arc<Message>], message: &Arc<Message>| {
                        tree_bytes(list.iter().chain([message]))
                            + others.iter().map(|m| weight(m)).sum::<usize>()
                            + weight(message)
                    };
                    let fits = payload.is_empty()
                        || (others.len() < messages_max
                            && bytes_with(&list, &message) <= bytes_max
                            && others.iter().filter(|m| &*m.publisher == publisher).count() < per_identity_max);
                    prop_assert_eq!(retained.set(&message, &limits).is_ok(), fits);
                    if fits {
                        list = others;
                        if !payload.is_empty() {
                            list.push(message);
                        }
                    }
                }
                Keeping::Find(filter) => {
                    let mut found = Vec::new();
                    retained.matching(&filter, now, |m| found.push((m.topic().to_owned(), m.payload().to_vec())));
                    let mut expected: Vec<_> = list
                        .iter()
                        .filter(|m| !m.is_expired(now) && matches(&filter, m.topic()))
                        .map(|m| (m.topic().to_owned(), m.payload().to_vec()))
                        .collect();
                    found.sort();
                    expected.sort();
                    prop_assert_eq!(found, expected, "{}", filter);
                }
                Keeping::Pass(secs) => now = now.plus_secs(secs),
                Keeping::Sweep => {
                    retained.sweep(now);
                    list.retain(|m| !m.is_expired(now));
                }
            }
            prop_assert_eq!(retained.len(), list.len());
            prop_assert_eq!(
                retained.bytes(),
                list.iter().map(|m| weight(m)).sum::<usize>() + tree_bytes(list.iter())
            );
        }
    }
}

// --- the window ---

fn parcel() -> Parcel {
    let content = Content::Held(kept("t", "x", "anna", None, Time::ZERO));
    Parcel::new(content, QoS::AtLeastOnce, &[], Time::NEVER)
}

fn begin_next(inflight: &mut Inflight, parcel: &Parcel) -> Option<PacketId> {
    let pending = Pending::Acknowledgement(parcel.clone());
    inflight.begin(inflight.next_ordinal(), pending)
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn the_window_is_a_map_in_order_with_identifiers_in_turn(
        // Starts right before the identifiers wrap, or at their beginning.
        used_before in prop_oneof![Just(0_u32), 65_500..65_600_u32],
        receive_maximum in 1..30_u16,
        steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..300),
    ) {
        let (parcel, mut inflight) = (parcel(), Inflight::default());
        let mut last = 0_u16;
        let turn = |last: u16| if last == u16::MAX { 1 } else { last + 1 };
        for _ in 0..used_before {
            let id = begin_next(&mut inflight, &parcel).unwrap();
            inflight.finish(id);
            last = turn(last);
        }
        let mut open: Vec<u16> = Vec::new();
        for (begin, index) in steps {
            if begin && inflight.has_room(inflight.next_ordinal(), receive_maximum) {
                let id = begin_next(&mut inflight, &parcel).unwrap().value();
                prop_assert_eq!(id, turn(last));
                last = id;
                open.push(id);
            } else if !begin && !open.is_empty() {
                let id = open.remove(index.index(open.len()));
                prop_assert!(inflight.finish(PacketId::new(id).unwrap()).is_some());
                prop_assert!(inflight.finish(PacketId::new(id).unwrap()).is_none());
            }
            let listed: Vec<u16> = (0..inflight.span())
                .filter_map(|place| inflight.at(place).unwrap())
                .map(|(id, _)| id.value())
                .collect();
            prop_assert_eq!(&listed, &open);
            prop_assert_eq!(inflight.len(), open.len());
            prop_assert!(inflight.at(inflight.span()).is_none());
            prop_assert!(open.len() <= usize::from(receive_maximum));
            prop_assert!(inflight.span() <= usize::from(receive_maximum) * WINDOW_SPAN_FACTOR);
            for id in &open {
                let entry = inflight.entry(PacketId::new(*id).unwrap());
                prop_assert!(matches!(entry, Some(Pending::Acknowledgement(_))));
            }
            let unknown = PacketId::new(turn(last)).unwrap();
            prop_assert!(inflight.entry(unknown).is_none());
        }
    }

    #[test]
    fn no_span_of_time_has_more_publishes_than_burst_and_rate_allow(
        per_sec in 1..2000_u32,
        burst in 1..50_u32,
        pauses in prop::collection::vec(prop_oneof![4 => Just(0_u64), 2 => 1..200_u64, 1 => 1000..100_000_u64], 1..300),
    ) {
        let mut now = Time::from_millis(5);
        let mut rate = PublishRate::new(burst, now);
        let mut taken: Vec<Time> = Vec::new();
        for pause in pauses {
            now = now.plus_millis(pause);
            match rate.take(per_sec, burst, now) {
                Ok(()) => taken.push(now),
                Err(until) => {
                    prop_assert!(until > now);
                    prop_assert!(until <= now.plus_millis(1 + 1000 / u64::from(per_sec)));
                    let mut later = rate;
                    prop_assert_eq!(later.take(per_sec, burst, until), Ok(()));
                }
            }
        }
        for (from, start) in taken.iter().enumerate() {
            for (to, end) in taken.iter().enumerate().skip(from) {
                let earned = end.millis_since(*start) * u64::from(per_sec);
                let allowed = u64::from(burst) * 1000 + earned;
                prop_assert!((to - from + 1) as u64 * 1000 <= allowed);
            }
        }
    }
}

#[test]
fn a_list_of_identifiers_is_what_it_was_made_of() {
    let ids = [1, 2, 3].map(|id| NonZeroU32::new(id).unwrap());
    for count in 0..=3 {
        assert_eq!(
            SubscriptionIdList::new(&ids[..count]).as_slice(),
            &ids[..count]
        );
    }
}
