//! What strangers sent, safe on a terminal: nothing in a topic or payload steers it, hides or forges text.

use std::fmt::Write;

/// Text with everything dangerous escaped: `\n`, `\t`, `\\`, `\xNN` for what is no text, `\u{NNNN}` for the rest.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    push(&mut safe, text);
    safe
}

/// As [`printable`], for bytes that may be no text.
pub(crate) fn printable_bytes(bytes: &[u8]) -> String {
    let mut safe = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        push(&mut safe, chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(safe, "\\x{byte:02x}");
        }
    }
    safe
}

/// JSON with everything dangerous escaped. Such characters stand in strings only, where `\u` is allowed.
pub(crate) fn printable_json(value: &serde_json::Value) -> String {
    let json = value.to_string();
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if is_dangerous(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

fn push(safe: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            '\\' => safe.push_str("\\\\"),
            c if is_dangerous(c) => {
                let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
            }
            c => safe.push(c),
        }
    }
}

/// Controls, so every ANSI sequence; line separators; bidirectional controls; what is invisible.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_gets_through() {
        let all: String = (0..=u32::from(char::MAX))
            .filter_map(char::from_u32)
            .collect();
        let dangerous = |text: &str| text.chars().any(|c| c.is_control() || c == '\u{202e}');
        assert!(!dangerous(&printable(&all)));
        assert!(!dangerous(&printable_bytes(all.as_bytes())));
        let json = printable_json(&serde_json::Value::from(all.as_str()));
        assert!(!dangerous(&json));
        let back: String = serde_json::from_str(&json).unwrap();
        assert!(back == all, "and nothing is lost");
    }

    #[test]
    fn letters_stay_and_bytes_are_told_apart_from_their_names() {
        assert_eq!(printable("grün 漢字 🙂"), "grün 漢字 🙂");
        assert_eq!(
            printable_bytes(b"a\xff\x1b[31m\\xff\n"),
            "a\\xff\\u{1b}[31m\\\\xff\\n"
        );
    }
}
