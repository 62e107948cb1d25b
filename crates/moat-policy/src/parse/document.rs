//! One policy file: TOML into rules and groups, key by key.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::place::Lines;
use super::{NAME_BYTES_MAX, ParsedGroup, ParsedRule, PolicySourceText, State};
use crate::decision::RuleRef;
use crate::error::{PolicyErrorKind, PolicyWarningKind};
use crate::index::Who;
use crate::nearest::nearest;
use crate::pattern::Pattern;
use crate::rule::{Actions, Effect, Rule};

const FILE_KEYS: &[&str] = &["version", "rule", "group"];
const RULE_KEYS: &[&str] = &["name", "who", "allow", "deny", "always", "topics"];
const GROUP_KEYS: &[&str] = &["name", "members"];

/// A value with its place in the text.
type Value<'t> = Spanned<DeValue<'t>>;

/// A string of a list, with its place in the text.
type Word<'v> = (&'v str, Range<usize>);

pub(super) struct FileParser<'t, 's> {
    lines: Lines<'t>,
    state: &'s mut State,
}

impl<'t, 's> FileParser<'t, 's> {
    pub(super) fn new(number: usize, source: &'t PolicySourceText, state: &'s mut State) -> Self {
        Self {
            lines: Lines::new(number, &source.file, &source.text),
            state,
        }
    }

    pub(super) fn file(&mut self) {
        let max = self.state.limits.file_bytes;
        if self.lines.text.len() > max {
            return self.error(0..0, || PolicyErrorKind::TooMany { what: "bytes", max });
        }
        let (root, syntax_errors) = DeTable::parse_recoverable(self.lines.text);
        for error in &syntax_errors {
            self.error(error.span().unwrap_or(0..0), || {
                PolicyErrorKind::Syntax(error.message().replace('\n', " "))
            });
        }
        // What a broken file seems to say is guesswork; complaints about it would mislead.
        if !syntax_errors.is_empty() {
            return;
        }
        let mut has_version = false;
        for (key, value) in root.get_ref() {
            match &**key.get_ref() {
                "version" => {
                    has_version = true;
                    self.version(value);
                }
                "rule" => self.tables("rule", value, Self::rule),
                "group" => self.tables("group", value, Self::group),
                _ => self.unknown_key(key, "the policy file", FILE_KEYS),
            }
        }
        if !has_version {
            self.error(0..0, || PolicyErrorKind::MissingKey {
                key: "version",
                place: "the policy file",
                example: "`version = 1` as its first line",
            });
        }
    }

    fn version(&mut self, value: &Value<'t>) {
        match value.get_ref() {
            DeValue::Integer(number) if number.as_str() == "1" => {}
            DeValue::Integer(number) => {
                self.error(value.span(), || PolicyErrorKind::UnknownVersion {
                    found: number.to_string(),
                })
            }
            _ => self.wrong_type("version", value, "the number 1"),
        }
    }

    /// Each table of an array of tables.
    fn tables(
        &mut self,
        key: &'static str,
        value: &Value<'t>,
        each: fn(&mut Self, &DeTable<'t>, Range<usize>),
    ) {
        const EXPECTED: &str = "a table with double brackets: [[rule]] or [[group]]";
        let DeValue::Array(entries) = value.get_ref() else {
            return self.wrong_type(key, value, EXPECTED);
        };
        for entry in entries.iter() {
            match entry.get_ref() {
                DeValue::Table(table) => each(self, table, entry.span()),
                _ => self.wrong_type(key, entry, EXPECTED),
            }
        }
    }

    fn rule(&mut self, table: &DeTable<'t>, span: Range<usize>) {
        let (mut name, mut who, mut allow, mut deny, mut always, mut topics) =
            (None, None, None, None, None, None);
        for (key, value) in table {
            match &**key.get_ref() {
                "name" => name = Some(value),
                "who" => who = Some(value),
                "allow" => allow = Some(value),
                "deny" => deny = Some(value),
                "always" => always = Some(value),
                "topics" => topics = Some(value),
                _ => self.unknown_key(key, "[[rule]]", RULE_KEYS),
            }
        }
        let at = self.lines.place(span.start);
        let name = name.and_then(|value| self.name("name", value));
        let who = self.who(who, &span);
        let effect = self.effect(allow, deny, &span);
        let always = self.always(always, allow.is_some());
        let topics = self.topics(topics, &span);
        let max = self.state.limits.rules;
        if self.state.parsed.rules.len() == max {
            return self.error(span, || PolicyErrorKind::TooMany { what: "rules", max });
        }
        // A rule with a mistake still counts; since there is an error, nobody will use it.
        let (effect, actions) = effect.unwrap_or((Effect::Deny, Actions::default()));
        self.state.parsed.rules.push(ParsedRule {
            who,
            always,
            rule: Rule {
                effect,
                actions,
                topics,
                at: RuleRef::in_file(at.file, at.line, name.map(Box::from)),
            },
        });
    }

    fn group(&mut self, table: &DeTable<'t>, span: Range<usize>) {
        let (mut name, mut members) = (None, None);
        for (key, value) in table {
            match &**key.get_ref() {
                "name" => name = Some(value),
                "members" => members = Some(value),
                _ => self.unknown_key(key, "[[group]]", GROUP_KEYS),
            }
        }
        if name.is_none() {
            self.missing(&span, "[[group]]", "name", "`name = \"dashboards\"`");
        }
        let name: Option<Arc<str>> = name
            .and_then(|value| self.name("name", value))
            .map(Arc::from);
        let members = match members {
            // An empty list is well: the authentication may fill the group.
            Some(value) => self.words("members", value),
            None => {
                self.missing(&span, "[[group]]", "members", "`members = [\"anna\"]`");
                Vec::new()
            }
        };
        let members = members
            .into_iter()
            .filter_map(|word| self.checked_name(word))
            .map(Arc::from)
            .collect();
        if let Some(name) = name {
            self.add_group(ParsedGroup { name, members }, span);
        }
    }

    fn add_group(&mut self, group: ParsedGroup, span: Range<usize>) {
        if let Some(first) = self.state.group_sites.get(&group.name) {
            let first = format!("{}:{}", first.file, first.line);
            return self.error(span, || PolicyErrorKind::DuplicateGroup {
                group: group.name.to_string(),
                first,
            });
        }
        let max = self.state.limits.groups;
        if self.state.parsed.groups.len() == max {
            return self.error(span, || PolicyErrorKind::TooMany {
                what: "groups",
                max,
            });
        }
        let place = self.lines.place(span.start);
        self.state
            .group_sites
            .insert(Arc::clone(&group.name), place);
        self.state.parsed.groups.push(group);
    }

    fn who(&mut self, value: Option<&Value<'t>>, rule: &Range<usize>) -> Vec<Who> {
        let Some(value) = value else {
            self.missing(rule, "[[rule]]", "who", "`who = [\"*\"]` or names");
            return Vec::new();
        };
        let words = self.words("who", value);
        self.not_empty(
            value,
            "who",
            "write `who = [\"*\"]` for every identity, or delete the rule",
        );
        words
            .into_iter()
            .filter_map(|(word, span)| {
                if word == "*" {
                    return Some(Who::Everyone);
                }
                let Some(group) = word.strip_prefix("group:") else {
                    return self.checked_name((word, span)).map(|n| Who::Name(n.into()));
                };
                let group: Arc<str> = self.checked_name((group, span.clone()))?.into();
                let place = self.lines.place(span.start);
                self.state.group_uses.push((Arc::clone(&group), place));
                Some(Who::Group(group))
            })
            .collect()
    }

    fn effect(
        &mut self,
        allow: Option<&Value<'t>>,
        deny: Option<&Value<'t>>,
        rule: &Range<usize>,
    ) -> Option<(Effect, Actions)> {
        if allow.is_some() && deny.is_some() {
            self.error(rule.clone(), || PolicyErrorKind::BothEffects);
        }
        if allow.is_none() && deny.is_none() {
            self.error(rule.clone(), || PolicyErrorKind::NoEffect);
        }
        let allowed = allow.map(|value| (Effect::Allow, self.actions("allow", value)));
        let denied = deny.map(|value| (Effect::Deny, self.actions("deny", value)));
        allowed.or(denied)
    }

    fn actions(&mut self, key: &'static str, value: &Value<'t>) -> Actions {
        let mut actions = Actions::default();
        for (word, span) in self.words(key, value) {
            if !actions.add_word(word) {
                self.error(span, || PolicyErrorKind::UnknownAction {
                    action: word.to_owned(),
                    nearest: nearest(word, Actions::WORDS),
                });
            }
        }
        self.not_empty(
            value,
            key,
            "name at least one of publish, subscribe, retain",
        );
        actions
    }

    fn always(&mut self, value: Option<&Value<'t>>, is_allow: bool) -> bool {
        let Some(value) = value else { return false };
        match value.get_ref() {
            DeValue::Boolean(true) if is_allow => {
                self.error(value.span(), || PolicyErrorKind::AlwaysOnAllow);
                false
            }
            DeValue::Boolean(always) => *always,
            _ => {
                self.wrong_type("always", value, "true or false");
                false
            }
        }
    }

    fn topics(&mut self, value: Option<&Value<'t>>, rule: &Range<usize>) -> Box<[Pattern]> {
        let Some(value) = value else {
            self.missing(
                rule,
                "[[rule]]",
                "topics",
                "`topics = [\"devices/${identity}/#\"]`",
            );
            return Box::default();
        };
        let words = self.words("topics", value);
        self.not_empty(value, "topics", "write `topics = [\"#\"]` for every topic");
        words
            .into_iter()
            .filter_map(|(topic, span)| match Pattern::compile(topic) {
                Ok(pattern) => {
                    if pattern.uses_client_id() {
                        let topic = topic.to_owned();
                        self.state.warn(
                            self.lines.place(span.start),
                            PolicyWarningKind::ClientIdPlaceholder {
                                topic,
                                written: "${clientid}",
                                instead: "${identity}",
                            },
                        );
                    }
                    Some(pattern)
                }
                Err(reason) => {
                    self.error(span, || PolicyErrorKind::InvalidTopic {
                        topic: topic.to_owned(),
                        reason,
                    });
                    None
                }
            })
            .collect()
    }

    /// The strings of a list; what is none of them is an error each.
    fn words<'v>(&mut self, key: &'static str, value: &'v Value<'t>) -> Vec<Word<'v>> {
        const EXPECTED: &str = "a list of strings, as in [\"…\", \"…\"]";
        let DeValue::Array(entries) = value.get_ref() else {
            self.wrong_type(key, value, EXPECTED);
            return Vec::new();
        };
        let max = self.state.limits.list_entries;
        if entries.len() > max {
            self.error(value.span(), || PolicyErrorKind::TooMany {
                what: "entries in one list",
                max,
            });
            return Vec::new();
        }
        entries
            .iter()
            .filter_map(|entry| match entry.get_ref() {
                DeValue::String(word) => Some((&**word, entry.span())),
                _ => {
                    self.wrong_type(key, entry, EXPECTED);
                    None
                }
            })
            .collect()
    }

    fn not_empty(&mut self, value: &Value<'t>, key: &'static str, advice: &'static str) {
        if value
            .get_ref()
            .as_array()
            .is_some_and(|list| list.is_empty())
        {
            self.error(value.span(), || PolicyErrorKind::EmptyList { key, advice });
        }
    }

    fn name<'v>(&mut self, key: &'static str, value: &'v Value<'t>) -> Option<&'v str> {
        match value.get_ref() {
            DeValue::String(name) => self.checked_name((name, value.span())),
            _ => {
                self.wrong_type(key, value, "a string");
                None
            }
        }
    }

    fn checked_name<'v>(&mut self, (name, span): Word<'v>) -> Option<&'v str> {
        let is_valid =
            !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control);
        if !is_valid {
            self.error(span, || PolicyErrorKind::InvalidName {
                name: name.chars().take(NAME_BYTES_MAX).collect(),
                max: NAME_BYTES_MAX,
            });
        }
        is_valid.then_some(name)
    }

    fn missing(
        &mut self,
        span: &Range<usize>,
        place: &'static str,
        key: &'static str,
        example: &'static str,
    ) {
        self.error(span.clone(), || PolicyErrorKind::MissingKey {
            key,
            place,
            example,
        });
    }

    fn unknown_key(
        &mut self,
        key: &Spanned<Cow<'t, str>>,
        place: &'static str,
        allowed: &'static [&'static str],
    ) {
        self.error(key.span(), || PolicyErrorKind::UnknownKey {
            key: key.get_ref().to_string(),
            place,
            allowed,
            nearest: nearest(key.get_ref(), allowed.iter().copied()),
        });
    }

    fn wrong_type(&mut self, key: &'static str, value: &Value<'t>, expected: &'static str) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.error(value.span(), || PolicyErrorKind::WrongType {
            key,
            expected,
            found,
        });
    }

    fn error(&mut self, span: Range<usize>, kind: impl FnOnce() -> PolicyErrorKind) {
        self.state.error(|| self.lines.place(span.start), kind);
    }
}
