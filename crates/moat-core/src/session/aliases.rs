//! Topic aliases towards a client that takes some.

use std::collections::HashMap;
use std::num::NonZeroU16;

use ahash::RandomState;
use moat_codec::TopicAlias;

/// Bytes of topics that one connection's table holds. Where topics are long there are fewer aliases.
pub const ALIASED_TOPIC_BYTES_MAX: usize = 64 << 10;

/// The shortest topic worth an alias, in bytes: the property that replaces it has three.
const TOPIC_BYTES_MIN: usize = 4;

/// The aliases set on one connection. They end with it [MQTT-3.3.2-7].
///
/// The first topics get them and keep them: a table that made room for the newest would set aliases again and again
/// for a client that sees many topics, at the price of bytes instead of saving them.
#[derive(Debug)]
pub struct OutboundAliases {
    maximum: u16,
    topics: HashMap<Box<str>, NonZeroU16, RandomState>,
    topic_bytes: usize,
}

impl OutboundAliases {
    /// A table for a client that takes aliases up to `maximum` [MQTT-3.1.2-26]; `None` for one that takes none
    /// [MQTT-3.1.2-27], so that it costs a null pointer.
    #[must_use]
    pub fn new(maximum: u16) -> Option<Box<Self>> {
        (maximum > 0).then(|| {
            Box::new(OutboundAliases {
                maximum,
                topics: HashMap::default(),
                topic_bytes: 0,
            })
        })
    }

    /// The alias a PUBLISH of `topic` goes out with. One that it sets holds once [`Self::sent`] was told.
    #[must_use]
    pub fn offer(&self, topic: &str) -> Option<TopicAlias> {
        if let Some(alias) = self.topics.get(topic) {
            return Some(TopicAlias::Use(*alias));
        }
        let is_worth_it = topic.len() >= TOPIC_BYTES_MIN;
        let has_room = self.topic_bytes + topic.len() <= ALIASED_TOPIC_BYTES_MAX;
        let next = u16::try_from(self.topics.len() + 1).ok()?;
        if !is_worth_it || !has_room || next > self.maximum {
            return None;
        }
        NonZeroU16::new(next).map(TopicAlias::Set)
    }

    /// The PUBLISH is on its way: an alias that it set stands for `topic` from now on.
    pub fn sent(&mut self, topic: &str, alias: TopicAlias) {
        if let TopicAlias::Set(alias) = alias {
            self.topic_bytes += topic.len();
            self.topics.insert(topic.into(), alias);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(aliases: &mut OutboundAliases, topic: &str) -> Option<(bool, u16)> {
        let alias = aliases.offer(topic)?;
        aliases.sent(topic, alias);
        Some(match alias {
            TopicAlias::Set(alias) => (true, alias.get()),
            TopicAlias::Use(alias) => (false, alias.get()),
        })
    }

    #[test]
    fn the_first_topics_get_the_aliases_and_keep_them() {
        let mut aliases = OutboundAliases::new(2).unwrap();
        assert_eq!(send(&mut aliases, "first"), Some((true, 1)));
        assert_eq!(send(&mut aliases, "second"), Some((true, 2)));
        assert_eq!(send(&mut aliases, "third"), None);
        assert_eq!(send(&mut aliases, "first"), Some((false, 1)));
        assert_eq!(send(&mut aliases, "second"), Some((false, 2)));
    }

    #[test]
    fn an_alias_that_was_not_sent_is_not_known() {
        let mut aliases = OutboundAliases::new(2).unwrap();
        assert!(matches!(aliases.offer("topic"), Some(TopicAlias::Set(_))));
        assert_eq!(send(&mut aliases, "other"), Some((true, 1)));
        assert_eq!(send(&mut aliases, "topic"), Some((true, 2)));
    }

    #[test]
    fn a_topic_shorter_than_its_alias_gets_none() {
        let mut aliases = OutboundAliases::new(2).unwrap();
        assert_eq!(send(&mut aliases, "abc"), None);
        assert_eq!(send(&mut aliases, "abcd"), Some((true, 1)));
    }

    #[test]
    fn aliased_topic_bytes_max_bounds_the_table() {
        let mut aliases = OutboundAliases::new(u16::MAX).unwrap();
        let (half, tail) = (
            "a".repeat(ALIASED_TOPIC_BYTES_MAX / 2),
            "b".repeat(ALIASED_TOPIC_BYTES_MAX / 2),
        );
        assert_eq!(send(&mut aliases, &half), Some((true, 1)));
        assert_eq!(send(&mut aliases, &tail), Some((true, 2)));
        assert_eq!(send(&mut aliases, "abcd"), None);
        assert_eq!(send(&mut aliases, &half), Some((false, 1)));
    }

    #[test]
    fn a_client_that_takes_none_has_no_table() {
        assert!(OutboundAliases::new(0).is_none());
        assert_eq!(size_of::<Option<Box<OutboundAliases>>>(), 8);
    }
}
