//! The topics of the broker itself: it alone publishes to them.

use moat_codec::Resolved;

use crate::decision::{Authorized, RuleId};
use crate::snapshot::Snapshot;

/// What begins a topic of the broker itself.
const PREFIX: &str = "$SYS/";

/// No rule has this number, so it is nobody's.
const NO_RULE: RuleId = RuleId(u32::MAX);

/// What denies everybody else; no file can take it away.
pub(crate) const SYSTEM_RULE: &str = "system-topics";

/// Whether only the broker itself may publish to a topic: `$SYS` and everything below.
#[must_use]
pub fn is_system_topic(topic: &str) -> bool {
    topic == "$SYS" || topic.starts_with(PREFIX)
}

impl Snapshot {
    /// Lets the broker itself publish below `$SYS/`, and nowhere else. No rule has a say in it: what clients see of it
    /// is decided by their right to subscribe.
    #[must_use]
    pub fn authorize_system<'a>(&self, publish: Resolved<'a>) -> Option<Authorized<Resolved<'a>>> {
        let is_below = publish.topic().as_str().starts_with(PREFIX);
        is_below.then(|| Authorized::new(publish, NO_RULE, self.version()))
    }
}

#[cfg(test)]
mod tests {
    use moat_codec::{Limits, QoS, TopicName};

    use super::*;
    use crate::decision::Action;
    use crate::identity::Identity;
    use crate::parse::{PolicyFormat, PolicySourceText};
    use crate::subject::Subject;

    fn publish(topic: &str) -> Resolved<'_> {
        let name = TopicName::new(topic, &Limits::default()).unwrap();
        Resolved::new(name, b"x", QoS::AtMostOnce, true)
    }

    #[test]
    fn the_broker_publishes_below_sys_and_nowhere_else() {
        let policy = Snapshot::built_in();
        let allowed = policy.authorize_system(publish("$SYS/broker/uptime"));
        assert_eq!(policy.rule_of(&allowed.unwrap()), None);
        for topic in ["$SYS", "$SYSx/y", "a/$SYS/b", "devices/x", "$other/x"] {
            assert!(policy.authorize_system(publish(topic)).is_none(), "{topic}");
        }
    }

    #[test]
    fn nobody_else_publishes_there_whatever_a_rule_says() {
        let text = "version = 1\n[[rule]]\nwho = [\"*\"]\nallow = [\"publish\", \"subscribe\", \"retain\"]\n\
                    topics = [\"#\", \"$SYS/#\", \"$SYS\"]\n";
        let source = PolicySourceText {
            file: "policy.toml".into(),
            format: PolicyFormat::Toml,
            text: text.into(),
        };
        let written = Snapshot::compile(vec![source], 1).unwrap();
        let admin = Identity::from_password("admin");
        let who = Subject {
            identity: &admin,
            client_id: "admin",
        };
        for policy in [written, Snapshot::allow_all()] {
            assert!(policy.authorize_publish(who, publish("a")).is_ok());
            for topic in ["$SYS", "$SYS/broker/uptime"] {
                let denied = policy.authorize_publish(who, publish(topic)).unwrap_err();
                assert_eq!(denied.rule.to_string(), "built-in:system-topics");
                let denied = policy.authorize_will(who, publish(topic)).unwrap_err();
                assert_eq!(denied.action, Action::Will);
            }
        }
    }
}
