//! What is read back: in the order asked, and never more than there is room for.

use super::*;

#[test]
fn loads_bring_messages_in_the_order_asked_and_tell_what_is_missing() {
    let rig = rig(Moody::default());
    let writes = vec![
        append(position(0, 1), b"one"),
        append(position(0, 2), b"two"),
    ];
    rig.storage.submit(shard(0), batch(1, writes));
    assert_eq!(rig.ticket(0), 1);
    let asked = [position(0, 2), position(0, 7), position(0, 1)];
    rig.storage.load(shard(1), load("g", &asked)).unwrap();
    let loaded = rig.loaded(1);
    assert_eq!(loaded.to, LoadFor::Group("g".into()));
    let payloads: Vec<_> = loaded
        .messages
        .iter()
        .map(|(at, message)| (*at, message.as_ref().map(|message| message.payload())))
        .collect();
    assert_eq!(
        payloads,
        [
            (asked[0], Some(&b"two"[..])),
            (asked[1], None),
            (asked[2], Some(&b"one"[..]))
        ]
    );
    assert_eq!(
        rig.event(),
        Event::StoreMessageMissing {
            part: 0,
            sequence: 7
        }
    );
    let report = rig.storage.report();
    assert_eq!(
        (
            report.loaded_total,
            report.missing_total,
            report.records_total
        ),
        (3, 1, 2)
    );
    rig.storage.stop().unwrap();
}

#[test]
fn loads_without_room_come_back_to_the_shard() {
    let rig = rig(Moody::default());
    // The reader waits for an inbox that nobody empties, and then its own queue is full.
    let mut refused = None;
    for _ in 0..100_000 {
        if let Err(load) = rig.storage.load(shard(0), load("g", &[])) {
            refused = Some(load);
            break;
        }
    }
    assert_eq!(
        refused.map(|load| load.to),
        Some(LoadFor::Group("g".into()))
    );
    drop(rig.inboxes);
    rig.storage.stop().unwrap();
}
