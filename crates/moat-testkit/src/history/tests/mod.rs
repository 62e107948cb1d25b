//! A correct history is clean, and each broken promise in it is found.

use std::sync::Arc;

use moat_codec::QoS;

use super::{
    Acknowledgement, Delivery, Event, Fault, History, MessageId, Retain, Verdict, Violation,
};

const PUBLISHER: u32 = 1;
const OTHER: u32 = 2;
const SUBSCRIBER: u32 = 7;
const ONCE: QoS = QoS::AtLeastOnce;
const EXACTLY: QoS = QoS::ExactlyOnce;

/// Writes a history line by line.
#[derive(Default)]
struct Story(History);

impl Story {
    /// A subscriber to `a/#` and `will/#`, at QoS 2, and a publisher.
    fn new() -> Self {
        let mut story = Story::default();
        story.connected(SUBSCRIBER, false);
        story.subscribed(SUBSCRIBER, "a/#");
        story.subscribed(SUBSCRIBER, "will/#");
        story.connected(PUBLISHER, false);
        story
    }

    fn event(&mut self, event: Event) -> &mut Self {
        self.0.record(event);
        self
    }

    fn connected(&mut self, client: u32, session_present: bool) -> &mut Self {
        self.event(Event::Connected {
            client,
            session_present,
        })
    }

    fn subscribed(&mut self, subscriber: u32, filter: &str) -> &mut Self {
        self.event(Event::Subscribed {
            subscriber,
            filter: filter.into(),
            qos: EXACTLY,
        })
    }

    fn sent(&mut self, number: u64, qos: QoS) -> &mut Self {
        self.event(Event::Sent {
            message: id(PUBLISHER, number),
            topic: topic(number),
            qos,
            retain: Retain::No,
        })
    }

    fn acknowledged(&mut self, number: u64) -> &mut Self {
        self.event(Event::Acknowledged {
            message: id(PUBLISHER, number),
            by: Acknowledgement::PubAck,
        })
    }

    /// Sent and acknowledged.
    fn published(&mut self, number: u64, qos: QoS) -> &mut Self {
        self.sent(number, qos).acknowledged(number)
    }

    fn retained(&mut self, publisher: u32, number: u64, retain: Retain) -> &mut Self {
        self.event(Event::Sent {
            message: id(publisher, number),
            topic: "kept".into(),
            qos: ONCE,
            retain,
        })
    }

    fn retained_acknowledged(&mut self, publisher: u32, number: u64) -> &mut Self {
        self.event(Event::Acknowledged {
            message: id(publisher, number),
            by: Acknowledgement::PubAck,
        })
    }

    fn read(&mut self, message: Option<MessageId>) -> &mut Self {
        let asked = self.0.now();
        self.event(Event::RetainedRead {
            topic: "kept".into(),
            asked,
            message,
        })
    }

    fn got(&mut self, number: u64, qos: QoS, dup: bool) -> &mut Self {
        self.delivered(SUBSCRIBER, number, &topic(number), qos, dup, true)
    }

    fn got_held(&mut self, number: u64, dup: bool) -> &mut Self {
        self.delivered(SUBSCRIBER, number, &topic(number), EXACTLY, dup, false)
    }

    fn got_will(&mut self, number: u64, dup: bool) -> &mut Self {
        self.delivered(SUBSCRIBER, number, "will/1", ONCE, dup, true)
    }

    fn delivered(
        &mut self,
        subscriber: u32,
        number: u64,
        topic: &str,
        qos: QoS,
        dup: bool,
        is_new: bool,
    ) -> &mut Self {
        self.event(Event::Delivered(Delivery {
            subscriber,
            message: id(PUBLISHER, number),
            topic: topic.into(),
            qos,
            dup,
            retain: false,
            is_new,
        }))
    }

    fn will_sent(&mut self, number: u64) -> &mut Self {
        self.event(Event::WillSent {
            will: id(PUBLISHER, number),
            topic: "will/1".into(),
            qos: ONCE,
            is_delayed: false,
        })
    }

    fn cut(&mut self, client: u32) -> &mut Self {
        self.event(Event::Cut { client })
    }

    fn goodbye(&mut self, client: u32) -> &mut Self {
        self.event(Event::Goodbye { client })
    }

    /// The broker dies, another one starts, and everybody comes back.
    fn restarted(&mut self) -> &mut Self {
        self.event(Event::Crashed).event(Event::Started);
        self.connected(SUBSCRIBER, true).connected(PUBLISHER, true)
    }

    fn verdict(&self) -> Verdict {
        self.0.check()
    }

    fn is_clean(&self) {
        let verdict = self.verdict();
        assert!(verdict.is_clean(), "{verdict}");
    }

    /// Finds this and nothing else. Returns it.
    fn has_only(&self, fault: Fault) -> Violation {
        let verdict = self.verdict();
        assert_eq!(verdict.violations.len(), 1, "{verdict}");
        assert_eq!(verdict.violations[0].fault, fault, "{verdict}");
        verdict.violations[0].clone()
    }
}

fn id(publisher: u32, number: u64) -> MessageId {
    MessageId { publisher, number }
}

/// Odd numbers go to one topic, even ones to another.
fn topic(number: u64) -> Arc<str> {
    if number.is_multiple_of(2) {
        "a/even"
    } else {
        "a/odd"
    }
    .into()
}

#[test]
fn a_correct_history_with_a_crash_is_clean() {
    let mut story = Story::new();
    story.will_sent(100).connected(PUBLISHER, false);
    story.published(1, ONCE).got(1, ONCE, false);
    story
        .published(2, EXACTLY)
        .published(3, ONCE)
        .got(2, EXACTLY, false);
    story.sent(5, ONCE).sent(6, EXACTLY);
    story
        .retained(PUBLISHER, 7, Retain::Set)
        .retained_acknowledged(PUBLISHER, 7);
    story.restarted().will_sent(101).connected(PUBLISHER, true);
    story
        .got_will(100, false)
        .got(1, ONCE, true)
        .got_held(2, true);
    story.got(3, ONCE, false);
    // Two copies of 5 reached the broker; the packet identifier of 6 was known to it.
    story.got(5, ONCE, false).sent(5, ONCE).got(5, ONCE, false);
    story
        .sent(6, EXACTLY)
        .acknowledged(5)
        .acknowledged(6)
        .got(6, EXACTLY, false);
    story.read(Some(id(PUBLISHER, 7))).goodbye(PUBLISHER);
    story.is_clean();
    let summary = story.verdict().summary;
    assert_eq!(
        (summary.crashes, summary.sent, summary.acknowledged),
        (1, 6, 6)
    );
    assert_eq!(
        (summary.owed, summary.wills, summary.repeats),
        (5, [1, 1, 0], 3)
    );
    assert_eq!(summary.retained_reads, 1);
}

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
fn a_retained_message_older_than_the_last_acknowledged_is_stale() {
    let mut story = Story::new();
    for number in [1, 2] {
        story
            .retained(PUBLISHER, number, Retain::Set)
            .retained_acknowledged(PUBLISHER, number);
    }
    story.restarted().read(Some(id(PUBLISHER, 2)));
    story.is_clean();
    story.read(Some(id(PUBLISHER, 1)));
    story.has_only(Fault::StaleRetained);
}

#[test]
fn a_retained_message_that_is_gone_or_back_is_stale() {
    let mut story = Story::new();
    story
        .read(None)
        .retained(PUBLISHER, 1, Retain::Set)
        .read(None);
    story.read(Some(id(PUBLISHER, 1))).is_clean();
    assert_eq!(story.0.retained_for_certain(), []);
    story.retained_acknowledged(PUBLISHER, 1);
    assert_eq!(story.0.retained_for_certain(), ["kept".into()]);
    story.read(None);
    story.has_only(Fault::StaleRetained);

    let mut story = Story::new();
    story
        .retained(PUBLISHER, 1, Retain::Set)
        .retained_acknowledged(PUBLISHER, 1);
    story
        .retained(PUBLISHER, 2, Retain::Clear)
        .read(None)
        .read(Some(id(PUBLISHER, 1)));
    story.is_clean();
    story
        .retained_acknowledged(PUBLISHER, 2)
        .read(None)
        .read(Some(id(PUBLISHER, 1)));
    story.has_only(Fault::StaleRetained);
}

#[test]
fn of_two_that_publish_at_once_either_may_be_retained() {
    let mut story = Story::new();
    story
        .retained(PUBLISHER, 1, Retain::Set)
        .retained(OTHER, 1, Retain::Set);
    story
        .retained_acknowledged(PUBLISHER, 1)
        .retained_acknowledged(OTHER, 1);
    story.read(Some(id(PUBLISHER, 1))).read(Some(id(OTHER, 1)));
    story.is_clean();
    story
        .retained(OTHER, 2, Retain::Set)
        .retained_acknowledged(OTHER, 2);
    story.read(Some(id(PUBLISHER, 1)));
    story.has_only(Fault::StaleRetained);
}

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
fn what_a_new_subscriber_gets_of_retained_messages_counts_for_nothing() {
    let mut story = Story::new();
    story.published(1, ONCE);
    let mut delivery = Delivery {
        subscriber: SUBSCRIBER,
        message: id(PUBLISHER, 1),
        topic: topic(1),
        qos: ONCE,
        dup: false,
        retain: true,
        is_new: true,
    };
    story
        .event(Event::Delivered(delivery.clone()))
        .has_only(Fault::Lost);
    delivery.retain = false;
    story.event(Event::Delivered(delivery)).is_clean();
}

#[test]
fn a_history_can_be_cut_at_any_moment() {
    let mut story = Story::new();
    story.published(1, ONCE);
    let moment = story.0.now();
    story.got(1, ONCE, false);
    story.is_clean();
    assert_eq!(story.0.until(moment).check().count(Fault::Lost), 1);
}
