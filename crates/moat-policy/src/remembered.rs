//! The latest decisions about a publisher, one of which most often is the next one, too.

use moat_codec::Resolved;

use crate::decision::{Authorized, Denied, RuleId};
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// Topics longer than this are judged anew each time. Unit: bytes.
pub const REMEMBERED_TOPIC_BYTES_MAX: usize = 256;
/// Topics of one publisher that are remembered; a further one takes the place of the oldest.
pub const REMEMBERED_TOPICS_MAX: usize = 16;

/// What one connection was allowed to publish of late. It is for one [`Subject`]: whoever keeps it makes another one when the subject becomes
/// somebody else.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Which snapshot decided; 0 for none.
    snapshot: u64,
    /// The [`tag`] of each topic: what is looked through instead of the topics.
    tags: Vec<u64>,
    allowed: Vec<Allowed>,
    /// The one that was asked for last, if it is remembered.
    latest: Option<usize>,
    /// The one that a further topic takes the place of.
    oldest: usize,
}

/// One topic that may be published to.
#[derive(Debug)]
struct Allowed {
    topic: String,
    rule: RuleId,
    /// Whether the message could have been retained.
    with_retain: bool,
    note: u64,
}

impl Remembered {
    /// What was [noted](Self::set_note) of the topic that was asked for last; 0 for nothing, or if it was decided anew since.
    #[inline]
    #[must_use]
    pub fn note(&self) -> u64 {
        self.latest.map_or(0, |at| self.allowed[at].note)
    }

    /// Notes something of the topic that was asked for last, if it is remembered.
    #[inline]
    pub fn set_note(&mut self, note: u64) {
        if let Some(at) = self.latest {
            self.allowed[at].note = note;
        }
    }

    /// Where `topic` is. Devices publish to the same topics in the same order, so the first guess is the one after the latest.
    #[inline]
    fn find(&mut self, topic: &str) -> Option<usize> {
        let tag = tag(topic);
        let next = match self.latest.take() {
            Some(latest) if latest + 1 < self.tags.len() => latest + 1,
            _ => 0,
        };
        let guess = self.tags.get(next) == Some(&tag);
        let at = match guess && self.allowed[next].topic == topic {
            true => next,
            false => self.look_through(tag, topic)?,
        };
        self.latest = Some(at);
        Some(at)
    }

    fn look_through(&self, tag: u64, topic: &str) -> Option<usize> {
        let is_it = |(&other, allowed): (&u64, &Allowed)| other == tag && allowed.topic == topic;
        self.tags.iter().zip(&self.allowed).position(is_it)
    }

    /// Keeps a decision: in the place of what is known of the topic, at the end, or in the place of the oldest.
    fn keep(&mut self, snapshot: u64, topic: &str, rule: RuleId, with_retain: bool) {
        if topic.len() > REMEMBERED_TOPIC_BYTES_MAX {
            return;
        }
        if self.snapshot != snapshot {
            *self = Self::default();
            self.snapshot = snapshot;
        }
        let at = match self.look_through(tag(topic), topic) {
            Some(at) => at,
            None if self.allowed.len() < REMEMBERED_TOPICS_MAX => {
                self.tags.push(0);
                self.allowed.push(Allowed {
                    topic: String::new(),
                    rule,
                    with_retain,
                    note: 0,
                });
                self.allowed.len() - 1
            }
            None => {
                let at = self.oldest;
                self.oldest = (at + 1) % REMEMBERED_TOPICS_MAX;
                at
            }
        };
        self.latest = Some(at);
        self.tags[at] = tag(topic);
        let allowed = &mut self.allowed[at];
        (allowed.rule, allowed.with_retain) = (rule, with_retain);
        allowed.note = 0;
        allowed.topic.clear();
        allowed.topic.push_str(topic);
    }
}

/// A number that most often differs where topics do: their ends, and their lengths.
#[inline]
fn tag(topic: &str) -> u64 {
    let length = topic.len() as u64;
    match topic.as_bytes().last_chunk() {
        Some(end) => u64::from_le_bytes(*end) ^ length,
        None => topic
            .bytes()
            .fold(length, |tag, byte| tag << 8 | u64::from(byte)),
    }
}

impl Snapshot {
    /// As [`Self::authorize_publish`]. What `memory` holds of this snapshot and the message's topic is not decided again, so a publisher that
    /// stays with a few topics costs a comparison.
    ///
    /// # Errors
    /// As [`Self::authorize_publish`]; denials are not remembered.
    #[inline]
    pub fn authorize_publish_again<'a>(
        &self,
        who: Subject<'_>,
        publish: Resolved<'a>,
        memory: &mut Remembered,
    ) -> Result<Authorized<Resolved<'a>>, Denied> {
        let retain = publish.retain();
        if memory.snapshot == self.id()
            && let Some(at) = memory.find(publish.topic().as_str())
            && memory.allowed[at].with_retain >= retain
        {
            let rule = memory.allowed[at].rule;
            return Ok(Authorized::new(publish, rule, self.version()));
        }
        // Until it is remembered, notes are of no topic.
        memory.latest = None;
        let authorized = self.authorize_publish(who, publish)?;
        let topic = authorized.get().topic().as_str();
        memory.keep(self.id(), topic, authorized.rule(), retain);
        Ok(authorized)
    }
}

#[cfg(test)]
mod tests {
    use moat_codec::{Limits, QoS, TopicName};

    use super::*;
    use crate::{Identity, PolicyFormat, PolicySourceText};

    fn policy(text: &str) -> Snapshot {
        let source = PolicySourceText {
            file: "policy.toml".into(),
            format: PolicyFormat::Toml,
            text: text.into(),
        };
        Snapshot::compile(vec![source], 1).unwrap()
    }

    fn allowing(actions: &str, topics: &str) -> Snapshot {
        policy(&format!(
            "version = 1\n[[rule]]\nname = \"one\"\nwho = [\"*\"]\nallow = [{actions}]\ntopics = [\"{topics}\"]\n"
        ))
    }

    fn may(snapshot: &Snapshot, memory: &mut Remembered, topic: &str, retain: bool) -> bool {
        let identity = Identity::anonymous();
        let who = Subject {
            identity: &identity,
            client_id: "c",
        };
        let name = TopicName::new(topic, &Limits::generous()).unwrap();
        let resolved = Resolved::new(name, b"x", QoS::AtMostOnce, retain);
        let again = snapshot.authorize_publish_again(who, resolved, memory);
        assert_eq!(again, snapshot.authorize_publish(who, resolved));
        again.is_ok()
    }

    #[test]
    fn what_is_remembered_is_what_would_be_decided() {
        let mut memory = Remembered::default();
        let narrow = allowing("\"publish\"", "a");
        let wide = allowing("\"publish\", \"retain\"", "#");
        for _ in 0..2 {
            assert!(may(&narrow, &mut memory, "a", false));
            assert!(!may(&narrow, &mut memory, "a", true), "retain is more");
            assert!(!may(&narrow, &mut memory, "b", false));
            assert!(may(&narrow, &mut memory, "a", false));
            // Another snapshot of the same version.
            assert!(may(&wide, &mut memory, "b", true));
            assert!(may(&wide, &mut memory, "b", false));
            assert!(!may(&narrow, &mut memory, "b", false));
        }
    }

    #[test]
    fn remembered_topic_bytes_max_bounds_what_is_kept() {
        let mut memory = Remembered::default();
        let wide = allowing("\"publish\"", "#");
        let longest = "t".repeat(REMEMBERED_TOPIC_BYTES_MAX);
        assert!(may(&wide, &mut memory, &longest, false));
        assert_eq!(memory.allowed[0].topic, longest);
        let longer = format!("{longest}t");
        assert!(may(&wide, &mut memory, &longer, false));
        assert_eq!(memory.allowed.len(), 1);
    }

    #[test]
    fn remembered_topics_max_bounds_what_is_kept_and_the_oldest_goes_first() {
        let mut memory = Remembered::default();
        let wide = allowing("\"publish\"", "#");
        let topic = |number: usize| format!("t/{number}");
        for number in 0..REMEMBERED_TOPICS_MAX + 2 {
            assert!(may(&wide, &mut memory, &topic(number), false));
        }
        assert_eq!(memory.allowed.len(), REMEMBERED_TOPICS_MAX);
        for number in 0..REMEMBERED_TOPICS_MAX + 2 {
            let is_kept = memory.find(&topic(number)).is_some();
            assert_eq!(is_kept, number >= 2, "{number}");
        }
    }

    #[test]
    fn a_note_is_of_its_topic_until_that_is_decided_anew() {
        let mut memory = Remembered::default();
        let (one, other) = (allowing("\"publish\"", "#"), allowing("\"publish\"", "#"));
        let too_long = "t".repeat(REMEMBERED_TOPIC_BYTES_MAX + 1);
        let mut ask = |policy: &Snapshot, topic: &str| {
            assert!(may(policy, &mut memory, topic, false));
            let note = memory.note();
            memory.set_note(note + 1);
            note
        };
        assert_eq!((ask(&one, "a"), ask(&one, "a")), (0, 1));
        assert_eq!((ask(&one, "b"), ask(&one, "a")), (0, 2));
        // Of these there is nothing to note.
        assert_eq!((ask(&one, &too_long), ask(&one, &too_long)), (0, 0));
        assert_eq!(ask(&one, "a"), 3);
        assert_eq!((ask(&other, &too_long), ask(&other, "a")), (0, 0));
        for number in 0..REMEMBERED_TOPICS_MAX {
            assert_eq!(ask(&other, &number.to_string()), 0);
        }
        assert_eq!(ask(&other, "a"), 0);
    }

    proptest::proptest! {
        /// Few and short topics, many of them with the same end; what is remembered never allows what is not allowed.
        #[test]
        fn remembering_changes_no_decision(asked in proptest::collection::vec(("[ab]{1,2}/[ab]{0,9}", 0..2usize, proptest::bool::ANY), 0..80)) {
            let mut memory = Remembered::default();
            let policies = [allowing("\"publish\"", "a/#"), allowing("\"publish\", \"retain\"", "+/a")];
            for (topic, policy, retain) in asked {
                // It compares with what is decided without a memory.
                may(&policies[policy], &mut memory, &topic, retain);
            }
        }
    }
}
