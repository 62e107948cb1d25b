//! Names as long, as deep and as many as a packet can hold, to a broker that does not take them: 65,535 bytes, 200 levels,
//! 10,000 filters in one SUBSCRIBE.

use moat_codec::{QoS, Version};

use super::line::{publish, subscribe};
use super::{Attack, Line, Target};

/// The attack.
#[derive(Default)]
pub struct HugeNames {
    packets: Vec<Vec<u8>>,
    steps: usize,
}

impl HugeNames {
    fn make() -> Vec<Vec<u8>> {
        let long = "x".repeat(65_535);
        let deep = vec!["x"; 200].join("/");
        let deep_wildcards = vec!["+"; 200].join("/");
        let many: Vec<String> = (0..10_000).map(|n| format!("f/{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let v5 = Version::V5;
        vec![
            publish(&long, b"x", QoS::AtLeastOnce, 1, v5),
            subscribe(&[&long], QoS::AtLeastOnce, v5),
            publish(&deep, b"x", QoS::AtLeastOnce, 1, v5),
            subscribe(&[&deep], QoS::AtLeastOnce, v5),
            subscribe(&[&deep_wildcards], QoS::AtLeastOnce, v5),
            subscribe(&many, QoS::AtLeastOnce, v5),
        ]
    }
}

impl Attack for HugeNames {
    fn name(&self) -> &'static str {
        "huge names, refused"
    }

    /// A packet has room for them; topics and filters may not be so long, so deep or so many.
    fn limits(&self) -> &'static [(&'static str, &'static str)] {
        &[("packet_bytes_max", "131072"), ("sessions_max", "4")]
    }

    fn steps_per_sec(&self) -> u32 {
        100
    }

    fn step(&mut self, target: &Target) -> u64 {
        if self.packets.is_empty() {
            self.packets = Self::make();
        }
        let packet = &self.packets[self.steps % self.packets.len()];
        self.steps += 1;
        if let Some(mut line) = Line::attached(target.plain, "huge") {
            line.say(packet);
            line.until_closed();
        }
        // A leak would be of the size of what is in the packet.
        packet.len() as u64 / 1024 + 1
    }
}
