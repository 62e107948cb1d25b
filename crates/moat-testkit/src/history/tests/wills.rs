//! Wills that are due, open and undue.

use super::*;

#[test]
fn a_will_is_due_after_a_cut_and_after_a_crash() {
    let mut story = Story::new();
    story.will_sent(1).connected(PUBLISHER, true).cut(PUBLISHER);
    let missing = story.has_only(Fault::MissingWill);
    assert_eq!(missing.message, Some(id(PUBLISHER, 1)));
    story.got_will(1, false);
    story.is_clean();

    let mut story = Story::new();
    story.will_sent(1).connected(PUBLISHER, true).restarted();
    story.has_only(Fault::MissingWill);
    story.got_will(1, false);
    story.is_clean();
}

#[test]
fn a_will_that_came_twice_is_doubled_and_a_repeat_of_it_is_not() {
    let mut story = Story::new();
    story.will_sent(1).connected(PUBLISHER, true).restarted();
    story
        .got_will(1, false)
        .connected(SUBSCRIBER, true)
        .got_will(1, true);
    story.is_clean();
    story.got_will(1, false);
    story.has_only(Fault::DoubledWill);
}

#[test]
fn a_will_is_told_again_after_a_crash_to_a_session_that_kept_nothing() {
    for is_crash in [true, false] {
        let mut story = Story::new();
        story.will_sent(100).connected(PUBLISHER, false);
        story.cut(PUBLISHER).got_will(100, false);
        if is_crash {
            story.event(Event::Crashed).event(Event::Started);
        }
        story
            .event(Event::SessionEnded { client: SUBSCRIBER })
            .connected(SUBSCRIBER, false)
            .subscribed(SUBSCRIBER, "will/#");
        story.got_will(100, false);
        if is_crash {
            story.is_clean();
        } else {
            story.has_only(Fault::DoubledWill);
        }
    }
}

#[test]
fn a_will_after_a_goodbye_is_undue() {
    let mut story = Story::new();
    story
        .will_sent(1)
        .connected(PUBLISHER, true)
        .goodbye(PUBLISHER);
    story.is_clean();
    story.got_will(1, false);
    story.has_only(Fault::UndueWill);

    // Coming back shows that the goodbye was heard, so a crash after it excuses nothing.
    let mut story = Story::new();
    story
        .will_sent(1)
        .connected(PUBLISHER, true)
        .goodbye(PUBLISHER);
    story
        .connected(PUBLISHER, true)
        .restarted()
        .got_will(1, false);
    story.has_only(Fault::UndueWill);
}

#[test]
fn a_will_whose_goodbye_or_connect_may_not_have_been_heard_is_open() {
    for comes in [false, true] {
        let mut story = Story::new();
        story
            .will_sent(1)
            .connected(PUBLISHER, true)
            .goodbye(PUBLISHER)
            .restarted();
        story
            .will_sent(2)
            .event(Event::Crashed)
            .event(Event::Started);
        if comes {
            story.got_will(1, false).got_will(2, false);
        }
        story.is_clean();
    }
}

#[test]
fn a_will_of_a_client_that_is_there_or_with_a_long_delay_is_undue() {
    let mut story = Story::new();
    story
        .will_sent(1)
        .connected(PUBLISHER, true)
        .got_will(1, false);
    story.has_only(Fault::UndueWill);

    let mut story = Story::new();
    story.event(Event::WillSent {
        will: id(PUBLISHER, 1),
        topic: "will/1".into(),
        qos: ONCE,
        is_delayed: true,
    });
    story.connected(PUBLISHER, true).restarted();
    story.is_clean();
    story.got_will(1, false);
    story.has_only(Fault::UndueWill);
}
