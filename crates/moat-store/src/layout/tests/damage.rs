//! Bytes that are not what they have to be.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use moat_core::Time;
use moat_core::durable::{Batch, Place, Position, Progress, QueueId, SessionRecord, Taker, Write};
use moat_core::message::MessageParts;
use moat_core::session::Will;
use moat_core::session::parcel::SubscriptionIdList;
use moat_core::session::will::WillParts;
use moat_policy::Identity;

use crate::layout::{LoadError, Malformed, encode, forget_deals, keys, load};
use crate::{Expect, MemoryStore, Part, Record, Sequence, Store, Write as EngineWrite};

const NOW: Time = Time::from_millis(1_700_000_000_000);
const QUEUE: QueueId = QueueId(1);

fn message() -> Arc<moat_core::Message> {
    Arc::new(moat_core::Message::of_parts(&MessageParts {
        topic: "t",
        properties: b"",
        payload: b"p",
        qos: moat_codec::QoS::AtLeastOnce,
        retain: false,
        expires_at: None,
        publisher: &"anna".into(),
    }))
}

fn taker(queue: QueueId, place: Place) -> Taker {
    Taker {
        queue,
        place,
        qos: moat_codec::QoS::AtLeastOnce,
        retain: false,
        ids: SubscriptionIdList::None,
        group: None,
    }
}

/// One of everything.
fn writes() -> Vec<Write> {
    let position = Position {
        part: 0,
        sequence: 1,
    };
    vec![
        Write::PutSession(
            QUEUE,
            Box::new(SessionRecord {
                identity: Arc::new(Identity::from_password("anna")),
                client_id: "c".into(),
                expiry_secs: 10,
                offline_since: Some(NOW),
            }),
        ),
        Write::PutGroup(QueueId(2), "$share/g/t".into()),
        Write::PutSubscription {
            queue: QUEUE,
            filter: "t".into(),
            options: Default::default(),
            id: None,
        },
        Write::PutProgress(QUEUE, Box::default()),
        Write::PutInbound(QUEUE, moat_codec::PacketId::MIN),
        Write::PutWill(
            QUEUE,
            1,
            Arc::new(Will::of_parts(&WillParts {
                topic: "w",
                payload: b"",
                properties: b"",
                qos: moat_codec::QoS::AtMostOnce,
                retain: false,
                delay_secs: 0,
                message_expiry_secs: None,
            })),
        ),
        Write::PutRetained(message()),
        Write::Append {
            position,
            message: message(),
            takers: vec![taker(QueueId(2), Place::Arrival(0))],
        },
        Write::Deal {
            position,
            from: (QueueId(2), Place::Arrival(0)),
            to: taker(QUEUE, Place::Arrival(0)),
        },
    ]
}

fn store() -> MemoryStore {
    let store = MemoryStore::default();
    let batch = Batch {
        ticket: 1,
        writes: writes(),
    };
    store.commit(encode(&batch, NOW), now()).unwrap();
    store
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH
}

fn put(store: &MemoryStore, bucket: &str, key: &[u8], value: Vec<u8>) {
    store
        .put(bucket, key, value.into(), Expect::Any, None, now())
        .unwrap();
}

#[test]
fn one_of_everything_is_loaded() {
    let loaded = load(&store(), NOW).unwrap();
    assert_eq!(loaded.tally.entries, 1);
    assert_eq!(loaded.tally.removed, 0);
    assert_eq!(loaded.restored.sessions[0].entries.len(), 1);
}

#[test]
fn a_value_cut_anywhere_or_with_more_behind_it_is_named() {
    for bucket in keys::BUCKETS {
        let whole = store();
        let entry = whole
            .scan(bucket, b"", None, 1, now())
            .unwrap()
            .entries
            .remove(0);
        let value = entry.versioned.value.to_vec();
        for length in 0..value.len() {
            let store = store();
            put(&store, bucket, &entry.key, value[..length].to_vec());
            match load(&store, NOW) {
                Err(LoadError::Damaged { bucket: named, .. }) => assert_eq!(named, bucket),
                // A filter, a payload or a will's payload is all that is left, however long.
                Ok(_) => assert!([keys::GROUPS, keys::RETAINED, keys::WILLS].contains(&bucket)),
                Err(error) => panic!("{bucket} cut to {length}: {error}"),
            }
        }
        if [keys::GROUPS, keys::RETAINED, keys::WILLS].contains(&bucket) {
            continue;
        }
        let store = store();
        put(&store, bucket, &entry.key, [&value[..], b"x"].concat());
        assert!(matches!(load(&store, NOW), Err(LoadError::Damaged { .. })));
    }
}

#[test]
fn a_value_of_a_later_version_is_named() {
    for bucket in keys::BUCKETS {
        let store = store();
        let entry = store
            .scan(bucket, b"", None, 1, now())
            .unwrap()
            .entries
            .remove(0);
        let mut value = entry.versioned.value.to_vec();
        value[0] = 2;
        put(&store, bucket, &entry.key, value);
        let error = load(&store, NOW).unwrap_err();
        assert!(
            matches!(
                error,
                LoadError::Damaged {
                    what: Malformed::Version(2),
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn a_key_that_is_none_is_named() {
    for bucket in keys::BUCKETS {
        if bucket == keys::META {
            continue;
        }
        let store = store();
        let entry = store
            .scan(bucket, b"", None, 1, now())
            .unwrap()
            .entries
            .remove(0);
        put(&store, bucket, b"\xFF", entry.versioned.value.to_vec());
        let error = load(&store, NOW).unwrap_err();
        assert!(error.to_string().contains(bucket), "{error}");
        assert!(error.to_string().contains("key ff"), "{error}");
    }
}

#[test]
fn a_later_layout_is_refused() {
    let store = store();
    put(
        &store,
        keys::META,
        keys::VERSION,
        [&[1][..], &2_u64.to_be_bytes()].concat(),
    );
    assert_eq!(
        load(&store, NOW).unwrap_err(),
        LoadError::NewerLayout { found: 2 }
    );
}

#[test]
fn a_record_with_damaged_headers_is_named() {
    let store = store();
    let record = Record {
        part: Part(3),
        topic: "t".into(),
        headers: Bytes::from_static(&[1, 0xFF]),
        payload: Bytes::new(),
        dedup_id: None,
        takers: 1,
    };
    let at = Some(Sequence::FIRST);
    store
        .commit(vec![EngineWrite::Append { at, record }], now())
        .unwrap();
    let error = load(&store, NOW).unwrap_err();
    assert!(matches!(
        error,
        LoadError::DamagedRecord {
            part: 3,
            sequence: 1,
            ..
        }
    ));
}

#[test]
fn a_queue_of_a_start_that_is_yet_to_come_is_an_error() {
    let store = MemoryStore::default();
    let session = QueueId::new(1, 0, 0);
    let Write::PutSession(_, record) = writes().remove(0) else {
        panic!("the first write is a session");
    };
    let batch = Batch {
        ticket: 1,
        writes: vec![Write::PutSession(session, record)],
    };
    store.commit(encode(&batch, NOW), now()).unwrap();
    assert!(matches!(
        load(&store, NOW),
        Err(LoadError::Damaged {
            bucket: keys::SESSIONS,
            ..
        })
    ));
}

#[test]
fn an_inspection_changes_nothing() {
    let store = store();
    let inspected = crate::layout::inspect(&store, NOW).unwrap();
    assert_eq!(inspected.tally, load(&store, NOW).unwrap().tally);
    assert_eq!(inspected.live.len(), 1);
    assert_eq!(load(&store, NOW).unwrap().restored.start, 2);
}

#[test]
fn a_failed_load_changes_nothing() {
    let store = store();
    put(&store, keys::WILLS, &[0; 8], vec![9]);
    assert!(load(&store, NOW).is_err());
    assert_eq!(store.get(keys::META, keys::STARTS, now()).unwrap(), None);
}

#[test]
fn what_belongs_to_nothing_is_removed_and_counted() {
    let store = store();
    let batch = Batch {
        ticket: 2,
        writes: vec![
            Write::PutInbound(QueueId(8), moat_codec::PacketId::MIN),
            Write::PutProgress(QueueId(9), Box::default()),
        ],
    };
    store.commit(encode(&batch, NOW), now()).unwrap();
    assert_eq!(load(&store, NOW).unwrap().tally.removed, 2);
    assert_eq!(load(&store, NOW).unwrap().tally.removed, 0);
}

#[test]
fn deals_go_with_their_records() {
    let store = store();
    assert_eq!(forget_deals(&store, NOW).unwrap(), 0);
    store.trim(Part(0), Sequence(2)).unwrap();
    assert_eq!(forget_deals(&store, NOW).unwrap(), 1);
    assert_eq!(load(&store, NOW).unwrap().tally.entries, 0);
}

#[test]
fn an_entry_that_came_back_to_its_place_is_there() {
    let store = store();
    let position = Position {
        part: 0,
        sequence: 1,
    };
    let group = taker(QueueId(2), Place::Arrival(0));
    let batch = Batch {
        ticket: 2,
        writes: vec![Write::Deal {
            position,
            from: (QUEUE, Place::Arrival(0)),
            to: group.clone(),
        }],
    };
    store.commit(encode(&batch, NOW), now()).unwrap();
    let loaded = load(&store, NOW).unwrap().restored;
    assert_eq!(loaded.groups[0].entries[0].taker, group);
    assert!(loaded.sessions[0].entries.is_empty());
}

#[test]
fn a_message_that_its_client_has_is_not_owed_though_it_is_not_complete() {
    let store = store();
    let progress = Progress {
        next_arrival: 1,
        received: vec![0],
        ..Progress::default()
    };
    let batch = Batch {
        ticket: 2,
        writes: vec![Write::PutProgress(QUEUE, Box::new(progress))],
    };
    store.commit(encode(&batch, NOW), now()).unwrap();
    let loaded = load(&store, NOW).unwrap();
    assert_eq!(loaded.tally.entries, 0);
    assert_eq!(loaded.restored.sessions[0].progress.received, [0]);
    assert!(loaded.restored.sessions[0].entries.is_empty());
}
