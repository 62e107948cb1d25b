//! `moat bench pub`

use std::time::Duration;

use clap::{ArgGroup, Args};
use moat_codec::QoS;

use super::check_topic;
use crate::client::{ConnectArgs, parse_qos};
use crate::exit::Failure;
use crate::load::{
    INFLIGHT_DEFAULT, Mode, Plan, Role, numbered, parse_clients, parse_count, parse_for,
    parse_inflight, parse_rate, parse_size,
};

/// `moat bench pub`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("end").required(true).multiple(true))]
pub(crate) struct BenchPubArgs {
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
    /// Send so many messages in all.
    #[arg(long, value_name = "N", group = "end", value_parser = parse_count)]
    count: Option<u64>,
    /// Send for so long, like 500ms, 30s, 5m or 1h.
    #[arg(long = "for", value_name = "DURATION", group = "end", value_parser = parse_for)]
    duration: Option<Duration>,
    /// How many connections send, 1 to 20000.
    #[arg(long, value_name = "C", default_value = "1", value_parser = parse_clients)]
    clients: usize,
    /// Messages per second of all clients together; without it as many as possible.
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    rate: Option<u64>,
    /// 0, 1 or 2.
    #[arg(short, long, default_value = "0", value_parser = parse_qos)]
    qos: QoS,
    /// Bytes of a message, 0 to 8388608.
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = parse_size)]
    size: usize,
    /// The topic; `%i` stands for the client's number, from 0.
    #[arg(short, long, default_value = "bench/%i")]
    topic: String,
    /// Messages of one client that wait for their acknowledgement, 1 to 65535; fewer if the broker says so.
    #[arg(long, value_name = "W", default_value_t = INFLIGHT_DEFAULT, value_parser = parse_inflight)]
    inflight: u16,
}

impl BenchPubArgs {
    /// What is to be done.
    ///
    /// # Errors
    /// The topic is none.
    pub(super) fn plan(&self) -> Result<Plan, Failure> {
        check_topic(&self.topic)?;
        let roles = (0..self.clients).map(|number| Role::Publisher(numbered(&self.topic, number)));
        let mut plan = Plan::new(Mode::Pub, roles.collect());
        (plan.qos, plan.size, plan.inflight) = (self.qos, self.size, self.inflight);
        (plan.rate, plan.count, plan.duration) = (self.rate, self.count, self.duration);
        Ok(plan)
    }
}
