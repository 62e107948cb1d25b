//! What the catalogue says about an event, and the macro that turns the table into it.

use std::fmt;
use std::str::FromStr;

use crate::address::PeerAddress;

/// How much an event matters. The order is that of the filter: a log at `Info` leaves out only `Debug`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The broker cannot do what it was told to; a person has to act.
    Error,
    /// Something was refused or is about to fail.
    Warning,
    /// Normal, and worth a line in every log.
    Notice,
    /// Normal, of interest when looking for something.
    Info,
    /// For finding faults; a hostile client can cause many of these.
    Debug,
}

impl Level {
    /// Every level, the most important first.
    pub const ALL: [Self; 5] = [
        Self::Error,
        Self::Warning,
        Self::Notice,
        Self::Info,
        Self::Debug,
    ];

    /// The name in configuration and JSON lines, lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The name in the text log, upper case so that a person finds it.
    pub const fn upper(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(name: &str) -> Result<Self, UnknownLevel> {
        Self::ALL
            .into_iter()
            .find(|level| level.name() == name)
            .ok_or(UnknownLevel)
    }
}

/// The text names no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownLevel;

impl fmt::Display for UnknownLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown level; allowed: error, warning, notice, info, debug")
    }
}

impl std::error::Error for UnknownLevel {}

/// What the catalogue says about one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventMeta {
    /// The stable name, for example `client.connected`. Never reused for something else.
    pub id: &'static str,
    /// How much it matters.
    pub level: Level,
    /// Whether the audit log keeps it.
    pub audited: bool,
    /// What happened, as a sentence.
    pub doc: &'static str,
    /// The fields in the order in which they are written.
    pub fields: &'static [FieldMeta],
}

/// What the catalogue says about one field of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldMeta {
    /// The name in text and JSON.
    pub name: &'static str,
    /// `text`, `number`, `yes or no` or `address`; with `, optional` if it may be absent.
    pub kind: &'static str,
    /// What it says, as a sentence.
    pub doc: &'static str,
}

/// The value of a field, borrowed from its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text, perhaps from a peer: escape it before writing it anywhere.
    Text(&'a str),
    /// A count or a code.
    Number(u64),
    /// A yes or no.
    Bool(bool),
    /// The address of a peer.
    Address(PeerAddress),
    /// An optional field that has no value.
    Absent,
}

/// A type that may be the field of an event.
pub(crate) trait Field {
    const KIND: &'static str;
    fn value(&self) -> Value<'_>;
}

impl Field for String {
    const KIND: &'static str = "text";
    fn value(&self) -> Value<'_> {
        Value::Text(self)
    }
}

impl Field for u64 {
    const KIND: &'static str = "number";
    fn value(&self) -> Value<'_> {
        Value::Number(*self)
    }
}

impl Field for bool {
    const KIND: &'static str = "yes or no";
    fn value(&self) -> Value<'_> {
        Value::Bool(*self)
    }
}

impl Field for PeerAddress {
    const KIND: &'static str = "address";
    fn value(&self) -> Value<'_> {
        Value::Address(*self)
    }
}

impl Field for Option<String> {
    const KIND: &'static str = "text, optional";
    fn value(&self) -> Value<'_> {
        self.as_ref().map_or(Value::Absent, Field::value)
    }
}

/// Turns the table into the enum [`Event`](crate::Event) and its descriptions, so that neither can drift.
macro_rules! events {
    ($(
        $(#[doc = $doc:literal])+
        $variant:ident = $id:literal, $level:ident, $audit:ident {
            $( $(#[doc = $field_doc:literal])+ $field:ident: $kind:ty, )*
        }
    )+) => {
        /// Everything the broker tells.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Event {
            $(
                $(#[doc = $doc])+
                $variant { $( $(#[doc = $field_doc])+ $field: $kind, )* },
            )+
        }

        /// Every event there is, in the order of the reference page.
        pub const CATALOGUE: &[EventMeta] = &[$( meta::$variant, )+];

        #[allow(non_upper_case_globals, reason = "one constant per variant, under the variant's name")]
        mod meta {
            use super::*;
            $(
                pub(super) const $variant: EventMeta = EventMeta {
                    id: $id,
                    level: Level::$level,
                    audited: events!(@audited $audit),
                    doc: concat!($($doc),+).trim_ascii(),
                    fields: &[$( FieldMeta {
                        name: stringify!($field),
                        kind: <$kind as Field>::KIND,
                        doc: concat!($($field_doc),+).trim_ascii(),
                    }, )*],
                };
            )+
        }

        impl Event {
            /// What the catalogue says about this event.
            pub const fn meta(&self) -> &'static EventMeta {
                match self { $( Self::$variant { .. } => &meta::$variant, )+ }
            }

            /// The fields with their values, in the order of the catalogue.
            pub fn fields(&self) -> impl Iterator<Item = (&'static str, Value<'_>)> {
                let fields: Vec<(&'static str, Value<'_>)> = match self {
                    $( Self::$variant { $( $field, )* } => vec![
                        $( (stringify!($field), Field::value($field)), )*
                    ], )+
                };
                fields.into_iter()
            }
        }
    };
    (@audited audited) => { true };
    (@audited unaudited) => { false };
}

pub(crate) use events;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CATALOGUE;

    #[test]
    fn every_event_and_field_has_a_doc_sentence() {
        for event in CATALOGUE {
            assert!(is_sentence(event.doc), "{}: {:?}", event.id, event.doc);
            for field in event.fields {
                assert!(
                    is_sentence(field.doc),
                    "{}.{}: {:?}",
                    event.id,
                    field.name,
                    field.doc
                );
            }
        }
    }

    #[test]
    fn ids_are_unique_and_of_two_lower_case_words() {
        let mut ids: Vec<_> = CATALOGUE.iter().map(|event| event.id).collect();
        for id in &ids {
            let (area, what) = id.split_once('.').unwrap();
            let is_word = |word: &str| {
                !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            };
            assert!(is_word(area) && is_word(what), "{id}");
        }
        ids.sort_unstable();
        let count = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    #[test]
    fn no_field_takes_a_name_the_json_line_uses_itself() {
        for event in CATALOGUE {
            for field in event.fields {
                assert!(!["ts", "level", "event"].contains(&field.name));
            }
        }
    }

    #[test]
    fn a_level_is_read_by_its_name_only() {
        assert_eq!("warning".parse(), Ok(Level::Warning));
        assert_eq!("warn".parse::<Level>(), Err(UnknownLevel));
        assert!(Level::Error < Level::Debug);
    }

    fn is_sentence(doc: &str) -> bool {
        doc.starts_with(|first: char| first.is_uppercase() || first == '`') && doc.ends_with('.')
    }
}
