//! A disk that is slow, full or broken: who waits, who is told, and what goes on.

use super::*;

/// A service whose first commits fail like this as soon as the test lets them go on.
fn about_to_fail<const N: usize>(moods: [StoreError; N]) -> Rig {
    let store = Moody::failing(moods);
    store.stall(true);
    rig(store)
}

#[test]
fn publishers_wait_while_too_much_is_not_committed() {
    let rig = rig(Moody::default());
    rig.store.stall(true);
    assert_eq!(rig.storage.state(shard(0)), StoreState::Ready);
    let writes = (0..17).map(|_| Write::PutRetained(message(&vec![0; 1 << 20])));
    rig.storage.submit(shard(0), batch(1, writes.collect()));
    assert_eq!(rig.storage.state(shard(0)), StoreState::Behind);
    assert_eq!(rig.storage.state(shard(1)), StoreState::Ready);
    assert!(rig.storage.report().pending_bytes > STORE_PENDING_BYTES_MAX);
    rig.store.stall(false);
    assert_eq!(rig.ticket(0), 1);
    assert_eq!(rig.storage.state(shard(0)), StoreState::Ready);
    assert_eq!(rig.storage.report().pending_bytes, 0);
    rig.storage.stop().unwrap();
}

#[test]
fn nothing_is_said_while_the_disk_is_full_and_all_of_it_when_there_is_room() {
    let rig = about_to_fail([StoreError::DiskFull, StoreError::DiskFull]);
    rig.openings.lock().unwrap().push_back(StoreError::DiskFull);
    rig.storage
        .submit(shard(0), batch(1, vec![append(position(0, 1), b"x")]));
    rig.store.stall(false);
    assert!(matches!(rig.event(), Event::StoreFull { .. }));
    assert_eq!(rig.storage.state(shard(1)), StoreState::Full);
    rig.storage.submit(shard(0), retain(2, b"y"));
    // Opened in vain, opened and full again, opened and done.
    assert!(matches!(rig.event(), Event::StoreRecovered { .. }));
    assert_eq!(rig.opened.load(Ordering::SeqCst), 3);
    assert_eq!(rig.ticket(0), 1);
    assert_eq!(rig.ticket(0), 2);
    assert_eq!(rig.storage.state(shard(1)), StoreState::Ready);
    assert_eq!(rig.storage.report().full_total, 1);
    rig.storage.stop().unwrap();
}

#[test]
fn a_failed_disk_is_told_and_nothing_is_committed_after_it() {
    let cause = "fsync: input/output error".to_owned();
    let rig = rig(Moody::failing([StoreError::Broken { cause }]));
    rig.storage.submit(shard(0), retain(1, b"a"));
    rig.storage.submit(shard(0), retain(2, b"b"));
    match rig.event() {
        Event::StoreFailed { cause } => assert!(cause.contains("input/output error")),
        other => panic!("{other:?}"),
    }
    rig.until(|rig| rig.storage.failure().is_some());
    let error = rig.storage.stop().unwrap_err();
    assert!(error.to_string().contains("input/output error"), "{error}");
    assert!(rig.store.commits.lock().unwrap().is_empty());
    assert!(rig.inboxes[0].receive().is_none());
}

#[test]
fn a_store_that_cannot_be_opened_again_has_failed() {
    let rig = about_to_fail([StoreError::DiskFull]);
    rig.openings.lock().unwrap().push_back(StoreError::Broken {
        cause: "gone".to_owned(),
    });
    rig.storage.submit(shard(0), retain(1, b"a"));
    rig.store.stall(false);
    assert!(matches!(rig.event(), Event::StoreFull { .. }));
    assert!(matches!(rig.event(), Event::StoreFailed { .. }));
    assert!(rig.storage.stop().is_err());
}

#[test]
fn a_full_disk_does_not_keep_the_broker_from_stopping() {
    let rig = about_to_fail([StoreError::DiskFull]);
    rig.openings
        .lock()
        .unwrap()
        .extend(std::iter::repeat_n(StoreError::DiskFull, 1000));
    rig.storage.submit(shard(0), retain(1, b"a"));
    rig.store.stall(false);
    assert!(matches!(rig.event(), Event::StoreFull { .. }));
    rig.storage.stop().unwrap();
    assert!(rig.inboxes[0].receive().is_none());
}

#[test]
fn a_store_over_its_limit_is_full_until_it_is_not() {
    let rig = rig(Moody::default());
    rig.store.size.store(1001, Ordering::SeqCst);
    rig.storage.submit(shard(0), retain(1, b"a"));
    assert_eq!(
        rig.event(),
        Event::StoreOverLimit {
            bytes: 1001,
            limit: 1000
        }
    );
    assert_eq!(rig.storage.state(shard(0)), StoreState::Full);
    assert!(rig.storage.report().is_over_limit && !rig.storage.report().is_full);
    rig.store.size.store(1000, Ordering::SeqCst);
    rig.storage.submit(shard(0), retain(2, b"a"));
    assert_eq!(
        rig.event(),
        Event::StoreWithinLimit {
            bytes: 1000,
            limit: 1000
        }
    );
    assert_eq!(rig.storage.state(shard(0)), StoreState::Ready);
    // Who waits in another shard hears of it.
    assert_eq!(rig.ticket(1), 0);
    rig.storage.stop().unwrap();
}
