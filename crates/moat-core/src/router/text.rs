//! Levels and filters. Nearly all are short, and stand where they are compared instead of in memory of their own: that is one cache miss
//! less for each that is looked at.

/// A level: as many bytes in place as leave the whole as large as a `Box<str>` and a tag.
pub(super) type LevelText = Text<22>;
/// A filter without wildcards.
pub(super) type FilterText = Text<30>;

/// Text, in place if it has at most `IN_PLACE` bytes.
pub(super) enum Text<const IN_PLACE: usize> {
    Short { len: u8, bytes: [u8; IN_PLACE] },
    Long(Box<[u8]>),
}

impl<const IN_PLACE: usize> Text<IN_PLACE> {
    pub(super) fn new(text: &str) -> Self {
        let mut bytes = [0; IN_PLACE];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(text.as_bytes());
                Text::Short { len, bytes }
            }
            _ => Text::Long(text.as_bytes().into()),
        }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Text::Long(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_what_it_was_made_of_and_only_a_long_one_has_memory_of_its_own() {
        for len in [0, 1, 22, 23, 30, 31, 255, 256, 300, 65_535] {
            let text = "x".repeat(len);
            let (level, filter) = (LevelText::new(&text), FilterText::new(&text));
            assert_eq!(level.as_bytes(), text.as_bytes());
            assert_eq!(filter.as_bytes(), text.as_bytes());
            assert_eq!(matches!(level, Text::Long(_)), len > 22);
            assert_eq!(matches!(filter, Text::Long(_)), len > 30);
        }
        assert_eq!(size_of::<LevelText>(), 24);
        assert_eq!(size_of::<FilterText>(), 32);
    }
}
