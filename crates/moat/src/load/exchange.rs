//! Messages on their way to the broker, and how long it takes for them.

use moat_codec::{PacketId, PacketType};

/// What the broker owes for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    /// Nothing: the packet identifier is free.
    Nothing,
    /// PUBACK or PUBREC for a message sent then. Unit: nanoseconds since the run began.
    First(u64),
    /// PUBCOMP for a message sent then.
    Complete(u64),
}

/// The packet identifiers of one connection that are in use.
#[derive(Debug)]
pub(super) struct Exchange {
    /// What is owed for identifier `index + 1`.
    owed: Vec<Owed>,
    free: Vec<PacketId>,
    /// As many may be in use.
    window: u16,
}

impl Exchange {
    /// Nothing is on its way; `window` messages may be.
    pub(super) fn new(window: u16) -> Self {
        Self {
            owed: Vec::new(),
            free: Vec::new(),
            window,
        }
    }

    /// The broker takes no more than `most` at a time [MQTT-3.3.4-9].
    pub(super) fn narrow(&mut self, most: u16) {
        self.window = self.window.min(most);
    }

    /// Messages on their way.
    pub(super) fn open(&self) -> usize {
        self.owed.len() - self.free.len()
    }

    /// Whether there is room for another message.
    pub(super) fn has_room(&self) -> bool {
        self.open() < usize::from(self.window)
    }

    /// Takes an identifier for a message sent now; `None` if there is no room.
    pub(super) fn begin(&mut self, now_nanos: u64) -> Option<PacketId> {
        if !self.has_room() {
            return None;
        }
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.owed.push(Owed::Nothing);
                PacketId::new(u16::try_from(self.owed.len()).ok()?)?
            }
        };
        *self.place(id)? = Owed::First(now_nanos);
        Some(id)
    }

    /// The broker has answered with `kind`. Returns when the message was sent if that was the answer it owed, and frees the
    /// identifier unless `goes_on`, as after a PUBREC without an error.
    pub(super) fn answered(
        &mut self,
        kind: PacketType,
        id: PacketId,
        goes_on: bool,
    ) -> Option<u64> {
        let place = self.place(id)?;
        let sent = match (*place, kind) {
            (Owed::First(sent), PacketType::PubAck | PacketType::PubRec)
            | (Owed::Complete(sent), PacketType::PubComp) => sent,
            _ => return None,
        };
        *place = if goes_on {
            Owed::Complete(sent)
        } else {
            Owed::Nothing
        };
        if !goes_on {
            self.free.push(id);
        }
        Some(sent)
    }

    fn place(&mut self, id: PacketId) -> Option<&mut Owed> {
        self.owed.get_mut(usize::from(id.value()) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_window_is_on_its_way() {
        let mut exchange = Exchange::new(3);
        exchange.narrow(2);
        exchange.narrow(9);
        let first = exchange.begin(1).unwrap();
        assert!(exchange.begin(2).is_some());
        assert_eq!(exchange.begin(3), None);
        assert_eq!(exchange.answered(PacketType::PubAck, first, false), Some(1));
        assert_eq!(exchange.begin(4), Some(first));
        assert_eq!(exchange.open(), 2);
    }

    #[test]
    fn every_packet_identifier_can_be_in_use_at_once() {
        let mut exchange = Exchange::new(u16::MAX);
        for _ in 0..u16::MAX {
            assert!(exchange.begin(0).is_some());
        }
        assert_eq!(exchange.begin(0), None);
    }

    #[test]
    fn an_answer_nobody_owes_is_none() {
        let mut exchange = Exchange::new(1);
        let id = exchange.begin(7).unwrap();
        assert_eq!(exchange.answered(PacketType::PubComp, id, false), None);
        assert_eq!(exchange.answered(PacketType::PubRec, id, true), Some(7));
        assert_eq!(exchange.answered(PacketType::PubRec, id, true), None);
        assert_eq!(exchange.answered(PacketType::PubComp, id, false), Some(7));
        assert_eq!(exchange.answered(PacketType::PubComp, id, false), None);
        let unknown = PacketId::new(9).unwrap();
        assert_eq!(exchange.answered(PacketType::PubAck, unknown, false), None);
    }
}
