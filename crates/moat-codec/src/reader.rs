use crate::varint::{self, Parsed};
use crate::{DecodeError, PacketId};

/// Takes fields from the front of a packet's bytes; every field borrows from them.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes not read yet.
    #[inline]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The packet ends here [MQTT-3.1.4-1].
    #[inline]
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::TrailingBytes)
        }
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&byte, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    /// Two bytes, high one first (section 1.5.2).
    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*bytes))
    }

    /// Four bytes, highest one first (section 1.5.3).
    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    /// A variable byte integer inside a packet; only 5.0 has these, so it must be minimal [MQTT-1.5.5-1].
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u32, DecodeError> {
        match varint::parse(self.rest) {
            Parsed::Complete { value, bytes } if bytes == varint::len(value) => {
                self.rest = &self.rest[bytes..];
                Ok(value)
            }
            Parsed::Complete { .. } => Err(DecodeError::VarIntNotMinimal),
            Parsed::Incomplete => Err(DecodeError::Truncated),
            Parsed::TooLong => Err(DecodeError::VarIntTooLong),
        }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Binary data: a two-byte length and as many bytes (section 1.5.6).
    #[inline]
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }

    /// A string whose caller looks for U+0000 itself, in the pass it makes anyway.
    #[inline]
    pub(crate) fn str_unchecked_for_nul(&mut self) -> Result<&'a str, DecodeError> {
        // [MQTT-1.5.4-1] surrogates are not UTF-8 for Rust either.
        std::str::from_utf8(self.binary()?).map_err(|_| DecodeError::InvalidUtf8)
    }

    /// A UTF-8 encoded string (section 1.5.4); U+FEFF stays where it is [MQTT-1.5.4-3].
    #[inline]
    pub(crate) fn str(&mut self) -> Result<&'a str, DecodeError> {
        let text = self.str_unchecked_for_nul()?;
        // [MQTT-1.5.4-2]
        if text.as_bytes().contains(&0) {
            Err(DecodeError::NulInString)
        } else {
            Ok(text)
        }
    }

    /// A packet identifier, which is not zero [MQTT-2.2.1-3].
    #[inline]
    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(DecodeError::PacketIdZero)
    }
}
