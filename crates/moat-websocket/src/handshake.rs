//! The HTTP/1.1 request that becomes a WebSocket, or the answer that refuses it [RFC 6455 4.2].

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::Refusal;

/// The largest request head, the empty line at its end included. Unit: bytes.
pub const HEAD_BYTES_MAX: usize = 8 << 10;
/// The most header fields of a request.
pub const HEADERS_MAX: usize = 64;

/// What a frame may hold beside the largest packet: a client may put small packets into the same frame. Unit: bytes.
pub const FRAME_ROOM_BYTES: u64 = 64 << 10;

/// What ends a request head.
pub(crate) const HEAD_END: &[u8] = b"\r\n\r\n";
/// The subprotocols of MQTT, the one of 3.1.1 and 5.0 first: a client that offers both gets it.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
/// What the key is hashed with [RFC 6455 1.3].
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// What a key decodes to. Unit: bytes.
const KEY_BYTES: usize = 16;

/// What a listener asks of those who come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The path of the request, such as `/mqtt`.
    pub path: String,
    /// Whose pages may connect, as browsers write origins: `https://example.org`. A page from the very host and port
    /// it connects to may, too, and so may a client that is no browser and sends no origin.
    pub origins: Vec<String>,
    /// The largest payload of one frame. Unit: bytes.
    pub frame_bytes_max: u64,
}

impl Rules {
    /// The rules of a listener whose packets have at most `packet_bytes_max` bytes.
    #[must_use]
    pub fn new(path: &str, origins: &[String], packet_bytes_max: u32) -> Self {
        Self {
            path: path.to_owned(),
            origins: origins.to_vec(),
            frame_bytes_max: u64::from(packet_bytes_max) + FRAME_ROOM_BYTES,
        }
    }
}

/// What is in a request that can be accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    subprotocol: &'static str,
    accept: String,
}

/// Judges a whole request head, with the empty line at its end.
pub(crate) fn judge(head: &[u8], rules: &Rules) -> Result<Accepted, Refusal> {
    let request = Request::parse(head)?;
    if request.method != "GET" {
        return Err(Refusal::Method);
    }
    let path = request.target.split(['?', '#']).next();
    if path != Some(rules.path.as_str()) {
        return Err(Refusal::Path);
    }
    let host = request.one("host").ok_or(Refusal::Host)?;
    if request.has("transfer-encoding") || request.all("content-length").any(|bytes| bytes != "0") {
        return Err(Refusal::Body);
    }
    let is_upgrade =
        request.lists("upgrade", "websocket") && request.lists("connection", "upgrade");
    if !is_upgrade {
        return Err(Refusal::NotAnUpgrade);
    }
    if request.one("sec-websocket-version") != Some("13") {
        return Err(Refusal::Version);
    }
    let key = request.one("sec-websocket-key").ok_or(Refusal::Key)?;
    if STANDARD.decode(key).map(|key| key.len()) != Ok(KEY_BYTES) {
        return Err(Refusal::Key);
    }
    if request.has("origin") {
        let origin = request.one("origin").ok_or(Refusal::Origin)?;
        if !is_allowed(origin, host, rules) {
            return Err(Refusal::Origin);
        }
    }
    let offers = |name: &&str| request.items("sec-websocket-protocol").any(|o| o == *name);
    let subprotocol = SUBPROTOCOLS.into_iter().find(offers);
    Ok(Accepted {
        subprotocol: subprotocol.ok_or(Refusal::Subprotocol)?,
        accept: accept_of(key),
    })
}

/// Whether pages of `origin` may connect. A browser writes it itself; a page cannot change it.
fn is_allowed(origin: &str, host: &str, rules: &Rules) -> bool {
    let is_listed = rules
        .origins
        .iter()
        .any(|allowed| allowed.eq_ignore_ascii_case(origin));
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    is_listed || authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// The proof that this server has read the key [RFC 6455 4.2.2]. SHA-1 protects nothing here.
fn accept_of(key: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(ACCEPT_SUFFIX);
    STANDARD.encode(context.finish())
}

impl Accepted {
    /// Appends the answer after which frames follow.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let Accepted {
            subprotocol,
            accept,
        } = self;
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        );
        out.extend_from_slice(answer.as_bytes());
    }
}

/// Appends the answer that refuses a request. Nothing of the request is in it.
pub(crate) fn write_refusal(refusal: Refusal, out: &mut Vec<u8>) {
    let more = match refusal {
        Refusal::Method => "Allow: GET\r\n",
        Refusal::NotAnUpgrade | Refusal::Version => {
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        }
        _ => "",
    };
    // An answer with an Upgrade field names it as an option of the connection [RFC 9110 7.8].
    let connection = if more.starts_with("Upgrade") {
        "close, Upgrade"
    } else {
        "close"
    };
    let body = format!("{refusal}\n");
    let answer = format!(
        "HTTP/1.1 {}\r\nConnection: {connection}\r\n{more}Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n\r\n{body}",
        refusal.status(),
        body.len()
    );
    out.extend_from_slice(answer.as_bytes());
}

/// A request line and header fields, names as they were written.
struct Request<'h> {
    method: &'h str,
    target: &'h str,
    fields: Vec<(&'h str, &'h str)>,
}

impl<'h> Request<'h> {
    fn parse(head: &'h [u8]) -> Result<Self, Refusal> {
        let head = head.strip_suffix(HEAD_END).ok_or(Refusal::Malformed)?;
        let head = std::str::from_utf8(head).map_err(|_| Refusal::Malformed)?;
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some("HTTP/1.1"), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Refusal::Malformed);
        };
        let is_target = target.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_token(method) || !is_target || target.is_empty() {
            return Err(Refusal::Malformed);
        }
        let mut fields = Vec::new();
        for line in lines {
            if fields.len() == HEADERS_MAX {
                return Err(Refusal::TooManyHeaders);
            }
            fields.push(field(line).ok_or(Refusal::Malformed)?);
        }
        Ok(Self {
            method,
            target,
            fields,
        })
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &'h str> {
        let named = |(field, _): &&(&str, &str)| field.eq_ignore_ascii_case(name);
        self.fields.iter().filter(named).map(|(_, value)| *value)
    }

    fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// The value of a field that stands there once and is not empty.
    fn one(&self, name: &str) -> Option<&'h str> {
        let mut all = self.all(name);
        let value = all.next().filter(|value| !value.is_empty());
        value.filter(|_| all.next().is_none())
    }

    /// The items of a field that is a list, in however many lines.
    fn items(&self, name: &str) -> impl Iterator<Item = &'h str> {
        let values = self.all(name);
        values.flat_map(|value| value.split(',').map(|item| item.trim_matches([' ', '\t'])))
    }

    fn lists(&self, name: &str, wanted: &str) -> bool {
        self.items(name)
            .any(|item| item.eq_ignore_ascii_case(wanted))
    }
}

/// Name and value of a line. A line that goes on the one before it has no name, so it is refused [RFC 9112 5.2].
fn field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let is_value = value.chars().all(|c| c == '\t' || !c.is_control());
    (is_token(name) && is_value).then(|| (name, value.trim_matches([' ', '\t'])))
}

/// Whether it is a token of HTTP [RFC 9110 5.6.2].
fn is_token(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests;
