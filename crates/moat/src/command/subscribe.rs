//! `moat sub`

use std::io::{self, Write};
use std::num::NonZeroU64;

use clap::Args;
use moat_codec::{Limits, QoS, TopicFilter};
use serde_json::{Value, json};

use crate::client::{
    ClientError, ConnectArgs, Message, Session, on_interrupt, parse_qos, printable,
    printable_bytes, printable_json,
};
use crate::data_folder::DataPlace;
use crate::exit::Failure;
use crate::output::Output;

/// `moat sub`
#[derive(Debug, Args)]
pub(crate) struct SubArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// What to subscribe to, like devices/press-1/#; may be given several times.
    #[arg(short, long = "topic", value_name = "FILTER", required = true)]
    topics: Vec<String>,
    /// 0, 1 or 2: the highest quality of service at which messages come.
    #[arg(short, long, default_value = "1", value_parser = parse_qos)]
    qos: QoS,
    /// End after so many messages.
    #[arg(long, value_name = "N")]
    count: Option<NonZeroU64>,
}

/// Prints messages, one per line, until it is interrupted or there were enough.
///
/// # Errors
/// The broker cannot be reached, refuses, or ends the connection.
pub(crate) fn run(args: &SubArgs, place: &DataPlace, output: &Output) -> Result<(), Failure> {
    let limits = Limits::generous();
    let filters = args
        .topics
        .iter()
        .map(|filter| {
            TopicFilter::new(filter, &limits)
                .map_err(|error| Failure::usage(format!("the filter {filter:?}: {error}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut session = args.connect.connect(place, output)?;
    let stopper = session.stopper().map_err(Failure::failed)?;
    // So that the broker gets its goodbye.
    on_interrupt(move || stopper.stop());
    let done = session
        .subscribe(&filters, args.qos)
        .and_then(|()| print_messages(&mut session, args.count, output.is_json()));
    session.close();
    match done {
        Ok(()) | Err(ClientError::Stopped) => Ok(()),
        Err(error) => Err(Failure::failed(error)),
    }
}

/// Prints as they come, until enough were printed or the reader has gone away.
fn print_messages(
    session: &mut Session,
    count: Option<NonZeroU64>,
    as_json: bool,
) -> Result<(), ClientError> {
    let mut left = count.map_or(u64::MAX, NonZeroU64::get);
    while left > 0 {
        let message = session.message()?;
        let line = if as_json {
            json_line(&message)
        } else {
            text_line(&message)
        };
        let mut stdout = io::stdout().lock();
        if stdout
            .write_all(line.as_bytes())
            .and_then(|()| stdout.flush())
            .is_err()
        {
            return Ok(());
        }
        left -= 1;
    }
    Ok(())
}

fn text_line(message: &Message) -> String {
    format!(
        "{} {}\n",
        printable(&message.topic),
        printable_bytes(&message.payload)
    )
}

/// `payload` is the text; bytes that are none are `payload_hex`.
fn json_line(message: &Message) -> String {
    let mut value =
        json!({ "topic": message.topic, "qos": message.qos.bits(), "retain": message.retain });
    match std::str::from_utf8(&message.payload) {
        Ok(text) => value["payload"] = text.into(),
        Err(_) => value["payload_hex"] = Value::String(hex(&message.payload)),
    }
    if !message.properties.is_empty() {
        value["properties"] = Value::Object(message.properties.clone());
    }
    format!("{}\n", printable_json(&value))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &[u8]) -> Message {
        Message {
            topic: "a/\u{1b}[2J".to_owned(),
            payload: payload.to_vec(),
            qos: QoS::AtLeastOnce,
            retain: true,
            properties: serde_json::Map::new(),
        }
    }

    #[test]
    fn a_message_is_one_line_that_steers_no_terminal() {
        assert_eq!(
            text_line(&message(b"x\ny\x1b\xff")),
            "a/\\u{1b}[2J x\\ny\\u{1b}\\xff\n"
        );
        let line = json_line(&message("x\ny\u{9b}".as_bytes()));
        assert!(
            line.ends_with("}\n") && !line.trim_end().chars().any(char::is_control),
            "{line}"
        );
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&value["topic"], &value["payload"]),
            (&json!("a/\u{1b}[2J"), &json!("x\ny\u{9b}"))
        );
        assert_eq!((&value["qos"], &value["retain"]), (&json!(1), &json!(true)));
    }

    #[test]
    fn bytes_that_are_no_text_are_hexadecimal() {
        let value: Value = serde_json::from_str(&json_line(&message(b"\x00\xff"))).unwrap();
        assert_eq!(value["payload_hex"], "00ff");
        assert_eq!(value["payload"], Value::Null);
    }
}
