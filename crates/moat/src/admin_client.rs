//! One request to the running broker through its admin socket.
//!
//! HTTP/1.1 with one request per connection: the answer ends with the connection, so nothing but its head is parsed.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use moat_api::{Endpoint, Nothing, Problem};

use crate::admin_socket;
use crate::exit::Failure;

/// How long the broker may be silent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// No broker runs on this folder.
    NotRunning,
    /// Something else; the text says what.
    Failed(String),
}

impl NoAnswer {
    /// The failure of a command that needs the answer.
    pub(crate) fn failure(self, folder: &Path) -> Failure {
        let folder = folder.display();
        Failure::failed(match self {
            Self::NotRunning => format!(
                "no broker runs on the data folder {folder}; start it with `moat start`, or name another with --data"
            ),
            Self::Failed(why) => format!("the broker on {folder} does not answer: {why}"),
        })
    }
}

/// Asks the endpoint `E`, which takes no body, of the broker of a folder.
///
/// # Errors
/// No broker runs there, it refuses, or its answer cannot be read.
pub(crate) fn ask<E: Endpoint<Request = Nothing>>(folder: &Path) -> Result<E::Response, NoAnswer> {
    let request = format!(
        "{} {} HTTP/1.1\r\nhost: moat\r\nconnection: close\r\n\r\n",
        E::VERB.method(),
        E::PATH
    );
    let answer = exchange(folder, &request).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => NoAnswer::NotRunning,
        io::ErrorKind::PermissionDenied => NoAnswer::Failed(format!(
            "{error}; run the command as the broker's user or as root"
        )),
        _ => NoAnswer::Failed(error.to_string()),
    })?;
    let (status, body) = split(&answer)
        .ok_or_else(|| NoAnswer::Failed("its answer is no HTTP response".to_owned()))?;
    if status != 200 {
        let problem = serde_json::from_slice::<Problem>(body);
        let why = problem.map_or_else(|_| format!("HTTP status {status}"), |p| p.detail);
        return Err(NoAnswer::Failed(why));
    }
    serde_json::from_slice(body).map_err(|error| {
        NoAnswer::Failed(format!(
            "its answer cannot be read: {error}; is this moat older than the broker?"
        ))
    })
}

fn exchange(folder: &Path, request: &str) -> io::Result<Vec<u8>> {
    let mut stream = admin_socket::connect(folder, ANSWER_TIMEOUT)?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The status and the body of a response that ends with its connection.
fn split(answer: &[u8]) -> Option<(u16, &[u8])> {
    const END_OF_HEAD: &[u8] = b"\r\n\r\n";
    let end = answer
        .windows(END_OF_HEAD.len())
        .position(|window| window == END_OF_HEAD)?;
    let (head, body) = answer.split_at(end + END_OF_HEAD.len());
    let head = std::str::from_utf8(head).ok()?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    Some((status.parse().ok()?, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_split_into_status_and_body() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(split(answer), Some((200, b"{}".as_slice())));
        for broken in [
            &b"HTTP/1.1 200 OK\r\n"[..],
            b"\r\n\r\n",
            b"HTTP/1.1 2\r\n\r\n",
            b"SSH-2.0\r\n\r\n",
        ] {
            assert_eq!(split(broken), None);
        }
    }

    #[test]
    fn a_folder_without_a_broker_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let none = ask::<moat_api::GetStatus>(folder.path()).unwrap_err();
        assert!(matches!(none, NoAnswer::NotRunning));
        let text = none.failure(folder.path()).text();
        assert!(text.contains("moat start"), "{text}");
    }
}
