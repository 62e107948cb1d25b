//! Connections: bytes that arrive late, in pieces, or not at all.

use std::collections::VecDeque;

use moat_core::Time;
use moat_core::durable::QueueId;

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// Bytes under way and when they arrive, in order.
    under_way: VecDeque<(Time, Vec<u8>)>,
    /// When the last of them arrives.
    last: Time,
    /// When the end arrives; nothing is sent after it.
    end: Option<Time>,
    /// Whether nobody is at the other end, and this one does not know.
    pub(super) is_void: bool,
    bytes: usize,
}

impl Pipe {
    /// Sends bytes. Returns when they arrive.
    pub(super) fn send(&mut self, now: Time, bytes: &[u8], delay: u64) -> Time {
        self.last = self.last.max(now.plus_millis(delay));
        if self.end.is_none() {
            self.bytes += bytes.len();
            if !self.is_void {
                self.under_way.push_back((self.last, bytes.to_vec()));
            }
        }
        self.last
    }

    /// Ends it behind what is under way. Returns when that arrives.
    pub(super) fn end(&mut self, now: Time, delay: u64) -> Time {
        self.last = self.last.max(now.plus_millis(delay));
        *self.end.get_or_insert(self.last)
    }

    /// Takes what has arrived, at most `max` bytes.
    pub(super) fn receive(&mut self, now: Time, max: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some((due, piece)) = self.under_way.front_mut() {
            if *due > now || bytes.len() == max {
                break;
            }
            let fits = piece.len().min(max - bytes.len());
            bytes.extend(piece.drain(..fits));
            if piece.is_empty() {
                self.under_way.pop_front();
            }
        }
        self.bytes -= bytes.len();
        bytes
    }

    /// When the next piece, or the end, arrives.
    pub(super) fn next(&self) -> Option<Time> {
        self.under_way.front().map(|(due, _)| *due).or(self.end)
    }

    /// Whether its end has arrived, and all before it was taken.
    pub(super) fn is_over(&self, now: Time) -> bool {
        self.under_way.is_empty() && self.end.is_some_and(|end| end <= now)
    }

    /// Whether nothing more can be sent.
    pub(super) fn has_end(&self) -> bool {
        self.end.is_some()
    }

    /// Bytes under way.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Cuts it off behind the first `kept` bytes under way.
    pub(super) fn cut(&mut self, now: Time, kept: usize) -> Time {
        let mut left = kept;
        for (_, piece) in &mut self.under_way {
            piece.truncate(left);
            left -= piece.len();
        }
        self.under_way.retain(|(_, piece)| !piece.is_empty());
        self.bytes = self.under_way.iter().map(|(_, piece)| piece.len()).sum();
        self.is_void = false;
        let last = self.under_way.back().map_or(now, |(due, _)| *due);
        self.last = last.max(now);
        self.end = Some(self.last);
        self.last
    }

    /// Lets all that is under way arrive now.
    pub(super) fn hasten(&mut self, now: Time) {
        for (due, _) in &mut self.under_way {
            *due = now;
        }
    }
}

/// A connection of a client.
#[derive(Debug)]
pub(super) struct Wire {
    /// Whose.
    pub(super) client: usize,
    /// To the broker.
    pub(super) up: Pipe,
    /// To the client.
    pub(super) down: Pipe,
    /// The broker's loop that has it.
    pub(super) lane: Option<usize>,
    /// What the broker should answer about the session; `None` if either is right.
    pub(super) present: Option<bool>,
    /// The session's number in the store, if it is there.
    pub(super) queue: Option<QueueId>,
    /// Whether it is over for the broker.
    pub(super) is_over: bool,
    /// The session expiry its DISCONNECT asks for.
    pub(super) last_expiry: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_and_a_cut_leaves_the_first_ones() {
        let mut pipe = Pipe::default();
        let at = Time::from_millis;
        assert_eq!(pipe.send(at(0), b"abc", 10), at(10));
        assert_eq!(pipe.send(at(1), b"def", 2), at(10));
        assert_eq!(pipe.receive(at(9), 100), b"");
        assert_eq!(pipe.receive(at(10), 2), b"ab");
        assert_eq!(pipe.cut(at(10), 2), at(10));
        assert!(!pipe.is_over(at(10)));
        assert_eq!(pipe.receive(at(10), 100), b"cd");
        assert!(pipe.is_over(at(10)));
        assert_eq!(pipe.len(), 0);
    }
}
