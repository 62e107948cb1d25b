//! The kinds of value a key can have: how each is read, shown and described.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use crate::units::{self, BYTE_UNITS, TIME_UNITS};

/// A value of the file with its place.
pub(crate) type Value<'i> = Spanned<DeValue<'i>>;

/// The longest path of an HTTP request. Unit: bytes.
const REQUEST_PATH_BYTES_MAX: usize = 256;
/// The longest server reference, in bytes: it shares a packet with little else.
const SERVER_REFERENCE_BYTES_MAX: usize = 1024;

/// The longest origin: a host name has at most 253 characters. Unit: bytes.
const ORIGIN_BYTES_MAX: usize = 300;

/// The most characters in a name.
pub(crate) const NAME_CHARS_MAX: usize = 64;

/// What may be written for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole number.
    Count { min: u64, max: u64 },
    /// A byte size.
    Bytes { min: u64, max: u64 },
    /// A duration in seconds.
    Secs { min: u64, max: u64 },
    /// True or false.
    Bool,
    /// A name of letters, digits, `-`, `_` and `.`.
    Name,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// The path of a file.
    Path,
    /// Paths of files, one to this many.
    Paths { count_max: usize },
    /// Addresses with ports, one to this many.
    Addresses { count_max: usize },
    /// The permissions of a file.
    FileMode,
    /// The path of an HTTP request.
    RequestPath,
    /// Hosts, each with or without a port, in the form of MQTT 5.0 section 4.11.
    ServerReference,
    /// Origins of web pages, at most this many.
    Origins { count_max: usize },
    /// `"auto"` or a whole number from 1.
    AutoOrCount { max: u64 },
    /// `"stderr"` or the path of a file.
    StderrOrPath,
}

impl Kind {
    /// The type, for the reference.
    pub(crate) const fn type_name(self) -> &'static str {
        match self {
            Self::Count { .. } => "number",
            Self::Bytes { .. } => "byte size",
            Self::Secs { .. } => "duration",
            Self::Bool => "boolean",
            Self::Name => "name",
            Self::Choice(_) => "word",
            Self::Path => "path",
            Self::Paths { .. } => "list of paths",
            Self::Addresses { .. } => "list of addresses",
            Self::FileMode => "permissions",
            Self::RequestPath => "path",
            Self::ServerReference => "hosts",
            Self::Origins { .. } => "list of origins",
            Self::AutoOrCount { .. } => "number or word",
            Self::StderrOrPath => "path or word",
        }
    }

    /// What may be written, as it ends an error and stands in the reference.
    pub(crate) fn allowed(self) -> String {
        match self {
            Self::Count { min, max } => format!("{min} to {max}"),
            Self::Bytes { min, max } => {
                format!("{min} to {max} bytes, or with a unit like \"2 MiB\" (B, KiB, MiB, GiB)")
            }
            Self::Secs { min, max } => {
                format!("{min} to {max} seconds, or with a unit like \"5 m\" (s, m, h, d)")
            }
            Self::Bool => "true or false".to_owned(),
            Self::Name => format!("1 to {NAME_CHARS_MAX} letters, digits, \"-\", \"_\" and \".\""),
            Self::Choice(words) => words
                .iter()
                .map(|word| format!("\"{word}\""))
                .collect::<Vec<_>>()
                .join(", "),
            Self::Path => "the path of a file as a string".to_owned(),
            Self::Paths { count_max } => {
                format!("a list of 1 to {count_max} paths of files, like [\"policy.toml\"]")
            }
            Self::Addresses { count_max } => format!(
                "a list of 1 to {count_max} addresses with ports, like [\"0.0.0.0:8883\", \"[::]:8883\"]"
            ),
            Self::FileMode => "the permissions of a file in octal, \"0600\" to \"0777\"".to_owned(),
            Self::RequestPath => format!(
                "a path like \"/mqtt\", of at most {REQUEST_PATH_BYTES_MAX} visible ASCII characters without \"?\" and \"#\""
            ),
            Self::ServerReference => format!(
                "hosts like \"mqtt-2.example.org\", \"192.0.2.7:8883\" or \"[2001:db8::7]:8883\", one space between them, of at most {SERVER_REFERENCE_BYTES_MAX} characters"
            ),
            Self::Origins { count_max } => format!(
                "a list of at most {count_max} origins in lower case without a path, like [\"https://dashboard.example.org\"]"
            ),
            Self::AutoOrCount { max } => format!("\"auto\" or 1 to {max}"),
            Self::StderrOrPath => "\"stderr\" or the path of a file as a string".to_owned(),
        }
    }

    /// The words that may be written, to suggest one.
    pub(crate) const fn words(self) -> &'static [&'static str] {
        match self {
            Self::Choice(words) => words,
            Self::AutoOrCount { .. } => &["auto"],
            _ => &[],
        }
    }
}

/// A type that a key can have.
pub(crate) trait Setting: Sized {
    /// Reads a value, or returns the part of it that is wrong. Relative paths start at `folder`.
    fn read<'v, 'i>(
        value: &'v Value<'i>,
        kind: &Kind,
        folder: &Path,
    ) -> Result<Self, &'v Value<'i>>;

    /// The value as it would be written, if there is one.
    fn to_toml(&self, kind: &Kind) -> Option<String>;
}

/// A setting that is a number.
pub(crate) trait Number: Copy {
    fn from_number(number: u64) -> Option<Self>;
    fn number(self) -> u64;
}

/// A number written in this crate's own tables. Saturates; a test shows that no default does.
pub(crate) fn n<T: Number + Bounds>(number: u64) -> T {
    T::from_number(number).unwrap_or(if number == 0 { T::LEAST } else { T::MOST })
}

/// The ends of a number's type.
pub(crate) trait Bounds {
    const LEAST: Self;
    const MOST: Self;
}

macro_rules! number {
    ($($plain:ty, $non_zero:ty;)+) => { $(
        impl Bounds for $plain {
            const LEAST: Self = Self::MIN;
            const MOST: Self = Self::MAX;
        }
        impl Number for $plain {
            fn from_number(number: u64) -> Option<Self> {
                Self::try_from(number).ok()
            }
            fn number(self) -> u64 {
                // A usize wider than 64 bits does not exist.
                u64::try_from(self).unwrap_or(u64::MAX)
            }
        }
        number!(@setting $plain);
        impl Bounds for $non_zero {
            const LEAST: Self = Self::MIN;
            const MOST: Self = Self::MAX;
        }
        impl Number for $non_zero {
            fn from_number(number: u64) -> Option<Self> {
                <$plain>::try_from(number).ok().and_then(Self::new)
            }
            fn number(self) -> u64 {
                self.get().number()
            }
        }
        number!(@setting $non_zero);
    )+ };
    (@setting $number:ty) => {
        impl Setting for $number {
            fn read<'v, 'i>(value: &'v Value<'i>, kind: &Kind, _: &Path) -> Result<Self, &'v Value<'i>> {
                read_number(value, kind).and_then(Self::from_number).ok_or(value)
            }
            fn to_toml(&self, kind: &Kind) -> Option<String> {
                Some(show_number(self.number(), kind))
            }
        }
    };
}

number! {
    u16, NonZeroU16;
    u32, NonZeroU32;
    usize, NonZeroUsize;
}

fn read_number(value: &Value<'_>, kind: &Kind) -> Option<u64> {
    let (min, max, units) = match *kind {
        Kind::Count { min, max } => (min, max, None),
        Kind::Bytes { min, max } => (min, max, Some(&BYTE_UNITS)),
        Kind::Secs { min, max } => (min, max, Some(&TIME_UNITS)),
        Kind::AutoOrCount { max } => (1, max, None),
        _ => return None,
    };
    let number = match value.get_ref() {
        DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix()).ok()?,
        DeValue::String(text) => units::read(text, units?)?,
        _ => return None,
    };
    (min..=max).contains(&number).then_some(number)
}

fn show_number(number: u64, kind: &Kind) -> String {
    match kind {
        Kind::Bytes { .. } => units::to_toml(number, &BYTE_UNITS),
        Kind::Secs { .. } => units::to_toml(number, &TIME_UNITS),
        _ => number.to_string(),
    }
}

/// The number of an integer value within the bounds of an [`Kind::AutoOrCount`].
pub(crate) fn count_of(value: &Value<'_>, kind: &Kind) -> Option<u64> {
    read_number(value, kind)
}

impl Setting for bool {
    fn read<'v, 'i>(value: &'v Value<'i>, _: &Kind, _: &Path) -> Result<Self, &'v Value<'i>> {
        value.get_ref().as_bool().ok_or(value)
    }

    fn to_toml(&self, _: &Kind) -> Option<String> {
        Some(self.to_string())
    }
}

/// A name, the path of a request, an origin or a server reference.
impl Setting for String {
    fn read<'v, 'i>(value: &'v Value<'i>, kind: &Kind, _: &Path) -> Result<Self, &'v Value<'i>> {
        let is_allowed = match kind {
            Kind::RequestPath => is_request_path,
            Kind::ServerReference => is_server_reference,
            Kind::Origins { .. } => is_origin,
            _ => is_name,
        };
        let text = value.get_ref().as_str().filter(|text| is_allowed(text));
        text.map(str::to_owned).ok_or(value)
    }

    fn to_toml(&self, _: &Kind) -> Option<String> {
        (!self.is_empty()).then(|| quoted(self))
    }
}

fn is_name(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=NAME_CHARS_MAX).contains(&text.len()) && text.chars().all(is_allowed)
}

fn is_request_path(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#');
    text.starts_with('/') && text.len() <= REQUEST_PATH_BYTES_MAX && text.bytes().all(is_allowed)
}

/// Whether it is a list of hosts, each with a port from 1 or none [MQTT 5.0, 4.11]. Only form: the host may be down.
fn is_server_reference(text: &str) -> bool {
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_name = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        !name.is_empty() && name.bytes().all(allowed)
    };
    let is_host = |reference: &str| match reference.strip_prefix('[').map(|v6| v6.split_once(']')) {
        Some(Some((address, port))) => {
            address.parse::<std::net::Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        }
        Some(None) => false,
        None => match reference.split_once(':') {
            Some((name, port)) => is_name(name) && is_port(port),
            None => is_name(reference),
        },
    };
    text.len() <= SERVER_REFERENCE_BYTES_MAX && text.split(' ').all(is_host)
}

/// Whether a browser could write it so [RFC 6454 6.2]. One that no browser writes would never match.
fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else {
        return false;
    };
    let is_scheme =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+.-".contains(&byte);
    let is_authority =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
    text.len() <= ORIGIN_BYTES_MAX
        && scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(is_scheme)
        && !authority.is_empty()
        && authority.bytes().all(is_authority)
}

impl Setting for PathBuf {
    fn read<'v, 'i>(value: &'v Value<'i>, _: &Kind, folder: &Path) -> Result<Self, &'v Value<'i>> {
        match value.get_ref().as_str() {
            Some(path) if !path.is_empty() && !path.contains('\0') => Ok(folder.join(path)),
            _ => Err(value),
        }
    }

    fn to_toml(&self, _: &Kind) -> Option<String> {
        Some(quoted(&self.display().to_string()))
    }
}

/// The permissions of a file, as `chmod` takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(u32);

impl FileMode {
    /// These bits; those beside reading, writing and executing are left out.
    #[must_use]
    pub const fn new(bits: u32) -> Self {
        Self(bits & 0o777)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether every user of the machine may write.
    #[must_use]
    pub const fn is_for_all(self) -> bool {
        self.0 & 0o002 != 0
    }

    /// Whether the file's group may write.
    #[must_use]
    pub const fn is_for_group(self) -> bool {
        self.0 & 0o020 != 0
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Text in octal, or a number written in octal: a decimal one would mean something else than it looks like.
impl Setting for FileMode {
    fn read<'v, 'i>(value: &'v Value<'i>, _: &Kind, _: &Path) -> Result<Self, &'v Value<'i>> {
        let digits = match value.get_ref() {
            DeValue::String(text) => Some(&**text),
            DeValue::Integer(number) if number.radix() == 8 => Some(number.as_str()),
            _ => None,
        };
        let is_octal = |text: &&str| text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        digits
            .filter(is_octal)
            .and_then(|text| u32::from_str_radix(text, 8).ok())
            .filter(|bits| (0o600..=0o777).contains(bits))
            .map(Self)
            .ok_or(value)
    }

    fn to_toml(&self, _: &Kind) -> Option<String> {
        Some(format!("\"{self}\""))
    }
}

impl Setting for SocketAddr {
    fn read<'v, 'i>(value: &'v Value<'i>, _: &Kind, _: &Path) -> Result<Self, &'v Value<'i>> {
        let address = value.get_ref().as_str().and_then(|text| text.parse().ok());
        address.ok_or(value)
    }

    fn to_toml(&self, _: &Kind) -> Option<String> {
        Some(format!("\"{self}\""))
    }
}

impl<T: Setting> Setting for Option<T> {
    fn read<'v, 'i>(
        value: &'v Value<'i>,
        kind: &Kind,
        folder: &Path,
    ) -> Result<Self, &'v Value<'i>> {
        T::read(value, kind, folder).map(Some)
    }

    fn to_toml(&self, kind: &Kind) -> Option<String> {
        self.as_ref().and_then(|value| value.to_toml(kind))
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn read<'v, 'i>(
        value: &'v Value<'i>,
        kind: &Kind,
        folder: &Path,
    ) -> Result<Self, &'v Value<'i>> {
        let count_max = match *kind {
            Kind::Paths { count_max }
            | Kind::Addresses { count_max }
            | Kind::Origins { count_max } => count_max,
            _ => return Err(value),
        };
        let count_min = usize::from(!matches!(kind, Kind::Origins { .. }));
        match value.get_ref().as_array() {
            Some(items) if (count_min..=count_max).contains(&items.len()) => items
                .iter()
                .map(|item| T::read(item, kind, folder))
                .collect(),
            _ => Err(value),
        }
    }

    fn to_toml(&self, kind: &Kind) -> Option<String> {
        let items: Option<Vec<String>> = self.iter().map(|item| item.to_toml(kind)).collect();
        Some(format!("[{}]", items?.join(", ")))
    }
}

/// A string in double quotes, with what cannot be printed escaped.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug()).replace("\\'", "'")
}
