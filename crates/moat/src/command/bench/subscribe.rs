//! `moat bench sub`

use std::time::Duration;

use clap::Args;
use moat_codec::{Limits, QoS, TopicFilter};

use crate::client::{ConnectArgs, parse_qos};
use crate::exit::Failure;
use crate::load::{Mode, Plan, Role, numbered, parse_clients, parse_count, parse_for};

/// `moat bench sub`
#[derive(Debug, Args)]
pub(crate) struct BenchSubArgs {
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
    /// End after so many messages in all.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    count: Option<u64>,
    /// Count for so long, like 500ms, 30s, 5m or 1h; without it and --count until Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_for)]
    duration: Option<Duration>,
    /// How many connections subscribe, 1 to 20000.
    #[arg(long, value_name = "C", default_value = "1", value_parser = parse_clients)]
    clients: usize,
    /// 0, 1 or 2: the highest quality of service at which messages come.
    #[arg(short, long, default_value = "0", value_parser = parse_qos)]
    qos: QoS,
    /// What to subscribe to; `%i` stands for the client's number, from 0.
    #[arg(short, long, value_name = "FILTER", default_value = "bench/#")]
    topic: String,
}

impl BenchSubArgs {
    /// What is to be done.
    ///
    /// # Errors
    /// The filter is none.
    pub(super) fn plan(&self) -> Result<Plan, Failure> {
        TopicFilter::new(&numbered(&self.topic, 0), &Limits::generous())
            .map_err(|error| Failure::usage(format!("the filter {:?}: {error}", self.topic)))?;
        let roles = (0..self.clients).map(|number| Role::Subscriber(numbered(&self.topic, number)));
        let mut plan = Plan::new(Mode::Sub, roles.collect());
        (plan.qos, plan.count, plan.duration) = (self.qos, self.count, self.duration);
        Ok(plan)
    }
}
