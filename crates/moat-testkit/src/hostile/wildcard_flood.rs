//! Every way to write `+/+/…/#`: filters that all match, subscribed and left again, and deep topics published to them.

use moat_codec::{QoS, Version};

use super::line::{publish, subscribe};
use super::{Attack, Line, Target};

/// Levels of the topics.
const LEVELS: u32 = 12;
/// Filters of the flood, as many as a session may have.
const FILTERS: u32 = 32;
/// Messages of one step.
const MESSAGES: u64 = 100;

/// The attack.
#[derive(Default)]
pub struct WildcardFlood {
    line: Option<Line>,
}

impl WildcardFlood {
    /// A filter that matches the topic `x/x/…`: for each bit a `+` or an `x`, and sometimes a `#` at the end.
    fn filter(number: u32) -> String {
        let levels = (0..LEVELS - 1).map(|n| if number >> n & 1 == 0 { "+" } else { "x" });
        let mut levels: Vec<&str> = levels.collect();
        levels.push(if number.is_multiple_of(3) { "#" } else { "+" });
        levels.join("/")
    }

    fn subscribed(target: &Target) -> Line {
        let mut line = Line::attached(target.plain, "wild").expect("the attacker is let in");
        let filters: Vec<String> = (0..FILTERS).map(Self::filter).collect();
        for filters in filters.chunks(16) {
            let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
            line.say(&subscribe(&filters, QoS::AtMostOnce, Version::V5));
        }
        line.settle();
        line
    }
}

impl Attack for WildcardFlood {
    fn name(&self) -> &'static str {
        "+/+/…/# floods"
    }

    fn limits(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("subscriptions_per_session_max", "32"),
            ("topic_bytes_max", "32"),
            ("packet_bytes_max", "2048"),
            ("sessions_max", "4"),
        ]
    }

    fn steps_per_sec(&self) -> u32 {
        10
    }

    fn step(&mut self, target: &Target) -> u64 {
        let mut line = self.line.take().unwrap_or_else(|| Self::subscribed(target));
        let topic = vec!["x"; LEVELS as usize].join("/");
        let message = publish(&topic, b"x", QoS::AtMostOnce, 0, Version::V5);
        line.say(&message.repeat(usize::try_from(MESSAGES).unwrap()));
        // The same filters again: each costs a look at what is retained.
        let filters: Vec<String> = (0..16).map(Self::filter).collect();
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        line.say(&subscribe(&filters, QoS::AtMostOnce, Version::V5));
        assert!(line.settle(), "nothing here is forbidden");
        self.line = Some(line);
        MESSAGES + 16
    }
}
