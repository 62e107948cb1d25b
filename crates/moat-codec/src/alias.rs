use std::collections::BTreeMap;
use std::num::NonZeroU16;

use crate::{DecodeError, Incoming, Resolved, TopicName};

/// How a PUBLISH on its way out uses a topic alias; 0 cannot be said [MQTT-3.3.2-8].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicAlias {
    /// With the topic, for which the alias stands from then on.
    Set(NonZeroU16),
    /// Instead of the topic.
    Use(NonZeroU16),
}

/// The topic aliases a peer has set on this connection.
///
/// They do not survive it [MQTT-3.3.2-7], so this lives with the connection, not with the session. The table
/// has at most Topic Alias Maximum entries of at most the limits' topic size; before the first alias it is one
/// empty pointer, and it grows with the aliases set, not with the largest number among them.
#[derive(Debug, Default)]
pub struct InboundAliases {
    maximum: u16,
    #[expect(
        clippy::box_collection,
        reason = "a million idle connections pay for one pointer, not for a map"
    )]
    table: Option<Box<BTreeMap<NonZeroU16, Box<str>>>>,
}

impl InboundAliases {
    /// `maximum` is the Topic Alias Maximum we announced; 0 refuses every alias.
    #[must_use]
    pub const fn new(maximum: u16) -> Self {
        Self {
            maximum,
            table: None,
        }
    }

    /// Finds the topic of a PUBLISH, and remembers it when the PUBLISH sets an alias.
    ///
    /// On success the message borrows from its packet or from this table.
    ///
    /// # Errors
    /// [`DecodeError::TopicAliasTooLarge`] above the maximum [MQTT-3.3.2-9], [`DecodeError::TopicAliasUnknown`]
    /// for an alias that was never set, [`DecodeError::TopicMissing`] without topic and alias.
    #[inline]
    pub fn resolve<'a>(
        &'a mut self,
        incoming: &'a Incoming<'_>,
    ) -> Result<Resolved<'a>, DecodeError> {
        let (topic, publish) = (incoming.topic(), incoming.publish());
        let topic = match publish.topic_alias {
            None => topic.ok_or(DecodeError::TopicMissing)?,
            Some(alias) => self.resolve_alias(alias, topic)?,
        };
        Ok(Resolved::of_publish(topic, publish))
    }

    fn resolve_alias<'a>(
        &'a mut self,
        alias: NonZeroU16,
        topic: Option<TopicName<'a>>,
    ) -> Result<TopicName<'a>, DecodeError> {
        // [MQTT-3.3.2-9], [MQTT-3.3.2-12]
        if alias.get() > self.maximum {
            return Err(DecodeError::TopicAliasTooLarge {
                alias: alias.get(),
                max: self.maximum,
            });
        }
        let Some(topic) = topic else {
            let known = self.table.as_ref().and_then(|table| table.get(&alias));
            let topic = known.ok_or(DecodeError::TopicAliasUnknown { alias: alias.get() })?;
            return Ok(TopicName::from_checked(topic));
        };
        self.table
            .get_or_insert_default()
            .insert(alias, topic.as_str().into());
        Ok(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Publish};

    fn publish(topic: &'static str, alias: u16) -> Publish<'static> {
        Publish {
            topic_alias: NonZeroU16::new(alias),
            ..Publish::new(topic, b"x")
        }
    }

    fn topic_of(
        aliases: &mut InboundAliases,
        topic: &'static str,
        alias: u16,
    ) -> Result<String, DecodeError> {
        let incoming = Incoming::of(publish(topic, alias), &Limits::default())?;
        let resolved = aliases.resolve(&incoming)?;
        Ok(resolved.topic().as_str().to_owned())
    }

    #[test]
    fn alias_stands_for_the_topic_it_was_set_with_last() {
        let mut aliases = InboundAliases::new(2);
        assert_eq!(topic_of(&mut aliases, "a", 1), Ok("a".into()));
        assert_eq!(topic_of(&mut aliases, "b", 2), Ok("b".into()));
        assert_eq!(topic_of(&mut aliases, "", 1), Ok("a".into()));
        assert_eq!(topic_of(&mut aliases, "c", 1), Ok("c".into()));
        assert_eq!(topic_of(&mut aliases, "", 1), Ok("c".into()));
        assert_eq!(topic_of(&mut aliases, "", 2), Ok("b".into()));
    }

    #[test]
    fn alias_above_the_maximum_is_refused_and_the_maximum_is_not() {
        let mut aliases = InboundAliases::new(2);
        assert_eq!(topic_of(&mut aliases, "a", 2), Ok("a".into()));
        assert_eq!(
            topic_of(&mut aliases, "a", 3),
            Err(DecodeError::TopicAliasTooLarge { alias: 3, max: 2 })
        );
        assert_eq!(
            topic_of(&mut InboundAliases::new(0), "a", 1),
            Err(DecodeError::TopicAliasTooLarge { alias: 1, max: 0 })
        );
    }

    #[test]
    fn alias_never_set_is_unknown() {
        let mut aliases = InboundAliases::new(5);
        assert_eq!(
            topic_of(&mut aliases, "", 5),
            Err(DecodeError::TopicAliasUnknown { alias: 5 })
        );
        assert_eq!(topic_of(&mut aliases, "a", 4), Ok("a".into()));
        assert_eq!(
            topic_of(&mut aliases, "", 5),
            Err(DecodeError::TopicAliasUnknown { alias: 5 })
        );
    }

    #[test]
    fn alias_is_not_set_by_a_publish_with_an_invalid_topic() {
        let mut aliases = InboundAliases::new(5);
        assert!(topic_of(&mut aliases, "a/+", 1).is_err());
        assert_eq!(
            topic_of(&mut aliases, "", 1),
            Err(DecodeError::TopicAliasUnknown { alias: 1 })
        );
    }

    #[test]
    fn neither_topic_nor_alias_is_an_error() {
        assert_eq!(
            topic_of(&mut InboundAliases::new(5), "", 0),
            Err(DecodeError::TopicMissing)
        );
    }

    #[test]
    fn table_is_empty_until_the_first_alias() {
        let mut aliases = InboundAliases::new(u16::MAX);
        assert_eq!(topic_of(&mut aliases, "a", 0), Ok("a".into()));
        assert!(aliases.table.is_none());
        assert_eq!(topic_of(&mut aliases, "a", u16::MAX), Ok("a".into()));
        assert_eq!(aliases.table.map(|table| table.len()), Some(1));
        assert!(size_of::<InboundAliases>() <= 16);
    }
}
