//! Readers that never read: everything is sent to them, at QoS 0, 1 and 2.

use moat_codec::{Connect, QoS, Version};

use super::line::publish;
use super::{Attack, Line, Target};

/// Messages of one step.
const MESSAGES: u16 = 100;
/// Bytes of each.
const PAYLOAD: &[u8] = &[b'x'; 512];

/// The attack.
#[derive(Default)]
pub struct SilentReader {
    readers: Vec<Line>,
    publisher: Option<Line>,
}

impl SilentReader {
    fn begin(&mut self, target: &Target) {
        let qualities = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
        for (n, qos) in qualities.into_iter().enumerate() {
            let connect_as = format!("silent-{n}");
            let connect = Connect::new(Version::V5, &connect_as);
            let line = Line::open_deaf(target.plain).attach(&connect);
            let mut line = line.expect("the attacker is let in");
            line.subscribe("silent/#", qos);
            self.readers.push(line);
        }
        self.publisher = Line::attached(target.plain, "loud");
    }
}

impl Attack for SilentReader {
    fn name(&self) -> &'static str {
        "readers that never read"
    }

    fn limits(&self) -> &'static [(&'static str, &'static str)] {
        &[("sessions_max", "10")]
    }

    fn steps_per_sec(&self) -> u32 {
        50
    }

    fn step(&mut self, target: &Target) -> u64 {
        if self.publisher.is_none() {
            self.begin(target);
        }
        let publisher = self.publisher.as_mut().expect("the attacker is let in");
        let mut bytes = Vec::new();
        for id in 1..=MESSAGES {
            let qos = QoS::from_bits(u8::try_from(id % 3).unwrap()).unwrap();
            bytes.extend(publish("silent/x", PAYLOAD, qos, id, Version::V5));
            if qos == QoS::ExactlyOnce {
                // Released at once, so that the publisher's own window does not end it.
                bytes.extend([0x62, 2]);
                bytes.extend(id.to_be_bytes());
            }
        }
        publisher.say(&bytes);
        assert!(
            publisher.settle(),
            "the publisher does nothing that is forbidden"
        );
        // They ask as well, and do not read the answers.
        for reader in &mut self.readers {
            reader.say(&[0xc0, 0]);
        }
        u64::from(MESSAGES) * 3
    }
}
