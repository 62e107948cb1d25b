use super::*;

fn name(text: &str) -> Result<TopicName<'_>, TopicError> {
    TopicName::new(text, &Limits::default())
}

fn filter(text: &str) -> Result<TopicFilter<'_>, TopicError> {
    TopicFilter::new(text, &Limits::default())
}

#[test]
fn names_keep_the_rules_of_section_4_7() {
    for text in [
        "a",
        "/",
        "a/b",
        "/a",
        "a/",
        "a//b",
        "$SYS/x",
        "sport/tennis player",
        "\u{feff}",
    ] {
        assert_eq!(name(text).map(TopicName::as_str), Ok(text));
    }
    assert_eq!(name(""), Err(TopicError::Empty));
    assert_eq!(name("a\0"), Err(TopicError::ContainsNul));
    assert_eq!(name("a/+"), Err(TopicError::ContainsWildcard));
    assert_eq!(name("a#b"), Err(TopicError::ContainsWildcard));
}

#[test]
fn limits_are_reached_and_not_crossed() {
    let limits = Limits {
        topic_bytes_max: 5,
        topic_levels_max: 2,
        ..Limits::default()
    };
    assert!(TopicName::new("12/45", &limits).is_ok());
    assert_eq!(
        TopicName::new("12/456", &limits),
        Err(TopicError::TooLong { bytes: 6, max: 5 })
    );
    assert_eq!(
        TopicName::new("1/2/3", &limits),
        Err(TopicError::TooManyLevels { levels: 3, max: 2 })
    );
    assert!(TopicFilter::new("+/#", &limits).is_ok());
    assert_eq!(
        TopicFilter::new("+/+/#", &limits),
        Err(TopicError::TooManyLevels { levels: 3, max: 2 })
    );
    let limits = Limits {
        topic_levels_max: 2,
        ..Limits::default()
    };
    assert!(TopicFilter::new("$share/g/a/b", &limits).is_ok());
    assert_eq!(
        TopicFilter::new("$share/g/a/b/c", &limits),
        Err(TopicError::TooManyLevels { levels: 3, max: 2 })
    );
}

/// Proves 5.0 [MQTT-4.7.1-1] [MQTT-4.7.1-2]; 3.1.1 [MQTT-4.7.1-2] [MQTT-4.7.1-3].
#[test]
fn wildcards_are_whole_levels_and_hash_is_the_last() {
    for text in ["#", "+", "a/#", "a/+/b", "+/+", "/+", "+/", "/#"] {
        assert!(filter(text).unwrap().has_wildcard(), "{text}");
    }
    for text in [
        "a#", "#/a", "a/#/b", "a+", "+a", "a/b+/c", "##", "++", "a/+#",
    ] {
        assert_eq!(filter(text), Err(TopicError::MisplacedWildcard), "{text}");
    }
    assert!(!filter("a/b").unwrap().has_wildcard());
}

#[test]
fn share_splits_into_group_and_filter() {
    let shared = filter("$share/group/a/+/#").unwrap().shared().unwrap();
    assert_eq!((shared.group, shared.filter.as_str()), ("group", "a/+/#"));
    let shared = filter("$share/g//a").unwrap().shared().unwrap();
    assert_eq!((shared.group, shared.filter.as_str()), ("g", "/a"));
    assert_eq!(filter("$shared/g/a").unwrap().shared(), None);
    assert_eq!(filter("a/$share/b").unwrap().shared(), None);
}

/// Proves 5.0 [MQTT-4.8.2-1] [MQTT-4.8.2-2].
#[test]
fn malformed_share_is_refused() {
    for text in [
        "$share",
        "$share/",
        "$share/g",
        "$share/g/",
        "$share//a",
        "$share/+/a",
        "$share/g#/a",
        "$share/g/$share/h/a",
        "$share/g/$share",
    ] {
        assert_eq!(filter(text), Err(TopicError::InvalidShare), "{text}");
    }
    assert_eq!(filter("$share/g/a+"), Err(TopicError::MisplacedWildcard));
}

#[test]
fn matching_follows_section_4_7() {
    // The examples of sections 4.7.1 and 4.7.2, and what follows from them.
    for (text, topic, matches) in [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        (
            "sport/tennis/player1/#",
            "sport/tennis/player1/ranking",
            true,
        ),
        (
            "sport/tennis/player1/#",
            "sport/tennis/player1/score/wimbledon",
            true,
        ),
        ("sport/tennis/player1/#", "sport/tennis/player12", false),
        ("sport/#", "sport", true),
        ("#", "a/b/c", true),
        ("#", "/", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("+", "finance", true),
        ("#", "$SYS/a", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("$SYS/#", "$SYS/a", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ("a/b", "a/b", true),
        ("a/b", "a/B", false),
        ("a/b", "a/b/", false),
        ("a//b", "a/b", false),
        ("a/+/b", "a//b", true),
        ("$share/g/a/+", "a/b", true),
        ("$share/g/a/+", "b/b", false),
        ("$share/g/#", "$SYS/a", false),
    ] {
        assert_eq!(
            filter(text).unwrap().matches(name(topic).unwrap()),
            matches,
            "{text} {topic}"
        );
    }
}

#[test]
fn every_byte_is_found_at_every_place() {
    for length in 0..3 * STEP {
        for place in 0..length {
            for byte in 0..=u8::MAX {
                let mut bytes = vec![b'a'; length];
                bytes[place] = byte;
                let scan = Scan::of(&bytes);
                assert_eq!(scan.separators, usize::from(byte == b'/'));
                assert_eq!(scan.nul, byte == 0);
                assert_eq!(scan.wildcard, byte == b'+' || byte == b'#');
            }
        }
        assert_eq!(Scan::of(&vec![b'/'; length]).separators, length);
    }
    // More than the counts of one byte hold.
    let length = 3 * STEP * STEPS_COUNTED + 5;
    assert_eq!(Scan::of(&vec![b'/'; length]).separators, length);
}
