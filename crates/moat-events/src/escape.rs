//! Which characters of a peer never reach a log as they are.

/// The longest value written, in characters; what is longer is cut and ends in an ellipsis.
pub(crate) const VALUE_CHARS_MAX: usize = 1024;

/// Whether a character can forge a line, hide text or steer a terminal.
///
/// Controls (so also every ANSI sequence), line and paragraph separators, spaces that are not the ASCII
/// one, bidirectional controls and everything else that is invisible.
pub(crate) const fn is_dangerous(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    matches!(c,
        '\u{80}'..='\u{a0}'
        | '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{1680}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{2000}'..='\u{200f}'
        | '\u{2028}'..='\u{202f}'
        | '\u{205f}'..='\u{206f}'
        | '\u{3000}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// The part of a value that is written, and whether something was cut.
pub(crate) fn capped(value: &str) -> (&str, bool) {
    match value.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => (value.get(..end).unwrap_or_default(), true),
        None => (value, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_the_longest_length_is_not_cut_and_one_more_is() {
        let longest = "ä".repeat(VALUE_CHARS_MAX);
        assert_eq!(capped(&longest), (longest.as_str(), false));
        let longer = format!("{longest}x");
        assert_eq!(capped(&longer), (longest.as_str(), true));
    }

    #[test]
    fn every_control_and_foreign_white_space_is_dangerous() {
        for c in '\0'..=char::MAX {
            if c.is_control() || (c.is_whitespace() && c != ' ') {
                assert!(is_dangerous(c), "{:?}", c);
            }
        }
    }

    #[test]
    fn letters_of_any_script_are_not_dangerous() {
        for c in "aZ09 äß漢字жλ€🙂~\"\\".chars() {
            assert!(!is_dangerous(c), "{c}");
        }
    }
}
