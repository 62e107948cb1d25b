use std::fmt;

use crate::{DecodeError, EncodeError, PacketType, ReasonCode, Version};

/// The reason codes of a SUBACK or UNSUBACK, one per filter, in order [MQTT-3.9.3-1], [MQTT-3.11.3-1].
#[derive(Clone, Copy)]
pub struct ReasonCodes<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    /// Bytes that were checked.
    Wire(&'a [u8]),
    List(&'a [ReasonCode]),
}

/// What 3.1.1 says for a subscription that failed [MQTT-3.9.3-2 of 3.1.1].
const FAILURE_V3: u8 = 0x80;

impl<'a> ReasonCodes<'a> {
    /// Codes to send.
    #[must_use]
    pub const fn new(codes: &'a [ReasonCode]) -> Self {
        Self(Source::List(codes))
    }

    /// Takes the rest of a packet, at least one byte.
    pub(super) fn read(
        bytes: &'a [u8],
        packet: PacketType,
        version: Version,
    ) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Err(DecodeError::NoReasonCodes);
        }
        let allowed = |code: u8| match ReasonCode::from_byte(code) {
            Some(reason) if version.is_v5() => reason.allowed_in(packet),
            // [MQTT-3.9.3-2 of 3.1.1]
            Some(_) => matches!(code, 0..=2 | FAILURE_V3),
            None => false,
        };
        match bytes.iter().find(|&&code| !allowed(code)) {
            Some(&code) => Err(DecodeError::ReasonCodeNotAllowed { packet, code }),
            None => Ok(Self(Source::Wire(bytes))),
        }
    }

    /// Before 5.0 every failure is 0x80.
    pub(super) fn write(
        &self,
        out: &mut Vec<u8>,
        packet: PacketType,
        version: Version,
    ) -> Result<(), EncodeError> {
        if self.is_empty() {
            return Err(EncodeError::NoReasonCodes);
        }
        for reason in self.iter() {
            if !reason.allowed_in(packet) {
                return Err(EncodeError::ReasonCodeNotAllowed { packet, reason });
            }
            out.push(if reason.is_error() && !version.is_v5() {
                FAILURE_V3
            } else {
                reason.byte()
            });
        }
        Ok(())
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Source::Wire(bytes) => bytes.len(),
            Source::List(codes) => codes.len(),
        }
    }

    /// Whether there is none, as in an UNSUBACK before 5.0.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The codes, in the order of the filters.
    pub fn iter(&self) -> impl Iterator<Item = ReasonCode> + Clone + use<'a> {
        let (bytes, codes): (&'a [u8], &'a [ReasonCode]) = match self.0 {
            Source::Wire(bytes) => (bytes, &[]),
            Source::List(codes) => (&[], codes),
        };
        bytes
            .iter()
            .filter_map(|&byte| ReasonCode::from_byte(byte))
            .chain(codes.iter().copied())
    }
}

impl Default for ReasonCodes<'_> {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl PartialEq for ReasonCodes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for ReasonCodes<'_> {}

impl fmt::Debug for ReasonCodes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
