//! One event as a line for people.

use std::fmt::Write;
use std::time::SystemTime;

use crate::catalogue::Value;
use crate::escape::{capped, is_dangerous};
use crate::table::Event;

/// Appends `event` as one line with its line end.
///
/// The form is `2026-11-22T05:33:32.123Z NOTICE client.connected identity=dev1 client_id="a b" …`. Fields
/// without a value are left out. A value is quoted if it is empty or holds a space, `=`, a quote, a
/// backslash or a character that is escaped.
pub fn write_line(event: &Event, at: SystemTime, out: &mut String) {
    let meta = event.meta();
    write_time(at, out);
    out.push(' ');
    out.push_str(meta.level.upper());
    out.push(' ');
    out.push_str(meta.id);
    for (name, value) in event.fields() {
        if value != Value::Absent {
            out.push(' ');
            out.push_str(name);
            out.push('=');
            write_value(value, out);
        }
    }
    out.push('\n');
}

/// Appends a time as RFC 3339 in UTC with milliseconds.
pub(crate) fn write_time(at: SystemTime, out: &mut String) {
    // A clock outside of the years jiff knows is a broken clock: the epoch says so plainly.
    let at = jiff::Timestamp::try_from(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    append(out, format_args!("{at:.3}"));
}

pub(crate) fn append(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = out.write_fmt(arguments);
}

fn write_value(value: Value<'_>, out: &mut String) {
    match value {
        Value::Text(text) => write_text(text, out),
        Value::Number(number) => append(out, format_args!("{number}")),
        Value::Bool(yes) => append(out, format_args!("{yes}")),
        Value::Address(address) => append(out, format_args!("{address}")),
        Value::Absent => {}
    }
}

fn write_text(text: &str, out: &mut String) {
    let (text, cut) = capped(text);
    let plain = |c: char| !matches!(c, ' ' | '=' | '"' | '\\') && !is_dangerous(c);
    if !text.is_empty() && !cut && text.chars().all(plain) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_dangerous(c) => append(out, format_args!("\\u{{{:x}}}", u32::from(c))),
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
    use std::time::Duration;

    fn line(event: &Event) -> String {
        let mut out = String::new();
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_325_612_123);
        write_line(event, at, &mut out);
        out
    }

    fn connected(client_id: &str) -> Event {
        Event::ClientConnected {
            identity: "dev1".into(),
            source: "certificate".into(),
            client_id: client_id.into(),
            address: PeerAddress::Ip("127.0.0.1:5000".parse().unwrap()),
            listener: "tls".into(),
            version: "5.0".into(),
            clean_start: true,
            session_present: false,
            keep_alive_secs: 60,
            tls: None,
        }
    }

    fn client_id_in_line(client_id: &str) -> String {
        let line = line(&connected(client_id));
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        let (_, rest) = line.split_once("client_id=").unwrap();
        rest.split_once(" address=").unwrap().0.to_owned()
    }

    #[test]
    fn a_line_has_time_level_id_and_fields() {
        assert_eq!(
            line(&connected("a b")),
            "2026-11-22T05:33:32.123Z NOTICE client.connected identity=dev1 source=certificate \
             client_id=\"a b\" address=127.0.0.1:5000 listener=tls version=5.0 clean_start=true \
             session_present=false keep_alive_secs=60\n"
        );
    }

    #[test]
    fn a_client_id_cannot_forge_a_line_or_a_field() {
        assert_eq!(
            client_id_in_line("x\n2026-11-22T05:33:32.123Z NOTICE"),
            r#""x\n2026-11-22T05:33:32.123Z NOTICE""#
        );
        assert_eq!(
            client_id_in_line("x\" identity=\"root"),
            r#""x\" identity=\"root""#
        );
        assert_eq!(client_id_in_line("x\\\" y"), r#""x\\\" y""#);
        assert_eq!(client_id_in_line("x\u{2028}y\r"), r#""x\u{2028}y\r""#);
    }

    #[test]
    fn a_client_id_cannot_steer_a_terminal() {
        assert_eq!(client_id_in_line("\u{1b}[2Jx"), r#""\u{1b}[2Jx""#);
        assert_eq!(client_id_in_line("\u{9b}2J"), r#""\u{9b}2J""#);
        assert_eq!(client_id_in_line("a\u{202e}b"), r#""a\u{202e}b""#);
        assert_eq!(client_id_in_line("a\u{200b}b"), r#""a\u{200b}b""#);
    }

    #[test]
    fn an_empty_value_is_seen() {
        assert_eq!(client_id_in_line(""), "\"\"");
    }

    #[test]
    fn a_long_value_ends_in_an_ellipsis() {
        let long = "x".repeat(VALUE_CHARS_MAX + 1);
        assert_eq!(
            client_id_in_line(&long),
            format!("\"{}…\"", "x".repeat(VALUE_CHARS_MAX))
        );
    }

    #[test]
    fn an_event_without_fields_is_a_line() {
        assert_eq!(
            line(&Event::ServerStopped {}),
            "2026-11-22T05:33:32.123Z NOTICE server.stopped\n"
        );
    }
}
