//! Answers in the form a client takes: nothing larger than its Maximum Packet Size [MQTT-3.1.2-24], and reasons for
//! people only where it wants to hear them [MQTT-3.1.2-29].
//!
//! What may be left out is left out first; a CONNACK without its properties, the acknowledgements and a DISCONNECT
//! are smaller than any CONNACK that grants a session, so they always fit a client that has one.

use moat_codec::{Disconnect, EncodeError, PacketType, ReasonCode, Version, varint};

use super::Shard;
use super::receive::Violation;
use crate::effects::Effects;
use crate::session::{Link, SessionIndex};

/// Bytes of a SUBACK or UNSUBACK of 5.0 behind its fixed header besides its reason codes: packet identifier and no
/// properties.
const SUBACK_BYTES: usize = 3;

/// Appends what `encode` writes, unless that is larger than `size_max` bytes. Returns whether it stands in `out` now.
pub(super) fn within(
    size_max: u32,
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<usize, EncodeError>,
) -> bool {
    let start = out.len();
    match encode(out) {
        Ok(bytes) if bytes <= size_max as usize => true,
        _ => {
            out.truncate(start);
            false
        }
    }
}

/// Appends the DISCONNECT to a 5.0 client. Its reason for people goes first if it is too large, then the server
/// reference [MQTT-3.14.2-3]; the property of [MQTT-3.14.2-2] is never sent.
pub(super) fn goodbye(link: &Link, disconnect: Disconnect<'_>, out: &mut Vec<u8>) {
    if !link.version.is_v5() || link.is_unannounced {
        return;
    }
    let mut form = disconnect;
    let mut say = |form: &Disconnect<'_>| {
        within(link.maximum_packet_size, out, |out| {
            form.encode(link.version, out)
        })
    };
    if say(&form) {
        return;
    }
    form.reason_string = None;
    if say(&form) {
        return;
    }
    form.server_reference = None;
    let _fits = say(&form);
}

/// What a client is told beside the code when it is refused something: what to look for, never which rule said no.
pub(super) fn explanation(packet: PacketType, reason: ReasonCode) -> Option<&'static str> {
    use PacketType::{PubAck, PubRec, SubAck};
    Some(match (packet, reason) {
        (PubAck | PubRec, ReasonCode::NotAuthorized) => {
            "this client may not publish to this topic; the server's administrator can allow it"
        }
        (SubAck, ReasonCode::NotAuthorized) => {
            "this client may not subscribe to a filter; the server's administrator can allow it"
        }
        (SubAck, ReasonCode::QuotaExceeded) => {
            "the session has as many subscriptions as the server allows; unsubscribe first"
        }
        _ => return None,
    })
}

impl Shard {
    /// Appends an answer for a client and marks its connection dirty. `encode` gets the reason for people, if there is
    /// one, the client wants to hear it, and it fits.
    pub(super) fn answer(
        &mut self,
        at: SessionIndex,
        why: Option<&str>,
        fx: &mut Effects,
        encode: impl Fn(Version, Option<&str>, &mut Vec<u8>) -> Result<usize, EncodeError>,
    ) {
        let residents = &mut self.residents;
        let session = residents.sessions.get_mut(at.get());
        let Some(link) = session.and_then(|session| session.link.as_deref_mut()) else {
            return;
        };
        if link.out.is_empty() {
            fx.dirty.push(link.conn);
        }
        let (version, size_max) = (link.version, link.maximum_packet_size);
        let why = why.filter(|_| link.wants_reasons);
        let out = link.buffer(&mut residents.pool);
        let told = (why.is_some() && within(size_max, out, |out| encode(version, why, out)))
            || within(size_max, out, |out| encode(version, None, out));
        residents.counters.answers_sent_total += u64::from(told);
    }

    /// Whether the answer to so many filters fits the client. It cannot be shortened, and a client that gets none
    /// would wait for it for ever, so this is asked before anything is done.
    ///
    /// # Errors
    /// 0x95 when it does not.
    pub(super) fn check_suback_fits(
        &mut self,
        at: SessionIndex,
        filters: usize,
    ) -> Result<(), Violation> {
        let remaining = SUBACK_BYTES + filters;
        let header = 1 + varint::len(u32::try_from(remaining).unwrap_or(varint::MAX));
        let size_max = self
            .link(at)
            .map_or(u32::MAX, |link| link.maximum_packet_size);
        if header + remaining <= size_max as usize {
            return Ok(());
        }
        Err(Violation::new(
            ReasonCode::PacketTooLarge,
            "the answer to so many filters is larger than the client's maximum packet size",
        ))
    }
}
