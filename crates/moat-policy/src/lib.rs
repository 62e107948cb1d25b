//! Who may do what: identities, the compiled policy and its decisions.
//!
//! Bytes, files and clocks stay outside: the caller brings the text of the policy files, gets a
//! [`Snapshot`], and asks it. Only this crate makes an [`Authorized`], so that code which takes
//! one cannot be reached without a decision.
//!
//! - `identity`, `subject`: for whom a decision is made.
//! - `decision`: what it says, with the rule that said it.
//! - `pattern`, `placeholder`: sets of topics, per subject.
//! - `rule`, `index`: compiled rules, and which are for whom.
//! - `parse`, `error`, `nearest`: `policy.toml` and mosquitto's ACL files, and what can be wrong
//!   with them.
//! - `system`: the topics of the broker itself.
//! - `remembered`: the latest decisions about a publisher.
//! - `snapshot`: the compiled policy. `default_policy`: the file of a new data folder.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

#[cfg(test)]
mod brute_force;
#[cfg(any(test, feature = "checks"))]
pub mod checks;
mod decision;
mod default_policy;
mod error;
mod identity;
mod index;
mod nearest;
mod parse;
mod pattern;
mod placeholder;
mod remembered;
mod rule;
mod snapshot;
mod subject;
mod system;

pub use decision::{Action, Authorized, Denied, RuleId, RuleRef};
pub use default_policy::DEFAULT_POLICY_TOML;
pub use error::{PolicyError, PolicyErrorKind, PolicyWarning, PolicyWarningKind};
pub use identity::{CertificateFacts, Identity, Source};
pub use parse::{
    ERRORS_MAX, GROUPS_MAX, LIST_ENTRIES_MAX, NAME_BYTES_MAX, POLICY_FILE_BYTES_MAX, PolicyFormat,
    PolicySourceText, RULES_MAX,
};
pub use pattern::PatternError;
pub use remembered::{REMEMBERED_TOPIC_BYTES_MAX, REMEMBERED_TOPICS_MAX, Remembered};
pub use snapshot::Snapshot;
pub use subject::Subject;
pub use system::is_system_topic;
