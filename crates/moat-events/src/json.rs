//! One event as a line of JSON for machines.

use std::time::SystemTime;

use crate::catalogue::Value;
use crate::escape::{capped, is_dangerous};
use crate::table::Event;
use crate::text::{append, write_time};

/// Appends `event` as one JSON object with its line end: `ts`, `level`, `event`, then the fields.
///
/// A field without a value is `null`, so that every line of an event has the same keys. Characters that
/// are dangerous in a terminal are escaped here too, since people read these lines with `tail`.
pub fn write_line(event: &Event, at: SystemTime, out: &mut String) {
    let meta = event.meta();
    out.push_str("{\"ts\":\"");
    write_time(at, out);
    out.push_str("\",\"level\":\"");
    out.push_str(meta.level.name());
    out.push_str("\",\"event\":\"");
    out.push_str(meta.id);
    out.push('"');
    for (name, value) in event.fields() {
        append(out, format_args!(",\"{name}\":"));
        write_value(value, out);
    }
    out.push_str("}\n");
}

fn write_value(value: Value<'_>, out: &mut String) {
    match value {
        Value::Text(text) => write_text(text, out),
        Value::Number(number) => append(out, format_args!("{number}")),
        Value::Bool(yes) => append(out, format_args!("{yes}")),
        Value::Address(address) => append(out, format_args!("\"{address}\"")),
        Value::Absent => out.push_str("null"),
    }
}

fn write_text(text: &str, out: &mut String) {
    let (text, cut) = capped(text);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_dangerous(c) => {
                // RFC 8259 section 7: beyond the basic plane, a surrogate pair.
                for unit in c.encode_utf16(&mut [0; 2]) {
                    append(out, format_args!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    if cut {
        out.push('…');
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::PeerAddress;
    use crate::escape::VALUE_CHARS_MAX;

    fn parsed(event: &Event) -> serde_json::Value {
        let mut line = String::new();
        write_line(event, SystemTime::UNIX_EPOCH, &mut line);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.trim_end().contains(is_dangerous), "{line:?}");
        serde_json::from_str(&line).unwrap()
    }

    fn failed(identity: Option<String>, client_id: &str) -> Event {
        Event::AuthenticationFailed {
            identity,
            client_id: client_id.into(),
            address: PeerAddress::Ip("[::1]:5000".parse().unwrap()),
            listener: "tls".into(),
            method: "password".into(),
            reason: "no such user".into(),
        }
    }

    #[test]
    fn a_line_is_an_object_with_the_fields_of_the_catalogue() {
        assert_eq!(
            parsed(&failed(None, "c")),
            serde_json::json!({
                "ts": "1970-01-01T00:00:00.000Z", "level": "warning", "event": "authentication.failed",
                "identity": null, "client_id": "c", "address": "[::1]:5000", "listener": "tls",
                "method": "password", "reason": "no such user",
            })
        );
    }

    #[test]
    fn any_text_survives_and_no_dangerous_character_is_written() {
        let nasty = "\",\"level\":\"x\"}\n{\u{1b}[31m\u{202e}\u{e0041}\0\\\u{7f}é🙂";
        let value = parsed(&failed(Some(nasty.into()), ""));
        assert_eq!(value["identity"], nasty);
        assert_eq!(value["level"], "warning");
    }

    #[test]
    fn a_long_value_ends_in_an_ellipsis() {
        let value = parsed(&failed(None, &"\n".repeat(VALUE_CHARS_MAX + 1)));
        assert_eq!(
            value["client_id"],
            format!("{}…", "\n".repeat(VALUE_CHARS_MAX))
        );
    }
}
