//! Connections that come and go as fast as they can: with a goodbye, without one, and with a reset.

use moat_codec::{Connect, Disconnect, Packet, QoS, ReasonCode, Version};

use super::{Attack, Line, Target};

/// Connections of one step.
const CONNECTIONS: u64 = 20;

/// The attack.
#[derive(Default)]
pub struct Churn {
    count: u64,
}

impl Attack for Churn {
    fn name(&self) -> &'static str {
        "connection churn"
    }

    fn limits(&self) -> &'static [(&'static str, &'static str)] {
        &[("sessions_max", "4")]
    }

    fn steps_per_sec(&self) -> u32 {
        20
    }

    fn step(&mut self, target: &Target) -> u64 {
        for _ in 0..CONNECTIONS {
            self.count += 1;
            let connect = Connect::new(Version::V311, "fickle");
            if self.count.is_multiple_of(5) {
                // Nobody at all.
                Line::open(target.plain).reset();
                continue;
            }
            let Some(mut line) = Line::open(target.plain).attach(&connect) else {
                continue;
            };
            line.subscribe("fickle/#", QoS::AtLeastOnce);
            match self.count % 3 {
                0 => line.reset(),
                1 => {
                    line.say_packet(&Packet::Disconnect(Disconnect::new(ReasonCode::Success)));
                    line.until_closed();
                }
                _ => drop(line),
            }
        }
        CONNECTIONS * 2
    }
}
