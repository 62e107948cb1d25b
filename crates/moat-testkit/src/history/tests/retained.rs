//! What a new subscriber finds, and what it must not find.

use super::*;

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
fn nothing_retained_is_found_while_another_is_written_and_not_after_the_crash_that_ended_that() {
    let mut story = Story::new();
    story
        .retained(PUBLISHER, 1, Retain::Set)
        .retained_acknowledged(PUBLISHER, 1)
        .retained(PUBLISHER, 2, Retain::Set)
        .read(None)
        .is_clean();
    assert_eq!(story.0.retained_for_certain(), []);
    story.restarted();
    assert_eq!(story.0.retained_for_certain(), ["kept".into()]);
    story.read(None).has_only(Fault::StaleRetained);
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
