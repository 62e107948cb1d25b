//! Settings that are one of a few words.

/// Defines an enum whose variants have a word each in the file.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])+
        pub enum $name:ident {
            $( $(#[doc = $variant_doc:literal])+ $variant:ident = $word:literal, )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[doc = $variant_doc])+ $variant, )+
        }

        impl $name {
            /// Every word that may be written.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word in the file.
            pub const fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl $crate::setting::Setting for $name {
            fn read<'v, 'i>(
                value: &'v $crate::setting::Value<'i>,
                _: &$crate::setting::Kind,
                _: &std::path::Path,
            ) -> Result<Self, &'v $crate::setting::Value<'i>> {
                match value.get_ref().as_str() {
                    $( Some($word) => Ok(Self::$variant), )+
                    _ => Err(value),
                }
            }

            fn to_toml(&self, _: &$crate::setting::Kind) -> Option<String> {
                Some(format!("\"{self}\""))
            }
        }
    };
}

pub(crate) use choice;
