//! `moat bench connect`

use clap::Args;

use crate::client::ConnectArgs;
use crate::load::{Mode, Plan, Role, parse_concurrency, parse_count};

/// `moat bench connect`
#[derive(Debug, Args)]
pub(crate) struct BenchConnectArgs {
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
    /// How many connections to open in all, each with a TLS handshake of its own if there is TLS.
    #[arg(long, value_name = "N", value_parser = parse_count)]
    count: u64,
    /// How many are open at the same time, 1 to 1000; moat allows an identity 5 unless it is configured otherwise.
    #[arg(long, value_name = "C", default_value = "4", value_parser = parse_concurrency)]
    concurrency: usize,
}

impl BenchConnectArgs {
    /// What is to be done.
    pub(super) fn plan(&self) -> Plan {
        let mut plan = Plan::new(Mode::Connect, vec![Role::Visitor]);
        (plan.count, plan.opening) = (Some(self.count), self.concurrency);
        plan
    }
}
