//! Half a CONNECT on each of five thousand connections.

use std::collections::VecDeque;

use moat_codec::{Connect, Packet, Version};

use super::{Attack, Line, Target, raise_open_files};
use crate::raw::encode;

/// Connections held at once.
const HALF_PACKETS: usize = 5000;

/// Connections opened by one step.
const PER_STEP: usize = 10;

/// The attack. When it holds all of its connections, each new one replaces the oldest.
#[derive(Default)]
pub struct HalfPackets {
    held: VecDeque<Line>,
}

impl Attack for HalfPackets {
    fn name(&self) -> &'static str {
        "half packets on 5,000 connections"
    }

    fn limits(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("connections_max", "5100"),
            ("unauthenticated_per_address_max", "5100"),
            ("connect_timeout_secs", "300"),
            ("sessions_max", "2"),
            ("preauth_bytes_total_max", "1048576"),
        ]
    }

    fn steps_per_sec(&self) -> u32 {
        100
    }

    fn step(&mut self, target: &Target) -> u64 {
        if self.held.is_empty() {
            raise_open_files();
        }
        let connect = Packet::Connect(Connect::new(Version::V5, "a client that never comes"));
        let connect = encode(&connect, Version::V5);
        for _ in 0..PER_STEP {
            if self.held.len() >= HALF_PACKETS
                && let Some(mut oldest) = self.held.pop_front()
            {
                oldest.half_close();
                oldest.until_closed();
            }
            let mut line = Line::open(target.plain);
            line.say(&connect[..connect.len() / 2]);
            self.held.push_back(line);
        }
        PER_STEP as u64
    }
}
