//! `moat bench latency`

use std::time::Duration;

use clap::Args;
use moat_codec::QoS;

use super::check_topic;
use crate::client::{ConnectArgs, parse_qos};
use crate::exit::Failure;
use crate::load::{
    Mode, Plan, Role, STAMP_BYTES, numbered, parse_count, parse_for, parse_pairs, parse_rate,
    parse_size,
};

/// How long it is measured if nothing else is said.
const DURATION_DEFAULT: &str = "10s";

/// `moat bench latency`
#[derive(Debug, Args)]
pub(crate) struct BenchLatencyArgs {
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
    /// End after so many messages in all, if that is earlier.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    count: Option<u64>,
    /// Measure for so long, like 500ms, 30s, 5m or 1h.
    #[arg(long = "for", value_name = "DURATION", default_value = DURATION_DEFAULT, value_parser = parse_for)]
    duration: Duration,
    /// Messages per second of all pairs together.
    #[arg(long, value_name = "R", default_value = "100", value_parser = parse_rate)]
    rate: u64,
    /// How many pairs of a publisher and a subscriber, 1 to 10000.
    #[arg(long, value_name = "P", default_value = "1", value_parser = parse_pairs)]
    pairs: usize,
    /// 0, 1 or 2.
    #[arg(short, long, default_value = "0", value_parser = parse_qos)]
    qos: QoS,
    /// Bytes of a message, 24 to 8388608: number and time have to fit in.
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = parse_size)]
    size: usize,
    /// The topic; `%i` stands for the pair's number, from 0.
    #[arg(short, long, default_value = "bench/%i")]
    topic: String,
}

impl BenchLatencyArgs {
    /// What is to be done.
    ///
    /// # Errors
    /// The topic is none or the same for all pairs, or the size is too small.
    pub(super) fn plan(&self) -> Result<Plan, Failure> {
        check_topic(&self.topic)?;
        if self.size < STAMP_BYTES {
            return Err(Failure::usage(format!(
                "--size {}: number and time of a message need {STAMP_BYTES} bytes",
                self.size
            )));
        }
        if self.pairs > 1 && !self.topic.contains("%i") {
            return Err(Failure::usage(format!(
                "--topic {:?}: each pair needs a topic of its own; put %i into it, which stands for the pair's number",
                self.topic
            )));
        }
        let pair = |number| {
            let topic = numbered(&self.topic, number);
            [Role::Subscriber(topic.clone()), Role::Publisher(topic)]
        };
        let mut plan = Plan::new(Mode::Latency, (0..self.pairs).flat_map(pair).collect());
        (plan.qos, plan.size, plan.rate) = (self.qos, self.size, Some(self.rate));
        (plan.count, plan.duration) = (self.count, Some(self.duration));
        Ok(plan)
    }
}
