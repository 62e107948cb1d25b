//! Topic patterns of rules: compiled levels, and the three questions a decision asks of them.
//!
//! A pattern stands for a set of topics, per subject. `matches` asks whether a topic is in the
//! set, `covers` whether a filter's topics all are, `overlaps` whether any is. None of them
//! allocates, and placeholders are compared in place instead of being expanded per identity.
//!
//! Topics whose first level starts with `$` are in the set only if the pattern's first level is
//! written out with its `$`: neither a wildcard [MQTT-4.7.2-1] nor a placeholder reaches them.

use crate::nearest::nearest;
use crate::placeholder::{Placeholder, Values};

/// Longest pattern, as for a topic on the wire. Unit: bytes.
pub(crate) const PATTERN_BYTES_MAX: usize = 65_535;
/// Most levels of a pattern.
pub(crate) const PATTERN_LEVELS_MAX: usize = 128;

/// A compiled topic pattern.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    levels: Box<[Level]>,
    /// Placeholders with at most one value; each needs one, or nothing matches.
    singles: Box<[Placeholder]>,
    /// The placeholder that may have several values, if there is one.
    several: Option<Placeholder>,
    /// Whether the first level is written out and starts with `$`.
    names_dollar: bool,
    /// Whether this is the pattern of every topic, `$` topics included.
    everything: bool,
    /// Whether a value that may not stand in a topic makes it match instead of not match: for denies
    /// that somebody could get around by choosing such a value.
    fails_closed: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Level {
    Literal(Box<str>),
    Composed(Box<[Part]>),
    /// `+`
    One,
    /// `#`; stands for its parent as well, and is always last.
    Rest,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(Box<str>),
    Value(Placeholder),
}

/// Why a pattern does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The pattern is the empty string.
    #[error("a pattern needs at least one character; `#` stands for every topic")]
    Empty,
    /// NUL stands in no topic [MQTT-4.7.3-2].
    #[error("a topic cannot contain a NUL character")]
    ContainsNul,
    /// `#` beside other characters or before the last level [MQTT-4.7.1-1].
    #[error("`#` must be the whole last level, as in `a/#`")]
    MisplacedHash,
    /// `+` beside other characters [MQTT-4.7.1-2].
    #[error("`+` must be a whole level, as in `a/+/b`")]
    MisplacedPlus,
    /// `${` without `}` in the same level.
    #[error("`${{` without a closing `}}` in the same level")]
    UnclosedPlaceholder,
    /// A placeholder that does not exist.
    #[error(
        "unknown placeholder `${{{name}}}`{}; there are {}",
        did_you_mean(*nearest),
        placeholder_list()
    )]
    UnknownPlaceholder {
        /// What stood between `${` and `}`.
        name: String,
        /// The placeholder that was probably meant.
        nearest: Option<&'static str>,
    },
    /// Two placeholders with several values in one pattern would multiply.
    #[error(
        "a pattern may hold one placeholder with several values (`${{group}}`, `${{cert.san.dns}}`), \
         and only once; write one rule per combination"
    )]
    SeveralTwice,
    /// A first level that starts with `$` and holds a placeholder.
    #[error("a first level that starts with `$` must be written out, without a placeholder")]
    DollarWithPlaceholder,
    /// `$share/…` in a rule.
    #[error(
        "a shared subscription is judged by the filter after its group: write it without `$share/GROUP/`"
    )]
    SharedFilter,
    /// Longer than any topic can be.
    #[error("longer than {PATTERN_BYTES_MAX} bytes")]
    TooLong,
    /// More levels than a pattern may have.
    #[error("more than {PATTERN_LEVELS_MAX} levels")]
    TooManyLevels,
}

fn did_you_mean(nearest: Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(", did you mean `${{{name}}}`?"))
}

fn placeholder_list() -> String {
    Placeholder::NAMES
        .map(|name| format!("`${{{name}}}`"))
        .join(", ")
}

impl Pattern {
    /// Compiles a topic filter that may hold placeholders.
    pub(crate) fn compile(text: &str) -> Result<Self, PatternError> {
        Self::compile_with(text, compile_parts)
    }

    /// Compiles a topic filter without placeholders: what looks like one is text.
    pub(crate) fn compile_literal(text: &str) -> Result<Self, PatternError> {
        Self::compile_with(text, |level| Ok(Level::Literal(level.into())))
    }

    /// Compiles a `pattern` of a mosquitto ACL, with `%u` and `%c` anywhere.
    pub(crate) fn compile_mosquitto(text: &str, is_deny: bool) -> Result<Self, PatternError> {
        let pattern = Self::compile_with(text, compile_mosquitto_parts)?;
        Ok(Self {
            fails_closed: is_deny,
            ..pattern
        })
    }

    fn compile_with(
        text: &str,
        parts: fn(&str) -> Result<Level, PatternError>,
    ) -> Result<Self, PatternError> {
        check_whole(text)?;
        let last = text.split('/').count() - 1;
        let levels = text
            .split('/')
            .enumerate()
            .map(|(i, level)| match wildcard(level, i == last)? {
                Some(wildcard) => Ok(wildcard),
                None => parts(level),
            })
            .collect::<Result<Box<[Level]>, _>>()?;
        Self::from_levels(levels)
    }

    /// `devices/${identity}/#`, the pattern of the built-in policy.
    pub(crate) fn own_subtree() -> Self {
        Self {
            levels: Box::new([
                Level::Literal("devices".into()),
                Level::Composed(Box::new([Part::Value(Placeholder::Identity)])),
                Level::Rest,
            ]),
            singles: Box::new([Placeholder::Identity]),
            several: None,
            names_dollar: false,
            everything: false,
            fails_closed: false,
        }
    }

    /// Every topic, those that start with `$` included. Not writable in a file.
    pub(crate) fn everything() -> Self {
        Self {
            levels: Box::new([Level::Rest]),
            singles: Box::new([]),
            several: None,
            names_dollar: false,
            everything: true,
            fails_closed: false,
        }
    }

    /// `$SYS/#`, the broker's own topics.
    pub(crate) fn system() -> Self {
        Self {
            levels: Box::new([Level::Literal("$SYS".into()), Level::Rest]),
            singles: Box::new([]),
            several: None,
            names_dollar: true,
            everything: false,
            fails_closed: false,
        }
    }

    fn from_levels(levels: Box<[Level]>) -> Result<Self, PatternError> {
        let names_dollar = match levels.first() {
            Some(Level::Literal(text)) => text.starts_with('$'),
            Some(Level::Composed(parts)) => match parts.first() {
                Some(Part::Text(text)) if text.starts_with('$') => {
                    return Err(PatternError::DollarWithPlaceholder);
                }
                _ => false,
            },
            _ => false,
        };
        let mut singles = Vec::new();
        let mut several = None;
        for placeholder in placeholders(&levels) {
            if placeholder.is_multi_valued() {
                if several.replace(placeholder).is_some() {
                    return Err(PatternError::SeveralTwice);
                }
            } else if !singles.contains(&placeholder) {
                singles.push(placeholder);
            }
        }
        Ok(Self {
            levels,
            singles: singles.into(),
            several,
            names_dollar,
            everything: false,
            fails_closed: false,
        })
    }

    /// Whether the pattern's meaning depends on the client id, which the client chooses.
    pub(crate) fn uses_client_id(&self) -> bool {
        self.singles.contains(&Placeholder::ClientId)
    }

    /// Whether `topic` can be one of the pattern's topics, by the first level alone: most rules are about something else altogether.
    #[inline]
    fn begins_like(&self, topic: &str) -> bool {
        match self.levels.first() {
            // Where an unusable value makes it match, the topic may be any.
            Some(Level::Literal(text)) if !self.fails_closed => {
                topic.as_bytes().starts_with(text.as_bytes())
            }
            _ => true,
        }
    }

    /// Whether `topic` (a valid topic name) is one of the pattern's topics for this subject.
    #[inline]
    pub(crate) fn matches(&self, values: &Values<'_>, topic: &str) -> bool {
        self.everything
            || self.begins_like(topic)
                && (topic.starts_with('$') == self.names_dollar
                    && self.any_expansion(values, |bound| bound.matches(topic)))
    }

    /// Whether every topic the filter can match is one of the pattern's topics for this subject.
    pub(crate) fn covers(&self, values: &Values<'_>, filter: &str) -> bool {
        self.everything
            || (filter.starts_with('$') == self.names_dollar
                && self.any_expansion(values, |bound| bound.covers(filter)))
    }

    /// Whether some topic the filter can match is one of the pattern's topics for this subject.
    pub(crate) fn overlaps(&self, values: &Values<'_>, filter: &str) -> bool {
        self.everything
            || (filter.starts_with('$') == self.names_dollar
                && self.any_expansion(values, |bound| bound.overlaps(filter)))
    }

    /// Asks the question of the pattern with its placeholders bound, once per value of the
    /// placeholder that has several. A placeholder without a usable value: no.
    fn any_expansion(&self, values: &Values<'_>, test: impl Fn(Bound<'_>) -> bool) -> bool {
        if !self.singles.iter().all(|&p| values.single(p).is_some()) {
            return self.fails_closed && self.singles.iter().all(|&p| values.has(p));
        }
        let test_bound = |several| {
            let bound = Bound {
                levels: &self.levels,
                values,
                several,
            };
            (self.names_dollar || !bound.starts_with_dollar()) && test(bound)
        };
        match self.several {
            None => test_bound(""),
            Some(placeholder) => values.several(placeholder).any(test_bound),
        }
    }
}

/// A pattern whose placeholders all have exactly one value.
#[derive(Clone, Copy)]
struct Bound<'a> {
    levels: &'a [Level],
    values: &'a Values<'a>,
    /// The value of the placeholder that may have several.
    several: &'a str,
}

impl<'a> Bound<'a> {
    fn matches(&self, topic: &str) -> bool {
        let mut levels = self.levels.iter();
        for text in topic.split('/') {
            match levels.next() {
                Some(Level::Rest) => return true,
                Some(Level::One) => {}
                Some(level) if self.equals(level, text) => {}
                _ => return false,
            }
        }
        only_rest(levels.as_slice())
    }

    fn covers(&self, filter: &str) -> bool {
        // `+/#` and `#` are the same set, though no level-wise comparison sees it: `#` has no
        // parent to stand for at the first level.
        if filter == "#" && self.levels == [Level::One, Level::Rest] {
            return true;
        }
        let mut levels = self.levels.iter();
        for text in filter.split('/') {
            match (levels.next(), text) {
                (Some(Level::Rest), _) => return true,
                (_, "#") => return false,
                (Some(Level::One), _) => {}
                (_, "+") => return false,
                (Some(level), text) if self.equals(level, text) => {}
                _ => return false,
            }
        }
        only_rest(levels.as_slice())
    }

    fn overlaps(&self, filter: &str) -> bool {
        let mut levels = self.levels.iter();
        for text in filter.split('/') {
            match (levels.next(), text) {
                (Some(Level::Rest), _) | (_, "#") => return true,
                (Some(Level::One), _) => {}
                (Some(_), "+") => {}
                (Some(level), text) if self.equals(level, text) => {}
                _ => return false,
            }
        }
        only_rest(levels.as_slice())
    }

    /// Whether a level that is no wildcard is `text`, the placeholders' values put in.
    fn equals(&self, level: &Level, text: &str) -> bool {
        match level {
            Level::Literal(literal) => **literal == *text,
            Level::Composed(parts) => parts
                .iter()
                .try_fold(text, |rest, part| rest.strip_prefix(self.text(part)?))
                .is_some_and(str::is_empty),
            Level::One | Level::Rest => false,
        }
    }

    fn text(&self, part: &'a Part) -> Option<&'a str> {
        match part {
            Part::Text(text) => Some(text),
            Part::Value(placeholder) if placeholder.is_multi_valued() => Some(self.several),
            Part::Value(placeholder) => self.values.single(*placeholder),
        }
    }

    /// Whether a placeholder's value puts a `$` at the start of the topic.
    fn starts_with_dollar(&self) -> bool {
        match self.levels.first() {
            Some(Level::Composed(parts)) => parts
                .first()
                .and_then(|part| self.text(part))
                .is_some_and(|text| text.starts_with('$')),
            _ => false,
        }
    }
}

/// What may be left of a pattern when the topic ends: nothing, or `#`, which stands for its
/// parent too.
fn only_rest(levels: &[Level]) -> bool {
    matches!(levels, [] | [Level::Rest])
}

fn placeholders(levels: &[Level]) -> impl Iterator<Item = Placeholder> {
    levels
        .iter()
        .filter_map(|level| match level {
            Level::Composed(parts) => Some(parts),
            _ => None,
        })
        .flatten()
        .filter_map(|part| match part {
            Part::Value(placeholder) => Some(*placeholder),
            Part::Text(_) => None,
        })
}

fn check_whole(text: &str) -> Result<(), PatternError> {
    if text.is_empty() {
        return Err(PatternError::Empty);
    }
    if text.len() > PATTERN_BYTES_MAX {
        return Err(PatternError::TooLong);
    }
    if text.contains('\0') {
        return Err(PatternError::ContainsNul);
    }
    if text == "$share" || text.starts_with("$share/") {
        return Err(PatternError::SharedFilter);
    }
    if text.split('/').count() > PATTERN_LEVELS_MAX {
        return Err(PatternError::TooManyLevels);
    }
    Ok(())
}

/// The level if it is a wildcard, `None` if it is text.
fn wildcard(text: &str, is_last: bool) -> Result<Option<Level>, PatternError> {
    match text {
        "#" if is_last => return Ok(Some(Level::Rest)),
        "+" => return Ok(Some(Level::One)),
        _ => {}
    }
    if text.contains('#') {
        return Err(PatternError::MisplacedHash);
    }
    if text.contains('+') {
        return Err(PatternError::MisplacedPlus);
    }
    Ok(None)
}

fn compile_parts(text: &str) -> Result<Level, PatternError> {
    if !text.contains("${") {
        return Ok(Level::Literal(text.into()));
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after
            .split_once('}')
            .ok_or(PatternError::UnclosedPlaceholder)?;
        let placeholder =
            Placeholder::from_name(name).ok_or_else(|| PatternError::UnknownPlaceholder {
                name: name.to_owned(),
                nearest: nearest(name, Placeholder::NAMES),
            })?;
        if !before.is_empty() {
            parts.push(Part::Text(before.into()));
        }
        parts.push(Part::Value(placeholder));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.into()));
    }
    Ok(Level::Composed(parts.into()))
}

fn compile_mosquitto_parts(text: &str) -> Result<Level, PatternError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((at, placeholder)) = next_substitution(rest) {
        if at > 0 {
            parts.push(Part::Text(rest[..at].into()));
        }
        parts.push(Part::Value(placeholder));
        rest = &rest[at + 2..];
    }
    if parts.is_empty() {
        return Ok(Level::Literal(text.into()));
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.into()));
    }
    Ok(Level::Composed(parts.into()))
}

/// Where the first `%u` or `%c` of a text is, and which.
fn next_substitution(text: &str) -> Option<(usize, Placeholder)> {
    [
        ("%u", Placeholder::MosquittoUser),
        ("%c", Placeholder::ClientId),
    ]
    .into_iter()
    .filter_map(|(written, placeholder)| Some((text.find(written)?, placeholder)))
    .min_by_key(|(at, _)| *at)
}

#[cfg(test)]
mod tests;
