//! Packets in the wrong state: before CONNECT, after it, of the other side, and about things that never were.

use moat_codec::{Connect, Packet, Version};

use super::{Attack, Line, Target};
use crate::raw::encode;

/// Acknowledgements of things that never were, per step: they are answered or passed over.
const UNKNOWN: u16 = 100;

/// The attack.
#[derive(Default)]
pub struct WrongState;

/// Packets that end the connection, before CONNECT as after it.
fn forbidden() -> Vec<Vec<u8>> {
    let connect = Packet::Connect(Connect::new(Version::V5, "second"));
    vec![
        // CONNACK, SUBACK, UNSUBACK and PINGRESP, which only a server sends.
        vec![0x20, 3, 0, 0, 0],
        vec![0x90, 4, 0, 1, 0, 0],
        vec![0xb0, 4, 0, 1, 0, 0],
        vec![0xd0, 0],
        // AUTH without a method.
        vec![0xf0, 0],
        // A type that does not exist, and flags that must not be.
        vec![0x00, 0],
        vec![0x6f, 2, 0, 1],
        // A PUBLISH of QoS 3, and one with a packet identifier of 0.
        vec![0x36, 6, 0, 1, b't', 0, 1, 0],
        vec![0x32, 6, 0, 1, b't', 0, 0, 0],
        // A DISCONNECT with a reason that no client has.
        vec![0xe0, 1, 0x8b],
        encode(&connect, Version::V5).repeat(2),
    ]
}

impl Attack for WrongState {
    fn name(&self) -> &'static str {
        "packets in the wrong state"
    }

    fn limits(&self) -> &'static [(&'static str, &'static str)] {
        &[("sessions_max", "4")]
    }

    fn steps_per_sec(&self) -> u32 {
        20
    }

    fn step(&mut self, target: &Target) -> u64 {
        let mut packets = 0;
        for bytes in forbidden() {
            let mut stranger = Line::open(target.plain);
            stranger.say(&bytes);
            stranger.until_closed();
            if let Some(mut line) = Line::attached(target.plain, "wrong") {
                line.say(&bytes);
                line.until_closed();
            }
            packets += 2;
        }
        // PUBACK, PUBREC, PUBREL and PUBCOMP of identifiers nobody used: PUBREC and PUBREL are answered.
        if let Some(mut line) = Line::attached(target.plain, "wrong") {
            let mut bytes = Vec::new();
            for id in 1..=UNKNOWN {
                for first in [0x40, 0x50, 0x62, 0x70] {
                    bytes.extend([first, 2]);
                    bytes.extend(id.to_be_bytes());
                }
                packets += 4;
            }
            line.say(&bytes);
            assert!(line.settle(), "none of these is forbidden");
        }
        packets
    }
}
