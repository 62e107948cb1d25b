//! The rows of `testdata/packets.txt`: bytes, what they mean, or why they are refused.
//!
//! The file's head explains its columns. Codec and session tests read the same rows.

use std::fmt;

use crate::{DecodeError, ReasonCode, Version};

/// Topic Alias Maximum of the connection that rows with [`Expect::AliasError`] arrive on.
pub const TOPIC_ALIAS_MAXIMUM: u16 = 10;

const TABLE: &str = include_str!("../testdata/packets.txt");

/// Longest packet a row may spell, in bytes: a wrong repetition must not eat the memory.
const ROW_BYTES_MAX: usize = 1024 * 1024;

/// One packet of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Unique, lower case, with dashes.
    pub name: &'static str,
    /// Who sends such a packet.
    pub sender: Sender,
    /// The connection's version; a CONNECT says its own.
    pub version: Version,
    /// The whole packet.
    pub bytes: Vec<u8>,
    /// What becomes of it under [`Limits::default`](crate::Limits::default).
    pub expect: Expect,
    /// The statement, section or limit the row is about.
    pub source: &'static str,
}

/// Who sends a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// A client.
    Client,
    /// A server.
    Server,
}

/// What becomes of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Expect {
    /// It decodes to `meaning` and encodes to `canonical`.
    Ok {
        /// Its fields in the file's notation.
        meaning: &'static str,
        /// What encoding gives: mostly the row's own bytes.
        canonical: Vec<u8>,
    },
    /// Decoding refuses it.
    DecodeError {
        /// [`DecodeError::name`].
        variant: &'static str,
        /// [`DecodeError::reason`].
        reason: ReasonCode,
    },
    /// It decodes, and resolving its topic alias refuses it.
    AliasError {
        /// [`DecodeError::name`].
        variant: &'static str,
        /// [`DecodeError::reason`].
        reason: ReasonCode,
    },
}

/// A row that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableError {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packets.txt:{}: {}", self.line, self.problem)
    }
}

impl std::error::Error for TableError {}

/// All rows, in the file's order.
///
/// # Errors
/// The first line that is no row, as a [`TableError`].
pub fn rows() -> Result<Vec<Row>, TableError> {
    TABLE
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            parse_row(line).map_err(|problem| TableError {
                line: index + 1,
                problem,
            })
        })
        .collect()
}

fn parse_row(line: &'static str) -> Result<Row, &'static str> {
    let mut columns = line.split(" | ").map(str::trim);
    let mut column = || {
        columns
            .next()
            .ok_or("a row has six columns, separated by ' | '")
    };
    let (name, sender, version, bytes, expect, source) = (
        column()?,
        column()?,
        column()?,
        column()?,
        column()?,
        column()?,
    );
    let bytes = parse_bytes(bytes)?;
    Ok(Row {
        name,
        sender: match sender {
            "c" => Sender::Client,
            "s" => Sender::Server,
            _ => return Err("the sender is c or s"),
        },
        version: match version {
            "3.1" => Version::V31,
            "3.1.1" => Version::V311,
            "5" => Version::V5,
            _ => return Err("the version is 3.1, 3.1.1 or 5"),
        },
        expect: parse_expect(expect, &bytes)?,
        bytes,
        source,
    })
}

fn parse_expect(text: &'static str, bytes: &[u8]) -> Result<Expect, &'static str> {
    if let Some(meaning) = text.strip_prefix("ok: ") {
        return Ok(Expect::Ok {
            meaning,
            canonical: bytes.to_vec(),
        });
    }
    if let Some(rest) = text.strip_prefix("ok -> ") {
        let (canonical, meaning) = rest.split_once(": ").ok_or("write ok -> BYTES: MEANING")?;
        return Ok(Expect::Ok {
            meaning,
            canonical: parse_bytes(canonical)?,
        });
    }
    if let Some(rest) = text.strip_prefix("err ") {
        let (variant, reason) = parse_error(rest)?;
        return Ok(Expect::DecodeError { variant, reason });
    }
    if let Some(rest) = text.strip_prefix("alias ") {
        let (variant, reason) = parse_error(rest)?;
        return Ok(Expect::AliasError { variant, reason });
    }
    Err("the expectation starts with 'ok: ', 'ok -> ', 'err ' or 'alias '")
}

fn parse_error(text: &'static str) -> Result<(&'static str, ReasonCode), &'static str> {
    let (variant, reason) = text.split_once(" 0x").ok_or("write VARIANT 0xRR")?;
    if !DecodeError::NAMES.contains(&variant) {
        return Err("the variant is not one of DecodeError's");
    }
    let reason = u8::from_str_radix(reason, 16)
        .ok()
        .and_then(ReasonCode::from_byte);
    Ok((
        variant,
        reason.ok_or("the reason code is not one of MQTT 5.0's")?,
    ))
}

const BAD_GROUP: &str = "a group is written (BYTESxN)";

/// Hexadecimal with groups: `30(61x3)` is `30616161`.
fn parse_bytes(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, group)) = rest.split_once('(') {
        let (group, after) = group.split_once(')').ok_or(BAD_GROUP)?;
        let (group, count) = group.split_once('x').ok_or(BAD_GROUP)?;
        let count: usize = count.parse().map_err(|_| BAD_GROUP)?;
        parse_hex(before, &mut bytes)?;
        let mut unit = Vec::new();
        parse_hex(group, &mut unit)?;
        if unit.len().saturating_mul(count) > ROW_BYTES_MAX {
            return Err("the packet is larger than a row may be");
        }
        bytes.extend(unit.repeat(count));
        rest = after;
    }
    parse_hex(rest, &mut bytes)?;
    Ok(bytes)
}

fn parse_hex(text: &str, bytes: &mut Vec<u8>) -> Result<(), &'static str> {
    if !text.len().is_multiple_of(2) {
        return Err("bytes have two hexadecimal digits each");
    }
    for pair in text.as_bytes().chunks(2) {
        let digits = std::str::from_utf8(pair).map_err(|_| "bytes are hexadecimal")?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| "bytes are hexadecimal")?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_repeated() {
        assert_eq!(
            parse_bytes("30(6162x2)ff(00x3)"),
            Ok(b"\x30abab\xff\0\0\0".to_vec())
        );
        assert_eq!(parse_bytes(""), Ok(Vec::new()));
    }

    #[test]
    fn bad_bytes_are_refused() {
        assert!(parse_bytes("3").is_err());
        assert!(parse_bytes("zz").is_err());
        assert!(parse_bytes("(61x3").is_err());
        assert!(parse_bytes("(61x)").is_err());
        assert_eq!(
            parse_bytes("(61x9999999)"),
            Err("the packet is larger than a row may be")
        );
    }

    #[test]
    fn bad_rows_say_what_is_wrong() {
        assert_eq!(
            parse_row("a | c | 5"),
            Err("a row has six columns, separated by ' | '")
        );
        assert_eq!(
            parse_row("a | x | 5 | 00 | ok: X | s"),
            Err("the sender is c or s")
        );
        assert_eq!(
            parse_row("a | c | 5 | 00 | err Nonsense 0x81 | s"),
            Err("the variant is not one of DecodeError's")
        );
    }
}
