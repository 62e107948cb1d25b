//! One level of a filter. Nearly all are short, and stand where they are compared instead of in memory of their own.

/// Bytes of a level that needs no memory of its own: as many as leave the whole as large as a `Box<str>` and a tag.
pub(super) const SHORT_LEVEL_BYTES_MAX: usize = 22;

/// The text of a level.
pub(super) enum Level {
    Short {
        len: u8,
        bytes: [u8; SHORT_LEVEL_BYTES_MAX],
    },
    Long(Box<[u8]>),
}

impl Level {
    pub(super) fn new(text: &str) -> Self {
        let mut bytes = [0; SHORT_LEVEL_BYTES_MAX];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(text.as_bytes());
                Level::Short { len, bytes }
            }
            _ => Level::Long(text.as_bytes().into()),
        }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Level::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Level::Long(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_what_it_was_made_of_and_only_a_long_one_has_memory_of_its_own() {
        for len in [
            0,
            1,
            SHORT_LEVEL_BYTES_MAX,
            SHORT_LEVEL_BYTES_MAX + 1,
            300,
            65_535,
        ] {
            let text = "x".repeat(len);
            let level = Level::new(&text);
            assert_eq!(level.as_bytes(), text.as_bytes());
            assert_eq!(matches!(level, Level::Long(_)), len > SHORT_LEVEL_BYTES_MAX);
        }
        assert_eq!(size_of::<Level>(), size_of::<Box<str>>() + 8);
    }
}
