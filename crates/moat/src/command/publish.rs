//! `moat pub`

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use clap::{ArgGroup, Args};
use moat_codec::{Limits, QoS, TopicName};
use serde_json::json;

use crate::client::{ConnectArgs, Session, parse_qos};
use crate::data_folder::DataPlace;
use crate::exit::Failure;
use crate::output::Output;

/// The largest message that MQTT can carry, and a little more to see that one is larger. Unit: bytes.
const MESSAGE_BYTES_MAX: u64 = 256 << 20;
/// The longest line of standard input that becomes a message. Unit: bytes.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// How often the connection is looked after while there is no line.
const TENDING_INTERVAL: Duration = Duration::from_millis(500);
/// Lines read before the ones before them are sent.
const LINES_AHEAD_MAX: usize = 16;

/// Lines of standard input, or why there are no more.
type Lines = Receiver<io::Result<Vec<u8>>>;

/// `moat pub`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("payload"))]
pub(crate) struct PubArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// The topic, like devices/press-1/state.
    #[arg(short, long)]
    topic: String,
    /// The message; without it and --file, each line of standard input is one.
    #[arg(short, long, value_name = "TEXT", group = "payload")]
    message: Option<String>,
    /// Send this file as one message.
    #[arg(long, value_name = "FILE", group = "payload")]
    file: Option<PathBuf>,
    /// 0, 1 or 2: from 1 on the broker confirms each message, and says so if it refuses it.
    #[arg(short, long, default_value = "1", value_parser = parse_qos)]
    qos: QoS,
    /// The broker keeps the message for later subscribers of the topic.
    #[arg(short, long)]
    retain: bool,
}

/// Publishes messages.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub(crate) fn run(args: &PubArgs, place: &DataPlace, output: &Output) -> Result<(), Failure> {
    TopicName::new(&args.topic, &Limits::generous())
        .map_err(|error| Failure::usage(format!("the topic {:?}: {error}", args.topic)))?;
    let count = match (&args.message, &args.file) {
        (Some(text), _) => publish_one(args, text.as_bytes(), place, output)?,
        (None, Some(file)) => publish_one(args, &whole_file(file)?, place, output)?,
        (None, None) => publish_lines(args, place, output)?,
    };
    if output.is_json() {
        output.result("", || json!({ "topic": args.topic, "published": count }));
    }
    Ok(())
}

fn publish_one(
    args: &PubArgs,
    payload: &[u8],
    place: &DataPlace,
    output: &Output,
) -> Result<u64, Failure> {
    let mut session = args.connect.connect(place, output)?;
    session
        .publish(&args.topic, payload, args.qos, args.retain)
        .map_err(Failure::failed)?;
    session.close();
    Ok(1)
}

fn whole_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MESSAGE_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
    Ok(bytes)
}

/// Publishes each line, and keeps the connection alive while there is none.
fn publish_lines(args: &PubArgs, place: &DataPlace, output: &Output) -> Result<u64, Failure> {
    if args.connect.reads_stdin() {
        return Err(Failure::usage(
            "standard input cannot hold both the password and the messages; use -m or --file",
        ));
    }
    let mut session = args.connect.connect(place, output)?;
    if io::stdin().is_terminal() {
        output.remark("each line is a message; end with Ctrl-D");
    }
    let lines = stdin_lines();
    let mut count = 0;
    while let Some(line) = next_line(&lines, &mut session)? {
        session
            .publish(&args.topic, &line, args.qos, args.retain)
            .map_err(Failure::failed)?;
        count += 1;
    }
    session.close();
    Ok(count)
}

/// The next line, `None` at the end.
fn next_line(
    lines: &Receiver<io::Result<Vec<u8>>>,
    session: &mut Session,
) -> Result<Option<Vec<u8>>, Failure> {
    loop {
        match lines.recv_timeout(TENDING_INTERVAL) {
            Ok(Ok(line)) => return Ok(Some(line)),
            Ok(Err(error)) => {
                return Err(Failure::failed(format!(
                    "cannot read standard input: {error}"
                )));
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => session.tend().map_err(Failure::failed)?,
        }
    }
}

/// Lines of standard input, read by a thread of their own since nothing else can interrupt such a read.
fn stdin_lines() -> Lines {
    let (sender, lines) = sync_channel(LINES_AHEAD_MAX);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        while let Some(line) = read_line(&mut stdin).transpose() {
            let is_end = line.is_err();
            if sender.send(line).is_err() || is_end {
                return;
            }
        }
    });
    lines
}

/// The next line without its end; `None` behind the last one.
fn read_line(from: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = from.take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else if line.len() as u64 > LINE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "a line is longer than {LINE_BYTES_MAX} bytes; use --file"
        )));
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_ends_and_nothing_else() {
        let mut input = &b"one\n\ntwo\r\nthree"[..];
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut input).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, [&b"one"[..], b"", b"two", b"three"]);
    }

    #[test]
    fn a_line_of_the_longest_length_is_read_and_one_more_is_not() {
        let longest = usize::try_from(LINE_BYTES_MAX).unwrap();
        let mut line = vec![b'x'; longest];
        assert_eq!(read_line(&mut &line[..]).unwrap().unwrap().len(), longest);
        line.push(b'x');
        assert!(read_line(&mut &line[..]).is_err());
    }
}
