//! What happened.

use std::collections::BTreeMap;
use std::time::Duration;

use super::histogram::Histogram;
use crate::client::ClientError;

/// Different errors that are told; further ones are counted together.
const ERROR_TEXTS_MAX: usize = 16;
/// What the further ones are called.
const OTHER_ERRORS: &str = "other errors";

/// Counts of a run.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Connections the broker accepted.
    pub(super) connected: u64,
    /// Connections that were refused or did not come about, a subscription included.
    pub(super) failed: u64,
    /// Connections that ended by themselves.
    pub(super) lost: u64,
    /// Messages sent.
    pub(super) sent: u64,
    /// Messages the broker confirmed, with PUBACK or PUBCOMP.
    pub(super) acknowledged: u64,
    /// Messages the broker refused with a reason code.
    pub(super) refused: u64,
    /// Messages on their way on connections that were lost.
    pub(super) abandoned: u64,
    /// Messages received, those of others and those that came again left out.
    pub(super) received: u64,
    /// Messages received again, or after a later one; of `latency` only.
    pub(super) repeated: u64,
    /// Messages received that somebody else sent; of `latency` only.
    pub(super) foreign: u64,
    /// Bytes of the payloads sent.
    pub(super) bytes_sent: u64,
    /// Bytes of the payloads received.
    pub(super) bytes_received: u64,
    /// From opening a connection to its CONNACK.
    pub(super) connect_times: Histogram,
    /// From PUBLISH to PUBACK or PUBCOMP; of `latency` from PUBLISH to PUBLISH.
    pub(super) message_times: Histogram,
    /// How often which error was met.
    pub(super) errors: BTreeMap<String, u64>,
}

impl Tally {
    /// Nothing happened yet.
    pub(super) fn new() -> Self {
        Self {
            connected: 0,
            failed: 0,
            lost: 0,
            sent: 0,
            acknowledged: 0,
            refused: 0,
            abandoned: 0,
            received: 0,
            repeated: 0,
            foreign: 0,
            bytes_sent: 0,
            bytes_received: 0,
            connect_times: Histogram::new(),
            message_times: Histogram::new(),
            errors: BTreeMap::new(),
        }
    }

    /// Counts an error under its text.
    pub(super) fn note(&mut self, error: &ClientError) {
        let mut text = error.to_string();
        if !self.errors.contains_key(&text) && self.errors.len() >= ERROR_TEXTS_MAX {
            OTHER_ERRORS.clone_into(&mut text);
        }
        *self.errors.entry(text).or_default() += 1;
    }

    /// Errors in all.
    pub(super) fn errors(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Messages of QoS 1 and 2 whose acknowledgement is still to come.
    pub(super) fn on_their_way(&self) -> u64 {
        self.sent
            .saturating_sub(self.acknowledged + self.refused + self.abandoned)
    }

    /// Messages that did not come back, of `latency`.
    pub(super) fn missing(&self) -> u64 {
        self.sent.saturating_sub(self.received + self.refused)
    }
}

/// A run that is over.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(super) tally: Tally,
    /// Whether Ctrl-C ended it.
    pub(super) is_interrupted: bool,
    /// From the first message, or the first connection, to the last.
    pub(super) elapsed: Duration,
    /// What the whole run cost this process, where the system tells.
    pub(super) cpu: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_more_kinds_than_are_told_are_counted_together() {
        let mut tally = Tally::new();
        for place in 0..ERROR_TEXTS_MAX + 2 {
            tally.note(&ClientError::Refused(place.to_string()));
        }
        tally.note(&ClientError::Refused("0".to_owned()));
        assert_eq!(tally.errors.len(), ERROR_TEXTS_MAX + 1);
        assert_eq!(tally.errors[OTHER_ERRORS], 2);
        assert_eq!(tally.errors(), ERROR_TEXTS_MAX as u64 + 3);
    }
}
