//! Ten thousand filters in one SUBSCRIBE, to a broker that takes them, and as many in the UNSUBSCRIBE that follows.

use moat_codec::{Limits, Packet, PacketType, QoS, TopicFilter, Unsubscribe, Version};

use super::line::subscribe;
use super::{Attack, Line, Target};
use crate::mqtt::packet_id;
use crate::raw::encode;

/// Filters of one packet.
const FILTERS: u64 = 10_000;

/// The attack.
#[derive(Default)]
pub struct ManyFilters {
    line: Option<Line>,
    packets: Vec<Vec<u8>>,
}

impl ManyFilters {
    fn make() -> Vec<Vec<u8>> {
        let names: Vec<String> = (0..FILTERS).map(|n| format!("f/{n}/+/x")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let limits = Limits::generous();
        let filters: Vec<_> = names
            .iter()
            .map(|name| TopicFilter::new(name, &limits).unwrap())
            .collect();
        let unsubscribe = Packet::Unsubscribe(Unsubscribe::new(packet_id(2), &filters));
        vec![
            subscribe(&names, QoS::AtLeastOnce, Version::V5),
            encode(&unsubscribe, Version::V5),
        ]
    }
}

impl Attack for ManyFilters {
    fn name(&self) -> &'static str {
        "10,000 filters in one SUBSCRIBE"
    }

    fn limits(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("packet_bytes_max", "262144"),
            ("filters_per_packet_max", "10000"),
            ("subscriptions_per_session_max", "10000"),
            ("topic_bytes_max", "16"),
            ("topic_levels_max", "4"),
            ("filters_per_sec_max", "20000"),
            ("sessions_max", "4"),
        ]
    }

    fn packet_bytes_sent_max(&self) -> Option<u32> {
        Some(180_000)
    }

    fn steps_per_sec(&self) -> u32 {
        4
    }

    fn step(&mut self, target: &Target) -> u64 {
        if self.packets.is_empty() {
            self.packets = Self::make();
        }
        let mut line = self
            .line
            .take()
            .or_else(|| Line::attached(target.plain, "many"))
            .expect("the attacker is let in");
        line.say(&self.packets[0]);
        let granted = line.until(PacketType::SubAck, |_| ());
        line.say(&self.packets[1]);
        let taken_back = line.until(PacketType::UnsubAck, |_| ());
        assert!(
            granted.is_some() && taken_back.is_some(),
            "the limits allow it"
        );
        self.line = Some(line);
        2 * FILTERS
    }
}
