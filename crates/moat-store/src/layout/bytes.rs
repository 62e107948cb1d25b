//! The bytes of a value: numbers, texts and pieces, read without a copy and without a panic.

use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};

/// The most bytes of a number of 64 bits in groups of seven.
const VARINT_BYTES_MAX: u32 = 10;
/// What a buffer grows by at least. Unit: bytes.
const CHUNK_BYTES: usize = 16 * 1024;
/// Longest key that an error shows, in bytes.
const KEY_SHOWN_BYTES_MAX: usize = 64;

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is shorter than what it says of itself.
    #[error("it ends early")]
    EndsEarly,
    /// There is more than belongs to it.
    #[error("there are bytes after its end")]
    BytesAfterEnd,
    /// Its first byte names a version that this release does not know.
    #[error("it has version {0}; this release knows versions up to {max}", max = super::VALUE_VERSION)]
    Version(u8),
    /// A number is larger than what it counts allows.
    #[error("{0} is out of its range")]
    OutOfRange(&'static str),
    /// A text is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    /// A list that has to ascend does not.
    #[error("{0} are not in order")]
    NotInOrder(&'static str),
}

/// Pieces of one batch, one after the other in few allocations.
#[derive(Default)]
pub(super) struct Output(BytesMut);

impl Output {
    /// What was written since the last call.
    pub(super) fn take(&mut self) -> Bytes {
        self.0.split().freeze()
    }

    /// Makes room for a piece of about `bytes`.
    pub(super) fn room(&mut self, bytes: usize) {
        if self.0.capacity() - self.0.len() < bytes {
            self.0.reserve(bytes.max(CHUNK_BYTES));
        }
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.put_u8(byte);
    }

    pub(super) fn u16(&mut self, number: u16) {
        self.0.put_u16(number);
    }

    pub(super) fn u64(&mut self, number: u64) {
        self.0.put_u64(number);
    }

    pub(super) fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.put_u8(low_seven(number) | 0x80);
            number >>= 7;
        }
        self.0.put_u8(low_seven(number));
    }

    pub(super) fn count(&mut self, count: usize) {
        // No length exceeds 64 bits.
        self.varint(u64::try_from(count).unwrap_or(u64::MAX));
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.put_slice(bytes);
    }

    /// A piece with its length before it.
    pub(super) fn piece(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    /// A moment of the wall clock, to the nanosecond.
    pub(super) fn moment(&mut self, moment: SystemTime) {
        let (is_before, distance) = match moment.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => (false, after),
            Err(error) => (true, error.duration()),
        };
        self.byte(u8::from(is_before));
        self.varint(distance.as_secs());
        self.varint(u64::from(distance.subsec_nanos()));
    }

    /// Something that may be absent.
    pub(super) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

fn low_seven(number: u64) -> u8 {
    // Seven bits fit.
    u8::try_from(number & 0x7F).unwrap_or(0)
}

/// What is left to read of a value.
#[derive(Clone, Copy)]
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// The value in `bytes`, whose first one is its version.
    pub(super) fn versioned(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut input = Input(bytes);
        match input.byte()? {
            super::VALUE_VERSION => Ok(input),
            version => Err(Malformed::Version(version)),
        }
    }

    /// Bytes that have no version: a key.
    pub(super) fn of_key(bytes: &'a [u8]) -> Self {
        Input(bytes)
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::BytesAfterEnd)
        }
    }

    /// All that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn raw(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Malformed::EndsEarly)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.0.split_first().ok_or(Malformed::EndsEarly)?;
        self.0 = rest;
        Ok(*byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed::EndsEarly)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed::EndsEarly)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*bytes))
    }

    pub(super) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for place in 0..VARINT_BYTES_MAX {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            let shifted = bits << (7 * place);
            if shifted >> (7 * place) != bits {
                return Err(Malformed::OutOfRange("a number"));
            }
            number |= shifted;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed::OutOfRange("a number"))
    }

    /// A number that has to fit into `T`; `what` names it.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, Malformed> {
        T::try_from(self.varint()?).map_err(|_| Malformed::OutOfRange(what))
    }

    /// How many things of at least `each` bytes follow: never more than there are bytes for, so that a damaged count
    /// reserves no memory.
    pub(super) fn count(&mut self, each: usize) -> Result<usize, Malformed> {
        let count: usize = self.number("a count")?;
        if count.saturating_mul(each) > self.0.len() {
            return Err(Malformed::EndsEarly);
        }
        Ok(count)
    }

    pub(super) fn piece(&mut self) -> Result<&'a [u8], Malformed> {
        let count = self.count(1)?;
        self.raw(count)
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a str, Malformed> {
        text(self.piece()?, what)
    }

    pub(super) fn moment(&mut self) -> Result<SystemTime, Malformed> {
        let out_of_range = Malformed::OutOfRange("a moment");
        let is_before = self.flag()?;
        let (secs, nanos) = (self.varint()?, self.number::<u32>("a moment")?);
        if nanos >= 1_000_000_000 {
            return Err(out_of_range);
        }
        let distance = Duration::new(secs, nanos);
        let moment = if is_before {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        };
        moment.ok_or(out_of_range)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed::OutOfRange("a flag")),
        }
    }

    pub(super) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        let is_there = self.flag()?;
        is_there.then(|| read(self)).transpose()
    }
}

/// Bytes that have to be text; `what` names them.
pub(super) fn text<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::NotUtf8(what))
}

/// A key as an error shows it: hexadecimal, cut.
pub(super) fn shown(key: &[u8]) -> String {
    let mut text: String = key
        .iter()
        .take(KEY_SHOWN_BYTES_MAX)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if key.len() > KEY_SHOWN_BYTES_MAX {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_at_their_ends() {
        for number in [0, 1, 0x7F, 0x80, 0x3FFF, 0x4000, u64::MAX - 1, u64::MAX] {
            let mut output = Output::default();
            output.varint(number);
            let bytes = output.take();
            let mut input = Input(&bytes);
            assert_eq!(input.varint(), Ok(number));
            assert_eq!(input.end(), Ok(()));
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_out_of_range() {
        let wide = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02];
        assert_eq!(
            Input(&wide).varint(),
            Err(Malformed::OutOfRange("a number"))
        );
        assert_eq!(
            Input(&[0x80; 11]).varint(),
            Err(Malformed::OutOfRange("a number"))
        );
        assert_eq!(Input(&[0x80]).varint(), Err(Malformed::EndsEarly));
    }

    #[test]
    fn a_count_of_more_than_there_is_reserves_nothing() {
        let mut output = Output::default();
        output.varint(u64::from(u32::MAX));
        output.raw(b"abc");
        assert_eq!(Input(&output.take()).count(1), Err(Malformed::EndsEarly));
    }

    #[test]
    fn moments_before_and_after_1970_come_back() {
        let distance = Duration::new(3_000_000_000, 123_456_789);
        for moment in [
            SystemTime::UNIX_EPOCH + distance,
            SystemTime::UNIX_EPOCH,
            SystemTime::UNIX_EPOCH - distance,
        ] {
            let mut output = Output::default();
            output.moment(moment);
            assert_eq!(Input(&output.take()).moment(), Ok(moment));
        }
        let mut output = Output::default();
        output.byte(0);
        output.varint(u64::MAX);
        output.varint(0);
        assert_eq!(
            Input(&output.take()).moment(),
            Err(Malformed::OutOfRange("a moment"))
        );
    }

    #[test]
    fn pieces_of_one_buffer_do_not_touch() {
        let mut output = Output::default();
        output.piece(b"one");
        let one = output.take();
        output.piece(b"two");
        let two = output.take();
        assert_eq!(Input(&one).piece(), Ok(&b"one"[..]));
        assert_eq!(Input(&two).piece(), Ok(&b"two"[..]));
        assert!(output.take().is_empty());
    }
}
