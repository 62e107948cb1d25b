//! Append, read, trim, dedup ids, and the log's bounds.

use bytes::Bytes;

use super::{Make, zeroes};
use crate::log::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, DEDUP_ID_BYTES_MAX, READ_BYTES_MAX, READ_RECORDS_MAX,
    RECORD_BYTES_MAX,
};
use crate::{Extent, Page, Part, Position, Record, Sequence, Store, StoreError, Want};

const PART: Part = Part(3);

pub(super) fn run(make: Make<'_>) {
    order_is_kept_and_gapless(&*make());
    parts_are_apart(&*make());
    an_empty_part_and_an_empty_batch(&*make());
    pages_go_on_where_they_ended(&*make());
    wants_select(&*make());
    trim_forgets_the_old_only(&*make());
    a_dedup_id_is_stored_once(&*make());
    a_refused_batch_stores_nothing(&*make());
    batches_are_bounded(&*make());
    pages_are_bounded(&*make());
    writers_at_once_make_no_gap(&*make());
}

fn record(topic: &str, payload: &str) -> Record {
    Record {
        part: PART,
        topic: topic.into(),
        headers: Bytes::from_static(b"h"),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        dedup_id: None,
        takers: 1,
    }
}

fn identified(id: &str, payload: &str) -> Record {
    Record {
        dedup_id: Some(Bytes::copy_from_slice(id.as_bytes())),
        ..record("t", payload)
    }
}

fn records(count: usize) -> Vec<Record> {
    (0..count).map(|n| record("t", &n.to_string())).collect()
}

fn append(store: &dyn Store, batch: Vec<Record>) -> Vec<u64> {
    store
        .append(batch)
        .unwrap()
        .iter()
        .map(|position| position.sequence.0)
        .collect()
}

fn read(store: &dyn Store, from: u64, max: usize, want: &Want<'_>) -> Page {
    store.read(PART, Sequence(from), max, want).unwrap()
}

fn payloads(page: &Page) -> Vec<(u64, String)> {
    let text = |record: &Record| String::from_utf8(record.payload.to_vec()).unwrap();
    page.records
        .iter()
        .map(|(sequence, record)| (sequence.0, text(record)))
        .collect()
}

fn numbers(page: &Page) -> Vec<u64> {
    page.records
        .iter()
        .map(|(sequence, _)| sequence.0)
        .collect()
}

fn extent(first: u64, next: u64) -> Extent {
    Extent {
        first: Sequence(first),
        next: Sequence(next),
    }
}

fn order_is_kept_and_gapless(store: &dyn Store) {
    assert_eq!(append(store, records(3)), [1, 2, 3]);
    let positions = store.append(vec![record("a/b", "x")]).unwrap();
    assert_eq!(
        positions,
        [Position {
            part: PART,
            sequence: Sequence(4)
        }]
    );
    let page = read(store, 1, 100, &Want::All);
    let expected = [(1, "0"), (2, "1"), (3, "2"), (4, "x")].map(|(n, text)| (n, text.to_owned()));
    assert_eq!(payloads(&page), expected);
    assert_eq!(
        page.records[3].1,
        record("a/b", "x"),
        "every field comes back"
    );
    assert_eq!((page.next, page.extent), (Sequence(5), extent(1, 5)));
    assert_eq!(store.head(PART), Ok(extent(1, 5)));
}

fn parts_are_apart(store: &dyn Store) {
    let other = |payload| Record {
        part: Part(9),
        ..record("t", payload)
    };
    let positions = store
        .append(vec![record("t", "a"), other("b"), record("t", "c")])
        .unwrap();
    let places: Vec<_> = positions
        .iter()
        .map(|position| (position.part.0, position.sequence.0))
        .collect();
    assert_eq!(places, [(3, 1), (9, 1), (3, 2)]);
    assert_eq!(
        payloads(&read(store, 1, 9, &Want::All)),
        [(1, "a".to_owned()), (2, "c".to_owned())]
    );
    assert_eq!(store.head(Part(9)), Ok(extent(1, 2)));
}

fn an_empty_part_and_an_empty_batch(store: &dyn Store) {
    assert_eq!(append(store, Vec::new()), []);
    let page = read(store, 1, 10, &Want::All);
    assert_eq!(
        (page.records.len(), page.next, page.extent),
        (0, Sequence(1), extent(1, 1))
    );
    store.trim(PART, Sequence(100)).unwrap();
    assert_eq!(
        append(store, records(1)),
        [1],
        "a trim of nothing skips no number"
    );
}

fn pages_go_on_where_they_ended(store: &dyn Store) {
    append(store, records(10));
    let first = read(store, 3, 4, &Want::All);
    assert_eq!(
        (numbers(&first), first.next),
        (vec![3, 4, 5, 6], Sequence(7))
    );
    let rest = read(store, 7, 100, &Want::All);
    assert_eq!(
        (numbers(&rest), rest.next),
        (vec![7, 8, 9, 10], Sequence(11))
    );
    let none = read(store, 11, 100, &Want::All);
    assert_eq!((numbers(&none), none.next), (vec![], Sequence(11)));
    let beyond = read(store, 99, 100, &Want::All);
    assert_eq!((numbers(&beyond), beyond.next), (vec![], Sequence(11)));
    let nothing = read(store, 3, 0, &Want::All);
    assert_eq!((numbers(&nothing), nothing.next), (vec![], Sequence(3)));
}

fn wants_select(store: &dyn Store) {
    append(
        store,
        ["a", "b", "a", "c", "a"]
            .map(|topic| record(topic, "x"))
            .to_vec(),
    );
    let is_a = |topic: &str| topic == "a";
    assert_eq!(numbers(&read(store, 1, 9, &Want::Topics(&is_a))), [1, 3, 5]);
    let two = read(store, 1, 2, &Want::Topics(&is_a));
    assert_eq!(numbers(&two), [1, 3]);
    assert_eq!(
        numbers(&read(store, two.next.0, 9, &Want::Topics(&is_a))),
        [5]
    );
    let wanted = [2, 4, 5, 77].map(Sequence);
    let page = read(store, 3, 9, &Want::Exact(&wanted));
    assert_eq!((numbers(&page), page.next), (vec![4, 5], Sequence(6)));
    assert_eq!(read(store, 1, 1, &Want::Exact(&wanted)).next, Sequence(4));
}

fn trim_forgets_the_old_only(store: &dyn Store) {
    append(store, records(10));
    store.trim(PART, Sequence(4)).unwrap();
    assert_eq!(store.head(PART), Ok(extent(4, 11)));
    let page = read(store, 1, 2, &Want::All);
    assert_eq!(
        (numbers(&page), page.extent.first),
        (vec![4, 5], Sequence(4))
    );
    assert_eq!(
        numbers(&read(
            store,
            1,
            9,
            &Want::Exact(&[Sequence(2), Sequence(6)])
        )),
        [6]
    );
    store.trim(PART, Sequence(2)).unwrap();
    assert_eq!(
        store.head(PART),
        Ok(extent(4, 11)),
        "a trim never goes back"
    );
    store.trim(PART, Sequence(1000)).unwrap();
    assert_eq!(store.head(PART), Ok(extent(11, 11)));
    assert_eq!(append(store, records(1)), [11]);
}

fn a_dedup_id_is_stored_once(store: &dyn Store) {
    assert_eq!(
        append(store, vec![identified("a", "1"), identified("b", "2")]),
        [1, 2]
    );
    assert_eq!(
        append(
            store,
            vec![identified("c", "3"), identified("a", "4"), record("t", "5")]
        ),
        [3, 1, 4]
    );
    assert_eq!(
        append(store, vec![identified("d", "6"), identified("d", "7")]),
        [5, 5]
    );
    let elsewhere = Record {
        part: Part(9),
        ..identified("a", "8")
    };
    assert_eq!(append(store, vec![elsewhere]), [1], "ids are of their part");
    let kept: Vec<_> = payloads(&read(store, 1, 9, &Want::All))
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(kept, ["1", "2", "3", "5", "6"]);
    store.trim(PART, Sequence(4)).unwrap();
    assert_eq!(
        append(store, vec![identified("a", "9")]),
        [1],
        "also after its record was trimmed"
    );
}

fn a_refused_batch_stores_nothing(store: &dyn Store) {
    let too_large = Record {
        payload: zeroes(RECORD_BYTES_MAX),
        ..record("t", "")
    };
    let bytes = too_large.size();
    let error = store.append(vec![record("t", "a"), too_large]).unwrap_err();
    assert_eq!(error, StoreError::RecordTooLarge { index: 1, bytes });
    assert_eq!(store.head(PART), Ok(extent(1, 1)));
}

fn batches_are_bounded(store: &dyn Store) {
    assert_eq!(
        append(store, records(BATCH_RECORDS_MAX)).len(),
        BATCH_RECORDS_MAX
    );
    let error = store.append(records(BATCH_RECORDS_MAX + 1)).unwrap_err();
    assert!(
        matches!(error, StoreError::BatchTooLarge { records, .. } if records == BATCH_RECORDS_MAX + 1)
    );
    // Topic and headers are two bytes.
    let half = |extra| Record {
        payload: zeroes(BATCH_BYTES_MAX / 2 - 2 + extra),
        ..record("t", "")
    };
    assert!(store.append(vec![half(0), half(0)]).is_ok());
    let error = store.append(vec![half(0), half(1)]).unwrap_err();
    assert_eq!(
        error,
        StoreError::BatchTooLarge {
            records: 2,
            bytes: BATCH_BYTES_MAX + 1
        }
    );
    let largest = |extra| Record {
        payload: zeroes(RECORD_BYTES_MAX - 2 + extra),
        ..record("t", "")
    };
    assert!(
        store.append(vec![largest(0)]).is_ok(),
        "one large record is a batch alone"
    );
    assert!(matches!(
        store.append(vec![largest(1)]),
        Err(StoreError::RecordTooLarge { index: 0, .. })
    ));
    assert!(
        store
            .append(vec![identified(&"i".repeat(DEDUP_ID_BYTES_MAX), "x")])
            .is_ok()
    );
    let long = store.append(vec![identified(&"i".repeat(DEDUP_ID_BYTES_MAX + 1), "x")]);
    assert!(matches!(long, Err(StoreError::RecordTooLarge { .. })));
}

fn pages_are_bounded(store: &dyn Store) {
    append(store, records(BATCH_RECORDS_MAX));
    append(store, records(BATCH_RECORDS_MAX));
    assert_eq!(
        read(store, 1, usize::MAX, &Want::All).records.len(),
        READ_RECORDS_MAX
    );
    let after = 2 * BATCH_RECORDS_MAX as u64 + 1;
    for _ in 0..3 {
        append(
            store,
            vec![Record {
                payload: zeroes(READ_BYTES_MAX / 2),
                ..record("t", "")
            }],
        );
    }
    let page = read(store, after, usize::MAX, &Want::All);
    assert_eq!(
        (numbers(&page), page.next),
        (vec![after, after + 1], Sequence(after + 2))
    );
}

fn writers_at_once_make_no_gap(store: &dyn Store) {
    let mut all: Vec<u64> = std::thread::scope(|scope| {
        let write = || {
            (0..100)
                .flat_map(|_| append(store, records(3)))
                .collect::<Vec<_>>()
        };
        let writers = [
            scope.spawn(write),
            scope.spawn(write),
            scope.spawn(write),
            scope.spawn(write),
        ];
        writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap())
            .collect()
    });
    all.sort_unstable();
    assert_eq!(all, (1..=1200).collect::<Vec<_>>());
    let texts: String = payloads(&read(store, 1, 1200, &Want::All))
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    assert_eq!(texts, "012".repeat(400), "batches are not torn apart");
}
