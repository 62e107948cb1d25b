//! Takeover ping-pong: two devices that think they are the same one.

use moat_codec::{Connect, Limits, QoS, TopicName, Version, Will};

use super::{Attack, Line, Target};

/// Takeovers of one step.
const TAKEOVERS: u64 = 20;

/// The attack.
#[derive(Default)]
pub struct Takeover {
    line: Option<Line>,
    count: u64,
}

impl Attack for Takeover {
    fn name(&self) -> &'static str {
        "takeover ping-pong"
    }

    fn limits(&self) -> &'static [(&'static str, &'static str)] {
        &[("sessions_max", "4")]
    }

    fn steps_per_sec(&self) -> u32 {
        20
    }

    fn step(&mut self, target: &Target) -> u64 {
        for _ in 0..TAKEOVERS {
            self.count += 1;
            let mut connect = Connect::new(Version::V5, "twin");
            connect.clean_start = self.count.is_multiple_of(7);
            connect.properties.session_expiry_secs = Some(60);
            connect.will = Some(Will {
                topic: TopicName::new("twin/gone", &Limits::default()).unwrap(),
                payload: &[b'x'; 500],
                qos: QoS::AtLeastOnce,
                retain: false,
                delay_secs: 0,
                message_expiry_secs: None,
                properties: Default::default(),
            });
            let line = Line::open(target.plain).attach(&connect);
            let mut line = line.expect("the newer one gets the session");
            line.subscribe("twin/#", QoS::AtLeastOnce);
            // The older one is told and closed.
            if let Some(mut older) = self.line.replace(line) {
                older.until_closed();
            }
        }
        TAKEOVERS * 2
    }
}
