//! What is wrong with a policy file, in words its author can act on.

use std::fmt;

use crate::pattern::PatternError;

/// One mistake in a policy file. Prints as `file:line:column: what is wrong, what is allowed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The file, as the caller named it.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub kind: PolicyErrorKind,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.kind
        )
    }
}

impl std::error::Error for PolicyError {}

/// The kinds of mistakes, one per cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyErrorKind {
    /// The file is no TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// A key that does not exist at this place.
    #[error("unknown key {key:?} in {place}{}; allowed: {}", did_you_mean(*nearest), allowed.join(", "))]
    UnknownKey {
        /// The key as written.
        key: String,
        /// Where it stands: the file, a rule, a group.
        place: &'static str,
        /// The keys of that place.
        allowed: &'static [&'static str],
        /// The key that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A key that must be there is not.
    #[error("{place} has no `{key}`; add {example}")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// Where it should stand.
        place: &'static str,
        /// What it could look like.
        example: &'static str,
    },
    /// A value of the wrong type.
    #[error("`{key}` is {found}; it must be {expected}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// What it must be, with an example.
        expected: &'static str,
        /// What was written.
        found: &'static str,
    },
    /// A policy file of a later format.
    #[error("version {found} is unknown to this moat; write `version = 1`")]
    UnknownVersion {
        /// The number as written.
        found: String,
    },
    /// An empty list would make a rule that says nothing.
    #[error("`{key}` is empty; {advice}")]
    EmptyList {
        /// The key.
        key: &'static str,
        /// What to write instead.
        advice: &'static str,
    },
    /// A rule with neither `allow` nor `deny`.
    #[error("the rule has neither `allow` nor `deny`; add one, as in `allow = [\"publish\"]`")]
    NoEffect,
    /// A rule with both `allow` and `deny`.
    #[error(
        "the rule has both `allow` and `deny`; make it two rules, in the order they shall be tried"
    )]
    BothEffects,
    /// `always` beside `allow`.
    #[error("`always` is for `deny` rules only: an `allow` cannot decide before every other rule")]
    AlwaysOnAllow,
    /// An action that does not exist.
    #[error("unknown action {action:?}{}; allowed: publish, subscribe, retain", did_you_mean(*nearest))]
    UnknownAction {
        /// The action as written.
        action: String,
        /// The action that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A topic pattern that does not compile.
    #[error("invalid topic pattern {topic:?}: {reason}")]
    InvalidTopic {
        /// The pattern as written.
        topic: String,
        /// What is wrong with it.
        reason: PatternError,
    },
    /// A name nobody can have.
    #[error("invalid name {name:?}: a name has 1 to {max} bytes and no control characters")]
    InvalidName {
        /// The name as written.
        name: String,
        /// Longest name. Unit: bytes.
        max: usize,
    },
    /// A rule names a group no `[[group]]` defines.
    #[error(
        "unknown group {group:?}{}; define it with [[group]], `members = []` if the authentication fills it",
        nearest.as_ref().map_or_else(String::new, |name| format!(", did you mean {name:?}?"))
    )]
    UnknownGroup {
        /// The group as written, without `group:`.
        group: String,
        /// The group that was probably meant.
        nearest: Option<String>,
    },
    /// Two `[[group]]` of one name.
    #[error("group {group:?} is defined twice, first in {first}; merge the two lists of members")]
    DuplicateGroup {
        /// The name.
        group: String,
        /// `file:line` of the first definition.
        first: String,
    },
    /// A line of a mosquitto ACL that begins with an unknown word.
    #[error(
        "unknown word {word:?}{}; allowed: `user NAME`, `topic [read|write|readwrite|deny] FILTER`, \
         `pattern [read|write|readwrite|deny] FILTER`, `# comment`; a file whose name does not end in \
         .toml is read as a mosquitto ACL",
        did_you_mean(*nearest)
    )]
    UnknownAclWord {
        /// The word as written.
        word: String,
        /// The word that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A line of a mosquitto ACL with two words after `topic` or `pattern`, the first of them unknown.
    #[error(
        "unknown access {word:?}{}; allowed: read, write, readwrite, deny, or the filter alone; \
         before a filter with a blank in it stands always one of them",
        did_you_mean(*nearest)
    )]
    UnknownAclAccess {
        /// The word as written.
        word: String,
        /// The word that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A line of a mosquitto ACL without a filter.
    #[error(
        "no topic filter; write one at the end of the line, as in `topic read sensors/#`, and for a \
         topic that is called like an access `topic readwrite read`"
    )]
    MissingAclFilter,
    /// More of something than a policy may have.
    #[error("more than {max} {what}; split the policy or use groups and placeholders")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The report is cut here.
    #[error("and {count} more mistakes; correct the ones above first")]
    More {
        /// How many mistakes are not in the report.
        count: usize,
    },
}

fn did_you_mean(nearest: Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean \"{name}\"?"))
}

/// Something that works as written but is probably not meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyWarning {
    /// The file, as the caller named it.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is doubtful.
    pub kind: PolicyWarningKind,
}

impl fmt::Display for PolicyWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.kind
        )
    }
}

/// The kinds of warnings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyWarningKind {
    /// A rule that depends on the client id, which the client chooses unless the listener binds it.
    #[error(
        "{topic:?} uses {written}, which the client chooses itself on a listener with \
         `client_id = \"any\"`; use {instead}"
    )]
    ClientIdPlaceholder {
        /// The pattern as written.
        topic: String,
        /// How the client id is written in this kind of file.
        written: &'static str,
        /// How the identity is.
        instead: &'static str,
    },
    /// A `topic` line of a mosquitto ACL with `%u` or `%c` in it.
    #[error("{topic:?} stands for itself: %u and %c are filled in on `pattern` lines only")]
    LiteralSubstitution {
        /// The filter as written.
        topic: String,
    },
}
