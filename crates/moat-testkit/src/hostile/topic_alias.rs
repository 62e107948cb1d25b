//! Tricks with topic aliases: 0, over the maximum, never set, set again and again, and those of an earlier connection.

use std::num::NonZeroU16;

use moat_codec::{Packet, Publish, Version};

use super::{Attack, Line, Target};
use crate::raw::encode;

/// Aliases the broker takes (`topic_alias_max` of a fort).
const ALIASES: u16 = 8;
/// Times that each alias is set to another topic, per step.
const RESETS: u16 = 20;

/// The attack.
#[derive(Default)]
pub struct TopicAlias {
    steps: u32,
}

fn with_alias(topic: &str, alias: u16) -> Vec<u8> {
    let mut publish = Publish::new(topic, b"alias");
    publish.topic_alias = NonZeroU16::new(alias);
    encode(&Packet::Publish(publish), Version::V5)
}

/// A PUBLISH to `t` with the alias 0, which no encoder makes.
fn alias_zero() -> Vec<u8> {
    vec![0x30, 7, 0, 1, b't', 3, 0x23, 0, 0]
}

impl Attack for TopicAlias {
    fn name(&self) -> &'static str {
        "topic alias tricks"
    }

    fn step(&mut self, target: &Target) -> u64 {
        self.steps += 1;
        // Each of these is the end of its connection.
        let tricks = [
            alias_zero(),
            with_alias("t", ALIASES + 1),
            with_alias("t", u16::MAX),
            with_alias("", 1),
        ];
        for trick in &tricks {
            if let Some(mut line) = Line::attached(target.plain, "alias") {
                line.say(trick);
                line.until_closed();
            }
        }
        // This one is allowed: every alias, for other topics each time, and used.
        let mut packets = tricks.len() as u64;
        if let Some(mut line) = Line::attached(target.plain, "alias") {
            let mut bytes = Vec::new();
            for n in 0..RESETS {
                for alias in 1..=ALIASES {
                    let topic = format!("alias/{}/{alias}/{n:0>200}", self.steps);
                    bytes.extend(with_alias(&topic, alias));
                    bytes.extend(with_alias("", alias));
                    packets += 2;
                }
            }
            line.say(&bytes);
            assert!(line.settle(), "nothing of this is forbidden");
        }
        packets
    }
}
