//! What is done to a broker, step by step.

use std::fmt;

use moat_codec::{Limits, Packet, Version};

use crate::shape::{NONCE, first_packet};

/// Connections of one sequence at most; the last one is the witness's.
pub(crate) const SLOTS: usize = 4;

/// How a connection treats what it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Habit {
    /// Acknowledges everything at once.
    Answers,
    /// Acknowledges messages only when a step says so.
    Waits,
    /// Acknowledges nothing, and releases no QoS 2 message of its own, unless a step says so.
    Holds,
}

/// What an acknowledgement that waited looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// As it should be.
    Right,
    /// PUBREC for QoS 1, PUBACK for QoS 2, PUBREC again for a PUBREL.
    WrongKind,
    /// With an error for a reason; before 5.0 as it should be.
    Refused,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A new connection and its first bytes. One that is open in this place is closed before.
    Open {
        slot: usize,
        habit: Habit,
        bytes: Vec<u8>,
    },
    /// Bytes on a connection, if it is open.
    Send { slot: usize, bytes: Vec<u8> },
    /// Answers the n-th thing that waits for an answer, if any does.
    Ack {
        slot: usize,
        nth: usize,
        answer: Answer,
    },
    /// The client closes its side and reads to the end.
    Close { slot: usize },
}

impl Step {
    pub(crate) fn slot(&self) -> usize {
        match self {
            Self::Open { slot, .. }
            | Self::Send { slot, .. }
            | Self::Ack { slot, .. }
            | Self::Close { slot } => *slot,
        }
    }

    /// What it sends, if that is known beforehand.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Open { bytes, .. } | Self::Send { bytes, .. } => bytes,
            Self::Ack { .. } | Self::Close { .. } => &[],
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    pub(crate) seed: u64,
    pub(crate) steps: Vec<Step>,
}

/// The version a first packet asks for; what answers are read as when it names none.
pub(crate) fn version_of(first: &[u8]) -> Version {
    // By hand: the codec would refuse what is bent elsewhere.
    let total = first_packet(first).unwrap_or(first.len());
    let header = first[1..total]
        .iter()
        .position(|byte| byte & 0x80 == 0)
        .map_or(total, |at| at + 2);
    let body = &first[header.min(total)..total];
    match body {
        [0, 4, b'M', b'Q', b'T', b'T', 5, ..] => Version::V5,
        [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', 3, ..] => Version::V31,
        _ => Version::V311,
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut versions = [Version::V311; SLOTS];
        for (index, step) in self.steps.iter().enumerate() {
            let slot = step.slot();
            write!(f, "  {index:2} [{slot}] ")?;
            match step {
                Step::Open { habit, bytes, .. } => {
                    versions[slot] = version_of(bytes);
                    writeln!(f, "open, {habit:?}: {}", described(bytes, versions[slot]))?;
                }
                Step::Send { bytes, .. } => {
                    writeln!(f, "send: {}", described(bytes, versions[slot]))?;
                }
                Step::Ack { nth, answer, .. } => writeln!(f, "answer {nth}, {answer:?}")?,
                Step::Close { .. } => writeln!(f, "close")?,
            }
        }
        Ok(())
    }
}

/// Bytes in hex, and what moat's codec takes them for.
fn described(bytes: &[u8], version: Version) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let total = first_packet(bytes).unwrap_or(bytes.len());
    let packet = match Packet::decode(&bytes[..total], version, &Limits::generous()) {
        Ok(packet) => format!("{packet:?}"),
        Err(error) => format!("not valid: {error}"),
    };
    let rest = bytes.len() - total;
    let rest = if rest > 0 {
        format!(" and {rest} more bytes")
    } else {
        String::new()
    };
    format!("{hex}\n           {packet}{rest}")
}

/// The bytes with the nonce of one run.
pub(crate) fn rendered(bytes: &[u8], nonce: &[u8; 8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at + NONCE.len() <= out.len() {
        if &out[at..at + NONCE.len()] == NONCE {
            out[at..at + NONCE.len()].copy_from_slice(nonce);
            at += NONCE.len();
        } else {
            at += 1;
        }
    }
    out
}
