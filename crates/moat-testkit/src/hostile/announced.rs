//! A hundred megabytes announced and a few bytes sent, before CONNACK and after it.

use std::collections::VecDeque;

use super::fort::LARGEST_PACKET;
use super::line::announce;
use super::{Attack, Line, Target};

/// What is announced, in bytes.
const ANNOUNCED: u32 = 100 << 20;
/// Connections that wait for the rest at once, of the 24 there may be.
const HELD: usize = 20;
/// And of those with a session, of the 8 there may be.
const HELD_ATTACHED: usize = 3;

/// The attack.
pub struct Announced {
    is_attached: bool,
    held: VecDeque<Line>,
    opened: u64,
}

impl Announced {
    /// A CONNECT of that size.
    #[must_use]
    pub fn before_connack() -> Self {
        Self::of(false)
    }

    /// A PUBLISH of that size from a client that was let in.
    #[must_use]
    pub fn after_connack() -> Self {
        Self::of(true)
    }

    fn of(is_attached: bool) -> Self {
        Announced {
            is_attached,
            held: VecDeque::new(),
            opened: 0,
        }
    }
}

impl Attack for Announced {
    fn name(&self) -> &'static str {
        if self.is_attached {
            "100 MB announced after CONNACK"
        } else {
            "100 MB announced before CONNACK"
        }
    }

    /// The broker is to take such packets: otherwise it would refuse them at once.
    fn limits(&self) -> &'static [(&'static str, &'static str)] {
        if self.is_attached {
            &[
                ("packet_bytes_max", LARGEST_PACKET),
                ("connections_max", "24"),
                ("sessions_max", "10"),
                ("preauth_bytes_total_max", "65536"),
            ]
        } else {
            &[
                ("packet_bytes_max", LARGEST_PACKET),
                ("sessions_max", "2"),
                ("preauth_bytes_total_max", "65536"),
            ]
        }
    }

    fn packet_bytes_sent_max(&self) -> Option<u32> {
        Some(64)
    }

    fn step(&mut self, target: &Target) -> u64 {
        self.opened += 1;
        let id = format!("announcer-{}", self.opened);
        let line = if self.is_attached {
            Line::attached(target.plain, &id)
        } else {
            Some(Line::open(target.plain))
        };
        let Some(mut line) = line else { return 1 };
        if self.is_attached {
            let mut bytes = announce(0x30, ANNOUNCED);
            bytes.extend([0, 1, b't', 0]);
            bytes.extend([b'x'; 32]);
            line.say(&bytes);
        } else {
            let mut bytes = announce(0x10, ANNOUNCED);
            bytes.extend([0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60]);
            line.say(&bytes);
        }
        self.held.push_back(line);
        let held = if self.is_attached {
            HELD_ATTACHED
        } else {
            HELD
        };
        if self.held.len() > held
            && let Some(mut oldest) = self.held.pop_front()
        {
            oldest.half_close();
            oldest.until_closed();
        }
        1
    }
}
