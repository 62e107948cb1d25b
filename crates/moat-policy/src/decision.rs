//! What a decision says: allowed, with proof, or denied, with the reason.

use std::fmt;
use std::sync::Arc;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send a message to a topic.
    Publish,
    /// Receive the messages of a topic filter.
    Subscribe,
    /// Leave a message at a topic for later subscribers. Needed in addition to `Publish`.
    Retain,
    /// Leave a will. It is judged as a publish, at CONNECT and again when it is sent.
    Will,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
            Self::Retain => "retain",
            Self::Will => "will",
        })
    }
}

/// Proof that the policy allowed `T`. Only this crate makes one.
///
/// It holds the rule as a plain number, so that a decision on the hot path touches no counter
/// that other threads share; [`Snapshot::rule_of`](crate::Snapshot::rule_of) turns it into a
/// [`RuleRef`] for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authorized<T> {
    value: T,
    rule: RuleId,
    policy_version: u64,
    judged_at_delivery: bool,
}

impl<T> Authorized<T> {
    pub(crate) fn new(value: T, rule: RuleId, policy_version: u64) -> Self {
        Self {
            value,
            rule,
            policy_version,
            judged_at_delivery: false,
        }
    }

    pub(crate) fn judge_at_delivery(self) -> Self {
        Self {
            judged_at_delivery: true,
            ..self
        }
    }

    /// For a subscription: whether only the subscription was granted, so that each message needs a
    /// decision of its own before it is delivered.
    pub fn judged_at_delivery(&self) -> bool {
        self.judged_at_delivery
    }

    /// What was allowed.
    pub fn get(&self) -> &T {
        &self.value
    }

    /// What was allowed, without the proof.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Which rule allowed it; a number that means something in the snapshot of
    /// [`policy_version`](Self::policy_version) only.
    pub fn rule(&self) -> RuleId {
        self.rule
    }

    /// The version of the snapshot that decided.
    pub fn policy_version(&self) -> u64 {
        self.policy_version
    }
}

/// The place of a rule in its snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RuleId(pub(crate) u32);

/// The policy does not allow it.
#[derive(Clone, Debug, PartialEq)]
pub struct Denied {
    /// The rule that denied, or the default deny.
    pub rule: RuleRef,
    /// What was denied. A retained publish may be denied for its retain bit alone.
    pub action: Action,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rule.0 {
            Site::DefaultDeny => {
                write!(
                    f,
                    "{} denied: no rule allows it (default deny)",
                    self.action
                )
            }
            _ => write!(f, "{} denied by {}", self.action, self.rule),
        }
    }
}

impl std::error::Error for Denied {}

/// Where a rule stands, for logs and answers to people. Cheap to clone.
///
/// Prints as `policy.toml:12 own-subtree`, `built-in:own-subtree` or `default deny`; a name with
/// anything but letters, digits, `.`, `_` and `-` is quoted and escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRef(Site);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Site {
    DefaultDeny,
    BuiltIn(&'static str),
    File(Arc<FileSite>),
}

#[derive(Debug, PartialEq, Eq)]
struct FileSite {
    file: Arc<str>,
    line: usize,
    name: Option<Box<str>>,
}

impl RuleRef {
    pub(crate) fn default_deny() -> Self {
        Self(Site::DefaultDeny)
    }

    pub(crate) fn built_in(name: &'static str) -> Self {
        Self(Site::BuiltIn(name))
    }

    pub(crate) fn in_file(file: Arc<str>, line: usize, name: Option<Box<str>>) -> Self {
        Self(Site::File(Arc::new(FileSite { file, line, name })))
    }

    /// Whether no rule spoke and the default denied.
    pub fn is_default_deny(&self) -> bool {
        self.0 == Site::DefaultDeny
    }
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Site::DefaultDeny => f.write_str("default deny"),
            Site::BuiltIn(name) => write!(f, "built-in:{name}"),
            Site::File(site) => {
                write!(f, "{}:{}", site.file, site.line)?;
                match site.name.as_deref() {
                    None => Ok(()),
                    Some(name) if is_plain(name) => write!(f, " {name}"),
                    Some(name) => write!(f, " {name:?}"),
                }
            }
        }
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_prints_with_file_line_and_name() {
        let plain = RuleRef::in_file("policy.toml".into(), 12, Some("own-subtree".into()));
        assert_eq!(plain.to_string(), "policy.toml:12 own-subtree");
        let nameless = RuleRef::in_file("policy.toml".into(), 3, None);
        assert_eq!(nameless.to_string(), "policy.toml:3");
        assert_eq!(
            RuleRef::built_in("own-subtree").to_string(),
            "built-in:own-subtree"
        );
    }

    #[test]
    fn a_name_with_control_characters_is_escaped() {
        let rule = RuleRef::in_file("p".into(), 1, Some("a\n\u{1b}[2Jb".into()));
        assert_eq!(rule.to_string(), "p:1 \"a\\n\\u{1b}[2Jb\"");
    }

    #[test]
    fn a_denial_says_what_and_by_which_rule() {
        let by_rule = Denied {
            rule: RuleRef::in_file("policy.toml".into(), 12, Some("no commands".into())),
            action: Action::Publish,
        };
        assert_eq!(
            by_rule.to_string(),
            "publish denied by policy.toml:12 \"no commands\""
        );
        let by_default = Denied {
            rule: RuleRef::default_deny(),
            action: Action::Subscribe,
        };
        assert_eq!(
            by_default.to_string(),
            "subscribe denied: no rule allows it (default deny)"
        );
    }
}
