//! What becomes one commit, when it is written, and what is written without being asked for.

use super::*;

#[test]
fn what_came_during_a_commit_is_one_commit() {
    let rig = rig(Moody::default());
    rig.store.stall(true);
    rig.storage.submit(shard(0), retain(1, b"a"));
    rig.until(|rig| rig.store.begun.load(Ordering::SeqCst) == 1);
    for ticket in 2..=5 {
        rig.storage.submit(shard(0), retain(ticket, b"b"));
    }
    rig.storage.submit(shard(1), retain(1, b"c"));
    rig.store.stall(false);
    assert_eq!(rig.ticket(0), 1);
    assert_eq!(rig.ticket(0), 5);
    assert_eq!(rig.ticket(1), 1);
    // Each with the moment it was made.
    assert_eq!(*rig.store.commits.lock().unwrap(), [2, 6]);
    rig.storage.stop().unwrap();
}

#[test]
fn a_commit_takes_no_more_than_its_bytes() {
    let rig = rig_with(Moody::default(), |setup| setup.commit_bytes_max = 3000);
    rig.store.stall(true);
    for ticket in 1..=5 {
        rig.storage.submit(shard(0), retain(ticket, &[0; 1200]));
    }
    rig.store.stall(false);
    while rig.ticket(0) < 5 {}
    assert!(
        rig.store
            .commits
            .lock()
            .unwrap()
            .iter()
            .all(|count| *count <= 4)
    );
    rig.storage.stop().unwrap();
}

#[test]
fn a_commit_waits_for_more_as_long_as_it_may() {
    let wait = Duration::from_secs(3600);
    let rig = rig_with(Moody::default(), |setup| {
        (setup.commit_wait, setup.commit_bytes_max) = (wait, 3000);
    });
    for ticket in 1..=3 {
        rig.storage.submit(shard(0), retain(ticket, &[0; 1200]));
    }
    // Full before the hour is over.
    assert_eq!(rig.ticket(0), 3);
    assert_eq!(*rig.store.commits.lock().unwrap(), [4]);
    rig.storage.submit(shard(0), retain(4, b"a"));
    // The end does not wait.
    rig.storage.stop().unwrap();
    assert_eq!(rig.ticket(0), 4);
}

#[test]
fn what_a_start_has_to_write_is_one_commit_before_anything_else() {
    let mut opening = opening(true);
    opening.batches = vec![
        (shard(0), retain(1, &[0; 2000])),
        (shard(1), retain(1, &[0; 2000])),
    ];
    let beat = Duration::from_millis(1);
    // Each of them is more than a commit gathers.
    let rig = rig_beating(beat, opening, Moody::default(), |setup| {
        setup.commit_bytes_max = 1000;
    });
    assert_eq!((rig.ticket(0), rig.ticket(1)), (1, 1));
    // With the moment, which is not written before.
    assert_eq!(rig.store.commits.lock().unwrap()[0], 3);
    rig.storage.stop().unwrap();
}

#[test]
fn a_broker_with_durable_sessions_says_that_it_lives() {
    let beat = Duration::from_millis(1);
    let rig = rig_beating(beat, opening(true), Moody::default(), |_| {});
    rig.until(|rig| rig.store.commits.lock().unwrap().len() > 3);
    rig.storage.stop().unwrap();
    let alive = rig.store.store.get("meta", b"alive-at", SystemTime::now());
    assert!(alive.unwrap().is_some());
}

#[test]
fn a_broker_without_durable_sessions_leaves_the_disk_alone() {
    let beat = Duration::from_millis(1);
    let rig = rig_beating(beat, opening(false), Moody::default(), |_| {});
    // The size is looked at with every beat.
    rig.store.size.store(1001, Ordering::SeqCst);
    assert!(matches!(rig.event(), Event::StoreOverLimit { .. }));
    assert!(rig.store.commits.lock().unwrap().is_empty());
    rig.storage.stop().unwrap();
}

#[test]
fn deals_of_messages_that_are_gone_go_too() {
    let beat = Duration::from_millis(1);
    let rig = rig_beating(beat, opening(false), Moody::default(), |_| {});
    let at = position(0, 1);
    let Write::Append { takers, .. } = append(at, b"x") else {
        panic!("an append");
    };
    let deal = Write::Deal {
        position: at,
        from: (QueueId(2), Place::Arrival(0)),
        to: takers[0].clone(),
    };
    rig.storage
        .submit(shard(0), batch(1, vec![append(at, b"x"), deal]));
    assert_eq!(rig.ticket(0), 1);
    let deals = |rig: &Rig| {
        let page = rig
            .store
            .store
            .scan("deals", b"", None, 10, SystemTime::UNIX_EPOCH);
        page.unwrap().entries.len()
    };
    assert_eq!(deals(&rig), 1);
    rig.store.store.trim(Part(0), Sequence(2)).unwrap();
    rig.until(|rig| deals(rig) == 0);
    rig.storage.stop().unwrap();
}

#[test]
fn a_batch_larger_than_the_engine_takes_is_committed_in_pieces() {
    let rig = rig(Moody::default());
    let writes = (1..=70_000).map(|n| Write::Release(position(9, n)));
    rig.storage.submit(shard(0), batch(1, writes.collect()));
    assert_eq!(rig.ticket(0), 1);
    assert_eq!(*rig.store.commits.lock().unwrap(), [65_536, 4465]);
    rig.storage.stop().unwrap();
}

#[test]
fn what_was_handed_in_before_the_end_is_committed() {
    let rig = rig(Moody::default());
    for ticket in 1..=100 {
        rig.storage.submit(shard(0), retain(ticket, b"a"));
    }
    rig.storage.stop().unwrap();
    let writes: usize = rig.store.commits.lock().unwrap().iter().sum();
    assert!(writes > 100);
    let page = rig
        .store
        .store
        .scan("retained", b"", None, 10, SystemTime::UNIX_EPOCH);
    let entries: Vec<Entry> = page.unwrap().entries;
    assert_eq!(entries.len(), 1);
}
