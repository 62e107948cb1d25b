//! What stands in the payload of a message, so that it is known again: run, number, time.

/// Bytes of a stamp, and of the smallest payload whose latency can be measured.
pub(crate) const STAMP_BYTES: usize = 24;

/// The start of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// That of the run: messages of others are not ours to count.
    pub(super) run: u64,
    /// The message's number among those of its publisher, from 0.
    pub(super) number: u64,
    /// When it was sent. Unit: nanoseconds since the run began.
    pub(super) sent_nanos: u64,
}

impl Stamp {
    /// Writes into the start of `payload`, if it is large enough.
    pub(super) fn write(self, payload: &mut [u8]) {
        let words = [self.run, self.number, self.sent_nanos];
        if let Some(place) = payload.get_mut(..STAMP_BYTES) {
            for (eight, word) in place.chunks_exact_mut(8).zip(words) {
                eight.copy_from_slice(&word.to_be_bytes());
            }
        }
    }

    /// Reads the start of a payload.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let mut words = payload
            .get(..STAMP_BYTES)?
            .chunks_exact(8)
            .filter_map(|eight| eight.try_into().ok().map(u64::from_be_bytes));
        Some(Self {
            run: words.next()?,
            number: words.next()?,
            sent_nanos: words.next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_as_it_was_written_and_a_smaller_payload_has_none() {
        let stamp = Stamp {
            run: 1,
            number: u64::MAX,
            sent_nanos: 3,
        };
        let mut payload = [0; STAMP_BYTES + 1];
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload), Some(stamp));
        assert_eq!(Stamp::read(&payload[..STAMP_BYTES - 1]), None);
        let mut small = [7; STAMP_BYTES - 1];
        stamp.write(&mut small);
        assert_eq!(small, [7; STAMP_BYTES - 1]);
    }
}
