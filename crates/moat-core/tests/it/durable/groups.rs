//! What waits in a group, what it has dealt, and who is sent it after a crash.

use super::*;

const JOBS: &str = "$share/workers/jobs";

#[test]
fn what_waits_in_a_group_of_durable_members_survives() {
    on_any_arrangement(|mut world, later| {
        subscriber_away(&mut world, "member", JOBS, 2);
        let writer = world.client(V5, "writer");
        publish_numbers(&mut world, writer, "jobs", 30);
        world.crash(later, 1);
        let member = resumed(&mut world, "member");
        let first = world.read(member).len();
        assert_eq!(first, 20, "its window");
        world.crash(later, 1);
        let member = resumed(&mut world, "member");
        let messages = world.read_all(member);
        assert_eq!(texts(&messages), numbers(0..30));
        assert_eq!(messages.iter().filter(|m| m.dup).count(), 20);
        world.unsubscribe(member, JOBS);
        world.lose(member);
        world.pass_secs(2);
        assert_eq!(world.stored().records(), 0);
    });
}

#[test]
fn a_group_keeps_what_it_has_dealt_to_a_session_that_keeps_nothing_until_that_has_it() {
    on_any_arrangement(|mut world, later| {
        subscriber_away(&mut world, "lasting", JOBS, 1);
        let writer = world.client(V5, "writer");
        for n in 0..4 {
            world.publish(writer, "jobs", &n.to_string(), 1);
        }
        let passing = world.client(V5, "passing");
        world.subscribe(passing, JOBS, 1);
        let dealt = world.messages(passing);
        assert_eq!(texts(&dealt), ["0", "1", "2", "3"]);
        world.puback(passing, dealt[1].id);
        world.crash(later, 1);
        assert_eq!(found_by(&mut world, "lasting"), ["0", "2", "3"]);
        world.pass_secs(2);
        assert_eq!(world.stored().records(), 0);
    });
}

#[test]
fn mqtt5_4_8_2_5__what_a_group_has_dealt_at_qos_2_and_was_sent_comes_to_nobody_else() {
    on_any_arrangement(|mut world, later| {
        subscriber_away(&mut world, "lasting", JOBS, 2);
        let writer = world.client(V5, "writer");
        world.publish(writer, "jobs", "once", 2);
        let passing = world.client(V5, "passing");
        world.subscribe(passing, JOBS, 2);
        assert_eq!(texts(&world.messages(passing)), ["once"]);
        world.crash(later, 1);
        assert!(found_by(&mut world, "lasting").is_empty());
    });
}

#[test]
fn a_dealt_message_that_expires_before_it_is_sent_makes_room_for_the_next() {
    on_any_arrangement(|mut world, _| {
        let (reader, _) = world.connected(&taking(1, "busy"));
        world.subscribe(reader, JOBS, 1);
        let writer = world.client(V5, "writer");
        world.publish(writer, "jobs", "first", 1);
        let first = world.messages(reader);
        for (text, expiry) in [("short", Some(1)), ("long", None)] {
            world.publish_with(writer, "jobs", text, 1, |publish| {
                publish.message_expiry_secs = expiry;
            });
        }
        // It is dealt, and its time passes while it waits for the disk.
        world.commits = false;
        world.puback(reader, first[0].id);
        world.pass_secs(2);
        world.commits = true;
        world.settle_store();
        world.settle_store();
        assert_eq!(texts(&world.messages(reader)), ["long"]);
    });
}

#[test]
fn a_message_that_goes_from_session_to_session_of_a_group_stays_one_entry() {
    on_any_arrangement(|mut world, later| {
        subscriber_away(&mut world, "lasting", JOBS, 2);
        let writer = world.client(V5, "writer");
        world.publish(writer, "jobs", "once", 2);
        // A member that cannot be sent it now: it waits in its queue, and goes back.
        let mut connect = taking(1, "busy");
        connect.clean_start = true;
        connect.properties.session_expiry_secs = None;
        let busy = world.connect(&connect);
        world.subscribe(busy, "busy", 1);
        world.publish(writer, "busy", "first", 1);
        world.subscribe(busy, JOBS, 2);
        world.lose(busy);
        world.crash(later, 1);
        assert_eq!(found_by(&mut world, "lasting"), ["once"]);
        world.pass_secs(2);
        assert_eq!(world.stored().records(), 0);
    });
}
