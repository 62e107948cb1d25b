//! Retained messages: kept as many as there may be and replaced all the time, and asked for again and again by a client that
//! does not read them.

use moat_codec::{Connect, Packet, Publish, QoS, Version};

use super::line::subscribe;
use super::{Attack, Line, Target};
use crate::raw::encode;

/// Topics, more than the broker keeps.
const TOPICS: u32 = 2000;
/// Messages of one step.
const MESSAGES: u32 = 100;

/// The attack.
#[derive(Default)]
pub struct RetainedFlood {
    publisher: Option<Line>,
    reader: Option<Line>,
    next: u32,
}

impl Attack for RetainedFlood {
    fn name(&self) -> &'static str {
        "retained floods"
    }

    fn limits(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("retained_messages_max", "1000"),
            ("retained_bytes_max", "2097152"),
            ("sessions_max", "6"),
        ]
    }

    fn steps_per_sec(&self) -> u32 {
        50
    }

    fn step(&mut self, target: &Target) -> u64 {
        let mut publisher = self
            .publisher
            .take()
            .or_else(|| Line::attached(target.plain, "keeper"))
            .expect("the attacker is let in");
        let mut bytes = Vec::new();
        for _ in 0..MESSAGES {
            self.next = (self.next + 1) % TOPICS;
            let n = self.next;
            // Deep, and shared with nobody: the tree above it costs more than the message.
            let topic = format!("keep/{n}/a/b/c/d/e/f");
            let mut publish = Publish::new(&topic, &[b'x'; 256]);
            publish.retain = true;
            bytes.extend(encode(&Packet::Publish(publish), Version::V5));
        }
        publisher.say(&bytes);
        assert!(publisher.settle(), "nothing of this is forbidden");
        self.publisher = Some(publisher);
        let reader = self.reader.take().or_else(|| {
            let connect = Connect::new(Version::V5, "asker");
            Line::open_deaf(target.plain).attach(&connect)
        });
        let mut reader = reader.expect("the attacker is let in");
        let filters = ["#", "+/+/#", "keep/+/a/+/c/#"];
        // Its socket is full before long, and the broker no longer reads it: a new one goes on then.
        let asks = subscribe(&filters, QoS::AtLeastOnce, Version::V5).repeat(3);
        reader.say(&asks);
        if !self.next.is_multiple_of(1000) {
            self.reader = Some(reader);
        }
        u64::from(MESSAGES) + 9
    }
}
