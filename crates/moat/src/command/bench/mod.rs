//! `moat bench`: one file for each mode. The work is done by [`crate::load`].

pub(crate) mod connect;
pub(crate) mod latency;
pub(crate) mod publish;
pub(crate) mod subscribe;

use clap::Subcommand;
use moat_codec::{Limits, TopicName};

use crate::client::ConnectArgs;
use crate::data_folder::DataPlace;
use crate::exit::Failure;
use crate::load::{self, Plan};
use crate::output::Output;

/// Modes of `moat bench`.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Publish as many messages as asked for, or for some time.
    Pub(publish::BenchPubArgs),
    /// Subscribe and count what comes.
    Sub(subscribe::BenchSubArgs),
    /// Connect again and again.
    Connect(connect::BenchConnectArgs),
    /// Send messages through the broker and measure how long they take.
    Latency(latency::BenchLatencyArgs),
}

/// Puts load on a broker and tells how it went.
///
/// # Errors
/// The command line makes no sense, the broker cannot be reached, or something was refused or lost.
pub(crate) fn run(
    command: &BenchCommand,
    place: &DataPlace,
    output: &Output,
) -> Result<(), Failure> {
    let (connect, plan) = match command {
        BenchCommand::Pub(args) => (&args.connect, args.plan()?),
        BenchCommand::Sub(args) => (&args.connect, args.plan()?),
        BenchCommand::Connect(args) => (&args.connect, args.plan()),
        BenchCommand::Latency(args) => (&args.connect, args.plan()?),
    };
    carry_out(connect, &plan, place, output)
}

fn carry_out(
    connect: &ConnectArgs,
    plan: &Plan,
    place: &DataPlace,
    output: &Output,
) -> Result<(), Failure> {
    let (target, login) = connect.login(place, output)?;
    let outcome = load::run(plan, &target, &login, output)?;
    load::finish(plan, &target, &outcome, output)
}

/// Whether messages can be published there.
fn check_topic(topic: &str) -> Result<(), Failure> {
    TopicName::new(&load::numbered(topic, 0), &Limits::generous())
        .map(|_name| ())
        .map_err(|error| Failure::usage(format!("the topic {topic:?}: {error}")))
}
