//! From the TOML tree with its places to a [`Config`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::config::{Config, Process};
use crate::limits::Limits;
use crate::listener::{LISTENERS_MAX, Listener};
use crate::nearest::nearest;
use crate::problem::{ConfigErrors, Problems};
use crate::section::{FieldSpec, Section, SectionSpec};
use crate::sections::{Auth, Log, Mqtt, PolicyFiles, Tls};
use crate::setting::{Value, quoted};
use crate::store::Store;
use crate::{Loaded, check};

/// The most characters of a wrong value that are shown.
const SHOWN_CHARS_MAX: usize = 60;

/// A section as it was written.
pub(crate) struct Written<S> {
    pub(crate) section: S,
    /// The keys that were written, with the places of their values.
    pub(crate) keys: BTreeMap<String, Range<usize>>,
    /// The place of the section.
    pub(crate) at: Range<usize>,
    /// Whether every value written was read; if not, comparing keys would find errors that are not there.
    pub(crate) is_complete: bool,
}

/// Everything as it was written.
pub(crate) struct RawConfig {
    pub(crate) process: Written<Process>,
    pub(crate) listeners: Vec<Written<Listener>>,
    pub(crate) tls: Written<Tls>,
    pub(crate) mqtt: Written<Mqtt>,
    pub(crate) limits: Written<Limits>,
    pub(crate) auth: Written<Auth>,
    pub(crate) policy: Written<PolicyFiles>,
    pub(crate) store: Written<Store>,
    pub(crate) log: Written<Log>,
}

/// Reads the text of a file whose relative paths start at `folder`.
pub(crate) fn read(file: &str, folder: &Path, text: &str) -> Result<Loaded, ConfigErrors> {
    let mut problems = Problems::new(file, text);
    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    for error in &syntax_errors {
        let message = error.message().trim().replace('\n', ", ");
        problems.error(
            error.span().unwrap_or(0..0),
            format!("not valid TOML: {message}"),
        );
    }
    if problems.has_errors() {
        // What is left of a broken tree would only add errors that are not there.
        return Err(problems.finish().err().unwrap_or(ConfigErrors(Vec::new())));
    }
    let mut reader = Reader { folder, problems };
    let mut raw = reader.document(document.get_ref());
    check::listeners(&mut raw.listeners, &mut reader.problems);
    check::limits(&raw.limits, &mut reader.problems);
    check::store(&raw.store, &raw.limits, &mut reader.problems);
    let warnings = reader.problems.finish()?;
    Ok(Loaded {
        config: raw.into_config(),
        warnings,
    })
}

impl RawConfig {
    fn into_config(self) -> Config {
        let defaults = Config::default();
        let listeners: Vec<Listener> = self.listeners.into_iter().map(|raw| raw.section).collect();
        Config {
            user: self.process.section.user,
            shards: self.process.section.shards,
            sys_interval_secs: self.process.section.sys_interval_secs,
            sys_version: self.process.section.sys_version,
            listeners: if listeners.is_empty() {
                defaults.listeners
            } else {
                listeners
            },
            tls: self.tls.section,
            mqtt: self.mqtt.section,
            limits: self.limits.section,
            auth: self.auth.section,
            policy: self.policy.section,
            store: self.store.section,
            log: self.log.section,
        }
    }
}

struct Reader<'t> {
    folder: &'t Path,
    problems: Problems<'t>,
}

impl Reader<'_> {
    fn document(&mut self, document: &DeTable<'_>) -> RawConfig {
        let specs = Config::specs();
        let sections: Vec<&str> = specs.iter().map(SectionSpec::name).collect();
        let is_section = |key: &str| !key.is_empty() && sections.contains(&key);
        RawConfig {
            process: self.table(document, 0..0, &is_section, &sections),
            listeners: self.listeners(document),
            tls: self.section(document),
            mqtt: self.section(document),
            limits: self.section(document),
            auth: self.section(document),
            policy: self.section(document),
            store: self.section(document),
            log: self.section(document),
        }
    }

    /// Reads the section that is a table of its own.
    fn section<S: Section>(&mut self, document: &DeTable<'_>) -> Written<S> {
        let spec = S::spec();
        match find(document, spec.name()) {
            Some(value) => self.table_value(&spec, value),
            None => Written::empty(),
        }
    }

    fn listeners(&mut self, document: &DeTable<'_>) -> Vec<Written<Listener>> {
        let spec = Listener::spec();
        let Some(value) = find(document, spec.name()) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            self.problems.error(
                value.span(),
                format!(
                    "listener is {}; write [[listener]] with two brackets, since there may be several",
                    shown(value.get_ref())
                ),
            );
            return Vec::new();
        };
        if items.len() > LISTENERS_MAX {
            self.problems.error(
                value.span(),
                format!(
                    "{} listeners; allowed: at most {LISTENERS_MAX}",
                    items.len()
                ),
            );
            return Vec::new();
        }
        items
            .iter()
            .map(|item| self.table_value(&spec, item))
            .collect()
    }

    fn table_value<S: Section>(&mut self, spec: &SectionSpec, value: &Value<'_>) -> Written<S> {
        if let Some(table) = value.get_ref().as_table() {
            return self.table(table, value.span(), &|_| false, &[]);
        }
        self.problems.error(
            value.span(),
            format!(
                "{} is {}; allowed: a section {}",
                spec.name(),
                shown(value.get_ref()),
                spec.header
            ),
        );
        Written::empty()
    }

    /// Reads the keys of a table, but those that somebody else reads; `others` are their names, for suggestions.
    fn table<S: Section>(
        &mut self,
        table: &DeTable<'_>,
        at: Range<usize>,
        is_others: &dyn Fn(&str) -> bool,
        others: &[&str],
    ) -> Written<S> {
        let spec = S::spec();
        let mut written = Written {
            section: S::default(),
            keys: BTreeMap::new(),
            at,
            is_complete: true,
        };
        for (key, value) in table {
            let name: &str = key.get_ref();
            if is_others(name) {
                continue;
            }
            let Some(field) = spec.fields.iter().find(|field| field.key == name) else {
                let message = unknown_key(&spec, name, others);
                self.problems.error(key.span(), message);
                continue;
            };
            match written.section.set(name, value, self.folder) {
                Ok(()) => {
                    written.keys.insert(name.to_owned(), value.span());
                }
                Err(wrong) => {
                    written.is_complete = false;
                    let message = wrong_value(&spec, field, wrong);
                    self.problems.error(wrong.span(), message);
                }
            }
        }
        written
    }
}

impl<S: Section> Written<S> {
    fn empty() -> Self {
        Self {
            section: S::default(),
            keys: BTreeMap::new(),
            at: 0..0,
            is_complete: true,
        }
    }

    /// The place of a key's value, or of the section if it was not written.
    pub(crate) fn at(&self, key: &str) -> Range<usize> {
        self.keys
            .get(key)
            .cloned()
            .unwrap_or_else(|| self.at.clone())
    }

    /// Whether a key was written.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }
}

fn find<'t, 'i>(table: &'t DeTable<'i>, name: &str) -> Option<&'t Value<'i>> {
    table
        .iter()
        .find(|(key, _)| key.get_ref() == name)
        .map(|(_, value)| value)
}

fn unknown_key(spec: &SectionSpec, name: &str, others: &[&str]) -> String {
    let keys: Vec<&str> = spec
        .fields
        .iter()
        .map(|field| field.key)
        .chain(others.iter().copied().filter(|other| !other.is_empty()))
        .collect();
    let mut message = format!(
        "unknown key {} in {}; allowed: {}",
        shown_text(name),
        spec.place(),
        keys.join(", ")
    );
    match nearest(name, keys) {
        Some(near) => message += &format!("; did you mean \"{near}\"?"),
        None => {
            message += &section_of(name).map_or(String::new(), |header| {
                format!("; {name} is a key of {header}")
            })
        }
    }
    message
}

/// The section a key belongs to that was written in another one.
fn section_of(name: &str) -> Option<&'static str> {
    let specs = Config::specs();
    let spec = specs
        .iter()
        .find(|spec| spec.fields.iter().any(|field| field.key == name))?;
    Some(match spec.header {
        "" => "the file, before the first section",
        header => header,
    })
}

fn wrong_value(spec: &SectionSpec, field: &FieldSpec, wrong: &Value<'_>) -> String {
    let mut message = format!(
        "{} is {}; allowed: {}",
        spec.path(field.key),
        shown(wrong.get_ref()),
        field.kind.allowed()
    );
    let word = wrong.get_ref().as_str();
    let meant = word.and_then(|word| nearest(word, field.kind.words().iter().copied()));
    if let Some(meant) = meant {
        message += &format!("; did you mean \"{meant}\"?");
    }
    message
}

/// A wrong value as an error shows it.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => shown_text(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) if items.is_empty() => "an empty list".to_owned(),
        DeValue::Array(items) => format!("a list of {}", items.len()),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn shown_text(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => quoted(text.get(..end).unwrap_or("")) + "…",
        None => quoted(text),
    }
}
