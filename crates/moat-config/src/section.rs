//! A section of the file: one definition for its struct, defaults, docs and reader.

use std::path::Path;

use crate::setting::{Kind, Value};

/// A section whose keys are read one by one.
pub(crate) trait Section: Default {
    /// Its description.
    fn spec() -> SectionSpec;

    /// Sets one key, or returns the part of the value that is wrong. An unknown key never comes here.
    fn set<'v, 'i>(
        &mut self,
        key: &str,
        value: &'v Value<'i>,
        folder: &Path,
    ) -> Result<(), &'v Value<'i>>;
}

/// What the reference says about a section.
#[derive(Clone, Debug)]
pub(crate) struct SectionSpec {
    /// The header as written: `[limits]`, `[[listener]]`, empty for the keys before the first header.
    pub(crate) header: &'static str,
    /// The doc comment.
    pub(crate) doc: &'static str,
    pub(crate) fields: Vec<FieldSpec>,
}

/// What the reference says about a key.
#[derive(Clone, Debug)]
pub(crate) struct FieldSpec {
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    /// The default as it would be written; absent if it is not one fixed value.
    pub(crate) default: Option<String>,
    /// What holds without the key, where there is no fixed default.
    pub(crate) unset: Option<&'static str>,
    /// Another value as it would be written.
    pub(crate) example: &'static str,
    /// The doc comment.
    pub(crate) doc: &'static str,
}

impl SectionSpec {
    /// The name of its table: `limits`, `listener`, empty for the keys before the first header.
    pub(crate) fn name(&self) -> &'static str {
        self.header.trim_matches(['[', ']'])
    }

    /// How an error names it.
    pub(crate) fn place(&self) -> &'static str {
        match self.header {
            "" => "the file",
            header => header,
        }
    }

    /// How an error names one of its keys.
    pub(crate) fn path(&self, key: &str) -> String {
        match self.name() {
            "" => key.to_owned(),
            name => format!("{name}.{key}"),
        }
    }
}

/// Defines a section: `key: Type = default => kind, example "…" [, unset "…"];`
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $visibility:vis struct $name:ident = $header:literal {
            $(
                $(#[doc = $field_doc:literal])+
                $field:ident: $kind_of:ty = $default:expr => $kind:expr, example $example:literal
                $(, unset $unset:literal)?;
            )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        $visibility struct $name {
            $( $(#[doc = $field_doc])+ pub $field: $kind_of, )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl $crate::section::Section for $name {
            fn spec() -> $crate::section::SectionSpec {
                use $crate::setting::{Kind, Setting};
                let defaults = Self::default();
                $crate::section::SectionSpec {
                    header: $header,
                    doc: concat!($($doc),+).trim_ascii(),
                    fields: vec![$( {
                        let kind: Kind = $kind;
                        $crate::section::FieldSpec {
                            key: stringify!($field),
                            default: Setting::to_toml(&defaults.$field, &kind),
                            kind,
                            unset: section!(@unset $($unset)?),
                            example: $example,
                            doc: concat!($($field_doc),+).trim_ascii(),
                        }
                    }, )+],
                }
            }

            fn set<'v, 'i>(
                &mut self,
                key: &str,
                value: &'v $crate::setting::Value<'i>,
                folder: &std::path::Path,
            ) -> Result<(), &'v $crate::setting::Value<'i>> {
                use $crate::setting::{Kind, Setting};
                match key {
                    $( stringify!($field) => {
                        let kind: Kind = $kind;
                        self.$field = Setting::read(value, &kind, folder)?;
                        Ok(())
                    } )+
                    _ => Err(value),
                }
            }
        }
    };
    (@unset) => { None };
    (@unset $unset:literal) => { Some($unset) };
}

pub(crate) use section;
