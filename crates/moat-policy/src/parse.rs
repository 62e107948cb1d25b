//! `policy.toml` and mosquitto's ACL files into rules: every mistake of every file, with its place.

use std::collections::HashMap;
use std::sync::Arc;

use self::acl::AclParser;
use self::document::FileParser;
use self::place::Place;
use crate::error::{PolicyError, PolicyErrorKind, PolicyWarning, PolicyWarningKind};
use crate::index::Who;
use crate::nearest::nearest;
use crate::rule::Rule;

mod acl;
mod document;
mod place;

/// Longest policy file. Unit: bytes.
pub const POLICY_FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most rules of all sources together.
pub const RULES_MAX: usize = 250_000;
/// Most groups of all sources together.
pub const GROUPS_MAX: usize = 10_000;
/// Most entries of one `who`, `topics` or `members`.
pub const LIST_ENTRIES_MAX: usize = 100_000;
/// Longest name of an identity, a group or a rule. Unit: bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Most mistakes one report holds.
pub const ERRORS_MAX: usize = 100;

/// How a policy file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyFormat {
    /// moat's own, `policy.toml`.
    Toml,
    /// mosquitto's `acl_file`.
    MosquittoAcl,
}

impl PolicyFormat {
    /// The format of a file: a name that ends in `.toml` is moat's own, every other is an ACL.
    pub fn of_file(name: &str) -> Self {
        // Not the extension of a path: a file that is called `.toml` and nothing else has none.
        if name.ends_with(".toml") {
            Self::Toml
        } else {
            Self::MosquittoAcl
        }
    }
}

/// The text of one policy file.
#[derive(Clone, Debug)]
pub struct PolicySourceText {
    /// The file's name as it shall appear in errors and logs.
    pub file: String,
    /// How it is written.
    pub format: PolicyFormat,
    /// Its content.
    pub text: String,
}

/// The limits of a parse, so that tests can reach them with small files.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParseLimits {
    pub(crate) file_bytes: usize,
    pub(crate) rules: usize,
    pub(crate) groups: usize,
    pub(crate) list_entries: usize,
}

impl Default for ParseLimits {
    fn default() -> Self {
        Self {
            file_bytes: POLICY_FILE_BYTES_MAX,
            rules: RULES_MAX,
            groups: GROUPS_MAX,
            list_entries: LIST_ENTRIES_MAX,
        }
    }
}

/// What the files say, when they say nothing wrong.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) rules: Vec<ParsedRule>,
    pub(crate) groups: Vec<ParsedGroup>,
    pub(crate) warnings: Vec<PolicyWarning>,
}

#[derive(Debug)]
pub(crate) struct ParsedRule {
    pub(crate) who: Vec<Who>,
    pub(crate) always: bool,
    pub(crate) rule: Rule,
}

#[derive(Debug)]
pub(crate) struct ParsedGroup {
    pub(crate) name: Arc<str>,
    pub(crate) members: Vec<Arc<str>>,
}

/// Reads all sources, in their order.
pub(crate) fn parse(
    sources: &[PolicySourceText],
    limits: ParseLimits,
) -> Result<Parsed, Vec<PolicyError>> {
    let mut state = State {
        limits,
        parsed: Parsed::default(),
        group_sites: HashMap::new(),
        group_uses: Vec::new(),
        errors: Vec::new(),
        errors_dropped: 0,
    };
    for (number, source) in sources.iter().enumerate() {
        match source.format {
            PolicyFormat::Toml => FileParser::new(number, source, &mut state).file(),
            PolicyFormat::MosquittoAcl => AclParser::new(number, source, &mut state).file(),
        }
    }
    state.check_group_uses();
    state.finish()
}

/// What is gathered over all files.
struct State {
    limits: ParseLimits,
    parsed: Parsed,
    /// Where each group is defined.
    group_sites: HashMap<Arc<str>, Place>,
    /// Where rules name groups; the definition may follow later.
    group_uses: Vec<(Arc<str>, Place)>,
    /// Each with the number of its source.
    errors: Vec<(usize, PolicyError)>,
    errors_dropped: usize,
}

impl State {
    /// Takes the mistake down while there is room; the words are made only then, because a
    /// hostile file may hold a million of them.
    fn error(&mut self, at: impl FnOnce() -> Place, kind: impl FnOnce() -> PolicyErrorKind) {
        if self.errors.len() == ERRORS_MAX {
            self.errors_dropped += 1;
            return;
        }
        let at = at();
        let error = PolicyError {
            file: at.file.to_string(),
            line: at.line,
            column: at.column,
            kind: kind(),
        };
        self.errors.push((at.source, error));
    }

    fn warn(&mut self, at: Place, kind: PolicyWarningKind) {
        if self.parsed.warnings.len() < ERRORS_MAX {
            self.parsed.warnings.push(PolicyWarning {
                file: at.file.to_string(),
                line: at.line,
                column: at.column,
                kind,
            });
        }
    }

    fn check_group_uses(&mut self) {
        for (group, at) in std::mem::take(&mut self.group_uses) {
            if self.group_sites.contains_key(&group) {
                continue;
            }
            let known: Vec<Arc<str>> = if self.errors.len() < ERRORS_MAX {
                self.group_sites.keys().cloned().collect()
            } else {
                Vec::new()
            };
            self.error(
                || at,
                || PolicyErrorKind::UnknownGroup {
                    nearest: nearest(&group, known.iter().map(|name| &**name)).map(str::to_owned),
                    group: group.to_string(),
                },
            );
        }
    }

    fn finish(mut self) -> Result<Parsed, Vec<PolicyError>> {
        if self.errors.is_empty() {
            return Ok(self.parsed);
        }
        // Keys are visited by name; people read from top to bottom.
        self.errors
            .sort_by_key(|(source, error)| (*source, error.line, error.column));
        let mut errors: Vec<PolicyError> = self.errors.into_iter().map(|(_, e)| e).collect();
        if self.errors_dropped > 0
            && let Some(last) = errors.last().cloned()
        {
            errors.push(PolicyError {
                kind: PolicyErrorKind::More {
                    count: self.errors_dropped,
                },
                ..last
            });
        }
        Err(errors)
    }
}

#[cfg(test)]
mod tests;
