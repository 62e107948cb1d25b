use std::fmt;

use crate::Limits;

/// What a shared subscription's filter starts with (section 4.8.2).
const SHARE_PREFIX: &str = "$share/";

/// A topic name that keeps the rules of section 4.7 and the limits it was checked against.
#[derive(Copy, Clone, Eq, PartialEq, Hash, PartialOrd, Ord, Debug)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// Checks `name`: at least one character [MQTT-4.7.3-1], no NUL [MQTT-4.7.3-2], no wildcard
    /// [MQTT-4.7.0-1], within the limits.
    ///
    /// # Errors
    /// The first rule broken, as a [`TopicError`].
    #[inline]
    pub fn new(name: &'a str, limits: &Limits) -> Result<Self, TopicError> {
        if name.is_empty() {
            return Err(TopicError::Empty);
        }
        let scan = Scan::of(name.as_bytes());
        if scan.nul {
            return Err(TopicError::ContainsNul);
        }
        if scan.wildcard {
            return Err(TopicError::ContainsWildcard);
        }
        check_size(name, scan.separators, limits)?;
        Ok(Self(name))
    }

    /// For bytes that went through [`TopicName::new`] before.
    #[inline]
    pub(crate) const fn from_checked(name: &'a str) -> Self {
        Self(name)
    }

    /// The whole name, as it was sent [MQTT-4.7.3-4].
    #[inline]
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The levels between the slashes; a leading or trailing slash makes an empty one.
    pub fn levels(self) -> impl Iterator<Item = &'a str> + Clone {
        self.0.split('/')
    }

    /// Whether the name starts with `$`: such names match no filter that starts with a wildcard
    /// [MQTT-4.7.2-1].
    #[inline]
    #[must_use]
    pub fn is_system(self) -> bool {
        self.0.starts_with('$')
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A topic filter that keeps the rules of sections 4.7 and 4.8.2 and the limits it was checked against.
#[derive(Copy, Clone, Eq, PartialEq, Hash, PartialOrd, Ord, Debug)]
pub struct TopicFilter<'a>(&'a str);

/// The two parts of `$share/group/filter`.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub struct SharedFilter<'a> {
    /// The share name: never empty, without `/`, `+` and `#`.
    pub group: &'a str,
    /// What the group subscribes to; not shared itself.
    pub filter: TopicFilter<'a>,
}

impl<'a> TopicFilter<'a> {
    /// Checks `filter`: at least one character [MQTT-4.7.3-1], no NUL [MQTT-4.7.3-2], `#` only as the whole
    /// last level [MQTT-4.7.1-1], `+` only as a whole level [MQTT-4.7.1-2], `$share` only as
    /// `$share/group/filter` [MQTT-4.8.2-1], [MQTT-4.8.2-2], within the limits.
    ///
    /// # Errors
    /// The first rule broken, as a [`TopicError`].
    pub fn new(filter: &'a str, limits: &Limits) -> Result<Self, TopicError> {
        if filter.is_empty() {
            return Err(TopicError::Empty);
        }
        let scan = Scan::of(filter.as_bytes());
        if scan.nul {
            return Err(TopicError::ContainsNul);
        }
        let shared = split_share(filter)?;
        let (plain, separators) = match shared {
            // The two slashes of `$share/group/` separate no levels of the filter.
            Some(shared) => (shared.filter.0, scan.separators - 2),
            None => (filter, scan.separators),
        };
        if scan.wildcard && !wildcards_are_whole_levels(plain) {
            return Err(TopicError::MisplacedWildcard);
        }
        check_size(filter, separators, limits)?;
        Ok(Self(filter))
    }

    /// For bytes that went through [`TopicFilter::new`] before.
    #[inline]
    pub(crate) const fn from_checked(filter: &'a str) -> Self {
        Self(filter)
    }

    /// The whole filter, `$share/group/` included.
    #[inline]
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether the filter has a `+` or `#`.
    #[must_use]
    pub fn has_wildcard(self) -> bool {
        self.0.bytes().any(|byte| byte == b'+' || byte == b'#')
    }

    /// The levels between the slashes, `$share` and the group included.
    pub fn levels(self) -> impl Iterator<Item = &'a str> + Clone {
        self.0.split('/')
    }

    /// Group and filter of a shared subscription, `None` for an ordinary one.
    #[must_use]
    pub fn shared(self) -> Option<SharedFilter<'a>> {
        split_share(self.0).ok().flatten()
    }

    /// Whether a message to `name` is for this filter (section 4.7); a shared filter matches as the filter
    /// behind its group does.
    ///
    /// Level by level and without memory: the measure a trie is tested against.
    #[must_use]
    pub fn matches(self, name: TopicName<'_>) -> bool {
        let filter = self.shared().map_or(self, |shared| shared.filter);
        // [MQTT-4.7.2-1] a leading wildcard does not reach `$SYS` and its like.
        if name.is_system() && filter.0.starts_with(['+', '#']) {
            return false;
        }
        let mut names = name.levels();
        for level in filter.levels() {
            match (level, names.next()) {
                // `a/#` matches `a` too, so `#` needs no level of its own.
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (level, Some(name)) if level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Why a topic name or filter is refused.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum TopicError {
    /// No character at all [MQTT-4.7.3-1].
    Empty,
    /// U+0000 inside [MQTT-4.7.3-2].
    ContainsNul,
    /// `+` or `#` in a topic name [MQTT-3.3.2-2].
    ContainsWildcard,
    /// `+` that is not a whole level, or `#` that is not the whole last level [MQTT-4.7.1-1],
    /// [MQTT-4.7.1-2].
    MisplacedWildcard,
    /// More bytes than the limit allows.
    TooLong {
        /// Bytes it has.
        bytes: usize,
        /// Bytes allowed.
        max: u16,
    },
    /// More levels than the limit allows.
    TooManyLevels {
        /// Levels it has.
        levels: usize,
        /// Levels allowed.
        max: u16,
    },
    /// `$share` without group or filter, a wildcard in the group, or one share inside another
    /// [MQTT-4.8.2-1], [MQTT-4.8.2-2].
    InvalidShare,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty; at least one character is needed"),
            Self::ContainsNul => f.write_str("contains U+0000; remove it"),
            Self::ContainsWildcard => f.write_str("contains '+' or '#'; wildcards are for filters only"),
            Self::MisplacedWildcard => {
                f.write_str("has a misplaced wildcard; '+' must be a whole level and '#' the whole last level")
            }
            Self::TooLong { bytes, max } => write!(f, "has {bytes} bytes; at most {max} are allowed"),
            Self::TooManyLevels { levels, max } => write!(f, "has {levels} levels; at most {max} are allowed"),
            Self::InvalidShare => {
                f.write_str("is not a valid shared filter; write $share/GROUP/FILTER, without wildcards in GROUP")
            }
        }
    }
}

impl std::error::Error for TopicError {}

/// What one pass over a name or filter finds. Names are short, so it goes sixteen bytes at a time, without branches in between: the
/// compiler makes one instruction of what is done to the bytes of a step.
struct Scan {
    separators: usize,
    nul: bool,
    wildcard: bool,
}

/// Bytes of one step.
const STEP: usize = 16;
/// Steps after which, with a last one, a count of one byte may be full.
const STEPS_COUNTED: usize = u8::MAX as usize - 1;
/// What none of the bytes looked for is, nor becomes one.
const NOTHING: u8 = 0xFF;
/// From the place `n` on: a step that hides all but the last `n` bytes of another.
const HIDING: [u8; 2 * STEP] = {
    let mut hiding = [0; 2 * STEP];
    let mut at = 0;
    while at < STEP {
        hiding[at] = NOTHING;
        at += 1;
    }
    hiding
};

impl Scan {
    #[inline]
    fn of(bytes: &[u8]) -> Self {
        let mut found = Found::default();
        let mut separators = 0;
        let (steps, rest) = bytes.as_chunks::<STEP>();
        if let Some(last) = bytes.last_chunk::<STEP>() {
            for steps in steps.chunks(STEPS_COUNTED) {
                separators += found.take_separators();
                steps.iter().for_each(|step| found.add(step));
            }
            if let (false, Some(hiding)) = (rest.is_empty(), HIDING[rest.len()..].first_chunk()) {
                found.add(&hidden(last, hiding));
            }
        } else {
            let mut only = [NOTHING; STEP];
            only[..rest.len()].copy_from_slice(rest);
            found.add(&only);
        }
        Self {
            separators: separators + found.take_separators(),
            nul: found.nul != [0; STEP],
            wildcard: found.wildcard != [0; STEP],
        }
    }
}

#[inline]
fn hidden(step: &[u8; STEP], hiding: &[u8; STEP]) -> [u8; STEP] {
    std::array::from_fn(|at| step[at] | hiding[at])
}

/// What was found so far, at each place of a step.
#[derive(Default)]
struct Found {
    /// How many separators.
    separators: [u8; STEP],
    /// Not zero if there was one.
    nul: [u8; STEP],
    wildcard: [u8; STEP],
}

impl Found {
    #[inline]
    fn add(&mut self, step: &[u8; STEP]) {
        for (at, byte) in step.iter().enumerate() {
            self.separators[at] += u8::from(*byte == b'/');
            self.nul[at] |= u8::from(*byte == 0);
            // `#` and `+` differ in one bit only.
            self.wildcard[at] |= u8::from(*byte | (b'#' ^ b'+') == b'#' | b'+');
        }
    }

    /// All separators of at most [`STEPS_COUNTED`] steps and a last one.
    #[inline]
    fn take_separators(&mut self) -> usize {
        // Sums of two in sixteen bits each, of four, and of all in the highest sixteen bits of the product.
        const EVEN: u64 = 0x00FF_00FF_00FF_00FF;
        const ALL: u64 = 0x0001_0001_0001_0001;
        let counts = std::mem::take(&mut self.separators);
        let (halves, _) = counts.as_chunks();
        let in_half = |half: &[u8; 8]| {
            let half = u64::from_ne_bytes(*half);
            (half & EVEN) + (half >> 8 & EVEN)
        };
        let all = halves.iter().map(in_half).sum::<u64>().wrapping_mul(ALL);
        let [high, low, ..] = all.to_be_bytes();
        usize::from(u16::from_be_bytes([high, low]))
    }
}

#[inline]
fn check_size(text: &str, separators: usize, limits: &Limits) -> Result<(), TopicError> {
    // [MQTT-4.7.3-3] is kept too: the limit cannot be above 65,535.
    if text.len() > usize::from(limits.topic_bytes_max) {
        return Err(TopicError::TooLong {
            bytes: text.len(),
            max: limits.topic_bytes_max,
        });
    }
    let levels = separators + 1;
    if levels > usize::from(limits.topic_levels_max) {
        return Err(TopicError::TooManyLevels {
            levels,
            max: limits.topic_levels_max,
        });
    }
    Ok(())
}

/// Group and filter of `$share/group/filter`; `None` when the filter is not shared.
fn split_share(filter: &str) -> Result<Option<SharedFilter<'_>>, TopicError> {
    let Some(rest) = filter.strip_prefix(SHARE_PREFIX) else {
        return if is_share(filter) {
            Err(TopicError::InvalidShare)
        } else {
            Ok(None)
        };
    };
    let (group, inner) = rest.split_once('/').ok_or(TopicError::InvalidShare)?;
    if group.is_empty() || group.contains(['+', '#']) || inner.is_empty() {
        return Err(TopicError::InvalidShare);
    }
    // A share inside a share has no meaning anybody agreed on.
    if inner.starts_with(SHARE_PREFIX) || is_share(inner) {
        return Err(TopicError::InvalidShare);
    }
    Ok(Some(SharedFilter {
        group,
        filter: TopicFilter(inner),
    }))
}

/// `$share` alone: neither group nor filter.
fn is_share(filter: &str) -> bool {
    SHARE_PREFIX.strip_suffix('/') == Some(filter)
}

fn wildcards_are_whole_levels(filter: &str) -> bool {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let allowed = match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            other => !other.contains(['+', '#']),
        };
        if !allowed {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests;
