//! mosquitto's `acl_file` into rules, line by line.
//!
//! mosquitto looks at the `topic` lines of a user, its denies first, and then at the `pattern` lines,
//! again the denies first. So that is the order in which the rules are put, whatever the order of
//! the lines. It grants every SUBSCRIBE and judges each delivery, which is a rule of its own here.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::place::Lines;
use super::{NAME_BYTES_MAX, ParsedRule, PolicySourceText, State};
use crate::decision::RuleRef;
use crate::error::{PolicyErrorKind, PolicyWarningKind};
use crate::identity::Identity;
use crate::index::Who;
use crate::nearest::nearest;
use crate::pattern::Pattern;
use crate::rule::{Actions, Effect, Rule};

/// The words a line may begin with.
const LINE_WORDS: [&str; 3] = ["user", "topic", "pattern"];
/// The words between `topic` or `pattern` and the filter.
const ACCESS_WORDS: [&str; 4] = ["read", "write", "readwrite", "deny"];

pub(super) struct AclParser<'t, 's> {
    file: Arc<str>,
    lines: Lines<'t>,
    state: &'s mut State,
    /// Whose the `topic` lines are: nobody's with a name, until a `user` line.
    user: Arc<str>,
    /// Everybody with a `topic` line.
    users: BTreeSet<Arc<str>>,
    topic_denies: Vec<ParsedRule>,
    topic_allows: Vec<ParsedRule>,
    pattern_denies: Vec<ParsedRule>,
    pattern_allows: Vec<ParsedRule>,
}

/// The two kinds of lines that say something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Topic,
    Pattern,
}

impl<'t, 's> AclParser<'t, 's> {
    pub(super) fn new(number: usize, source: &'t PolicySourceText, state: &'s mut State) -> Self {
        Self {
            file: Arc::from(&*source.file),
            lines: Lines::new(number, &source.file, &source.text),
            state,
            user: Arc::from(Identity::ANONYMOUS_NAME),
            users: BTreeSet::new(),
            topic_denies: Vec::new(),
            topic_allows: Vec::new(),
            pattern_denies: Vec::new(),
            pattern_allows: Vec::new(),
        }
    }

    pub(super) fn file(mut self) {
        let max = self.state.limits.file_bytes;
        let text = self.lines.text;
        if text.len() > max {
            return self.error(0, || PolicyErrorKind::TooMany { what: "bytes", max });
        }
        let mut start = 0;
        for (index, line) in text.split('\n').enumerate() {
            let content = line.trim_end();
            if !self.line(index + 1, start, content) {
                break;
            }
            start += line.len() + 1;
        }
        self.finish();
    }

    /// Reads one line that begins at byte `start`. Says whether to go on.
    fn line(&mut self, line: usize, start: usize, content: &'t str) -> bool {
        let end = start + content.len();
        let content = trim_blanks(content);
        if content.is_empty() || content.starts_with('#') {
            return true;
        }
        let (word, rest) = split_word(content);
        match word {
            "user" => self.user_line(end, rest),
            "topic" => return self.rule_line(Line::Topic, line, end, rest),
            "pattern" => return self.rule_line(Line::Pattern, line, end, rest),
            _ => self.error(end - content.len(), || PolicyErrorKind::UnknownAclWord {
                word: shortened(word),
                nearest: nearest(word, LINE_WORDS),
            }),
        }
        true
    }

    fn user_line(&mut self, end: usize, name: &str) {
        let is_valid =
            !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control);
        if is_valid {
            self.user = Arc::from(name);
        } else {
            self.error(end - name.len(), || PolicyErrorKind::InvalidName {
                name: shortened(name),
                max: NAME_BYTES_MAX,
            });
        }
    }

    fn rule_line(&mut self, kind: Line, line: usize, end: usize, rest: &str) -> bool {
        let Some((effect, actions, filter)) = self.access(end, rest) else {
            return true;
        };
        let compiled = match kind {
            Line::Topic => Pattern::compile_literal(filter),
            Line::Pattern => Pattern::compile_mosquitto(filter, effect == Effect::Deny),
        };
        let pattern = match compiled {
            Ok(pattern) => pattern,
            Err(reason) => {
                self.error(end - filter.len(), || PolicyErrorKind::InvalidTopic {
                    topic: filter.to_owned(),
                    reason,
                });
                return true;
            }
        };
        self.warn_about(kind, &pattern, end - filter.len(), filter);
        // One more than the rules of the lines: the one that grants subscriptions.
        let count = self.state.parsed.rules.len() + self.lines_taken() + 1;
        let max = self.state.limits.rules;
        if count >= max {
            self.error(end - filter.len(), || PolicyErrorKind::TooMany {
                what: "rules",
                max,
            });
            return false;
        }
        let (list, who) = match (kind, effect) {
            (Line::Topic, Effect::Deny) => (&mut self.topic_denies, None),
            (Line::Topic, _) => (&mut self.topic_allows, None),
            (Line::Pattern, Effect::Deny) => (&mut self.pattern_denies, Some(Who::Everyone)),
            (Line::Pattern, _) => (&mut self.pattern_allows, Some(Who::Everyone)),
        };
        let who = who.unwrap_or_else(|| {
            self.users.insert(Arc::clone(&self.user));
            Who::Name(Arc::clone(&self.user))
        });
        list.push(ParsedRule {
            who: vec![who],
            always: false,
            rule: Rule {
                effect,
                actions,
                topics: Box::new([pattern]),
                at: RuleRef::in_file(Arc::clone(&self.file), line, None),
            },
        });
        true
    }

    /// What a `topic` or `pattern` line says before its filter, and the filter.
    fn access<'r>(&mut self, end: usize, rest: &'r str) -> Option<(Effect, Actions, &'r str)> {
        let (word, filter) = split_word(rest);
        let is_access = ACCESS_WORDS.contains(&word);
        if filter.is_empty() {
            // `topic read` would be the topic of that name to mosquitto, and is a forgotten filter.
            if word.is_empty() || is_access {
                self.error(end - rest.len(), || PolicyErrorKind::MissingAclFilter);
                return None;
            }
            return Some((Effect::Allow, Actions::ALL, word));
        }
        match word {
            "read" => Some((Effect::Allow, Actions::RECEIVING, filter)),
            "write" => Some((Effect::Allow, Actions::SENDING, filter)),
            "readwrite" => Some((Effect::Allow, Actions::ALL, filter)),
            "deny" => Some((Effect::Deny, Actions::ALL, filter)),
            _ => {
                self.error(end - rest.len(), || PolicyErrorKind::UnknownAclAccess {
                    word: shortened(word),
                    nearest: nearest(word, ACCESS_WORDS),
                });
                None
            }
        }
    }

    fn warn_about(&mut self, kind: Line, pattern: &Pattern, offset: usize, filter: &str) {
        let topic = || filter.to_owned();
        if pattern.uses_client_id() {
            let kind = PolicyWarningKind::ClientIdPlaceholder {
                topic: topic(),
                written: "%c",
                instead: "%u",
            };
            self.state.warn(self.lines.place(offset), kind);
        } else if kind == Line::Topic && (filter.contains("%u") || filter.contains("%c")) {
            let kind = PolicyWarningKind::LiteralSubstitution { topic: topic() };
            self.state.warn(self.lines.place(offset), kind);
        }
    }

    fn lines_taken(&self) -> usize {
        self.topic_denies.len()
            + self.topic_allows.len()
            + self.pattern_denies.len()
            + self.pattern_allows.len()
    }

    /// Puts the rules in the order in which mosquitto looks at its lines.
    fn finish(self) {
        let has_patterns = !self.pattern_denies.is_empty() || !self.pattern_allows.is_empty();
        let subscribers: Vec<Who> = if has_patterns {
            vec![Who::Everyone]
        } else {
            self.users.into_iter().map(Who::Name).collect()
        };
        if subscribers.is_empty() {
            return;
        }
        let granted = ParsedRule {
            who: subscribers,
            always: false,
            rule: Rule {
                effect: Effect::JudgeDeliveries,
                actions: Actions::RECEIVING,
                topics: Box::default(),
                at: RuleRef::in_file(self.file, 1, Some("judged-at-delivery".into())),
            },
        };
        let rules = &mut self.state.parsed.rules;
        rules.push(granted);
        rules.extend(self.topic_denies);
        rules.extend(self.topic_allows);
        rules.extend(self.pattern_denies);
        rules.extend(self.pattern_allows);
    }

    fn error(&mut self, offset: usize, kind: impl FnOnce() -> PolicyErrorKind) {
        self.state.error(|| self.lines.place(offset), kind);
    }
}

/// The first word, and what follows the blanks behind it.
fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_at(text.find(is_blank).unwrap_or(text.len()));
    (word, trim_blanks(rest))
}

fn trim_blanks(text: &str) -> &str {
    text.trim_start_matches(is_blank)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// As much of a word as an error text bears.
fn shortened(word: &str) -> String {
    word.chars().take(NAME_BYTES_MAX).collect()
}

#[cfg(test)]
mod tests;
