//! A correct history is clean, and each broken promise in it is found.

mod delivery;
mod retained;
mod wills;

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
fn a_history_can_be_cut_at_any_moment() {
    let mut story = Story::new();
    story.published(1, ONCE);
    let moment = story.0.now();
    story.got(1, ONCE, false);
    story.is_clean();
    assert_eq!(story.0.until(moment).check().count(Fault::Lost), 1);
}
