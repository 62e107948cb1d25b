//! The latest decision about a publisher, which most often is the next one, too.

use moat_codec::Resolved;

use crate::decision::{Authorized, Denied, RuleId};
use crate::snapshot::Snapshot;
use crate::subject::Subject;

/// Topics longer than this are judged anew each time. Unit: bytes.
pub const REMEMBERED_TOPIC_BYTES_MAX: usize = 256;

/// What one connection was last allowed to publish. It is for one [`Subject`]: whoever keeps it makes another one when the subject becomes
/// somebody else.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Which snapshot decided; 0 for none.
    snapshot: u64,
    topic: String,
    rule: RuleId,
    /// Whether the message could have been retained.
    with_retain: bool,
}

impl Snapshot {
    /// As [`Self::authorize_publish`]. What `memory` holds of this snapshot and the message's topic is not decided again, so a publisher that
    /// stays with its topic costs a comparison.
    ///
    /// # Errors
    /// As [`Self::authorize_publish`]; denials are not remembered.
    pub fn authorize_publish_again<'a>(
        &self,
        who: Subject<'_>,
        publish: Resolved<'a>,
        memory: &mut Remembered,
    ) -> Result<Authorized<Resolved<'a>>, Denied> {
        let retain = publish.publish().retain;
        let topic = publish.topic().as_str();
        if memory.snapshot == self.id()
            && memory.with_retain >= retain
            && memory.topic.as_bytes() == topic.as_bytes()
        {
            return Ok(Authorized::new(publish, memory.rule, self.version()));
        }
        let authorized = self.authorize_publish(who, publish)?;
        let topic = authorized.get().topic().as_str();
        if topic.len() <= REMEMBERED_TOPIC_BYTES_MAX {
            memory.snapshot = self.id();
            memory.rule = authorized.rule();
            memory.with_retain = retain;
            memory.topic.clear();
            memory.topic.push_str(topic);
        }
        Ok(authorized)
    }
}

#[cfg(test)]
mod tests {
    use moat_codec::{InboundAliases, Limits, Publish};

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
        let mut publish = Publish::new(topic, b"x");
        publish.retain = retain;
        let mut aliases = InboundAliases::new(0);
        let resolved = aliases
            .resolve(publish.clone(), &Limits::generous())
            .unwrap();
        let again = snapshot.authorize_publish_again(who, resolved, memory);
        let mut aliases = InboundAliases::new(0);
        let resolved = aliases.resolve(publish, &Limits::generous()).unwrap();
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
        assert_eq!(memory.topic, longest);
        let longer = format!("{longest}t");
        assert!(may(&wide, &mut memory, &longer, false));
        assert_eq!(memory.topic, longest);
    }
}
