//! QoS 2 that is never completed: by a publisher without PUBREL, and by a subscriber without PUBREC or PUBCOMP.

use moat_codec::{Ack, Connect, Packet, QoS, Version};

use super::line::publish;
use super::{Attack, Line, Target};
use crate::mqtt::packet_id;

/// Messages of one step.
const MESSAGES: u16 = 200;

/// The attack.
pub struct UnfinishedQos2 {
    is_publisher: bool,
    steps: u64,
}

impl UnfinishedQos2 {
    /// The publisher never sends PUBREL.
    #[must_use]
    pub fn of_publisher() -> Self {
        Self::of(true)
    }

    /// The subscriber answers no message, or every second one with PUBREC only.
    #[must_use]
    pub fn of_subscriber() -> Self {
        Self::of(false)
    }

    fn of(is_publisher: bool) -> Self {
        UnfinishedQos2 {
            is_publisher,
            steps: 0,
        }
    }

    /// 3.1.1 has no Receive Maximum, so it may begin as many as there are identifiers; 5.0 is closed for it.
    fn publish(&mut self, target: &Target) -> u64 {
        let version = if self.steps.is_multiple_of(4) {
            Version::V5
        } else {
            Version::V311
        };
        let mut connect = Connect::new(version, if version.is_v5() { "five" } else { "three" });
        connect.clean_start = self.steps.is_multiple_of(400);
        let Some(mut line) = Line::open(target.plain).attach(&connect) else {
            return 1;
        };
        let first = u16::try_from(self.steps % 300).unwrap() * MESSAGES + 1;
        let mut bytes = Vec::new();
        for id in first..first + MESSAGES {
            bytes.extend(publish(
                "qos2",
                b"never released",
                QoS::ExactlyOnce,
                id,
                version,
            ));
        }
        line.say(&bytes);
        line.settle();
        u64::from(MESSAGES)
    }

    fn subscribe(&mut self, target: &Target) -> u64 {
        let mut connect = Connect::new(Version::V5, "subscriber");
        connect.clean_start = self.steps.is_multiple_of(50);
        connect.properties.session_expiry_secs = Some(3600);
        let subscriber = Line::open(target.plain).attach(&connect);
        let publisher = Line::attached(target.plain, "publisher");
        let (Some(mut subscriber), Some(mut publisher)) = (subscriber, publisher) else {
            return 1;
        };
        subscriber.subscribe("qos2", QoS::ExactlyOnce);
        let mut bytes = Vec::new();
        for id in 1..=MESSAGES {
            bytes.extend(publish(
                "qos2",
                &[b'x'; 64],
                QoS::AtLeastOnce,
                id,
                Version::V5,
            ));
        }
        publisher.say(&bytes);
        publisher.settle();
        if self.steps.is_multiple_of(2) {
            for id in 1..=8 {
                let pubrec = Ack::new(packet_id(id));
                subscriber.say_packet(&Packet::PubRec(pubrec));
            }
        }
        subscriber.settle();
        u64::from(MESSAGES)
    }
}

impl Attack for UnfinishedQos2 {
    fn name(&self) -> &'static str {
        if self.is_publisher {
            "QoS 2 never released"
        } else {
            "QoS 2 never received"
        }
    }

    fn limits(&self) -> &'static [(&'static str, &'static str)] {
        &[("sessions_max", "6")]
    }

    fn steps_per_sec(&self) -> u32 {
        50
    }

    fn step(&mut self, target: &Target) -> u64 {
        let packets = if self.is_publisher {
            self.publish(target)
        } else {
            self.subscribe(target)
        };
        self.steps += 1;
        packets
    }
}
