//! Loss, repeats and order: what comes too seldom, too often or too late.

use super::*;

#[test]
fn an_acknowledged_message_that_never_came_is_lost() {
    let mut story = Story::new();
    story
        .published(1, ONCE)
        .published(3, ONCE)
        .restarted()
        .got(3, ONCE, false);
    let lost = story.has_only(Fault::Lost);
    assert_eq!(lost.message, Some(id(PUBLISHER, 1)));
    assert_eq!(lost.client, Some(SUBSCRIBER));
    let told = story.verdict().to_string();
    for part in [
        "Lost: message 1 of client 1 on a/odd, for client 7",
        "message 1 of client 1 is acknowledged by PubAck",
        "the broker crashed",
        "client 7 subscribed to a/#",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn a_message_of_qos_2_is_lost_from_pubrec_on() {
    let mut story = Story::new();
    story.sent(2, EXACTLY).event(Event::Acknowledged {
        message: id(PUBLISHER, 2),
        by: Acknowledgement::PubRec,
    });
    story.has_only(Fault::Lost);
}

#[test]
fn what_was_not_acknowledged_may_be_lost() {
    let mut story = Story::new();
    story.sent(1, ONCE).sent(2, EXACTLY).restarted();
    story.is_clean();
}

#[test]
fn nothing_is_owed_before_the_suback_and_after_the_end() {
    let mut story = Story::new();
    let unsubscribed = Event::Unsubscribed {
        subscriber: SUBSCRIBER,
        filter: "a/#".into(),
    };
    story
        .connected(8, false)
        .published(1, ONCE)
        .got(1, ONCE, false)
        .subscribed(8, "a/#");
    story.published(3, ONCE).event(unsubscribed);
    story
        .event(Event::SessionEnded { client: 8 })
        .connected(8, false);
    story.is_clean();
}

#[test]
fn qos_2_taken_twice_is_doubled_with_dup_and_without() {
    for dup in [false, true] {
        let mut story = Story::new();
        story
            .published(2, EXACTLY)
            .got(2, EXACTLY, false)
            .restarted()
            .got(2, EXACTLY, dup);
        story.has_only(Fault::Doubled);
    }
}

#[test]
fn a_publisher_that_sends_qos_2_again_does_not_excuse_a_double() {
    let mut story = Story::new();
    story
        .sent(2, EXACTLY)
        .restarted()
        .sent(2, EXACTLY)
        .acknowledged(2);
    story.got(2, EXACTLY, false).got(2, EXACTLY, false);
    story.has_only(Fault::Doubled);
}

#[test]
fn a_repeat_needs_dup() {
    let mut story = Story::new();
    story
        .published(1, ONCE)
        .got(1, ONCE, false)
        .restarted()
        .got(1, ONCE, false);
    let repeat = story.has_only(Fault::RepeatWithoutDup);
    assert_eq!(repeat.at, Some(story.0.events().len() - 1));
}

#[test]
fn a_repeat_of_qos_2_under_a_held_identifier_needs_dup() {
    let mut story = Story::new();
    story
        .published(2, EXACTLY)
        .got(2, EXACTLY, false)
        .restarted()
        .got_held(2, false);
    story.has_only(Fault::RepeatWithoutDup);
}

#[test]
fn a_message_that_its_publisher_sent_twice_may_come_twice_and_not_thrice() {
    let mut story = Story::new();
    story
        .sent(1, ONCE)
        .got(1, ONCE, false)
        .restarted()
        .sent(1, ONCE)
        .acknowledged(1);
    story.got(1, ONCE, false);
    story.is_clean();
    story.got(1, ONCE, false);
    story.has_only(Fault::RepeatWithoutDup);
}

#[test]
fn a_repeat_needs_a_new_connection() {
    let mut story = Story::new();
    story
        .published(1, ONCE)
        .got(1, ONCE, false)
        .got(1, ONCE, true);
    story.has_only(Fault::RepeatWithoutReconnect);

    // Of a message that was sent twice there are two copies, and each may come again.
    let mut story = Story::new();
    story
        .sent(1, ONCE)
        .got(1, ONCE, false)
        .connected(PUBLISHER, true);
    story.sent(1, ONCE).got(1, ONCE, false).acknowledged(1);
    story
        .connected(SUBSCRIBER, true)
        .got(1, ONCE, true)
        .got(1, ONCE, true);
    story.is_clean();
    story
        .got(1, ONCE, true)
        .has_only(Fault::RepeatWithoutReconnect);
}

#[test]
fn an_earlier_message_after_a_later_one_is_out_of_order() {
    let mut story = Story::new();
    story
        .published(1, ONCE)
        .published(3, ONCE)
        .got(3, ONCE, false)
        .got(1, ONCE, false);
    let found = story.has_only(Fault::OutOfOrder);
    assert_eq!(found.message, Some(id(PUBLISHER, 1)));
}

#[test]
fn a_message_that_expires_may_come_behind_later_ones_if_it_may_have_been_sent_before() {
    for (is_expiring, dup) in [(true, true), (true, false), (false, true)] {
        let mut story = Story::new();
        story.published(1, ONCE).published(3, ONCE);
        if is_expiring {
            story.event(Event::Expiring {
                message: id(PUBLISHER, 1),
            });
        }
        story.got(3, ONCE, false).restarted().got(1, ONCE, dup);
        if is_expiring && dup {
            story.is_clean();
        } else {
            story.has_only(Fault::OutOfOrder);
        }
    }
}

#[test]
fn what_came_at_qos_0_may_come_once_more_at_the_qos_the_subscription_was_raised_to() {
    let mut story = Story::new();
    story
        .published(1, ONCE)
        .got(1, QoS::AtMostOnce, false)
        .restarted()
        .got(1, ONCE, false);
    story.is_clean();
    story.restarted().got(1, ONCE, false);
    story.has_only(Fault::RepeatWithoutDup);
}

#[test]
fn repeats_other_topics_and_other_qos_have_no_order() {
    let mut story = Story::new();
    story
        .published(1, ONCE)
        .published(2, ONCE)
        .published(3, ONCE);
    story.published(4, EXACTLY).published(6, ONCE);
    story
        .got(2, ONCE, false)
        .got(1, ONCE, false)
        .got(3, ONCE, false);
    story.got(6, ONCE, false).got(4, EXACTLY, false);
    story.restarted().got(1, ONCE, true).got(3, ONCE, true);
    story.is_clean();
}

#[test]
fn what_nobody_sent_is_found() {
    let mut story = Story::new();
    story.got(1, ONCE, false);
    story.has_only(Fault::NeverSent);
    let mut story = Story::new();
    story.published(1, ONCE).got(1, ONCE, false);
    story.delivered(SUBSCRIBER, 1, "a/even", ONCE, false, true);
    story.has_only(Fault::NeverSent);
}

#[test]
fn one_member_of_a_group_gets_each_message_and_only_one() {
    let group = |got: &[u32]| {
        let mut story = Story::default();
        for member in [3, 4] {
            story
                .connected(member, false)
                .subscribed(member, "$share/g/a/#");
        }
        story.published(2, EXACTLY);
        for member in got {
            story.delivered(*member, 2, "a/even", EXACTLY, false, true);
        }
        story
    };
    group(&[4]).is_clean();
    group(&[]).has_only(Fault::Lost);
    group(&[3, 4]).has_only(Fault::Doubled);
}

#[test]
fn a_session_that_is_gone_is_found_and_so_is_what_it_was_owed() {
    let mut story = Story::new();
    story
        .published(1, ONCE)
        .event(Event::Crashed)
        .event(Event::Started);
    story
        .connected(SUBSCRIBER, false)
        .subscribed(SUBSCRIBER, "a/#");
    let verdict = story.verdict();
    assert_eq!(verdict.count(Fault::SessionLost), 1, "{verdict}");
    assert_eq!(verdict.count(Fault::Lost), 1, "{verdict}");
    assert_eq!(verdict.violations.len(), 2, "{verdict}");
}
